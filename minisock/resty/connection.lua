--- A connection of a look-alike: what it reads through, writes through and
--- keeps in a pool, plain or with TLS. Stands on minisock.owner,
--- minisock.reader, minisock.writer and minisock.resty.tls.
local ms = require "minisock"
local address = require "minisock.address"
local clock = require "minisock.clock"
local errors = require "minisock.errors"
local owner = require "minisock.owner"
local reader = require "minisock.reader"
local writer = require "minisock.writer"

local FOREVER = math.huge
local SOCK_NONBLOCK, SOCK_STREAM = ms.SOCK_NONBLOCK, ms.SOCK_STREAM

local connection = {}

---@class minisock.resty.connection
---@field owner minisock.owner
---@field reader minisock.reader
---@field tls? minisock.resty.tls which has the descriptor then
---@field reused integer how often it came out of a pool
---@field ended? boolean nothing can be read any more
---@field unwritable? boolean a write has failed
local Connection = {}
Connection.__index = Connection

-- One attempt. Returns a descriptor, or nil, a message and an errno.
local function attempt(addr, source, timeout)
    local fd, message, code = owner.open(ms.socket, address.family(addr),
        SOCK_STREAM + SOCK_NONBLOCK)
    if not fd then return nil, message, code end
    local done = true
    if source then done, message, code = ms.bindfd(fd, source) end
    if done then done, message, code = ms.connectfd(fd, addr, timeout) end
    if done then return fd end
    ms.close(fd)
    return nil, message, code
end

--- Connects to the first of several addresses that answers.
---@param addresses string[]
---@param source? string the address to connect from
---@param deadline number for them all
---@return minisock.resty.connection? conn, string? message, integer? code
function connection.open(addresses, source, deadline)
    local message, code
    for i, addr in ipairs(addresses) do
        local limit = clock.share(deadline, #addresses - i + 1)
        local fd
        fd, message, code = attempt(addr, source, clock.left(limit))
        if fd then
            return setmetatable({
                owner = owner.new(fd),
                reader = reader.new(),
                reused = 0,
            }, Connection)
        end
    end
    return nil, message, code
end

local function handle(self)
    return self.tls or self.owner.fd
end

---@return integer fd
function Connection:fd()
    return self.tls and self.tls:getfd() or self.owner.fd
end

--- Reads until `take` finds what it wants, as minisock.reader has it.
---@param longest number how long one wait may last, in ms
---@param take function
---@param wanted any
---@return string? data, string? message, integer? code
function Connection:receive(longest, take, wanted)
    return self.reader:receive(handle(self), FOREVER, longest, take, wanted)
end

--- Sends a string.
---@param data string
---@param longest number how long one wait may last, in ms
---@return integer? sent, string? message, integer? code
function Connection:send(data, longest)
    local send = self.tls and require("minisock.resty.tls").send or writer.send
    return send(handle(self), data, 1, #data, FOREVER, longest)
end

--- Whether there is something to read, without waiting for it: what there is
--- goes into the buffer.
---@return "idle"|"data"|"closed"
function Connection:state()
    if self.reader:available() > 0 then return "data" end
    local count, message = self.reader:fill(handle(self), 0)
    if not count then
        return errors.is_timeout(message) and "idle" or "closed"
    end
    return count > 0 and "data" or "closed"
end

--- Begins TLS, as the client. The connection is closed when this fails.
---@param host? string
---@param trusted? string
---@param deadline number
---@return true? done, string? reason
function Connection:start_tls(host, trusted, deadline)
    local tls = require "minisock.resty.tls"
    local conn, reason =
        tls.handshake(owner.detach(self.owner), host, trusted, deadline)
    if not conn then return nil, reason end
    self.tls, self.reader = conn, reader.new(tls.read)
    return true
end

--- Closes it.
function Connection:close()
    if self.tls then self.tls:close() end
    owner.close(self.owner)
end

--- Closes this process's descriptor of a connection that is another's: TLS's
--- farewell isn't ours to send.
function Connection:abandon()
    if self.tls then self.tls:abandon() end
    owner.close(self.owner)
end

return connection
