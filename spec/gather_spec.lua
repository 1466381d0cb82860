local bit = require "bit"
local ffi = require "ffi"
local ms = require "minisock"
local support = require "spec.support"

-- Pieces of random sizes with bytes of their own, and all of it in one string.
local function random_pieces(count, largest)
    local pieces = {}
    for i = 1, count do
        local size = math.random(0, largest)
        pieces[i] = ("%d "):format(i):rep(size):sub(1, size)
    end
    return pieces, table.concat(pieces)
end

-- Reads from a descriptor until there are so many bytes.
local function read_bytes(fd, count)
    local parts, size = {}, 0
    while size < count do
        local part = assert(ms.read(fd, 5000, 65536))
        if part == "" then break end
        parts[#parts + 1], size = part, size + #part
    end
    return table.concat(parts)
end

-- Reads a descriptor to its end in another process, slowly, and says what came
-- by an FNV hash, as `hash` makes it.
local READER = [[
    local bit, ms = require "bit", require "minisock"
    local fd = assert(ms.connect(assert(ms.unixaddr(arg[1]))))
    local size, hash = 0, 5381
    while true do
        local data = assert(ms.read(fd, 60000, 10007))
        if data == "" then break end
        for i = 1, #data do
            hash = bit.tobit(hash * 33 + data:byte(i)) % 2^24
        end
        size = size + #data
        if size % 10 == 0 then ms.msleep(1) end
    end
    print(("%d bytes, %d"):format(size, hash))
]]

local function described(data)
    local hash = 5381
    for i = 1, #data do
        hash = bit.tobit(hash * 33 + data:byte(i)) % 2^24
    end
    return ("%d bytes, %d"):format(#data, hash)
end

-- A connection to a slow reader, and a function that tells what it has read.
local function slow_reader(make_small)
    local path = support.tmpname()
    local server = support.keep(ms.bind(ms.unixaddr(path)))
    local process = support.spawn_lua(READER, path)
    local fd = support.keep(ms.accept(server, 10000))
    if make_small then ms.setsockopt(fd, "SO_SNDBUF", 4096) end
    return fd, function()
        ms.shutdown(fd, ms.SHUT_WR)
        return process:expect("^(%d+ bytes, .*)$")
    end
end

describe("sendall of a list", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("sends its strings, one after the other", function()
        local a, b = support.pair()
        assert.are.equal(13, ms.sendall(a, { "one", "t\0o", "", "three", "\r\n"
            }))
        assert.are.equal("onet\0othree\r\n", ms.read(b, 2000))
    end)

    it("sends nothing of an empty list", function()
        for _, list in ipairs({ {}, { "" }, { "", "", "" } }) do
            for _, timeout in ipairs({ 0, 100, math.huge }) do
                local a, b = support.pair()
                assert.are.equal(0, ms.sendall(a, list, timeout))
                assert.is_nil((ms.read(b, 0)))
            end
        end
    end)

    for _, count in ipairs({ 1, 2, 100, 1023, 1024, 1025, 2048, 5000 }) do
        it(("sends %d pieces in their order"):format(count), function()
            local pieces, whole = random_pieces(count, 20)
            for _, timeout in ipairs({ 2000, math.huge }) do
                local a, b = support.pair()
                assert.are.equal(#whole, ms.sendall(a, pieces, timeout))
                assert.are.equal(whole, read_bytes(b, #whole))
                assert.is_nil((ms.read(b, 0)))
            end
        end)
    end

    it("sends random lists over TCP", function()
        local a, b = support.connection()
        for _ = 1, 200 do
            local pieces, whole =
                random_pieces(math.random(0, 60), math.random(0, 500))
            assert.are.equal(#whole, ms.sendall(a, pieces, 2000))
            assert.are.equal(whole, read_bytes(b, #whole))
        end
    end)

    for name, timeout in pairs({
        ["a timeout"] = 60000, ["no timeout"] = math.huge,
    }) do
        for kind, small in pairs({ small = true, usual = false }) do
            it(("waits for a slow reader, with %s and a %s buffer")
                :format(name, kind), function()
                    local fd, what_it_read = slow_reader(small)
                    local pieces, whole = random_pieces(600, 2000)
                    assert.are.equal(#whole, ms.sendall(fd, pieces, timeout))
                    assert.are.equal(described(whole), what_it_read())
                end)
        end
    end

    it("waits for one also with more pieces than a call takes", function()
        local fd, what_it_read = slow_reader()
        local pieces, whole = random_pieces(5000, 200)
        assert.are.equal(#whole, ms.sendall(fd, pieces, 60000))
        assert.are.equal(described(whole), what_it_read())
    end)

    it("waits for one on a non-blocking socket", function()
        local fd, what_it_read = slow_reader()
        ms.setnonblocking(fd, true)
        local pieces, whole = random_pieces(600, 2000)
        local more, whole_more = random_pieces(600, 2000)
        assert.are.equal(#whole, ms.sendall(fd, pieces))
        assert.are.equal(#whole_more, ms.sendall(fd, more, 60000))
        assert.are.equal(described(whole .. whole_more), what_it_read())
    end)

    for _, count in ipairs({ 3, 1000, 3000 }) do
        it(("tells how much of %d pieces went before a timeout")
            :format(count), function()
                for _, timeout in ipairs({ 0, 30.5 }) do
                    local a, b = support.pair()
                    local pieces = {}
                    for i = 1, count do
                        pieces[i] = ("%d "):format(i)
                            :rep(2^20 / count):sub(1, 2^20 / count)
                    end
                    local whole = table.concat(pieces)
                    local took, sent, message, code, before =
                        support.timed(ms.sendall, a, pieces, timeout)
                    assert.is_nil(sent)
                    assert.are.equal("sendall timeout", message)
                    assert.are.equal(ms.ETIMEDOUT, code)
                    assert.is_true(before > 0 and before < #whole, before)
                    assert.is_true(took >= timeout, took)
                    -- They are the first ones, and no more than these.
                    assert.are.equal(whole:sub(1, before),
                        read_bytes(b, before))
                    assert.is_nil((ms.read(b, 0)))
                end
            end)
    end

    it("tells 0 when there was no room at all", function()
        local a = support.pair()
        support.fill(a)
        local results = { ms.sendall(a, { "x", "y" }, 20) }
        assert.are.same({ nil, "sendall timeout", ms.ETIMEDOUT, 0 }, results)
        results = { ms.sendall(a, { "x", "y" }, 0) }
        assert.are.same({ nil, "sendall timeout", ms.ETIMEDOUT, 0 }, results)
    end)

    it("fails when nobody reads any more, with what was sent", function()
        local a, b = support.pair()
        ms.close(b)
        for _, timeout in ipairs({ 0, 2000, math.huge }) do
            assert.are.same({ nil, "sendall error: 32 Broken pipe", ms.EPIPE,
                0 }, { ms.sendall(a, { "x", "y" }, timeout) })
        end
    end)

    it("raises no SIGPIPE", function()
        local output, status = support.run([[
            local ffi, ms = require "ffi", require "minisock"
            ffi.cdef "void *signal(int, void *); int pipe(int *);"
            ffi.C.signal(13, nil)
            local ends = ffi.new "int[2]"
            ffi.C.pipe(ends)
            ms.close(ends[0])
            local a, b = ms.socketpair()
            ms.close(b)
            for _, fd in ipairs { a, ends[1] } do
                print(select(3, ms.sendall(fd, { "x", "y" })) == ms.EPIPE)
            end
        ]])
        assert.are.equal(0, status)
        assert.are.equal("true\ntrue\n", output)
    end)

    it("isn't ended by signals", function()
        local output, status = support.run([[
            local ffi, ms = require "ffi", require "minisock"
            ffi.cdef "int fork(void); void _exit(int);"
            ffi.cdef "int abs(int); void *signal(int, void *);"
            ffi.cdef "int siginterrupt(int, int);"
            ffi.cdef "int setitimer(int, const long *, long *);"
            local a, b = ms.socketpair()
            local list, size = {}, 0
            for i = 1, 1000 do
                list[i] = tostring(i):rep(1000)
                size = size + #list[i]
            end
            local whole = table.concat(list)
            if ffi.C.fork() == 0 then
                ms.close(a)
                local parts = {}
                repeat
                    local part = assert(ms.read(b, 20000, 50000))
                    parts[#parts + 1] = part
                    ms.msleep(1)
                until part == ""
                ffi.C._exit(table.concat(parts) == whole:rep(2) and 0 or 1)
            end
            ms.close(b)
            ffi.C.signal(14, ffi.cast("void *", ffi.C.abs))
            ffi.C.siginterrupt(14, 1)
            local tick = tonumber(arg[1])
            ffi.C.setitimer(0, ffi.new("long[4]", 0, tick, 0, tick), nil)
            for _, timeout in ipairs { math.huge, 60000 } do
                assert(ms.sendall(a, list, timeout) == size)
            end
            ms.shutdown(a)
            ffi.cdef "int wait(int *);"
            local status = ffi.new("int[1]", 99)
            while ffi.C.wait(status) < 0 do end
            io.write(status[0])
        ]], support.valgrind and 50000 or 2000) -- in us: valgrind needs many
        assert.are.equal(0, status, output)
        assert.are.equal("0", output)
    end)

    it("fails for what isn't open, or isn't connected", function()
        local fd = support.keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        for _, list in ipairs({ { "x" }, { "x", "y" }, {} }) do
            local _, message, code, sent = ms.sendall(-1, list)
            assert.are.equal("sendall error: 9 Bad file descriptor", message)
            assert.are.equal(ms.EBADF, code)
            assert.are.equal(0, sent)
        end
        local _, _, code, sent = ms.sendall(fd, { "x", "y" }, 1000)
        assert.are.equal(ms.EPIPE, code)
        assert.are.equal(0, sent)
    end)

    it("writes to a pipe, a full one too", function()
        local reader, writer = support.pipe()
        assert.are.equal(6, ms.sendall(writer, { "one", "", "two" }))
        assert.are.equal("onetwo", ms.read(reader, 2000))
        assert.are.equal(0, ms.sendall(writer, {}))
        assert.are.equal(0, ms.sendall(writer, { "" }, 100))
        ms.setnonblocking(writer, true)
        local pieces, whole = random_pieces(2000, 200)
        local _, message, code, before = ms.sendall(writer, pieces, 20)
        assert.are.equal("sendall timeout", message)
        assert.are.equal(ms.ETIMEDOUT, code)
        assert.are.equal(whole:sub(1, before), read_bytes(reader, before))
    end)

    it("writes to a file", function()
        local name = support.spit(support.tmpname(), "")
        ffi.cdef "int minisock_spec_open(const char *, int) __asm__(\"open\");"
        local fd = support.keep(ffi.C.minisock_spec_open(name, 1))
        local few, few_whole = random_pieces(20, 100)
        local many, many_whole = random_pieces(3000, 20)
        assert.are.equal(#few_whole, ms.sendall(fd, few))
        assert.are.equal(0, ms.sendall(fd, {}))
        assert.are.equal(#many_whole, ms.sendall(fd, many, 1000))
        assert.are.equal(few_whole .. many_whole, support.slurp(name))
    end)

    for name, timeout in pairs({
        ["no timeout"] = math.huge, ["a timeout"] = 1000, ["0"] = 0,
    }) do
        it("is one datagram, with " .. name, function()
            local a, b = support.pair(ms.SOCK_DGRAM)
            local pieces, whole = random_pieces(1024, 20)
            local many, many_whole = random_pieces(3000, 10)
            assert.are.equal(6, ms.sendall(a, { "one", "", "two" }, timeout))
            assert.are.equal(0, ms.sendall(a, {}, timeout))
            assert.are.equal(0, ms.sendall(a, { "", "" }, timeout))
            assert.are.equal(#whole, ms.sendall(a, pieces, timeout))
            assert.are.equal(#many_whole, ms.sendall(a, many, timeout))
            for _, expected in ipairs({ "onetwo", "", "", whole,
                    many_whole }) do
                assert.are.equal(expected, ms.read(b, 2000, 65536))
            end
            assert.is_nil((ms.read(b, 0)))
        end)
    end

    it("is one datagram of UDP, or EMSGSIZE", function()
        local a = support.keep(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
        local b = support.keep(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
        assert(ms.connectfd(a, ms.getsockname(b)))
        assert.are.equal(3, ms.sendall(a, { "a", "b", "c" }))
        assert.are.equal("abc", ms.read(b, 2000))
        local half = ("x"):rep(32754)
        local sent, _, code, before = ms.sendall(a, { half, half })
        assert.is_nil(sent)
        assert.are.equal(ms.EMSGSIZE, code)
        assert.are.equal(0, before)
        assert.are.equal(65507, ms.sendall(a, { half, half:sub(2) }))
        assert.are.equal(65507, #ms.read(b, 2000, 70000))
    end)

    it("waits for room for a datagram", function()
        local a, b = support.pair(ms.SOCK_DGRAM)
        ms.setnonblocking(a, true)
        local count = 0
        while ms.write(a, "x") and count < 10000 do count = count + 1 end
        assert.are.same({ nil, "sendall timeout", ms.ETIMEDOUT, 0 },
            { ms.sendall(a, { "y", "z" }, 20) })
        for _ = 1, count do ms.read(b, 2000) end
        assert.are.equal(2, ms.sendall(a, { "y", "z" }, 20))
        assert.are.equal("yz", ms.read(b, 2000))
    end)

    it("takes strings that are garbage right after", function()
        local a, b = support.pair()
        for _ = 1, 50 do
            local list = {}
            for i = 1, 100 do list[i] = ("%d,"):format(math.random(10^6)) end
            local whole = table.concat(list)
            ms.sendall(a, list)
            list = nil -- luacheck: ignore
            collectgarbage()
            assert.are.equal(whole, read_bytes(b, #whole))
        end
    end)

    it("doesn't keep what it has sent", function()
        local function in_use()
            collectgarbage()
            collectgarbage()
            return collectgarbage("count")
        end
        local function send(fd, timeout, last)
            local list = { [101] = last }
            for i = 1, 100 do list[i] = ("%d,"):format(i):rep(20000) end
            return ms.sendall(fd, list, timeout)
        end
        local a = support.pair()
        send(a, 0)
        local least = in_use()
        assert.is_nil((send(a, 0)))
        assert.is_nil((send(-1, 0)))
        assert.is_false((pcall(send, a, 0, 5)))
        local more = in_use() - least
        assert.is_true(more < 1000, more)
    end)
end)

describe("sendall's list with something else in it", function()
    before_each(support.setup)
    after_each(support.teardown)

    local function assert_refused(fd, list)
        local line = debug.getinfo(1, "l").currentline + 2
        local done, problem = pcall(function()
            local sent = ms.sendall(fd, list, 100)
            return sent
        end)
        assert.is_false(done)
        assert.are.equal(("spec/gather_spec.lua:%d: bad argument #2 to "
            .. "'sendall' (list of strings expected, got table)")
            :format(line), (problem:gsub("^%./", "")))
    end

    it("raises where it was given, and sends nothing", function()
        local a, b = support.pair()
        local holed = { "1", "2", "3", "4", "5" }
        holed[3] = nil
        local long = {}
        for i = 1, 3000 do long[i] = "x" end
        long[2999] = 5
        for _, list in ipairs({ { 5 }, { "x", 5 }, { "x", {} }, { true },
                { "x", false, "y" }, holed, long, { "x", { "y" } },
                { "x", ffi.new("char[2]") }, { "x", print } }) do
            assert_refused(a, list)
        end
        assert.is_nil((ms.read(b, 0)))
        assert.are.equal(2, ms.sendall(a, { "o", "k" }))
        assert.are.equal("ok", ms.read(b, 2000))
    end)

    it("runs no code of the list's", function()
        local a, b = support.pair()
        local function ran() error("ran") end
        local list = setmetatable({ "o", "k" }, { __index = ran,
            __newindex = ran, __call = ran, __tostring = ran,
            __concat = ran, __metatable = false })
        assert.are.equal(2, ms.sendall(a, list))
        assert.are.equal("ok", ms.read(b, 2000))
        assert_refused(a, setmetatable({ nil, "x" }, { __index = ran }))
    end)

    it("leaves out what isn't in the list's sequence", function()
        local a, b = support.pair()
        assert.are.equal(2, ms.sendall(a, { "o", "k", n = 5, [0] = "no",
            [-1] = 7, x = "no" }))
        assert.are.equal("ok", ms.read(b, 2000))
    end)
end)

describe("system calls of sendall of a list", function()
    local PROGRAM = [[
        local ffi, ms = require "ffi", require "minisock"
        ffi.cdef "int spec_close(int) __asm__(\"close\");"
        local a, b = ms.socketpair()
        local list = {}
        for i = 1, COUNT do list[i] = tostring(i) end
        local size = #table.concat(list)
        for round = 1, 3 do
            if round == 3 then ffi.C.spec_close(-77) end
            assert(ms.sendall(a, list, TIMEOUT) == size)
            if round == 3 then ffi.C.spec_close(-77) end
            assert(ms.read(b, 1000, 65536))
        end
    ]]

    before_each(support.setup)
    after_each(support.teardown)

    local function calls(count, timeout)
        return support.marked_calls((PROGRAM:gsub("COUNT", count)
            :gsub("TIMEOUT", timeout)))
    end

    for _, timeout in ipairs({ "nil", "1000", "0" }) do
        it("are one for up to 1024 pieces, with timeout " .. timeout,
            function()
                if support.valgrind then
                    return pending("valgrind hides the marks")
                end
                assert.are.same({ "sendmsg" }, calls(1, timeout))
                assert.are.same({ "sendmsg" }, calls(3, timeout))
                assert.are.same({ "sendmsg" }, calls(1024, timeout))
                assert.are.same({ "sendto" }, calls(1025, timeout))
            end)
    end
end)
