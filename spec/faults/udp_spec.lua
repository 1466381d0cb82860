local bit = require "bit"
local faults = require "spec.faults.support"
local ms = require "minisock"
local support = require "spec.support"

local each, hold = faults.each, faults.hold
local faces = faults.faces
local TEXT = ("0123456789"):rep(10)

-- A library's socket that has sent to a descriptor, and is known to it.
local function acquainted(library, host)
    local fd = support.keep(ms.udpsocket(
        host and ms.inet6addr(host, 0) or ms.inetaddr("127.0.0.1", 0)))
    local here = hold(library.sender(faults.place(fd)))
    assert(here:send("hello"))
    local _, addr = ms.recvfrom(fd, 2000)
    return here, fd, addr
end

describe("UDP:", function()
    before_each(faults.setup)
    after_each(faults.teardown)

    each("case 41: no more is received than was asked for, nor later",
        "sender", function(library)
            local here, fd, addr = acquainted(library)
            ms.sendto(fd, addr, TEXT)
            ms.sendto(fd, addr, "next")
            assert.are.equal(TEXT:sub(1, 10), here:recv(10))
            assert.are.equal("next", here:recv(10))
        end)

    -- resty, LuaSocket and lsocket have no word for it, like their originals.
    for name, receive in pairs({
        recvfrom = function(here)
            local data, _, cut = ms.recvfrom(here:fd(), 2000, 10)
            return data, cut
        end,
        recvmsg = function(here)
            local message = ms.recvmsg(here:fd(), 2000, 10)
            return message.data, message.truncated
        end,
        ["recvmsg with MSG_TRUNC"] = function(here)
            local message = ms.recvmsg(here:fd(), 2000, 10, ms.MSG_TRUNC)
            return message.data, message.truncated
        end,
        recvmany = function(here)
            local batch = require("minisock.batch").new(1, 10)
            assert(ms.recvmany(here:fd(), batch, 2000))
            local data, _, cut = batch:get(1)
            return data, cut
        end,
        ["socket.recvfrom"] = function(here)
            local sock = require("minisock.socket").fromfd(
                ms.dup(here:fd()))
            local data, _, _, cut = hold(sock):recvfrom(10)
            return data, cut
        end,
        ["llsocket.recvmsg"] = function(here)
            local message = here.sock:recvmsg(10)
            return message.iov, bit.band(message.flags, ms.MSG_TRUNC) ~= 0
        end,
    }) do
        it("case 41: that something was cut is told by " .. name, function()
            local here, fd, addr = acquainted(
                name:find("^ll") and faces.llsocket or faces.core)
            for _, size in ipairs({ 100, 10 }) do
                ms.sendto(fd, addr, TEXT:sub(1, size))
                local data, cut = receive(here)
                assert.are.equal(TEXT:sub(1, 10), data)
                assert.are.equal(size > 10, cut)
            end
        end)
    end

    each("case 42: that nobody listens is told once, by send", "sender",
        function(library)
            local addr = ms.inetaddr("127.0.0.1", 0)
            local fd = ms.udpsocket(addr)
            addr = ms.getsockname(fd)
            local here = hold(library.sender(faults.place(fd)))
            ms.close(fd)
            assert.is_truthy(here:send("lost"))
            faults.settle(here:fd(), 0)
            assert.are.equal("ERR OUT", faults.revents(here:fd(),
                ms.POLLOUT + ms.POLLIN))
            local sent, why = here:send("refused")
            assert.is_nil(sent)
            assert.are.equal("ECONNREFUSED", why)
            fd = support.keep(ms.udpsocket(addr))
            assert.is_truthy(here:send("arrives"))
            assert.are.equal("arrives", ms.read(fd, 2000))
        end)

    each("case 42: or by a receive", "sender", function(library)
        local fd = ms.udpsocket(ms.inetaddr("127.0.0.1", 0))
        local here = hold(library.sender(faults.place(fd)))
        ms.close(fd)
        assert.is_truthy(here:send("lost"))
        local data, why = here:recv(10)
        assert.is_nil(data)
        assert.are.equal("ECONNREFUSED", why)
        here:settimeout(20)
        data, why = here:recv(10)
        assert.is_nil(data)
        assert.are.equal("timeout", why)
    end)

    -- sendto of each, since only the connected can be told.
    local SENDTO = {
        core = function(here, place)
            return ms.sendto(here:fd(), faces.raw(place), "x")
        end,
        socket = function(here, place)
            return here.sock:sendto("x", place.host, place.port)
        end,
        luasocket = function(here, place)
            return here.sock:sendto("x", place.host, place.port)
        end,
        lsocket = function(here, place)
            return here.sock:sendto("x", place.host, place.port)
        end,
        llsocket = function(here, place)
            return here.sock:sendto("x",
                faces.llsocket.address(place, ms.SOCK_DGRAM))
        end,
    }
    each("case 43: who isn't connected is never told", "receiver",
        function(library)
            local fd = ms.udpsocket(ms.inetaddr("127.0.0.1", 0))
            local nobody = faults.place(fd)
            ms.close(fd)
            local here = hold(library.receiver({
                host = "127.0.0.1", port = 0,
            }))
            for _ = 1, 3 do
                assert.are.equal(1, SENDTO[library.name](here, nobody))
            end
            here:settimeout(20)
            local data, why = here:recv(10)
            assert.is_nil(data)
            assert.are.equal("timeout", why)
            assert.are.equal(0, ms.getsockopt(here:fd(), "SO_ERROR"))
        end)

    for name, case in pairs({
        IPv4 = { nil, 65507 }, IPv6 = { "::1", 65527 },
    }) do
        local host, largest = case[1], case[2]
        each("case 44: the largest datagram goes both ways, by " .. name,
            "sender", function(library)
                local here, fd, addr = acquainted(library, host)
                local data = ("x"):rep(largest)
                assert.is_truthy(here:send(data))
                assert.are.equal(largest, #ms.read(fd, 2000, 65535))
                local sent, why = here:send(data .. "x")
                assert.is_nil(sent)
                assert.are.equal("EMSGSIZE", why)
                assert.are.equal(largest, ms.sendto(fd, addr, data))
                assert.are.equal(largest, #here:recv(65535))
            end)
    end

    -- There is a doc for that: the kernel tells nobody.
    it("case 45: what finds no room is lost, without a word", function()
        local fd = support.keep(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
        local addr = ms.getsockname(fd)
        ms.setsockopt(fd, "SO_RCVBUF", 4096)
        local sender = support.keep(ms.udpsocket())
        for _ = 1, 200 do
            assert.are.equal(100, ms.sendto(sender, addr, TEXT))
        end
        local count = 0
        while ms.recvfrom(fd, 0) do count = count + 1 end
        assert.is_true(count > 0 and count < 200, count)
        assert.are.equal(0, ms.getsockopt(fd, "SO_ERROR"))
    end)

    local function try(call, ...)
        local done, data = pcall(call, ...)
        return done and data
    end

    for name, call in pairs({
        read = function(fd, size) return ms.read(fd, 0, size) end,
        recvfrom = function(fd, size) return ms.recvfrom(fd, 0, size) end,
        recvmsg = function(fd, size) return ms.recvmsg(fd, 0, size) end,
        readinto = function(fd, size)
            return ms.readinto(fd, require("ffi").new("char[9]"), 0, size)
        end,
    }) do
        it("case 46: a size that can't be is refused, and nothing read, by "
                .. name, function()
            local a, b = support.pair(ms.SOCK_DGRAM)
            ms.write(a, "x")
            for _, size in ipairs({ 0, -1, 0.5, 0 / 0, 2^31, 2^32, 2^63,
                math.huge }) do
                assert.has_error(function() call(b, size) end)
            end
            assert.are.equal("x", ms.read(b, 0))
        end)
    end

    each("case 46: no size makes an object read beyond", "sender",
        function(library)
            local here, fd, addr = acquainted(library)
            for _, size in ipairs({ 0, -1, 0.5, 0 / 0, 2^31, 2^32, 2^63 }) do
                ms.sendto(fd, addr, TEXT)
                local data = try(here.recv, here, size)
                if data then
                    assert.are.equal(data, TEXT:sub(1, #data))
                end
                here:settimeout(1)
                while here:recv(1000) do end
            end
        end)
end)
