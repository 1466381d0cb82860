--- llsocket.socket: thin objects, one method a system call. Stands on minisock
--- and minisock.owner.
---
--- Where a call would have to wait, the value `again` is true; where the peer
--- has closed, there are no values.
local ms = require "minisock"
local addrinfo = require "minisock.llsocket.addrinfo"
local check = require "minisock.check"
local errors = require "minisock.errors"
local messages = require "minisock.messages"
local owner = require "minisock.owner"
local settings = require "minisock.llsocket.settings"

local EAGAIN, ECONNRESET, EPIPE = ms.EAGAIN, ms.ECONNRESET, ms.EPIPE
local EINVAL = ms.EINVAL
local MSG_DONTWAIT, MSG_ERRQUEUE = ms.MSG_DONTWAIT, ms.MSG_ERRQUEUE
local MSG_WAITALL = ms.MSG_WAITALL
local SHUT_RD, SHUT_RDWR = ms.SHUT_RD, ms.SHUT_RDWR
local SOCK_NONBLOCK = ms.SOCK_NONBLOCK
local SOCK_STREAM = ms.SOCK_STREAM
local SOMAXCONN = ms.SOMAXCONN
local band, bor = bit.band, bit.bor
local encode = messages.encode
local flags_of, is_stream = addrinfo.flags, addrinfo.is_stream
local absent, text = check.absent, errors.text

local BUFSIZE = 4096

-- With these there is nothing to wait for, or nothing taken out.
local NEVER_ALL = bor(MSG_DONTWAIT, MSG_ERRQUEUE, ms.MSG_OOB, ms.MSG_PEEK)

-- What belongs to the socket rather than to a descriptor of it, and is shared
-- by those that dup makes: whether it blocks, and for how many milliseconds.
---@class minisock.llsocket.mode
---@field nonblocking boolean
---@field receive? number
---@field send? number

---@class minisock.llsocket.socket
---@field owner minisock.owner
---@field kind { family: integer, socktype: integer, protocol: integer }
---@field ai? minisock.llsocket.addrinfo what `bind` and `connect` use
---@field mode minisock.llsocket.mode
---@field failure? string what the next receive has to tell
local Socket = { __metatable = 1 }
local Methods = setmetatable({}, { __index = settings })
Socket.__index = Methods

function Socket:__tostring()
    return ("llsocket.socket: %p"):format(self)
end

local function new(fd, kind, ai, mode)
    return setmetatable({
        owner = owner.new(fd),
        kind = kind,
        ai = ai,
        mode = mode,
    }, Socket)
end

-- In ms; nil when the socket is closed, which isn't for its copies to know.
local function timeout_option(self, name)
    local timeout = ms.getsockopt(self.owner.fd, name)
    if timeout == 0 then return math.huge end
    return timeout
end

-- How long to wait for what comes, and for room to send.
local function receive_timeout(self)
    local mode = self.mode
    if mode.nonblocking then return 0 end
    mode.receive = mode.receive or timeout_option(self, "SO_RCVTIMEO")
    return mode.receive or 0
end

local function send_timeout(self)
    local mode = self.mode
    if mode.nonblocking then return 0 end
    mode.send = mode.send or timeout_option(self, "SO_SNDTIMEO")
    return mode.send or 0
end

local function would_wait(message, code)
    return code == EAGAIN or errors.is_timeout(message)
end

---------------------------------------------------------------------------
-- Making sockets
---------------------------------------------------------------------------

local socket = {}

--- Makes a socket for an address.
---@param ai minisock.llsocket.addrinfo
---@param nonblock? boolean
---@return minisock.llsocket.socket? sock, string? message
function socket.new(ai, nonblock)
    if not addrinfo.is(ai) then
        check.fail(1, "new", "llsocket.addrinfo", ai)
    end
    nonblock = check.strict("boolean", nonblock, 2, "new", false)
    local kind = ai.kind
    local fd, _, code = owner.open(ms.socket, kind.family,
        bor(kind.socktype, nonblock and SOCK_NONBLOCK or 0), kind.protocol)
    if not fd then return nil, text(code) end
    return new(fd, kind, ai, { nonblocking = nonblock })
end

--- Makes two connected Unix sockets.
---@param socktype integer
---@param nonblock? boolean
---@param protocol? integer
---@return minisock.llsocket.socket[]? socks, string? message
function socket.pair(socktype, nonblock, protocol)
    socktype = check.strict_int(socktype, 1, "pair")
    nonblock = check.strict("boolean", nonblock, 2, "pair", false)
    protocol = check.strict_int(protocol, 3, "pair", 0)
    local mode = nonblock and SOCK_NONBLOCK or 0
    local first, second, code =
        owner.open(ms.socketpair, bor(socktype, mode), protocol)
    if not first then return nil, text(code) end
    local kind =
        { family = ms.AF_UNIX, socktype = socktype, protocol = protocol }
    return {
        new(first, kind, nil, { nonblocking = nonblock }),
        new(second, kind, nil, { nonblocking = nonblock }),
    }
end

--- A second socket object for the same socket.
---@param ai? minisock.llsocket.addrinfo in place of this one's
---@return minisock.llsocket.socket? sock, string? message
function Methods:dup(ai)
    if not absent(ai) and not addrinfo.is(ai) then
        check.fail(1, "dup", "llsocket.addrinfo", ai)
    end
    local fd, _, code = owner.open(ms.dup, self.owner.fd)
    if not fd then return nil, text(code) end
    return new(fd, self.kind, ai or self.ai, self.mode)
end

---@return integer fd -1 when closed
function Methods:fd() return self.owner.fd end

---@return integer
function Methods:family() return self.kind.family end

---@return integer
function Methods:socktype() return self.kind.socktype end

---@return integer
function Methods:protocol() return self.kind.protocol end

---------------------------------------------------------------------------
-- Addresses and connections
---------------------------------------------------------------------------

-- The address to use, or nothing and an error message.
local function raw_address(self, ai)
    ai = ai or self.ai
    if ai then return ai.raw end
    return nil, text(EINVAL)
end

--- Binds the socket; by default to the address it was made for.
---@param ai? minisock.llsocket.addrinfo
---@return string? message nothing when it is done
function Methods:bind(ai)
    if not absent(ai) and not addrinfo.is(ai) then
        check.fail(1, "bind", "llsocket.addrinfo", ai)
    end
    local raw, problem = raw_address(self, ai)
    if not raw then return problem end
    local done, _, code = ms.bindfd(self.owner.fd, raw)
    if not done then return text(code) end
end

--- Connects the socket; by default to the address it was made for. That it is
--- under way, on a non-blocking socket, counts as done.
---@param ai? minisock.llsocket.addrinfo
---@return string? message nothing when it is done
function Methods:connect(ai)
    if not absent(ai) and not addrinfo.is(ai) then
        check.fail(1, "connect", "llsocket.addrinfo", ai)
    end
    local raw, problem = raw_address(self, ai)
    if not raw then return problem end
    local done, message, code
    if self.mode.nonblocking then
        done, message, code = ms.startconnect(self.owner.fd, raw)
    else
        done, message, code =
            ms.connectfd(self.owner.fd, raw, send_timeout(self))
    end
    if done or code == ms.EINPROGRESS then return end
    if not errors.is_timeout(message) then return text(code) end
    if self.kind.family == ms.AF_UNIX then return text(EAGAIN) end
end

--- Ends one direction of the connection, or both.
---@param flag? integer SHUT_RDWR by default
---@return string? message nothing when it is done
function Methods:shutdown(flag)
    flag = check.strict_int(flag, 1, "shutdown", SHUT_RDWR)
    local done, _, code = ms.shutdown(self.owner.fd, flag)
    if not done then return text(code) end
end

--- Closes the socket, after a shutdown when a flag says so. A second time does
--- nothing.
---@param flag? integer SHUT_RD, ...
---@return string? message of the shutdown; the socket is closed all the same
function Methods:close(flag)
    flag = check.strict_int(flag, 1, "close", -1)
    if self.owner.fd < 0 then return end
    local problem
    if flag >= SHUT_RD and flag <= SHUT_RDWR then
        problem = self:shutdown(flag)
    end
    local done, _, code = owner.close(self.owner)
    problem = problem or not done and text(code) or nil
    if problem then return problem end
end

--- Listens.
---@param backlog? integer SOMAXCONN by default
---@return string? message nothing when it is done
function Methods:listen(backlog)
    backlog = check.strict_int(backlog, 1, "listen", SOMAXCONN)
    if backlog < 1 then
        error("bad argument #1 to 'listen' "
            .. "(backlog range must be 1 to 2147483647)", 2)
    end
    local done, _, code = ms.listen(self.owner.fd, backlog)
    if not done then return text(code) end
end

--- Accepts a connection, which blocks or doesn't as the listener does.
---@return minisock.llsocket.socket? sock, string? message, true? again
function Methods:accept()
    local timeout = receive_timeout(self)
    local fd, message, code = owner.open(ms.accept, self.owner.fd, timeout)
    local nonblocking = self.mode.nonblocking
    if not nonblocking and timeout ~= math.huge then
        ms.setnonblocking(self.owner.fd, false) -- a timeout changed that
    end
    if not fd then
        if would_wait(message, code) then return nil, nil, true end
        return nil, text(code)
    end
    if nonblocking then ms.setnonblocking(fd, true) end
    return new(fd, self.kind, nil, { nonblocking = nonblocking })
end

local function info_of(self, addr, code)
    if not addr then return nil, text(code) end
    return addrinfo.new({
        family = self.kind.family,
        socktype = self.kind.socktype,
        protocol = self.kind.protocol,
        addr = addr,
    })
end

--- The socket's own address.
---@return minisock.llsocket.addrinfo? ai, string? message
function Methods:getsockname()
    local addr, _, code = ms.getsockname(self.owner.fd)
    return info_of(self, addr, code)
end

--- The address of the peer.
---@return minisock.llsocket.addrinfo? ai, string? message
function Methods:getpeername()
    local addr, _, code = ms.getpeername(self.owner.fd)
    return info_of(self, addr, code)
end

---------------------------------------------------------------------------
-- Sending
---------------------------------------------------------------------------

-- What a send gives: how much of size was sent, or why it wasn't.
local function sent(count, size, message, code)
    if count then return count, nil, count < size end
    if would_wait(message, code) then return 0, nil, true end
    if code == ECONNRESET or code == EPIPE then return end
    return nil, text(code)
end

local function length_of(pieces)
    local size = 0
    for _, piece in ipairs(pieces) do size = size + #piece end
    return size
end

-- Without a timeout to keep, sendmsg is one call; EAGAIN then is the kernel's.
local function send_message(self, encoded, flags)
    if band(flags, MSG_DONTWAIT) ~= 0 or send_timeout(self) == 0 then
        flags = bor(flags, MSG_DONTWAIT)
    end
    local count, message, code = messages.send(self.owner.fd, encoded, flags)
    return sent(count, length_of(encoded.pieces), message, code)
end

--- Sends.
---@param msg string
---@param ... integer MSG_OOB, ...
---@return integer? len, string? message, boolean? again no values at all when
--- the peer has closed
function Methods:send(msg, ...)
    msg = check.strict("string", msg, 1, "send")
    local flags = flags_of("send", 2, ...)
    if msg == "" and is_stream(self.kind) then return nil, text(EINVAL) end
    return send_message(self, encode { data = msg }, flags)
end

--- Sends to an address.
---@param msg string
---@param ai minisock.llsocket.addrinfo
---@param ... integer
---@return integer? len, string? message, boolean? again
function Methods:sendto(msg, ai, ...)
    msg = check.strict("string", msg, 1, "sendto")
    if not addrinfo.is(ai) then
        check.fail(2, "sendto", "llsocket.addrinfo", ai)
    end
    local flags = flags_of("sendto", 3, ...)
    if msg == "" and is_stream(self.kind) then return nil, text(EINVAL) end
    return send_message(self, encode { data = msg, addr = ai.raw }, flags)
end

--- Sends from a file.
---@param fd integer
---@param bytes integer
---@param offset? integer 0 by default
---@return integer? len, string? message, boolean? again false also at the end
--- of the file, where there is nothing more to send
function Methods:sendfile(fd, bytes, offset)
    fd = check.strict_int(fd, 1, "sendfile")
    bytes = check.strict_int(bytes, 2, "sendfile")
    offset = check.strict("number", offset, 3, "sendfile", 0)
    if bytes <= 0 or offset < 0 or offset % 1 ~= 0 or offset > 2^53 then
        return nil, text(EINVAL)
    end
    local count, message, code =
        ms.sendfile(self.owner.fd, fd, bytes, offset)
    if count == 0 then return 0, nil, false end
    return sent(count, bytes, message, code)
end

---@class minisock.llsocket.message
---@field iov? string|string[]
---@field name? minisock.llsocket.addrinfo
---@field fds? integer[]
---@field credentials? { pid: integer, uid: integer, gid: integer }
---@field control? { level: integer, type: integer, data: string }[]

--- Sends a message: several strings at once, descriptors, credentials.
---@see sendmsg(2)
---@param mh minisock.llsocket.message
---@param ... integer
---@return integer? len, string? message, boolean? again
function Methods:sendmsg(mh, ...)
    mh = check.strict("table", mh, 1, "sendmsg")
    local flags = flags_of("sendmsg", 2, ...)
    if not absent(mh.name) and not addrinfo.is(mh.name) then
        check.fail(1, "sendmsg", "llsocket.addrinfo as name", mh.name)
    end
    local encoded, expected = encode {
        data = mh.iov,
        addr = mh.name and mh.name.raw,
        fds = mh.fds,
        credentials = mh.credentials,
        control = mh.control,
    }
    if not encoded then check.fail(1, "sendmsg", expected, mh) end
    return send_message(self, encoded, flags)
end

--- Passes a descriptor on, over a Unix socket; it stays open here too.
---@param fd integer
---@param ai? minisock.llsocket.addrinfo
---@param ... integer
---@return integer? len, string? message, boolean? again
function Methods:sendfd(fd, ai, ...)
    fd = check.strict_int(fd, 1, "sendfd")
    if not absent(ai) and not addrinfo.is(ai) then
        check.fail(2, "sendfd", "llsocket.addrinfo", ai)
    end
    local flags = flags_of("sendfd", 3, ...)
    local message = { data = "\0", fds = { fd }, addr = ai and ai.raw }
    return send_message(self, encode(message), flags)
end

---------------------------------------------------------------------------
-- Receiving
---------------------------------------------------------------------------

local function close_all(fds)
    for _, fd in ipairs(fds or {}) do ms.close(fd) end
end

-- What a receive that failed gives after the nil: an error, or again.
local function problem_of(message, code)
    if would_wait(message, code) then return nil, true end
    return text(code)
end

-- What there is in place of a message: no values when the peer has closed.
local function refusal(message, problem, again)
    if message == false then return end
    if again then return nil, nil, true end
    return nil, problem
end

-- An error that came when part of the data was there already, and so was told
-- of first; not that of the error queue, which is asked for something else.
local function take_failure(self, flags)
    if band(flags, MSG_ERRQUEUE) ~= 0 or self.owner.fd < 0 then return nil end
    local failure = self.failure
    self.failure = nil
    return failure
end

-- A message, or false when the peer has closed, or nil and `problem_of`.
local function receive(self, size, flags)
    if size <= 0 then return nil, text(EINVAL) end
    local failure = take_failure(self, flags)
    if failure then return nil, failure end
    local timeout = receive_timeout(self)
    if band(flags, MSG_DONTWAIT) ~= 0 then timeout = 0 end
    local message, problem, code =
        ms.recvmsg(self.owner.fd, timeout, size, flags)
    if not message then return nil, problem_of(problem, code) end
    local beside = message.fds or message.control or message.credentials
    if message.data == "" and not beside and is_stream(self.kind)
            and band(message.flags, MSG_ERRQUEUE) == 0 then
        return false
    end
    return message
end

-- A message of a stream that is waited for until all of it is there.
local function receive_all(self, size, flags)
    local message, problem, again = receive(self, size, flags)
    if not message then return message, problem, again end
    local pieces = { message.data }
    size = size - #message.data
    while size > 0 do
        local more, why = receive(self, size, flags)
        if not more then
            self.failure = why
            break
        end
        close_all(more.fds)
        pieces[#pieces + 1] = more.data
        size = size - #more.data
    end
    message.data = table.concat(pieces)
    return message
end

local function waits_for_all(self, flags)
    return band(flags, MSG_WAITALL) ~= 0 and band(flags, NEVER_ALL) == 0
        and self.kind.socktype == SOCK_STREAM
end

local function receive_message(self, size, flags)
    local call = waits_for_all(self, flags) and receive_all or receive
    return call(self, size, flags)
end

-- The common case, without a table: data, or what `receive` gives.
local function receive_data(self, size)
    local failure = take_failure(self, 0)
    if failure then return nil, failure end
    local data, problem, code =
        ms.read(self.owner.fd, receive_timeout(self), size)
    if not data then return nil, problem_of(problem, code) end
    if data == "" and is_stream(self.kind) then return false end
    return data
end

--- Receives.
---@param bufsize? integer 4096 by default
---@param ... integer MSG_PEEK, ...
---@return string? msg, string? message, true? again no values at all when the
--- peer has closed; an empty datagram is ""
function Methods:recv(bufsize, ...)
    bufsize = check.strict_int(bufsize, 1, "recv", BUFSIZE)
    local flags = flags_of("recv", 2, ...)
    if flags == 0 and bufsize > 0 then
        local data, problem, again = receive_data(self, bufsize)
        if data then return data end
        return refusal(data, problem, again)
    end
    local message, problem, again = receive_message(self, bufsize, flags)
    if not message then return refusal(message, problem, again) end
    close_all(message.fds)
    return message.data
end

--- Receives, and tells from where.
---@param bufsize? integer
---@param ... integer
---@return string? msg, minisock.llsocket.addrinfo? ai, string? message,
--- true? again no ai on a stream
function Methods:recvfrom(bufsize, ...)
    bufsize = check.strict_int(bufsize, 1, "recvfrom", BUFSIZE)
    local flags = flags_of("recvfrom", 2, ...)
    local message, problem, again = receive_message(self, bufsize, flags)
    if message == false then return end
    if again then return nil, nil, nil, true end
    if not message then return nil, nil, problem end
    close_all(message.fds)
    if not ms.parseaddr(message.addr) or #message.addr == 2 then
        return message.data
    end
    return message.data, info_of(self, message.addr)
end

--- Receives a message, and what came beside it. Descriptors in it are yours to
--- close.
---@see recvmsg(2)
---@param bufsize? integer
---@param ... integer
---@return table? mh with iov (a string), name, fds, credentials, control and
--- flags
---@return string? message, true? again
function Methods:recvmsg(bufsize, ...)
    bufsize = check.strict_int(bufsize, 1, "recvmsg", BUFSIZE)
    local flags = flags_of("recvmsg", 2, ...)
    local message, problem, again = receive_message(self, bufsize, flags)
    if not message then return refusal(message, problem, again) end
    local name
    if ms.parseaddr(message.addr) then name = info_of(self, message.addr) end
    return {
        iov = message.data,
        name = name,
        fds = message.fds,
        credentials = message.credentials,
        control = message.control,
        flags = message.flags,
    }
end

--- Receives a descriptor that `sendfd` passed on.
---@param ... integer
---@return integer? fd, string? message, true? again no fd, and no message,
--- when something else came
function Methods:recvfd(...)
    local flags = flags_of("recvfd", 1, ...)
    local message, problem, again = receive(self, 1, flags)
    if not message then return refusal(message, problem, again) end
    local fds = message.fds or {}
    local fd = table.remove(fds, 1)
    close_all(fds)
    return fd
end

return socket
