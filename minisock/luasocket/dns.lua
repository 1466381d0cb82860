--- LuaSocket's dns: names and addresses, both ways. Stands on
--- minisock.resolver and minisock.luasocket.object.
local ms = require "minisock"
local check = require "minisock.check"
local errors = require "minisock.errors"
local object = require "minisock.luasocket.object"
local describe = require("minisock.names").describe
local resolver = require "minisock.resolver"

local AF_INET, SOCK_STREAM = ms.AF_INET, ms.SOCK_STREAM
local AI_CANONNAME = ms.AI_CANONNAME
local NI_NUMERICHOST = ms.NI_NUMERICHOST
local FOREVER = math.huge

local NO_HOST = { [ms.EAI_NONAME] = true, [ms.EAI_ADDRFAMILY or 0] = true }

local dns = {}

-- What gethostbyname(3) would have told: the addresses and the official name.
local function host_entry(host)
    local hints = {
        family = AF_INET, socktype = SOCK_STREAM, flags = AI_CANONNAME,
    }
    local entries, code, system =
        resolver.entries(host, nil, hints, FOREVER)
    if not entries then
        if NO_HOST[code] then return nil, "host not found" end
        return nil, errors.resolver_text(code, system)
    end
    local found = { name = entries[1].canonname, alias = {}, ip = {} }
    for i, entry in ipairs(entries) do
        found.ip[i] = ms.parseaddr(entry.addr).addr
    end
    return found
end

-- The name of an address, which is the address itself where it has none.
local function name_of(ip)
    return (ms.getnameinfo(ms.inetaddr(ip, 0))) or ip
end

--- The first IPv4 address of a host, and all of them.
---@param host string
---@return string? ip, table|string entry_or_reason with name, alias and ip
function dns.toip(host)
    host = check.string(host, 1, "toip")
    local found, reason = host_entry(host)
    if not found then return nil, reason end
    if ms.inetaddr(host, 0) then found.name = name_of(found.ip[1]) end
    return found.ip[1], found
end

--- The name of a host of IPv4, by its address or another name.
---@param host string
---@return string? name, table|string entry_or_reason
function dns.tohostname(host)
    host = check.string(host, 1, "tohostname")
    local found, reason = host_entry(host)
    if not found then return nil, reason end
    found.name = name_of(found.ip[1])
    return found.name, found
end

--- All addresses of a host.
---@param host string
---@return table[]? addresses, string? reason each has family and addr
function dns.getaddrinfo(host)
    host = check.string(host, 1, "getaddrinfo")
    local hints = { socktype = SOCK_STREAM }
    local list, code, system = resolver.lookup(host, nil, hints, FOREVER)
    if not list then return nil, object.resolver_words(code, system) end
    for i, addr in ipairs(list) do
        local ip, _, family = object.place(addr)
        list[i] = { family = family, addr = ip }
    end
    return list
end

--- The names of a host, and of a service.
---@param host? string
---@param service? string|integer
---@return string[]? names, string? service_or_reason
function dns.getnameinfo(host, service)
    host = check.optional_string(host, 1, "getnameinfo")
    service = check.optional_string(service, 2, "getnameinfo")
    if not host and not service then
        error("host and serv cannot be both nil", 2)
    end
    local hints = { socktype = SOCK_STREAM }
    local list, code, system = resolver.lookup(host, service, hints, FOREVER)
    if not list then return nil, object.resolver_words(code, system) end
    local names = {}
    for i, addr in ipairs(host and list or {}) do
        names[i] = ms.getnameinfo(addr)
    end
    if not service then return names end
    local _, _, name = describe(list[1], NI_NUMERICHOST)
    return names, name
end

--- The name of this machine.
---@see hostname(1)
---@return string? name, string? reason
function dns.gethostname()
    local file, reason = io.open("/proc/sys/kernel/hostname")
    if not file then return nil, reason end
    local name = file:read("*l")
    file:close()
    return name
end

return dns
