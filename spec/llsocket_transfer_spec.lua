local llsocket = require "minisock.llsocket"
local ms = require "minisock"
local objects = require "spec.llsocket_support"
local support = require "spec.support"

local socket = llsocket.socket
local MSG_DONTWAIT, MSG_PEEK = llsocket.MSG_DONTWAIT, llsocket.MSG_PEEK
local MSG_WAITALL = llsocket.MSG_WAITALL
local SOCK_DGRAM, SOCK_SEQPACKET = llsocket.SOCK_DGRAM, llsocket.SOCK_SEQPACKET
local setup, teardown, hold = objects.setup, objects.teardown, objects.hold
local results, raises = objects.results, objects.raises
local address, path_address = objects.address, objects.path_address
local pair, bound, connection = objects.pair, objects.bound, objects.connection
local fill = objects.fill
local NOTHING = objects.NOTHING

local AGAIN = { n = 3, nil, nil, true }
local NONE_AGAIN = { n = 3, 0, nil, true }
local INVALID = { n = 2, nil, "Invalid argument" }

local function unique_name()
    return "minisock-llsocket-" .. math.random() .. os.time()
end

-- Two datagram sockets that know each other's addresses.
local function datagrams(host)
    local a = bound(address(host, nil, SOCK_DGRAM))
    local b = bound(address(host, nil, SOCK_DGRAM))
    return a, b, b:getsockname()
end

describe("llsocket's send", function()
    before_each(setup)
    after_each(teardown)

    it("says how much was sent, no error and no again", function()
        local a, b = pair()
        assert.are.same({ n = 3, 5, nil, false }, results(a:send("hello")))
        assert.are.equal("hello", b:recv())
    end)

    it("sends zeros too", function()
        local a, b = pair()
        a:send("a\0b\0")
        assert.are.equal("a\0b\0", b:recv())
    end)

    it("says again when there is no room", function()
        local a = pair(nil, true)
        assert.are.same(NONE_AGAIN, fill(a))
        assert.are.same(NONE_AGAIN, results(a:send("x")))
    end)

    it("says again when there was room for a part", function()
        local client = connection()
        client:nonblock(true)
        local msg = ("x"):rep(64 * 1024 * 1024)
        local all = results(client:send(msg))
        assert.are.equal(3, all.n)
        assert.is_true(all[1] > 0 and all[1] < #msg)
        assert.is_nil(all[2])
        assert.is_true(all[3])
    end)

    it("says again when sndtimeo has passed", function()
        local a = pair()
        fill(a)
        a:sndtimeo(0.05)
        local took, sent, problem, again = support.timed(a.send, a, "x")
        assert.is_true(took >= 45)
        assert.are.same(NONE_AGAIN, results(sent, problem, again))
    end)

    it("says again in place of waiting, when told not to wait", function()
        local a = pair()
        fill(a)
        assert.are.same(NONE_AGAIN, results(a:send("x", MSG_DONTWAIT)))
    end)

    it("waits for room in blocking mode", function()
        local name = unique_name()
        local server = objects.listener(path_address("\0" .. name))
        local reader = support.spawn_lua([[
            local ms = require "minisock"
            local fd = assert(ms.connect(ms.unixaddr("@" .. arg[1])))
            local got = 0
            repeat
                local data = assert(ms.read(fd))
                got = got + #data
            until data == ""
            print(got)
        ]], name)
        local served = hold(server:accept())
        local msg = ("x"):rep(8 * 1024 * 1024)
        assert.are.same({ n = 3, #msg, nil, false },
            results(served:send(msg)))
        served:close()
        assert.are.equal(#msg, tonumber(reader:line()))
    end)

    it("gives nothing when the peer has closed", function()
        local a, b = pair()
        b:close()
        assert.are.same(NOTHING, results(a:send("x")))
    end)

    it("gives nothing when the peer has reset the connection", function()
        local client, served = connection()
        ms.setsockopt(served:fd(), "SO_LINGER", 0)
        served:close()
        assert.are.same(NOTHING, results(client:send("x")))
        assert.are.same(NOTHING, results(client:send("x")))
    end)

    it("gives an error", function()
        local sock = hold(socket.new(address(nil, nil, SOCK_DGRAM)))
        assert.are.same({ n = 2, nil, "Destination address required" },
            results(sock:send("x")))
    end)

    it("sends nothing on a stream", function()
        local a = pair()
        assert.are.same(INVALID, results(a:send("")))
    end)

    it("sends an empty datagram", function()
        local a, b = pair(SOCK_DGRAM)
        assert.are.same({ n = 3, 0, nil, false }, results(a:send("")))
        assert.are.same({ n = 1, "" }, results(b:recv()))
    end)

    it("passes flags on, joined, nil among them", function()
        local client, served = connection()
        served:oobinline(true)
        assert.are.same({ n = 3, 1, nil, false }, results(
            client:send("!", MSG_DONTWAIT, nil, llsocket.MSG_OOB)))
        ms.poll(ms.pollfd(served:fd(), ms.POLLPRI), 2000)
        assert.is_true(served:atmark())
    end)

    it("raises for what isn't a string, flags that aren't numbers", function()
        local a = pair()
        raises("bad argument #1 to 'send' %(string expected, got 1%)",
            function() a:send(1) end)
        raises("bad argument #1 to 'send'", function() a:send() end)
        raises("bad argument #3 to 'send' %(integer expected, got string%)",
            function() a:send("x", nil, "1") end)
    end)

    -- SIGPIPE would end the program: the child sets what it may have
    -- inherited otherwise.
    it("raises no SIGPIPE, and neither do the others", function()
        local output, status = support.run([[
            local ffi = require "ffi"
            local llsocket = require "minisock.llsocket"
            ffi.cdef "void *signal(int, void *);"
            ffi.cdef "int open(const char *, int);"
            ffi.C.signal(13, nil)
            local function count(...) io.write(select("#", ...), " ") end
            local function pair()
                local socks = llsocket.socket.pair(1)
                socks[2]:close()
                return socks[1]
            end
            local ai = llsocket.unix.getaddrinfo("/tmp/x", 1)
            local file = ffi.C.open(arg[0], 0)
            count(pair():send("x"))
            count(pair():sendmsg({ iov = { "x", "y" } }))
            count(pair():sendfd(0))
            count(pair():sendfile(file, 10))
            local list = llsocket.inet.getaddrinfo("127.0.0.1", "0", 1)
            local server = llsocket.socket.new(list[1])
            server:bind()
            server:listen()
            local client = llsocket.socket.new(server:getsockname())
            client:connect()
            client:shutdown(llsocket.SHUT_WR)
            count(client:sendto("x", server:getsockname()))
            count(client:sendfile(file, 10))
            print("alive")
        ]])
        assert.are.equal("0 0 0 0 0 0 alive\n", output)
        assert.are.equal(0, status)
    end)
end)

describe("llsocket's sendto and recvfrom", function()
    before_each(setup)
    after_each(teardown)

    for _, host in ipairs({ "127.0.0.1", "::1" }) do
        it("carry datagrams and addresses of " .. host, function()
            local a, b, to = datagrams(host)
            assert.are.same({ n = 3, 5, nil, false },
                results(a:sendto("hello", to)))
            local all = results(b:recvfrom())
            assert.are.equal(2, all.n)
            assert.are.equal("hello", all[1])
            assert.are.same(a:getsockname():addr(), all[2]:addr())
            assert.are.equal(SOCK_DGRAM, all[2]:socktype())
            assert.are.equal(llsocket.IPPROTO_UDP, all[2]:protocol())
        end)
    end

    it("answer to where it came from", function()
        local a, b, to = datagrams()
        a:sendto("ping", to)
        local _, from = b:recvfrom()
        b:sendto("pong", from)
        assert.are.equal("pong", a:recv())
    end)

    it("carry empty datagrams", function()
        local a, b, to = datagrams()
        assert.are.same({ n = 3, 0, nil, false }, results(a:sendto("", to)))
        local all = results(b:recvfrom())
        assert.are.equal("", all[1])
        assert.are.same(a:getsockname():addr(), all[2]:addr())
    end)

    it("cut what is longer than the buffer", function()
        local a, b, to = datagrams()
        a:sendto("hello", to)
        a:sendto("next", to)
        assert.are.equal("he", (b:recvfrom(2)))
        assert.are.equal("next", (b:recvfrom()))
    end)

    it("have no address of a stream", function()
        local client, served = connection()
        client:send("x")
        assert.are.same({ n = 1, "x" }, results(served:recvfrom()))
    end)

    it("have no address of a sender without a name", function()
        local a, b = pair(SOCK_DGRAM)
        a:send("x")
        assert.are.same({ n = 1, "x" }, results(b:recvfrom()))
    end)

    -- The address of an earlier sender would be that of another.
    it("have no address of an earlier sender", function()
        local receiver = bound(path_address(support.tmpname(), SOCK_DGRAM))
        local named = bound(path_address(support.tmpname(), SOCK_DGRAM))
        local unnamed = hold(socket.new(receiver:getsockname()))
        named:sendto("x", receiver:getsockname())
        unnamed:sendto("y", receiver:getsockname())
        local _, from = receiver:recvfrom()
        assert.are.same(named:getsockname():addr(), from:addr())
        assert.are.same({ n = 1, "y" }, results(receiver:recvfrom()))
    end)

    it("say again in its place", function()
        local a, b, to = datagrams()
        b:nonblock(true)
        assert.are.same({ n = 4, nil, nil, nil, true },
            results(b:recvfrom()))
        a:sendto("x", to)
        assert.are.equal("x", (b:recvfrom()))
    end)

    it("say again when rcvtimeo has passed", function()
        local _, b = datagrams()
        b:rcvtimeo(0.05)
        local took, data, ai, problem, again =
            support.timed(b.recvfrom, b)
        assert.is_true(took >= 45)
        assert.are.same({ n = 4, nil, nil, nil, true },
            results(data, ai, problem, again))
    end)

    it("give nothing when the peer has closed", function()
        local client, served = connection()
        client:close()
        assert.are.same(NOTHING, results(served:recvfrom()))
    end)

    it("give the error in its place", function()
        local a = datagrams()
        assert.are.same({ n = 3, nil, nil, "Invalid argument" },
            results(a:recvfrom(0)))
        assert.are.same({ n = 2, nil, "Message too long" },
            results(a:sendto(("x"):rep(70000), a:getsockname())))
        assert.are.same(
            { n = 2, nil, "Address family not supported by protocol" },
            results(a:sendto("x", address("::1", "9", SOCK_DGRAM))))
    end)

    it("send nothing on a stream", function()
        local client = connection()
        assert.are.same(INVALID,
            results(client:sendto("", client:getpeername())))
    end)

    it("peek", function()
        local a, b, to = datagrams()
        a:sendto("hello", to)
        assert.are.equal("hello", (b:recvfrom(nil, MSG_PEEK)))
        assert.are.equal("hello", (b:recvfrom(nil, nil, MSG_DONTWAIT)))
    end)

    it("raise for what isn't of its type", function()
        local a, _, to = datagrams()
        raises("bad argument #1 to 'sendto'", function() a:sendto(1, to) end)
        raises("bad argument #2 to 'sendto'", function() a:sendto("x") end)
        raises("bad argument #2 to 'sendto'",
            function() a:sendto("x", "127.0.0.1") end)
        raises("bad argument #3 to 'sendto'",
            function() a:sendto("x", to, "1") end)
        raises("bad argument #1 to 'recvfrom'",
            function() a:recvfrom("1") end)
        raises("bad argument #2 to 'recvfrom'",
            function() a:recvfrom(1, "1") end)
    end)
end)

describe("llsocket's recv", function()
    before_each(setup)
    after_each(teardown)

    it("gives what is there, at most 4096 bytes", function()
        local a, b = pair()
        a:send(("x"):rep(5000))
        assert.are.same({ n = 1, ("x"):rep(4096) }, results(b:recv()))
        assert.are.same({ n = 1, ("x"):rep(904) }, results(b:recv()))
    end)

    it("gives at most what is asked for", function()
        local a, b = pair()
        a:send("hello")
        assert.are.equal("he", b:recv(2))
        assert.are.equal("llo", b:recv(1000000))
    end)

    it("gives nothing when the peer has closed", function()
        local a, b = pair()
        a:send("last")
        a:close()
        assert.are.equal("last", b:recv())
        assert.are.same(NOTHING, results(b:recv()))
        assert.are.same(NOTHING, results(b:recv(10, MSG_DONTWAIT)))
    end)

    it("gives an error", function()
        local client, served = connection()
        ms.setsockopt(served:fd(), "SO_LINGER", 0)
        served:close()
        assert.are.same({ n = 2, nil, "Connection reset by peer" },
            results(client:recv()))
        local unconnected = hold(socket.new(address()))
        assert.are.same(
            { n = 2, nil, "Transport endpoint is not connected" },
            results(unconnected:recv()))
    end)

    for _, size in ipairs({ 0, -1 }) do
        it("takes no size of " .. size, function()
            local a = pair()
            assert.are.same(INVALID, results(a:recv(size)))
            assert.are.same(INVALID, results(a:recv(size, MSG_PEEK)))
        end)
    end

    it("says again in non-blocking mode", function()
        local a = pair(nil, true)
        assert.are.same(AGAIN, results(a:recv()))
    end)

    it("says again when told not to wait", function()
        local a = pair()
        assert.are.same(AGAIN, results(a:recv(10, MSG_DONTWAIT)))
    end)

    it("says again when rcvtimeo has passed", function()
        local a = pair()
        a:rcvtimeo(0.05)
        for _, flags in ipairs({ 0, MSG_PEEK, MSG_WAITALL }) do
            local took, data, problem, again =
                support.timed(a.recv, a, 10, flags)
            assert.is_true(took >= 45)
            assert.are.same(AGAIN, results(data, problem, again))
        end
    end)

    it("waits in blocking mode", function()
        local name = unique_name()
        local server = objects.listener(path_address("\0" .. name))
        support.spawn_lua([[
            local ms = require "minisock"
            local fd = assert(ms.connect(ms.unixaddr("@" .. arg[1])))
            ms.msleep(100)
            ms.write(fd, "late")
            ms.msleep(100)
        ]], name)
        local served = hold(server:accept())
        assert.are.same({ n = 1, "late" }, results(served:recv()))
        assert.are.same(NOTHING, results(served:recv(10, 0)))
    end)

    it("peeks", function()
        local a, b = pair()
        a:send("hello")
        assert.are.equal("he", b:recv(2, MSG_PEEK))
        assert.are.equal("hello", b:recv())
    end)

    it("waits for all, when told to", function()
        local server = objects.listener()
        local sender = support.spawn(([[python3 -u -c '
import socket, sys
s = socket.create_connection(("127.0.0.1", %d))
s.sendall(b"ab")
s.recv(1)
s.sendall(b"cd")
s.recv(1)
s.sendall(b"ef")
s.close()']]):format(server:getsockname():addr()[2]))
        local served = hold(server:accept())
        assert.are.equal("ab", served:recv(3, MSG_PEEK))
        served:send("xy")
        assert.are.same({ n = 1, "abcdef" },
            results(served:recv(100, MSG_WAITALL)))
        assert.are.same(NOTHING, results(served:recv(100, MSG_WAITALL)))
        sender:stop()
    end)

    it("waits for all of a message, and no more", function()
        local a, b = pair()
        a:send("abcd")
        assert.are.equal("abc", b:recv(3, MSG_WAITALL))
        assert.are.equal("d", b:recv())
    end)

    it("waits for one datagram, whatever its size", function()
        local a, b = pair(SOCK_DGRAM)
        a:send("ab")
        assert.are.equal("ab", b:recv(10, MSG_WAITALL))
    end)

    it("gives a datagram's true size no more than the buffer's", function()
        local a, b = pair(SOCK_DGRAM)
        a:send("hello")
        assert.are.equal("he", b:recv(2, llsocket.MSG_TRUNC))
    end)

    it("closes descriptors that nobody asked for", function()
        local a, b = pair()
        for _, flags in ipairs({ 0, MSG_DONTWAIT }) do
            a:sendfd(a:fd())
            local before = support.count_descriptors()
            assert.are.equal("\0", b:recv(10, flags))
            assert.are.equal(before, support.count_descriptors())
        end
    end)

    it("keeps the boundaries of a seqpacket", function()
        local a, b = pair(SOCK_SEQPACKET)
        a:send("one")
        a:send("two")
        assert.are.equal("one", b:recv())
        assert.are.equal("two", b:recv())
        a:close()
        assert.are.same(NOTHING, results(b:recv()))
    end)

    it("raises for what isn't a number", function()
        local a = pair()
        raises("bad argument #1 to 'recv' %(integer expected, got string%)",
            function() a:recv("10") end)
        raises("bad argument #2 to 'recv' %(integer expected, got string%)",
            function() a:recv(10, "1") end)
    end)
end)

describe("llsocket's sendfile", function()
    before_each(setup)
    after_each(teardown)

    local TEXT = "0123456789"
    local fd

    before_each(function() fd = objects.text_file(TEXT) end)

    it("sends a file", function()
        local a, b = pair()
        assert.are.same({ n = 3, 10, nil, false },
            results(a:sendfile(fd, 10)))
        assert.are.equal(TEXT, b:recv())
    end)

    it("begins at an offset, 0 by default, each time", function()
        local a, b = pair()
        a:sendfile(fd, 4, 3)
        a:sendfile(fd, 2)
        a:sendfile(fd, 2, nil)
        assert.are.equal("34560101", b:recv())
    end)

    it("says again when it sent less", function()
        local a, b = pair()
        assert.are.same({ n = 3, 10, nil, true },
            results(a:sendfile(fd, 11)))
        assert.are.equal(TEXT, b:recv())
    end)

    -- A program that goes on as long as it says again would never end.
    it("doesn't say again at the end of the file", function()
        local a = pair()
        assert.are.same({ n = 3, 0, nil, false },
            results(a:sendfile(fd, 10, 10)))
        assert.are.same({ n = 3, 0, nil, false },
            results(a:sendfile(fd, 10, 11)))
        assert.are.same({ n = 3, 0, nil, false },
            results(a:sendfile(fd, 10, 2^40)))
    end)

    it("says again when there is no room", function()
        local a = pair(nil, true)
        fill(a)
        assert.are.same(NONE_AGAIN, results(a:sendfile(fd, 10)))
    end)

    it("gives nothing when the peer has closed", function()
        local a, b = pair()
        b:close()
        assert.are.same(NOTHING, results(a:sendfile(fd, 10)))
    end)

    it("gives nothing when the peer has reset the connection", function()
        local client, served = connection()
        ms.setsockopt(served:fd(), "SO_LINGER", 0)
        served:close()
        assert.are.same(NOTHING, results(client:sendfile(fd, 10)))
    end)

    it("gives an error", function()
        local a, b = pair()
        assert.are.same({ n = 2, nil, "Bad file descriptor" },
            results(a:sendfile(-1, 10)))
        assert.are.same({ n = 2, nil, "Illegal seek" },
            results(a:sendfile(b:fd(), 10)))
    end)

    it("takes no counts and offsets that mean nothing", function()
        local a = pair()
        assert.are.same(INVALID, results(a:sendfile(fd, 0)))
        assert.are.same(INVALID, results(a:sendfile(fd, -1)))
        assert.are.same(INVALID, results(a:sendfile(fd, 10, -1)))
    end)

    it("raises for what isn't a number", function()
        local a = pair()
        raises("bad argument #1 to 'sendfile'",
            function() a:sendfile({}, 10) end)
        raises("bad argument #1 to 'sendfile'",
            function() a:sendfile(tostring(fd), 10) end)
        raises("bad argument #2 to 'sendfile'",
            function() a:sendfile(fd) end)
        raises("bad argument #3 to 'sendfile'",
            function() a:sendfile(fd, 10, "0") end)
    end)
end)
