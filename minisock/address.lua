--- Raw addresses: a struct sockaddr in a Lua string, of its exact length.
--- Builds them, and tells whether a string is one. Stands on minisock.buffers,
--- minisock.cdefs, minisock.check and minisock.errors.
local ffi = require "ffi"
local buffers = require "minisock.buffers"
local cdefs = require "minisock.cdefs"
local check = require "minisock.check"
local errors = require "minisock.errors"

local C = ffi.C
local constant = cdefs.constant

if not pcall(ffi.typeof, "struct minisock_address_1") then
    ffi.cdef [[
    struct minisock_address_1 { int unused; };
    int minisock_inet_pton(int, const char *, void *) __asm__("inet_pton");
    uint32_t minisock_if_nametoindex(const char *) __asm__("if_nametoindex");
    int minisock_memcmp(const void *, const void *, size_t) __asm__("memcmp");
    ]]
end

local AF_UNIX = constant("AF_UNIX")
local AF_INET = constant("AF_INET")
local AF_INET6 = constant("AF_INET6")
local EINVAL = constant("EINVAL")
local ENAMETOOLONG = constant("ENAMETOOLONG")
local ENODEV = constant("ENODEV")

local INET_SIZE = ffi.sizeof("struct minisock_sockaddr_in")
local INET6_SIZE = ffi.sizeof("struct minisock_sockaddr_in6")
local FAMILY_SIZE = 2
local PATH_SIZE = 108

local inet = ffi.new("struct minisock_sockaddr_in")
local inet6 = ffi.new("struct minisock_sockaddr_in6")

local address = {}

-- Any address is longer than its family, of which it starts with two bytes.
local SHORTEST = {
    [AF_UNIX] = FAMILY_SIZE,
    [AF_INET] = INET_SIZE,
    [AF_INET6] = INET6_SIZE,
}

local family_of
if ffi.abi("le") then
    function family_of(addr)
        local low, high = addr:byte(1, 2)
        return high and low + high * 256
    end
else
    function family_of(addr)
        local high, low = addr:byte(1, 2)
        return low and low + high * 256
    end
end

--- The family of a raw address; nil when the string isn't a whole address of
--- one of the three families.
---@param addr string
---@return integer?
function address.family(addr)
    local family = family_of(addr)
    local shortest = SHORTEST[family]
    if shortest and #addr >= shortest then return family end
end

-- Returns whether ip is an address of the family.
local function fill(struct, size, family, ip, port)
    buffers.clear(struct, size)
    if ip:find("\0", 1, true)
            or C.minisock_inet_pton(family, ip, struct.addr) ~= 1 then
        return false
    end
    struct.family = family
    struct.port[0] = math.floor(port / 256)
    struct.port[1] = port % 256
    return true
end

--- The raw address of an IPv4 address and a port.
---@param ip string as inet_pton(3) takes it: four decimal numbers
---@param port integer 0 to 65535
---@return string? addr, string? message, integer? code EINVAL
function address.inetaddr(ip, port)
    ip = check.string(ip, 1, "inetaddr")
    port = check.integer(port, 2, "inetaddr", 0, 65535)
    if not fill(inet, INET_SIZE, AF_INET, ip, port) then
        return errors.fail("inetaddr", EINVAL)
    end
    return ffi.string(inet, INET_SIZE)
end

--- The index of an interface; nil when there is none of that name.
---@param name string
---@return integer?
function address.interface_index(name)
    if name:find("\0", 1, true) then return nil end
    local index = C.minisock_if_nametoindex(name)
    return index ~= 0 and index or nil
end

local UINT_MAX = 2^32 - 1

--- The raw address of an IPv6 address and a port.
---@param ip string as inet_pton(3) takes it, so without a "%scope"
---@param port integer 0 to 65535
---@param scope? integer|string the interface of a link-local address, by its
--- index or its name
---@return string? addr, string? message, integer? code EINVAL; ENODEV when
--- there is no such interface
function address.inet6addr(ip, port, scope)
    ip = check.string(ip, 1, "inet6addr")
    port = check.integer(port, 2, "inet6addr", 0, 65535)
    if check.absent(scope) then
        scope = 0
    elseif type(scope) == "string" and not tonumber(scope) then
        scope = address.interface_index(scope)
        if not scope then return errors.fail("inet6addr", ENODEV) end
    else
        scope = check.integer(scope, 3, "inet6addr", 0, UINT_MAX,
            "interface name or index")
    end
    if not fill(inet6, INET6_SIZE, AF_INET6, ip, port) then
        return errors.fail("inet6addr", EINVAL)
    end
    inet6.scope = scope
    return ffi.string(inet6, INET6_SIZE)
end

--- The raw address of digits, IPv4 or IPv6, and a port; nil for what isn't any.
---@param ip string
---@param port integer 0 to 65535
---@return string? addr, integer? family
function address.of_digits(ip, port)
    if fill(inet, INET_SIZE, AF_INET, ip, port) then
        return ffi.string(inet, INET_SIZE), AF_INET
    elseif fill(inet6, INET6_SIZE, AF_INET6, ip, port) then
        inet6.scope = 0
        return ffi.string(inet6, INET6_SIZE), AF_INET6
    end
end

inet.family = AF_UNIX
local UNIX = ffi.string(inet, FAMILY_SIZE)

--- The raw address of a Unix socket.
---@param path string a pathname; a name in the abstract namespace after a NUL
--- or an "@" (write "./@name" for a file of that name); "" for no name
---@return string? addr, string? message, integer? code ENAMETOOLONG above 108
--- bytes, EINVAL for a NUL inside a pathname
function address.unixaddr(path)
    path = check.string(path, 1, "unixaddr")
    local first = path:sub(1, 1)
    if first == "@" then
        path = "\0" .. path:sub(2)
    elseif first ~= "\0" and path:find("\0", 1, true) then
        return errors.fail("unixaddr", EINVAL)
    end
    if #path > PATH_SIZE then return errors.fail("unixaddr", ENAMETOOLONG) end
    return UNIX .. path
end

--- A Unix address as the kernel gives it may count a NUL beyond sun_path,
--- and would then be refused as an argument.
---@param buffer ffi.cdata*
---@param length integer as the kernel gave it
---@return string
function address.take(buffer, length)
    local addr = ffi.string(buffer, math.min(length, 128))
    if #addr > FAMILY_SIZE + PATH_SIZE and family_of(addr) == AF_UNIX then
        addr = addr:sub(1, FAMILY_SIZE + PATH_SIZE)
    end
    return addr
end

--- The same, but where it is the address in `last` that string is returned: to
--- make a string anew is most of the work of receiving a small datagram.
---@param buffer ffi.cdata*
---@param length integer
---@param last string
---@return string
function address.take_again(buffer, length, last)
    if #last == length and C.minisock_memcmp(buffer, last, length) == 0 then
        return last
    end
    return address.take(buffer, length)
end

return address
