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
local inet6 = ffi.new("struct minisock_sockaddr_in6")
local INET6_SIZE = ffi.sizeof(inet6)
local ADDR_AT = ffi.offsetof("struct minisock_sockaddr_in6", "addr")
local SCOPE_AT = ffi.offsetof("struct minisock_sockaddr_in6", "scope")

local names = {}

local function parse_unix(addr)
    local path = addr:sub(FAMILY_SIZE + 1)
    if path:byte(1) ~= 0 then path = path:match("^%Z*") end
    return { family = "unix", path = path }
end

local HOST_SIZE, SERVICE_SIZE = 1025, 128
local CHARS = ffi.typeof("char[?]")
local borrow, give_back = buffers.lender(function()
    return { host = CHARS(HOST_SIZE), service = CHARS(SERVICE_SIZE) }
end)

--- What getnameinfo(3) says of an address, with flags of its own.
---@param addr string one for which `address.family` has an answer
---@param flags integer NI_NUMERICHOST, ...
---@return integer code 0, or an EAI code
---@return string|integer host_or_errno, string? service
function names.describe(addr, flags)
    local work = borrow()
    local code = ffi.C.minisock_getnameinfo(addr, #addr, work.host, HOST_SIZE,
        work.service, SERVICE_SIZE, flags)
    local errno = ffi.errno()
    if code ~= 0 then
        give_back(work)
        return code, errno
    end
    local host, service = ffi.string(work.host), ffi.string(work.service)
    give_back(work)
    return 0, host, service
end

local function port_of(addr)
    local high, low = addr:byte(FAMILY_SIZE + 1, FAMILY_SIZE + 2)
    return high * 256 + low
end

local function parse_inet(addr)
    local a, b, c, d = addr:byte(FAMILY_SIZE + 3, FAMILY_SIZE + 6)
    return {
        family = "inet",
        addr = ("%d.%d.%d.%d"):format(a, b, c, d),
        port = port_of(addr),
        scope = 0,
    }
end

local function parse_inet6(addr)
    buffers.copy(inet6, addr, INET6_SIZE)
    local scope = inet6.scope
    local work = borrow()
    ffi.C.minisock_inet_ntop(AF_INET6, addr:sub(ADDR_AT + 1, SCOPE_AT),
        work.host, HOST_SIZE)
    local text = ffi.string(work.host)
    give_back(work)
    return { family = "inet6", addr = text, port = port_of(addr),
        scope = scope }
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
