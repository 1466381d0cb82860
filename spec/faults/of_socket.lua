--- The operations of minisock.socket, for the fault matrix.
local ms = require "minisock"
local operations = require "spec.faults.operations"
local situations = require "spec.faults.situations"
local socket = require "minisock.socket"

local add = operations.of("socket")
local DATA, WAIT = situations.DATA, situations.WAIT / 1000

-- Of one that can't be had, the garbage collector may give back another.
local OUT = { socket = "EMFILE ENFILE", accept4 = "EMFILE ENFILE" }

-- Passes on what came of a call, and closes the object of one that failed.
local function or_close(sock, done, ...)
    if done then return sock end
    sock:close()
    return nil, ...
end

local function make(kind)
    local sock, message, code = socket[kind]()
    if sock then sock:settimeout(WAIT) end
    return sock, message, code
end

add("making", "tcp", function() return make("tcp") end,
    { forgiven = OUT, ignored = "ioctl setsockopt" })
add("making", "udp", function() return make("udp") end,
    { forgiven = OUT, ignored = "ioctl setsockopt" })
add("connecting", "connect", function(t)
    local sock, message, code = make("tcp")
    if not sock then return nil, message, code end
    return or_close(sock, sock:connect("127.0.0.1", t.port))
end, { forgiven = OUT, ignored = "fcntl fcntl64 ioctl setsockopt" })
add("connecting_unix", "connect to a path", function(t)
    local sock, message, code = socket.socket(ms.AF_UNIX, ms.SOCK_STREAM)
    if not sock then return nil, message, code end
    return or_close(sock, sock:connect(t.path))
end, {
    forgiven = OUT, goes_on = { connect = "EAGAIN EINTR" },
    never = { connect = "EINPROGRESS" }, unmade = true,
})
add("making", "bind", function()
    local sock, message, code = make("tcp")
    if not sock then return nil, message, code end
    return or_close(sock, sock:bind("127.0.0.1", 0))
end, { forgiven = OUT, ignored = "ioctl setsockopt" })
add("making", "listen", function()
    local sock, message, code = make("tcp")
    if not sock then return nil, message, code end
    return or_close(sock, sock:listen(5))
end, { forgiven = OUT, ignored = "ioctl setsockopt" })
add("accepting", "accept", function(t) return t.sock:accept() end, {
    listen = function(t)
        local sock = t:hold(make("tcp"))
        assert(sock:bind("127.0.0.1", 0))
        assert(sock:listen(5))
        return sock, sock:getsockname()[2]
    end,
    forgiven = OUT, ignored = "getsockopt ioctl",
})

for _, seconds in ipairs({ WAIT, 0.5, -1 }) do
    local function set(t) t.sock:settimeout(seconds) end
    local how = (" with a timeout of %s s"):format(seconds)
    add("reading", "read" .. how, function(t) return t.sock:read(4096) end,
        { before = set, done = function(results) return not results[2] end })
    add("reading", "readexactly" .. how, function(t)
        return t.sock:readexactly(#DATA)
    end, { before = set })
    add("reading_to_the_end", "readline" .. how, function(t)
        return t.sock:readline()
    end, { before = set, whole = DATA })
    add("writing", "write" .. how, function(t) return t.sock:write(DATA) end,
        { before = set })
end

add("connected", "settimeout", function(t)
    t.sock:settimeout(1)
    t.sock:settimeout(0.5)
    return true
end, { ignored = "setsockopt ioctl" })
-- A sandbox may refuse SO_RCVTIMEO; the timeout is kept all the same.
add("connected", "settimeout, and a read that waits", function(t)
    t.sock:settimeout(1)
    return t.sock:read(10)
end, {
    only = { setsockopt = "EPERM" }, ignored = "setsockopt",
    done = function(results) return results[2] == socket.ERROR_TIMEOUT end,
})
add("closing", "shutdown", function(t)
    return t.sock:shutdown(ms.SHUT_RDWR)
end)
for _, name in ipairs({ "getpeername", "getsockname" }) do
    add("connected", name, function(t) return t.sock[name](t.sock) end)
end
add("connected", "getoption", function(t)
    return t.sock:getoption("SO_RCVBUF")
end)
add("connected", "getoption by number", function(t)
    return t.sock:getoption(ms.SOL_SOCKET, ms.SO_RCVBUF)
end)
add("connected", "setoption", function(t)
    return t.sock:setoption("TCP_NODELAY", true)
end)
add("closing", "close", function(t)
    t.sock:close()
    return true
end, { ignored = "close" })
add("closing", "fromfd", function(t)
    local sock, message, code = socket.fromfd(t.peer)
    if sock then sock:detach() end
    return sock, message, code
end)
add("asking", "getaddrinfo", function()
    return socket.getaddrinfo("localhost", 80)
end)

-- An object for one of the two.
local function as_object(t)
    t.object = assert(socket.fromfd(ms.dup(t.sock)))
    t.object:settimeout(WAIT)
    t.open[#t.open + 1] = function() t.object:close() end
end

add("receiving", "recvfrom", function(t) return t.object:recvfrom() end,
    { object = as_object })
add("sending", "sendto", function(t)
    return t.object:sendto("data", "127.0.0.1",
        ms.parseaddr(t.peer_addr).port)
end, { object = as_object, goes_on = { sendto = "EAGAIN EINTR" } })
