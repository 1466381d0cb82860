--- Drop-in for LuaSocket 3's C module socket.core: under LuaSocket's own Lua
--- files, or alone. Plain Lua over minisock; socket.unix is
--- minisock.luasocket.unix.
---
--- A call that fails returns nil and a reason, in LuaSocket's words.
local ms = require "minisock"
local clock = require "minisock.clock"
local object = require "minisock.luasocket.object"
local tcp = require "minisock.luasocket.tcp"
local try = require "minisock.luasocket.try"
local udp = require "minisock.luasocket.udp"

local DAY = 86400 -- seconds

local AF_INET, AF_INET6 = ms.AF_INET, ms.AF_INET6

local core = {
    _VERSION = "LuaSocket 3.0.0",
    _DATAGRAMSIZE = udp.DATAGRAMSIZE,
    -- How large a descriptor select takes; there is no limit but C's.
    _SETSIZE = 2^31 - 1,
    _SOCKETINVALID = -1,

    connect = tcp.connect,
    dns = require "minisock.luasocket.dns",
    gettime = clock.time,
    newtry = try.newtry,
    protect = try.protect,
    select = require "minisock.luasocket.select",
}

--- A TCP master, of IPv4 or IPv6 as it will need to be.
---@return table sock
function core.tcp() return (tcp.new()) end

--- A TCP master, of IPv4 alone.
---@return table? sock, string? reason
function core.tcp4() return tcp.new(AF_INET) end

--- A TCP master, of IPv6 alone.
---@return table? sock, string? reason
function core.tcp6() return tcp.new(AF_INET6) end

--- A UDP socket, likewise.
---@return table sock
function core.udp() return (udp.new()) end

---@return table? sock, string? reason
function core.udp4() return udp.new(AF_INET) end

---@return table? sock, string? reason
function core.udp6() return udp.new(AF_INET6) end

--- Sleeps, all of it, whatever signals come.
---@param seconds number
function core.sleep(seconds)
    seconds = object.check_number(seconds, 1, "sleep")
    for _ = 1, seconds / DAY do ms.msleep(DAY * 1000) end
    if seconds > 0 then ms.msleep(seconds % DAY * 1000) end
end

--- The arguments after the first n.
---@param n integer
---@param ... any
---@return any ...
function core.skip(n, ...)
    n = object.to_int(object.check_number(n, 1, "skip"))
    return select(math.max(n, 0) + 1, ...)
end

--- For LuaSocket's sake: nothing is to be unloaded.
function core.__unload() end

return core
