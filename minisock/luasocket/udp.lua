--- LuaSocket's UDP objects, connected and not. Stands on minisock.resolver and
--- minisock.luasocket's object and options.
local ms = require "minisock"
local check = require "minisock.check"
local object = require "minisock.luasocket.object"
local options = require "minisock.luasocket.options"
local resolver = require "minisock.resolver"

local AI_NUMERICHOST, AI_PASSIVE = ms.AI_NUMERICHOST, ms.AI_PASSIVE
local SOCK_DGRAM = ms.SOCK_DGRAM
local FOREVER = math.huge
local CONNECTED, UNCONNECTED = "udp{connected}", "udp{unconnected}"

local Udp = { any = "udp{any}" }
local Methods = {}

object.add_methods(Udp, Methods)
object.add_name_methods(Udp, Methods, CONNECTED)
options.add_methods(Udp, Methods, options.udp)

local udp = {
    --- How much of a datagram is received when nobody says.
    DATAGRAMSIZE = 8192,
}

--- Makes an object. Without a family, it has no descriptor until it has an
--- address of its own or of another.
---@param family? integer
---@return minisock.luasocket.object? sock, string? reason
function udp.new(family)
    local self = object.new(Udp, UNCONNECTED, -1)
    self.wanted_family = family
    if family then
        local done, reason = object.open(self, family, SOCK_DGRAM)
        if not done then return nil, reason end
    end
    return self
end

-- Calls `act` with a descriptor and each address, up to the first for which
-- it succeeds. Returns what that gives, or nil and a reason.
local function for_address(self, host, port, flags, act)
    local hints = {
        family = self.wanted_family,
        socktype = SOCK_DGRAM,
        flags = flags,
    }
    local entries, code, system =
        resolver.entries(host ~= "*" and host or nil, port, hints, FOREVER)
    if not entries then return nil, object.resolver_words(code, system) end
    local reason
    for _, entry in ipairs(entries) do
        local done
        done, reason = object.prepare(self, entry.family, SOCK_DGRAM)
        if done then
            done, reason, code = act(self.owner.fd, entry.addr)
            if done then return done end
            reason = code and object.words(code) or reason
        end
    end
    return nil, reason
end

--- Binds to a host ("*" for every address) and a port.
---@param host string
---@param port string|integer
---@return 1? done, string? reason
function Methods:setsockname(host, port)
    object.check(self, Udp, "setsockname", UNCONNECTED)
    host = check.string(host, 1, "setsockname")
    port = check.string(port, 2, "setsockname")
    local done, reason =
        for_address(self, host, port, AI_PASSIVE, ms.bindfd)
    if done then return 1 end
    return nil, reason
end

--- Connects: it sends to this peer, and receives from no other. "*" undoes it.
---@param host string
---@param port? string|integer
---@return 1? done, string? reason
function Methods:setpeername(host, port)
    object.check(self, Udp, "setpeername")
    host = check.string(host, 1, "setpeername")
    if host == "*" then
        ms.disconnect(self.owner.fd)
        self.class = UNCONNECTED
        return 1
    end
    port = check.string(port, 2, "setpeername")
    local done, reason = for_address(self, host, port, 0, ms.connectfd)
    if not done then return nil, reason end
    self.class = CONNECTED
    return 1
end

--- Sends a datagram to the peer.
---@param data string
---@return integer? sent, string? reason
function Methods:send(data)
    object.check(self, Udp, "send", CONNECTED)
    data = check.string(data, 1, "send")
    local sent, reason = object.send_datagram(self, data)
    if sent then return sent end
    return nil, reason
end

--- Sends a datagram.
---@param data string
---@param ip string
---@param port string|integer
---@return integer? sent, string? reason
function Methods:sendto(data, ip, port)
    object.check(self, Udp, "sendto", UNCONNECTED)
    data = check.string(data, 1, "sendto")
    ip = check.string(ip, 2, "sendto")
    port = check.string(port, 3, "sendto")
    local sent, reason = for_address(self, ip, port, AI_NUMERICHOST,
        function(_, addr) return object.send_datagram_to(self, addr, data) end)
    if sent then return sent end
    return nil, reason
end

--- Receives a datagram.
---@param size? integer how many bytes of it, 8192 by default
---@return string? data, string? reason
function Methods:receive(size)
    object.check(self, Udp, "receive")
    size = object.check_number(size, 1, "receive", udp.DATAGRAMSIZE)
    local data, reason = object.receive_datagram(self, size)
    if data then return data end
    return nil, reason
end

--- Receives a datagram, and tells whom it is from.
---@param size? integer
---@return string? data, string? ip_or_reason, integer? port
function Methods:receivefrom(size)
    object.check(self, Udp, "receivefrom", UNCONNECTED)
    size = object.check_number(size, 1, "receivefrom", udp.DATAGRAMSIZE)
    local data, from = object.receive_datagram(self, size)
    if not data then return nil, from end
    local ip, port = object.place(from)
    return data, ip, port
end

return udp
