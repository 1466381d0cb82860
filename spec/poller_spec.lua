local bit = require "bit"
local ffi = require "ffi"
local ms = require "minisock"
local poller = require "minisock.poller"
local support = require "spec.support"

local keep = support.keep
local IN, OUT, ET = ms.EPOLLIN, ms.EPOLLOUT, ms.EPOLLET

local pollers

local function new(room)
    local made = assert(poller.new(room))
    pollers[#pollers + 1] = made
    return made
end

local function before()
    support.setup()
    pollers = {}
end

local function after()
    for _, made in ipairs(pollers) do made:close() end
    pollers = nil
    support.teardown()
end

local function has(events, wanted)
    return bit.band(events, wanted) == wanted
end

-- What is ready, as a table by value.
local function found(p, timeout)
    local count = assert(p:wait(timeout or 2000))
    local by_value = {}
    for i = 1, count do
        local value, events = p:ready(i)
        if value ~= nil then by_value[value] = events end
    end
    return by_value, count
end

local function assert_fails(code, call, result, message, got)
    assert.is_nil(result)
    assert.are.equal(code, got)
    assert.matches("^" .. call .. " error: " .. code .. " ", message)
end

describe("a poller", function()
    before_each(before)
    after_each(after)

    it("tells nothing when it watches nothing", function()
        assert.are.equal(0, new():wait(0))
    end)

    it("tells of a descriptor once there is something to read", function()
        local p = new()
        local a, b = support.pair()
        assert.is_true(p:add(b, IN))
        assert.are.equal(0, p:wait(0))
        ms.write(a, "x")
        assert.are.equal(1, p:wait(2000))
        local value, events, fd = p:ready(1)
        assert.are.equal(b, value)
        assert.are.equal(IN, events)
        assert.are.equal(b, fd)
    end)

    it("tells of one that can be written to", function()
        local p = new()
        local a = support.pair()
        p:add(a, OUT)
        assert.are.same({ [a] = OUT }, found(p))
        support.fill(a)
        assert.are.equal(0, p:wait(0))
    end)

    it("tells of both together", function()
        local p = new()
        local a, b = support.pair()
        ms.write(b, "x")
        p:add(a, IN + OUT)
        assert.are.same({ [a] = IN + OUT }, found(p))
    end)

    it("gives back any value, and the very same", function()
        local p = new()
        local values = { {}, print, "text", 0, false, coroutine.create(print),
            ffi.new("int[1]"), ffi.cast("void *", 0) }
        for i, value in ipairs(values) do
            local a, b = support.pair()
            ms.write(a, "x")
            assert.is_true(p:add(b, IN, value), i)
            assert.are.equal(1, p:wait(2000))
            local got, _, fd = p:ready(1)
            assert.are.equal(type(value), type(got))
            assert.is_true(rawequal(value, got) or value == got, i)
            assert.are.equal(b, fd)
            p:remove(b)
        end
    end)

    it("gives NaN for NaN", function()
        local p = new()
        local a = support.pair()
        p:add(a, OUT, 0 / 0)
        assert.are.equal(1, p:wait(2000))
        local value = p:ready(1)
        assert.is_true(value ~= value)
    end)

    it("keeps the value when other events are wanted", function()
        local p = new()
        local a = support.pair()
        local value = {}
        p:add(a, IN, value)
        assert.are.equal(0, p:wait(0))
        assert.is_true(p:modify(a, OUT))
        assert.are.equal(OUT, found(p)[value])
    end)

    it("takes another value with other events", function()
        local p = new()
        local a = support.pair()
        p:add(a, OUT, "first")
        assert.is_true(p:modify(a, OUT, "second"))
        assert.are.same({ second = OUT }, found(p))
        p:modify(a, OUT, false)
        assert.are.equal(1, p:wait(2000))
        assert.is_false((p:ready(1)))
    end)

    it("tells no more of what was removed", function()
        local p = new()
        local a = support.pair()
        p:add(a, OUT)
        assert.is_true(p:remove(a))
        assert.are.equal(0, p:wait(0))
        assert.is_true(p:add(a, OUT, "again"))
        assert.are.same({ again = OUT }, found(p))
    end)

    it("tells of an end by EPOLLRDHUP, and of both by EPOLLHUP", function()
        local p = new()
        local client, served = support.connection()
        p:add(served, IN + ms.EPOLLRDHUP)
        ms.shutdown(client, ms.SHUT_WR)
        local events = found(p)[served]
        assert.is_true(has(events, IN + ms.EPOLLRDHUP))
        assert.is_false(has(events, ms.EPOLLHUP))
        ms.shutdown(served, ms.SHUT_WR)
        assert.is_true(has(found(p)[served], ms.EPOLLHUP))
    end)

    it("tells EPOLLERR and EPOLLHUP unasked", function()
        local p = new()
        local reader, writer = support.pipe()
        p:add(writer, 0, "writer")
        p:add(reader, 0, "reader")
        assert.are.equal(0, p:wait(0))
        ms.close(reader)
        assert.is_true(has(found(p).writer, ms.EPOLLERR))
        local second, closing = support.pipe()
        p:add(second, 0, "second")
        ms.close(closing)
        assert.is_true(has(found(p).second, ms.EPOLLHUP))
    end)

    it("tells of a level as long as it lasts", function()
        local p = new()
        local a, b = support.pair()
        p:add(b, IN)
        ms.write(a, "xy")
        for _ = 1, 3 do assert.are.equal(1, p:wait(0)) end
        ms.read(b, 0, 1)
        assert.are.equal(1, p:wait(0))
        ms.read(b, 0)
        assert.are.equal(0, p:wait(0))
    end)

    for name, events in pairs({
        ["a sum"] = IN + ET,
        ["bit.bor"] = bit.bor(IN, ET),
    }) do
        it("tells of an edge once, with EPOLLET by " .. name, function()
            local p = new()
            local a, b = support.pair()
            assert.is_true(p:add(b, events))
            ms.write(a, "xy")
            assert.are.same({ [b] = IN }, found(p))
            assert.are.equal(0, p:wait(0))
            ms.read(b, 0, 1)
            assert.are.equal(0, p:wait(0))
            ms.write(a, "z")
            assert.are.equal(1, p:wait(2000))
            -- modify looks anew.
            assert.is_true(p:modify(b, events))
            assert.are.equal(1, p:wait(2000))
        end)
    end

    it("tells once with EPOLLONESHOT, until it is asked again", function()
        local p = new()
        local a, b = support.pair()
        local value = {}
        p:add(b, IN + ms.EPOLLONESHOT, value)
        ms.write(a, "x")
        assert.are.equal(IN, found(p)[value])
        ms.write(a, "y")
        assert.are.equal(0, p:wait(0))
        p:modify(b, IN + ms.EPOLLONESHOT)
        assert.are.equal(IN, found(p)[value])
        assert.are.equal(0, p:wait(0))
    end)

    it("watches one descriptor for two pollers", function()
        local p, q = new(), new()
        local a = support.pair()
        p:add(a, OUT, "p")
        q:add(a, OUT, "q")
        assert.are.same({ p = OUT }, found(p))
        assert.are.same({ q = OUT }, found(q))
        p:remove(a)
        assert.are.same({ q = OUT }, found(q))
    end)

    it("is a descriptor itself, which another can watch", function()
        local inner, outer = new(), new()
        local a, b = support.pair()
        inner:add(b, IN, "b")
        assert.is_true(outer:add(inner:getfd(), IN, inner))
        assert.are.equal(0, outer:wait(0))
        ms.write(a, "x")
        assert.are.equal(IN, found(outer)[inner])
        assert.are.same({ b = IN }, found(inner))
        local ready = ms.poll(ms.pollfd(inner:getfd(), ms.POLLIN), 0)
        assert.are.equal(ms.POLLIN, (select(3, ms.unpollfd(ready))))
        ms.read(b, 0)
        assert.are.equal(0, outer:wait(0))
    end)

    it("can't watch itself", function()
        local p = new()
        assert_fails(ms.EINVAL, "add", p:add(p:getfd(), IN))
    end)

    it("isn't inherited by other programs", function()
        assert.is_true(has(support.descriptor_flags(new():getfd()),
            ms.SOCK_CLOEXEC))
    end)

    it("watches 1000 descriptors", function()
        local p = new(1000)
        local pairs_of = {}
        for i = 1, 500 do
            pairs_of[i] = { support.pair() }
            assert.is_true(p:add(pairs_of[i][1], IN, i))
            assert.is_true(p:add(pairs_of[i][2], IN, -i))
        end
        assert.are.equal(0, p:wait(0))
        ms.write(pairs_of[377][1], "x")
        assert.are.same({ [-377] = IN }, found(p))
        for _, both in ipairs(pairs_of) do
            ms.write(both[1], "x")
            ms.write(both[2], "x")
        end
        local by_value, count = found(p)
        assert.are.equal(1000, count)
        for i = 1, 500 do
            assert.are.equal(IN, by_value[i])
            assert.are.equal(IN, by_value[-i])
        end
    end)

    it("tells in turn of more than it has room for", function()
        local p = new(3)
        local seen, distinct = {}, 0
        local waits = 0
        for _ = 1, 10 do p:add((support.pair()), OUT) end
        while distinct < 10 and waits < 100 do
            local count = p:wait(2000)
            assert.are.equal(3, count)
            for i = 1, count do
                local value = p:ready(i)
                if not seen[value] then distinct = distinct + 1 end
                seen[value] = true
            end
            waits = waits + 1
        end
        assert.are.equal(10, distinct)
    end)

    it("has room for one or for 65536", function()
        for _, room in ipairs({ 1, 65536, "7" }) do
            local p = new(room)
            for _ = 1, 2 do p:add((support.pair()), OUT) end
            assert.are.equal(math.min(2, tonumber(room)), p:wait(0))
        end
    end)
end)

describe("a poller's failures", function()
    before_each(before)
    after_each(after)

    it("are EEXIST for what is watched, which stays as it is", function()
        local p = new()
        local a = support.pair()
        p:add(a, OUT, "first")
        assert_fails(ms.EEXIST, "add", p:add(a, IN, "second"))
        assert.are.same({ first = OUT }, found(p))
    end)

    it("are ENOENT for what isn't watched", function()
        local p = new()
        local a = support.pair()
        assert_fails(ms.ENOENT, "modify", p:modify(a, IN))
        assert_fails(ms.ENOENT, "remove", p:remove(a))
        p:add(a, IN)
        p:remove(a)
        assert_fails(ms.ENOENT, "modify", p:modify(a, IN, "value"))
        assert_fails(ms.ENOENT, "remove", p:remove(a))
        p:add(a, OUT)
        assert.are.same({ [a] = OUT }, found(p))
    end)

    it("are EBADF for what isn't open", function()
        local p = new()
        for _, fd in ipairs({ -1, 2^31 - 1, -2^31 }) do
            assert_fails(ms.EBADF, "add", p:add(fd, IN))
            assert_fails(ms.EBADF, "modify", p:modify(fd, IN))
            assert_fails(ms.EBADF, "remove", p:remove(fd))
        end
    end)

    it("are EPERM for a regular file", function()
        local name = support.spit(support.tmpname(), "text")
        local file = assert(io.open(name))
        ffi.cdef "int minisock_spec_fileno(void *) __asm__(\"fileno\");"
        local fd = ffi.C.minisock_spec_fileno(file)
        local results = { new():add(fd, IN) }
        file:close()
        assert_fails(ms.EPERM, "add", unpack(results, 1, 3))
    end)

    it("are EINVAL for a descriptor that is no epoll's", function()
        local p = new()
        local a, b = support.pair()
        assert.is_true(p:add(a, OUT))
        support.dup2(b, p:getfd())
        assert_fails(ms.EINVAL, "wait", p:wait(0))
        assert_fails(ms.EINVAL, "add", p:add(a, IN))
    end)

    it("are EBADF of everything once it is closed", function()
        local p = new()
        local a = support.pair()
        p:add(a, OUT)
        assert.are.equal(1, p:wait(2000))
        assert.is_true(p:close())
        assert.are.equal(-1, p:getfd())
        assert_fails(ms.EBADF, "add", p:add(a, OUT))
        assert_fails(ms.EBADF, "modify", p:modify(a, OUT))
        assert_fails(ms.EBADF, "remove", p:remove(a))
        assert_fails(ms.EBADF, "wait", p:wait(0))
        assert_fails(ms.EBADF, "wait", p:wait())
        assert.has_error(function() p:ready(1) end)
        assert.is_true(p:close())
    end)

    it("are of a count of 0, so that nothing old is told", function()
        local p = new()
        local a = support.pair()
        p:add(a, OUT)
        assert.are.equal(1, p:wait(2000))
        p:modify(a, 0)
        assert.are.equal(0, p:wait(0))
        assert.has_error(function() p:ready(1) end)
    end)

    it("close nothing of what it watches", function()
        local p = new()
        local a, b = support.pair()
        p:add(a, IN)
        p:close()
        support.assert_talks(a, b)
    end)

    -- The descriptor is one of few, so that the next one has its number.
    it("are those of new when there are no descriptors left", function()
        if support.valgrind then return pending("valgrind has its own") end
        local output = support.run([[
            local ffi, ms = require "ffi", require "minisock"
            local poller = require "minisock.poller"
            ffi.cdef "int setrlimit(int, const unsigned long *);"
            ffi.C.setrlimit(7, ffi.new("unsigned long[2]", 20, 20))
            for _ = 1, 100 do assert(poller.new()) end -- garbage
            local kept = {}
            repeat
                local p, message, code = poller.new()
                kept[#kept + 1] = p
            until not p or #kept > 100
            local _, message, code = poller.new()
            print(message, code == ms.EMFILE)
        ]])
        assert.are.equal("new error: 24 Too many open files\ttrue\n", output)
    end)
end)

describe("an event that came too late", function()
    before_each(before)
    after_each(after)

    -- A poller that has found both ends of a pair, of which one is asked for.
    local function both_ready()
        local p = new()
        local a, b = support.pair()
        p:add(a, OUT, "a")
        p:add(b, OUT, "b")
        assert.are.equal(2, p:wait(2000))
        local first = p:ready(1) == "a" and 1 or 2
        return p, a, b, first
    end

    it("is nil for a descriptor that was removed", function()
        local p, a, b, i = both_ready()
        p:remove(a)
        assert.are.same({ nil, 0, a, n = 3 }, { n = 3, p:ready(i) })
        assert.are.same({ "b", OUT, b }, { p:ready(3 - i) })
    end)

    it("is nil for one that was removed and added again", function()
        local p, a, _, i = both_ready()
        p:remove(a)
        p:add(a, OUT, "new")
        assert.are.same({ nil, 0, a, n = 3 }, { n = 3, p:ready(i) })
        assert.are.equal(OUT, found(p).new)
    end)

    it("is nil for a number that another descriptor has now", function()
        local p, a, b, i = both_ready()
        p:remove(a)
        ms.close(a)
        local again, other = support.pair()
        -- The lowest number that is free is the first one's.
        assert.are.equal(a, again)
        p:add(again, OUT, "other")
        assert.is_nil((p:ready(i)))
        assert.are.same({ other = OUT, b = OUT + ms.EPOLLHUP },
            (function()
                local now = found(p)
                now.b = bit.band(now.b, OUT + ms.EPOLLHUP)
                return now
            end)())
        support.assert_talks(again, other)
        p:remove(b)
    end)

    it("is nil also when it was closed without being removed", function()
        local p, a, _, i = both_ready()
        ms.close(a)
        local again = support.pair()
        assert.are.equal(a, again)
        assert.is_true(p:add(again, OUT, "other"))
        assert.is_nil((p:ready(i)))
        assert.are.equal(OUT, found(p).other)
    end)

    it("is nil for one that was given another value", function()
        local p, a, _, i = both_ready()
        p:modify(a, OUT, "new")
        assert.is_nil((p:ready(i)))
        assert.are.equal(OUT, found(p).new)
    end)

    it("stays what it was when adding again failed", function()
        local p, a, _, i = both_ready()
        assert.is_nil((p:add(a, IN, "other")))
        assert.are.same({ "a", OUT, a }, { p:ready(i) })
    end)

    it("is nil after the removal of one that is closed", function()
        local p, a, _, i = both_ready()
        ms.close(a)
        assert_fails(ms.EBADF, "remove", p:remove(a))
        assert.is_nil((p:ready(i)))
    end)

    it("isn't taken for another after 2^32 changes", function()
        local p, a, _, i = both_ready()
        p.serial = 2^31 - 1
        p:remove(a)
        p:add(a, OUT, "wrapped")
        assert.is_nil((p:ready(i)))
        assert.are.equal(OUT, found(p).wrapped)
        assert.is_true(p:modify(a, OUT, "next"))
        assert.are.equal(OUT, found(p).next)
    end)

    it("is never told after thousands of changes at random", function()
        local p = new(64)
        local fds, values = {}, {}
        for i = 1, 32, 2 do fds[i], fds[i + 1] = support.pair() end
        local next_value = 0
        for _ = 1, 3000 do
            local fd = fds[math.random(#fds)]
            next_value = next_value + 1
            local act = math.random(4)
            if act == 1 and p:add(fd, OUT, next_value)
                    or act == 2 and p:modify(fd, OUT, next_value) then
                values[fd] = next_value
            elseif act == 3 and p:remove(fd) then
                values[fd] = nil
            elseif act == 4 then
                assert(p:wait(0))
            end
            for i = 1, p.count do
                local value, events, of = p:ready(i)
                assert.is_true(value == nil and events == 0
                    or value == values[of] and events == OUT)
            end
        end
    end)
end)

describe("a poller's timeout", function()
    before_each(before)
    after_each(after)

    it("is kept, fractions too", function()
        local p = new()
        p:add((support.pair()), IN)
        for _, timeout in ipairs({ 0.2, 1, 20.75, "30", 60 }) do
            local took, count = support.timed(p.wait, p, timeout)
            assert.are.equal(0, count)
            assert.is_true(took >= tonumber(timeout), took)
        end
    end)

    it("of 0 is one look", function()
        local p = new()
        local a, b = support.pair()
        p:add(b, IN)
        assert.are.equal(0, p:wait(0))
        ms.write(a, "x")
        assert.are.equal(1, p:wait(0))
    end)

    it("of more than an int can hold isn't over at once", function()
        for _, timeout in ipairs({ "2^31", "2^40", "1e300", "math.huge",
                "-1", "nil" }) do
            local output, status = support.run(([[
                local ffi, ms = require "ffi", require "minisock"
                local p = require("minisock.poller").new()
                ffi.cdef "int fork(void); void _exit(int);"
                local a, b = ms.socketpair()
                p:add(b, ms.EPOLLIN)
                if ffi.C.fork() == 0 then
                    ms.msleep(50)
                    ms.write(a, "x")
                    ffi.C._exit(0)
                end
                io.write(p:wait(%s))
            ]]):format(timeout))
            assert.are.equal(0, status)
            assert.are.equal("1", output)
        end
    end)

    local function under_signals(...)
        return support.wait_under_signals("poller", "EPOLLIN", ...)
    end

    it("is neither shortened nor prolonged by signals", function()
        assert.are.equal("0 in time", (under_signals(5000, 300, 300)))
    end)

    it("for ever outlasts signals", function()
        assert.are.equal("1 in time",
            (under_signals(300, "math.huge", 250)))
        assert.are.equal("1 in time", (under_signals(300, "nil", 250)))
    end)

    it("of 0 is one look under signals too", function()
        assert.are.equal("0 in time", (under_signals(5000, 0, 0)))
    end)
end)

describe("a poller's wrong arguments", function()
    before_each(before)
    after_each(after)

    local LINE
    local function call(p, name, ...)
        LINE = debug.getinfo(1, "l").currentline + 1
        local results = { p[name](p, ...) }
        return results
    end

    local function assert_raises(position, expected, p, name, ...)
        local done, problem = pcall(call, p, name, ...)
        assert.is_false(done)
        assert.are.equal(("spec/poller_spec.lua:%d: bad argument #%d to '%s' "
            .. "(%s)"):format(LINE, position, name, expected),
            (problem:gsub("^%./", "")))
    end

    local NOT_INTEGERS = { true, false, {}, print, "", "x", 1.5, 0 / 0,
        math.huge, 2^31, -2^31 - 1, 5LL, ffi.cast("void *", 0) }

    local function got(value)
        return type(value) == "number" and tostring(value) or type(value)
    end

    it("raise for what isn't a descriptor", function()
        local p = new()
        for _, name in ipairs({ "add", "modify", "remove" }) do
            assert_raises(1, "descriptor expected, got nil", p, name, nil, IN)
            for _, fd in ipairs(NOT_INTEGERS) do
                assert_raises(1, "descriptor expected, got " .. got(fd), p,
                    name, fd, IN)
            end
        end
    end)

    it("raise for what isn't events", function()
        local p = new()
        local a = support.pair()
        p:add(a, OUT, "value")
        for _, name in ipairs({ "add", "modify" }) do
            local expected = "events, such as EPOLLIN expected, got "
            assert_raises(2, expected .. "nil", p, name, a, nil)
            for _, events in ipairs({ true, false, {}, print, "", "x", 1.5,
                    0 / 0, math.huge, -math.huge, 2^32, -2^31 - 1, 5LL }) do
                assert_raises(2, expected .. got(events), p, name, a, events)
            end
        end
        assert.are.same({ value = OUT }, found(p))
    end)

    it("raise for what isn't a timeout", function()
        local p = new()
        for _, timeout in ipairs({ true, false, {}, print, "", "soon", 0 / 0,
                "nan", 5LL }) do
            assert_raises(1, "timeout in milliseconds expected, got "
                .. got(timeout), p, "wait", timeout)
        end
    end)

    it("raise for what the last wait didn't find", function()
        local p = new()
        p:add((support.pair()), OUT)
        assert.has_error(function() p:ready(1) end)
        assert.are.equal(1, p:wait(2000))
        for _, i in ipairs({ 0, -1, 2, 1.5, 0 / 0, 257, 2^31, 2^32 + 1 }) do
            assert_raises(1, "integer from 1 to 1 expected, got " .. i, p,
                "ready", i)
        end
        for _, i in ipairs({ true, {}, "x", 1LL }) do
            assert_raises(1, "integer from 1 to 1 expected, got " .. type(i),
                p, "ready", i)
        end
        assert_raises(1, "integer from 1 to 1 expected, got nil", p, "ready")
        assert.are.equal(OUT, select(2, p:ready("1")))
    end)

    it("raise for room that can't be", function()
        for _, room in ipairs({ 0, -1, 65537, 1.5, 0 / 0, "x", true, {},
                2^32 + 1, 5LL }) do
            local line = debug.getinfo(1, "l").currentline + 2
            local done, problem = pcall(function()
                local made = poller.new(room)
                return made
            end)
            assert.is_false(done)
            assert.matches("poller_spec%.lua:" .. line .. ": bad argument #1 "
                .. "to 'new' %(integer from 1 to 65536 expected, got ",
                problem)
        end
    end)
end)

describe("a poller's memory", function()
    before_each(before)
    after_each(after)

    local function collect()
        collectgarbage()
        collectgarbage()
    end

    it("doesn't hold a value after remove", function()
        local p = new()
        local a = support.pair()
        local weak = setmetatable({}, { __mode = "v" })
        weak[1] = { "value" }
        p:add(a, OUT, weak[1])
        collect()
        assert.is_table(weak[1])
        assert.are.equal(1, p:wait(2000))
        p:remove(a)
        collect()
        assert.is_nil(weak[1])
    end)

    it("doesn't hold a value that another has replaced", function()
        local p = new()
        local a = support.pair()
        local weak = setmetatable({}, { __mode = "v" })
        weak[1], weak[2] = { "first" }, { "second" }
        p:add(a, OUT, weak[1])
        p:modify(a, OUT, weak[2])
        collect()
        assert.is_nil(weak[1])
        assert.is_table(weak[2])
        -- Removed though the system knows it no more.
        ms.close(a)
        p:remove(a)
        collect()
        assert.is_nil(weak[2])
    end)

    it("gives its descriptor up when nothing refers to it", function()
        local before_it = support.count_descriptors()
        local a = support.pair()
        for _ = 1, 50 do
            local p = assert(poller.new(4))
            -- A value that refers to the poller must not keep it.
            p:add(a, OUT, { p })
        end
        collect()
        assert.are.equal(before_it + 2, support.count_descriptors())
    end)

    it("doesn't close another's descriptor after close", function()
        do
            local p = assert(poller.new())
            p:close()
        end
        local a, b = support.pair()
        collect()
        support.assert_talks(a, b)
    end)

    -- In a process of its own: what busted and a hook allocate isn't counted.
    local GARBAGE = [[
        local ms = require "minisock"
        local p = require("minisock.poller").new()
        for i = 1, 8 do
            local a, b = ms.socketpair()
            p:add(a, ms.EPOLLOUT, { i })
        end
        local fd = ms.socketpair()
        local function round()
            local count = p:wait(100)
            local sum = 0
            for i = 1, count do
                local value, events = p:ready(i)
                if value and events ~= 0 then sum = sum + value[1] end
            end
            p:add(fd, ms.EPOLLIN)
            p:modify(fd, ms.EPOLLIN, p)
            p:remove(fd)
            return sum
        end
        for _ = 1, 1000 do assert(round() == 36) end
        collectgarbage()
        collectgarbage "stop"
        local before = collectgarbage "count"
        for _ = 1, 10000 do round() end
        io.write(collectgarbage "count" - before)
    ]]

    it("isn't needed for a wait, nor for what it finds", function()
        local output, status = support.run(GARBAGE)
        assert.are.equal(0, status, output)
        -- A few traces may still be made: kilobytes, not bytes per round.
        assert.is_true(tonumber(output) < 16, output)
    end)
end)

describe("a poller in use", function()
    before_each(before)
    after_each(after)

    it("echoes for many clients, who come and go", function()
        local server, addr = support.listener()
        local p = new(16)
        p:add(server, IN, "server")
        local clients, open = {}, 0
        for i = 1, 100 do
            clients[i] = keep(ms.connect(addr))
            ms.write(clients[i], "hello " .. i)
            ms.shutdown(clients[i], ms.SHUT_WR)
        end
        local served, rounds = 0, 0
        while served < 100 and rounds < 10000 do
            rounds = rounds + 1
            for i = 1, assert(p:wait(2000)) do
                local value = p:ready(i)
                if value == "server" then
                    local fd = assert(ms.accept(server, 0))
                    open = open + 1
                    assert.is_true(p:add(fd, IN, { fd = fd }))
                elseif value then
                    local data = assert(ms.read(value.fd, 0))
                    if data == "" then
                        p:remove(value.fd)
                        ms.close(value.fd)
                        served = served + 1
                    else
                        ms.sendall(value.fd, data, 1000)
                    end
                end
            end
        end
        assert.are.equal(100, open)
        for i = 1, 100 do
            assert.are.equal("hello " .. i, ms.read(clients[i], 2000))
            assert.are.equal("", ms.read(clients[i], 2000))
        end
    end)
end)
