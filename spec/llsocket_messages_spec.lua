local bit = require "bit"
local llsocket = require "minisock.llsocket"
local ms = require "minisock"
local objects = require "spec.llsocket_support"
local support = require "spec.support"

local socket = llsocket.socket
local SOCK_DGRAM = llsocket.SOCK_DGRAM
local setup, teardown, hold = objects.setup, objects.teardown, objects.hold
local results, raises = objects.results, objects.raises
local address, path_address = objects.address, objects.path_address
local pair, bound, fill = objects.pair, objects.bound, objects.fill
local NOTHING = objects.NOTHING

local AGAIN = { n = 3, nil, nil, true }
local NONE_AGAIN = { n = 3, 0, nil, true }
local INVALID = { n = 2, nil, "Invalid argument" }

-- Two datagram sockets that know each other's addresses.
local function datagrams(host)
    local a = bound(address(host, nil, SOCK_DGRAM))
    local b = bound(address(host, nil, SOCK_DGRAM))
    return a, b, b:getsockname()
end

describe("llsocket's sendmsg and recvmsg", function()
    before_each(setup)
    after_each(teardown)

    it("send one string or several", function()
        local a, b = pair()
        assert.are.same({ n = 3, 5, nil, false },
            results(a:sendmsg({ iov = { "he", "", "llo" } })))
        assert.are.same({ n = 3, 1, nil, false },
            results(a:sendmsg({ iov = "!" })))
        assert.are.equal("hello!", b:recv())
    end)

    it("carry names", function()
        local a, b, to = datagrams()
        a:sendmsg({ iov = "hello", name = to })
        local all = results(b:recvmsg())
        assert.are.equal(1, all.n)
        assert.are.equal("hello", all[1].iov)
        assert.are.same(a:getsockname():addr(), all[1].name:addr())
        assert.is_nil(all[1].fds)
    end)

    it("carry descriptors", function()
        local a, b = pair()
        local left, right = support.pair()
        a:sendmsg({ iov = "x", fds = { left, right } })
        local mh = b:recvmsg()
        for _, fd in ipairs(mh.fds) do support.keep(fd) end
        assert.are.equal(2, #mh.fds)
        support.assert_talks(mh.fds[1], right)
        assert.is_true(ms.getcloexec(mh.fds[1]))
    end)

    it("carry credentials", function()
        local a, b = pair()
        ms.setsockopt(b:fd(), "SO_PASSCRED", true)
        local own = ms.getsockopt(a:fd(), "SO_PEERCRED")
        a:sendmsg({ iov = "x", credentials = own })
        assert.are.same(own, b:recvmsg().credentials)
    end)

    it("carry control messages", function()
        local a, b, to = datagrams()
        ms.setsockopt(b:fd(), "IP_RECVTTL", true)
        a:sendmsg({ iov = "x", name = to, control = {
            { level = llsocket.IPPROTO_IP, type = ms.IP_TTL,
              data = require("minisock.options").encode(33) },
        } })
        local control = b:recvmsg().control
        assert.are.equal(1, #control)
        assert.are.equal(llsocket.IPPROTO_IP, control[1].level)
        assert.are.equal(33, control[1].data:byte(1)
            + control[1].data:byte(-1))
    end)

    it("tell of datagrams that were cut", function()
        local a, b = pair(SOCK_DGRAM)
        a:send("hello")
        local mh = b:recvmsg(2)
        assert.are.equal("he", mh.iov)
        assert.are.equal(llsocket.MSG_TRUNC,
            bit.band(mh.flags, llsocket.MSG_TRUNC))
    end)

    it("say again, and that the peer has closed", function()
        local a, b = pair(nil, true)
        assert.are.same(AGAIN, results(b:recvmsg()))
        fill(a)
        assert.are.same(NONE_AGAIN, results(a:sendmsg({ iov = "x" })))
        local c, d = pair()
        d:close()
        assert.are.same(NOTHING, results(c:sendmsg({ iov = "x" })))
        assert.are.same(NOTHING, results(c:recvmsg()))
    end)

    it("carry empty datagrams", function()
        local a, b = pair(SOCK_DGRAM)
        assert.are.same({ n = 3, 0, nil, false }, results(a:sendmsg({})))
        assert.are.equal("", b:recvmsg().iov)
    end)

    it("give an error", function()
        local a = pair()
        assert.are.same({ n = 2, nil, "Bad file descriptor" },
            results(a:sendmsg({ iov = "x", fds = { -1 } })))
        assert.are.same(INVALID, results(a:recvmsg(0)))
    end)

    it("tell of errors", function()
        local a = bound(address(nil, nil, SOCK_DGRAM))
        local gone = bound(address(nil, nil, SOCK_DGRAM))
        local to = gone:getsockname()
        gone:close()
        ms.setsockopt(a:fd(), "IP_RECVERR", true)
        a:sendto("x", to)
        ms.poll(ms.pollfd(a:fd(), 0), 2000)
        local mh = a:recvmsg(100, llsocket.MSG_ERRQUEUE)
        assert.are.equal("x", mh.iov)
        assert.are.same(to:addr(), mh.name:addr())
        assert.are.equal(1, #mh.control)
        assert.are.same(AGAIN,
            results(a:recvmsg(100, llsocket.MSG_ERRQUEUE)))
    end)

    for name, mh in pairs({
        ["a name that isn't an address info"] = { name = "127.0.0.1" },
        ["a number for data"] = { iov = 1 },
        ["a number among data"] = { iov = { "x", 1 } },
        ["a number for descriptors"] = { fds = 1 },
        ["a string among descriptors"] = { fds = { "1" } },
        ["credentials without a pid"] = { credentials = {} },
        ["a string for control messages"] = { control = "x" },
    }) do
        it("raise for " .. name, function()
            local a = pair()
            assert.error_matches(function() a:sendmsg(mh) end,
                "bad argument #%d to 'sendmsg'")
        end)
    end

    it("raise for what isn't a table, a number", function()
        local a = pair()
        raises("bad argument #1 to 'sendmsg'", function() a:sendmsg("x") end)
        raises("bad argument #2 to 'sendmsg'",
            function() a:sendmsg({ iov = "x" }, "1") end)
        raises("bad argument #1 to 'recvmsg'",
            function() a:recvmsg("1") end)
    end)
end)

describe("llsocket's sendfd and recvfd", function()
    before_each(setup)
    after_each(teardown)

    it("pass a descriptor on", function()
        local a, b = pair()
        local left, right = support.pair()
        assert.are.same({ n = 3, 1, nil, false }, results(a:sendfd(left)))
        local all = results(b:recvfd())
        assert.are.equal(1, all.n)
        local fd = support.keep(all[1])
        assert.are_not.equal(left, fd)
        support.assert_talks(fd, right)
        assert.is_true(ms.getcloexec(fd))
    end)

    it("pass it on to an address", function()
        local server = bound(path_address(support.tmpname(), SOCK_DGRAM))
        local client = hold(socket.new(server:getsockname()))
        client:sendfd(client:fd(), server:getsockname())
        local fd = support.keep(server:recvfd())
        assert.are.equal(SOCK_DGRAM, ms.getsockopt(fd, "SO_TYPE"))
    end)

    it("give nil alone when none came", function()
        local a, b = pair()
        a:send("x")
        assert.are.same({ n = 1, nil }, results(b:recvfd()))
    end)

    it("keep the first of several, and close the others", function()
        local a, b = pair()
        a:sendmsg({ iov = "x", fds = { a:fd(), b:fd(), a:fd() } })
        local before = support.count_descriptors()
        support.keep(b:recvfd())
        assert.are.equal(before + 1, support.count_descriptors())
    end)

    it("say again, and that the peer has closed", function()
        local a, b = pair(nil, true)
        assert.are.same(AGAIN, results(b:recvfd()))
        fill(a)
        assert.are.same(NONE_AGAIN, results(a:sendfd(0)))
        local c, d = pair()
        c:close()
        assert.are.same(NOTHING, results(d:recvfd()))
        assert.are.same(NOTHING, results(d:sendfd(0)))
    end)

    it("give an error", function()
        local a = pair()
        assert.are.same({ n = 2, nil, "Bad file descriptor" },
            results(a:sendfd(-1)))
    end)

    it("pass a descriptor on to Python", function()
        local server = objects.listener(path_address(support.tmpname()))
        local python = support.spawn(([[python3 -u -c '
import os, socket
s = socket.socket(socket.AF_UNIX)
s.connect("%s")
data, fds, flags, addr = socket.recv_fds(s, 10, 4)
os.write(fds[0], b"from python")
print(len(fds), data)']]):format(server:getsockname():addr()[1]))
        local served = hold(server:accept())
        local left, right = support.pair()
        served:sendfd(left)
        assert.are.equal("from python", ms.read(right, 10000))
        assert.are.equal("1 b'\\x00'", python:line())
    end)

    it("raise for what isn't of its type", function()
        local a = pair()
        raises("bad argument #1 to 'sendfd'", function() a:sendfd("1") end)
        raises("bad argument #2 to 'sendfd'", function() a:sendfd(1, "x") end)
        raises("bad argument #3 to 'sendfd'",
            function() a:sendfd(1, nil, "1") end)
        raises("bad argument #1 to 'recvfd'", function() a:recvfd("1") end)
    end)
end)
