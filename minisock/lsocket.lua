--- Drop-in for lsocket 1.4.1: sockets that never block, and a select over
--- them. Plain Lua over minisock, minisock.owner and minisock.pollset.
---
--- A method returns a value, or false when it would have to wait, or nil alone
--- at the end of a stream, or nil and a message.
local ms = require "minisock"
local buffers = require "minisock.buffers"
local check = require "minisock.check"
local errors = require "minisock.errors"
local options = require "minisock.options"
local owner = require "minisock.owner"
local pollset = require "minisock.pollset"
local resolver = require "minisock.resolver"

local AF_INET6, AF_UNIX = ms.AF_INET6, ms.AF_UNIX
local AI_PASSIVE = ms.AI_PASSIVE
local EAGAIN, EINPROGRESS = ms.EAGAIN, ms.EINPROGRESS
local EINVAL, ENODEV = ms.EINVAL, ms.ENODEV
local EBADF, ENETUNREACH = ms.EBADF, ms.ENETUNREACH
local IFF_LOOPBACK, IFF_MULTICAST = ms.IFF_LOOPBACK, ms.IFF_MULTICAST
local IFF_UP = ms.IFF_UP
local IPPROTO_IP, IP_MULTICAST_IF = ms.IPPROTO_IP, ms.IP_MULTICAST_IF
local POLLIN, POLLOUT = ms.POLLIN, ms.POLLOUT
local SOCK_DGRAM, SOCK_NONBLOCK = ms.SOCK_DGRAM, ms.SOCK_NONBLOCK
local SOCK_STREAM = ms.SOCK_STREAM
local absent = check.absent
local band, bor = bit.band, bit.bor

local BACKLOG = 5
local RECV_SIZE = 8192

local lsocket = {
    INADDR_ANY = "0.0.0.0",
    IN6ADDR_ANY = "::0",
    _VERSION = "1.4.1",
}

local FAMILY = {
    [ms.AF_INET] = "inet",
    [ms.AF_INET6] = "inet6",
    [ms.AF_UNIX] = "unix",
}

---@class minisock.lsocket.socket
---@field owner minisock.owner
---@field family "inet"|"inet6"|"unix"
---@field kind "tcp"|"udp"
---@field listening boolean
---@field multicast boolean
local Socket = { __type = "socket" }
local Methods = {}
Socket.__index = Methods

local function new(fd, family, kind, listening, multicast)
    return setmetatable({
        owner = owner.new(fd),
        family = family,
        kind = kind,
        listening = listening,
        multicast = multicast,
    }, Socket)
end

-- The results of a failed call of the core's.
local function failure(message, code)
    if errors.is_timeout(message) or code == EAGAIN then return false end
    if code < 0 then return nil, errors.resolver_text(code) end
    return nil, errors.text(code)
end

---------------------------------------------------------------------------
-- Arguments and addresses
---------------------------------------------------------------------------

local KINDS = { tcp = true, udp = true, mcast = true }

-- [type], [address], port and one number more, as both constructors take them.
local function parse_arguments(kind, ...)
    local rest = { kind, ... }
    kind = "tcp"
    if type(rest[1]) == "string" and KINDS[rest[1]:lower()] then
        kind = table.remove(rest, 1):lower()
    end
    local addr
    if type(rest[1]) == "string" then addr = table.remove(rest, 1) end
    return kind, addr, rest[1], rest[2]
end

local function is_path(addr)
    return addr:find("/", 1, true) or addr:sub(1, 1) == "@"
end

local function unix_entries(path)
    local addr, _, code = ms.unixaddr(path)
    if not addr then
        if code == ms.ENAMETOOLONG then
            return nil, "unix domain path too long"
        end
        return nil, errors.text(code)
    end
    return { { family = AF_UNIX, addr = addr } }
end

-- Where an address and a port are, as resolver.entries has it.
local function entries_of(addr, port, kind, flags)
    if is_path(addr) then return unix_entries(addr) end
    if not port then return nil, errors.resolver_text(ms.EAI_SERVICE) end
    local hints = {
        socktype = kind == "tcp" and SOCK_STREAM or SOCK_DGRAM,
        flags = flags,
    }
    local found, code, system =
        resolver.entries(addr, port, hints, math.huge)
    if found then return found end
    return nil, errors.resolver_text(code, system)
end

local function check_port(port, addr, call)
    if absent(port) and addr then return nil end
    return check.integer(port, 1, call, 0, 65535, "port number")
end

local function open(family, kind)
    local socktype = kind == "tcp" and SOCK_STREAM or SOCK_DGRAM
    local fd, _, code =
        owner.open(ms.socket, family, bor(socktype, SOCK_NONBLOCK))
    if fd then return fd end
    return nil, errors.text(code)
end

-- Makes a socket of the first address for which `prepare` succeeds; that
-- returns true, or nil and a message.
local function open_first(entries, kind, prepare)
    local message
    for _, entry in ipairs(entries) do
        local fd, done
        fd, message = open(entry.family, kind)
        if fd then
            done, message = prepare(fd, entry)
            if done then return fd, FAMILY[entry.family] end
            ms.close(fd)
        end
    end
    return nil, message
end

---------------------------------------------------------------------------
-- Multicast
---------------------------------------------------------------------------

local function is_group(parts)
    if parts.family == "inet6" then return parts.addr:find("^ff") ~= nil end
    local first = tonumber(parts.addr:match("^%d+"))
    return first >= 224 and first <= 239
end

-- Where multicast goes when nothing says where: to a network, if there is one,
-- for the kernel has no route to a group of IPv6 by way of loopback.
local function default_interface(family)
    local loopback
    for _, interface in ipairs(ms.getinterfaces() or {}) do
        if band(interface.flags, IFF_LOOPBACK) ~= 0 then
            loopback = loopback or interface.index
        elseif interface.family == family
                and band(interface.flags, IFF_UP) ~= 0
                and band(interface.flags, IFF_MULTICAST) ~= 0 then
            return interface.index
        end
    end
    return loopback
end

-- The entry, with the scope that its address needs: ff01:: and ff02:: mean
-- something on an interface only.
local function scoped(entry)
    local parts = ms.parseaddr(entry.addr)
    if parts.family ~= "inet6" or parts.scope ~= 0
            or not parts.addr:find("^ff.[12]") then
        return entry, parts
    end
    local scope = default_interface("inet6") or 0
    local addr = ms.inet6addr(parts.addr, parts.port, scope)
    return { family = AF_INET6, addr = addr }, ms.parseaddr(addr)
end

-- Without a route for multicast, the kernel can't choose an interface.
local function join(fd, parts)
    local done, _, code = ms.joingroup(fd, parts.addr, parts.scope)
    if not done and code == ENODEV then
        done, _, code =
            ms.joingroup(fd, parts.addr, default_interface(parts.family))
    end
    if done then return true end
    return nil, errors.text(code)
end

local function bind_multicast(fd, entry)
    local parts
    entry, parts = scoped(entry)
    ms.setsockopt(fd, "SO_REUSEADDR", true)
    if parts.family == "inet" then ms.setsockopt(fd, "SO_BROADCAST", true) end
    local done, _, code = ms.bindfd(fd, entry.addr)
    if not done then return nil, errors.text(code) end
    if is_group(parts) then return join(fd, parts) end
    return true
end

local function connect_multicast(fd, entry, ttl)
    local parts
    entry, parts = scoped(entry)
    local done, _, code
    if parts.family == "inet" then
        ms.setsockopt(fd, "SO_BROADCAST", true)
        done, _, code = ms.setsockopt(fd, "IP_MULTICAST_TTL", ttl)
    else
        done, _, code = ms.setsockopt(fd, "IPV6_MULTICAST_HOPS", ttl)
    end
    if done then done, _, code = ms.startconnect(fd, entry.addr) end
    if not done and code == ENETUNREACH and parts.family == "inet" then
        local index = options.encode(default_interface("inet") or 0)
        ms.setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, ("\0"):rep(8) .. index)
        done, _, code = ms.startconnect(fd, entry.addr)
    end
    if done then return true end
    return nil, errors.text(code)
end

local NO_MULTICAST = "multicast not available for unix domain sockets."

---------------------------------------------------------------------------
-- Constructors
---------------------------------------------------------------------------

-- SO_REUSEADDR is for listeners: on UDP it would let two servers take the same
-- port, of which one would get nothing.
local function bind_plain(fd, entry, kind, backlog)
    if kind == "tcp" and entry.family ~= AF_UNIX then
        ms.setsockopt(fd, "SO_REUSEADDR", true)
    end
    local done, _, code = ms.bindfd(fd, entry.addr)
    if done and kind == "tcp" then done, _, code = ms.listen(fd, backlog) end
    if done then return true end
    return nil, errors.text(code)
end

--- Makes a socket and binds it; one for tcp listens.
---@param ... any [type], [address], port, [backlog]: type is "tcp" (default),
--- "udp" or "mcast"; an address with a "/" in it, or an "@" before it, is a
--- Unix socket's, and has no port; backlog is 5 by default
---@return minisock.lsocket.socket? sock, string? message
function lsocket.bind(...)
    local kind, addr, port, backlog = parse_arguments(...)
    port = check_port(port, addr, "bind")
    backlog = check.int(backlog, 4, "bind", BACKLOG)
    addr = addr or lsocket.INADDR_ANY
    local multicast = kind == "mcast"
    if multicast and is_path(addr) then return nil, NO_MULTICAST end
    local entries, message = entries_of(addr, port, kind, AI_PASSIVE)
    if not entries then return nil, message end
    local fd, family = open_first(entries, kind, function(fd, entry)
        if multicast then return bind_multicast(fd, entry) end
        return bind_plain(fd, entry, kind, backlog)
    end)
    if not fd then return nil, family end
    return new(fd, family, kind == "tcp" and "tcp" or "udp", true, multicast)
end

-- Under way counts as connected: `status` tells how it went.
local function connect_plain(fd, entry)
    local done, _, code = ms.startconnect(fd, entry.addr)
    if done or code == EINPROGRESS then return true end
    return nil, errors.text(code)
end

--- Makes a socket and begins to connect it: select it for writing, then ask
--- for its status.
---@param ... any [type], address, port, [ttl]: as for bind; ttl is multicast's,
--- 1 by default
---@return minisock.lsocket.socket? sock, string? message
function lsocket.connect(...)
    local kind, addr, port, ttl = parse_arguments(...)
    if not addr then check.fail(1, "connect", "address", (...)) end
    port = check_port(port, addr, "connect")
    ttl = check.integer(absent(ttl) and 1 or ttl, 4, "connect", 0, 255)
    local multicast = kind == "mcast"
    if multicast and is_path(addr) then return nil, NO_MULTICAST end
    local entries, message = entries_of(addr, port, kind, 0)
    if not entries then return nil, message end
    local fd, family = open_first(entries, kind, function(fd, entry)
        if multicast then return connect_multicast(fd, entry, ttl) end
        return connect_plain(fd, entry)
    end)
    if not fd then return nil, family end
    return new(fd, family, kind == "tcp" and "tcp" or "udp", false, multicast)
end

---------------------------------------------------------------------------
-- Methods
---------------------------------------------------------------------------

local function info_of(self)
    local fd = self.owner.fd
    return {
        fd = fd,
        family = self.family,
        type = fd >= 0 and self.kind or "unknown",
        listening = fd >= 0 and self.listening,
        multicast = self.multicast,
    }
end

local function place(addr, message, code)
    if not addr then return failure(message, code) end
    local parts = ms.parseaddr(addr)
    if not parts then return nil, errors.text(EINVAL) end
    if parts.path then
        return { family = "unix", addr = (parts.path:gsub("^%z", "@")) }
    end
    return { family = parts.family, addr = parts.addr, port = parts.port }
end

--- Tells about the socket; about one of its ends with "peer" or "socket".
---@param what? string
---@return table? info, string? message
function Methods:info(what)
    if absent(what) then return info_of(self) end
    what = check.string(what, 1, "info"):lower()
    if what == "peer" then
        return place(ms.getpeername(self.owner.fd))
    elseif what == "socket" then
        return place(ms.getsockname(self.owner.fd))
    end
    return nil
end

--- The socket's pending error, which is cleared: how a connect ended.
---@return true? ok, string? message
function Methods:status()
    local pending, message, code = ms.getsockopt(self.owner.fd, "SO_ERROR")
    if not pending then return failure(message, code) end
    if pending ~= 0 then return nil, errors.text(pending) end
    return true
end

---@return integer fd -1 when closed
function Methods:getfd()
    return self.owner.fd
end

--- Gives up the descriptor, open as it is, with an argument of -1.
---@param fd integer
---@return true? ok, string? message
function Methods:setfd(fd)
    if tonumber(fd) ~= -1 then
        return nil, "bad argument #1 to 'setfd' (invalid fd)"
    end
    owner.detach(self.owner)
    return true
end

--- Accepts a connection.
---@return minisock.lsocket.socket|false|nil sock, string? ip_or_message,
--- integer? port
function Methods:accept()
    local fd, addr, code = owner.open(ms.accept, self.owner.fd, 0)
    if not fd then return failure(addr, code) end
    ms.setnonblocking(fd, true)
    local from = ms.parseaddr(addr) or {}
    return new(fd, self.family, self.kind, false, false), from.addr, from.port
end

local function check_size(size, call)
    if absent(size) then return RECV_SIZE end
    return check.integer(size, 1, call, 0, 2^32 - 1, "valid number")
end

-- What `read` gives, in the terms of this module.
local function received(self, data, message, code)
    if not data then return failure(message, code) end
    if data == "" and self.kind == "tcp" then return nil end
    return data
end

--- Receives what there is.
---@param size? integer 8192 by default
---@return string|false|nil data nil alone when the peer has closed
---@return string? message
function Methods:recv(size)
    size = math.min(check_size(size, "recv"), 2^31 - 1)
    if self.owner.fd < 0 then return nil, errors.text(EBADF) end
    if size == 0 then return "" end
    return received(self, ms.read(self.owner.fd, 0, size))
end

-- On a stream each piece is from the peer.
local function recv_stream(self, size)
    local data, message = received(self, ms.read(self.owner.fd, 0, size))
    if not data then
        if message then return data, message end
        return data
    end
    local peer = place(ms.getpeername(self.owner.fd)) or {}
    return data, peer.addr, peer.port or 0
end

--- Receives a datagram, and where it is from.
---@param size? integer
---@return string|false|nil data, string? ip_or_message, integer? port a Unix
--- socket's path, and 0
function Methods:recvfrom(size)
    size = math.min(check_size(size, "recvfrom"), 2^31 - 1)
    if self.owner.fd < 0 then return nil, errors.text(EBADF) end
    if size == 0 then return "" end
    if self.kind == "tcp" then return recv_stream(self, size) end
    local data, addr, code = ms.recvfrom(self.owner.fd, 0, size)
    if not data then return failure(addr, code) end
    local from = place(addr) or {}
    return data, from.addr, from.port or 0
end

--- Sends, as much as there is room for.
---@param s string
---@return integer|false|nil count, string? message
function Methods:send(s)
    s = check.string(s, 1, "send")
    local count, message, code
    if s == "" then -- write sends no empty datagram
        count, message, code = ms.sendall(self.owner.fd, s, 0)
    else
        count, message, code = ms.write(self.owner.fd, s)
    end
    if not count then return failure(message, code) end
    return count
end

-- An address of the socket's own family, from digits without a lookup.
local function destination(self, addr, port)
    if self.family == "unix" then
        local raw, message, code = ms.unixaddr(addr)
        if raw then return raw end
        return failure(message, code)
    end
    local raw = self.family == "inet" and ms.inetaddr(addr, port)
        or self.family == "inet6" and ms.inet6addr(addr, port)
    if raw then return scoped({ addr = raw }).addr end
    local hints = { family = ms["AF_" .. self.family:upper()],
        socktype = SOCK_DGRAM }
    local list, code, system = resolver.lookup(addr, port, hints, math.huge)
    if list then return list[1] end
    return nil, errors.resolver_text(code, system)
end

--- Sends a datagram.
---@param s string
---@param addr string an address or a name, or a path
---@param port? integer
---@return integer|false|nil count, string? message
function Methods:sendto(s, addr, port)
    s = check.string(s, 1, "sendto")
    addr = check.string(addr, 2, "sendto")
    if not absent(port) or self.family ~= "unix" then
        port = check.integer(port, 3, "sendto", 0, 65535, "port number")
    end
    if self.owner.fd < 0 then return nil, errors.text(EBADF) end
    local raw, message = destination(self, addr, port)
    if not raw then return nil, message end
    local count, code
    count, message, code = ms.sendto(self.owner.fd, raw, s)
    if not count then return failure(message, code) end
    return count
end

--- Closes the socket; a second time does nothing.
---@return true? closed, string? message
function Methods:close()
    local done, message, code = owner.close(self.owner)
    if not done then return failure(message, code) end
    return true
end

function Socket:__tostring()
    return ("socket: %p"):format(self)
end

---------------------------------------------------------------------------
-- Functions
---------------------------------------------------------------------------

-- By the name of the type: the sockets of a module that was loaded before this
-- one are sockets too.
local function is_socket(value)
    local meta = type(value) == "table" and getmetatable(value)
    return type(meta) == "table" and meta.__type == Socket.__type
end

-- What a call works with: the set, the descriptors in their order, and by
-- descriptor its socket and what that waits for.
local borrow, give_back = buffers.lender(function()
    return { set = pollset.new(), order = {}, socks = {}, events = {} }
end, function(work)
    local order, socks = work.order, work.socks
    for i = #order, 1, -1 do
        socks[order[i]], order[i] = nil, nil
    end
    work.set:clear()
end)

-- Adds the events that a table of sockets is to wait for to what each
-- descriptor waits for already.
local function collect(sockets, event, work)
    local socks, events, order = work.socks, work.events, work.order
    for _, sock in ipairs(sockets) do
        if not is_socket(sock) then
            error("bad argument to 'select' (tables can only contain sockets)",
                3)
        end
        local fd = sock.owner.fd
        if fd >= 0 and socks[fd] then
            events[fd] = bor(events[fd], event)
        elseif fd >= 0 then
            socks[fd], events[fd], order[#order + 1] = sock, event, fd
        end
    end
end

local FAILED = bor(ms.POLLHUP, ms.POLLERR, ms.POLLNVAL)

-- The sockets, by ascending descriptor, that waited for event and for which
-- it or a failure came.
local function ready_for(event, work)
    local outcomes, ready, count = bor(event, FAILED), {}, 0
    for _, fd, revents in work.set:ready() do
        if band(work.events[fd], event) ~= 0
                and band(revents, outcomes) ~= 0 then
            count = count + 1
            ready[count] = work.socks[fd]
        end
    end
    return ready
end

local function is_ascending(list)
    for i = 2, #list do
        if list[i] < list[i - 1] then return false end
    end
    return true
end

-- Most programs have them in that order, and LuaJIT doesn't compile sort.
local function fill_set(work)
    local order = work.order
    if not is_ascending(order) then table.sort(order) end
    for i = 1, #order do work.set:add(order[i], work.events[order[i]]) end
end

local function is_table_or_nil(value)
    return absent(value) or type(value) == "table"
end

-- select([read [, write]] [, timeout])
local function parse_select(first, second, third)
    if not is_table_or_nil(first) then return nil, nil, first end
    if not is_table_or_nil(second) then return first, nil, second end
    return first, second, third
end

local function check_seconds(timeout)
    if absent(timeout) then return nil end
    local seconds = tonumber(timeout)
    if not seconds or seconds ~= seconds then
        error("bad argument to 'select' (number of seconds expected, got "
            .. type(timeout) .. ")", 3)
    end
    return seconds
end

--- Waits until sockets are ready.
---@param ... any [read [, write]] [, timeout]: lists of sockets to read from
--- and to write to, and a number of seconds, for ever by default
---@return table|false|nil readable false after a timeout
---@return table|string|nil writable_or_message
function lsocket.select(...)
    local reading, writing, timeout = parse_select(...)
    timeout = check_seconds(timeout)
    local work = borrow()
    if reading then collect(reading, POLLIN, work) end
    if writing then collect(writing, POLLOUT, work) end
    if #work.order == 0 and (not timeout or timeout < 0) then
        give_back(work)
        return nil, "no open sockets to check and no timeout set"
    end
    fill_set(work)
    local count, message, code =
        work.set:wait(timeout and timeout * 1000 or nil)
    local readable, writable
    if count and count > 0 then
        readable = ready_for(POLLIN, work)
        writable = writing and ready_for(POLLOUT, work)
    end
    give_back(work)
    if not count then return failure(message, code) end
    if count == 0 then return false end
    if not writing then return readable end
    return readable, writable
end

--- The addresses of a host. Blocks while a name server is asked.
---@param name string
---@return { family: string, addr: string }[]? addresses, string? message
function lsocket.resolve(name)
    name = check.string(name, 1, "resolve")
    local list, code, system =
        resolver.lookup(name, nil, { socktype = SOCK_STREAM }, math.huge)
    if not list then return nil, errors.resolver_text(code, system) end
    for i, addr in ipairs(list) do
        local parts = ms.parseaddr(addr)
        list[i] = { family = parts.family, addr = parts.addr }
    end
    return list
end

--- The interfaces, a record for each address.
---@return table[]? interfaces, string? message each has name, family, addr and
--- mask
function lsocket.getinterfaces()
    local all, message, code = ms.getinterfaces()
    if not all then return failure(message, code) end
    local list = {}
    for _, interface in ipairs(all) do
        if interface.family then
            list[#list + 1] = {
                name = interface.name,
                family = interface.family,
                addr = interface.addr,
                mask = interface.mask,
            }
        end
    end
    return list
end

return lsocket
