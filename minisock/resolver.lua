--- Host and service names to raw addresses, against a deadline. Stands on
--- minisock.address, minisock.cdefs, minisock.check, minisock.clock and
--- minisock.errors.
local ffi = require "ffi"
local address = require "minisock.address"
local cdefs = require "minisock.cdefs"
local check = require "minisock.check"
local clock = require "minisock.clock"
local errors = require "minisock.errors"

local shim, constant = cdefs.shim, cdefs.constant
local AI_PASSIVE = constant("AI_PASSIVE")
local EAI_NONAME = constant("EAI_NONAME")
local EAI_SERVICE = constant("EAI_SERVICE")
local ETIME = constant("ETIME")
local SOCK_STREAM = constant("SOCK_STREAM")
local PROTOCOL = {
    [SOCK_STREAM] = constant("IPPROTO_TCP"),
    [constant("SOCK_DGRAM")] = constant("IPPROTO_UDP"),
}

local resolver = {}

-- glibc takes "65616" for port 80, and so would connect elsewhere.
local function is_service(service)
    if service:find("\0", 1, true) then return false end
    if not service:find("^%s*[+-]?%d+$") then return true end
    local port = service:match("^%s*%+?(%d+)$")
    return port and tonumber(port) <= 65535
end

-- The port that a service is, when it says nothing but that.
local function port_of(service)
    if type(service) == "string" then
        if not service:find("^%d%d?%d?%d?%d?$") then return nil end
        service = tonumber(service)
    end
    if service >= 0 and service <= 65535 and service % 1 == 0 then
        return service
    end
end

-- With these, digits are what they are.
local PLAIN = {
    [0] = true, [AI_PASSIVE] = true, [constant("AI_NUMERICHOST")] = true,
}

-- What getaddrinfo(3) would find for digits and a port; nil for all else.
local function digits(host, service, hints)
    local protocol, port = PROTOCOL[hints.socktype], port_of(service)
    if not protocol or not port or (hints.protocol or 0) ~= 0
            or not PLAIN[hints.flags or 0] then
        return nil
    end
    local addr, family = address.of_digits(host, port)
    local wanted = hints.family or 0
    if not addr or wanted ~= 0 and wanted ~= family then return nil end
    return { {
        family = family,
        socktype = hints.socktype,
        protocol = protocol,
        addr = addr,
        canonname = "",
    } }
end

local lookup = ffi.new("struct minisock_lookup")

-- Where in a list it is. Not a local: compiled for i386, a loop can get from
-- one item to memory that isn't the next one's, and crash.
local CURSOR = ffi.typeof("struct minisock_addrinfo *[1]")

local function collect(list)
    local entries = {}
    local cursor = CURSOR(list)
    while cursor[0] ~= nil do
        local item = cursor[0]
        entries[#entries + 1] = {
            family = item.family,
            socktype = item.socktype,
            protocol = item.protocol,
            addr = ffi.string(item.addr, item.length),
            canonname = ffi.string(item.canonname),
        }
        cursor[0] = item.next
    end
    shim.minisock_free_list(list)
    return entries
end

---@class minisock.resolver.hints
---@field family? integer
---@field socktype? integer
---@field protocol? integer
---@field flags? integer

---@class minisock.resolver.entry
---@field family integer
---@field socktype integer
---@field protocol integer
---@field addr string
---@field canonname string "" unless AI_CANONNAME asked for it

--- Resolves. What went wrong is an EAI code, with the errno behind
--- EAI_SYSTEM, or ETIME alone, which no EAI code equals.
---@param host string? nil for this machine, or for any with AI_PASSIVE
---@param service string|integer|nil
---@param hints minisock.resolver.hints
---@param deadline number
---@return minisock.resolver.entry[]? entries, integer? code, integer? system
function resolver.entries(host, service, hints, deadline)
    if host and host:find("\0", 1, true) then return nil, EAI_NONAME end
    local found = host and service and digits(host, service, hints)
    if found then return found end
    if type(service) == "number" then service = ("%d"):format(service) end
    if service and not is_service(service) then return nil, EAI_SERVICE end
    local code = shim.minisock_resolve(host, service, hints.family or 0,
        hints.socktype or 0, hints.protocol or 0, hints.flags or 0, deadline,
        lookup)
    if code ~= 0 then return nil, ETIME end
    if lookup.error ~= 0 then
        return nil, lookup.error, lookup.system_error
    end
    return collect(lookup.list)
end

--- Resolves likewise, to raw addresses alone.
---@param host string?
---@param service string|integer|nil
---@param hints minisock.resolver.hints
---@param deadline number
---@return string[]? addresses, integer? code, integer? system
function resolver.lookup(host, service, hints, deadline)
    local list, code, system =
        resolver.entries(host, service, hints, deadline)
    if not list then return nil, code, system end
    for i, entry in ipairs(list) do list[i] = entry.addr end
    return list
end

--- The results of a public call whose lookup failed.
---@param call string
---@param code integer
---@param system integer?
---@return nil, string, integer
function resolver.fail(call, code, system)
    if code == ETIME then return errors.fail(call, ETIME) end
    return errors.fail_resolve(call, code, system)
end

local OPTIONS = {
    family = "integer",
    socktype = "integer",
    flags = "integer",
    timeout = "timeout in milliseconds",
}

---@class minisock.getaddrinfo_options
---@field family? integer any by default
---@field socktype? integer SOCK_STREAM by default
---@field flags? integer AI_PASSIVE, ...
---@field timeout? number in ms, for ever by default

--- The addresses of a host and a service. With a timeout, a lookup that takes
--- longer is left to finish by itself, in a thread of its own; with 0, only
--- what needs no name server is answered: digits, or no host at all.
---@see getaddrinfo(3)
---@param host? string a name or an address; nil, with a service, for this
--- machine, or with AI_PASSIVE for every address of it
---@param service? string|integer a name or a port; port 0 by default
---@param opts? minisock.getaddrinfo_options
---@return string[]? addresses, string? message, integer? code an EAI code
function resolver.getaddrinfo(host, service, opts)
    host = check.optional_string(host, 1, "getaddrinfo")
    service = check.optional_service(service, 2, "getaddrinfo")
    opts = check.options(opts, 3, "getaddrinfo", OPTIONS)
    local hints = {
        family = opts.family,
        socktype = opts.socktype or SOCK_STREAM,
        flags = opts.flags,
    }
    local list, code, system = resolver.lookup(host, service, hints,
        clock.deadline(opts.timeout or math.huge))
    if not list then return resolver.fail("getaddrinfo", code, system) end
    return list
end

return resolver
