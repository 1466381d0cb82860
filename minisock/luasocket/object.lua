--- What all of LuaSocket's objects have: a class that changes with their state,
--- a descriptor, timeouts, and words for what went wrong. Stands on
--- minisock.owner and minisock.clock.
local ms = require "minisock"
local address = require "minisock.address"
local check = require "minisock.check"
local clock = require "minisock.clock"
local errors = require "minisock.errors"
local owner = require "minisock.owner"
local sigpipe = require "minisock.sigpipe"

local FOREVER = math.huge
local AF_INET6, SOCK_NONBLOCK = ms.AF_INET6, ms.SOCK_NONBLOCK
local EAGAIN, EBADF = ms.EAGAIN, ms.EBADF
local INT_MIN, INT_MAX = -2^31, 2^31 - 1
local PAUSE = 5 -- ms

local object = {}

---@class minisock.luasocket.object
---@field class string such as "tcp{master}"
---@field owner minisock.owner
---@field family? integer of the descriptor; nil until there is one
---@field wanted_family? integer what it was made for; nil for any
---@field block number in seconds; negative is for ever
---@field total number

---------------------------------------------------------------------------
-- Words
---------------------------------------------------------------------------

-- Those that programs compare with. Others are the system's.
local WORDS = {
    [ms.EACCES] = "permission denied",
    [ms.EADDRINUSE] = "address already in use",

    [ms.ECONNABORTED] = "closed",
    [ms.ECONNREFUSED] = "connection refused",
    [ms.ECONNRESET] = "closed",
    [ms.EISCONN] = "already connected",
    [ms.EPIPE] = "closed",
    [ms.ETIMEDOUT] = "timeout",
}

local RESOLVER_WORDS = {
    [ms.EAI_AGAIN] = "temporary failure in name resolution",
    [ms.EAI_BADFLAGS] = "invalid value for ai_flags",
    [ms.EAI_FAIL] = "non-recoverable failure in name resolution",
    [ms.EAI_FAMILY] = "ai_family not supported",
    [ms.EAI_MEMORY] = "memory allocation failure",
    [ms.EAI_NONAME] = "host or service not provided, or not known",
    [ms.EAI_OVERFLOW] = "argument buffer overflow",
    [ms.EAI_SERVICE] = "service not supported for socket type",
    [ms.EAI_SOCKTYPE] = "ai_socktype not supported",
}

--- LuaSocket's words for an errno.
---@param code integer
---@return string
function object.words(code)
    return WORDS[code] or errors.text(code)
end

--- LuaSocket's words for an EAI code, or for ETIME.
---@param code integer
---@param system? integer the errno behind EAI_SYSTEM
---@return string
function object.resolver_words(code, system)
    if code == ms.ETIME then return "timeout" end
    return RESOLVER_WORDS[code] or errors.resolver_text(code, system)
end

---------------------------------------------------------------------------
-- Objects
---------------------------------------------------------------------------

--- Makes an object.
---@param kind table its metatable
---@param class string
---@param fd integer -1 for none yet
---@return table
function object.new(kind, class, fd)
    return setmetatable({
        class = class,
        owner = owner.new(fd),
        block = -1,
        total = -1,
    }, kind)
end

local function bad_self(call, expected)
    error(("calling '%s' on bad self (%s expected)"):format(call, expected), 4)
end

--- Raises unless self is an object of a kind, and of a class where one is
--- given. The caller is the public method itself.
---@param self any
---@param kind table
---@param call string
---@param class? string
function object.check(self, kind, call, class)
    if type(self) ~= "table" or getmetatable(self) ~= kind then
        bad_self(call, class or kind.any)
    end
    if class and self.class ~= class then bad_self(call, class) end
end

--- A number argument, which may come as a string.
---@param value any
---@param arg integer
---@param call string
---@param default? number in place of nil
---@return number
function object.check_number(value, arg, call, default)
    if check.absent(value) and default then return default end
    local number = check.number(value)
    if not number then
        error(("bad argument #%d to '%s' (number expected, got %s)")
            :format(arg, call, type(value)), 3)
    end
    return number
end

--- A number without its fraction.
---@param number number
---@return number
function object.truncate(number)
    return number < 0 and math.ceil(number) or math.floor(number)
end

--- The C int next to a number.
---@param number number
---@return integer
function object.to_int(number)
    if number ~= number then return 0 end
    return math.max(INT_MIN, math.min(object.truncate(number), INT_MAX))
end

--- Gives the object a new descriptor in place of the one it has.
---@param self minisock.luasocket.object
---@param family integer
---@param socktype integer
---@return true? done, string? reason
function object.open(self, family, socktype)
    local fd, _, code =
        owner.open(ms.socket, family, socktype + SOCK_NONBLOCK)
    if not fd then return nil, object.words(code) end
    owner.replace(self.owner, fd)
    self.family = family
    -- So that "::" and "0.0.0.0" can have the same port, as with LuaSocket.
    if family == AF_INET6 then ms.setsockopt(fd, "IPV6_V6ONLY", true) end
    return true
end

--- Sees to it that the object has a descriptor of a family.
---@param self minisock.luasocket.object
---@param family integer
---@param socktype integer
---@return true? done, string? reason
function object.prepare(self, family, socktype)
    if self.owner.fd >= 0 and self.family == family then return true end
    return object.open(self, family, socktype)
end

---------------------------------------------------------------------------
-- Time
---------------------------------------------------------------------------

--- The limits of a call that starts now: a deadline, and how long a single
--- wait may last. With only one of the two timeouts, that is for all of it.
---@param self minisock.luasocket.object
---@return number deadline, number longest in ms
function object.limits(self)
    local block, total = self.block, self.total
    if block < 0 and total < 0 then return FOREVER, FOREVER end
    if total < 0 then return clock.deadline(block * 1000), FOREVER end
    return clock.deadline(total * 1000), block < 0 and FOREVER or block * 1000
end

--- The timeout of a call that waits but once.
---@param self minisock.luasocket.object
---@return number ms
function object.timeout(self)
    local block, total = self.block, self.total
    if block < 0 and total < 0 then return FOREVER end
    if block < 0 then return total * 1000 end
    if total < 0 then return block * 1000 end
    return math.min(block, total) * 1000
end

---------------------------------------------------------------------------
-- Calls that wait
---------------------------------------------------------------------------

--- LuaSocket's words for a failed call of the core's.
---@param message string
---@param code integer
---@return string
function object.reason(message, code)
    if errors.is_timeout(message) then return "timeout" end
    if code == EBADF then return "closed" end
    return object.words(code)
end

--- Accepts a connection.
---@param self minisock.luasocket.object
---@return integer? fd non-blocking, string? reason
function object.accept(self)
    local fd, message, code =
        owner.open(ms.accept, self.owner.fd, object.timeout(self))
    if not fd then return nil, object.reason(message, code) end
    ms.setnonblocking(fd, true)
    return fd
end

--- Sends a datagram to the peer.
---@param self minisock.luasocket.object
---@param data string
---@return integer? sent, string? reason
function object.send_datagram(self, data)
    local sent, message, code =
        ms.sendall(self.owner.fd, data, object.timeout(self))
    if sent then return sent end
    return nil, object.reason(message, code)
end

--- Receives a datagram.
---@param self minisock.luasocket.object
---@param size number how many bytes of it
---@return string? data, string addr_or_reason
function object.receive_datagram(self, size)
    size = math.max(0, object.to_int(size))
    local data, addr, code = ms.recvfrom(self.owner.fd,
        object.timeout(self), math.max(1, size))
    if data then return data:sub(1, size), addr end
    return nil, object.reason(addr, code)
end

--- Sends a datagram to a raw address. When the queue is full, waits.
---@param self minisock.luasocket.object
---@param addr string
---@param data string
---@return integer? sent, string? reason
function object.send_datagram_to(self, addr, data)
    local deadline = clock.deadline(object.timeout(self))
    while true do
        local sent, _, code = ms.sendto(self.owner.fd, addr, data)
        if sent then return sent end
        if code ~= EAGAIN then return nil, object.reason("", code) end
        local left = clock.left(deadline)
        if left == 0 then return nil, "timeout" end
        -- poll(2) knows nothing of a Unix receiver's queue.
        ms.msleep(math.min(left, PAUSE))
    end
end

---------------------------------------------------------------------------
-- Methods
---------------------------------------------------------------------------

local MODES = { b = "block", t = "total", r = "total" }

--- Makes a metatable, and adds the methods that all kinds have.
---@param kind table
---@param methods table
function object.add_methods(kind, methods)
    kind.__index = methods

    function kind:__tostring()
        return ("%s: %p"):format(self.class, self)
    end

    --- Sets a timeout, for each wait or for all of a call.
    ---@param value? number in seconds; nil and negative ones are for ever
    ---@param mode? string "b" for block, by default; "t" for total
    ---@return 1
    function methods.settimeout(self, value, mode)
        object.check(self, kind, "settimeout")
        value = object.check_number(value, 1, "settimeout", -1)
        mode = check.absent(mode) and "b"
            or check.string(mode, 2, "settimeout")
        local field = MODES[mode:sub(1, 1)]
        if not field then
            error("bad argument #2 to 'settimeout' (invalid timeout mode)", 2)
        end
        self[field] = value ~= value and -1 or value
        return 1
    end

    ---@return number block, number total in seconds
    function methods.gettimeout(self)
        object.check(self, kind, "gettimeout")
        return self.block, self.total
    end

    ---@return integer fd -1 for none
    function methods.getfd(self)
        object.check(self, kind, "getfd")
        return self.owner.fd
    end

    --- Has another descriptor from now on. The one before is given up, open as
    --- it is: who took it with getfd owns it.
    ---@param fd integer -1 for none
    function methods.setfd(self, fd)
        object.check(self, kind, "setfd")
        fd = check.descriptor(object.check_number(fd, 1, "setfd"), 1, "setfd")
        -- LuaSec, which takes descriptors so, writes to them as if LuaSocket
        -- had been loaded, which ignores SIGPIPE.
        if fd < 0 and self.owner.fd >= 0 then sigpipe.ignore() end
        owner.detach(self.owner)
        owner.replace(self.owner, fd)
        self.family = ms.getsockopt(self.owner.fd, "SO_DOMAIN")
    end

    --- Whether something is buffered, which select(2) wouldn't tell.
    ---@return boolean
    function methods.dirty(self)
        object.check(self, kind, "dirty")
        return self.reader ~= nil and self.reader:available() > 0
    end

    --- Closes the socket; a second time does nothing.
    ---@return 1
    function methods.close(self)
        object.check(self, kind, "close")
        owner.close(self.owner)
        return 1
    end
end

---------------------------------------------------------------------------
-- Addresses
---------------------------------------------------------------------------

local NAMES = { [ms.AF_INET] = "inet", [ms.AF_INET6] = "inet6" }

--- The IP address and the port in a raw address, and its family's name.
---@param addr string
---@return string? ip, integer? port, string? family nil of another family's,
--- which a descriptor that came by setfd may have
function object.place(addr)
    local parts = ms.parseaddr(addr) or {}
    return parts.addr, parts.port, NAMES[address.family(addr)]
end

--- Adds the methods that tell the addresses of an IP socket.
---@param kind table
---@param methods table
---@param class? string which getpeername is for
function object.add_name_methods(kind, methods, class)
    ---@return string? ip, string port_or_reason, string? family
    function methods.getsockname(self)
        object.check(self, kind, "getsockname")
        local addr, _, code = ms.getsockname(self.owner.fd)
        if not addr then return nil, errors.text(code) end
        local ip, port, family = object.place(addr)
        return ip, port and tostring(port), family
    end

    ---@return string? ip, integer|string port_or_reason, string? family
    function methods.getpeername(self)
        object.check(self, kind, "getpeername", class)
        local addr, _, code = ms.getpeername(self.owner.fd)
        if not addr then return nil, errors.text(code) end
        return object.place(addr)
    end

    ---@return "inet4"|"inet6"
    function methods.getfamily(self)
        object.check(self, kind, "getfamily")
        local family = self.owner.fd >= 0 and self.family
            or self.wanted_family
        return family == AF_INET6 and "inet6" or "inet4"
    end
end

return object
