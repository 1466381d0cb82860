local llsocket = require "minisock.llsocket"
local ms = require "minisock"
local objects = require "spec.llsocket_support"
local support = require "spec.support"

local socket, unix = llsocket.socket, llsocket.unix
local AF_INET = llsocket.AF_INET
local SOCK_DGRAM, SOCK_STREAM = llsocket.SOCK_DGRAM, llsocket.SOCK_STREAM
local setup, teardown, hold = objects.setup, objects.teardown, objects.hold
local results, raises = objects.results, objects.raises
local address, path_address = objects.address, objects.path_address
local pair, bound = objects.pair, objects.bound
local listener, connection = objects.listener, objects.connection
local NOTHING = objects.NOTHING

local function unique_name()
    return "\0minisock llsocket" .. math.random() .. os.time()
end

describe("an llsocket.socket", function()
    before_each(setup)
    after_each(teardown)

    it("says what it is, and no more", function()
        local sock = hold(socket.new(address()))
        assert.matches("^llsocket%.socket: 0x%x+$", tostring(sock))
        assert.are.equal(1, getmetatable(sock))
        raises("protected",
            function() setmetatable(sock, {}) end)
        assert.is_nil(sock.nonsense)
    end)

    it("is made for an address", function()
        local sock = hold(socket.new(address()))
        assert.are.equal("number", type(sock:fd()))
        assert.is_true(sock:fd() > 2)
        assert.are.equal(AF_INET, sock:family())
        assert.are.equal(SOCK_STREAM, sock:socktype())
        assert.are.equal(llsocket.IPPROTO_TCP, sock:protocol())
    end)

    it("blocks, or doesn't when that is said", function()
        assert.is_true(support.is_blocking(hold(socket.new(address())):fd()))
        assert.is_true(
            support.is_blocking(hold(socket.new(address(), false)):fd()))
        assert.is_false(
            support.is_blocking(hold(socket.new(address(), true)):fd()))
    end)

    it("is made of a type that there is", function()
        local ai = assert(unix.getaddrinfo("/tmp/x", 7))
        assert.are.same({ n = 2, nil, "Socket type not supported" },
            results(socket.new(ai)))
    end)

    it("is made in pairs", function()
        local socks = assert(socket.pair(SOCK_DGRAM))
        local a, b = hold(socks[1]), hold(socks[2])
        assert.are.equal(2, #socks)
        assert.are.equal(llsocket.AF_UNIX, a:family())
        assert.are.equal(SOCK_DGRAM, b:socktype())
        assert.are.equal(0, a:protocol())
        a:send("hello")
        assert.are.equal("hello", b:recv())
    end)

    it("is made in pairs that don't block", function()
        local a, b = pair(SOCK_STREAM, true)
        assert.is_false(support.is_blocking(a:fd()))
        assert.is_false(support.is_blocking(b:fd()))
        assert.are.same({ n = 3, nil, nil, true }, results(a:recv()))
    end)

    it("isn't made in pairs of a type that there isn't", function()
        assert.are.same({ n = 2, nil, "Socket type not supported" },
            results(socket.pair(7)))
        assert.are.same({ n = 2, nil, "Protocol not supported" },
            results(socket.pair(SOCK_STREAM, false, 77)))
    end)

    it("is closed in programs that are started", function()
        local server = listener()
        local client = hold(socket.new(server:getsockname()))
        client:connect()
        local socks = { server, client, hold(server:accept()),
            hold(client:dup()), pair() }
        for _, sock in ipairs(socks) do
            assert.is_true(ms.getcloexec(sock:fd()))
        end
    end)

    it("is closed when it is garbage", function()
        local before = support.count_descriptors()
        for _ = 1, 10 do
            socket.new(address())
            socket.pair(SOCK_STREAM)
        end
        collectgarbage()
        collectgarbage()
        assert.are.equal(before, support.count_descriptors())
    end)

    it("is made of descriptors that garbage held", function()
        if support.valgrind then return pending("valgrind has its own") end
        local output, status = support.run([[
            local ffi = require "ffi"
            local llsocket = require "minisock.llsocket"
            ffi.cdef "int setrlimit(int, const unsigned long *);"
            ffi.C.setrlimit(7, ffi.new("unsigned long[2]", 20, 20))
            local ai = llsocket.inet.getaddrinfo("127.0.0.1", "0", 1)[1]
            collectgarbage("stop")
            for i = 1, 50 do assert(llsocket.socket.new(ai)) end
            for i = 1, 50 do assert(llsocket.socket.pair(1)) end
            local keep = {}
            repeat
                local sock, message = llsocket.socket.new(ai)
                keep[#keep + 1] = sock
                if message then print(message) end
            until not sock
        ]])
        assert.are.equal("Too many open files\n", output)
        assert.are.equal(0, status)
    end)

    for name, call in pairs({
        ["new, without an address info"] = function() socket.new() end,
        ["new, with a table for one"] = function() socket.new({}) end,
        ["new, with a number for a boolean"] = function()
            socket.new(address(), 1)
        end,
        ["pair, without a type"] = function() socket.pair() end,
        ["pair, with a string for a type"] = function() socket.pair("1") end,
        ["pair, with a number for a boolean"] = function()
            socket.pair(SOCK_STREAM, 1)
        end,
        ["pair, with a string for a protocol"] = function()
            socket.pair(SOCK_STREAM, false, "0")
        end,
    }) do
        it("raises for " .. name, function()
            raises("bad argument #%d to '" .. name:match("%a+") .. "'", call)
        end)
    end
end)

describe("llsocket's dup", function()
    before_each(setup)
    after_each(teardown)

    it("makes a second socket of the same", function()
        local a, b = pair()
        local copy = hold(a:dup())
        assert.are_not.equal(a:fd(), copy:fd())
        assert.are.equal(llsocket.AF_UNIX, copy:family())
        assert.are.equal(SOCK_STREAM, copy:socktype())
        assert.are.equal(0, copy:protocol())
        copy:send("hello")
        assert.are.equal("hello", b:recv())
    end)

    it("keeps the connection when the first is closed", function()
        local a, b = pair()
        local copy = hold(a:dup())
        a:close()
        copy:send("still here")
        assert.are.equal("still here", b:recv())
    end)

    it("takes the address along", function()
        local server = listener()
        local client = hold(socket.new(server:getsockname()))
        local copy = hold(client:dup())
        assert.are.same(NOTHING, results(copy:connect()))
        assert.are.same(server:getsockname():addr(),
            copy:getpeername():addr())
    end)

    it("takes another address", function()
        local server = listener()
        local client = hold(socket.new(address("127.0.0.1", "9")))
        local copy = hold(client:dup(server:getsockname()))
        assert.are.same(NOTHING, results(copy:connect()))
        assert.are.same(server:getsockname():addr(),
            client:getpeername():addr())
    end)

    it("has the same mode, which changes for both", function()
        local a = pair()
        local copy = hold(a:dup())
        copy:nonblock(true)
        assert.are.same({ n = 3, nil, nil, true }, results(a:recv()))
    end)

    it("says that a closed socket is", function()
        local a = pair()
        a:close()
        assert.are.same({ n = 2, nil, "Bad file descriptor" },
            results(a:dup()))
    end)

    it("raises for what isn't an address info", function()
        local a = pair()
        raises("bad argument #1 to 'dup'",
            function() a:dup({}) end)
    end)
end)

describe("llsocket's bind", function()
    before_each(setup)
    after_each(teardown)

    it("binds to the socket's own address", function()
        local sock = hold(socket.new(address()))
        assert.are.same(NOTHING, results(sock:bind()))
        assert.are.equal("127.0.0.1", sock:getsockname():addr()[1])
    end)

    it("binds to another address", function()
        local sock = hold(socket.new(address("192.0.2.77")))
        assert.are.same(NOTHING, results(sock:bind(address("127.0.0.2"))))
        assert.are.equal("127.0.0.2", sock:getsockname():addr()[1])
    end)

    it("gives the error alone", function()
        local first = listener()
        local sock = hold(socket.new(first:getsockname()))
        assert.are.same({ n = 1, "Address already in use" },
            results(sock:bind()))
    end)

    it("needs an address, where a pair has none", function()
        local a = pair()
        assert.are.same({ n = 1, "Invalid argument" }, results(a:bind()))
    end)

    it("binds to a path of 108 bytes", function()
        local path = ms.parseaddr(support.longest_unixaddr()).path
        local server = listener(path_address(path))
        assert.are.equal(108, #path)
        assert.are.same({ path }, server:getsockname():addr())
        local client = hold(socket.new(server:getsockname()))
        assert.are.same(NOTHING, results(client:connect()))
        assert.are.same({ path }, client:getpeername():addr())
    end)

    -- Others look for the name as it is, not for one of 107 bytes.
    it("binds to an abstract name without padding", function()
        local name = unique_name()
        listener(path_address(name))
        local fd = support.keep(ms.connect(ms.unixaddr(name)))
        assert.are.equal(ms.unixaddr(name), ms.getpeername(fd))
        assert.is_truthy(support.slurp("/proc/net/unix")
            :find("@" .. name:sub(2) .. "\n", 1, true))
    end)

    it("raises for what isn't an address info", function()
        local sock = hold(socket.new(address()))
        raises("bad argument #1 to 'bind'",
            function() sock:bind("127.0.0.1") end)
    end)
end)

describe("llsocket's connect", function()
    before_each(setup)
    after_each(teardown)

    for _, host in ipairs({ "127.0.0.1", "::1" }) do
        it("connects to the socket's own address, " .. host, function()
            local client, served = connection(host)
            client:send("hello")
            assert.are.equal("hello", served:recv())
        end)
    end

    it("connects to another address", function()
        local server = listener()
        local client = hold(socket.new(address("127.0.0.1", "9")))
        assert.are.same(NOTHING,
            results(client:connect(server:getsockname())))
        assert.are.same(server:getsockname():addr(),
            client:getpeername():addr())
    end)

    it("gives the error alone", function()
        local gone = listener()
        local ai = gone:getsockname()
        gone:close()
        local client = hold(socket.new(ai))
        assert.are.same({ n = 1, "Connection refused" },
            results(client:connect()))
        local path = path_address(support.tmpname())
        assert.are.same({ n = 1, "No such file or directory" },
            results(hold(socket.new(path)):connect()))
    end)

    it("is done when it is under way", function()
        local server = listener()
        local client = hold(socket.new(server:getsockname(), true))
        assert.are.same(NOTHING, results(client:connect()))
        assert.are.equal(1, select(2, ms.poll(
            ms.pollfd(client:fd(), ms.POLLOUT), 2000)))
        assert.are.equal(0, client:error())
    end)

    it("fails later when it is under way", function()
        local gone = listener()
        local ai = gone:getsockname()
        gone:close()
        local client = hold(socket.new(ai, true))
        assert.are.same(NOTHING, results(client:connect()))
        ms.poll(ms.pollfd(client:fd(), ms.POLLOUT), 2000)
        assert.are.equal(ms.ECONNREFUSED, client:error())
    end)

    it("doesn't wait for a full queue in non-blocking mode", function()
        local ai = path_address(support.tmpname())
        bound(ai):listen(1)
        local problem
        repeat
            local client = hold(socket.new(ai, true))
            problem = client:connect()
        until problem
        assert.are.equal("Resource temporarily unavailable", problem)
    end)

    it("waits no longer than sndtimeo says", function()
        local addr = support.full_listener()
        local ai = address("127.0.0.1", tostring(support.port_of(addr)))
        local client = hold(socket.new(ai))
        client:sndtimeo(0.05)
        local took, problem = support.timed(client.connect, client)
        assert.is_true(took >= 45)
        assert.is_nil(problem)
    end)

    it("makes a datagram socket's peer", function()
        local server = bound(address(nil, nil, SOCK_DGRAM))
        local client = hold(socket.new(server:getsockname()))
        assert.are.same(NOTHING, results(client:connect()))
        client:send("x")
        assert.are.equal("x", server:recv())
    end)

    it("raises for what isn't an address info", function()
        local sock = hold(socket.new(address()))
        raises("bad argument #1 to 'connect'",
            function() sock:connect("127.0.0.1") end)
    end)
end)

describe("llsocket's listen and accept", function()
    before_each(setup)
    after_each(teardown)

    it("listen gives the error alone", function()
        local sock = hold(socket.new(address(nil, nil, SOCK_DGRAM)))
        assert.are.same({ n = 1, "Operation not supported" },
            results(sock:listen()))
    end)

    it("listen takes a backlog", function()
        local ai = path_address(support.tmpname())
        local server = bound(ai)
        assert.are.same(NOTHING, results(server:listen(3)))
        local count = 0
        while not hold(socket.new(ai, true)):connect() do
            count = count + 1
        end
        assert.are.equal(4, count) -- the kernel adds one
    end)

    for _, backlog in ipairs({ 0, -1 }) do
        it("listen raises for a backlog of " .. backlog, function()
            local server = bound(address())
            raises("backlog range must be 1 to 2147483647",
                function() server:listen(backlog) end)
        end)
    end

    it("listen raises for what isn't a number", function()
        local server = bound(address())
        raises("bad argument #1 to 'listen' %(integer expected, got string%)",
            function() server:listen("1") end)
    end)

    it("accept gives a socket", function()
        local server = listener()
        local client = hold(socket.new(server:getsockname()))
        client:connect()
        local all = results(server:accept())
        local served = hold(all[1])
        assert.are.equal(1, all.n)
        assert.are.equal(AF_INET, served:family())
        assert.are.equal(SOCK_STREAM, served:socktype())
        assert.are.equal(llsocket.IPPROTO_TCP, served:protocol())
        assert.is_true(support.is_blocking(served:fd()))
    end)

    it("accept says again when nobody is there", function()
        local server = listener(nil, true)
        assert.are.same({ n = 3, nil, nil, true }, results(server:accept()))
    end)

    it("accept says again when rcvtimeo has passed", function()
        local server = listener()
        server:rcvtimeo(0.05)
        local took, sock, problem, again =
            support.timed(server.accept, server)
        assert.is_true(took >= 45)
        assert.are.same({ n = 3, nil, nil, true },
            results(sock, problem, again))
        assert.is_true(support.is_blocking(server:fd()))
    end)

    it("accept passes the listener's mode on", function()
        local server = listener(nil, true)
        local client = hold(socket.new(server:getsockname()))
        client:connect()
        local served = hold(server:accept())
        assert.is_false(support.is_blocking(served:fd()))
        assert.are.same({ n = 3, nil, nil, true }, results(served:recv()))
    end)

    it("accept gives an error", function()
        local sock = hold(socket.new(address()))
        assert.are.same({ n = 2, nil, "Invalid argument" },
            results(sock:accept()))
    end)
end)

describe("llsocket's getsockname and getpeername", function()
    before_each(setup)
    after_each(teardown)

    for _, host in ipairs({ "127.0.0.1", "::1" }) do
        it("give the real addresses of " .. host, function()
            local client, served = connection(host)
            local own, peer = client:getsockname(), client:getpeername()
            assert.is_true(own:addr()[2] > 0)
            assert.are.same(own:addr(), served:getpeername():addr())
            assert.are.same(peer:addr(), served:getsockname():addr())
            assert.are.same({ n = 1, own:addr() },
                results(client:getsockname():addr()))
        end)
    end

    it("give the kind of the socket", function()
        local client = connection()
        local ai = client:getpeername()
        assert.are.equal(AF_INET, ai:family())
        assert.are.equal(SOCK_STREAM, ai:socktype())
        assert.are.equal(llsocket.IPPROTO_TCP, ai:protocol())
    end)

    it("give the port that the kernel chose", function()
        local sock = bound(address())
        assert.is_true(sock:getsockname():addr()[2] > 0)
        assert.are.same(sock:getsockname():addr(),
            hold(sock:dup()):getsockname():addr())
    end)

    it("give no name of a pair", function()
        local a = pair()
        assert.are.same({ "" }, a:getsockname():addr())
        assert.are.same({ "" }, a:getpeername():addr())
    end)

    it("say that nobody is there", function()
        local sock = hold(socket.new(address()))
        assert.are.same(
            { n = 2, nil, "Transport endpoint is not connected" },
            results(sock:getpeername()))
    end)
end)

describe("llsocket's shutdown", function()
    before_each(setup)
    after_each(teardown)

    it("ends one direction", function()
        local a, b = pair()
        assert.are.same(NOTHING, results(a:shutdown(llsocket.SHUT_WR)))
        assert.are.same(NOTHING, results(b:recv()))
        b:send("still heard")
        assert.are.equal("still heard", a:recv())
    end)

    it("ends both by default", function()
        local a, b = pair()
        assert.are.same(NOTHING, results(a:shutdown()))
        assert.are.same(NOTHING, results(b:recv()))
        assert.are.same(NOTHING, results(b:send("x")))
    end)

    it("gives the error alone", function()
        local sock = hold(socket.new(address()))
        assert.are.same({ n = 1, "Transport endpoint is not connected" },
            results(sock:shutdown(llsocket.SHUT_RD)))
        local a = pair()
        assert.are.same({ n = 1, "Invalid argument" },
            results(a:shutdown(7)))
    end)

    it("raises for what isn't a number", function()
        local a = pair()
        raises("bad argument #1 to 'shutdown' %(integer expected, got string%)",
            function() a:shutdown("2") end)
    end)
end)

describe("llsocket's close", function()
    before_each(setup)
    after_each(teardown)

    it("closes, once", function()
        local a, b = pair()
        local fd = a:fd()
        assert.are.same(NOTHING, results(a:close()))
        assert.are.same(NOTHING, results(b:recv()))
        assert.are.equal(-1, a:fd())
        assert.are.same(NOTHING, results(a:close()))
        assert.are.same(NOTHING, results(a:close(llsocket.SHUT_RDWR)))
        assert.are.equal(ms.EBADF, select(3, ms.close(fd)))
    end)

    it("leaves another socket of the same number alone", function()
        local a = pair()
        local fd = a:fd()
        a:close()
        local new = hold(socket.new(address()))
        assert.are.equal(fd, new:fd())
        a:close()
        assert.are.equal(SOCK_STREAM, ms.getsockopt(new:fd(), "SO_TYPE"))
    end)

    it("shuts down first, when it is told to", function()
        local a, b = pair()
        hold(a:dup())
        assert.are.same(NOTHING, results(a:close(llsocket.SHUT_RDWR)))
        assert.are.same(NOTHING, results(b:recv()))
    end)

    it("keeps the connection of a dup, when it isn't", function()
        local a, b = pair()
        hold(a:dup())
        a:close(7)
        b:nonblock(true)
        assert.are.same({ n = 3, nil, nil, true }, results(b:recv()))
    end)

    it("closes also when the shutdown fails", function()
        local sock = hold(socket.new(address()))
        assert.are.same({ n = 1, "Transport endpoint is not connected" },
            results(sock:close(llsocket.SHUT_RDWR)))
        assert.are.equal(-1, sock:fd())
    end)

    it("raises for what isn't a number", function()
        local a = pair()
        raises("bad argument #1 to 'close' %(integer expected, got string%)",
            function() a:close("2") end)
        assert.is_true(a:fd() > 0)
    end)
end)

describe("a closed llsocket.socket", function()
    before_each(setup)
    after_each(teardown)

    local BAD = "Bad file descriptor"

    local function closed(ai)
        local sock = hold(socket.new(ai or address(nil, nil, SOCK_DGRAM)))
        sock:close()
        return sock
    end

    it("still says what it was", function()
        local sock = closed()
        assert.matches("^llsocket%.socket: 0x%x+$", tostring(sock))
        assert.are.equal(AF_INET, sock:family())
        assert.are.equal(SOCK_DGRAM, sock:socktype())
        assert.are.equal(llsocket.IPPROTO_UDP, sock:protocol())
    end)

    for _, case in ipairs({
        { "bind" }, { "connect" }, { "shutdown" }, { "listen" },
        { "mcastjoin", "239.1.2.3" }, { "mcastleave", "239.1.2.3" },
        { "mcastjoinsrc", "239.1.2.3", "127.0.0.1" },
        { "mcastleavesrc", "239.1.2.3", "127.0.0.1" },
        { "mcastblocksrc", "239.1.2.3", "127.0.0.1" },
        { "mcastunblocksrc", "239.1.2.3", "127.0.0.1" },
    }) do
        it("gives one error from " .. case[1], function()
            local sock = closed()
            assert.are.same({ n = 1, BAD },
                results(sock[case[1]](sock, unpack(case, 2))))
        end)
    end

    for _, case in ipairs({
        { "dup" }, { "accept" }, { "getsockname" }, { "getpeername" },
        { "send", "x" }, { "recv" }, { "recv", 10, 2 }, { "recvmsg" },
        { "recvfd" }, { "sendfd", 0 }, { "sendmsg", { iov = "x" } },
        { "sendfile", 0, 1 }, { "atmark" }, { "cloexec" },
        { "cloexec", true }, { "nonblock" }, { "nonblock", true },
        { "error" }, { "acceptconn" }, { "tcpnodelay" }, { "tcpcork" },
        { "tcpkeepintvl" }, { "tcpkeepcnt" }, { "tcpkeepalive" },
        { "reuseport" }, { "reuseaddr", true }, { "broadcast" },
        { "debug" }, { "keepalive" }, { "oobinline" }, { "dontroute" },
        { "timestamp" }, { "rcvbuf" }, { "rcvlowat" }, { "sndbuf", 4096 },
        { "sndlowat" }, { "rcvtimeo" }, { "rcvtimeo", 1 }, { "sndtimeo" },
        { "sndtimeo", 1 }, { "mcastloop" }, { "mcastttl" }, { "mcastif" },
        { "mcastif", "lo" },
    }) do
        it("gives nil and an error from " .. case[1], function()
            local sock = closed()
            local value, problem = sock[case[1]](sock, unpack(case, 2))
            assert.is_nil(value)
            assert.are.equal(BAD, problem)
        end)
    end

    it("gives nil and an error from sendto", function()
        local sock = closed()
        assert.are.same({ n = 2, nil, BAD },
            results(sock:sendto("x", address("127.0.0.1", "9"))))
    end)

    it("gives the error of recvfrom in its place", function()
        assert.are.same({ n = 3, nil, nil, BAD },
            results(closed():recvfrom()))
    end)
end)
