--- The operations of minisock.llsocket, for the fault matrix.
local ffi = require "ffi"
local llsocket = require "minisock.llsocket"
local ms = require "minisock"
local operations = require "spec.faults.operations"
local situations = require "spec.faults.situations"
local verdicts = require "spec.faults.verdicts"

local add = operations.of("llsocket")
local DATA = situations.DATA
local inet, socket = llsocket.inet, llsocket.socket

local OUT = {
    socket = "EMFILE ENFILE", accept4 = "EMFILE ENFILE",
    socketpair = "EMFILE ENFILE", fcntl = "EMFILE", fcntl64 = "EMFILE",
}
local function address(port)
    return assert(inet.getaddrinfo("127.0.0.1", tostring(port),
        ms.SOCK_STREAM, nil, ms.AI_NUMERICHOST))[1]
end

-- These say nothing when it is done.
local function silent(...)
    if select("#", ...) == 0 then return true end
    return nil, ...
end

local function or_close(sock, problem)
    if not problem then return sock end
    sock:close()
    return nil, problem
end

add("making", "new", function() return socket.new(address(0)) end,
    { forgiven = OUT })
add("asking", "pair", function() return socket.pair(ms.SOCK_STREAM) end, {
    forgiven = OUT,
    after = function(results)
        for _, sock in ipairs(results[1] or {}) do sock:close() end
    end,
})
add("making", "bind", function()
    local sock, problem = socket.new(address(0))
    if not sock then return nil, problem end
    return or_close(sock, sock:bind())
end, { forgiven = OUT })
add("making", "listen", function()
    local sock, problem = socket.new(address(0))
    if not sock then return nil, problem end
    return or_close(sock, sock:listen())
end, { forgiven = OUT })
add("connecting", "connect", function(t)
    local sock, problem = socket.new(address(t.port))
    if not sock then return nil, problem end
    return or_close(sock, sock:connect())
end, { forgiven = OUT, not_counted = "getsockopt fcntl fcntl64" })
add("accepting", "accept", function(t) return t.sock:accept() end, {
    listen = function(t)
        local sock = t:hold(socket.new(address(0)))
        assert(sock:bind() == nil)
        assert(sock:listen() == nil)
        return sock, sock:getsockname():addr()[2]
    end,
    forgiven = OUT, not_counted = "getsockopt fcntl fcntl64 ioctl",
})

-- sendmsg carries all that is sent; EAGAIN is the kernel's.
add("writing", "send", function(t) return t.sock:send(DATA) end,
    { not_counted = "getsockopt" })
add("writing", "sendmsg", function(t)
    return t.sock:sendmsg({ iov = { "012", "3456789" } })
end, { not_counted = "getsockopt" })
add("writing", "sendfile", function(t)
    return t.sock:sendfile(t.fileno, #DATA)
end, {
    before = function(t)
        local path = os.tmpname()
        local file = assert(io.open(path, "w+"))
        file:write(DATA)
        file:flush()
        t.fileno = ffi.C.spec_faults_fileno(file)
        t.open[#t.open + 1] = function()
            file:close()
            os.remove(path)
        end
    end,
    not_counted = "getsockopt",
})
add("reading", "recv", function(t) return t.sock:recv() end,
    { not_counted = "getsockopt" })
add("reading", "recv with a flag", function(t)
    return t.sock:recv(#DATA, ms.MSG_WAITALL)
end, {
    not_counted = "getsockopt",
    -- What came before the error is told first, and then the error.
    told = function(results, code, _, t)
        if results[1] then
            results = { n = 2, t.sock:recv() }
        end
        return verdicts.llsocket.told(results, code)
    end,
})
add("reading", "recvfrom", function(t) return t.sock:recvfrom() end,
    { not_counted = "getsockopt" })
add("reading", "recvmsg", function(t)
    local function data_of(message, ...)
        return message and message.iov, ...
    end
    return data_of(t.sock:recvmsg())
end, { not_counted = "getsockopt" })

add("connected", "dup", function(t)
    local copy, problem = t.sock:dup()
    if copy then copy:close() end
    return copy, problem
end, { forgiven = OUT, ignored = "close" })
for _, name in ipairs({ "getpeername", "getsockname" }) do
    add("connected", name, function(t) return t.sock[name](t.sock) end)
end
for _, name in ipairs({ "cloexec", "nonblock", "tcpnodelay", "rcvbuf" }) do
    add("connected", name, function(t) return t.sock[name](t.sock) end,
        { done = function(results) return results[1] ~= nil end })
end
add("connected", "tcpnodelay to be set", function(t)
    return t.sock:tcpnodelay(true)
end, { done = function(results) return results[1] ~= nil end })
add("closing", "shutdown", function(t) return silent(t.sock:shutdown()) end)
add("closing", "close", function(t) return silent(t.sock:close()) end)
add("closing", "close after a shutdown", function(t)
    return silent(t.sock:close(ms.SHUT_RDWR))
end)
add("asking", "getaddrinfo", function()
    return inet.getaddrinfo("localhost", "80", ms.SOCK_STREAM)
end)
add("asking", "macaddrs", function() return llsocket.device.macaddrs() end,
    { goes_on = { if_nametoindex = "ENODEV" } })
