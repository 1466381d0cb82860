local faults = require "spec.faults.support"
local ms = require "minisock"
local socket = require "minisock.socket"
local support = require "spec.support"

local each, hold = faults.each, faults.hold
local LARGE = ("0123456789abcdef"):rep(2^16 * 5)

-- How full it is, in each library's words, when nothing is waited for. These
-- of resty's always wait, and LuaSocket says "timeout" for 0 too.
local function full(library)
    local words = { lsocket = "again", llsocket = "again", socket = "again" }
    return words[library.name] or "timeout"
end

local function count_sent(library, here)
    if library.name == "resty" then
        local sent, why = here:send(LARGE)
        assert.is_nil(sent)
        return nil, why
    end
    local total = 0
    while true do
        local count, why, part = here:send(LARGE:sub(total + 1))
        total = total + (count or part or 0)
        if not count then return total, why end
    end
end

describe("partial I/O:", function()
    before_each(faults.setup)
    after_each(faults.teardown)

    for _, kind in ipairs({ "tcp", "unix" }) do
        local number = kind == "tcp" and 7 or 8
        local name = ("case %d: what was sent until the queue was full is "
            .. "what comes, by %s"):format(number, kind)
        each(name, "connect", function(library)
            local here, peer = faults.connection(library, kind == "unix")
            ms.setsockopt(here:fd(), "SO_SNDBUF", 4096)
            here:settimeout(0)
            local total, why = count_sent(library, here)
            assert.are.equal(full(library), why)
            assert.are.equal("", faults.revents(here:fd(), ms.POLLOUT, 0))
            here:close()
            local got = faults.drain(peer)
            assert.is_true(#got > 0 and #got < #LARGE)
            if total then assert.are.equal(total, #got) end
            assert.is_true(LARGE:sub(1, #got) == got, "garbled")
        end)
    end

    it("case 7: write gives a count, then EAGAIN", function()
        local here, peer = faults.connection(faults.faces.core)
        local fd = here:fd()
        ms.setsockopt(fd, "SO_SNDBUF", 4096)
        ms.setnonblocking(fd, true)
        local total = 0
        local count, _, code = ms.write(fd, LARGE)
        while count do
            total = total + count
            count, _, code = ms.write(fd, LARGE)
        end
        assert.are.equal(ms.EAGAIN, code)
        assert.is_true(total > 0 and total < #LARGE)
        ms.shutdown(fd, ms.SHUT_WR)
        assert.are.equal(total, #faults.drain(peer))
    end)

    each("case 8: a datagram that is too large is EMSGSIZE", "sender",
        function(library)
            local here, fd = faults.sender(library, true)
            local sent, why = here:send(("x"):rep(2^21))
            assert.is_nil(sent)
            assert.are.equal("EMSGSIZE", why)
            assert.is_truthy(here:send("fits"))
            assert.are.equal("fits", ms.read(fd, 2000))
        end)

    -- resty and LuaSocket wait for room, as long as they are told.
    each("case 9: a full queue of Unix datagrams is no error", "sender",
        function(library)
            local here, fd = faults.sender(library, true)
            here:settimeout(0)
            local count = 0
            local sent, why = here:send("x")
            while sent do
                count = count + 1
                sent, why = here:send("x")
            end
            assert.are.equal(full(library), why)
            assert.is_true(count > 0)
            for _ = 1, count do
                assert.are.equal("x", ms.read(fd, 2000))
            end
            assert.is_truthy(here:send("y"))
            assert.are.equal("y", ms.read(fd, 2000))
        end)

    it("case 9: sendto says EAGAIN too, sendmany how many went", function()
        local addr = ms.unixaddr(support.tmpname())
        support.keep(ms.udpsocket(addr))
        local fd = support.keep(
            ms.socket(ms.AF_UNIX, ms.SOCK_DGRAM + ms.SOCK_NONBLOCK))
        local many = {}
        for i = 1, 1000 do many[i] = "x" end
        local count = ms.sendmany(fd, many, addr)
        assert.is_true(count > 0 and count < 1000)
        assert.are.equal(ms.EAGAIN, select(3, ms.sendto(fd, addr, "x")))
        assert.are.equal(ms.EAGAIN, select(3, ms.sendmany(fd, many, addr)))
        assert.are.equal(ms.EAGAIN,
            select(3, ms.sendmsg(fd, { data = "x", addr = addr })))
    end)

    it("case 9: the object waits for room in one, or times out", function()
        local path = support.tmpname()
        local fd = support.keep(ms.udpsocket(ms.unixaddr(path)))
        local here = hold(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        here:settimeout(0)
        repeat until not here:sendto("x", path)
        here:settimeout(0.1)
        local took, sent, _, code =
            support.timed(here.sendto, here, "x", path)
        assert.is_nil(sent)
        assert.are.equal(ms.ETIMEDOUT, code)
        assert.is_true(took >= 100, took)
        ms.read(fd, 0)
        assert.are.equal(1, here:sendto("y", path))
    end)

    -- llsocket, like its original, refuses to send nothing over a stream.
    each("case 10: nothing sent over TCP is nothing for the peer", "connect",
        function(library)
            local here, peer = faults.connection(library)
            local sent, why = here:send("")
            if library.name == "llsocket" then
                assert.are.equal("EINVAL", why)
            else
                assert.are.equal(0, sent)
            end
            assert.are.equal("", faults.revents(peer, ms.POLLIN, 50))
            assert.is_truthy(here:send("x"))
            assert.are.equal("x", ms.read(peer, 2000))
        end)

    each("case 10: an empty datagram is one", "sender", function(library)
        local here, fd = faults.sender(library)
        assert.is_truthy(here:send(""))
        local data, addr = ms.recvfrom(fd, 2000)
        assert.are.equal("", data)
        assert(ms.sendto(fd, addr, ""))
        assert(ms.sendto(fd, addr, "next"))
        assert.are.equal("", here:recv())
        assert.are.equal("next", here:recv())
    end)
end)
