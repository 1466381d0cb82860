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

-- A struct, and pointers to what isn't a number in it. Were they made when
-- they are wanted, a finaliser could run then, and fill in the struct anew.
local function views(name)
    local type = "struct minisock_" .. name
    local struct = ffi.new(type)
    local start = ffi.cast("uint8_t *", struct)
    return {
        struct = struct,
        port = start + ffi.offsetof(type, "port"),
        addr = start + ffi.offsetof(type, "addr"),
        size = ffi.sizeof(type),
    }
end

local inet, inet6 = views("sockaddr_in"), views("sockaddr_in6")

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

-- The raw address, or nil when ip is none of the family.
local function build(view, family, ip, port, scope)
    local struct, bytes = view.struct, view.port
    if ip:find("\0", 1, true) then return nil end
    buffers.clear(struct, view.size)
    if C.minisock_inet_pton(family, ip, view.addr) ~= 1 then return nil end
    struct.family = family
    bytes[0] = math.floor(port / 256)
    bytes[1] = port % 256
    if scope then struct.scope = scope end
    return ffi.string(struct, view.size)
end

--- The raw address of an IPv4 address and a port.
---@param ip string as inet_pton(3) takes it: four decimal numbers
---@param port integer 0 to 65535
---@return string? addr, string? message, integer? code EINVAL
function address.inetaddr(ip, port)
    ip = check.string(ip, 1, "inetaddr")
    port = check.integer(port, 2, "inetaddr", 0, 65535)
    local addr = build(inet, AF_INET, ip, port)
    if not addr then return errors.fail("inetaddr", EINVAL) end
    return addr
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
    local addr = build(inet6, AF_INET6, ip, port, scope)
    if not addr then return errors.fail("inet6addr", EINVAL) end
    return addr
end

--- The raw address of digits, IPv4 or IPv6, and a port; nil for what isn't any.
---@param ip string
---@param port integer 0 to 65535
---@return string? addr, integer? family
function address.of_digits(ip, port)
    local addr = build(inet, AF_INET, ip, port)
    if addr then return addr, AF_INET end
    addr = build(inet6, AF_INET6, ip, port)
    if addr then return addr, AF_INET6 end
end

inet.struct.family = AF_UNIX
local UNIX = ffi.string(inet.struct, FAMILY_SIZE)

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
