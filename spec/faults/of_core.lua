--- The operations of the core, for the fault matrix.
local ffi = require "ffi"
local batch = require "minisock.batch"
local ms = require "minisock"
local operations = require "spec.faults.operations"
local poller = require "minisock.poller"
local pollset = require "minisock.pollset"
local situations = require "spec.faults.situations"

local add = operations.of("core")
local DATA, WAIT = situations.DATA, situations.WAIT
local FOREVER = math.huge
local THREE = { "012", "3456789", "" }

local function close_both(results)
    if results[1] then ms.close(results[1]) ms.close(results[2]) end
end

add("making", "socket", function()
    return ms.socket(ms.AF_INET, ms.SOCK_STREAM)
end)
add("asking", "socketpair", function() return ms.socketpair() end,
    { after = close_both })
add("closing", "close", function(t) return ms.close(t.copy) end, {
    before = function(t) t.copy = assert(ms.dup(t.sock)) end,
})
add("closing", "shutdown", function(t) return ms.shutdown(t.sock) end)
add("connected", "getsockname", function(t) return ms.getsockname(t.sock) end)
add("connected", "getpeername", function(t) return ms.getpeername(t.sock) end)

add("reading", "read", function(t) return ms.read(t.sock, WAIT) end)
add("reading", "read for ever", function(t)
    return ms.read(t.sock, FOREVER)
end)
add("reading", "readinto a buffer", function(t)
    return ms.readinto(t.sock, t.buffer, WAIT)
end, {
    before = function(t) t.buffer = require("string.buffer").new() end,
    got = function(_, t) return t.buffer:get() end,
})
add("reading", "readinto an array", function(t)
    return ms.readinto(t.sock, t.array, WAIT, 16)
end, {
    before = function(t) t.array = ffi.new("char[16]") end,
    got = function(results, t) return ffi.string(t.array, results[1] or 0) end,
})
add("reading_pipe", "read a pipe", function(t)
    return ms.read(t.sock, WAIT)
end)
add("reading_pipe", "read a pipe for ever", function(t)
    return ms.read(t.sock, FOREVER)
end)

local REPORTS_EAGAIN = {
    send = "EINTR", write = "EINTR", sendto = "EINTR", sendmsg = "EINTR",
    sendmmsg = "EINTR",
}

add("writing", "write", function(t) return ms.write(t.sock, DATA) end,
    { goes_on = REPORTS_EAGAIN })
add("writing", "write a part", function(t)
    return ms.write(t.sock, "--" .. DATA .. "--", 3, #DATA)
end, { goes_on = REPORTS_EAGAIN })
add("writing_pipe", "write to a pipe", function(t)
    return ms.write(t.sock, DATA)
end, { goes_on = REPORTS_EAGAIN })
add("broken_pipe", "write to a pipe that nobody reads", function(t)
    return ms.write(t.sock, DATA)
end, { goes_on = REPORTS_EAGAIN, fails = "EPIPE" })

local GATHERS = { sendmsg = "EAGAIN EINTR" }

for _, timeout in ipairs({ WAIT, FOREVER }) do
    local how = timeout == FOREVER and " for ever" or ""
    add("writing", "sendall" .. how, function(t)
        return ms.sendall(t.sock, DATA, timeout)
    end)
    add("writing", "sendall of a list" .. how, function(t)
        return ms.sendall(t.sock, THREE, timeout)
    end, { goes_on = GATHERS })
    add("writing", "sendall of a buffer" .. how, function(t)
        local buffer = require("string.buffer").new():put(DATA)
        local sent, message, code, before =
            ms.sendall(t.sock, buffer, timeout)
        assert(buffer:get() == DATA:sub((sent or before) + 1), "consumed")
        return sent, message, code, before
    end)
    add("writing_pipe", "sendall to a pipe" .. how, function(t)
        return ms.sendall(t.sock, DATA, timeout)
    end)
    add("accepting", "accept" .. how, function(t)
        return ms.accept(t.sock, timeout)
    end, { ignored = "getsockopt ioctl" })
    add("connecting", "connect" .. how, function(t)
        return ms.connect(t.addr, nil, timeout)
    end)
    add("connecting", "connect to a host" .. how, function(t)
        return ms.connect("127.0.0.1", t.port, timeout)
    end)
    add("connecting_unix", "connect to a path" .. how, function(t)
        return ms.connect(t.addr, nil, timeout)
    end, { goes_on = { connect = "EAGAIN EINTR" },
        never = { connect = "EINPROGRESS" }, unmade = true })
    add("connecting", "connectfd" .. how, function(t)
        return ms.connectfd(t.client, t.addr, timeout)
    end, {
        before = function(t)
            t.client = t:keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        end,
        client = true, ignored = "fcntl fcntl64 ioctl",
    })
end

add("connecting", "startconnect", function(t)
    return ms.startconnect(t.client, t.addr)
end, {
    before = function(t)
        t.client = t:keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
    end,
    client = true, goes_on = { connect = "" },
})

add("making", "bind", function()
    return ms.bind(ms.inetaddr("127.0.0.1", 0), { reuseport = true })
end)
add("making", "bind a host", function() return ms.bind("127.0.0.1", 0) end, {
    ignored = "getsockname",
})
add("making", "bind a path", function() return ms.bind(ms.unixaddr("")) end)
add("making", "bind every address", function() return ms.bind("*", 0) end, {
    forgiven = {
        socket = "EAFNOSUPPORT", bind = "EADDRNOTAVAIL",
    },
    ignored = "getsockname",
})
add("asking", "bindfd", function(t)
    return ms.bindfd(t.sock, ms.inetaddr("127.0.0.1", 0))
end, {
    before = function(t)
        t.sock = t:keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
    end,
})
add("asking", "listen", function(t) return ms.listen(t.sock) end, {
    before = function(t)
        t.sock = t:keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
    end,
})

add("making", "udpsocket", function()
    return ms.udpsocket(ms.inetaddr("127.0.0.1", 0))
end)
add("receiving", "recvfrom", function(t) return ms.recvfrom(t.sock, WAIT) end)
add("sending", "sendto", function(t)
    return ms.sendto(t.sock, t.peer_addr, "data")
end, { goes_on = REPORTS_EAGAIN })
add("sending", "sendall of a datagram", function(t)
    assert(ms.connectfd(t.sock, t.peer_addr))
    local sent, message, code, before = ms.sendall(t.sock, "data", WAIT)
    assert(ms.disconnect(t.sock))
    return sent, message, code, before
end, { not_counted = "connect" })
add("sending", "disconnect", function(t) return ms.disconnect(t.sock) end, {
    before = function(t) assert(ms.connectfd(t.sock, t.peer_addr)) end,
    goes_on = { connect = "" }, sent = function() return "" end,
})

local function received(results, t)
    local seen = {}
    for i = 1, results[1] or 0 do
        seen[i] = ("[%s]"):format((t.batch:get(i)))
    end
    return table.concat(seen)
end

add("receiving", "recvmany", function(t)
    return ms.recvmany(t.sock, t.batch, WAIT)
end, {
    before = function(t) t.batch = batch.new(8, 64) end,
    got = received, cap = true,
})
add("sending", "sendmany", function(t)
    return ms.sendmany(t.sock, { "one", "", "three" }, t.peer_addr)
end, {
    goes_on = REPORTS_EAGAIN, cap = 2,
    sent = function(results)
        return ("[one][][three]"):sub(1, ({ [0] = 0, 5, 7, 14 })
            [results[1] or 0])
    end,
})

add("receiving", "recvmsg", function(t)
    local message, problem, code = ms.recvmsg(t.sock, WAIT)
    return message and message.data, problem, code
end)
add("sending", "sendmsg", function(t)
    return ms.sendmsg(t.sock, { data = { "da", "ta" }, addr = t.peer_addr })
end, { goes_on = REPORTS_EAGAIN })

-- Descriptors that come with a message are closed, or somebody's.
local function unix_pair(t)
    local sock, peer = ms.socketpair()
    t.sock, t.peer = t:keep(sock), t:keep(peer)
end

add("asking", "recvmsg of descriptors", function(t)
    local message, problem, code = ms.recvmsg(t.sock, WAIT)
    for _, fd in ipairs(message and message.fds or {}) do t:keep(fd) end
    return message and #message.fds, problem, code
end, {
    before = function(t)
        unix_pair(t)
        assert(ms.sendmsg(t.peer, { data = "x", fds = { t.sock, t.peer } }))
    end,
    ignored = "getsockopt",
})
add("asking", "sendmsg of descriptors", function(t)
    return ms.sendmsg(t.sock, { data = "x", fds = { t.sock, t.peer } })
end, { before = unix_pair, goes_on = REPORTS_EAGAIN })

local function file_of(t)
    t.path = os.tmpname()
    local file = assert(io.open(t.path, "w"))
    file:write(DATA)
    file:close()
    t.file = assert(io.open(t.path))
    t.open[#t.open + 1] = function()
        t.file:close()
        os.remove(t.path)
    end
    return t.file
end

if not pcall(ffi.typeof, "struct spec_faults_matrix") then
    ffi.cdef [[
    struct spec_faults_matrix { int unused; };
    int spec_faults_fileno(void *) __asm__("fileno");
    ]]
end

add("writing", "sendfile", function(t)
    return ms.sendfile(t.sock, t.fileno, #DATA, 0)
end, {
    before = function(t) t.fileno = ffi.C.spec_faults_fileno(file_of(t)) end,
})

add("making", "dup", function(t) return ms.dup(t.sock) end, {
    before = function(t) t.sock = t:keep(ms.udpsocket()) end,
})
add("connected", "dup2", function(t) return ms.dup2(t.sock, t.other) end, {
    before = function(t) t.other = t:keep(ms.udpsocket()) end,
})
add("connected", "atmark", function(t) return ms.atmark(t.sock) end, {
    done = function(results) return results[1] ~= nil end,
})
for _, name in ipairs({ "cloexec", "nonblocking" }) do
    add("connected", "get" .. name, function(t)
        return ms["get" .. name](t.sock)
    end, { done = function(results) return results[1] ~= nil end })
    add("connected", "set" .. name, function(t)
        return ms["set" .. name](t.sock, true)
    end)
end
add("connected", "setsockopt", function(t)
    return ms.setsockopt(t.sock, "TCP_NODELAY", true)
end)
add("connected", "setsockopt raw", function(t)
    return ms.setsockopt(t.sock, ms.IPPROTO_TCP, ms.TCP_NODELAY,
        "\1\0\0\0")
end)
add("connected", "getsockopt", function(t)
    return ms.getsockopt(t.sock, "SO_RCVBUF")
end)
add("connected", "getsockopt raw", function(t)
    return ms.getsockopt(t.sock, ms.SOL_SOCKET, ms.SO_RCVBUF, 4)
end)
for _, name in ipairs({ "joingroup", "leavegroup" }) do
    add("sending", name, function(t)
        return ms[name](t.sock, "224.0.0.99", "lo")
    end, {
        before = name == "leavegroup" and function(t)
            assert(ms.joingroup(t.sock, "224.0.0.99", "lo"))
        end or nil,
        sent = function() return "" end,
        means = { if_nametoindex = "ENODEV" },
    })
end

add("asking", "getaddrinfo", function()
    return ms.getaddrinfo("localhost", 80)
end)
add("asking", "getaddrinfo with a timeout", function()
    return ms.getaddrinfo("localhost", 80, { timeout = WAIT })
end, {
    forgiven = { getaddrinfo = "EAI_NONAME" },
    means = { pthread_create = "EAI_SYSTEM" },
})
add("asking", "getnameinfo", function()
    return ms.getnameinfo(ms.inetaddr("127.0.0.1", 80), true)
end)
add("asking", "getinterfaces", function() return ms.getinterfaces() end,
    { goes_on = { if_nametoindex = "ENODEV" } })

add("connected", "poll", function(t)
    local ready, count, code = ms.poll(ms.pollfd(t.sock, ms.POLLOUT), WAIT)
    return ready and count, count, code
end)
add("connected", "wait of a pollset", function(t)
    local set = pollset.new()
    set:add(t.sock, ms.POLLOUT)
    return set:wait(WAIT)
end)
add("asking", "new poller", function() return poller.new() end, {
    forgiven = { epoll_create1 = "EMFILE ENFILE" },
    after = function(results) if results[1] then results[1]:close() end end,
})

local function watched(t)
    local one = assert(poller.new())
    t.open[#t.open + 1] = function() one:close() end
    t.poller = one
    if t.adds then assert(one:add(t.sock, ms.EPOLLOUT)) end
end

local function with_poller(name, adds, act)
    add("connected", name, function(t) return act(t, t.poller) end, {
        before = function(t)
            t.adds = adds
            watched(t)
        end,
    })
end

with_poller("add to a poller", false, function(t, one)
    return one:add(t.sock, ms.EPOLLIN)
end)
with_poller("modify in a poller", true, function(t, one)
    return one:modify(t.sock, ms.EPOLLIN)
end)
with_poller("remove from a poller", true, function(t, one)
    return one:remove(t.sock)
end)
with_poller("wait of a poller", true, function(_, one)
    return one:wait(WAIT)
end)
