--- What the look-alikes of TCP and UDP cosockets share: their words for what
--- went wrong, what they take for data, and where a host and a port are.
--- Stands on minisock and minisock.resolver.
local ms = require "minisock"
local check = require "minisock.check"
local clock = require "minisock.clock"
local errors = require "minisock.errors"
local resolver = require "minisock.resolver"

local ETIME = ms.ETIME

local common = {}

--- How long a cosocket waits, in ms, when it isn't told.
common.TIMEOUT = 60000

--- A cosocket's word for a failed call of the core's, or of LuaSec's, which
--- has no code.
---@param message string
---@param code? integer
---@return string
function common.reason(message, code)
    if errors.is_timeout(message) then return "timeout" end
    if not code then return message end
    return errors.text(code):lower()
end

--- A timeout that a caller gave; 0 and nil are for the default.
---@param value any
---@param arg integer
---@param call string
---@return number ms
function common.timeout(value, arg, call)
    if check.absent(value) then return common.TIMEOUT end
    local timeout = check.number(value)
    if not timeout or timeout < 0 or timeout ~= timeout then
        error(("bad argument #%d to '%s' (bad timeout value)")
            :format(arg, call), 3)
    end
    return timeout == 0 and common.TIMEOUT or timeout
end

-- Whether a table is an array, as far as keys tell, and of what size.
local function array_size(data)
    local size = 0
    for key in pairs(data) do
        if type(key) ~= "number" or key < 1 or key % 1 ~= 0 then return nil end
        size = math.max(size, key)
    end
    return size
end

-- Appends the pieces of nested tables; returns what is wrong with them.
local function flatten(data, pieces)
    local kind = type(data)
    if kind == "string" then
        pieces[#pieces + 1] = data
    elseif kind == "number" then
        -- As Lua writes it; but a cosocket has no negative zero.
        pieces[#pieces + 1] = tostring(data == 0 and 0 or data)
    elseif kind == "table" then
        local size = array_size(data)
        if not size then return "non-array table found" end
        for i = 1, size do
            local wrong = flatten(data[i], pieces)
            if wrong then return wrong end
        end
    else
        return ("bad data type %s found"):format(kind)
    end
end

--- The string to send: of a string, a number, a boolean, nil, or a table of
--- strings, numbers and tables. The caller is the public function itself.
---@param data any
---@return string
function common.join(data)
    if type(data) == "string" then return data end
    if check.absent(data) or type(data) == "boolean" then
        return tostring(data)
    end
    local pieces = {}
    local wrong = flatten(data, pieces)
    if wrong then
        error(("bad argument #1 to 'send' (%s)"):format(wrong), 3)
    end
    return table.concat(pieces)
end

local function unparsed(host, why)
    return nil, ('failed to parse host name "%s": %s'):format(host, why)
end

local function unix_address(host)
    local path = host:sub(#"unix:" + 1)
    if path == "" then
        return unparsed(host, "no path in the unix domain socket")
    end
    local addr, _, code = ms.unixaddr(path)
    if code == ms.ENAMETOOLONG then
        return unparsed(host, "too long path in the unix domain socket")
    elseif not addr then
        return nil, errors.text(code):lower()
    end
    return { addr }
end

-- The host's address when it is one in digits: "127.0.0.1", "[::1]".
local function numeric_address(host, port)
    if host == "" then return unparsed(host, "no host") end
    if host:sub(1, 1) ~= "[" then return ms.inetaddr(host, port) end
    local ip = host:match("^%[(.*)%]$")
    if not ip then return unparsed(host, "invalid host") end
    if ip == "" then return unparsed(host, "no host") end
    local addr = ms.inet6addr(ip, port)
    if not addr then return unparsed(host, "invalid IPv6 address") end
    return addr
end

--- The raw addresses of a host and a port, or of "unix:/path". What resolves a
--- name is libc, with /etc/hosts.
---@param host string
---@param port integer?
---@param socktype integer
---@param timeout number in ms
---@return string[]? addresses, string? reason
function common.addresses(host, port, socktype, timeout)
    if host:sub(1, 5) == "unix:" then return unix_address(host) end
    local addr, reason, code = numeric_address(host, port)
    if addr then return { addr } end
    if not code then return nil, reason end
    -- libc would take it for this machine.
    if host == "*" then return nil, "* could not be resolved" end
    local list, problem, system = resolver.lookup(host, port,
        { socktype = socktype }, clock.deadline(timeout))
    if list then return list end
    return nil, ("%s could not be resolved (%s)"):format(host,
        problem == ETIME and "110: Operation timed out"
            or errors.resolver_text(problem, system))
end

--- The port that a caller gave.
---@param port any a number, or one in a string
---@return integer? port, string? reason
function common.port(port)
    local number = check.number(port)
    if not number or number ~= number then
        return nil, "missing the port number"
    end
    number = number < 0 and math.ceil(number) or math.floor(number)
    if number < 0 or number > 65535 then
        return nil, ("bad port number: %.0f"):format(number)
    end
    return number
end

return common
