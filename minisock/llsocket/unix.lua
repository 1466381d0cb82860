--- llsocket.unix: paths to address infos. Stands on minisock.
local ms = require "minisock"
local addrinfo = require "minisock.llsocket.addrinfo"
local check = require "minisock.check"
local errors = require "minisock.errors"

local PATH_SIZE = 108

local unix = {}

--- The address of a Unix socket: an abstract one after a NUL; "@" means
--- nothing here.
---@param path string
---@param socktype? integer
---@param protocol? integer
---@param ... integer flags, which mean nothing for a path
---@return minisock.llsocket.addrinfo? ai, string? message it is also a list of
--- itself, as the original's documentation has it
function unix.getaddrinfo(path, socktype, protocol, ...)
    path = check.strict("string", path, 1, "getaddrinfo")
    socktype = check.strict_int(socktype, 2, "getaddrinfo", 0)
    protocol = check.strict_int(protocol, 3, "getaddrinfo", 0)
    addrinfo.flags("getaddrinfo", 4, ...)
    if path:find("%z") and path:byte() ~= 0 then
        return nil, errors.text(ms.EINVAL) -- the kernel would cut it there
    end
    if #path > PATH_SIZE then return nil, errors.text(ms.ENAMETOOLONG) end
    local ai = addrinfo.new({
        family = ms.AF_UNIX,
        socktype = socktype,
        protocol = protocol,
        addr = ms.unixaddr("") .. path,
    })
    ai[1] = ai
    return ai
end

return unix
