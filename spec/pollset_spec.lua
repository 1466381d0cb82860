local ffi = require "ffi"
local ms = require "minisock"
local pollset = require "minisock.pollset"
local support = require "spec.support"

local IN, OUT = ms.POLLIN, ms.POLLOUT

-- What ready() goes through: { i, fd, revents } each.
local function ready(set)
    local list = {}
    for i, fd, revents in set:ready() do
        list[#list + 1] = { i, fd, revents }
    end
    return list
end

-- A set of descriptors that all wait to be read from.
local function set_of(...)
    local set = pollset.new()
    for _, fd in ipairs({ ... }) do set:add(fd, IN) end
    return set
end

describe("a pollset", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("numbers what is added", function()
        local set = pollset.new()
        assert.are.equal(1, set:add(5, IN))
        assert.are.equal(2, set:add("6", "4"))
        assert.are.equal(3, set:add(5, 65535))
        assert.are.same({ 5, IN, 0 }, { set:get(1) })
        assert.are.same({ 6, OUT, 0 }, { set:get("2") })
        assert.are.same({ 5, 65535, 0 }, { set:get(3) })
    end)

    it("tells what is ready, in its order", function()
        local a, b = support.pair()
        local idle = support.pair()
        ms.write(a, "x")
        local set = pollset.new()
        set:add(b, IN + OUT)
        set:add(idle, IN)
        set:add(a, OUT)
        assert.are.equal(2, set:wait(2000))
        assert.are.same({ { 1, b, IN + OUT }, { 3, a, OUT } }, ready(set))
        assert.are.same({ idle, IN, 0 }, { set:get(2) })
    end)

    it("waits again and again", function()
        local a, b = support.pair()
        local set = set_of(a, b)
        for round = 1, 100 do
            local from, to, i = a, b, 2
            if round % 2 == 0 then from, to, i = b, a, 1 end
            assert.are.equal(0, set:wait(0))
            assert.are.same({}, ready(set))
            ms.write(from, "x")
            assert.are.equal(1, set:wait(2000))
            assert.are.same({ { i, to, IN } }, ready(set))
            ms.read(to, 0)
        end
    end)

    it("has nothing ready before the first wait", function()
        assert.are.same({}, ready(set_of(0, 1, 2)))
        assert.are.same({}, ready(pollset.new()))
    end)

    it("forgets what was ready when another takes the place", function()
        local a, b = support.pair()
        local set = pollset.new()
        set:add(a, OUT)
        set:add(b, OUT)
        assert.are.equal(2, set:wait(0))
        set:set(1, b, IN)
        assert.are.same({ b, IN, 0 }, { set:get(1) })
        assert.are.same({ { 2, b, OUT } }, ready(set))
        assert.are.equal(1, set:wait(0))
    end)

    it("can be changed while its ready ones are gone through", function()
        local a, b = support.pair()
        local set = pollset.new()
        for _ = 1, 3 do set:add(a, OUT) end
        assert.are.equal(3, set:wait(0))
        local seen = {}
        for i in set:ready() do
            seen[#seen + 1] = i
            set:set(2, b, OUT)
            for _ = 1, 100 do set:add(a, OUT) end
        end
        assert.are.same({ 1, 3 }, seen)
        assert.are.equal(203, set:wait(0))
        for i in set:ready() do
            assert.are.equal(1, i)
            set:clear()
        end
        assert.are.same({}, ready(set))
    end)

    it("is empty after clear, and of use", function()
        local a, b = support.pair()
        local set = set_of(a, b)
        set:clear()
        assert.has_error(function() set:get(1) end)
        assert.are.equal(0, set:wait(0))
        assert.are.equal(1, set:add(b, OUT))
        assert.are.equal(1, set:wait(0))
        assert.are.same({ { 1, b, OUT } }, ready(set))
    end)

    it("grows, and keeps what is in it", function()
        local set = pollset.new()
        for i = 1, 5000 do
            assert.are.equal(i, set:add(-i, i))
        end
        for i = 1, 5000 do
            assert.are.same({ -i, i, 0 }, { set:get(i) })
        end
    end)

    it("keeps what the last wait has found while it grows", function()
        local a = support.pair()
        local set = pollset.new()
        set:add(a, OUT)
        assert.are.equal(1, set:wait(0))
        for _ = 1, 100 do set:add(-1, IN) end
        assert.are.same({ { 1, a, OUT } }, ready(set))
    end)

    it("isn't another one", function()
        local a, b = support.pair()
        local one, other = set_of(a), set_of(b)
        ms.write(a, "x")
        assert.are.equal(0, one:wait(0))
        assert.are.equal(1, other:wait(2000))
        assert.are.same({}, ready(one))
        assert.are.same({ { 1, b, IN } }, ready(other))
    end)

    it("takes more than 1024, and numbers above", function()
        local set = pollset.new()
        local last, peer
        for _ = 1, 600 do
            last, peer = support.pair()
            set:add(last, IN)
            set:add(peer, IN)
        end
        assert.is_true(last > 1024)
        ms.write(peer, "x")
        assert.are.equal(1, set:wait(2000))
        assert.are.same({ { 1199, last, IN } }, ready(set))
    end)

    -- Each step is taken by a list of what should be in it, too, which the
    -- core polls.
    it("agrees with poll after thousands of steps at random", function()
        local fds = { -1, 900 } -- and one that isn't open
        for _ = 1, 4 do
            local a, b = support.pair()
            ms.write(a, "x")
            fds[#fds + 1], fds[#fds + 2] = a, b
        end
        local set, list = pollset.new(), {}
        for _ = 1, 5000 do
            local fd = fds[math.random(#fds)]
            local events = math.random(0, 7)
            local act = math.random(40)
            if act == 1 then
                set:clear()
                list = {}
            elseif act < 30 then
                list[#list + 1] = ms.pollfd(fd, events)
                assert.are.equal(#list, set:add(fd, events))
            elseif #list > 0 then
                local i = math.random(#list)
                list[i] = ms.pollfd(fd, events)
                set:set(i, fd, events)
            end
            local pollfds, count = ms.poll(table.concat(list), 0)
            assert.are.equal(count, set:wait(0))
            for i in set:ready() do
                local a, b, c = set:get(i)
                local x, y, z = ms.unpollfd(pollfds, i)
                assert.is_true(a == x and b == y and c == z and z ~= 0)
                count = count - 1
            end
            assert.are.equal(0, count)
        end
    end)

    -- Nothing is collected until the call, which may do so wherever it makes
    -- something; interpreted code makes more.
    for _, mode in ipairs({ "on", "off" }) do
        it("survives finalisers that add to it, JIT " .. mode, function()
            local output, status = support.run([[
                jit.]] .. mode .. [[()
                local pollset = require "minisock.pollset"
                local set, added
                local function finalise()
                    -- Its own adding must not be interrupted.
                    collectgarbage "stop"
                    for _ = 1, 40 do set:add(-2, 2) end
                    added = added + 40
                end
                local function count_own()
                    local count = 0
                    for i = 1, set.size do
                        local fd, events = set:get(i)
                        assert(fd == -1 and events == 1
                            or fd == -2 and events == 2)
                        if fd == -1 then count = count + 1 end
                    end
                    return count
                end
                collectgarbage("setstepmul", 1e6)
                for own = 1, 300 do
                    set, added = pollset.new(), 0
                    for _ = 1, own - 1 do set:add(-1, 1) end
                    collectgarbage "stop"
                    for _ = 1, 3 do
                        getmetatable(newproxy(true)).__gc = finalise
                    end
                    collectgarbage("setpause", 0)
                    collectgarbage "restart"
                    set:add(-1, 1)
                    collectgarbage "stop"
                    assert(set.size == own + added and set.size <= set.room)
                    assert(count_own() == own)
                    assert(set:wait(0) == 0)
                    if added > 0 then io.write "." end
                    collectgarbage "restart"
                end
            ]])
            assert.matches("^%.+$", output)
            assert.are.equal(0, status)
        end)
    end
end)

describe("what a pollset's wait tells:", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("a descriptor that isn't open is POLLNVAL", function()
        local a = support.pair()
        local fd = ms.udpsocket()
        ms.close(fd)
        local set = set_of(a, fd)
        assert.are.equal(1, set:wait(60000))
        assert.are.same({ { 2, fd, ms.POLLNVAL } }, ready(set))
    end)

    it("one that is negative is passed over", function()
        local a = support.pair()
        local set = pollset.new()
        set:add(-1, OUT)
        set:add(-2^31, OUT)
        set:add(a, OUT)
        assert.are.equal(1, set:wait(2000))
        assert.are.same({ { 3, a, OUT } }, ready(set))
        set:set(3, -1, OUT)
        local took, count = support.timed(set.wait, set, 20)
        assert.are.equal(0, count)
        assert.is_true(took >= 20)
    end)

    it("a peer that has gone", function()
        local a, b = support.pair()
        ms.close(b)
        local set = pollset.new()
        set:add(a, 0)
        assert.are.equal(1, set:wait(2000))
        assert.are.same({ { 1, a, ms.POLLHUP } }, ready(set))
    end)

    it("of nothing, that the time has passed", function()
        local took, count = support.timed(function()
            return pollset.new():wait(40)
        end)
        assert.are.equal(0, count)
        assert.is_true(took >= 40)
    end)

    it("0 after a timeout, never early", function()
        local set = set_of((support.pair()))
        for _, timeout in ipairs({ 0, 0.25, 1, 20.5, 60, "30" }) do
            local took, count = support.timed(set.wait, set, timeout)
            assert.are.equal(0, count)
            assert.is_true(took >= tonumber(timeout))
        end
    end)

    for name, timeout in pairs({ ["a negative one"] = -1,
            ["minus infinity"] = -math.huge, ["math.huge"] = math.huge,
            ["a very long one"] = 1e300, ["none"] = false }) do
        it("what comes, with a timeout that is " .. name, function()
            local server, addr = support.listener()
            support.spawn(("socat -u OPEN:/dev/null TCP4:127.0.0.1:%d")
                :format(ms.parseaddr(addr).port))
            local set = set_of(server)
            assert.are.equal(1, set:wait(timeout or nil))
            assert.are.same({ { 1, server, IN } }, ready(set))
        end)
    end

    it("that there are more than the process may have open", function()
        if support.valgrind then return pending("valgrind has its own") end
        local output = support.run([[
            local ffi = require "ffi"
            local ms = require "minisock"
            local set = require("minisock.pollset").new()
            ffi.cdef "int setrlimit(int, const unsigned long *);"
            local a = ms.socketpair()
            for _ = 1, 20 do set:add(a, ms.POLLOUT) end
            ffi.C.setrlimit(7, ffi.new("unsigned long[2]", 20, 20))
            print(set:wait(0))
            set:add(-1, 0)
            print(set:wait(0))
            for _ in set:ready() do print("what an earlier wait found") end
        ]])
        assert.are.equal("20\nnil\twait error: 22 Invalid argument\t22\n",
            output)
    end)
end)

describe("a pollset's timeout under signals", function()
    local function under_signals(...)
        return support.wait_under_signals("pollset", "POLLIN", ...)
    end

    it("is neither shortened nor prolonged", function()
        assert.are.equal("0 in time", under_signals(5000, 300, 300))
    end)

    it("is for ever when it is", function()
        assert.are.equal("1 in time", under_signals(300, "math.huge", 250))
        assert.are.equal("1 in time", under_signals(300, "nil", 250))
    end)

    it("of 0 is one look", function()
        assert.are.equal("0 in time", under_signals(5000, 0, 0))
    end)
end)

describe("a pollset's wrong arguments", function()
    local LINE
    local function call(set, name, ...)
        LINE = debug.getinfo(1, "l").currentline + 1
        local results = { set[name](set, ...) }
        return results
    end

    local function got(value)
        return type(value) == "number" and tostring(value) or type(value)
    end

    local function assert_raises(position, expected, value, set, name, ...)
        local done, problem = pcall(call, set, name, ...)
        assert.is_false(done)
        assert.are.equal(("spec/pollset_spec.lua:%d: bad argument #%d to '%s' "
            .. "(%s expected, got %s)")
            :format(LINE, position, name, expected, got(value)),
            (problem:gsub("^%./", "")))
    end

    local BAD = { true, false, {}, print, "", "x", 1.5, 0 / 0, math.huge,
        -math.huge, 2^31, 2^32 + 1, 1e300, 5LL, ffi.cast("void *", 0) }

    local function each(check)
        check(nil)
        for _, value in ipairs(BAD) do check(value) end
    end

    it("raise for what isn't a descriptor", function()
        local set = set_of(0)
        each(function(fd)
            assert_raises(1, "descriptor", fd, set, "add", fd, IN)
            assert_raises(2, "descriptor", fd, set, "set", 1, fd, IN)
        end)
        assert.are.same({ 0, IN, 0 }, { set:get(1) })
        assert.has_error(function() set:get(2) end)
    end)

    it("raise for what isn't events", function()
        local set = set_of(0)
        local expected = "integer from 0 to 65535"
        local function check(events)
            assert_raises(2, expected, events, set, "add", 0, events)
            assert_raises(3, expected, events, set, "set", 1, 0, events)
        end
        each(check)
        check(-1)
        check(65536)
        assert.are.same({ 0, IN, 0 }, { set:get(1) })
        assert.has_error(function() set:get(2) end)
    end)

    it("raise for what isn't a place in it", function()
        local set = set_of(0, 1)
        local function check(i)
            assert_raises(1, "integer from 1 to 2", i, set, "get", i)
            assert_raises(1, "integer from 1 to 2", i, set, "set", i, 0, IN)
        end
        each(check)
        for _, i in ipairs({ 0, -1, 3, 16, 17, 2^31 - 1, -2^31 }) do
            check(i)
        end
        local empty = pollset.new()
        assert_raises(1, "integer from 1 to 0", 1, empty, "get", 1)
        assert_raises(1, "integer from 1 to 0", 0, empty, "set", 0, 0, IN)
    end)

    it("raise for what isn't a timeout", function()
        local set = pollset.new()
        for _, timeout in ipairs({ true, false, {}, print, "", "soon", 0 / 0,
                "nan", 5LL }) do
            assert_raises(1, "timeout in milliseconds", timeout, set, "wait",
                timeout)
        end
    end)

    it("raise also when what ready() gives is called by hand", function()
        local set = set_of(0, 1)
        local step = set:ready()
        for _, i in ipairs({ -1, -2^31, -1e9, 1.5, 0 / 0, 2^31, "x" }) do
            local done, problem = pcall(step, set, i)
            assert.is_false(done)
            assert.matches("bad argument #2 to 'ready'", problem)
        end
        for _, i in ipairs({ 2, 3, 1e9, 2^31 - 1 }) do
            assert.is_nil(step(set, i))
        end
    end)
end)

-- Both keep one to work with.
describe("a select over a pollset", function()
    before_each(support.setup)
    after_each(support.teardown)

    local luasocket = require "minisock.luasocket"
    local lsocket = require "minisock.lsocket"

    local function object(fd, fields)
        fields = fields or {}
        fields.getfd = fields.getfd or function() return fd end
        return fields
    end

    it("can be called by the methods that it calls", function()
        local a, b = support.pair()
        ms.write(a, "x")
        local inner = object(b)
        local function again(answer)
            return function()
                for _ = 1, 2 do
                    local readable, writable =
                        luasocket.select({ inner, inner }, { inner }, 0)
                    assert.are.same({ inner, [inner] = 1 }, readable)
                    assert.are.same({ inner, [inner] = 1 }, writable)
                end
                return answer
            end
        end
        local outer = object(a, { getfd = again(a), dirty = again(false) })
        local second = object(a)
        for _ = 1, 3 do
            local readable, writable, problem =
                luasocket.select({ outer, inner }, { outer, second }, 5)
            assert.are.same({ inner, [inner] = 1 }, readable)
            assert.are.same({ outer, second, [outer] = 1, [second] = 2 },
                writable)
            assert.is_nil(problem)
        end
    end)

    it("isn't harmed by what a method raises", function()
        local a, b = support.pair()
        local sock = object(b)
        local raising = object(a, { getfd = function() error("no", 0) end })
        for _ = 1, 3 do
            assert.is_false(pcall(luasocket.select, { sock, raising }, nil, 0))
            assert.is_false(pcall(luasocket.select, { sock, 5 }, nil, 0))
            assert.is_false(pcall(lsocket.select, { 5 }, 0))
            assert.are.same({ {}, {}, "timeout" },
                { luasocket.select({ sock }, {}, 0) })
            local _, writable = luasocket.select(nil, { sock })
            assert.are.same({ sock, [sock] = 1 }, writable)
        end
    end)

    it("doesn't take an earlier call's places for its own", function()
        local socks = {}
        for i = 1, 40 do socks[i] = object((support.pair())) end
        for _ = 1, 500 do
            local writers, expected = {}, {}
            for i = 1, math.random(0, 20) do
                local sock = socks[math.random(#socks)]
                writers[i] = sock
                if not expected[sock] then
                    expected[#expected + 1] = sock
                    expected[sock] = #expected
                end
            end
            local readable, writable =
                luasocket.select(writers, writers, 0)
            assert.are.same({}, readable)
            assert.are.same(expected, writable)
        end
    end)

    it("doesn't hold what it was asked for", function()
        local weak = setmetatable({}, { __mode = "v" })
        do
            local fd = support.pair()
            local sock, bound = object(fd), lsocket.bind("127.0.0.1", 0)
            weak[1], weak[2] = sock, bound
            luasocket.select({ sock }, { sock }, 0)
            lsocket.select({ bound }, { bound }, 0)
        end
        collectgarbage()
        collectgarbage()
        assert.are.same({}, weak)
    end)

    it("fails again and again with more than can be open", function()
        if support.valgrind then return pending("valgrind has its own") end
        local output = support.run([[
            local ffi = require "ffi"
            local ms = require "minisock"
            local select = require("minisock.luasocket").select
            ffi.cdef "int setrlimit(int, const unsigned long *);"
            local socks = {}
            for i = 1, 21 do
                local fd = ms.udpsocket()
                socks[i] = { getfd = function() return fd end }
            end
            ffi.C.setrlimit(7, ffi.new("unsigned long[2]", 20, 20))
            for _ = 1, 2 do
                local readable, writable, problem = select(socks, socks, 0)
                print(#readable, #writable, problem)
            end
            socks[21] = nil
            print(#select(socks, nil, 0), #select(nil, socks, 0))
            print(#({ select(nil, socks, 0) })[2])
        ]])
        assert.are.equal(("0\t0\tInvalid argument\n"):rep(2)
            .. "0\t0\n20\n", output)
    end)
end)
