local bit = require "bit"
local ffi = require "ffi"
local ms = require "minisock"
local support = require "spec.support"

local keep = support.keep

local function has(revents, flag)
    return bit.band(revents, flag) ~= 0
end

local function revents_of(pollfds, i)
    return (select(3, ms.unpollfd(pollfds, i)))
end

describe("pollfd", function()
    it("makes a struct pollfd", function()
        local expected = ffi.string(ffi.new("int[1]", 5), 4)
            .. ffi.string(ffi.new("short[2]", ms.POLLIN, 0), 4)
        assert.are.equal(expected, ms.pollfd(5, ms.POLLIN))
    end)

    it("takes numbers in digits", function()
        assert.are.equal(ms.pollfd(5, 1), ms.pollfd("5", "1"))
    end)

    it("raises for events out of range", function()
        for _, events in ipairs({ -1, 65536, 0.5, 0 / 0, "in", true }) do
            assert.has_error(function() ms.pollfd(0, events) end)
        end
    end)
end)

describe("unpollfd", function()
    it("gives back what pollfd got", function()
        for _, fd in ipairs({ 0, 5, 2^31 - 1, -1 }) do
            for _, wanted in ipairs({ 0, ms.POLLIN, ms.POLLOUT, 65535 }) do
                local got, events, revents =
                    ms.unpollfd(ms.pollfd(fd, wanted))
                assert.are.equal(fd, got)
                assert.are.equal(wanted, events)
                assert.are.equal(0, revents)
            end
        end
    end)

    it("takes the first one, or the one that is asked for", function()
        local three = ms.pollfd(5, 1) .. ms.pollfd(6, 2) .. ms.pollfd(7, 4)
        assert.are.equal(5, (ms.unpollfd(three)))
        for i, fd in ipairs({ 5, 6, 7 }) do
            local got, events = ms.unpollfd(three, i)
            assert.are.equal(fd, got)
            assert.are.equal(2 ^ (i - 1), events)
        end
        assert.are.equal(7, (ms.unpollfd(three, "3")))
    end)

    it("raises for one that isn't there", function()
        local two = ms.pollfd(5, 1) .. ms.pollfd(6, 2)
        for _, i in ipairs({ 0, -1, 3, 1.5, 0 / 0, 2^32 + 1, "x", true }) do
            assert.has_error(function() ms.unpollfd(two, i) end)
        end
    end)

    it("raises for what isn't whole", function()
        for _, size in ipairs({ 0, 1, 7, 9, 15 }) do
            local pollfds = ("\0"):rep(size)
            assert.has_error(function() ms.unpollfd(pollfds) end)
        end
    end)
end)

describe("poll", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("tells what is ready, and leaves the rest at 0", function()
        local a, b = support.pair()
        local idle = support.pair()
        ms.write(a, "x")
        local pollfds, ready = ms.poll(ms.pollfd(idle, ms.POLLIN)
            .. ms.pollfd(b, ms.POLLIN + ms.POLLOUT)
            .. ms.pollfd(a, ms.POLLIN), 2000)
        assert.are.equal(1, ready)
        assert.are.equal(0, revents_of(pollfds, 1))
        assert.are.equal(ms.POLLIN + ms.POLLOUT, revents_of(pollfds, 2))
        assert.are.equal(0, revents_of(pollfds, 3))
    end)

    it("keeps descriptors and events as they were", function()
        local a = support.pair()
        local pollfds = ms.poll(ms.pollfd(a, ms.POLLOUT), 2000)
        local fd, events = ms.unpollfd(pollfds)
        assert.are.equal(a, fd)
        assert.are.equal(ms.POLLOUT, events)
    end)

    it("leaves its argument as it was", function()
        local a = support.pair()
        local given = ms.pollfd(a, ms.POLLOUT)
        local pollfds = ms.poll(given, 2000)
        assert.are.equal(ms.POLLOUT, revents_of(pollfds))
        assert.are.equal(0, revents_of(given))
    end)

    it("counts every one that is ready", function()
        local a, b = support.pair()
        local pollfds, ready = ms.poll(ms.pollfd(a, ms.POLLOUT)
            .. ms.pollfd(b, ms.POLLOUT) .. ms.pollfd(a, ms.POLLIN), 2000)
        assert.are.equal(2, ready)
        assert.are.equal(24, #pollfds)
    end)

    it("tells of a listener that there is a client", function()
        local server, addr = support.listener("::1")
        local one = ms.pollfd(server, ms.POLLIN)
        assert.are.equal(0, select(2, ms.poll(one, 0)))
        keep(ms.connect(addr))
        assert.are.equal(1, select(2, ms.poll(one, 2000)))
    end)

    it("tells of a peer that has gone", function()
        local a, b = support.pair()
        ms.close(b)
        local pollfds, ready = ms.poll(ms.pollfd(a, ms.POLLIN), 2000)
        assert.are.equal(1, ready)
        assert.is_true(has(revents_of(pollfds), ms.POLLHUP))
    end)

    it("tells of a descriptor that isn't open", function()
        local fd = ms.udpsocket()
        ms.close(fd)
        local pollfds, ready = ms.poll(ms.pollfd(fd, ms.POLLIN), 60000)
        assert.are.equal(1, ready)
        assert.are.equal(ms.POLLNVAL, revents_of(pollfds))
    end)

    it("passes over negative descriptors", function()
        local a = support.pair()
        local pollfds, ready = ms.poll(ms.pollfd(-1, ms.POLLIN)
            .. ms.pollfd(a, ms.POLLOUT), 2000)
        assert.are.equal(1, ready)
        assert.are.equal(0, revents_of(pollfds, 1))
    end)

    it("times out, never early", function()
        local a = support.pair()
        local one = ms.pollfd(a, ms.POLLIN)
        for _, timeout in ipairs({ 1, 20.5, 60, "30" }) do
            local took, pollfds, ready = support.timed(ms.poll, one, timeout)
            assert.are.equal(one, pollfds)
            assert.are.equal(0, ready)
            assert.is_true(took >= tonumber(timeout))
        end
    end)

    it("only looks with timeout 0", function()
        local a, b = support.pair()
        local one = ms.pollfd(a, ms.POLLIN)
        assert.are.equal(0, select(2, ms.poll(one, 0)))
        ms.write(b, "x")
        assert.are.equal(1, select(2, ms.poll(one, 0)))
    end)

    it("sleeps when there is nothing to wait for", function()
        local took, pollfds, ready = support.timed(ms.poll, "", 40)
        assert.are.equal("", pollfds)
        assert.are.equal(0, ready)
        assert.is_true(took >= 40)
    end)

    for name, timeout in pairs({ ["a negative one"] = -1,
            ["minus infinity"] = -math.huge, ["math.huge"] = math.huge,
            ["a very long one"] = 1e300, ["none"] = false }) do
        it("waits for what comes with a timeout that is " .. name, function()
            local server, addr = support.listener()
            support.spawn(("socat -u OPEN:/dev/null TCP4:127.0.0.1:%d")
                :format(ms.parseaddr(addr).port))
            local pollfds, ready = ms.poll(ms.pollfd(server, ms.POLLIN),
                timeout or nil)
            assert.are.equal(1, ready)
            assert.are.equal(ms.POLLIN, revents_of(pollfds))
        end)
    end

    it("raises for what isn't whole", function()
        local one = ms.pollfd(0, ms.POLLIN)
        for _, size in ipairs({ 1, 4, 7 }) do
            assert.has_error(function() ms.poll(one:sub(1, size), 0) end)
            assert.has_error(function() ms.poll(one .. one:sub(1, size), 0) end)
        end
    end)

    it("raises for a timeout that isn't one", function()
        for _, timeout in ipairs({ 0 / 0, "soon", true, {} }) do
            assert.has_error(function() ms.poll("", timeout) end)
        end
    end)

    it("fails for more than the process may have open", function()
        if support.valgrind then return pending("valgrind has its own") end
        local output = support.run([[
            local ffi = require "ffi"
            local ms = require "minisock"
            ffi.cdef "int setrlimit(int, const unsigned long *);"
            ffi.C.setrlimit(7, ffi.new("unsigned long[2]", 20, 20))
            print(ms.poll(ms.pollfd(0, 0):rep(21), 0))
        ]])
        assert.are.equal("nil\tpoll error: 22 Invalid argument\t22\n", output)
    end)

    -- select(2) writes beyond its sets from 1024 on.
    it("takes descriptors above 1024", function()
        local a, b = support.pair()
        local high = support.dup2(a, 1500)
        ms.write(b, "x")
        local pollfds, ready = ms.poll(ms.pollfd(high, ms.POLLIN), 2000)
        assert.are.equal(1, ready)
        assert.are.equal(1500, (ms.unpollfd(pollfds)))
    end)

    it("takes more than 1024 at once", function()
        local array = {}
        local last, peer
        for i = 1, 600 do
            last, peer = support.pair()
            array[2 * i - 1] = ms.pollfd(last, ms.POLLIN)
            array[2 * i] = ms.pollfd(peer, ms.POLLIN)
        end
        assert.is_true(last > 1024)
        ms.write(peer, "x")
        local pollfds, ready = ms.poll(table.concat(array), 2000)
        assert.are.equal(1, ready)
        assert.are.equal(ms.POLLIN, revents_of(pollfds, 1199))
        assert.are.equal(last, (ms.unpollfd(pollfds, 1199)))
    end)
end)

describe("descriptors above 1024", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("wait like any other", function()
        local a, b = support.pair()
        local high_a, high_b = support.dup2(a, 1501), support.dup2(b, 1502)
        assert.are.equal("read timeout", select(2, ms.read(high_a, 20)))
        assert.are.equal(3, ms.sendall(high_b, "abc", 2000))
        assert.are.equal("abc", ms.read(high_a, 2000))
        local server, addr = support.listener()
        local high = support.dup2(server, 1503)
        assert.are.equal("accept timeout", select(2, ms.accept(high, 20)))
        keep(ms.connect(addr, nil, 2000))
        keep(ms.accept(high, 2000))
    end)
end)

describe("msleep", function()
    it("sleeps all of it", function()
        for _, n in ipairs({ 0, 1, 40, "15" }) do
            local took, slept = support.timed(ms.msleep, n)
            assert.is_true(slept)
            assert.is_true(took >= tonumber(n))
        end
    end)

    it("rounds a fraction up", function()
        local took = support.timed(ms.msleep, 10.25)
        assert.is_true(took >= 10.25)
        assert.is_true(support.timed(ms.msleep, 0.01) >= 0.01)
    end)

    it("raises for what isn't a time", function()
        for _, n in ipairs({ -1, -0.5, math.huge, -math.huge, 0 / 0, "x",
                true, {} }) do
            assert.has_error(function() ms.msleep(n) end)
        end
        assert.has_error(function() ms.msleep() end)
    end)
end)

-- The handler is abs(3), which a signal's number doesn't harm; it is asked not
-- to restart the call that it interrupts.
local SIGNALS = [[
    local ffi = require "ffi"
    local ms = require "minisock"
    ffi.cdef "int abs(int); void *signal(int, void *);"
    ffi.cdef "int siginterrupt(int, int);"
    ffi.cdef "int setitimer(int, const long *, long *);"
    ffi.C.signal(14, ffi.cast("void *", ffi.C.abs))
    ffi.C.siginterrupt(14, 1)
    local function every(ms)
        ffi.C.setitimer(0, ffi.new("long[4]", 0, ms * 1000, 0, ms * 1000), nil)
    end
    local now = require("minisock.cdefs").shim.minisock_now
    local function timed(call, ...)
        local start = now()
        local _, second = call(...)
        local took = now() - start
        io.write(tostring(second), " ",
            took < 300 and "early" or took > 1500 and "late" or "in time")
    end
    local function full_listener()
        local server, addr = ms.bind("127.0.0.1", 0, { backlog = 0 })
        while ms.connect(addr, nil, 100) do end
        return addr
    end
    local function full_unix_listener()
        local addr = ms.unixaddr("\0minisock full" .. math.random() .. now())
        ms.bind(addr, { backlog = 0 })
        while ms.connect(addr, nil, 0) do end
        return addr
    end
]]

describe("signals", function()
    for name, case in pairs({
        read = {
            "local fd = ms.socketpair()",
            "timed(ms.read, fd, 300)", "read timeout",
        },
        ["read of a pipe"] = {
            "ffi.cdef 'int pipe(int *);' local ends = ffi.new('int[2]') "
                .. "ffi.C.pipe(ends)",
            "timed(ms.read, ends[0], 300)", "read timeout",
        },
        readinto = {
            "local fd = ms.socketpair()",
            "timed(ms.readinto, fd, ffi.new('char[9]'), 300, 9)",
            "readinto timeout",
        },
        recvfrom = {
            "local fd = ms.udpsocket(ms.inetaddr('127.0.0.1', 0))",
            "timed(ms.recvfrom, fd, 300)", "recvfrom timeout",
        },
        accept = {
            "local fd = ms.bind('127.0.0.1', 0)",
            "timed(ms.accept, fd, 300)", "accept timeout",
        },
        connect = {
            "local addr = full_listener()",
            "timed(ms.connect, addr, nil, 300)", "connect timeout",
        },
        ["connect to a Unix socket"] = {
            "local addr = full_unix_listener()",
            "timed(ms.connect, addr, nil, 300)", "connect timeout",
        },
        connectfd = {
            "local addr = full_listener() "
                .. "local fd = ms.socket(ms.AF_INET, ms.SOCK_STREAM)",
            "timed(ms.connectfd, fd, addr, 300)", "connectfd timeout",
        },
        sendall = {
            "local fd = ms.socketpair() "
                .. "while ms.sendall(fd, ('x'):rep(65536), 0) do end",
            "timed(ms.sendall, fd, 'xyz', 300)", "sendall timeout",
        },
        ["sendall to a pipe"] = {
            "ffi.cdef 'int pipe(int *);' local ends = ffi.new('int[2]') "
                .. "ffi.C.pipe(ends)",
            "timed(ms.sendall, ends[1], ('x'):rep(2^20), 300)",
            "sendall timeout",
        },
        poll = {
            "local fd = ms.socketpair()",
            "timed(ms.poll, ms.pollfd(fd, ms.POLLPRI), 300)",
            "0",
        },
        ["poll of nothing"] = { "", "timed(ms.poll, '', 300)", "0" },
        msleep = { "", "timed(ms.msleep, 300)", "nil" },
    }) do
        local prepare, act, expected = unpack(case)
        it("neither shorten nor lengthen " .. name, function()
            local output, status = support.run(SIGNALS .. prepare
                .. "\nevery(20)\n" .. act)
            assert.are.equal(0, status)
            assert.are.equal(expected .. " in time", output)
        end)
    end

    -- Without a timeout there is no deadline to come back to: what ends these
    -- is the other process, after the signals.
    local function forever(prepare, act, done)
        return support.run(SIGNALS .. [[
            ffi.cdef "int fork(void); void _exit(int);"
        ]] .. prepare .. [[
            if ffi.C.fork() == 0 then
                ms.msleep(200)
        ]] .. done .. [[
                ffi.C._exit(0)
            end
            every(10)
            local result, message = ]] .. act .. [[
            io.write(type(result), " ", type(message) == "string"
                and message:match("error.*") or "")
        ]])
    end

    it("don't surface from a read that waits for ever", function()
        assert.are.equal("string ", forever(
            "local a, b = ms.socketpair() ", "ms.read(a, -1) ",
            "ms.write(b, 'x') "))
    end)

    it("don't surface from an accept that waits for ever", function()
        assert.are.equal("number ", forever(
            "local fd, addr = ms.bind('::1', 0) ", "ms.accept(fd) ",
            "ms.connect(addr) "))
    end)

    it("don't surface from a connect that waits for ever", function()
        assert.are.equal("number ", forever(
            "local fd = ms.bind(ms.unixaddr('\\0minisock' .. now()), "
                .. "{ backlog = 0 }) "
                .. "local addr = ms.getsockname(fd) "
                .. "while ms.connect(addr, nil, 0) do end ",
            "ms.connect(addr) ", "ms.accept(fd) "))
    end)

    it("don't surface from a TCP connect that waits for ever", function()
        assert.are.equal("number ", forever(
            "local fd, addr = ms.bind('127.0.0.1', 0, { backlog = 0 }) "
                .. "while ms.connect(addr, nil, 100) do end ",
            "ms.connect(addr) ", "while ms.accept(fd, 0) do end "))
    end)

    it("don't surface from a sendall that waits for ever", function()
        assert.are.equal("number ", forever(
            "local a, b = ms.socketpair() ",
            "ms.sendall(a, ('x'):rep(2^21)) ",
            "for _ = 1, 2^21 do if ms.read(b, 100, 2^20) == nil then "
                .. "break end end "))
    end)

    it("don't surface from a write that waits", function()
        assert.are.equal("number ", forever(
            "local a, b = ms.socketpair() "
                .. "while ms.sendall(a, ('x'):rep(65536), 0) do end ",
            "ms.write(a, 'x') ", "ms.read(b, 0, 2^20) "))
    end)

    it("don't surface from a write to a pipe that waits", function()
        assert.are.equal("number ", forever(
            "ffi.cdef 'int pipe(int *);' local ends = ffi.new('int[2]') "
                .. "ffi.C.pipe(ends) "
                .. "while ms.sendall(ends[1], ('x'):rep(4096), 0) do end ",
            "ms.write(ends[1], 'x') ", "ms.read(ends[0], 0, 2^20) "))
    end)
end)
