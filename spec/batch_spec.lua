local ffi = require "ffi"
local ms = require "minisock"
local batch = require "minisock.batch"
local support = require "spec.support"

local keep = support.keep

local function unique_name()
    return ms.unixaddr("\0minisock batch" .. math.random() .. os.time())
end

local ANY = {
    inet = function() return ms.inetaddr("127.0.0.1", 0) end,
    inet6 = function() return ms.inet6addr("::1", 0) end,
    unix = unique_name,
}

local function bound(addr)
    local fd = keep(ms.udpsocket(addr or ANY.inet()))
    return fd, ms.getsockname(fd)
end

-- A receiver that has room for many small datagrams, its address, a sender.
local function receiver_and_sender()
    local receiver, addr = bound()
    ms.setsockopt(receiver, "SO_RCVBUF", 4 * 2^20)
    return receiver, addr, (bound())
end

local function numbered(count)
    local list = {}
    for i = 1, count do list[i] = "message " .. i end
    return list
end

-- Receives until there are as many as were expected, or no more come.
local function received(fd, count, into)
    into = into or batch.new(1024)
    local list, from = {}, {}
    while #list < count do
        local n = ms.recvmany(fd, into, 2000)
        if not n then break end
        for i = 1, n do
            local data, addr, cut = into:get(i)
            assert.is_false(cut)
            list[#list + 1], from[#from + 1] = data, addr
        end
    end
    return list, from
end

local function assert_nothing(fd)
    assert.are.equal("recvmany timeout",
        select(2, ms.recvmany(fd, batch.new(1), 0)))
end

local function assert_fails(code, call, result, message, got)
    assert.is_nil(result)
    assert.are.equal(code, got)
    assert.matches("^" .. call .. " error: " .. code .. " ", message)
end

for family, any in pairs(ANY) do
    describe("sendmany and recvmany by " .. family, function()
        before_each(support.setup)
        after_each(support.teardown)

        it("exchange datagrams with one address", function()
            local a, a_addr = bound(any())
            local b, b_addr = bound(any())
            assert.are.equal(3, ms.sendmany(a, { "one", "t\0o", "" }, b_addr))
            local list, from = received(b, 3)
            assert.are.same({ "one", "t\0o", "" }, list)
            assert.are.same({ a_addr, a_addr, a_addr }, from)
            assert.are.equal(2, ms.sendmany(b, { "x", "y" }, from[1]))
            assert.are.same({ "x", "y" }, (received(a, 2)))
            assert_nothing(a)
            assert_nothing(b)
        end)

        it("exchange them with an address each", function()
            local a, a_addr = bound(any())
            local ends, addrs = {}, {}
            for i = 1, 3 do ends[i], addrs[i] = bound(any()) end
            assert.are.equal(4, ms.sendmany(a, { "1", "2", "3", "1 again" },
                { addrs[1], addrs[2], addrs[3], addrs[1] }))
            assert.are.same({ "1", "1 again" }, (received(ends[1], 2)))
            assert.are.same({ "2" }, (received(ends[2], 1)))
            local list, from = received(ends[3], 1)
            assert.are.same({ "3" }, list)
            assert.are.same({ a_addr }, from)
        end)

        it("exchange them between connected sockets", function()
            local a, a_addr = bound(any())
            local b, b_addr = bound(any())
            assert.is_true(ms.connectfd(a, b_addr))
            assert.is_true(ms.connectfd(b, a_addr))
            assert.are.equal(2, ms.sendmany(a, { "one", "two" }))
            local list, from = received(b, 2)
            assert.are.same({ "one", "two" }, list)
            assert.are.same({ a_addr, a_addr }, from)
            assert.are.equal(1, ms.sendmany(b, { "back" }, nil))
            assert.are.same({ "back" }, (received(a, 1)))
        end)

        it("tell of senders that take turns", function()
            local server, server_addr = bound(any())
            local senders, addrs, expected = {}, {}, {}
            for i = 1, 3 do senders[i], addrs[i] = bound(any()) end
            local into = batch.new(16)
            for round = 1, 3 do
                for turn, i in ipairs({ 1, 2, 1, 3, 3, 1 }) do
                    ms.sendmany(senders[i], { "x" }, server_addr)
                    expected[turn] = addrs[i]
                end
                local _, from = received(server, 6, into)
                assert.are.same(expected, from, round)
            end
        end)
    end)
end

describe("sendmany", function()
    before_each(support.setup)
    after_each(support.teardown)

    for _, count in ipairs({ 1, 2, 1023, 1024, 1025, 2048, 3000 }) do
        it("sends a list of " .. count, function()
            local receiver, addr, sender = receiver_and_sender()
            -- Each takes the size of a buffer of its own.
            assert(ms.getsockopt(receiver, "SO_RCVBUF") / 1024 > count,
                "net.core.rmem_max is too small")
            local list = numbered(count)
            assert.are.equal(count, ms.sendmany(sender, list, addr))
            assert.are.same(list, (received(receiver, count)))
            assert_nothing(receiver)
        end)
    end

    it("sends a list of 2500 with an address each", function()
        local _, _, sender = receiver_and_sender()
        local ends, addrs, to, expected = {}, {}, {}, { {}, {}, {} }
        for i = 1, 3 do
            ends[i], addrs[i] = bound()
            ms.setsockopt(ends[i], "SO_RCVBUF", 4 * 2^20)
        end
        local list = numbered(2500)
        for i, message in ipairs(list) do
            local which = math.random(3)
            to[i] = addrs[which]
            table.insert(expected[which], message)
        end
        assert.are.equal(2500, ms.sendmany(sender, list, to))
        for i = 1, 3 do
            assert.are.same(expected[i],
                (received(ends[i], #expected[i])), i)
            assert_nothing(ends[i])
        end
    end)

    it("sends nothing of an empty list", function()
        local receiver, addr, sender = receiver_and_sender()
        assert.are.equal(0, ms.sendmany(sender, {}, addr))
        assert.are.equal(0, ms.sendmany(sender, {}, {}))
        assert.are.equal(0, ms.sendmany(sender, {}))
        assert_nothing(receiver)
    end)

    it("sends empty datagrams, and the largest", function()
        local receiver, addr, sender = receiver_and_sender()
        local list = { "", ("x"):rep(65507), "" }
        assert.are.equal(3, ms.sendmany(sender, list, addr))
        assert.are.same(list, (received(receiver, 3, batch.new(4, 65535))))
    end)

    it("fails when the first is too large", function()
        local receiver, addr, sender = receiver_and_sender()
        local large = ("x"):rep(65508)
        assert_fails(ms.EMSGSIZE, "sendmany",
            ms.sendmany(sender, { large, "x" }, addr))
        assert_fails(ms.EMSGSIZE, "sendmany",
            ms.sendmany(sender, { large }, addr))
        assert_nothing(receiver)
    end)

    it("tells how many went before one that is too large", function()
        local receiver, addr, sender = receiver_and_sender()
        local large = ("x"):rep(65508)
        assert.are.equal(2,
            ms.sendmany(sender, { "1", "2", large, "3" }, addr))
        assert.are.same({ "1", "2" }, (received(receiver, 2)))
        for _, place in ipairs({ 1024, 1025, 1026, 2049 }) do
            local list = numbered(2100)
            list[place] = large
            assert.are.equal(place - 1, ms.sendmany(sender, list, addr))
            assert.are.equal(place - 1, #received(receiver, place - 1))
        end
        assert_nothing(receiver)
    end)

    it("tells how many there was room for, without waiting", function()
        local a, b = support.pair(ms.SOCK_DGRAM)
        assert.is_true(ms.setnonblocking(a, true))
        local list = numbered(2000)
        local sent = assert(ms.sendmany(a, list))
        assert.is_true(sent > 0 and sent < 2000, sent)
        assert_fails(ms.EAGAIN, "sendmany", ms.sendmany(a, { "more" }))
        local got = received(b, sent)
        assert.are.same(numbered(sent), got)
        assert.are.equal(1, ms.sendmany(a, { "more" }))
    end)

    it("waits for room on a blocking socket", function()
        local output, status = support.run([[
            local ffi, ms = require "ffi", require "minisock"
            local batch = require "minisock.batch"
            ffi.cdef "int fork(void); void _exit(int);"
            local a, b = ms.socketpair(ms.SOCK_DGRAM)
            if ffi.C.fork() == 0 then
                local list = {}
                for i = 1, 3000 do list[i] = tostring(i) end
                ffi.C._exit(ms.sendmany(a, list) == 3000 and 0 or 1)
            end
            ms.msleep(50)
            local into, seen = batch.new(7), 0
            while seen < 3000 do
                local n = assert(ms.recvmany(b, into, 5000))
                for i = 1, n do
                    seen = seen + 1
                    assert(into:get(i) == tostring(seen))
                end
            end
            io.write(seen)
        ]])
        assert.are.equal(0, status, output)
        assert.are.equal("3000", output)
    end)

    it("fails for what isn't open, nor a socket, nor connected", function()
        local fd, addr = bound()
        assert_fails(ms.EDESTADDRREQ, "sendmany",
            ms.sendmany(fd, { "x" }))
        local reader, writer = support.pipe()
        assert_fails(ms.ENOTSOCK, "sendmany", ms.sendmany(writer, { "x" }))
        assert_fails(ms.ENOTSOCK, "sendmany", ms.sendmany(reader, { "x" }))
        assert_fails(ms.EBADF, "sendmany", ms.sendmany(-1, { "x" }, addr))
        assert_fails(ms.EAFNOSUPPORT, "sendmany",
            ms.sendmany(fd, { "x" }, ms.inet6addr("::1", 9)))
    end)

    it("fails for an address that isn't one", function()
        local receiver, addr, sender = receiver_and_sender()
        for _, bad in ipairs({ "", "x", "127.0.0.1", ("\2"):rep(300) }) do
            assert_fails(ms.EINVAL, "sendmany",
                ms.sendmany(sender, { "x" }, bad))
            assert_fails(ms.EINVAL, "sendmany",
                ms.sendmany(sender, { "x", "y" }, { bad, addr }))
        end
        assert_nothing(receiver)
    end)

    it("sends a stream's bytes one after the other", function()
        local a, b = support.pair()
        assert.are.equal(3, ms.sendmany(a, { "one", "two", "three" }))
        assert.are.equal("onetwothree", ms.read(b, 2000))
    end)

    it("raises no SIGPIPE", function()
        local output, status = support.run([[
            local ffi, ms = require "ffi", require "minisock"
            ffi.cdef "void *signal(int, void *);"
            ffi.C.signal(13, nil)
            local a, b = ms.socketpair()
            ms.close(b)
            print(select(3, ms.sendmany(a, { "x", "y" })) == ms.EPIPE)
        ]])
        assert.are.equal(0, status)
        assert.are.equal("true\n", output)
    end)

    it("doesn't keep what it has sent", function()
        local _, addr, sender = receiver_and_sender()
        -- Strings aren't cleared from weak tables, so memory is what tells.
        local function in_use()
            collectgarbage()
            collectgarbage()
            return collectgarbage("count")
        end
        local function send(size, to, expected, last)
            local list, addrs = { [101] = last }, {}
            for i = 1, 100 do
                list[i] = ("%d"):format(i) .. ("x"):rep(size)
                addrs[i] = to
            end
            local sent, _, code = ms.sendmany(sender, list, addrs)
            assert.are.equal(expected, sent or code)
        end
        send(60000, addr, 100)
        local least = in_use()
        send(60000, addr, 100)
        send(66000, addr, ms.EMSGSIZE)
        send(60000, "bad", ms.EINVAL)
        assert.is_false((pcall(send, 60000, addr, nil, 5)))
        local more = in_use() - least
        assert.is_true(more < 1000, more)
    end)
end)

describe("recvmany", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("takes as many as are there, up to its room", function()
        local receiver, addr, sender = receiver_and_sender()
        local into = batch.new(4)
        ms.sendmany(sender, numbered(10), addr)
        local counts, list = {}, {}
        for _ = 1, 3 do
            local n = ms.recvmany(receiver, into, 2000)
            counts[#counts + 1] = n
            for i = 1, n do list[#list + 1] = into:get(i) end
        end
        assert.are.same({ 4, 4, 2 }, counts)
        assert.are.same(numbered(10), list)
    end)

    it("doesn't wait for more than one", function()
        local receiver, addr, sender = receiver_and_sender()
        ms.sendmany(sender, { "only" }, addr)
        assert.are.equal(1, ms.recvmany(receiver, batch.new(), math.huge))
    end)

    it("times out, never early", function()
        local receiver = bound()
        local into = batch.new()
        for _, timeout in ipairs({ 0, 0.5, 20.75, "30" }) do
            local took, n, message, code =
                support.timed(ms.recvmany, receiver, into, timeout)
            assert.is_nil(n)
            assert.are.equal("recvmany timeout", message)
            assert.are.equal(ms.ETIMEDOUT, code)
            assert.is_true(took >= tonumber(timeout))
        end
        assert.is_true(ms.setnonblocking(receiver, true))
        local took, _, message =
            support.timed(ms.recvmany, receiver, into, 60)
        assert.are.equal("recvmany timeout", message)
        assert.is_true(took >= 60)
    end)

    it("waits for what comes, also for ever, and under signals", function()
        local output, status = support.run([[
            local ffi, ms = require "ffi", require "minisock"
            local into = require("minisock.batch").new()
            ffi.cdef "int fork(void); void _exit(int);"
            ffi.cdef "int abs(int); void *signal(int, void *);"
            ffi.cdef "int setitimer(int, const long *, long *);"
            ffi.C.signal(14, ffi.cast("void *", ffi.C.abs))
            local a, b = ms.socketpair(ms.SOCK_DGRAM)
            if ffi.C.fork() == 0 then
                for i = 1, 3 do
                    ms.msleep(50)
                    ms.write(a, "late")
                end
                ffi.C._exit(0)
            end
            local tick = tonumber(arg[1])
            ffi.C.setitimer(0, ffi.new("long[4]", 0, tick, 0, tick), nil)
            for _, timeout in ipairs { 60000, math.huge, -1 } do
                print(ms.recvmany(b, into, timeout), (into:get(1)))
            end
        ]], support.valgrind and 20000 or 2000) -- in us: valgrind needs many
        assert.are.equal(0, status, output)
        assert.are.equal(("1\tlate\n"):rep(3), output)
    end)

    it("fails for what isn't open, nor a socket", function()
        local into = batch.new()
        assert_fails(ms.EBADF, "recvmany", ms.recvmany(-1, into, 0))
        assert_fails(ms.ENOTSOCK, "recvmany",
            ms.recvmany((support.pipe()), into, 0))
    end)

    it("tells that nobody is at the other end", function()
        local gone, addr = bound()
        local fd = bound()
        ms.close(gone)
        ms.connectfd(fd, addr)
        ms.write(fd, "x")
        assert_fails(ms.ECONNREFUSED, "recvmany",
            ms.recvmany(fd, batch.new(), 2000))
    end)

    it("leaves nothing of an earlier call after a failure", function()
        local receiver, addr, sender = receiver_and_sender()
        local into = batch.new()
        ms.sendmany(sender, { "one", "two" }, addr)
        assert.are.equal(2, ms.recvmany(receiver, into, 2000))
        assert.is_nil((ms.recvmany(receiver, into, 0)))
        assert.are.equal(0, into.count)
        assert.has_error(function() into:get(1) end)
    end)

    it("tells what was cut", function()
        local receiver, addr, sender = receiver_and_sender()
        local into = batch.new(8, 4)
        ms.sendmany(sender, { "abc", "abcd", "abcde", "", "xyz" }, addr)
        local list, expected = {}, {
            { "abc", false, 3, false }, { "abcd", false, 4, false },
            { "abcd", true, 4, true }, { "", false, 0, false },
            { "xyz", false, 3, false },
        }
        assert.are.equal(5, ms.recvmany(receiver, into, 2000))
        for i = 1, 5 do
            local data, _, cut = into:get(i)
            local size, cut_too = into:length(i)
            list[i] = { data, cut, size, cut_too }
        end
        assert.are.same(expected, list)
    end)

    it("gives data by pointer, in memory of its own", function()
        local receiver, addr, sender = receiver_and_sender()
        local into = batch.new(8, 16)
        ms.sendmany(sender, { "one", "t\0o", "", ("4"):rep(16) }, addr)
        assert.are.equal(4, ms.recvmany(receiver, into, 2000))
        for i, expected in ipairs({ "one", "t\0o", "", ("4"):rep(16) }) do
            assert.are.equal(expected,
                ffi.string(into:pointer(i), into:length(i)))
            assert.are.equal(expected, (into:get(i)))
        end
        assert.is_true(ffi.istype("uint8_t *", into:pointer(1)))
        into:pointer(1)[0] = ("O"):byte()
        assert.are.equal("One", (into:get(1)))
    end)

    it("gives the address without the data", function()
        local receiver, addr, a = receiver_and_sender()
        local b, b_addr = bound()
        ms.sendmany(a, { "1" }, addr)
        ms.sendmany(b, { "2" }, addr)
        local into = batch.new()
        assert.are.equal(2, ms.recvmany(receiver, into, 2000))
        assert.are.equal(b_addr, into:address(2))
        assert.are.equal(ms.getsockname(a), into:address(1))
        assert.are.equal(b_addr, select(2, into:get(2)))
    end)

    -- Lengths differ, which the system is told anew for each call.
    it("takes addresses of every length in turn", function()
        local server, server_addr = bound(unique_name())
        local into = batch.new(2)
        local senders = {
            (keep(ms.udpsocket(string.char(ms.AF_UNIX)))),
            (bound(ms.unixaddr("\0" .. ("n"):rep(107)))),
            (bound(support.longest_unixaddr())),
            (bound(ms.unixaddr(support.tmpname()))),
        }
        for _ = 1, 2 do
            for _, sender in ipairs(senders) do
                for _ = 1, 2 do
                    assert.are.equal(1,
                        ms.sendmany(sender, { "x" }, server_addr))
                end
                assert.are.equal(2, ms.recvmany(server, into, 2000))
                local own = ms.getsockname(sender)
                assert.are.equal(own, into:address(1))
                assert.are.equal(own, into:address(2))
            end
        end
    end)

    it("fills two batches without mixing them", function()
        local receiver, addr, sender = receiver_and_sender()
        local one, two = batch.new(2), batch.new(3)
        ms.sendmany(sender, numbered(5), addr)
        assert.are.equal(2, ms.recvmany(receiver, one, 2000))
        assert.are.equal(3, ms.recvmany(receiver, two, 2000))
        assert.are.equal("message 1", (one:get(1)))
        assert.are.equal("message 3", (two:get(1)))
        assert.are.equal("message 2", (one:get(2)))
    end)

    it("serves another socket, and another family, with one batch", function()
        local into = batch.new(4)
        for _ = 1, 2 do
            for _, any in pairs(ANY) do
                local a, addr = bound(any())
                local b, b_addr = bound(any())
                ms.sendmany(b, { "x", "y" }, addr)
                local list, from = received(a, 2, into)
                assert.are.same({ "x", "y" }, list)
                assert.are.same({ b_addr, b_addr }, from)
            end
        end
    end)

    for name, make in pairs({
        ["TCP"] = support.connection, ["a Unix stream"] = support.pair,
    }) do
        it("reads what there is of " .. name, function()
            local a, b = make()
            ms.write(a, "abcdefg")
            local list = {}
            local into = batch.new(8, 3)
            local n = assert(ms.recvmany(b, into, 2000))
            for i = 1, n do
                local data, _, cut = into:get(i)
                assert.is_false(cut)
                list[i] = data
            end
            assert.are.equal("abcdefg", table.concat(list))
            assert.is_nil((ms.recvmany(b, into, 0)))
        end)
    end

    it("of a stream that has ended is no data, and no waiting", function()
        local a, b = support.pair()
        ms.write(a, "last")
        ms.close(a)
        local into, all = batch.new(4, 16), {}
        local n = assert(ms.recvmany(b, into, 2000))
        for i = 1, n do all[i] = into:get(i) end
        assert.are.equal("last", table.concat(all))
        n = assert(ms.recvmany(b, into, 2000))
        assert.is_true(n > 0)
        for i = 1, n do assert.are.equal("", (into:get(i))) end
    end)

    it("gives an address of a stream that is none", function()
        local a, b = support.connection()
        ms.write(a, "x")
        local into = batch.new()
        ms.recvmany(b, into, 2000)
        assert.are.equal("", into:address(1))
    end)

    -- Poll says "ready", and the call finds nothing: an alarm ends a process
    -- that would try for ever.
    for name, prepare in pairs({
        ["was shut down for reading"] = "ms.shutdown(fd, ms.SHUT_RD)",
        ["has an error queue that isn't empty"] = [[
            ms.setsockopt(fd, "IP_RECVERR", true)
            local gone = ms.udpsocket(ms.inetaddr("127.0.0.1", 0))
            local nobody = ms.getsockname(gone)
            ms.close(gone)
            ms.connectfd(fd, nobody)
            ms.write(fd, "x")
            ms.read(fd, 2000)]],
    }) do
        it("ends, without spinning, where a socket " .. name, function()
            local output, status = support.run(([[
                local ms = require "minisock"
                local into = require("minisock.batch").new()
                require("spec.process").alarm(5)
                local fd = ms.udpsocket(ms.inetaddr("127.0.0.1", 0))
                ms.connectfd(fd, ms.getsockname(fd))
                %s
                local start = os.clock()
                ms.recvmany(fd, into, 300)
                io.write(os.clock() - start < 0.15 and "quiet" or "busy")
            ]]):format(prepare))
            assert.are.equal(0, status, output)
            assert.are.equal("quiet", output)
        end)
    end

    it("keeps memory while the batch is in use, and no longer", function()
        local weak = setmetatable({}, { __mode = "v" })
        local receiver, addr, sender = receiver_and_sender()
        local into = batch.new(2, 2^20)
        weak[1] = into.memory
        collectgarbage()
        collectgarbage()
        ms.sendmany(sender, { "one", "two" }, addr)
        assert.are.equal(2, ms.recvmany(receiver, into, 2000))
        assert.are.equal("two", (into:get(2)))
        into = nil -- luacheck: ignore
        collectgarbage()
        collectgarbage()
        assert.is_nil(weak[1])
    end)
end)

describe("a batch's size", function()
    it("is up to 1024 messages, and up to 2^26 bytes", function()
        for _, size in ipairs({ { 1024, 65536 }, { 1, 2^26 }, { 1024 }, {},
                { nil, 1 }, { "2", "3" } }) do
            assert.is_table(batch.new(size[1], size[2]))
        end
    end)

    it("is refused when it is none", function()
        local function refused(arg, ...)
            local done, problem = pcall(function(...)
                local made = batch.new(...)
                return made
            end, ...)
            assert.is_false(done)
            assert.matches("batch_spec%.lua:%d+: bad argument #" .. arg
                .. " to 'new' %(integer from 1 to ", problem)
        end
        for _, bad in ipairs({ 0, -1, 1.5, 0 / 0, "x", true, {}, 2^53, 5LL })
        do
            refused(1, bad)
            refused(2, 64, bad)
        end
        refused(1, 1025)
        refused(2, 1024, 65537)
        refused(2, 1, 2^26 + 1)
    end)
end)

describe("wrong arguments of", function()
    before_each(support.setup)
    after_each(support.teardown)

    local LINE
    local function call(fn, ...)
        LINE = debug.getinfo(1, "l").currentline + 1
        local results = { fn(...) }
        return results
    end

    local function assert_raises(arg, name, expected, fn, ...)
        local done, problem = pcall(call, fn, ...)
        assert.is_false(done)
        assert.are.equal(("spec/batch_spec.lua:%d: bad argument #%d to '%s' "
            .. "(%s)"):format(LINE, arg, name, expected),
            (problem:gsub("^%./", "")))
    end

    local NOT_DESCRIPTORS = { true, {}, print, "", "x", 1.5, 0 / 0, 2^31 }

    local function got(value)
        return type(value) == "number" and tostring(value) or type(value)
    end

    it("sendmany raise for what isn't a descriptor", function()
        for _, fd in ipairs(NOT_DESCRIPTORS) do
            assert_raises(1, "sendmany", "descriptor expected, got "
                .. got(fd), ms.sendmany, fd, {})
            assert_raises(1, "recvmany", "descriptor expected, got "
                .. got(fd), ms.recvmany, fd, batch.new(1))
        end
    end)

    it("sendmany raise for what isn't a list of strings", function()
        local receiver, addr, sender = receiver_and_sender()
        assert_raises(2, "sendmany", "list of strings expected, got nil",
            ms.sendmany, sender)
        for _, value in ipairs({ true, "text", 5, print, 5LL }) do
            assert_raises(2, "sendmany", "list of strings expected, got "
                .. got(value), ms.sendmany, sender, value, addr)
        end
        local holed = { "1", "2", "3", "4", "5" }
        holed[3] = nil
        for _, list in ipairs({ { 5 }, { "x", 5 }, { "x", {} }, { true },
                { "x", false }, holed, { "x", ffi.new("char[2]") } }) do
            assert_raises(2, "sendmany",
                "list of strings expected, got table", ms.sendmany, sender,
                list, addr)
        end
        assert_nothing(receiver)
    end)

    it("sendmany run no code of the list's", function()
        local receiver, addr, sender = receiver_and_sender()
        local function ran() error("ran") end
        local meta = { __index = ran, __newindex = ran, __call = ran,
            __tostring = ran, __metatable = false }
        assert.are.equal(2,
            ms.sendmany(sender, setmetatable({ "1", "2" }, meta), addr))
        assert.are.equal(2, ms.sendmany(sender, { "3", "4" },
            setmetatable({ addr, addr }, meta)))
        assert.are.same({ "1", "2", "3", "4" }, (received(receiver, 4)))
    end)

    it("sendmany raise for what isn't an address", function()
        local _, _, sender = receiver_and_sender()
        for _, value in ipairs({ true, print, 5LL, io.stdout }) do
            assert_raises(3, "sendmany", "address expected, got "
                .. got(value), ms.sendmany, sender, { "x" }, value)
        end
    end)

    it("recvmany raise for what isn't a batch", function()
        local receiver = bound()
        local other = require("minisock.poller").new()
        for _, value in ipairs({ true, "text", 5, print, {}, other,
                ffi.new("char[8]"), setmetatable({}, { __index =
                batch.new() }) }) do
            assert_raises(2, "recvmany", "batch expected, got " .. got(value),
                ms.recvmany, receiver, value, 0)
        end
        other:close()
        assert_raises(2, "recvmany", "batch expected, got nil", ms.recvmany,
            receiver)
    end)

    it("recvmany raise for what isn't a timeout", function()
        local receiver = bound()
        for _, timeout in ipairs({ true, {}, "", "soon", 0 / 0, 5LL }) do
            assert_raises(3, "recvmany", "timeout in milliseconds expected, "
                .. "got " .. got(timeout), ms.recvmany, receiver,
                batch.new(1), timeout)
        end
    end)

    it("a batch's methods raise for what it doesn't hold", function()
        local receiver, addr, sender = receiver_and_sender()
        local into = batch.new(4)
        ms.sendmany(sender, { "1", "2" }, addr)
        assert.are.equal(2, ms.recvmany(receiver, into, 2000))
        for _, name in ipairs({ "get", "pointer", "length", "address" }) do
            for _, i in ipairs({ 0, -1, 3, 4, 5, 1.5, 0 / 0, 2^32 + 1, "x",
                    true, {}, 1LL }) do
                assert_raises(1, name, "integer from 1 to 2 expected, got "
                    .. got(i), into[name], into, i)
            end
            assert_raises(1, name, "integer from 1 to 2 expected, got nil",
                into[name], into)
            assert.has_no.errors(function() into[name](into, "2") end)
        end
    end)
end)

describe("system calls of", function()
    local PROGRAM = [[
        local ffi, ms = require "ffi", require "minisock"
        local into = require("minisock.batch").new(1024)
        ffi.cdef "int spec_close(int) __asm__(\"close\");"
        local server = ms.udpsocket(ms.inetaddr("127.0.0.1", 0))
        ms.setsockopt(server, "SO_RCVBUF", 4 * 2^20)
        local addr = ms.getsockname(server)
        local fd = ms.udpsocket()
        local list, addrs = {}, {}
        for i = 1, COUNT do list[i], addrs[i] = tostring(i), addr end
        for round = 1, 3 do
            if round == 3 then ffi.C.spec_close(-77) end
            assert(ms.sendmany(fd, list, ADDRESSES) == COUNT)
            local got = 0
            while got < COUNT do
                got = got + assert(ms.recvmany(server, into, 1000))
            end
            if round == 3 then ffi.C.spec_close(-77) end
        end
    ]]

    before_each(support.setup)
    after_each(support.teardown)

    -- What was called between the marks, and how often.
    local function calls(count, addresses)
        local counts = {}
        for _, call in ipairs(support.marked_calls((PROGRAM
                :gsub("COUNT", count):gsub("ADDRESSES", addresses)))) do
            counts[call] = (counts[call] or 0) + 1
        end
        return counts
    end

    for _, addresses in ipairs({ "addr", "addrs" }) do
        it(("sendmany and recvmany are one each (%s)"):format(addresses),
            function()
                if support.valgrind then
                    return pending("valgrind hides the marks")
                end
                assert.are.same({ sendmmsg = 1, recvmmsg = 1 },
                    calls(1, addresses))
                assert.are.same({ sendmmsg = 1, recvmmsg = 1 },
                    calls(1024, addresses))
                assert.are.same({ sendmmsg = 3, recvmmsg = 3 },
                    calls(2049, addresses))
            end)
    end
end)

describe("python3 at the other end", function()
    before_each(support.setup)
    after_each(support.teardown)

    local PEER = [[
import socket, sys
s = socket.socket(socket.AF_INET%s, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.settimeout(20)
s.bind((%q, 0))
print("port", s.getsockname()[1], flush=True)
for i in range(500):
    data, addr = s.recvfrom(65536)
    s.sendto(str(i).encode() + b":" + data[::-1], addr)
]]

    for family, host in pairs({ [""] = "127.0.0.1", ["6"] = "::1" }) do
        it("gets and sends the very bytes, by " .. host, function()
            local name = support.spit(support.tmpname(),
                PEER:format(family, host))
            local peer = support.spawn("python3 " .. name)
            local port = tonumber(peer:expect("^port (%d+)$"))
            local make = family == "" and ms.inetaddr or ms.inet6addr
            local fd = bound(make(host, 0))
            ms.setsockopt(fd, "SO_RCVBUF", 4 * 2^20)
            local list = {}
            for i = 1, 500 do
                local bytes = {}
                for j = 1, math.random(0, 50) do
                    bytes[j] = string.char(math.random(0, 255))
                end
                list[i] = table.concat(bytes)
            end
            local to = make(host, port)
            assert.are.equal(500, ms.sendmany(fd, list, to))
            local got, from = received(fd, 500, batch.new(33))
            assert.are.equal(500, #got)
            for i = 1, 500 do
                assert.are.equal(("%d:%s"):format(i - 1, list[i]:reverse()),
                    got[i])
                assert.are.equal(ms.parseaddr(to).port,
                    ms.parseaddr(from[i]).port)
            end
        end)
    end
end)
