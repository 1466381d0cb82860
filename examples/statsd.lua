-- Counts for a statsd server, in datagrams: from any phase of nginx, with no
-- timer and no buffer that a crash would lose.
--
--     -- stats.lua
--     return require("statsd").new("127.0.0.1", 8125, "web.")
--
--     # nginx.conf
--     log_by_lua_block {
--         local stats = require "stats"
--         stats:count("requests")
--         stats:timing("request", ngx.var.request_time * 1000)
--     }
local ms = require "minisock"

local Statsd = {}
Statsd.__index = Statsd

local statsd = {}

--- Opens a socket for the datagrams of a statsd server.
---@param ip string IPv4 or IPv6
---@param port integer
---@param prefix? string before all names
function statsd.new(ip, port, prefix)
    local addr = ms.inetaddr(ip, port)
    local family
    if not addr then
        addr, family = assert(ms.inet6addr(ip, port)), "\x0a"
    end
    local fd = assert(ms.udpsocket(family))
    -- Rather lose a count than hold up a request.
    assert(ms.setnonblocking(fd, true))
    return setmetatable({ fd = fd, addr = addr, prefix = prefix or "" },
        Statsd)
end

local function send(self, name, value, kind)
    return ms.sendto(self.fd, self.addr,
        self.prefix .. name .. ":" .. value .. "|" .. kind)
end

--- Adds to a counter, 1 by default.
function Statsd:count(name, n)
    return send(self, name, n or 1, "c")
end

--- Tells how long something took, in ms.
function Statsd:timing(name, time)
    return send(self, name, time, "ms")
end

--- Sets a value.
function Statsd:gauge(name, value)
    return send(self, name, value, "g")
end

function Statsd:close()
    return ms.close(self.fd)
end

return statsd
