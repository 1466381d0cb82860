local llsocket = require "minisock.llsocket"
local ms = require "minisock"
local objects = require "spec.llsocket_support"
local support = require "spec.support"

local socket = llsocket.socket
local SOCK_DGRAM = llsocket.SOCK_DGRAM
local setup, teardown, hold = objects.setup, objects.teardown, objects.hold
local results, raises = objects.results, objects.raises
local address, pair, bound = objects.address, objects.pair, objects.bound
local listener, connection = objects.listener, objects.connection
local NOTHING = objects.NOTHING

local AGAIN = { n = 3, nil, nil, true }
local UNSUPPORTED = { n = 2, nil, "Operation not supported" }
local UNAVAILABLE = { n = 2, nil, "Protocol not available" }

local function tcp()
    return hold(socket.new(address()))
end

local function udp(host)
    return hold(socket.new(address(host, nil, SOCK_DGRAM)))
end

describe("llsocket's option", function()
    before_each(setup)
    after_each(teardown)

    -- Options that are on or off, and what they are called below.
    local BOOLEANS = {
        tcpnodelay = "TCP_NODELAY",
        tcpcork = "TCP_CORK",
        reuseport = "SO_REUSEPORT",
        reuseaddr = "SO_REUSEADDR",
        broadcast = "SO_BROADCAST",
        keepalive = "SO_KEEPALIVE",
        oobinline = "SO_OOBINLINE",
        dontroute = "SO_DONTROUTE",
        timestamp = "SO_TIMESTAMP",
    }

    for name, option in pairs(BOOLEANS) do
        it(name .. " is off, on, and off again", function()
            local sock = tcp()
            local call = sock[name]
            assert.are.same({ n = 1, false }, results(call(sock)))
            assert.are.same({ n = 1, true }, results(call(sock, true)))
            assert.are.same({ n = 1, true }, results(call(sock)))
            assert.is_true(ms.getsockopt(sock:fd(), option))
            assert.are.same({ n = 1, false }, results(call(sock, false)))
            assert.are.same({ n = 1, false }, results(call(sock, nil)))
            assert.is_false(ms.getsockopt(sock:fd(), option))
        end)
    end

    for _, name in ipairs({ "tcpnodelay", "tcpcork", "reuseport",
            "reuseaddr", "broadcast", "keepalive", "oobinline", "dontroute",
            "timestamp", "debug", "cloexec", "nonblock", "mcastloop" }) do
        it(name .. " raises for what isn't a boolean", function()
            local sock = udp()
            raises("bad argument #1 to '" .. name .. "' %(boolean expected",
                function() sock[name](sock, 1) end)
            raises("bad argument #1 to '" .. name .. "' %(boolean expected",
                function() sock[name](sock, "true") end)
        end)
    end

    -- Only an administrator may switch it on.
    it("debug is off, and on where that is allowed", function()
        local sock = tcp()
        assert.are.same({ n = 1, false }, results(sock:debug()))
        local allowed, _, code =
            ms.setsockopt(sock:fd(), "SO_DEBUG", true)
        ms.setsockopt(sock:fd(), "SO_DEBUG", false)
        local expected = { n = 1, true }
        if not allowed then
            assert.are.equal(ms.EACCES, code)
            expected = { n = 2, nil, "Permission denied" }
        end
        assert.are.same(expected, results(sock:debug(true)))
        assert.are.equal(allowed or false, sock:debug())
    end)

    it("acceptconn tells a listener", function()
        assert.are.same({ n = 1, true }, results(listener():acceptconn()))
        local sock = tcp()
        assert.are.same({ n = 1, false }, results(sock:acceptconn()))
        assert.are.same(UNAVAILABLE, results(sock:acceptconn(true)))
    end)

    it("error is an errno, once", function()
        local sock = udp()
        local gone = bound(address(nil, nil, SOCK_DGRAM))
        local to = gone:getsockname()
        gone:close()
        assert.are.same({ n = 1, 0 }, results(sock:error()))
        sock:connect(to)
        sock:send("x")
        ms.poll(ms.pollfd(sock:fd(), 0), 2000)
        assert.are.same({ n = 1, ms.ECONNREFUSED }, results(sock:error()))
        assert.are.same({ n = 1, 0 }, results(sock:error()))
        assert.are.same(UNAVAILABLE, results(sock:error(1)))
    end)

    for name, case in pairs({
        tcpkeepintvl = { "TCP_KEEPINTVL", 30 },
        tcpkeepcnt = { "TCP_KEEPCNT", 5 },
        tcpkeepalive = { "TCP_KEEPIDLE", 60 },
        rcvlowat = { "SO_RCVLOWAT", 100 },
    }) do
        it(name .. " is a number, and can be another", function()
            local sock = tcp()
            local call = sock[name]
            local option, value = unpack(case)
            assert.are.same({ n = 1, ms.getsockopt(sock:fd(), option) },
                results(call(sock)))
            assert.are.same({ n = 1, value }, results(call(sock, value)))
            assert.are.same({ n = 1, value }, results(call(sock)))
            assert.are.equal(value, ms.getsockopt(sock:fd(), option))
        end)
    end

    -- The kernel doubles what it is given, for its own use.
    for _, name in ipairs({ "rcvbuf", "sndbuf" }) do
        it(name .. " is a number, and can be another", function()
            local sock = tcp()
            local call = sock[name]
            assert.is_true(call(sock) > 0)
            assert.are.same({ n = 1, 10000 }, results(call(sock, 10000)))
            assert.are.same({ n = 1, 20000 }, results(call(sock)))
        end)
    end

    it("sndlowat is a number, and can't be another", function()
        local sock = tcp()
        assert.are.same({ n = 1, 1 }, results(sock:sndlowat()))
        assert.are.same(UNAVAILABLE, results(sock:sndlowat(100)))
    end)

    it("tcpkeepcnt gives an error", function()
        local sock = tcp()
        assert.are.same({ n = 2, nil, "Invalid argument" },
            results(sock:tcpkeepcnt(100000)))
        assert.are.same(UNSUPPORTED, results((pair()):tcpkeepcnt(5)))
    end)

    for _, name in ipairs({ "tcpkeepintvl", "tcpkeepcnt", "tcpkeepalive",
            "rcvbuf", "rcvlowat", "sndbuf", "sndlowat", "error",
            "mcastttl" }) do
        it(name .. " raises for what isn't an integer", function()
            local sock = tcp()
            raises("bad argument #1 to '" .. name .. "'",
                function() sock[name](sock, "1") end)
            raises("bad argument #1 to '" .. name .. "'",
                function() sock[name](sock, 0.5) end)
            raises("bad argument #1 to '" .. name .. "'",
                function() sock[name](sock, 2^40) end)
        end)
    end

    for name, option in pairs({
        rcvtimeo = "SO_RCVTIMEO", sndtimeo = "SO_SNDTIMEO",
    }) do
        it(name .. " is a number of seconds, 0 for none", function()
            local sock = tcp()
            local call = sock[name]
            assert.are.same({ n = 1, 0 }, results(call(sock)))
            assert.are.same({ n = 1, 1.5 }, results(call(sock, 1.5)))
            assert.are.equal(1500, ms.getsockopt(sock:fd(), option))
            assert.are.same({ n = 1, 1.5 }, results(call(sock)))
            assert.are.same({ n = 1, 0 }, results(call(sock, 0)))
            assert.are.same({ n = 1, 0 }, results(call(sock)))
        end)

        it(name .. " may be rounded up, and isn't down", function()
            local sock = tcp()
            sock[name](sock, 0.25)
            local seconds = sock[name](sock)
            assert.is_true(seconds >= 0.25 and seconds < 0.3)
        end)

        it(name .. " may be a number in a string", function()
            local sock = tcp()
            assert.are.same({ n = 1, 2.5 }, results(sock[name](sock, "2.5")))
            assert.are.equal(2.5, sock[name](sock))
        end)

        it(name .. " raises for what isn't a number of seconds", function()
            local sock = tcp()
            for _, value in ipairs({ "soon", true, {}, 0 / 0 }) do
                raises("bad argument #1 to '" .. name .. "'",
                    function() sock[name](sock, value) end)
            end
        end)
    end

    it("rcvtimeo can be taken back", function()
        local name = "minisock-llsocket-" .. math.random() .. os.time()
        local server = listener(objects.path_address("\0" .. name))
        local sender = support.spawn_lua([[
            local ms = require "minisock"
            local fd = assert(ms.connect(ms.unixaddr("@" .. arg[1])))
            ms.read(fd)
            ms.msleep(200)
            ms.write(fd, "late")
            ms.read(fd)
        ]], name)
        local served = hold(server:accept())
        served:rcvtimeo(0.02)
        assert.are.same(AGAIN, results(served:recv()))
        served:rcvtimeo(0)
        served:send("now")
        assert.are.same({ n = 1, "late" }, results(served:recv()))
        served:close()
        sender:line()
    end)

    it("cloexec is on, off, and on again", function()
        local sock = tcp()
        assert.are.same({ n = 1, true }, results(sock:cloexec()))
        assert.are.same({ n = 1, false }, results(sock:cloexec(false)))
        assert.are.same({ n = 1, false }, results(sock:cloexec()))
        assert.is_false(ms.getcloexec(sock:fd()))
        assert.are.same({ n = 1, true }, results(sock:cloexec(true)))
        assert.is_true(ms.getcloexec(sock:fd()))
    end)

    it("nonblock is off, on, and off again", function()
        local a, b = pair()
        assert.are.same({ n = 1, false }, results(a:nonblock()))
        assert.are.same({ n = 1, true }, results(a:nonblock(true)))
        assert.are.same({ n = 1, true }, results(a:nonblock()))
        assert.is_false(support.is_blocking(a:fd()))
        assert.are.same(AGAIN, results(a:recv()))
        assert.are.same({ n = 1, false }, results(a:nonblock(false)))
        assert.is_true(support.is_blocking(a:fd()))
        b:send("x")
        assert.are.equal("x", a:recv())
    end)

    it("nonblock tells what somebody else has set", function()
        local a = pair()
        ms.setnonblocking(a:fd(), true)
        assert.is_true(a:nonblock())
        assert.are.same(AGAIN, results(a:recv()))
    end)

    it("atmark tells whether urgent data is next", function()
        local client, served = connection()
        client:send("a")
        client:send("!", llsocket.MSG_OOB)
        ms.poll(ms.pollfd(served:fd(), ms.POLLPRI), 2000)
        assert.are.same({ n = 1, false }, results(served:atmark()))
        assert.are.equal("a", served:recv())
        assert.are.same({ n = 1, true }, results(served:atmark()))
        assert.are.equal("!", served:recv(1, llsocket.MSG_OOB))
    end)

    it("atmark gives an error", function()
        local sock = udp()
        local at, problem = sock:atmark()
        assert.is_nil(at)
        assert.are.equal("Inappropriate ioctl for device", problem)
    end)
end)

describe("llsocket's multicast option", function()
    before_each(setup)
    after_each(teardown)

    for _, host in ipairs({ "127.0.0.1", "::1" }) do
        it("mcastloop is on, off, and on again, for " .. host, function()
            local sock = udp(host)
            assert.are.same({ n = 1, true }, results(sock:mcastloop()))
            assert.are.same({ n = 1, false }, results(sock:mcastloop(false)))
            assert.are.same({ n = 1, false }, results(sock:mcastloop()))
            assert.are.same({ n = 1, true }, results(sock:mcastloop(true)))
            assert.is_true(sock:mcastloop())
        end)

        it("mcastttl is 1, and can be another, for " .. host, function()
            local sock = udp(host)
            assert.are.same({ n = 1, 1 }, results(sock:mcastttl()))
            assert.are.same({ n = 1, 7 }, results(sock:mcastttl(7)))
            assert.are.same({ n = 1, 7 }, results(sock:mcastttl()))
            assert.are.same({ n = 2, nil, "Invalid argument" },
                results(sock:mcastttl(300)))
        end)

        it("mcastif is unset, and can be an interface, for " .. host,
            function()
                local sock = udp(host)
                assert.are.same({ n = 1, nil }, results(sock:mcastif()))
                assert.are.same({ n = 1, "lo" }, results(sock:mcastif("lo")))
                assert.are.same({ n = 1, "lo" }, results(sock:mcastif()))
            end)

        it("mcastif says that there is no such interface, for " .. host,
            function()
                assert.are.same({ n = 2, nil, "No such device" },
                    results(udp(host):mcastif("none0")))
            end)
    end

    for name, make in pairs({
        ["TCP"] = tcp,
        ["a pair"] = pair,
        ["a pair of datagrams"] = function() return (pair(SOCK_DGRAM)) end,
    }) do
        it("is none of " .. name, function()
            local sock = make()
            assert.are.same(UNSUPPORTED, results(sock:mcastloop()))
            assert.are.same(UNSUPPORTED, results(sock:mcastloop(true)))
            assert.are.same(UNSUPPORTED, results(sock:mcastttl()))
            assert.are.same(UNSUPPORTED, results(sock:mcastttl(1)))
            assert.are.same(UNSUPPORTED, results(sock:mcastif()))
            assert.are.same(UNSUPPORTED, results(sock:mcastif("lo")))
        end)

        it("and no group is of " .. name, function()
            local sock = make()
            for _, call in ipairs({ "mcastjoin", "mcastleave" }) do
                assert.are.same({ n = 1, "Operation not supported" },
                    results(sock[call](sock, "239.1.2.3", "lo")))
            end
            for _, call in ipairs({ "mcastjoinsrc", "mcastleavesrc",
                    "mcastblocksrc", "mcastunblocksrc" }) do
                assert.are.same({ n = 1, "Operation not supported" },
                    results(sock[call](sock, "239.1.2.3", "127.0.0.1")))
            end
        end)
    end

    it("mcastif raises for what isn't a string", function()
        local sock = udp()
        raises("bad argument #1 to 'mcastif' %(string expected",
            function() sock:mcastif(1) end)
    end)
end)

describe("llsocket's groups", function()
    before_each(setup)
    after_each(teardown)

    local GROUP = "239.77.1.2"

    -- A receiver, and what sends to a group and then to it alone.
    local function receiver_and_sender()
        local receiver =
            bound(address("0.0.0.0", nil, SOCK_DGRAM))
        local port = tostring(receiver:getsockname():addr()[2])
        local sender = bound(address("127.0.0.1", nil, SOCK_DGRAM))
        sender:mcastif("lo")
        local group = address(GROUP, port, SOCK_DGRAM)
        local alone = address("127.0.0.1", port, SOCK_DGRAM)
        local function send()
            sender:sendto("to all", group)
            sender:sendto("to one", alone)
        end
        return receiver, send
    end

    local function received(receiver, send)
        send()
        local first = receiver:recv()
        if first == "to all" then
            assert.are.equal("to one", receiver:recv())
        end
        return first
    end

    it("are joined and left", function()
        local receiver, send = receiver_and_sender()
        assert.are.equal("to one", received(receiver, send))
        assert.are.same(NOTHING, results(receiver:mcastjoin(GROUP, "lo")))
        assert.are.equal("to all", received(receiver, send))
        assert.are.same(NOTHING, results(receiver:mcastleave(GROUP, "lo")))
        assert.are.equal("to one", received(receiver, send))
    end)

    it("are joined and left for one source", function()
        local receiver, send = receiver_and_sender()
        assert.are.same(NOTHING,
            results(receiver:mcastjoinsrc(GROUP, "127.0.0.2", "lo")))
        assert.are.equal("to one", received(receiver, send))
        assert.are.same(NOTHING,
            results(receiver:mcastjoinsrc(GROUP, "127.0.0.1", "lo")))
        assert.are.equal("to all", received(receiver, send))
        assert.are.same(NOTHING,
            results(receiver:mcastleavesrc(GROUP, "127.0.0.1", "lo")))
        assert.are.equal("to one", received(receiver, send))
    end)

    it("lack the source that is blocked", function()
        local receiver, send = receiver_and_sender()
        receiver:mcastjoin(GROUP, "lo")
        assert.are.same(NOTHING,
            results(receiver:mcastblocksrc(GROUP, "127.0.0.1", "lo")))
        assert.are.equal("to one", received(receiver, send))
        assert.are.same(NOTHING,
            results(receiver:mcastunblocksrc(GROUP, "127.0.0.1", "lo")))
        assert.are.equal("to all", received(receiver, send))
    end)

    for host, case in pairs({
        ["0.0.0.0"] = { GROUP, "127.0.0.1", "127.0.0.2" },
        ["::"] = { "ff02::77:1", "::1", "2001:db8::1" },
    }) do
        local group, source, other = unpack(case)

        local function receiver()
            return bound(address(host, nil, SOCK_DGRAM))
        end

        it(("of %s give the error alone"):format(group), function()
            local sock = receiver()
            sock:mcastjoin(group, "lo")
            assert.are.same({ n = 1, "Address already in use" },
                results(sock:mcastjoin(group, "lo")))
            sock:mcastleave(group, "lo")
            assert.are.same({ n = 1, "Cannot assign requested address" },
                results(sock:mcastleave(group, "lo")))
            assert.are.same({ n = 1, "No such device" },
                results(sock:mcastjoin(group, "none0")))
        end)

        -- The original took the source for an interface, of IPv6.
        it(("of %s have sources"):format(group), function()
            local sock = receiver()
            assert.are.same(NOTHING,
                results(sock:mcastjoinsrc(group, source, "lo")))
            assert.are.same({ n = 1, "Cannot assign requested address" },
                results(sock:mcastleavesrc(group, other, "lo")))
            assert.are.same(NOTHING,
                results(sock:mcastleavesrc(group, source, "lo")))
        end)

        it(("of %s have sources that are blocked"):format(group), function()
            local sock = receiver()
            sock:mcastjoin(group, "lo")
            assert.are.same(NOTHING,
                results(sock:mcastblocksrc(group, source, "lo")))
            assert.are.same({ n = 1, "Cannot assign requested address" },
                results(sock:mcastunblocksrc(group, other, "lo")))
            assert.are.same(NOTHING,
                results(sock:mcastunblocksrc(group, source, "lo")))
        end)

        it(("of %s are none of a name"):format(group), function()
            local sock = receiver()
            assert.are.same({ n = 1, "Invalid argument" },
                results(sock:mcastjoin("localhost")))
            assert.are.same({ n = 1, "Invalid argument" },
                results(sock:mcastjoinsrc(group, "localhost", "lo")))
        end)
    end

    it("raise for what isn't a string", function()
        local sock = udp()
        for _, call in ipairs({ "mcastjoin", "mcastleave" }) do
            raises("bad argument #1 to '" .. call .. "'",
                function() sock[call](sock) end)
            raises("bad argument #2 to '" .. call .. "'",
                function() sock[call](sock, GROUP, 1) end)
        end
        for _, call in ipairs({ "mcastjoinsrc", "mcastleavesrc",
                "mcastblocksrc", "mcastunblocksrc" }) do
            raises("bad argument #1 to '" .. call .. "'",
                function() sock[call](sock) end)
            raises("bad argument #2 to '" .. call .. "'",
                function() sock[call](sock, GROUP) end)
            raises("bad argument #3 to '" .. call .. "'",
                function() sock[call](sock, GROUP, "127.0.0.1", 1) end)
        end
    end)
end)
