--- The look-alike of ngx.socket.udp's objects. Stands on minisock,
--- minisock.owner and minisock.resty.common.
local ms = require "minisock"
local address = require "minisock.address"
local check = require "minisock.check"
local common = require "minisock.resty.common"
local owner = require "minisock.owner"

local AF_UNIX, SOCK_DGRAM = ms.AF_UNIX, ms.SOCK_DGRAM
local UNNAMED = ms.unixaddr("")

-- More than any datagram has.
local SIZE = 65536

local udp = {}

---@class minisock.resty.udp
---@field owner? minisock.owner
---@field timeout number in ms
local Udp = {}
Udp.__index = Udp

--- As ngx.socket.udp().
---@return minisock.resty.udp
function udp.new()
    return setmetatable({ timeout = common.TIMEOUT }, Udp)
end

-- Returns a connected descriptor, or nil, a message and an errno.
local function open(addr)
    local family = address.family(addr)
    local fd, message, code =
        owner.open(ms.socket, family, SOCK_DGRAM + ms.SOCK_NONBLOCK)
    if not fd then return nil, message, code end
    local done = true
    -- Without a name of its own, a Unix socket can't be answered.
    if family == AF_UNIX then done, message, code = ms.bindfd(fd, UNNAMED) end
    if done then done, message, code = ms.connectfd(fd, addr) end
    if done then return fd end
    ms.close(fd)
    return nil, message, code
end

local function check_port(port)
    if check.absent(port) then return 0 end
    if not check.number(port) then
        error(("bad argument #2 to 'setpeername' (number expected, got %s)")
            :format(type(port)), 3)
    end
    return common.port(port)
end

--- Whom to send to and to receive from.
---@param host string a name, an address, or "unix:/path"
---@param port? integer
---@return 1? done, string? reason
function Udp:setpeername(host, port)
    host = check.string(host, 1, "setpeername")
    local number, reason = check_port(port)
    if not number then return nil, reason end
    local list
    list, reason = common.addresses(host, number, SOCK_DGRAM, self.timeout)
    if not list then return nil, reason end
    local fd, message, code
    for _, addr in ipairs(list) do
        fd, message, code = open(addr)
        if fd then break end
    end
    if not fd then return nil, common.reason(message, code) end
    if self.owner then
        owner.replace(self.owner, fd)
    else
        self.owner = owner.new(fd)
    end
    return 1
end

--- Sends a datagram. When the queue is full it waits, until the timeout.
---@param data string|number|boolean|nil|table as for a TCP socket
---@return 1? done, string? reason
function Udp:send(data)
    local held = self.owner
    if not held then return nil, "closed" end
    data = common.join(data)
    local count, message, code = ms.sendall(held.fd, data, self.timeout)
    if count then return 1 end
    return nil, common.reason(message, code)
end

--- Receives a datagram.
---@param size? integer how many bytes of it at most
---@return string? data, string? reason
function Udp:receive(size)
    local held = self.owner
    if not held then return nil, "closed" end
    if check.absent(size) then size = SIZE end
    local number = check.number(size)
    if not number then
        error(("bad argument #1 to 'receive' (number expected, got %s)")
            :format(type(size)), 2)
    end
    local data, message, code =
        ms.recvfrom(held.fd, self.timeout, SIZE)
    if not data then return nil, common.reason(message, code) end
    if number < 0 then return data end
    return data:sub(1, math.min(SIZE, math.floor(number)))
end

--- Sets how long to wait.
---@param timeout number in ms
function Udp:settimeout(timeout)
    self.timeout = common.timeout(timeout, 1, "settimeout")
end

--- Closes the socket.
---@return 1? done, string? reason
function Udp:close()
    local held = self.owner
    if not held then return nil, "closed" end
    self.owner = nil
    owner.close(held)
    return 1
end

return udp
