local bit = require "bit"
local ffi = require "ffi"
local ms = require "minisock"
local support = require "spec.support"

local keep, pair = support.keep, support.pair

-- A C int's bytes, in the machine's order.
local function int(n)
    return ffi.string(ffi.new("int[1]", n), 4)
end

-- Two datagram sockets on loopback, and the second's address.
local function datagrams(addr)
    addr = addr or ms.inetaddr("127.0.0.1", 0)
    local a, b = keep(ms.udpsocket(addr)), keep(ms.udpsocket(addr))
    return a, b, ms.getsockname(b)
end

-- Keeps the descriptors of a message, and returns it.
local function keep_all(message, problem)
    assert(message, problem)
    for _, fd in ipairs(message.fds or {}) do keep(fd) end
    return message
end

-- n times the same descriptor.
local function copies(fd, n)
    local fds = {}
    for i = 1, n do fds[i] = fd end
    return fds
end

describe("sendmsg", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("sends a string", function()
        local a, b = pair()
        assert.are.equal(5, ms.sendmsg(a, { data = "hello" }))
        assert.are.equal("hello", ms.read(b))
    end)

    it("sends several strings at once", function()
        local a, b = pair(ms.SOCK_DGRAM)
        assert.are.equal(7,
            ms.sendmsg(a, { data = { "one", "", "\0", "two" } }))
        assert.are.equal("one\0two", ms.read(b))
    end)

    it("sends 1024 strings at most", function()
        local a, b = pair()
        local pieces = {}
        for i = 1, 1024 do pieces[i] = "x" end
        assert.are.equal(1024, ms.sendmsg(a, { data = pieces }))
        assert.are.equal(("x"):rep(1024), ms.read(b))
        pieces[1025] = "x"
        assert.error_matches(function() ms.sendmsg(a, { data = pieces }) end,
            "bad argument #2 to 'sendmsg'")
    end)

    for name, message in pairs({
        ["no data"] = {}, ["an empty string"] = { data = "" },
        ["no strings"] = { data = {} },
    }) do
        it("sends an empty datagram of " .. name, function()
            local a, b = pair(ms.SOCK_DGRAM)
            assert.are.equal(0, ms.sendmsg(a, message))
            assert.are.equal("", ms.recvmsg(b, 2000).data)
        end)
    end

    for name, addr in pairs({
        inet = ms.inetaddr("127.0.0.1", 0),
        inet6 = ms.inet6addr("::1", 0),
    }) do
        it("sends to an address of " .. name, function()
            local a, b, to = datagrams(addr)
            ms.sendmsg(a, { data = "hello", addr = to })
            local message = ms.recvmsg(b, 2000)
            assert.are.equal("hello", message.data)
            assert.are.equal(ms.getsockname(a), message.addr)
        end)
    end

    it("takes flags", function()
        local client, served = support.connection()
        ms.sendmsg(client, { data = "!" }, ms.MSG_OOB)
        assert.are.equal(1, select(2, ms.poll(
            ms.pollfd(served, ms.POLLPRI), 2000)))
    end)

    it("fails with EAGAIN when there is no room", function()
        local a = pair()
        support.fill(a)
        local sent, problem, code =
            ms.sendmsg(a, { data = "x" }, ms.MSG_DONTWAIT)
        assert.is_nil(sent)
        assert.are.equal(
            "sendmsg error: 11 Resource temporarily unavailable", problem)
        assert.are.equal(ms.EAGAIN, code)
        ms.setnonblocking(a, true)
        assert.are.equal(ms.EAGAIN,
            select(3, ms.sendmsg(a, { data = "x" })))
    end)

    it("fails with EPIPE, and raises no SIGPIPE", function()
        local output, status = support.run([[
            local ffi = require "ffi"
            local ms = require "minisock"
            ffi.cdef "void *signal(int, void *);"
            ffi.C.signal(13, nil)
            local a, b = ms.socketpair()
            ms.close(b)
            print(ms.sendmsg(a, { data = { "x", "y" } }))
        ]])
        assert.are.equal("nil\tsendmsg error: 32 Broken pipe\t32\n", output)
        assert.are.equal(0, status)
    end)

    it("fails for what isn't an address", function()
        local a = datagrams()
        for _, addr in ipairs({ "x", "127.0.0.1", ("x"):rep(200),
                ms.unixaddr("") .. ("x"):rep(200) }) do
            local sent, _, code = ms.sendmsg(a, { data = "x", addr = addr })
            assert.is_nil(sent)
            assert.are.equal(ms.EINVAL, code)
        end
    end)

    it("fails for what isn't a socket, isn't open", function()
        local reading = support.pipe()
        assert.are.equal(ms.ENOTSOCK,
            select(3, ms.sendmsg(reading, { data = "x" })))
        assert.are.equal(ms.EBADF,
            select(3, ms.sendmsg(-1, { data = "x" })))
    end)

    for name, arguments in pairs({
        ["no descriptor"] = { nil, {} },
        ["no message"] = { 0 },
        ["a string for a message"] = { 0, "x" },
        ["a number for data"] = { 0, { data = 1 } },
        ["a number among data"] = { 0, { data = { "x", 1 } } },
        ["a number for an address"] = { 0, { addr = 1 } },
        ["a number for descriptors"] = { 0, { fds = 1 } },
        ["a string among descriptors"] = { 0, { fds = { "1" } } },
        ["half a descriptor"] = { 0, { fds = { 0.5 } } },
        ["a number for credentials"] = { 0, { credentials = 1 } },
        ["credentials without a gid"] =
            { 0, { credentials = { pid = 1, uid = 1 } } },
        ["a string for control messages"] = { 0, { control = "x" } },
        ["a string for a control message"] = { 0, { control = { "x" } } },
        ["a control message without data"] =
            { 0, { control = { { level = 0, type = 0 } } } },
        ["a control message with half a level"] =
            { 0, { control = { { level = 0.5, type = 0, data = "" } } } },
        ["a string for flags"] = { 0, {}, "x" },
    }) do
        it("raises for " .. name, function()
            local raised, problem =
                pcall(function() ms.sendmsg(unpack(arguments, 1, 3)) end)
            assert.is_false(raised)
            assert.matches("messages_spec%.lua:%d+: bad argument #%d to "
                .. "'sendmsg'", problem)
        end)
    end
end)

describe("recvmsg", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("tells all there is to tell of a datagram", function()
        local a, b, to = datagrams()
        ms.sendto(a, to, "hello")
        assert.are.same({
            data = "hello", addr = ms.getsockname(a), flags =
                ms.MSG_CMSG_CLOEXEC,
            truncated = false, control_truncated = false,
        }, ms.recvmsg(b, 2000))
    end)

    it("tells of a datagram that was longer", function()
        local a, b, to = datagrams()
        ms.sendto(a, to, "hello")
        ms.sendto(a, to, "hello")
        local message = ms.recvmsg(b, 2000, 4)
        assert.are.equal("hell", message.data)
        assert.is_true(message.truncated)
        assert.are.equal(ms.MSG_TRUNC,
            bit.band(message.flags, ms.MSG_TRUNC))
        assert.is_false(ms.recvmsg(b, 2000, 5).truncated)
    end)

    it("has 2048 bytes at most by default", function()
        local a, b, to = datagrams()
        ms.sendto(a, to, ("x"):rep(2048))
        ms.sendto(a, to, ("x"):rep(2049))
        assert.is_false(ms.recvmsg(b, 2000).truncated)
        local message = ms.recvmsg(b, 2000)
        assert.is_true(message.truncated)
        assert.are.equal(2048, #message.data)
    end)

    it("has no more than there was, with MSG_TRUNC", function()
        local a, b = pair(ms.SOCK_DGRAM)
        ms.write(a, "hello")
        assert.are.equal("he",
            ms.recvmsg(b, 2000, 2, ms.MSG_TRUNC).data)
    end)

    it("has no address on a stream, an unnamed one of a datagram", function()
        local a, b = pair()
        ms.write(a, "x")
        assert.are.equal("", ms.recvmsg(b, 2000).addr)
        local c, d = pair(ms.SOCK_DGRAM)
        ms.write(c, "x")
        assert.are.equal(ms.unixaddr(""), ms.recvmsg(d, 2000).addr)
    end)

    it("has no data at the end of a stream", function()
        local a, b = pair()
        ms.shutdown(a, ms.SHUT_WR)
        assert.are.equal("", ms.recvmsg(b, 2000).data)
    end)

    it("peeks", function()
        local a, b = pair()
        ms.write(a, "x")
        assert.are.equal("x", ms.recvmsg(b, 2000, 10, ms.MSG_PEEK).data)
        assert.are.equal("x", ms.recvmsg(b, 2000, 10).data)
    end)

    it("waits for the timeout", function()
        local _, b = pair()
        local took, message, problem, code =
            support.timed(ms.recvmsg, b, 50)
        assert.is_true(took >= 50)
        assert.is_nil(message)
        assert.are.equal("recvmsg timeout", problem)
        assert.are.equal(ms.ETIMEDOUT, code)
    end)

    it("waits for a message", function()
        local server, addr = support.listener()
        support.spawn_lua([[
            local ms = require "minisock"
            local fd = ms.connect("127.0.0.1", arg[1])
            ms.msleep(100)
            ms.write(fd, "late")
            ms.read(fd)
        ]], support.port_of(addr))
        local served = keep(ms.accept(server, 5000))
        assert.are.equal("late", ms.recvmsg(served, 5000).data)
    end)

    it("doesn't wait with MSG_DONTWAIT", function()
        local _, b = datagrams()
        local message, problem = ms.recvmsg(b, 60000, 10, ms.MSG_DONTWAIT)
        assert.is_nil(message)
        assert.are.equal("recvmsg timeout", problem)
    end)

    -- poll tells of the data, which isn't what is asked for, and would do so
    -- for ever.
    it("doesn't wait for the queue of errors", function()
        local output, status = support.run([[
            local ms = require "minisock"
            local fd = ms.udpsocket(ms.inetaddr("127.0.0.1", 0))
            ms.sendto(fd, ms.getsockname(fd), "x")
            require("spec.process").alarm(5)
            print(ms.recvmsg(fd, 60000, 10, ms.MSG_ERRQUEUE))
        ]])
        assert.matches("^nil\trecvmsg timeout\t", output)
        assert.are.equal(0, status)
    end)

    it("has what the queue of errors tells", function()
        local a, b, to = datagrams()
        ms.close(b)
        ms.setsockopt(a, "IP_RECVERR", true)
        ms.sendto(a, to, "x")
        ms.poll(ms.pollfd(a, 0), 2000)
        local message = ms.recvmsg(a, 0, 100, ms.MSG_ERRQUEUE)
        assert.are.equal("x", message.data)
        assert.are.equal(to, message.addr)
        local control = message.control[1]
        assert.are.equal(ms.IPPROTO_IP, control.level)
        assert.are.equal(ms.IP_RECVERR, control.type)
        assert.are.equal(int(ms.ECONNREFUSED), control.data:sub(1, 4))
    end)

    it("fails for what isn't a socket, isn't open", function()
        local reading = support.pipe()
        assert.are.equal(ms.ENOTSOCK, select(3, ms.recvmsg(reading, 0)))
        assert.are.equal(ms.EBADF, select(3, ms.recvmsg(-1, 0)))
    end)

    for name, arguments in pairs({
        ["no descriptor"] = {},
        ["a string for a timeout"] = { 0, "soon" },
        ["no bytes"] = { 0, 0, 0 },
        ["half a byte"] = { 0, 0, 0.5 },
        ["a string for flags"] = { 0, 0, 1, "x" },
    }) do
        it("raises for " .. name, function()
            local raised, problem =
                pcall(function() ms.recvmsg(unpack(arguments, 1, 4)) end)
            assert.is_false(raised)
            assert.matches("messages_spec%.lua:%d+: bad argument #%d to "
                .. "'recvmsg'", problem)
        end)
    end
end)

describe("a message's descriptors", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("work at the other end", function()
        local a, b = pair()
        local left, right = pair()
        ms.sendmsg(a, { data = "x", fds = { left } })
        local message = keep_all(ms.recvmsg(b, 2000))
        assert.are.equal("x", message.data)
        assert.are.equal(1, #message.fds)
        assert.are_not.equal(left, message.fds[1])
        support.assert_talks(message.fds[1], right)
    end)

    it("come in their order", function()
        local a, b = pair(ms.SOCK_DGRAM)
        local left, right = pair()
        local file = support.dup2(0, 50)
        ms.sendmsg(a, { fds = { left, file, right } })
        local fds = keep_all(ms.recvmsg(b, 2000)).fds
        assert.are.equal(3, #fds)
        support.assert_talks(fds[1], fds[3])
        assert.are.equal(ms.ENOTSOCK,
            select(3, ms.getsockopt(fds[2], "SO_TYPE")))
    end)

    it("are closed on exec", function()
        local a, b = pair()
        local reading = support.pipe()
        ms.setcloexec(reading, false)
        ms.sendmsg(a, { data = "x", fds = { reading } })
        local message = keep_all(ms.recvmsg(b, 2000))
        assert.is_true(ms.getcloexec(message.fds[1]))
    end)

    it("stay open at this end", function()
        local a, b = pair()
        ms.sendmsg(a, { data = "x", fds = { a } })
        keep_all(ms.recvmsg(b, 2000))
        support.assert_talks(a, b)
    end)

    it("are dropped by a plain read, and none leaks", function()
        local a, b = pair()
        ms.sendmsg(a, { data = "x", fds = { a, b } })
        local before = support.count_descriptors()
        assert.are.equal("x", ms.read(b))
        assert.are.equal(before, support.count_descriptors())
    end)

    it("can be 253, and no more", function()
        local a, b = pair()
        ms.sendmsg(a, { data = "x", fds = copies(a, 253) })
        assert.are.equal(253, #keep_all(ms.recvmsg(b, 2000)).fds)
        local sent, _, code =
            ms.sendmsg(a, { data = "x", fds = copies(a, 254) })
        assert.is_nil(sent)
        assert.are.equal(ms.EINVAL, code)
    end)

    it("fail when there are more than there is room for", function()
        local a = pair()
        local sent, problem, code =
            ms.sendmsg(a, { data = "x", fds = copies(a, 600) })
        assert.is_nil(sent)
        assert.are.equal("sendmsg error: 90 Message too long", problem)
        assert.are.equal(ms.EMSGSIZE, code)
    end)

    it("fail when one isn't open", function()
        local a = pair()
        assert.are.equal(ms.EBADF,
            select(3, ms.sendmsg(a, { data = "x", fds = { a, -1 } })))
    end)

    -- Some of several are of no use to anyone, and must not stay open.
    it("are told of when there is no room for all, and closed", function()
        if support.valgrind then return pending("valgrind has its own") end
        local output, status = support.run([[
            local ffi = require "ffi"
            local ms = require "minisock"
            ffi.cdef "int setrlimit(int, const unsigned long *);"
            local count = require("spec.process").descriptors
            local a, b = ms.socketpair()
            for _ = 1, 3 do
                ms.sendmsg(a, { data = "x", fds = { a, a, a } })
            end
            for _, fd in ipairs(ms.recvmsg(b, 0, 1).fds) do ms.close(fd) end
            local before = count()
            local free = 0
            while ms.getcloexec(free) ~= nil do free = free + 1 end
            local function try(room)
                local limits = ffi.new("unsigned long[2]", free + room, 1024)
                ffi.C.setrlimit(7, limits)
                local message = ms.recvmsg(b, 0, 1)
                limits[0] = 1024
                ffi.C.setrlimit(7, limits)
                print(message.data, message.control_truncated, message.fds,
                    message.control, count() - before)
            end
            try(2)
            try(0)
        ]])
        assert.are.equal(("x\ttrue\tnil\tnil\t0\n"):rep(2), output)
        assert.are.equal(0, status)
    end)
end)

describe("a message's credentials", function()
    before_each(support.setup)
    after_each(support.teardown)

    local function own(fd)
        return ms.getsockopt(fd, "SO_PEERCRED")
    end

    it("come when SO_PASSCRED asks for them", function()
        local a, b = pair()
        ms.setsockopt(b, "SO_PASSCRED", true)
        ms.write(a, "x")
        assert.are.same(own(a), ms.recvmsg(b, 2000).credentials)
    end)

    it("don't come otherwise", function()
        local a, b = pair()
        ms.write(a, "x")
        assert.is_nil(ms.recvmsg(b, 2000).credentials)
    end)

    it("can be sent", function()
        local a, b = pair()
        ms.setsockopt(b, "SO_PASSCRED", true)
        local given = own(a)
        ms.sendmsg(a, { data = "x", credentials = given })
        assert.are.same(given, ms.recvmsg(b, 2000).credentials)
    end)

    it("can be sent with descriptors", function()
        local a, b = pair()
        ms.setsockopt(b, "SO_PASSCRED", true)
        ms.sendmsg(a, { data = "x", credentials = own(a), fds = { a } })
        local message = keep_all(ms.recvmsg(b, 2000))
        assert.are.same(own(a), message.credentials)
        assert.are.equal(1, #message.fds)
    end)

    it("must be true", function()
        local a = pair()
        local lie = own(a)
        lie.pid = 2^30
        local sent, _, code =
            ms.sendmsg(a, { data = "x", credentials = lie })
        assert.is_nil(sent)
        assert.is_true(code == ms.EPERM or code == 3) -- ESRCH, for root
    end)
end)

describe("a control message", function()
    before_each(support.setup)
    after_each(support.teardown)

    local function control_of(message, level, kind)
        for _, one in ipairs(message.control or {}) do
            if one.level == level and one.type == kind then
                return one.data
            end
        end
    end

    it("tells the TTL", function()
        local a, b, to = datagrams()
        ms.setsockopt(b, "IP_RECVTTL", true)
        ms.setsockopt(a, "IP_TTL", 33)
        ms.sendto(a, to, "x")
        local message = ms.recvmsg(b, 2000)
        assert.are.equal(int(33),
            control_of(message, ms.IPPROTO_IP, ms.IP_TTL))
    end)

    it("tells the interface and the address", function()
        local a, b, to = datagrams()
        ms.setsockopt(b, "IP_PKTINFO", true)
        ms.sendto(a, to, "x")
        local data = control_of(ms.recvmsg(b, 2000), ms.IPPROTO_IP,
            ms.IP_PKTINFO)
        assert.are.equal(int(1), data:sub(1, 4)) -- lo
        assert.are.equal("\127\0\0\1", data:sub(9, 12))
    end)

    it("is one of several", function()
        local a, b, to = datagrams()
        ms.setsockopt(b, "IP_PKTINFO", true)
        ms.setsockopt(b, "IP_RECVTTL", true)
        ms.setsockopt(b, "IP_RECVTOS", true)
        ms.setsockopt(b, "SO_TIMESTAMP", true)
        ms.sendto(a, to, "x")
        local message = ms.recvmsg(b, 2000)
        assert.are.equal(4, #message.control)
        assert.are.equal(1,
            #control_of(message, ms.IPPROTO_IP, ms.IP_TOS))
    end)

    it("sets the TTL of one datagram", function()
        local a, b, to = datagrams()
        ms.setsockopt(b, "IP_RECVTTL", true)
        ms.sendmsg(a, { data = "x", addr = to, control = {
            { level = ms.IPPROTO_IP, type = ms.IP_TTL, data = int(44) },
            { level = ms.IPPROTO_IP, type = ms.IP_TOS, data = int(16) },
        } })
        assert.are.equal(int(44), control_of(ms.recvmsg(b, 2000),
            ms.IPPROTO_IP, ms.IP_TTL))
    end)

    it("that nobody knows is an error", function()
        local a, _, to = datagrams()
        local sent, _, code = ms.sendmsg(a, { data = "x", addr = to,
            control = { { level = 0, type = 9999, data = "" } } })
        assert.is_nil(sent)
        assert.are.equal(ms.EINVAL, code)
    end)

    it("of more than 2048 bytes is an error", function()
        local a, _, to = datagrams()
        local sent, _, code = ms.sendmsg(a, { data = "x", addr = to,
            control = { { level = 0, type = 0, data = ("x"):rep(2048) } } })
        assert.is_nil(sent)
        assert.are.equal(ms.EMSGSIZE, code)
    end)
end)

describe("messages with Python", function()
    before_each(support.setup)
    after_each(support.teardown)

    local function python(program)
        local path = support.tmpname()
        local server = keep(ms.bind(ms.unixaddr(path)))
        local file = support.spit(support.tmpname(), ([[
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("%s")
%s]]):format(path, program))
        local process = support.spawn("python3 -u " .. file)
        return keep(ms.accept(server, 20000)), process
    end

    it("carry descriptors there", function()
        local served, process = python([[
data, fds, flags, addr = socket.recv_fds(s, 100, 10)
print(data, len(fds), flags & socket.MSG_CTRUNC)
os.write(fds[1], b"from python")
]])
        local reading, writing = support.pipe()
        ms.sendmsg(served, { data = { "he", "llo" },
            fds = { reading, writing } })
        assert.are.equal("b'hello' 2 0", process:line())
        assert.are.equal("from python", ms.read(reading))
    end)

    it("carry descriptors here", function()
        local served, process = python([[
r, w = os.pipe()
socket.send_fds(s, [b"hello"], [r, w, r])
print(os.read(r, 100))
]])
        local message = keep_all(ms.recvmsg(served, 20000))
        assert.are.equal("hello", message.data)
        assert.are.equal(3, #message.fds)
        ms.write(message.fds[2], "from lua")
        assert.are.equal("b'from lua'", process:line())
    end)

    it("carry credentials", function()
        local served, process = python([[
print(os.getpid(), os.getuid(), os.getgid())
s.recv(1)
s.send(b"hello")
s.recv(1)
]])
        ms.setsockopt(served, "SO_PASSCRED", true)
        local pid, uid, gid = process:expect("^(%d+) (%d+) (%d+)$")
        ms.write(served, "x")
        local message = ms.recvmsg(served, 20000)
        assert.are.same({ pid = tonumber(pid), uid = tonumber(uid),
            gid = tonumber(gid) }, message.credentials)
    end)
end)

describe("messages of garbage", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("don't crash", function()
        local output, status = support.run([[
            local ms = require "minisock"
            math.randomseed(4711)
            local values = { false, true, 0, -1, 1.5, 2^31, 2^53, 1/0, 0/0,
                "", "x", "\0\0", ("x"):rep(5000), {}, { 1 }, { "x" },
                { level = 1, type = 1, data = "\0\0\0\0" },
                { { level = 1, type = 1, data = "\255\255\255\127" } },
                { { level = 1, type = 2, data = "short" } },
                { { level = -1, type = -1, data = ("x"):rep(300) } },
                { pid = 1, uid = 0, gid = 0 }, { -1, 0, 1 }, { 2^31 },
                print, coroutine.create(print), ms.inetaddr("127.0.0.1", 9),
                ms.unixaddr("x") }
            local function any()
                local value = values[math.random(0, #values)]
                return value
            end
            local a, b = ms.socketpair()
            ms.setnonblocking(a, true)
            local u = ms.udpsocket()
            local names = { "data", "addr", "fds", "credentials", "control" }
            local calls, raised = 0, 0
            for i = 1, 5000 do
                local message = {}
                for _, name in ipairs(names) do
                    if math.random(3) == 1 then message[name] = any() end
                end
                local fd = i % 2 == 0 and a or u
                local flags = math.random(2) == 1 and 64 or any()
                if not pcall(ms.sendmsg, fd, message, flags) then
                    raised = raised + 1
                end
                pcall(ms.sendmsg, any(), any(), any())
                local done, got = pcall(ms.recvmsg, b, 0,
                    math.random(4) == 1 and any() or 10,
                    math.random(2) == 1 and 0 or any())
                if done and got then
                    for _, one in ipairs(got.fds or {}) do ms.close(one) end
                end
                calls = calls + 1
            end
            print(calls, raised > 0 and raised < calls)
        ]], "2>/dev/null")
        assert.are.equal("5000\ttrue\n", output)
        assert.are.equal(0, status)
    end)
end)
