--- llsocket.inet: hosts and services to address infos. Stands on minisock.
local ms = require "minisock"
local addrinfo = require "minisock.llsocket.addrinfo"
local check = require "minisock.check"
local errors = require "minisock.errors"
local resolver = require "minisock.resolver"

local inet = {}

local function lookup(family, host, port, socktype, protocol, flags)
    local hints = {
        family = family,
        socktype = socktype,
        protocol = protocol,
        flags = flags,
    }
    local list, code, system =
        resolver.entries(host, port, hints, math.huge)
    if not list then return nil, errors.resolver_text(code, system) end
    for i, entry in ipairs(list) do list[i] = addrinfo.new(entry) end
    return list
end

--- The addresses of a host and a service. Blocks for as long as it takes.
---@see getaddrinfo(3)
---@param host? string
---@param port? string
---@param socktype? integer any by default
---@param protocol? integer
---@param ... integer AI_PASSIVE, ...
---@return minisock.llsocket.addrinfo[]? list, string? message
function inet.getaddrinfo(host, port, socktype, protocol, ...)
    check.optional_strict("string", host, 1, "getaddrinfo")
    check.optional_strict("string", port, 2, "getaddrinfo")
    socktype = check.strict_int(socktype, 3, "getaddrinfo", 0)
    protocol = check.strict_int(protocol, 4, "getaddrinfo", 0)
    return lookup(ms.AF_UNSPEC, host, port, socktype, protocol,
        addrinfo.flags("getaddrinfo", 5, ...))
end

--- The IPv6 addresses alone.
---@param host? string
---@param port? string
---@param socktype? integer
---@param protocol? integer
---@param ... integer
---@return minisock.llsocket.addrinfo[]? list, string? message
function inet.getaddrinfo6(host, port, socktype, protocol, ...)
    check.optional_strict("string", host, 1, "getaddrinfo6")
    check.optional_strict("string", port, 2, "getaddrinfo6")
    socktype = check.strict_int(socktype, 3, "getaddrinfo6", 0)
    protocol = check.strict_int(protocol, 4, "getaddrinfo6", 0)
    return lookup(ms.AF_INET6, host, port, socktype, protocol,
        addrinfo.flags("getaddrinfo6", 5, ...))
end

return inet
