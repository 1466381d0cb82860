local fake_resolver = require "spec.fake_resolver"
local support = require "spec.support"

-- To see a failure again: MINISOCK_FUZZ_SEED=... make test SPEC=...
local SEED = tonumber(os.getenv("MINISOCK_FUZZ_SEED") or os.time())
local CALLS = tonumber(os.getenv("MINISOCK_FUZZ_CALLS"))
    or support.slow and 2000 or 50000

-- A new function comes to the fuzzer by itself; that one is lost shouldn't
-- go unseen.
local FUNCTIONS = 32

describe("random arguments", function()
    local dir, luajit

    setup(function()
        dir = support.mkdtemp()
        luajit = fake_resolver.build(dir)
    end)

    teardown(function() support.rmtree(dir) end)

    before_each(support.setup)
    after_each(support.teardown)

    local function start(number, flags)
        local seed = SEED + number
        local own = ("%s/%d"):format(dir, number)
        assert(require("lfs").mkdir(own))
        -- Valgrind would take a NULL that the kernel refuses for a mistake, and
        -- finds one in the compiler of LuaJIT.
        if support.valgrind then flags = "-joff" end
        local no_null = support.valgrind and "noNULL" or ""
        local fuzzer = support.spawn(
            ("env FAKE_ONLY=1 FAKE_DELAY=2 %s %s spec/fuzz.lua %d %d %s %s %s")
                :format(luajit, flags, seed, CALLS, own, own .. ".call",
                    no_null))
        fuzzer.record, fuzzer.what = own .. ".call",
            ("MINISOCK_FUZZ_SEED=%d, process %d"):format(SEED, number)
        return fuzzer
    end

    local function finish(fuzzer)
        local output = fuzzer.pipe:read("*a")
        local functions, calls =
            output:match("^(%d+) functions, (%d+) calls\n$")
        if not functions then
            error(("%s\n%s\nThe last call was %s"):format(fuzzer.what, output,
                support.slurp(fuzzer.record):match("^%Z*")))
        end
        assert.are.equal(CALLS, tonumber(calls))
        assert.is_true(tonumber(functions) >= FUNCTIONS, output)
    end

    it("never crash, block, leak or get through", function()
        local compiled, interpreted = start(1, ""), start(2, "-joff")
        finish(compiled)
        local eager = start(3, "-Ohotloop=1 -Ohotexit=1")
        finish(interpreted)
        local again = start(4, "")
        finish(eager)
        finish(again)
    end)
end)

-- In a process of its own each, since a failure may be one that never ends.
local PRELUDE = [==[
local ffi = require "ffi"
local ms = require "minisock"
local shim = require("minisock.cdefs").shim

ffi.cdef "unsigned spec_alarm(unsigned) __asm__(\"alarm\");"
ffi.C.spec_alarm(20)

local LOOPBACK = ms.inetaddr("127.0.0.1", 0)

-- The call may find an end or a timeout, but it must end, and not use up the
-- processor until then.
local function ends(call, fd)
    for _, timeout in ipairs { 0, 400 } do
        local start, used = shim.minisock_now(), os.clock()
        local result, message, code = ms[call](fd, timeout)
        used = (os.clock() - used) * 1000
        local elapsed = shim.minisock_now() - start
        assert(result == "" or code == ms.ETIMEDOUT, message)
        assert(result == "" or elapsed >= timeout, elapsed)
        assert(used < 200, ("used %d ms"):format(used))
    end
end

local function raises(call, arg, ...)
    local raised, message = pcall(ms[call], ...)
    local expected = ("bad argument #%d to '%s' ("):format(arg, call)
    assert(not raised, "nothing was raised")
    assert(tostring(message):find(expected, 1, true), message)
end
]==]

describe("what random arguments have found:", function()
    before_each(support.setup)
    after_each(support.teardown)

    local function succeeds(program)
        local output, status = support.run(PRELUDE .. program)
        assert.are.equal("", output)
        assert.are.equal(0, status)
    end

    -- poll says that there is something to read, recv that there isn't.
    for _, call in ipairs({ "read", "recvfrom" }) do
        it(call .. " ends on a datagram socket that was shut down", function()
            succeeds(([==[
                local fd = assert(ms.udpsocket(LOOPBACK))
                ms.shutdown(fd)
                ends(%q, fd)
            ]==]):format(call))
        end)

        it(call .. " ends while an error report waits to be read", function()
            succeeds(([==[
                local closed = assert(ms.udpsocket(LOOPBACK))
                local addr = ms.getsockname(closed)
                local fd = assert(ms.udpsocket())
                assert(ms.setsockopt(fd, "IP_RECVERR", true))
                assert(ms.connectfd(fd, addr))
                assert(ms.close(closed))
                assert(ms.write(fd, "datagram"))
                local _, _, code = ms.read(fd, 20000)
                assert(code == ms.ECONNREFUSED, code)
                ends(%q, fd)
            ]==]):format(call))
        end)
    end

    it("a C type isn't memory", function()
        succeeds [==[
            local a, b = assert(ms.socketpair())
            assert(ms.write(a, "data"))
            for _, name in ipairs { "char[16]", "char *", "uint8_t *" } do
                for _ = 1, 200 do
                    raises("readinto", 2, b, ffi.typeof(name), 0, 4)
                    raises("sendall", 2, b, ffi.typeof(name), 0, 4)
                end
            end
            assert(ms.read(b, 0) == "data")
        ]==]
    end)

    it("a pointer to constant bytes can't be read into", function()
        succeeds [==[
            local a, b = assert(ms.socketpair())
            assert(ms.write(a, "data"))
            local array = ffi.new("char[4]")
            for _, name in ipairs { "const char *", "const uint8_t *",
                    "const void *" } do
                raises("readinto", 2, b, ffi.cast(name, array), 0, 4)
            end
            assert(ms.read(b, 0) == "data")
            assert(ms.sendall(a, ffi.cast("const char *", array), 0, 4) == 4)
        ]==]
    end)

    it("a userdata that calls itself a buffer isn't one", function()
        succeeds [==[
            local a = assert(ms.socketpair())
            local pretender = newproxy(true)
            local metatable = getmetatable(pretender)
            metatable.__metatable = "buffer"
            metatable.__len = function() return 4 end
            raises("readinto", 2, a, pretender, 0)
            raises("sendall", 2, a, pretender, 0)
            raises("sendall", 2, a, pretender, 0, 4)
        ]==]
    end)

    it("no metamethod of an argument is called", function()
        succeeds [==[
            ffi.cdef "struct spec_nasty { int value; };"
            local function throw() error("a metamethod was called") end
            ffi.metatype("struct spec_nasty", {
                __eq = throw, __lt = throw, __len = throw, __tostring = throw,
                __index = throw, __mod = throw, __concat = throw,
            })
            local nasty = ffi.new("struct spec_nasty")
            local a = assert(ms.socketpair())
            raises("read", 1, nasty)
            raises("read", 2, a, nasty)
            raises("read", 3, a, 0, nasty)
            raises("readinto", 2, a, nasty, 0, 4)
            raises("sendall", 2, a, nasty, 0, 4)
            raises("write", 3, a, "data", nasty)
            raises("write", 4, a, "data", 1, nasty)
            raises("shutdown", 2, a, nasty)
            raises("bind", 1, nasty, 0)
            raises("bind", 2, "127.0.0.1", nasty)
            raises("bind", 3, "127.0.0.1", 0, nasty)
            raises("connect", 2, "127.0.0.1", nasty)
            raises("connect", 3, "127.0.0.1", 1, nasty)
            raises("getaddrinfo", 1, nasty)
            raises("inet6addr", 3, "::1", 0, nasty)
            raises("poll", 2, "", nasty)
            raises("unpollfd", 2, ms.pollfd(a, 0), nasty)
            raises("udpsocket", 1, nasty)
            for _, name in ipairs { "TCP_NODELAY", "SO_LINGER", "SO_RCVBUF",
                    "SO_RCVTIMEO", "TCP_CONGESTION" } do
                raises("setsockopt", 3, a, name, nasty)
            end
        ]==]
    end)
end)
