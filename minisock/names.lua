--- What raw addresses say: their parts, and the names that getnameinfo(3) has
--- for them. Stands on minisock.address, minisock.buffers, minisock.cdefs,
--- minisock.check and minisock.errors.
local bit = require "bit"
local ffi = require "ffi"
local address = require "minisock.address"
local buffers = require "minisock.buffers"
local cdefs = require "minisock.cdefs"
local check = require "minisock.check"
local errors = require "minisock.errors"

local bor = bit.bor
local constant = cdefs.constant

if not pcall(ffi.typeof, "struct minisock_names_2") then
    ffi.cdef [[
    struct minisock_names_2 { int unused; };
    int minisock_getnameinfo(const void *, uint32_t, char *, uint32_t, char *,
                             uint32_t, int) __asm__("getnameinfo");
    void minisock_inet_ntop(int, const void *, char *, uint32_t)
        __asm__("inet_ntop");
    ]]
end

local AF_UNIX = constant("AF_UNIX")
local AF_INET = constant("AF_INET")
local AF_INET6 = constant("AF_INET6")
local EINVAL = constant("EINVAL")
local NI_NUMERICHOST = constant("NI_NUMERICHOST")
local NI_NUMERICSERV = constant("NI_NUMERICSERV")

local FAMILY_SIZE = 2
local INET_SIZE = ffi.sizeof("struct minisock_sockaddr_in")
local INET6_SIZE = ffi.sizeof("struct minisock_sockaddr_in6")

local inet = ffi.new("struct minisock_sockaddr_in")
local inet6 = ffi.new("struct minisock_sockaddr_in6")

local names = {}

local function parse_unix(addr)
    local path = addr:sub(FAMILY_SIZE + 1)
    if path:byte(1) ~= 0 then path = path:match("^%Z*") end
    return { family = "unix", path = path }
end

local HOST_SIZE, SERVICE_SIZE = 1025, 128
local host = ffi.new("char[?]", HOST_SIZE)
local service = ffi.new("char[?]", SERVICE_SIZE)

--- What getnameinfo(3) says of an address, with flags of its own.
---@param addr string one for which `address.family` has an answer
---@param flags integer NI_NUMERICHOST, ...
---@return integer code 0, or an EAI code
---@return string|integer host_or_errno, string? service
function names.describe(addr, flags)
    local code = ffi.C.minisock_getnameinfo(addr, #addr, host, HOST_SIZE,
        service, SERVICE_SIZE, flags)
    local errno = ffi.errno()
    if code ~= 0 then return code, errno end
    return 0, ffi.string(host), ffi.string(service)
end

local function parse_inet(addr)
    buffers.copy(inet, addr, INET_SIZE)
    return {
        family = "inet",
        addr = ("%d.%d.%d.%d"):format(inet.addr[0], inet.addr[1],
            inet.addr[2], inet.addr[3]),
        port = inet.port[0] * 256 + inet.port[1],
        scope = 0,
    }
end

local function parse_inet6(addr)
    buffers.copy(inet6, addr, INET6_SIZE)
    ffi.C.minisock_inet_ntop(AF_INET6, inet6.addr, host, HOST_SIZE)
    local text = ffi.string(host)
    local port = inet6.port[0] * 256 + inet6.port[1]
    return { family = "inet6", addr = text, port = port, scope = inet6.scope }
end

local PARSE = {
    [AF_UNIX] = parse_unix,
    [AF_INET] = parse_inet,
    [AF_INET6] = parse_inet6,
}

---@class minisock.address
---@field family "unix"|"inet"|"inet6"
---@field path? string a Unix address: a pathname, a NUL and an abstract name,
--- or "" when unnamed
---@field addr? string an IP address, in digits
---@field port? integer
---@field scope? integer the index of an IPv6 address's interface, or 0

--- Takes a raw address apart.
---@param addr string
---@return minisock.address? parts, string? message, integer? code EINVAL
function names.parseaddr(addr)
    addr = check.string(addr, 1, "parseaddr")
    local family = address.family(addr)
    if not family then return errors.fail("parseaddr", EINVAL) end
    return PARSE[family](addr)
end

--- The host and the port of a raw address. Without numeric_host the name
--- server may be asked, which blocks for as long as it takes.
---@see getnameinfo(3)
---@param addr string
---@param numeric_host? boolean give the address in digits, ask nobody
---@return string? host, integer|string port_or_message, integer? code an EAI
--- code; EINVAL when addr isn't an address
function names.getnameinfo(addr, numeric_host)
    addr = check.string(addr, 1, "getnameinfo")
    if not address.family(addr) then
        return errors.fail("getnameinfo", EINVAL)
    end
    local code, name, port = names.describe(addr,
        bor(NI_NUMERICSERV, numeric_host and NI_NUMERICHOST or 0))
    if code ~= 0 then
        return errors.fail_resolve("getnameinfo", code, name)
    end
    if address.family(addr) == AF_UNIX then return name, 0 end
    return name, tonumber(port)
end

return names
