--- Socket options, by their C names or raw. Stands on minisock.cdefs,
--- minisock.check, minisock.errors and minisock.buffers.
local bit = require "bit"
local ffi = require "ffi"
local buffers = require "minisock.buffers"
local cdefs = require "minisock.cdefs"
local check = require "minisock.check"
local errors = require "minisock.errors"

local C = ffi.C
local errno = ffi.errno
local constant = cdefs.constant
local ENOPROTOOPT = constant("ENOPROTOOPT")

if not pcall(ffi.typeof, "struct minisock_options_1") then
    ffi.cdef [[
    struct minisock_options_1 { int unused; };
    int minisock_getsockopt(int, int, int, void *, uint32_t *)
        __asm__("getsockopt");
    int minisock_setsockopt(int, int, int, const void *, uint32_t)
        __asm__("setsockopt");
    ]]
end

local options = {}

-- What each option holds. Those that hold a structure of their own, such as
-- TCP_INFO or IP_ADD_MEMBERSHIP, are for the raw form.
local KIND = {
    SO_ACCEPTCONN = "boolean",
    SO_BINDTODEVICE = "string",
    SO_BROADCAST = "boolean",
    SO_BUSY_POLL = "integer",
    SO_DEBUG = "boolean",
    SO_DOMAIN = "integer",
    SO_DONTROUTE = "boolean",
    SO_ERROR = "integer",
    SO_INCOMING_CPU = "integer",
    SO_KEEPALIVE = "boolean",
    SO_LINGER = "linger",
    SO_MARK = "integer",
    SO_OOBINLINE = "boolean",
    SO_PASSCRED = "boolean",
    SO_PEEK_OFF = "integer",
    SO_PEERCRED = "credentials",
    SO_PRIORITY = "integer",
    SO_PROTOCOL = "integer",
    SO_RCVBUF = "integer",
    SO_RCVBUFFORCE = "integer",
    SO_RCVLOWAT = "integer",
    SO_RCVTIMEO = "timeout",
    SO_REUSEADDR = "boolean",
    SO_REUSEPORT = "boolean",
    SO_RXQ_OVFL = "boolean",
    SO_SNDBUF = "integer",
    SO_SNDBUFFORCE = "integer",
    SO_SNDLOWAT = "integer",
    SO_SNDTIMEO = "timeout",
    SO_TIMESTAMP = "boolean",
    SO_TYPE = "integer",
    SO_ZEROCOPY = "boolean",

    TCP_CONGESTION = "string",
    TCP_CORK = "boolean",
    TCP_DEFER_ACCEPT = "integer",
    TCP_FASTOPEN = "integer",
    TCP_FASTOPEN_CONNECT = "boolean",
    TCP_KEEPCNT = "integer",
    TCP_KEEPIDLE = "integer",
    TCP_KEEPINTVL = "integer",
    TCP_LINGER2 = "integer",
    TCP_MAXSEG = "integer",
    TCP_NODELAY = "boolean",
    TCP_NOTSENT_LOWAT = "integer",
    TCP_QUICKACK = "boolean",
    TCP_SYNCNT = "integer",
    TCP_USER_TIMEOUT = "integer",
    TCP_WINDOW_CLAMP = "integer",

    IP_BIND_ADDRESS_NO_PORT = "boolean",
    IP_FREEBIND = "boolean",
    IP_HDRINCL = "boolean",
    IP_MTU = "integer",
    IP_MTU_DISCOVER = "integer",
    IP_MULTICAST_ALL = "boolean",
    IP_MULTICAST_LOOP = "boolean",
    IP_MULTICAST_TTL = "integer",
    IP_PKTINFO = "boolean",
    IP_RECVERR = "boolean",
    IP_RECVTOS = "boolean",
    IP_RECVTTL = "boolean",
    IP_TOS = "integer",
    IP_TRANSPARENT = "boolean",
    IP_TTL = "integer",

    IPV6_MTU = "integer",
    IPV6_MTU_DISCOVER = "integer",
    IPV6_MULTICAST_HOPS = "integer",
    IPV6_MULTICAST_IF = "integer",
    IPV6_MULTICAST_LOOP = "boolean",
    IPV6_RECVERR = "boolean",
    IPV6_RECVHOPLIMIT = "boolean",
    IPV6_RECVPKTINFO = "boolean",
    IPV6_RECVTCLASS = "boolean",
    IPV6_TCLASS = "integer",
    IPV6_TRANSPARENT = "boolean",
    IPV6_UNICAST_HOPS = "integer",
    IPV6_V6ONLY = "boolean",
}

local LEVEL = {
    SO = constant("SOL_SOCKET"),
    TCP = constant("IPPROTO_TCP"),
    IP = constant("IPPROTO_IP"),
    IPV6 = constant("IPPROTO_IPV6"),
}

local length = ffi.new("uint32_t[1]")
local number = ffi.new("int[1]")
local linger = ffi.new("struct minisock_linger")
local TIMEVAL = ffi.typeof("struct minisock_timeval")
local timeval = TIMEVAL()
local ucred = ffi.new("struct minisock_ucred")
local TEXT_SIZE = 64
local text = ffi.new("char[?]", TEXT_SIZE)

-- How a value of each kind goes into memory and comes out of it again. `put`
-- returns the bytes, nil for a value that won't do.
local CODEC = {
    integer = {
        expected = "integer",
        memory = number, size = ffi.sizeof(number),
        put = function(value)
            value = tonumber(value)
            if not value or bit.tobit(value) ~= value then return nil end
            number[0] = value
            return number
        end,
        get = function() return number[0] end,
    },
    boolean = {
        expected = "boolean",
        memory = number, size = ffi.sizeof(number),
        put = function(value)
            if value == true or value == 1 then
                number[0] = 1
            elseif value == false or value == 0 then
                number[0] = 0
            else
                return nil
            end
            return number
        end,
        get = function() return number[0] ~= 0 end,
    },
    linger = {
        expected = "number of seconds or false",
        memory = linger, size = ffi.sizeof(linger),
        put = function(value)
            local seconds = value == false and 0 or tonumber(value)
            if not seconds or bit.tobit(seconds) ~= seconds or seconds < 0 then
                return nil
            end
            linger.on = value == false and 0 or 1
            linger.seconds = seconds
            return linger
        end,
        get = function() return linger.on ~= 0 and linger.seconds end,
    },
    -- Rounded up, for the kernel takes zero for "no timeout".
    timeout = {
        expected = "number of milliseconds",
        memory = timeval, size = ffi.sizeof(timeval),
        put = function(value)
            local ms = tonumber(value)
            if not ms or not (ms >= 0 and ms <= 2^32) then return nil end
            local microseconds = math.ceil(ms * 1000)
            timeval.seconds = math.floor(microseconds / 1e6)
            timeval.microseconds = microseconds % 1e6
            return timeval
        end,
        get = function()
            local time = TIMEVAL(timeval) -- to read it may run a finaliser
            return tonumber(time.seconds) * 1000
                + tonumber(time.microseconds) / 1000
        end,
    },
    credentials = {
        expected = "nothing: it can only be read",
        memory = ucred, size = ffi.sizeof(ucred),
        put = function() return nil end,
        get = function()
            local pid, uid, gid = ucred.pid, ucred.uid, ucred.gid
            return { pid = pid, uid = uid, gid = gid }
        end,
    },
    string = {
        expected = "string",
        memory = text, size = TEXT_SIZE,
        put = function(value)
            return type(value) == "string" and value or nil
        end,
        get = function(size)
            return (ffi.string(text, size):match("^%Z*"))
        end,
    },
}

-- Options as they are asked for: level, number and codec, looked up once.
local found = {}

local function find(name)
    local kind = KIND[name]
    if not kind then return nil end
    local option = {
        level = LEVEL[name:match("^[^_]+")],
        number = constant(name),
        codec = CODEC[kind],
    }
    found[name] = option
    return option
end

-- The option of that name; nil for the level of a raw one. An unknown name is
-- an error at the caller of the public function that called this.
local function named(name, call)
    if type(name) ~= "string" or tonumber(name) then return nil end
    local option = find(name)
    if option then return option end
    error(("bad argument #2 to '%s' (unknown option '%s'; any option can be "
        .. "given by its level and number)"):format(call, name), 3)
end

--- What an option of that name is set to, in words; nil for a name that isn't
--- known. For calls that check what they are given by themselves.
---@param name string
---@return string? expected
function options.expected(name)
    local option = found[name] or find(name)
    return option and option.codec.expected
end

--- Whether an option of a name that is known can be set to that.
---@param name string
---@param value any
---@return boolean
function options.fits(name, value)
    -- A cdata can claim to equal anything.
    local option = found[name] or find(name)
    return type(value) ~= "cdata" and option.codec.put(value) ~= nil
end

--- Sets an option to an integer. For calls that do so on the way.
---@param fd integer
---@param name string
---@param value integer
---@return integer errno 0 when it is set
function options.put(fd, name, value)
    local option = found[name] or find(name)
    number[0] = value
    local done = C.minisock_setsockopt(fd, option.level, option.number, number,
        ffi.sizeof(number))
    return done < 0 and errno() or 0
end

--- Sets an option to raw bytes, likewise.
---@param fd integer
---@param level integer
---@param optname integer
---@param bytes string
---@return integer errno 0 when it is set
function options.put_raw(fd, level, optname, bytes)
    local done = C.minisock_setsockopt(fd, level, optname, bytes, #bytes)
    return done < 0 and errno() or 0
end

--- Sets a socket option: by its name to a value of its kind, or by level and
--- number to raw bytes.
---@see setsockopt(2), socket(7), tcp(7), ip(7), ipv6(7)
---@param fd integer
---@param name string|integer "TCP_NODELAY", or a level
---@param value any a boolean, an integer, a string; SO_LINGER: seconds or
--- false; SO_RCVTIMEO, SO_SNDTIMEO: milliseconds, 0 for none. Or the option's
--- number, after a level
---@param bytes? string after a level and a number
---@return true? done, string? message, integer? code
function options.setsockopt(fd, name, value, bytes)
    fd = check.descriptor(fd, 1, "setsockopt")
    local option = found[name] or named(name, "setsockopt")
    local level, optname, data, size
    if option then
        -- A cdata can claim to equal anything.
        data = type(value) ~= "cdata" and option.codec.put(value)
        if not data then
            check.fail(3, "setsockopt", option.codec.expected, value)
        end
        level, optname = option.level, option.number
        size = type(data) == "string" and #data or option.codec.size
    else
        level = check.int(name, 2, "setsockopt")
        optname = check.int(value, 3, "setsockopt")
        data = check.string(bytes, 4, "setsockopt")
        size = #data
    end
    if not optname then return errors.fail("setsockopt", ENOPROTOOPT) end
    if C.minisock_setsockopt(fd, level, optname, data, size) < 0 then
        return errors.fail("setsockopt", errno())
    end
    return true
end

--- An integer as an option holds it.
---@param value integer
---@return string
function options.encode(value)
    number[0] = value
    return ffi.string(number, ffi.sizeof(number))
end

local function get(fd, level, optname, memory, size)
    length[0] = size
    if C.minisock_getsockopt(fd, level, optname, memory, length) < 0 then
        return nil, errno()
    end
    return math.min(length[0], size)
end

local function get_by_name(fd, option)
    if not option.number then return errors.fail("getsockopt", ENOPROTOOPT) end
    local codec = option.codec
    local size, code =
        get(fd, option.level, option.number, codec.memory, codec.size)
    if not size then return errors.fail("getsockopt", code) end
    return codec.get(size)
end

--- Reads a socket option: by its name a value of its kind, by level and
--- number raw bytes.
---@see getsockopt(2)
---@param fd integer
---@param name string|integer "SO_ERROR", or a level
---@param optname? integer the option's number, after a level
---@param size? integer how many bytes it may have at most
---@return any value, string? message, integer? code
function options.getsockopt(fd, name, optname, size)
    fd = check.descriptor(fd, 1, "getsockopt")
    local option = found[name] or named(name, "getsockopt")
    if option then return get_by_name(fd, option) end
    local level = check.int(name, 2, "getsockopt")
    optname = check.int(optname, 3, "getsockopt")
    size = check.integer(size, 4, "getsockopt", 1, 65536)
    local memory = buffers.scratch(size)
    local got, code = get(fd, level, optname, memory, size)
    if not got then return errors.fail("getsockopt", code) end
    return ffi.string(memory, got)
end

-- Which of those that are on or off a level and a number mean.
local booleans

local function list_booleans()
    booleans = {}
    for name, kind in pairs(KIND) do
        local option = kind == "boolean" and (found[name] or find(name))
        if option and option.number then
            booleans[option.level] = booleans[option.level] or {}
            booleans[option.level][option.number] = true
        end
    end
end

--- Reads an option that holds an integer: a boolean where it is on or off.
---@param fd integer
---@param level integer
---@param optname integer
---@return integer|boolean|nil value, string? message, integer? code
function options.get_number(fd, level, optname)
    if not booleans then list_booleans() end
    number[0] = 0
    local size, code =
        get(fd, level, optname, number, ffi.sizeof(number))
    if not size then return errors.fail("getsockopt", code) end
    if booleans[level] and booleans[level][optname] then
        return number[0] ~= 0
    end
    return number[0]
end

return options
