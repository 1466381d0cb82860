--- Socket objects: the module `socket` of lua-ssocket, and what else a user of
--- objects expects. Timeouts are in seconds. A socket that nothing refers to
--- any more is closed. Stands on minisock, minisock.owner and minisock.reader.
---
--- A method that fails returns nil, a message in the system's words and the
--- errno; `read` returns "" in place of nil.
local ms = require "minisock"
local check = require "minisock.check"
local clock = require "minisock.clock"
local errors = require "minisock.errors"
local options = require "minisock.options"
local owner = require "minisock.owner"
local patient = require "minisock.patient"
local reader = require "minisock.reader"
local resolver = require "minisock.resolver"

local AF_INET, AF_INET6, AF_UNIX = ms.AF_INET, ms.AF_INET6, ms.AF_UNIX
local AI_PASSIVE = ms.AI_PASSIVE
local EAGAIN, EINPROGRESS, EPIPE = ms.EAGAIN, ms.EINPROGRESS, ms.EPIPE
local EALREADY, EBADF, ECONNRESET = ms.EALREADY, ms.EBADF, ms.ECONNRESET
local EISCONN, ETIME, ETIMEDOUT = ms.EISCONN, ms.ETIME, ms.ETIMEDOUT
local POLLOUT = ms.POLLOUT
local SOCK_DGRAM, SOCK_STREAM = ms.SOCK_DGRAM, ms.SOCK_STREAM
local SOCK_FLAGS = bit.bor(ms.SOCK_CLOEXEC, ms.SOCK_NONBLOCK)
local SOL_SOCKET, SO_RCVTIMEO = ms.SOL_SOCKET, ms.SO_RCVTIMEO

local absent = check.absent

local socket = {
    ERROR_TIMEOUT = "Operation timed out",
    ERROR_CLOSED = "Connection closed",
}
local ERROR_TIMEOUT, ERROR_CLOSED = socket.ERROR_TIMEOUT, socket.ERROR_CLOSED

-- Constants come from below. Those of the original that Linux lacks are nil,
-- but for this one, which has another name here.
setmetatable(socket, {
    __index = function(_, name)
        if name == "TCP_KEEPALIVE" then return ms.TCP_KEEPIDLE end
        if type(name) == "string" and name:find("^%u[%u%d]*_?") then
            local value = ms[name]
            if type(value) == "number" then return value end
        end
    end,
})

---@class minisock.socket
---@field owner minisock.owner
---@field family integer
---@field type integer
---@field protocol integer
---@field timeout number in seconds; negative is for ever
---@field patience? number the SO_RCVTIMEO that the descriptor has for it, in ms
---@field process? integer which gave it that
---@field nonblocking? boolean the descriptor was made so for it
---@field shared? boolean no SO_RCVTIMEO, which others would meet as well
---@field settled? boolean it is bound or connected, or of others' making
---@field options? table what was set, for a descriptor of another family
---@field reader? minisock.reader once something was read through it
local Socket = {}
Socket.__index = Socket

-- What most objects have in common, for a server may hold many.
Socket.timeout = -1
Socket.protocol = 0

local function new(fd, family, socktype, protocol, settled)
    local self = setmetatable({
        owner = owner.new(fd),
        family = family,
        type = socktype,
        settled = settled,
    }, Socket)
    if protocol ~= 0 then self.protocol = protocol end
    return self
end

-- In milliseconds, as the core wants it.
local function timeout_of(self)
    local timeout = self.timeout
    if timeout < 0 then return math.huge end
    return timeout * 1000
end

-- Readies the descriptor for the timeout: a long one is SO_RCVTIMEO's, since
-- that costs no call of its own; a short one poll's, which is more exact.
local function apply_timeout(self)
    local fd, timeout = self.owner.fd, self.timeout * 1000
    if fd < 0 then return end
    -- After a fork it is the other process's, too.
    if self.patience and self.process ~= owner.process() then
        self.patience, self.shared = nil, true
    end
    local patience = timeout >= patient.LEAST and timeout <= patient.MOST
        and not self.shared and self.type == SOCK_STREAM and timeout or nil
    if patience ~= self.patience then
        if not patient.set(fd, patience) then patience = nil end
        self.patience, self.process = patience, owner.process()
    end
    local nonblocking = timeout >= 0 and not patience
    if nonblocking ~= (self.nonblocking or false) then
        ms.setnonblocking(fd, nonblocking)
        self.nonblocking = nonblocking
    end
end

-- For another descriptor, ours or one that others have had.
local function apply_to_new(self, shared)
    self.patience, self.nonblocking, self.shared = nil, nil, shared
    apply_timeout(self)
end

-- From now on others may read from it, and must find it as they expect.
local function share(self)
    if self.shared then return end
    self.shared = true
    if self.patience then apply_timeout(self) end
end

-- The results of a failed call of the core's, in the words of this module.
local function failure(self, message, code)
    if errors.is_timeout(message) then
        if self.timeout == 0 then return nil, errors.text(EAGAIN), EAGAIN end
        return nil, ERROR_TIMEOUT, ETIMEDOUT
    end
    if code < 0 then return nil, errors.resolver_text(code), code end
    return nil, errors.text(code), code
end

-- Passes on what succeeded, translates what failed.
local function result(self, value, message, code)
    if value then return value end
    return failure(self, message, code)
end

---------------------------------------------------------------------------
-- Making sockets
---------------------------------------------------------------------------

--- Makes a socket. Its timeout is -1: it waits for ever.
---@see socket(2)
---@param family integer AF_INET, AF_INET6 or AF_UNIX
---@param socktype integer SOCK_STREAM or SOCK_DGRAM
---@param protocol? integer
---@return minisock.socket? sock, string? message, integer? code
function socket.socket(family, socktype, protocol)
    family = check.int(family, 1, "socket")
    socktype = check.int(socktype, 2, "socket")
    protocol = check.int(protocol, 3, "socket", 0)
    local fd, _, code = owner.open(ms.socket, family, socktype, protocol)
    if not fd then return nil, errors.text(code), code end
    return new(fd, family, bit.band(socktype, bit.bnot(SOCK_FLAGS)), protocol)
end

--- A TCP socket. Made for IPv4, it becomes one for IPv6 when it is connected
--- or bound to an IPv6 address.
---@return minisock.socket? sock, string? message, integer? code
function socket.tcp()
    return socket.socket(AF_INET, SOCK_STREAM)
end

--- A UDP socket, likewise.
---@return minisock.socket? sock, string? message, integer? code
function socket.udp()
    return socket.socket(AF_INET, SOCK_DGRAM)
end

-- What kind of socket a descriptor is; or nil, a message and an errno.
local function kind_of(fd)
    local family, socktype, protocol, _, code
    family, _, code = ms.getsockopt(fd, "SO_DOMAIN")
    if family then socktype, _, code = ms.getsockopt(fd, "SO_TYPE") end
    if socktype then protocol, _, code = ms.getsockopt(fd, "SO_PROTOCOL") end
    if protocol then return family, socktype, protocol end
    return nil, errors.text(code), code
end

--- Makes an object of a descriptor, which it owns from now on.
---@param fd integer
---@return minisock.socket? sock, string? message, integer? code
function socket.fromfd(fd)
    fd = check.descriptor(fd, 1, "fromfd")
    local family, socktype, protocol = kind_of(fd)
    if not family then return nil, socktype, protocol end
    local sock = new(fd, family, socktype, protocol, true)
    sock.shared = true
    return sock
end

local function numeric(addr)
    local parts = ms.parseaddr(addr)
    return parts.addr, parts.port
end

--- What a host and a port stand for. Blocks for as long as it takes.
---@see getaddrinfo(3)
---@param host? string
---@param port? string|integer
---@param family? integer
---@param socktype? integer any by default, so that an address comes as often
--- as there are types
---@param protocol? integer
---@param flags? integer AI_PASSIVE, ...
---@return table[]? entries, string? message, integer? code each has family,
--- socktype, protocol, canonname, addr and port
function socket.getaddrinfo(host, port, family, socktype, protocol, flags)
    if not absent(host) then host = check.string(host, 1, "getaddrinfo") end
    if not absent(port) and type(port) ~= "string"
            and type(port) ~= "number" then
        return nil, "port argument expect string/number/nil"
    end
    local hints = {
        family = check.int(family, 3, "getaddrinfo", 0),
        socktype = check.int(socktype, 4, "getaddrinfo", 0),
        protocol = check.int(protocol, 5, "getaddrinfo", 0),
        flags = check.int(flags, 6, "getaddrinfo", 0),
    }
    local list, code, system =
        resolver.entries(host, port, hints, math.huge)
    if not list then return nil, errors.resolver_text(code, system), code end
    for _, entry in ipairs(list) do
        entry.addr, entry.port = numeric(entry.addr)
    end
    return list
end

---------------------------------------------------------------------------
-- Addresses
---------------------------------------------------------------------------

-- The original's examples give an IPv4 address as a number, INADDR_ANY.
local function dotted(number)
    local function byte(weight) return math.floor(number / weight) % 256 end
    return ("%d.%d.%d.%d"):format(byte(2^24), byte(2^16), byte(2^8), byte(1))
end

-- Those of the socket's own family first: it need not become another then.
local function own_family_first(self, entries)
    if #entries == 1 then return entries end
    local first, others = {}, {}
    for _, entry in ipairs(entries) do
        local list = entry.family == self.family and first or others
        list[#list + 1] = entry
    end
    for _, entry in ipairs(others) do first[#first + 1] = entry end
    return first
end

-- The addresses of a host and a port, or of a path, as resolver.entries has
-- them. A timeout of 0 means not to wait for the peer; for a name it must be.
local function addresses(self, host, port, flags, deadline)
    if port == nil then
        local addr, message, code = ms.unixaddr(host)
        if not addr then return failure(self, message, code) end
        return { { family = AF_UNIX, addr = addr } }
    end
    if type(host) == "number" then host = dotted(host) end
    local wildcard = flags == AI_PASSIVE and (host == "*" or host == "")
    local hints = { socktype = self.type, flags = flags }
    local entries, code, system = resolver.entries(
        not wildcard and host or nil, port, hints,
        self.timeout == 0 and math.huge or deadline)
    if entries then return own_family_first(self, entries) end
    if code == ETIME then return nil, ERROR_TIMEOUT, ETIMEDOUT end
    return nil, errors.resolver_text(code, system), code
end

-- A new descriptor, of another family or after a failed attempt, with the
-- options that had been set.
local function renew(self, family)
    local fd, _, code =
        owner.open(ms.socket, family, self.type, self.protocol)
    if not fd then return code end
    owner.replace(self.owner, fd)
    self.family = family
    for _, option in pairs(self.options or {}) do
        ms.setsockopt(fd, option[1], option[2], option[3])
    end
    apply_to_new(self, self.shared)
    return 0
end

local function is_inet(family)
    return family == AF_INET or family == AF_INET6
end

-- A socket of one IP version may become one of the other, but not once it has
-- an address.
local function may_renew(self, family)
    return not self.settled and is_inet(self.family) and is_inet(family)
        and self.owner.fd >= 0
end

-- A host or, without a port, a path; arg is its position.
local function check_host(host, port, arg, call)
    if absent(port) then return check.string(host, arg, call, "path") end
    if type(host) == "number" then return host end
    return check.string(host, arg, call, "host")
end

-- What every method of a closed socket says.
local function closed()
    return nil, errors.text(EBADF), EBADF
end

-- After these there is a connection, or will be: no other address is tried.
local UNDER_WAY = { [EALREADY] = true, [EINPROGRESS] = true, [EISCONN] = true }

-- One attempt. Returns true or nil, a message and an errno.
local function attempt(self, entry, deadline, renewed)
    if renewed or entry.family ~= self.family then
        if may_renew(self, entry.family) then
            local code = renew(self, entry.family)
            if code ~= 0 then return nil, errors.text(code), code end
        end
    end
    local done, message, code
    if self.timeout == 0 then
        done, message, code = ms.startconnect(self.owner.fd, entry.addr)
    else
        done, message, code =
            ms.connectfd(self.owner.fd, entry.addr, clock.left(deadline))
    end
    self.settled = self.settled or done or UNDER_WAY[code]
    if done then return true end
    return failure(self, message, code)
end

--- Connects: to a host and a port, of which every address is tried, or to the
--- path of a Unix socket ("@" before an abstract name).
---@see connect(2)
---@param host string|integer
---@param port? string|integer
---@return true? done, string? message, integer? code EINPROGRESS with a timeout
--- of 0
function Socket:connect(host, port)
    host = check_host(host, port, 1, "connect")
    port = check.optional_service(port, 2, "connect")
    if self.owner.fd < 0 then return closed() end
    local deadline = clock.deadline(timeout_of(self))
    local entries, message, code = addresses(self, host, port, 0, deadline)
    if not entries then return nil, message, code end
    for i = 1, #entries do
        local done
        done, message, code = attempt(self, entries[i],
            clock.share(deadline, #entries - i + 1), i > 1)
        if done then return true end
        if UNDER_WAY[code] or self.settled then break end
    end
    return nil, message, code
end

local function bind_to(self, entry)
    if entry.family ~= self.family and may_renew(self, entry.family) then
        local code = renew(self, entry.family)
        if code ~= 0 then return nil, errors.text(code), code end
    end
    local fd = self.owner.fd
    if self.type == SOCK_STREAM and entry.family ~= AF_UNIX then
        ms.setsockopt(fd, "SO_REUSEADDR", true)
    end
    local done, message, code = ms.bindfd(fd, entry.addr)
    if not done then return failure(self, message, code) end
    self.settled = true
    return true
end

--- Binds: to a host and a port ("*" or 0 for every address), or to a path.
---@see bind(2)
---@param host string|integer
---@param port? string|integer
---@return true? done, string? message, integer? code
function Socket:bind(host, port)
    host = check_host(host, port, 1, "bind")
    port = check.optional_service(port, 2, "bind")
    if self.owner.fd < 0 then return closed() end
    local entries, message, code =
        addresses(self, host, port, AI_PASSIVE, math.huge)
    if not entries then return nil, message, code end
    for _, entry in ipairs(entries) do
        local done
        done, message, code = bind_to(self, entry)
        if done then return true end
    end
    return nil, message, code
end

--- Listens.
---@see listen(2)
---@param backlog integer
---@return true? done, string? message, integer? code
function Socket:listen(backlog)
    backlog = check.int(backlog, 1, "listen")
    local done, message, code =
        ms.listen(self.owner.fd, math.max(backlog, 0))
    if not done then return failure(self, message, code) end
    self.settled = true -- without an address of its own it got one
    share(self) -- what it accepts would inherit SO_RCVTIMEO
    return true
end

--- Accepts a connection.
---@see accept(2)
---@return minisock.socket? sock, string? message, integer? code
function Socket:accept()
    local fd, message, code =
        owner.open(ms.accept, self.owner.fd, timeout_of(self))
    if not fd then return failure(self, message, code) end
    return new(fd, self.family, self.type, self.protocol, true)
end

---------------------------------------------------------------------------
-- Reading and writing
---------------------------------------------------------------------------

local function is_datagram(self)
    return self.type == SOCK_DGRAM
end

--- Reads what there is, or waits until there is something.
---@param maxsize integer
---@return string data, string? message, integer? code "" and ERROR_CLOSED at
--- the end of the stream
function Socket:read(maxsize)
    maxsize = check.integer(maxsize, 1, "read", 0, 2^31 - 1)
    if self.owner.fd < 0 then return "", select(2, closed()) end
    if maxsize == 0 then return "" end
    local buffered = self.reader
    if buffered and buffered:available() > 0 then
        return buffered:take(maxsize)
    end
    local read = self.patience and patient.read or ms.read
    local data, message, code =
        read(self.owner.fd, timeout_of(self), maxsize)
    if not data then return "", select(2, failure(self, message, code)) end
    if data == "" and not is_datagram(self) then return "", ERROR_CLOSED end
    return data
end

--- Writes all of the data; a datagram in one piece.
---@param data string
---@return integer? count, string? message, integer? code, integer? sent how
--- many bytes were sent before the failure
function Socket:write(data)
    data = check.string(data, 1, "write")
    local count, message, code, sent =
        ms.sendall(self.owner.fd, data, timeout_of(self))
    if count then return count end
    if code == EPIPE or code == ECONNRESET then
        return nil, ERROR_CLOSED, code, sent
    end
    local _, text, why = failure(self, message, code)
    return nil, text, why, sent
end

-- What a reader reads by: patiently where that is the timeout, and not what a
-- first read has left of it.
local function reader_of(self)
    local patience = self.patience
    if not patience then return ms.read end
    return function(fd, timeout, max)
        if timeout > patience - 1 then return patient.read(fd, timeout, max) end
        return ms.read(fd, timeout, max)
    end
end

-- An empty datagram isn't the end of anything.
local function read_past_empty(self, deadline, take, wanted)
    local found, message, code
    repeat
        found, message, code = self.reader:receive(self.owner.fd, deadline,
            math.huge, take, wanted)
    until found or message
    return found, message, code
end

-- Buffers what comes until `take` finds what it wants. What came before a
-- failure stays, for another try; at the end of the stream it is returned.
local function read_buffered(self, take, wanted)
    local buffered = self.reader
    if not buffered or self.reader_patience ~= self.patience then
        buffered = buffered or reader.new()
        buffered.read = reader_of(self)
        self.reader, self.reader_patience = buffered, self.patience
    end
    local deadline = clock.deadline(timeout_of(self))
    local found, message, code =
        buffered:receive(self.owner.fd, deadline, math.huge, take, wanted)
    if found then return found end
    if not message and is_datagram(self) then
        found, message, code = read_past_empty(self, deadline, take, wanted)
        if found then return found end
    end
    if message then return failure(self, message, code) end
    return nil, ERROR_CLOSED, nil, buffered:take_rest()
end

local CR = 13

local function take_line(buffered)
    local line = buffered:take_line()
    if not line or line:byte(-1) ~= CR then return line end
    return line:sub(1, -2)
end

--- Reads a line, through a buffer that `read` empties first.
---@return string? line without its end, LF or CR LF
---@return string? message, integer? code
---@return string? rest what came after the last line, at the end of the stream
function Socket:readline()
    return read_buffered(self, take_line)
end

--- Reads exactly n bytes, likewise.
---@param n integer
---@return string? data, string? message, integer? code, string? rest
function Socket:readexactly(n)
    n = check.integer(n, 1, "readexactly", 0, 2^31 - 1)
    if self.owner.fd < 0 then return closed() end
    return read_buffered(self, reader.exactly, n)
end

-- Where a datagram goes: the first address of the socket's own family.
local function destination(self, host, port)
    if port == nil then
        local addr, message, code = ms.unixaddr(host)
        if not addr then return failure(self, message, code) end
        return addr
    end
    if type(host) == "number" then host = dotted(host) end
    local hints = { family = self.family, socktype = self.type }
    local entries, code, system =
        resolver.entries(host, port, hints, math.huge)
    if entries then return entries[1].addr end
    return nil, errors.resolver_text(code, system), code
end

local PAUSE = 5 -- ms

-- Waits until there may be room for a datagram. poll(2) knows nothing of a Unix
-- receiver's queue, so that is tried again every now and then.
local function wait_for_room(self, deadline)
    local left = clock.left(deadline)
    if left == 0 then return nil, "sendto timeout", EAGAIN end
    if self.family == AF_UNIX then return ms.msleep(math.min(left, PAUSE)) end
    local polled, ready, code =
        ms.poll(ms.pollfd(self.owner.fd, POLLOUT), left)
    if not polled then return nil, ready, code end
    if ready == 0 then return nil, "sendto timeout", EAGAIN end
    return true
end

-- When there was no room. Apart, so that the usual way of sendto has no loop,
-- at which LuaJIT would give up to compile what calls it.
local function sendto_later(self, addr, data, deadline)
    while true do
        local done, message, code = wait_for_room(self, deadline)
        if not done then return nil, message, code end
        local count
        count, message, code = ms.sendto(self.owner.fd, addr, data)
        if code ~= EAGAIN then return count, message, code end
    end
end

--- Sends a datagram to a host and a port, or to a path. A name is looked up
--- each time, and may block.
---@param data string
---@param host string|integer
---@param port? string|integer
---@return integer? count, string? message, integer? code
function Socket:sendto(data, host, port)
    data = check.string(data, 1, "sendto")
    host = check_host(host, port, 2, "sendto")
    port = check.optional_service(port, 3, "sendto")
    if self.owner.fd < 0 then return closed() end
    local addr, message, code = destination(self, host, port)
    if not addr then return nil, message, code end
    if self.patience then share(self) end -- sendto would wait for ever
    local deadline = clock.deadline(timeout_of(self))
    local count
    count, message, code = ms.sendto(self.owner.fd, addr, data)
    if code == EAGAIN then
        count, message, code = sendto_later(self, addr, data, deadline)
    end
    if not count then return failure(self, message, code) end
    self.settled = true
    return count
end

--- Receives a datagram.
---@param maxsize? integer 65535 by default
---@return string? data, string? host_or_message, integer? port_or_code host is
--- a path, and port nil, when a Unix socket sent it
---@return boolean? truncated the datagram was longer
function Socket:recvfrom(maxsize)
    maxsize = check.size(maxsize, 1, "recvfrom", 65535)
    local data, addr, truncated =
        ms.recvfrom(self.owner.fd, timeout_of(self), maxsize)
    if not data then return failure(self, addr, truncated) end
    local from = ms.parseaddr(addr) or {}
    return data, from.addr or from.path, from.port, truncated
end

---------------------------------------------------------------------------
-- Options and the rest
---------------------------------------------------------------------------

-- Sets an option, as ms.setsockopt takes it, and remembers it for a descriptor
-- of another family. Set again, it takes no more room.
local function set_option(self, level, optname, bytes)
    if level == "SO_RCVTIMEO" or level == SOL_SOCKET
            and optname == SO_RCVTIMEO then
        share(self)
    end
    local done, message, code =
        ms.setsockopt(self.owner.fd, level, optname, bytes)
    if not done then return failure(self, message, code) end
    self.options = self.options or {}
    local key = bytes and level .. " " .. optname or level
    self.options[key] = { level, optname, bytes }
    return true
end

local KNOWN = "level or name of an option"

--- Sets an option, by level and number or by its C name.
---@see setsockopt(2)
---@param level integer|string
---@param optname integer|any a number, or the value after a name
---@param value? integer|boolean
---@return true? done, string? message, integer? code
function Socket:setoption(level, optname, value)
    if type(level) == "string" and not tonumber(level) then
        local expected = options.expected(level)
        if not expected then check.fail(1, "setoption", KNOWN, level) end
        if not options.fits(level, optname) then
            check.fail(2, "setoption", expected, optname)
        end
        return set_option(self, level, optname)
    end
    level = check.int(level, 1, "setoption")
    optname = check.int(optname, 2, "setoption")
    if type(value) == "boolean" then value = value and 1 or 0 end
    local bytes = options.encode(check.int(value, 3, "setoption"))
    return set_option(self, level, optname, bytes)
end

--- Reads an option, by level and number or by its C name.
---@see getsockopt(2)
---@param level integer|string
---@param optname? integer
---@return integer|boolean|nil value a boolean for what is on or off
---@return string? message, integer? code
function Socket:getoption(level, optname)
    if type(level) == "string" and not tonumber(level) then
        if not options.expected(level) then
            check.fail(1, "getoption", KNOWN, level)
        end
        local value, message, code = ms.getsockopt(self.owner.fd, level)
        if value == nil then return failure(self, message, code) end
        return value
    end
    level = check.int(level, 1, "getoption")
    optname = check.int(optname, 2, "getoption")
    local value, message, code =
        options.get_number(self.owner.fd, level, optname)
    if value == nil then return failure(self, message, code) end
    return value
end

local function set_mode(self, timeout)
    self.timeout = timeout
    apply_timeout(self)
end

--- Sets the timeout of each later call.
---@param t number in seconds: negative is for ever, 0 doesn't wait
function Socket:settimeout(t)
    local timeout = tonumber(t)
    if not timeout or timeout ~= timeout then
        check.fail(1, "settimeout", "number of seconds", t)
    end
    set_mode(self, timeout)
end

---@return number timeout in seconds
function Socket:gettimeout()
    return self.timeout
end

--- The same as a timeout of -1 or of 0.
---@param block boolean|integer true or 1, false or 0
function Socket:setblocking(block)
    if absent(block) then check.fail(1, "setblocking", "boolean", block) end
    set_mode(self, (block and tonumber(block) ~= 0) and -1 or 0)
end

---@see shutdown(2)
---@param how integer SHUT_RD, SHUT_WR or SHUT_RDWR
---@return true? done, string? message, integer? code
function Socket:shutdown(how)
    how = check.int(how, 1, "shutdown")
    return result(self, ms.shutdown(self.owner.fd, how))
end

--- Closes the socket; a second time does nothing.
function Socket:close()
    owner.close(self.owner)
    self.reader = nil
end

---@return integer fd -1 once it is closed
function Socket:fileno()
    share(self)
    return self.owner.fd
end
Socket.getfd = Socket.fileno

--- Gives up the descriptor to the caller, open as it is.
---@return integer fd -1 when it was closed
---@return string rest what readline and readexactly had read ahead
function Socket:detach()
    local buffered = self.reader
    self.reader = nil
    share(self)
    return owner.detach(self.owner),
        buffered and buffered:take_rest() or ""
end

--- Owns another descriptor from now on; the one before is closed.
---@param fd integer -1 for none
---@return true? done, string? message, integer? code
function Socket:setfd(fd)
    fd = check.descriptor(fd, 1, "setfd")
    if fd < 0 then
        self:close()
        return true
    end
    local family, socktype, protocol = kind_of(fd)
    if not family then return nil, socktype, protocol end
    owner.replace(self.owner, fd)
    self.family, self.type, self.protocol = family, socktype, protocol
    self.settled, self.reader = true, nil
    apply_to_new(self, true)
    return true
end

-- { ip, port }, or { path }.
local function place(self, addr, message, code)
    if not addr then return failure(self, message, code) end
    local parts, why, reason = ms.parseaddr(addr)
    if not parts then return failure(self, why, reason) end
    return { parts.addr or parts.path, parts.port }
end

--- The address of the peer.
---@return table? place { ip, port } or { path }
---@return string? message, integer? code
function Socket:getpeername()
    return place(self, ms.getpeername(self.owner.fd))
end

--- The socket's own address.
---@return table? place { ip, port } or { path }
---@return string? message, integer? code
function Socket:getsockname()
    return place(self, ms.getsockname(self.owner.fd))
end

local function written(addr)
    local parts = addr and ms.parseaddr(addr)
    if not parts then return nil end
    if parts.path then return (parts.path:gsub("^%z", "@")) end
    local form = parts.family == "inet6" and "[%s]:%d" or "%s:%d"
    return form:format(parts.addr, parts.port)
end

function Socket:__tostring()
    local fd = self.owner.fd
    local ours = fd >= 0 and written(ms.getsockname(fd))
    local theirs = fd >= 0 and written(ms.getpeername(fd))
    return ("<socket: %d%s%s>"):format(fd, ours and " " .. ours or "",
        theirs and " -> " .. theirs or "")
end

return socket
