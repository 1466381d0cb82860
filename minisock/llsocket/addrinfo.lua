--- Address infos, as llsocket hands them around. Stands on minisock.
local ms = require "minisock"
local check = require "minisock.check"
local errors = require "minisock.errors"
local names = require "minisock.names"

local bor = bit.bor

---@class minisock.llsocket.addrinfo
---@field raw string
---@field kind { family: integer, socktype: integer, protocol: integer }
---@field name string the canonical name
local AddrInfo = { __name = "llsocket.addrinfo" }
AddrInfo.__index = AddrInfo

local addrinfo = {}

---@param entry minisock.resolver.entry
---@return minisock.llsocket.addrinfo
function addrinfo.new(entry)
    return setmetatable({
        raw = entry.addr,
        kind = {
            family = entry.family,
            socktype = entry.socktype,
            protocol = entry.protocol,
        },
        name = entry.canonname or "",
    }, AddrInfo)
end

--- By its name, so that one made before a hot reload is still one.
---@param value any
---@return boolean
function addrinfo.is(value)
    local meta = type(value) == "table" and getmetatable(value)
    return type(meta) == "table" and meta.__name == AddrInfo.__name
end

--- Flags that come one by one, nil among them.
---@param call string
---@param first integer the position of the first
---@param ... integer?
---@return integer
function addrinfo.flags(call, first, ...)
    local flags = 0
    for i = 1, select("#", ...) do
        local flag = select(i, ...)
        if not check.absent(flag) then
            if type(flag) ~= "number" or bit.tobit(flag) ~= flag then
                error(("bad argument #%d to '%s' (integer expected, got %s)")
                    :format(first + i - 1, call, type(flag)), 3)
            end
            flags = bor(flags, flag)
        end
    end
    return flags
end

--- Whether sockets of this kind have an end, at which they read nothing.
---@param kind { socktype: integer }
---@return boolean
function addrinfo.is_stream(kind)
    return kind.socktype ~= ms.SOCK_DGRAM and kind.socktype ~= ms.SOCK_RAW
end

---@return integer
function AddrInfo:family() return self.kind.family end

---@return integer
function AddrInfo:socktype() return self.kind.socktype end

---@return integer
function AddrInfo:protocol() return self.kind.protocol end

--- The address: { ip, port }, or { path }.
---@return table?
function AddrInfo:addr()
    local parts = ms.parseaddr(self.raw)
    if not parts then return end
    if parts.path then return { parts.path } end
    return { parts.addr, parts.port }
end

--- The canonical name, when AI_CANONNAME asked for it; else no value.
---@return string?
function AddrInfo:canonname()
    if self.name == "" then return end
    return self.name
end
AddrInfo.cannoname = AddrInfo.canonname -- as the original spells it

--- The names of host and service. A name server may be asked, which blocks.
---@see getnameinfo(3)
---@param ... integer NI_NUMERICHOST, ...
---@return { host: string, service: string, serv: string }? names
---@return string? message
function AddrInfo:getnameinfo(...)
    local flags = addrinfo.flags("getnameinfo", 1, ...)
    local code, host, service = names.describe(self.raw, flags)
    if code ~= 0 then return nil, errors.resolver_text(code, host) end
    return { host = host, service = service, serv = service }
end
AddrInfo.nameinfo = AddrInfo.getnameinfo

function AddrInfo:__tostring()
    return ("llsocket.addrinfo: %p"):format(self)
end

return addrinfo
