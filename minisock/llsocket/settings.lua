--- The options of llsocket's sockets, as methods: without an argument they
--- tell, with one they set. Stands on minisock.
local ms = require "minisock"
local address = require "minisock.address"
local addrinfo = require "minisock.llsocket.addrinfo"
local check = require "minisock.check"
local errors = require "minisock.errors"
local options = require "minisock.options"

local AF_INET, AF_INET6 = ms.AF_INET, ms.AF_INET6
local ENODEV, EOPNOTSUPP = ms.ENODEV, ms.EOPNOTSUPP
local absent, text = check.absent, errors.text

local settings = {}

local function option(self, name, value)
    if value == nil then
        local got, _, code = ms.getsockopt(self.owner.fd, name)
        if got == nil then return nil, text(code) end
        return got
    end
    local done, _, code = ms.setsockopt(self.owner.fd, name, value)
    if not done then return nil, text(code) end
    return value
end

local function flag_option(name, call)
    return function(self, enable)
        check.optional_strict("boolean", enable, 1, call)
        return option(self, name, enable)
    end
end

local function number_option(name, call)
    return function(self, value)
        if not absent(value) then value = check.strict_int(value, 1, call) end
        return option(self, name, value)
    end
end

settings.tcpnodelay = flag_option("TCP_NODELAY", "tcpnodelay")
settings.tcpcork = flag_option("TCP_CORK", "tcpcork")
settings.tcpkeepintvl = number_option("TCP_KEEPINTVL", "tcpkeepintvl")
settings.tcpkeepcnt = number_option("TCP_KEEPCNT", "tcpkeepcnt")
settings.tcpkeepalive = number_option("TCP_KEEPIDLE", "tcpkeepalive")
settings.reuseport = flag_option("SO_REUSEPORT", "reuseport")
settings.reuseaddr = flag_option("SO_REUSEADDR", "reuseaddr")
settings.broadcast = flag_option("SO_BROADCAST", "broadcast")
settings.debug = flag_option("SO_DEBUG", "debug")
settings.keepalive = flag_option("SO_KEEPALIVE", "keepalive")
settings.oobinline = flag_option("SO_OOBINLINE", "oobinline")
settings.dontroute = flag_option("SO_DONTROUTE", "dontroute")
settings.timestamp = flag_option("SO_TIMESTAMP", "timestamp")
settings.acceptconn = flag_option("SO_ACCEPTCONN", "acceptconn")
settings.rcvbuf = number_option("SO_RCVBUF", "rcvbuf")
settings.rcvlowat = number_option("SO_RCVLOWAT", "rcvlowat")
settings.sndbuf = number_option("SO_SNDBUF", "sndbuf")
settings.sndlowat = number_option("SO_SNDLOWAT", "sndlowat")
settings.error = number_option("SO_ERROR", "error")

local function time_option(name, call, forget)
    return function(self, seconds)
        local milliseconds
        if not absent(seconds) then
            local given = tonumber(seconds)
            if not given or not (given >= 0 and given <= 2^31 / 1000) then
                check.fail(1, call, "number of seconds", seconds)
            end
            milliseconds = given * 1000
        end
        self.mode[forget] = nil
        local value, problem = option(self, name, milliseconds)
        if not value then return nil, problem end
        return value / 1000
    end
end

settings.rcvtimeo = time_option("SO_RCVTIMEO", "rcvtimeo", "receive")
settings.sndtimeo = time_option("SO_SNDTIMEO", "sndtimeo", "send")

--- Whether the next byte comes after urgent data.
---@return boolean? at_mark, string? message
function settings:atmark()
    local at, _, code = ms.atmark(self.owner.fd)
    if at == nil then return nil, text(code) end
    return at
end

local function descriptor_flag(self, get, set, enable)
    if absent(enable) then
        local on, _, code = get(self.owner.fd)
        if on == nil then return nil, text(code) end
        return on
    end
    local done, _, code = set(self.owner.fd, enable)
    if not done then return nil, text(code) end
    return enable
end

--- Whether programs that are started don't inherit the descriptor.
---@param enable? boolean
---@return boolean? enabled, string? message
function settings:cloexec(enable)
    check.optional_strict("boolean", enable, 1, "cloexec")
    return descriptor_flag(self, ms.getcloexec, ms.setcloexec, enable)
end

--- Whether calls return at once, where they would have to wait.
---@param enable? boolean
---@return boolean? enabled, string? message
function settings:nonblock(enable)
    check.optional_strict("boolean", enable, 1, "nonblock")
    local on, problem =
        descriptor_flag(self, ms.getnonblocking, ms.setnonblocking, enable)
    if on == nil then return nil, problem end
    self.mode.nonblocking = on
    return on
end

---------------------------------------------------------------------------
-- Multicast
---------------------------------------------------------------------------

-- Options of IPv4 and their like of IPv6; of datagrams only.
local function multicast_name(self, inet, inet6)
    if addrinfo.is_stream(self.kind) then return nil end
    if self.kind.family == AF_INET then return inet end
    if self.kind.family == AF_INET6 then return inet6 end
end

--- Whether this machine gets its own multicast.
---@param enable? boolean
---@return boolean? enabled, string? message
function settings:mcastloop(enable)
    check.optional_strict("boolean", enable, 1, "mcastloop")
    local name =
        multicast_name(self, "IP_MULTICAST_LOOP", "IPV6_MULTICAST_LOOP")
    if not name then return nil, text(EOPNOTSUPP) end
    return option(self, name, enable)
end

--- How many routers multicast passes.
---@param ttl? integer
---@return integer? ttl, string? message
function settings:mcastttl(ttl)
    if not absent(ttl) then ttl = check.strict_int(ttl, 1, "mcastttl") end
    local name =
        multicast_name(self, "IP_MULTICAST_TTL", "IPV6_MULTICAST_HOPS")
    if not name then return nil, text(EOPNOTSUPP) end
    return option(self, name, ttl)
end

-- The interface of which a field is value, and that is of the family.
local function find_interface(field, value, family)
    for _, interface in ipairs(ms.getinterfaces() or {}) do
        if interface[field] == value
                and (not family or interface.family == family) then
            return interface
        end
    end
end

-- IPv4 knows the interface by its address: struct ip_mreqn is a group, this
-- address and the index.
local function set_interface4(fd, name)
    local interface = find_interface("name", name, "inet")
    if not interface then return ENODEV end
    local bytes = ms.inetaddr(interface.addr, 0):sub(5, 8)
    return options.put_raw(fd, ms.IPPROTO_IP, ms.IP_MULTICAST_IF,
        "\0\0\0\0" .. bytes .. options.encode(interface.index))
end

local function set_interface6(fd, name)
    local interface = find_interface("name", name)
    if not interface then return ENODEV end
    return options.put(fd, "IPV6_MULTICAST_IF", interface.index)
end

local function get_interface4(fd)
    local bytes, _, code =
        ms.getsockopt(fd, ms.IPPROTO_IP, ms.IP_MULTICAST_IF, 4)
    if not bytes then return nil, text(code) end
    local ip = ("%d.%d.%d.%d"):format(bytes:byte(1, 4))
    local interface = find_interface("addr", ip)
    return interface and interface.name
end

local function get_interface6(fd)
    local index, _, code = ms.getsockopt(fd, "IPV6_MULTICAST_IF")
    if not index then return nil, text(code) end
    local interface = find_interface("index", index)
    return interface and interface.name
end

--- The interface that multicast leaves by; nil alone when the kernel chooses.
---@param ifname? string
---@return string? ifname, string? message
function settings:mcastif(ifname)
    check.optional_strict("string", ifname, 1, "mcastif")
    local get = multicast_name(self, get_interface4, get_interface6)
    local set = multicast_name(self, set_interface4, set_interface6)
    if not get then return nil, text(EOPNOTSUPP) end
    if absent(ifname) then return get(self.owner.fd) end
    local code = set(self.owner.fd, ifname)
    if code ~= 0 then return nil, text(code) end
    return ifname
end

-- A message when the membership didn't change, else nothing.
local function membership(self, change, ifname, ...)
    if not multicast_name(self, true, true) then return text(EOPNOTSUPP) end
    local index = ifname and address.interface_index(ifname)
    if ifname and not index then return text(ENODEV) end
    local done, _, code = change(self.owner.fd, index, ...)
    if not done then return text(code) end
end

-- The arguments of these in one order.
local function join(fd, index, group, source)
    return ms.joingroup(fd, group, index, source)
end

local function leave(fd, index, group, source)
    return ms.leavegroup(fd, group, index, source)
end

local function block(fd, index, group, source)
    return ms.blocksource(fd, group, source, index)
end

local function unblock(fd, index, group, source)
    return ms.unblocksource(fd, group, source, index)
end

--- Joins a group. The addresses are digits; ifname is an interface's name.
---@param group string
---@param ifname? string
---@return string? message nothing when it is done
function settings:mcastjoin(group, ifname)
    check.strict("string", group, 1, "mcastjoin")
    check.optional_strict("string", ifname, 2, "mcastjoin")
    return membership(self, join, ifname, group)
end

---@param group string
---@param ifname? string
---@return string? message
function settings:mcastleave(group, ifname)
    check.strict("string", group, 1, "mcastleave")
    check.optional_strict("string", ifname, 2, "mcastleave")
    return membership(self, leave, ifname, group)
end

--- Joins a group for what one source sends to it.
---@param group string
---@param source string
---@param ifname? string
---@return string? message
function settings:mcastjoinsrc(group, source, ifname)
    check.strict("string", group, 1, "mcastjoinsrc")
    check.strict("string", source, 2, "mcastjoinsrc")
    check.optional_strict("string", ifname, 3, "mcastjoinsrc")
    return membership(self, join, ifname, group, source)
end

---@param group string
---@param source string
---@param ifname? string
---@return string? message
function settings:mcastleavesrc(group, source, ifname)
    check.strict("string", group, 1, "mcastleavesrc")
    check.strict("string", source, 2, "mcastleavesrc")
    check.optional_strict("string", ifname, 3, "mcastleavesrc")
    return membership(self, leave, ifname, group, source)
end

--- Stops getting what one source sends to a group that was joined for any.
---@param group string
---@param source string
---@param ifname? string
---@return string? message
function settings:mcastblocksrc(group, source, ifname)
    check.strict("string", group, 1, "mcastblocksrc")
    check.strict("string", source, 2, "mcastblocksrc")
    check.optional_strict("string", ifname, 3, "mcastblocksrc")
    return membership(self, block, ifname, group, source)
end

---@param group string
---@param source string
---@param ifname? string
---@return string? message
function settings:mcastunblocksrc(group, source, ifname)
    check.strict("string", group, 1, "mcastunblocksrc")
    check.strict("string", source, 2, "mcastunblocksrc")
    check.optional_strict("string", ifname, 3, "mcastunblocksrc")
    return membership(self, unblock, ifname, group, source)
end

return settings
