local faults = require "spec.faults.support"
local faces = require "spec.faults.faces"
local llsocket = require "minisock.llsocket"
local ms = require "minisock"
local support = require "spec.support"

local hold = faults.hold

local function llpair()
    local pair = llsocket.socket.pair(ms.SOCK_STREAM)
    return hold(pair[1]), hold(pair[2])
end

-- In a process of its own, with as many descriptors to be had as it says.
local LIMITED = [[
    local ffi = require "ffi"
    local llsocket = require "minisock.llsocket"
    local ms = require "minisock"
    ms.load()
    ffi.cdef "int setrlimit(int, const unsigned long *);"
    local pair = llsocket.socket.pair(ms.SOCK_STREAM)
    local a, b = pair[1]:fd(), pair[2]:fd()
    local function send()
        ms.sendmsg(a, { data = "x", fds = { a, a, a } })
    end
    -- Once with room, so that nothing is left to be loaded.
    send()
    for _, fd in ipairs(ms.recvmsg(b, 0).fds) do ms.close(fd) end
    local base = ms.dup(0)
    ms.close(base)
    local function limit(soft)
        ffi.C.setrlimit(7, ffi.new("unsigned long[2]", soft, 1024))
    end
    local function try(room, receive)
        send()
        limit(base + room)
        local data, cut, fds = receive()
        limit(1024)
        local free = ms.dup(0)
        ms.close(free)
        print(data, cut, fds, free - base)
    end
    local function core()
        local message = ms.recvmsg(b, 0)
        return message.data, message.control_truncated, message.fds
    end
    local function object()
        local message = pair[2]:recvmsg()
        return message.iov, bit.band(message.flags, ms.MSG_CTRUNC) ~= 0,
            message.fds
    end
]]

describe("ancillary data:", function()
    before_each(faults.setup)
    after_each(faults.teardown)

    it("case 47: descriptors that come are closed on exec", function()
        local a, b = support.pair()
        ms.sendmsg(a, { data = "x", fds = { a, b } })
        for _, fd in ipairs(ms.recvmsg(b, 2000).fds) do
            assert.is_true(ms.getcloexec(support.keep(fd)))
        end
        local first, second = llpair()
        first:sendfd(a)
        assert.is_true(ms.getcloexec(support.keep(second:recvfd())))
        first:sendmsg({ iov = "x", fds = { a } })
        assert.is_true(ms.getcloexec(support.keep(second:recvmsg().fds[1])))
    end)

    for name, room in pairs({
        ["case 48: some of several descriptors are told of, and closed"] = 2,
        ["case 51: that there was room for none is told too"] = 0,
    }) do
        it(name, function()
            if support.valgrind then return pending("valgrind has its own") end
            local output, status = support.run(LIMITED
                .. ("try(%d, core) try(%d, object)"):format(room, room))
            assert.are.equal(("x\ttrue\tnil\t0\n"):rep(2), output)
            assert.are.equal(0, status)
        end)
    end

    -- A test that isn't for descriptors: they are dropped, and none is left.
    for name, receive in pairs({
        read = function(sock) return ms.read(sock:fd(), 2000) end,
        readinto = function(sock)
            local memory = require("ffi").new("char[9]")
            local n = ms.readinto(sock:fd(), memory, 2000, 9)
            return require("ffi").string(memory, n)
        end,
        recvfrom = function(sock) return (ms.recvfrom(sock:fd(), 2000)) end,
        recvmany = function(sock)
            local batch = require("minisock.batch").new(2)
            ms.recvmany(sock:fd(), batch, 2000)
            return (batch:get(1))
        end,
        ["an object's read"] = function(sock)
            local object = hold(
                require("minisock.socket").fromfd(ms.dup(sock:fd())))
            object:settimeout(2)
            return object:read(9)
        end,
        ["llsocket's recv"] = function(sock) return sock:recv() end,
        ["llsocket's recv with a flag"] = function(sock)
            return sock:recv(9, ms.MSG_WAITALL, ms.MSG_DONTWAIT)
        end,
        ["llsocket's recvfrom"] = function(sock)
            return (sock:recvfrom())
        end,
    }) do
        it("case 49: none comes by, or is left over, with " .. name,
            function()
                local a, b = llpair()
                a:sendmsg({ iov = "x", fds = { a:fd(), b:fd() } })
                local before = support.count_descriptors()
                local dups = name:find("object") and 1 or 0
                assert.are.equal("x", receive(b))
                assert.are.equal(before + dups, support.count_descriptors())
            end)
    end

    it("case 49: recvfd keeps one, and closes others", function()
        local a, b = llpair()
        a:sendmsg({ iov = "x", fds = { a:fd(), b:fd(), a:fd() } })
        local before = support.count_descriptors()
        support.keep(b:recvfd())
        assert.are.equal(before + 1, support.count_descriptors())
    end)

    it("case 52: 253 descriptors can be sent, 254 can't", function()
        local a, b = support.pair()
        local fds = {}
        for i = 1, 253 do fds[i] = a end
        assert.are.equal(1, ms.sendmsg(a, { data = "x", fds = fds }))
        local message = ms.recvmsg(b, 2000)
        for _, fd in ipairs(message.fds) do support.keep(fd) end
        assert.are.equal(253, #message.fds)
        assert.is_false(message.control_truncated)
        fds[254] = a
        assert.are.equal(ms.EINVAL,
            select(3, ms.sendmsg(a, { data = "x", fds = fds })))
        local sock = llpair()
        local _, why = sock:sendmsg({ iov = "x", fds = fds })
        assert.are.equal("EINVAL", faces.word(why))
    end)

    it("case 53: a control message that nobody knows is EINVAL", function()
        local a = support.pair()
        local udp = support.keep(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
        assert.are.equal(ms.EINVAL, select(3, ms.sendmsg(a, {
            data = "x",
            control = { { level = ms.SOL_SOCKET, type = 99, data = "" } },
        })))
        assert.are.equal(ms.EINVAL, select(3, ms.sendmsg(udp, {
            data = "x", addr = ms.getsockname(udp),
            control = { { level = 0, type = 99, data = "" } },
        })))
    end)

    -- sendall makes two calls of them.
    it("case 53: 1025 pieces are refused, but not by sendall", function()
        local a, b = support.pair()
        local pieces = {}
        for i = 1, 1025 do pieces[i] = "x" end
        assert.has_error(function() ms.sendmsg(a, { data = pieces }) end)
        assert.are.equal(1025, ms.sendall(a, pieces, 2000))
        assert.are.equal(1025, #ms.read(b, 2000))
    end)
end)
