local faults = require "spec.faults.support"
local llsocket = require "minisock.llsocket"
local ms = require "minisock"
local resty = require "minisock.resty"
local socket = require "minisock.socket"
local support = require "spec.support"

local each, hold = faults.each, faults.hold

-- A listener at an address that was refused a moment ago.
local function listen_at(place)
    return support.keep(ms.bind(faults.faces.raw(place)))
end

describe("connecting:", function()
    before_each(faults.setup)
    after_each(faults.teardown)

    for _, host in ipairs({ "127.0.0.1", "::1" }) do
        each("case 29: a refused connection is told by its errno, by " .. host,
            "connect", function(library)
                local place = faults.closed_place()
                place.host = host
                local before = support.count_descriptors()
                local sock, why = library.connect(place)
                assert.is_nil(sock)
                assert.are.equal("ECONNREFUSED", why)
                assert.are.equal(before, support.count_descriptors())
            end)
    end

    -- The kernel says ECONNABORTED to a second attempt, once, whoever listens.
    local RETRIES = {
        socket = function()
            local sock = socket.tcp()
            sock:settimeout(5)
            return sock, "connect"
        end,
        luasocket = function()
            local sock = require("minisock.luasocket").tcp()
            sock:settimeout(5)
            return sock, "connect"
        end,
        ["luasocket of IPv4"] = function()
            local sock = require("minisock.luasocket").tcp4()
            sock:settimeout(5)
            return sock, "connect"
        end,
        resty = function() return resty.tcp(), "connect" end,
    }
    for name, make in pairs(RETRIES) do
        it("case 29: an object that was refused can try again: " .. name,
            function()
                local place = faults.closed_place()
                local sock, call = make()
                hold(sock)
                assert.is_nil((sock[call](sock, place.host, place.port)))
                listen_at(place)
                local done, why = sock[call](sock, place.host, place.port)
                assert.is_truthy(done, why)
            end)
    end

    for _, timeout in ipairs({ 2000, math.huge }) do
        it("case 29: a descriptor that was refused can too, with timeout "
                .. timeout, function()
            local place = faults.closed_place()
            local addr = faults.faces.raw(place)
            local fd = support.keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
            for _ = 1, 2 do
                assert.are.equal(ms.ECONNREFUSED,
                    select(3, ms.connectfd(fd, addr, timeout)))
            end
            listen_at(place)
            assert.is_true(ms.connectfd(fd, addr, timeout))
        end)
    end

    it("case 29: llsocket's can too", function()
        local place = faults.closed_place()
        local sock = hold(llsocket.socket.new(
            faults.faces.llsocket.address(place, ms.SOCK_STREAM)))
        sock:sndtimeo(2)
        assert.are.equal("ECONNREFUSED",
            faults.faces.word(sock:connect()))
        listen_at(place)
        assert.is_nil(sock:connect())
        assert.is_truthy(sock:getpeername())
    end)

    it("case 29: startconnect's is told by poll, then by SO_ERROR once",
        function()
            local fd = support.keep(ms.socket(ms.AF_INET,
                ms.SOCK_STREAM + ms.SOCK_NONBLOCK))
            local addr = faults.faces.raw(faults.closed_place())
            for _ = 1, 2 do
                assert.are.equal(ms.EINPROGRESS,
                    select(3, ms.startconnect(fd, addr)))
                assert.are.equal("ERR HUP OUT",
                    faults.revents(fd, ms.POLLOUT))
                assert.are.equal(ms.ECONNREFUSED,
                    ms.getsockopt(fd, "SO_ERROR"))
                assert.are.equal(0, ms.getsockopt(fd, "SO_ERROR"))
            end
        end)

    each("case 30: when nobody answers, the timeout holds, and nothing is left",
        "connect", function(library)
            local place = faults.full_place()
            local before = support.count_descriptors()
            local took, sock, why =
                support.timed(library.connect, place, 300)
            assert.is_nil(sock)
            assert.are.equal("timeout", why)
            assert.is_true(took >= 300, took)
            collectgarbage()
            collectgarbage()
            assert.are.equal(before, support.count_descriptors())
        end)

    it("case 30: after connectfd's timeout there is no peer", function()
        local addr = support.full_listener()
        local fd = support.keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        assert.are.equal(ms.ETIMEDOUT,
            select(3, ms.connectfd(fd, addr, 300)))
        assert.are.equal(0, ms.getsockopt(fd, "SO_ERROR"))
        assert.are.equal(ms.ENOTCONN, select(3, ms.getpeername(fd)))
    end)

    -- The kernel's word for it would be EINPROGRESS.
    it("case 31: SO_SNDTIMEO doesn't stand in for connectfd's timeout",
        function()
            local addr = support.full_listener()
            local fd = support.keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
            ms.setsockopt(fd, "SO_SNDTIMEO", 100)
            local took, done, _, code =
                support.timed(ms.connectfd, fd, addr, 400)
            assert.is_nil(done)
            assert.are.equal(ms.ETIMEDOUT, code)
            assert.is_true(took >= 400, took)
        end)

    -- There it is the timeout; that nothing is said is llsocket's way.
    it("case 31: SO_SNDTIMEO ends llsocket's connect", function()
        local place = faults.full_place()
        local sock = hold(llsocket.socket.new(
            faults.faces.llsocket.address(place, ms.SOCK_STREAM)))
        sock:sndtimeo(0.2)
        local took, problem = support.timed(sock.connect, sock)
        assert.is_nil(problem)
        assert.is_true(took >= 200, took)
        assert.is_nil((sock:getpeername()))
    end)

    -- Where the first was waited for by poll, the kernel says yes once more.
    it("case 32: a connected socket is told, here and by the kernel",
        function()
            local _, place = faults.listener()
            local addr = faults.faces.raw(place)
            local fd = support.keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
            assert.is_true(ms.connectfd(fd, addr, 2000))
            ms.connectfd(fd, addr, 2000)
            for _, timeout in ipairs({ 2000, math.huge }) do
                assert.are.equal(ms.EISCONN,
                    select(3, ms.connectfd(fd, addr, timeout)))
            end
        end)

    it("case 32: objects pass on that they are connected", function()
        local _, place = faults.listener()
        for _, name in ipairs({ "socket", "luasocket" }) do
            local sock = hold(faults.faces[name].connect(place)).sock
            sock:connect(place.host, place.port)
            local _, why = sock:connect(place.host, place.port)
            assert.are.equal("EISCONN", faults.faces.word(why))
        end
        local library = faults.faces.llsocket
        local sock = hold(library.connect(place)).sock
        local ai = library.address(place, ms.SOCK_STREAM)
        sock:connect(ai)
        assert.are.equal("EISCONN", faults.faces.word(sock:connect(ai)))
    end)

    it("case 32: one while the first is under way is EALREADY", function()
        local addr = support.full_listener()
        local fd = support.keep(ms.socket(ms.AF_INET,
            ms.SOCK_STREAM + ms.SOCK_NONBLOCK))
        assert.are.equal(ms.EINPROGRESS,
            select(3, ms.startconnect(fd, addr)))
        assert.are.equal(ms.EALREADY, select(3, ms.startconnect(fd, addr)))
        local place = ms.parseaddr(addr)
        local sock = hold(socket.tcp())
        sock:settimeout(0)
        assert.are.equal(ms.EINPROGRESS,
            select(3, sock:connect(place.addr, place.port)))
        assert.are.equal(ms.EALREADY,
            select(3, sock:connect(place.addr, place.port)))
    end)

    it("case 33: a socket can connect to itself", function()
        local fd = support.keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        assert.is_true(ms.bindfd(fd, ms.inetaddr("127.0.0.1", 0)))
        local addr = ms.getsockname(fd)
        assert.is_true(ms.connectfd(fd, addr, 2000))
        assert.are.equal(addr, ms.getpeername(fd))
        ms.write(fd, "echo")
        assert.are.equal("echo", ms.read(fd, 2000))
    end)

    -- lsocket says this one at once, without a connection under way.
    each("case 34: port 0 is nobody's", "connect", function(library)
        local sock, why = library.connect({ host = "127.0.0.1", port = 0 })
        assert.is_nil(sock)
        assert.are.equal("ECONNREFUSED", why)
    end)

    it("case 34: port 0 is no destination of a datagram", function()
        local fd = support.keep(ms.udpsocket())
        assert.are.equal(ms.EINVAL,
            select(3, ms.sendto(fd, ms.inetaddr("127.0.0.1", 0), "x")))
    end)

    each("case 34: the broadcast address is none to connect to", "connect",
        function(library)
            local sock, why =
                library.connect({ host = "255.255.255.255", port = 9 })
            assert.is_nil(sock)
            assert.are.equal("ENETUNREACH", why)
        end)

    each("case 34: 0.0.0.0 is this machine", "connect", function(library)
        local _, place = faults.listener()
        hold(library.connect({ host = "0.0.0.0", port = place.port }))
    end)

    -- AF_UNSPEC, above all: to the kernel that is a disconnect.
    local INET = ms.inetaddr("127.0.0.1", 9)
    local NO_ADDRESSES = {
        ["an empty string"] = "",
        ["a byte"] = INET:sub(1, 1),
        ["half an address"] = INET:sub(1, 8),
        ["half an IPv6 address"] = ms.inet6addr("::1", 9):sub(1, 20),
        ["AF_UNSPEC"] = ("\0"):rep(16),
        ["AF_UNSPEC of 300 bytes"] = ("\0"):rep(300),
    }
    for name, addr in pairs(NO_ADDRESSES) do
        it("case 35: no call takes for an address " .. name, function()
            local tcp = support.keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
            local a, b = support.pair(ms.SOCK_DGRAM)
            for call, results in pairs({
                connect = { ms.connect(addr) },
                ["connect with a timeout"] = { ms.connect(addr, nil, 100) },
                connectfd = { ms.connectfd(tcp, addr) },
                startconnect = { ms.startconnect(tcp, addr) },
                ["connectfd of a pair"] = { ms.connectfd(a, addr) },
                bind = { ms.bind(addr) },
                bindfd = { ms.bindfd(tcp, addr) },
                sendto = { ms.sendto(a, addr, "x") },
                sendmany = { ms.sendmany(a, { "x" }, { addr }) },
                parseaddr = { ms.parseaddr(addr) },
                getnameinfo = { ms.getnameinfo(addr) },
            }) do
                assert.is_nil(results[1], call)
                assert.are.equal(ms.EINVAL, results[3], call)
            end
            if addr ~= "" then -- which is none at all, there
                assert.are.equal(ms.EINVAL, select(3,
                    ms.sendmsg(a, { data = "x", addr = addr })))
            end
            ms.write(a, "still connected")
            assert.are.equal("still connected", ms.read(b, 2000))
        end)
    end

    it("case 35: a longer address than its family needs is the same",
        function()
            local _, place = faults.listener()
            local addr = faults.faces.raw(place)
            support.keep(ms.connect(addr .. ("x"):rep(100), nil, 2000))
            assert.are.equal(ms.EINVAL,
                select(3, ms.connect(addr .. ("x"):rep(300), nil, 2000)))
        end)

    it("case 35: an address of another family is refused", function()
        local fd = support.keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        for _, timeout in ipairs({ 1000, math.huge }) do
            assert.are.equal(ms.EAFNOSUPPORT, select(3,
                ms.connectfd(fd, ms.inet6addr("::1", 9), timeout)))
            assert.are.equal(ms.EINVAL, select(3,
                ms.connectfd(fd, ms.unixaddr("/nowhere"), timeout)))
        end
        local sock = hold(socket.tcp())
        assert.are.equal(ms.EINVAL, select(3, sock:connect("/nowhere")))
    end)
end)
