--- Sockets for LuaJIT: libc's socket calls, declared here and called directly.
--- A descriptor is an integer, an address a struct sockaddr in a string, a
--- timeout a number of milliseconds. Stands on minisock/*.lua, which hold what
--- goes in and out of these calls, and on the shim, which waits.
---
--- A call that fails returns nil, a message and a code: the errno, or for the
--- resolver an EAI code. Of a timeout the code is ETIMEDOUT. An argument that
--- can't be meant raises an error.
local bit = require "bit"
local ffi = require "ffi"
local address = require "minisock.address"
local buffers = require "minisock.buffers"
local cdefs = require "minisock.cdefs"
local check = require "minisock.check"
local clock = require "minisock.clock"
local errors = require "minisock.errors"

-- The names are our own, so that no other library's declaration of the same
-- call, which would come first or later, can change what is called here. The
-- results are int, also where C says ssize_t: a boxed result would let the
-- garbage collector run before errno is read. Linux transfers no more than
-- an int can tell.
if not pcall(ffi.typeof, "struct minisock_calls_1") then
    ffi.cdef [[
    struct minisock_calls_1 { int unused; };
    int minisock_socket(int, int, int) __asm__("socket");
    int minisock_socketpair(int, int, int, int *) __asm__("socketpair");
    int minisock_bind(int, const void *, uint32_t) __asm__("bind");
    int minisock_listen(int, int) __asm__("listen");
    int minisock_accept4(int, void *, uint32_t *, int) __asm__("accept4");
    int minisock_connect(int, const void *, uint32_t) __asm__("connect");
    int minisock_shutdown(int, int) __asm__("shutdown");
    int minisock_close(int) __asm__("close");
    int minisock_recv(int, void *, size_t, int) __asm__("recv");
    int minisock_send(int, const void *, size_t, int) __asm__("send");
    int minisock_getsockname(int, void *, uint32_t *) __asm__("getsockname");
    int minisock_getpeername(int, void *, uint32_t *) __asm__("getpeername");
    ]]
end

local C = ffi.C
local shim = cdefs.shim
local constant = cdefs.constant
local deadline = clock.deadline
local bor = bit.bor
local errno, ffi_string = ffi.errno, ffi.string
local fail = errors.fail
local absent = check.absent
local take = address.take
local min = math.min
local FOREVER = math.huge
local INT_MAX = 2^31 - 1

local AF_UNIX = constant("AF_UNIX")
local MSG_DONTWAIT = constant("MSG_DONTWAIT")
local MSG_NOSIGNAL = constant("MSG_NOSIGNAL")
local SHUT_RDWR = constant("SHUT_RDWR")
local SOCK_CLOEXEC = constant("SOCK_CLOEXEC")
local SOCK_STREAM = constant("SOCK_STREAM")

local EAGAIN = constant("EAGAIN")
local EBADF = constant("EBADF")
local EINTR = constant("EINTR")
local ENOTSOCK = constant("ENOTSOCK")

-- Out-parameters, used again by every call.
local ADDRESS_SIZE = 128
local peer = ffi.new("uint8_t[?]", ADDRESS_SIZE)
local length = ffi.new("uint32_t[1]")
local pair = ffi.new("int[2]")
local sent = ffi.new("int[1]")

local BUFSIZE = buffers.BUFSIZE
local DEFAULT_TIMEOUT = clock.DEFAULT_TIMEOUT

local gather -- once it was wanted

local M = {
    VERSION = cdefs.VERSION,
    BUFSIZE = BUFSIZE,
    UDPMAXSIZE = buffers.UDPMAXSIZE,
    DEFAULT_TIMEOUT = DEFAULT_TIMEOUT,

    unixaddr = address.unixaddr,
    inetaddr = address.inetaddr,
    inet6addr = address.inet6addr,
}

-- What not every program uses, in modules that are loaded when it is asked for:
-- nginx without a code cache loads all of this for each request.
local LATER = {
    accept = "minisock.server",
    bind = "minisock.server",
    bindfd = "minisock.server",
    listen = "minisock.server",
    connect = "minisock.client",
    connectfd = "minisock.client",
    startconnect = "minisock.client",
    getaddrinfo = "minisock.resolver",
    getnameinfo = "minisock.names",
    parseaddr = "minisock.names",
    msleep = "minisock.poll",
    poll = "minisock.poll",
    pollfd = "minisock.poll",
    unpollfd = "minisock.poll",
    getsockopt = "minisock.options",
    setsockopt = "minisock.options",
    disconnect = "minisock.datagram",
    recvfrom = "minisock.datagram",
    sendto = "minisock.datagram",
    udpsocket = "minisock.datagram",
    atmark = "minisock.descriptor",
    dup = "minisock.descriptor",
    dup2 = "minisock.descriptor",
    getcloexec = "minisock.descriptor",
    getnonblocking = "minisock.descriptor",
    sendfile = "minisock.descriptor",
    setcloexec = "minisock.descriptor",
    setnonblocking = "minisock.descriptor",
    recvmany = "minisock.batch",
    sendmany = "minisock.batch",
    getinterfaces = "minisock.interfaces",
    recvmsg = "minisock.messages",
    sendmsg = "minisock.messages",
    blocksource = "minisock.multicast",
    joingroup = "minisock.multicast",
    leavegroup = "minisock.multicast",
    unblocksource = "minisock.multicast",
}

-- These, and minisock.AF_INET and all other constants, which the shim knows,
-- are kept once they have been asked for.
setmetatable(M, {
    __index = function(module, name)
        if type(name) ~= "string" or name:find("%z") then return nil end
        local home = LATER[name]
        local value
        if home then value = require(home)[name] else value = constant(name) end
        module[name] = value
        return value
    end,
})

--- Loads at once what is loaded when it is asked for otherwise: for programs
--- that can't open files later, be it in a chroot or out of descriptors.
---@return true
function M.load()
    for name in pairs(LATER) do local _ = M[name] end
    gather = require "minisock.gather"
    return true
end

---------------------------------------------------------------------------
-- Making descriptors
---------------------------------------------------------------------------

--- Makes a socket, which exec'd programs won't inherit.
---@see socket(2)
---@param family integer AF_UNIX, AF_INET, AF_INET6, ...
---@param socktype integer SOCK_STREAM, SOCK_DGRAM, ..., plus SOCK_NONBLOCK
---@param protocol? integer the socktype's usual one by default
---@return integer? fd, string? message, integer? code
function M.socket(family, socktype, protocol)
    family = check.int(family, 1, "socket")
    socktype = check.int(socktype, 2, "socket")
    protocol = check.int(protocol, 3, "socket", 0)
    local fd = C.minisock_socket(family, bor(socktype, SOCK_CLOEXEC), protocol)
    if fd < 0 then return fail("socket", errno()) end
    return fd
end

--- Makes two connected Unix sockets.
---@see socketpair(2)
---@param socktype? integer SOCK_STREAM by default
---@param protocol? integer the socktype's usual one by default
---@return integer? fd, integer|string fd_or_message, integer? code
function M.socketpair(socktype, protocol)
    socktype = check.int(socktype, 1, "socketpair", SOCK_STREAM)
    protocol = check.int(protocol, 2, "socketpair", 0)
    socktype = bor(socktype, SOCK_CLOEXEC)
    if C.minisock_socketpair(AF_UNIX, socktype, protocol, pair) < 0 then
        return fail("socketpair", errno())
    end
    return pair[0], pair[1]
end

--- Closes a descriptor. It is closed also when this fails, but for EBADF.
---@see close(2)
---@param fd integer
---@return true? closed, string? message, integer? code
function M.close(fd)
    fd = check.descriptor(fd, 1, "close")
    if C.minisock_close(fd) < 0 then
        local code = errno()
        -- An interrupted close has closed all the same.
        if code ~= EINTR then return fail("close", code) end
    end
    return true
end

--- Ends one direction of a connection, or both, for every descriptor of it.
---@see shutdown(2)
---@param fd integer
---@param how? integer SHUT_RD, SHUT_WR or SHUT_RDWR, the default
---@return true? done, string? message, integer? code
function M.shutdown(fd, how)
    fd = check.descriptor(fd, 1, "shutdown")
    how = check.int(how, 2, "shutdown", SHUT_RDWR)
    if C.minisock_shutdown(fd, how) < 0 then
        return fail("shutdown", errno())
    end
    return true
end

---------------------------------------------------------------------------
-- Names and addresses
---------------------------------------------------------------------------

--- The address a socket is bound to.
---@see getsockname(2)
---@param fd integer
---@return string? addr, string? message, integer? code
function M.getsockname(fd)
    fd = check.descriptor(fd, 1, "getsockname")
    length[0] = ADDRESS_SIZE
    if C.minisock_getsockname(fd, peer, length) < 0 then
        return fail("getsockname", errno())
    end
    return take(peer, length[0])
end

--- The address a socket is connected to.
---@see getpeername(2)
---@param fd integer
---@return string? addr, string? message, integer? code
function M.getpeername(fd)
    fd = check.descriptor(fd, 1, "getpeername")
    length[0] = ADDRESS_SIZE
    if C.minisock_getpeername(fd, peer, length) < 0 then
        return fail("getpeername", errno())
    end
    return take(peer, length[0])
end

---------------------------------------------------------------------------
-- Reading and writing
---------------------------------------------------------------------------

-- Nothing there yet, or not a socket: the shim waits, and knows read(2).
local READ_ON = { [EAGAIN] = true, [EINTR] = true, [ENOTSOCK] = true }

-- Data that is there costs this one call, whatever the timeout; without one, so
-- does waiting for it.
local function receive(fd, buffer, size, timeout)
    local n = C.minisock_recv(fd, buffer, size,
        timeout == FOREVER and 0 or MSG_DONTWAIT)
    if n >= 0 then return n end
    local code = errno()
    if not READ_ON[code] then return -code end
    return shim.minisock_read_wait(fd, buffer, size, code, deadline(timeout))
end

--- Reads what is there, or waits until something is. "" is the end of the
--- stream, or an empty datagram. Reads pipes and terminals too.
---@see recv(2), read(2)
---@param fd integer
---@param timeout? number in ms, 10000 by default
---@param max? integer how many bytes at most, 4096 by default; at most 1 MiB
--- come at once
---@return string? data, string? message, integer? code
function M.read(fd, timeout, max)
    fd = check.descriptor(fd, 1, "read")
    timeout = check.timeout(timeout, 2, "read", DEFAULT_TIMEOUT)
    max = min(check.size(max, 3, "read", BUFSIZE), buffers.LIMIT)
    local buffer = buffers.scratch(max)
    local n = receive(fd, buffer, max, timeout)
    if n < 0 then return fail("read", -n) end
    return ffi_string(buffer, n)
end

-- How many bytes a string.buffer is given room for, when nobody says.
local RESERVE = 65536

local function read_into_buffer(fd, buffer, size, timeout)
    local memory = buffers.reserve(buffer, size)
    local n = receive(fd, memory, size, timeout)
    if n > 0 then buffers.commit(buffer, n) end
    return n
end

local MEMORY = "string.buffer, array or pointer"

--- Reads into memory of the caller's, without making a Lua string. 0 is the
--- end of the stream, or an empty datagram.
---@see recv(2), read(2)
---@param fd integer
---@param buf string.buffer|ffi.cdata* appended to, or written from its start.
--- Of an array the size is checked. NOT OF A POINTER: max bytes must be there,
--- or what lies behind them is overwritten
---@param timeout? number in ms, 10000 by default
---@param max? integer how many bytes at most; 65536 by default for a
--- string.buffer, which takes up to 1 MiB at once
---@return integer? count, string? message, integer? code
function M.readinto(fd, buf, timeout, max)
    fd = check.descriptor(fd, 1, "readinto")
    timeout = check.timeout(timeout, 3, "readinto", DEFAULT_TIMEOUT)
    local n
    local room = buffers.writable(buf)
    if room then
        max = check.size(max, 4, "readinto")
        if max > room then
            check.fail(4, "readinto", "at most the array's size", max)
        end
        n = receive(fd, buf, max, timeout)
    else
        if not buffers.is_buffer(buf) then
            check.fail(2, "readinto", MEMORY, buf)
        end
        max = min(check.size(max, 4, "readinto", RESERVE), buffers.LIMIT)
        n = read_into_buffer(fd, buf, max, timeout)
    end
    if n < 0 then return fail("readinto", -n) end
    return n
end

local CHARS = ffi.typeof("const char *")

-- A descriptor that isn't a socket, or a send that a signal interrupted
-- before the first byte. Returns a count or -errno. A pointer into the string
-- is made for each call: it wouldn't keep the string alive in between.
local function write_on(fd, s, idx, n, code)
    while code == EINTR do
        local count = C.minisock_send(fd, ffi.cast(CHARS, s) + (idx - 1), n,
            MSG_NOSIGNAL)
        if count >= 0 then return count end
        code = errno()
    end
    if code ~= ENOTSOCK then return -code end
    return shim.minisock_write_file(fd, ffi.cast(CHARS, s) + (idx - 1), n)
end

-- Nothing to send, so that a descriptor that isn't open is all to be told.
local function write_nothing(fd)
    local code = shim.minisock_wait(fd, 0, 0)
    if code == -EBADF then return fail("write", EBADF) end
    return 0
end

local function write_from(fd, s, idx, n)
    if n == 0 then return write_nothing(fd) end
    local count
    if idx == 1 then
        count = C.minisock_send(fd, s, n, MSG_NOSIGNAL)
    else
        count = C.minisock_send(fd, ffi.cast(CHARS, s) + (idx - 1), n,
            MSG_NOSIGNAL)
    end
    if count < 0 then count = write_on(fd, s, idx, n, errno()) end
    if count < 0 then return fail("write", -count) end
    return count
end

--- Sends a string, or n bytes of it from idx on, or as many of these as there
--- is room for. Writes to pipes and terminals too, and raises no SIGPIPE.
---@see send(2), write(2)
---@param fd integer
---@param s string
---@param idx? integer the first byte, 1 by default, #s + 1 at most
---@param n? integer how many bytes; more than there are is all there are
---@return integer? sent, string? message, integer? code EAGAIN on a
--- non-blocking descriptor whose queue is full
function M.write(fd, s, idx, n)
    fd = check.descriptor(fd, 1, "write")
    s = check.string(s, 2, "write")
    local size = #s
    idx = check.integer(absent(idx) and 1 or idx, 3, "write", 1, size + 1)
    local left = size - idx + 1
    if not absent(n) then
        left = min(left, check.integer(n, 4, "write", 0, 2^53))
    end
    return write_from(fd, s, idx, left)
end

local SEND_ON = { [EAGAIN] = true, [EINTR] = true, [ENOTSOCK] = true }

-- Returns 0 or -errno, and how many bytes were sent.
local function send_all(fd, data, size, timeout)
    local flags = timeout == FOREVER and MSG_NOSIGNAL
        or bor(MSG_NOSIGNAL, MSG_DONTWAIT)
    local n = C.minisock_send(fd, data, size, flags)
    if n == size then return 0, n end
    local code = errno()
    if n < 0 and not SEND_ON[code] then return -code, 0 end
    sent[0] = math.max(n, 0)
    code = shim.minisock_send_wait(fd, data, size, n < 0 and code or 0,
        deadline(timeout), sent)
    return code, sent[0]
end

local function send_buffer(fd, buffer, n, timeout)
    local data = buffers.ref(buffer)
    local code, count = send_all(fd, data, n, timeout)
    buffers.skip(buffer, count)
    return code, count
end

-- A list of strings; returns as send_all does.
local function send_list(fd, list, timeout)
    gather = gather or require "minisock.gather"
    return gather.send(fd, list, timeout, send_all)
end

--- Sends all of the data, waiting for room as often as it takes. On a datagram
--- socket it is one datagram, an empty one too.
---@see send(2)
---@param fd integer
---@param data string|string[]|string.buffer|ffi.cdata* a list of strings goes
--- out in one system call; of a string.buffer, what is sent is consumed; an
--- array or a pointer needs n. NOTHING CHECKS that as much lies behind a
--- pointer
---@param timeout? number in ms, for all of it; for ever by default
---@param n? integer how many bytes, from the start; all of them by default, and
--- always of a list
---@return integer? sent, string? message, integer? code, integer? sent_before
--- after a failure, how many bytes were sent before it
function M.sendall(fd, data, timeout, n)
    fd = check.descriptor(fd, 1, "sendall")
    timeout = check.timeout(timeout, 3, "sendall", FOREVER)
    local code, count
    if type(data) == "table" then
        if not absent(n) then check.fail(4, "sendall", "nothing", n) end
        code, count = send_list(fd, data, timeout)
        if not code then check.fail(2, "sendall", "list of strings", data) end
    else
        local room, send = buffers.readable(data), send_all
        if not room then
            if buffers.is_buffer(data) then
                send = send_buffer
            else
                data = check.string(data, 2, "sendall", "string, " .. MEMORY)
            end
            room = #data
            if absent(n) then n = room end
        end
        n = check.integer(n, 4, "sendall", 0, min(room, INT_MAX))
        code, count = send(fd, data, n, timeout)
    end
    if code == 0 then return count end
    local _, message, why = fail("sendall", -code)
    return nil, message, why, count
end

return M
