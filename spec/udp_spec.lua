local ms = require "minisock"
local support = require "spec.support"

local keep = support.keep

local ADDRESSES = {
    inet = ms.inetaddr("127.0.0.1", 0),
    inet6 = ms.inet6addr("::1", 0),
}

-- A datagram socket that is bound, and its address.
local function bound(addr)
    local fd = keep(ms.udpsocket(addr or ADDRESSES.inet))
    return fd, ms.getsockname(fd)
end

local function unique_name()
    return ms.unixaddr("\0minisock datagram" .. math.random() .. os.time())
end

describe("udpsocket", function()
    before_each(support.setup)
    after_each(support.teardown)

    local function family_and_type(fd)
        return ms.getsockopt(fd, "SO_DOMAIN"), ms.getsockopt(fd, "SO_TYPE")
    end

    for name, addr in pairs({ ["nothing"] = false, ['""'] = "" }) do
        it("makes an unbound IPv4 socket of " .. name, function()
            local fd = keep(ms.udpsocket(addr or nil))
            local family, socktype = family_and_type(fd)
            assert.are.equal(ms.AF_INET, family)
            assert.are.equal(ms.SOCK_DGRAM, socktype)
            assert.are.equal(ms.inetaddr("0.0.0.0", 0), ms.getsockname(fd))
        end)
    end

    for _, name in ipairs({ "AF_INET", "AF_INET6", "AF_UNIX" }) do
        it(("makes an unbound socket of %s in one byte"):format(name),
            function()
                local fd = keep(ms.udpsocket(string.char(ms[name])))
                local family, socktype = family_and_type(fd)
                assert.are.equal(ms[name], family)
                assert.are.equal(ms.SOCK_DGRAM, socktype)
            end)
    end

    for family, addr in pairs(ADDRESSES) do
        it("binds to an address of " .. family, function()
            local _, own = bound(addr)
            local parts = ms.parseaddr(own)
            assert.are.equal(family, parts.family)
            assert.is_true(parts.port > 0)
        end)
    end

    it("binds to a Unix path and an abstract name", function()
        for _, addr in ipairs({ ms.unixaddr(support.tmpname()),
                unique_name() }) do
            local _, own = bound(addr)
            assert.are.same(ms.parseaddr(addr), ms.parseaddr(own))
        end
    end)

    it("fails when the address is in use", function()
        local _, addr = bound()
        local before = support.count_descriptors()
        local fd, message, code = ms.udpsocket(addr)
        assert.is_nil(fd)
        assert.are.equal("udpsocket error: 98 Address already in use",
            message)
        assert.are.equal(ms.EADDRINUSE, code)
        assert.are.equal(before, support.count_descriptors())
    end)

    it("fails for a byte that is no family here", function()
        for _, byte in ipairs({ "\0", "\3", "\16", "x", "\255" }) do
            local fd, message, code = ms.udpsocket(byte)
            assert.is_nil(fd)
            assert.are.equal("udpsocket error: 22 Invalid argument", message)
            assert.are.equal(ms.EINVAL, code)
        end
    end)
end)

describe("sendto and recvfrom", function()
    before_each(support.setup)
    after_each(support.teardown)

    for family, any in pairs(ADDRESSES) do
        it("exchange datagrams by " .. family, function()
            local a, a_addr = bound(any)
            local b, b_addr = bound(any)
            assert.are.equal(4, ms.sendto(a, b_addr, "p\0ng"))
            local msg, from, truncated = ms.recvfrom(b)
            assert.are.equal("p\0ng", msg)
            assert.are.equal(a_addr, from)
            assert.is_false(truncated)
            assert.are.equal(4, ms.sendto(b, from, "back"))
            assert.are.equal("back", (ms.recvfrom(a, 2000)))
        end)

        it("give the address of an unbound sender by " .. family, function()
            local server, addr = bound(any)
            local client =
                keep(ms.udpsocket(string.char(ms["AF_" .. family:upper()])))
            ms.sendto(client, addr, "x")
            local _, from = ms.recvfrom(server, 2000)
            assert.are.equal(ms.parseaddr(ms.getsockname(client)).port,
                ms.parseaddr(from).port)
            ms.sendto(server, from, "y")
            assert.are.equal("y", (ms.recvfrom(client, 2000)))
        end)
    end

    it("exchange Unix datagrams between names", function()
        local a = bound(unique_name())
        local b, b_addr = bound(ms.unixaddr(support.tmpname()))
        ms.sendto(a, b_addr, "one")
        local msg, from, truncated = ms.recvfrom(b, 2000)
        assert.are.equal("one", msg)
        assert.are.equal(ms.getsockname(a), from)
        assert.is_false(truncated)
        ms.sendto(b, from, "two")
        assert.are.equal(ms.getsockname(b), select(2, ms.recvfrom(a, 2000)))
    end)

    it("say of a sender without a name that it has none", function()
        local server = bound(unique_name())
        local client = keep(ms.udpsocket(string.char(ms.AF_UNIX)))
        -- A long name before it, that nothing may be left of.
        local named = bound(ms.unixaddr("\0" .. ("n"):rep(107)))
        ms.sendto(named, ms.getsockname(server), "named")
        ms.sendto(client, ms.getsockname(server), "unnamed")
        ms.recvfrom(server, 2000)
        local msg, from = ms.recvfrom(server, 2000)
        assert.are.equal("unnamed", msg)
        assert.are.equal(ms.unixaddr(""), from)
        assert.are.equal(2, #from)
    end)

    it("say of a pair's sender that it has no name", function()
        local a, b = support.pair(ms.SOCK_DGRAM)
        ms.write(a, "x")
        local _, from = ms.recvfrom(b, 2000)
        assert.are.equal(ms.unixaddr(""), from)
    end)

    for name, make in pairs({
        ["TCP"] = support.connection, ["a Unix stream"] = support.pair,
    }) do
        it("lose nothing of " .. name .. ", and give no address", function()
            local a, b = make()
            ms.write(a, "abcdef")
            local msg, from, truncated = ms.recvfrom(b, 2000, 2)
            assert.are.equal("ab", msg)
            assert.are.equal("", from)
            assert.is_false(truncated)
            assert.are.equal("cdef", (ms.recvfrom(b, 2000)))
            ms.close(a)
            msg, from, truncated = ms.recvfrom(b, 2000)
            assert.are.equal("", msg)
            assert.are.equal("", from)
            assert.is_false(truncated)
        end)
    end

    it("tell when a datagram was longer", function()
        local a = bound()
        local b, b_addr = bound()
        for _, case in ipairs({
            { 2048, nil, 2048, false }, { 2049, nil, 2048, true },
            { 10, 10, 10, false }, { 11, 10, 10, true },
            { 1, 1, 1, false }, { 2, 1, 1, true },
            { 9000, 65536, 9000, false },
        }) do
            local size, max, expected, cut = unpack(case, 1, 4)
            ms.sendto(a, b_addr, ("x"):rep(size))
            local msg, _, truncated = ms.recvfrom(b, 2000, max)
            assert.are.equal(expected, #msg)
            assert.are.equal(cut, truncated)
        end
        assert.are.equal(2048, ms.UDPMAXSIZE)
    end)

    it("tell when a Unix datagram was longer", function()
        local a, b = support.pair(ms.SOCK_DGRAM)
        for _, size in ipairs({ 4, 5 }) do
            ms.write(a, ("x"):rep(size))
            local msg, _, truncated = ms.recvfrom(b, 2000, 4)
            assert.are.equal("xxxx", msg)
            assert.are.equal(size > 4, truncated)
        end
    end)

    for family, any in pairs(ADDRESSES) do
        it("carry an empty datagram by " .. family, function()
            local a, a_addr = bound(any)
            local b, b_addr = bound(any)
            assert.are.equal(0, ms.sendto(a, b_addr, ""))
            ms.sendto(a, b_addr, "next")
            local msg, from, truncated = ms.recvfrom(b, 2000)
            assert.are.equal("", msg)
            assert.are.equal(a_addr, from)
            assert.is_false(truncated)
            assert.are.equal("next", (ms.recvfrom(b, 2000)))
        end)
    end

    it("carry an empty Unix datagram", function()
        local a, b = support.pair(ms.SOCK_DGRAM)
        ms.sendall(a, "")
        local msg, from = ms.recvfrom(b, 2000)
        assert.are.equal("", msg)
        assert.are.equal(ms.unixaddr(""), from)
    end)

    it("carry as much as UDP takes, and no more", function()
        local a = bound()
        local b, addr = bound()
        local most = ("0123456789"):rep(6551):sub(1, 65507)
        assert.are.equal(65507, ms.sendto(a, addr, most))
        local msg, _, truncated = ms.recvfrom(b, 2000, 65507)
        assert.is_true(msg == most)
        assert.is_false(truncated)
        local sent, message, code = ms.sendto(a, addr, most .. "x")
        assert.is_nil(sent)
        assert.are.equal("sendto error: 90 Message too long", message)
        assert.are.equal(ms.EMSGSIZE, code)
    end)

    it("send a number as its digits", function()
        local a, addr = bound()
        assert.are.equal(2, ms.sendto(a, addr, 42))
        assert.are.equal("42", (ms.recvfrom(a, 2000)))
    end)

    it("report once that nobody listens where a socket is connected",
        function()
            local other, addr = bound()
            ms.close(other)
            local fd = keep(ms.udpsocket())
            ms.connectfd(fd, addr)
            ms.write(fd, "x")
            local msg, message, code = ms.recvfrom(fd, 2000)
            assert.is_nil(msg)
            assert.matches("^recvfrom error: 111 ", message)
            assert.are.equal(ms.ECONNREFUSED, code)
            assert.are.equal("recvfrom timeout",
                select(2, ms.recvfrom(fd, 20)))
        end)

    it("time out", function()
        local fd = bound()
        for _, on in ipairs({ false, true }) do
            ms.setnonblocking(fd, on)
            local took, msg, message, code =
                support.timed(ms.recvfrom, fd, 60)
            assert.is_nil(msg)
            assert.are.equal("recvfrom timeout", message)
            assert.are.equal(ms.ETIMEDOUT, code)
            assert.is_true(took >= 60)
        end
    end)

    it("try once with timeout 0", function()
        local fd, addr = bound()
        assert.are.equal("recvfrom timeout", select(2, ms.recvfrom(fd, 0)))
        ms.sendto(fd, addr, "x")
        assert.are.equal("x", (ms.recvfrom(fd, 0)))
    end)

    it("fail with EAGAIN on a non-blocking descriptor whose queue is full",
        function()
            local server, addr = bound(unique_name())
            local client = keep(ms.udpsocket(string.char(ms.AF_UNIX)))
            ms.setnonblocking(client, true)
            local sent, message, code
            repeat
                sent, message, code = ms.sendto(client, addr, "x")
            until not sent
            assert.are.equal("sendto error: 11 Resource temporarily "
                .. "unavailable", message)
            assert.are.equal(ms.EAGAIN, code)
            assert.are.equal("x", (ms.recvfrom(server, 0)))
        end)

    it("fail for an address of another family", function()
        local fd = bound()
        local sent, message, code =
            ms.sendto(fd, ms.inet6addr("::1", 9), "x")
        assert.is_nil(sent)
        assert.matches("^sendto error: 97 ", message)
        assert.are.equal(ms.EAFNOSUPPORT, code)
    end)

    it("fail on what isn't a socket, and on what isn't open", function()
        local reader = support.pipe()
        local addr = ms.inetaddr("127.0.0.1", 9)
        for fd, expected in pairs({ [reader] = "ENOTSOCK", [-1] = "EBADF" }) do
            assert.are.equal(ms[expected],
                select(3, ms.recvfrom(fd, 60000)))
            assert.are.equal(ms[expected], select(3, ms.sendto(fd, addr, "")))
        end
    end)

    for family, literal in pairs({
        inet = '"127.0.0.1"', inet6 = '"::1"',
    }) do
        it("talk to a peer of another's by " .. family, function()
            local peer = support.spawn(([[python3 -c '
import socket
s = socket.socket(socket.AF_%s, socket.SOCK_DGRAM); s.bind((%s, 0))
print(s.getsockname()[1], flush=True)
for i in range(3):
    data, addr = s.recvfrom(65536)
    s.sendto(data[::-1], addr)']]):format(family:upper(), literal))
            local port = peer:expect("^(%d+)$")
            local make = family == "inet" and ms.inetaddr or ms.inet6addr
            local addr = make(literal:match('"(.*)"'), port)
            local fd = bound(ADDRESSES[family])
            for _, text in ipairs({ "abc", "", ("xy"):rep(10000) }) do
                ms.sendto(fd, addr, text)
                local msg, from, truncated = ms.recvfrom(fd, 5000, 65536)
                assert.are.equal(text:reverse(), msg)
                assert.are.equal(addr, from)
                assert.is_false(truncated)
            end
        end)
    end
end)
