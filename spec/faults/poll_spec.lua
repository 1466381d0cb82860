local faults = require "spec.faults.support"
local lsocket = require "minisock.lsocket"
local luasocket = require "minisock.luasocket"
local ms = require "minisock"
local poller = require "minisock.poller"
local pollset = require "minisock.pollset"
local resty = require "minisock.resty"
local socket = require "minisock.socket"
local support = require "spec.support"

local each, hold = faults.each, faults.hold

-- All that wait for a descriptor: each gives a true value once it can be read,
-- and a false one when time, in ms, is up.
local WAITS = {
    poll = function(fd, timeout)
        local _, ready = ms.poll(ms.pollfd(fd, ms.POLLIN), timeout)
        return ready == 1
    end,
    pollset = function(fd, timeout)
        local set = pollset.new()
        set:add(fd, ms.POLLIN)
        return set:wait(timeout) == 1
    end,
    poller = function(fd, timeout)
        local watch = hold(poller.new())
        watch:add(fd, ms.EPOLLIN)
        return watch:wait(timeout) == 1
    end,
    ["luasocket's select"] = function(fd, timeout)
        local sock = { getfd = function() return fd end }
        return luasocket.select({ sock }, nil, timeout / 1000)[1]
    end,
    read = function(fd, timeout) return ms.read(fd, timeout) end,
    recvfrom = function(fd, timeout) return ms.recvfrom(fd, timeout) end,
    recvmsg = function(fd, timeout) return ms.recvmsg(fd, timeout) end,
    recvmany = function(fd, timeout)
        return ms.recvmany(fd, require("minisock.batch").new(4), timeout)
    end,
    readinto = function(fd, timeout)
        return ms.readinto(fd, require("ffi").new("char[99]"), timeout, 99)
    end,
}

describe("poll:", function()
    before_each(faults.setup)
    after_each(faults.teardown)

    local function closed_number()
        local fd = ms.socket(ms.AF_INET, ms.SOCK_STREAM)
        ms.close(fd)
        return fd
    end

    it("case 23: a descriptor that isn't open is NVAL, -1 is passed over",
        function()
            assert.are.equal("NVAL",
                faults.revents(closed_number(), ms.POLLIN))
            assert.are.equal("", faults.revents(-1, ms.POLLIN, 0))
            local set = pollset.new()
            set:add(closed_number(), ms.POLLIN)
            assert.are.equal(1, set:wait(2000))
            for _, _, revents in set:ready() do
                assert.are.equal(ms.POLLNVAL, revents)
            end
            set:clear()
            set:add(-1, ms.POLLIN)
            assert.are.equal(0, set:wait(0))
            local watch = hold(poller.new())
            assert.are.equal(ms.EBADF,
                select(3, watch:add(closed_number(), ms.EPOLLIN)))
        end)

    for name, call in pairs({
        read = ms.read, accept = ms.accept, recvfrom = ms.recvfrom,
        recvmsg = ms.recvmsg,
        sendall = function(fd, timeout)
            return ms.sendall(fd, "x", timeout)
        end,
    }) do
        it("case 23: it is an error, no timeout, of " .. name, function()
            for _, fd in ipairs({ closed_number(), -1 }) do
                for _, timeout in ipairs({ 0, 10000, math.huge }) do
                    local result, _, code = call(fd, timeout)
                    assert.is_nil(result)
                    assert.are.equal(ms.EBADF, code)
                end
            end
        end)
    end

    it("case 24: an unconnected TCP socket is writable, not connected",
        function()
            local fd = support.keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
            assert.are.equal("HUP OUT", faults.revents(fd, ms.POLLOUT))
            assert.are.equal(ms.ENOTCONN, select(3, ms.getpeername(fd)))
            assert.are.equal(ms.ENOTCONN, select(3, ms.read(fd, 2000)))
            assert.are.equal(ms.EPIPE, select(3, ms.sendall(fd, "x", 2000)))
            local sock = hold(socket.tcp())
            assert.are.equal(ms.ENOTCONN, select(3, sock:read(9)))
            assert.are.equal(ms.EPIPE, select(3, sock:write("x")))
            assert.are.equal("closed", select(2, resty.tcp():send("x")))
        end)

    -- In a process of its own, since a limit can't always be raised again.
    for name, wait in pairs({
        poll = [[
            local list = {}
            for i = 1, #socks do list[i] = ms.pollfd(socks[1], 1) end
            print(select(3, ms.poll(table.concat(list), 0)) == ms.EINVAL)]],
        pollset = [[
            local set = require("minisock.pollset").new()
            for i = 1, #socks do set:add(socks[1], 1) end
            print(select(3, set:wait(0)) == ms.EINVAL)]],
        ["lsocket's select"] = [[
            local words = require("minisock.errors").text(ms.EINVAL)
            print(select(2, lsocket.select(objects, 0)) == words)]],
    }) do
        it("case 25: more than the process may have open fails in " .. name,
            function()
                assert.are.equal("true\n", (support.run([[
                    local ffi = require "ffi"
                    local ms = require "minisock"
                    local lsocket = require "minisock.lsocket"
                    local words = require("minisock.errors").text(22)
                    ms.load()
                    require "minisock.pollset"
                    ffi.cdef "int setrlimit(int, const unsigned long *);"
                    local socks, objects = {}, {}
                    for i = 1, 50 do
                        objects[i] = lsocket.bind("udp", "127.0.0.1", 0)
                        socks[i] = objects[i]:getfd()
                    end
                    ffi.C.setrlimit(7, ffi.new("unsigned long[2]", 40, 1024))
                ]] .. wait)))
            end)
    end

    -- A server that sends a byte to every client, every 20 ms.
    local function ticker()
        local process = support.spawn_lua([[
            local ms = require "minisock"
            local fd, addr = ms.bind("127.0.0.1", 0)
            print(ms.parseaddr(addr).port)
            io.stdout:flush()
            local clients = {}
            for _ = 1, 1000 do
                clients[#clients + 1] = ms.accept(fd, 20)
                for _, client in ipairs(clients) do
                    ms.sendall(client, "x", 0)
                end
            end
        ]])
        return { host = "127.0.0.1", port = tonumber(process:line()) }
    end

    -- Cut to an int, these would be over at once; negative ones are for ever.
    local LONG = { 2^31, 2^32, 2^32 + 1, 2^53, 1e300, math.huge, -1, -0.5 }

    for name, wait in pairs(WAITS) do
        it("case 26: a very long timeout isn't a short one, of " .. name,
            function()
                local here = hold(faults.faces.core.connect(ticker()))
                for _, timeout in ipairs(LONG) do
                    ms.read(here:fd(), 0) -- what is there already
                    assert.is_truthy(wait(here:fd(), timeout), timeout)
                end
            end)

        it("case 26: a fraction of a millisecond is rounded up, of " .. name,
            function()
                local fd = support.pair()
                for _, timeout in ipairs({ 0.1, 0.9, 1.5 }) do
                    local took, ready = support.timed(wait, fd, timeout)
                    assert.is_falsy(ready)
                    assert.is_true(took >= timeout, took)
                end
            end)

        -- LuaSocket takes it for none at all.
        if not name:find("select") then
            it("case 26: NaN is refused, by " .. name, function()
                assert.has_error(function()
                    wait(support.pair(), 0 / 0)
                end)
            end)
        end
    end

    -- llsocket's is what the kernel takes for SO_RCVTIMEO, 24 days at most.
    each("case 26: an object's very long timeout isn't a short one", "connect",
        function(library)
            local here = hold(library.connect(ticker()))
            for _, timeout in ipairs({ 2^31, 2^32, 2^53 }) do
                if library.name == "llsocket" then timeout = 2^31 end
                here:settimeout(1)
                while here:recv() do end -- what is there already
                here:settimeout(timeout)
                assert.are.equal("x", (here:recv()):sub(1, 1))
            end
        end)

    it("case 26: NaN is no timeout of an object's", function()
        assert.has_error(function()
            hold(socket.tcp()):settimeout(0 / 0)
        end)
        assert.has_error(function() resty.tcp():settimeout(0 / 0) end)
        assert.has_error(function() resty.tcp():settimeout(-1) end)
        assert.has_error(function()
            lsocket.select({ hold(lsocket.bind("127.0.0.1", 0)) }, 0 / 0)
        end)
        assert.has_error(function() ms.msleep(0 / 0) end)
    end)

    for name, wait in pairs(WAITS) do
        it("case 27: no wait ends early, of " .. name, function()
            local fd = support.pair()
            for _ = 1, 10 do
                local took, ready = support.timed(wait, fd, 5)
                assert.is_falsy(ready)
                assert.is_true(took >= 5, took)
            end
        end)
    end

    each("case 27: nor an object's", "connect", function(library)
        local here = faults.connection(library)
        here:settimeout(5)
        for _ = 1, 10 do
            local took, data, why = support.timed(here.recv, here)
            assert.is_nil(data)
            assert.are.equal("timeout", why)
            assert.is_true(took >= 5, took)
        end
    end)

    it("case 27: nor a sleep", function()
        for _ = 1, 10 do
            assert.is_true(support.timed(ms.msleep, 5) >= 5)
            assert.is_true(support.timed(luasocket.sleep, 0.005) >= 5)
        end
    end)

    -- 0 is for ever there.
    it("case 28: SO_RCVTIMEO is never rounded to 0", function()
        local fd = support.pair()
        for _, option in ipairs({ "SO_RCVTIMEO", "SO_SNDTIMEO" }) do
            assert.is_true(ms.setsockopt(fd, option, 0.0001))
            assert.is_true(ms.getsockopt(fd, option) > 0)
            for _, timeout in ipairs({ -1, 0 / 0, math.huge }) do
                assert.has_error(function()
                    ms.setsockopt(fd, option, timeout)
                end)
            end
        end
    end)

    it("case 28: the kernel's own answer is passed on", function()
        local fd = support.pair()
        local raw = require("ffi").string(
            require("ffi").new("long[2]", 0, 1000000), 16)
        assert.are.equal(33, select(3, ms.setsockopt(fd, ms.SOL_SOCKET,
            ms.SO_RCVTIMEO, raw))) -- EDOM
    end)

    each("case 28: a timeout of next to nothing is one", "connect",
        function(library)
            local here = faults.connection(library)
            here:settimeout(0.0001)
            local data, why = here:recv()
            assert.is_nil(data)
            assert.are.equal("timeout", why)
        end)
end)
