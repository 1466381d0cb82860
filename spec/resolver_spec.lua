local lfs = require "lfs"
local fake_resolver = require "spec.fake_resolver"
local ms = require "minisock"
local support = require "spec.support"

local LOOPBACK = ms.inetaddr("127.0.0.1", 80)
local LOOPBACK6 = ms.inet6addr("::1", 80)

describe("getaddrinfo", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("takes digits", function()
        assert.are.same({ LOOPBACK }, ms.getaddrinfo("127.0.0.1", 80))
        assert.are.same({ LOOPBACK6 }, ms.getaddrinfo("::1", "80"))
        assert.are.same({ ms.inetaddr("127.0.0.1", 0) },
            ms.getaddrinfo("127.0.0.1"))
    end)

    it("keeps the scope of an IPv6 address", function()
        local list = ms.getaddrinfo("fe80::1%lo", 80)
        assert.are.same({ ms.inet6addr("fe80::1", 80, "lo") }, list)
    end)

    it("knows this machine by its name", function()
        local list = assert(ms.getaddrinfo("localhost", 80))
        assert.is_true(#list > 0)
        for _, addr in ipairs(list) do
            assert.is_true(addr == LOOPBACK or addr == LOOPBACK6)
        end
    end)

    it("gives each address once", function()
        for _, host in ipairs({ "127.0.0.1", "::1", "localhost" }) do
            local seen = {}
            for _, addr in ipairs(assert(ms.getaddrinfo(host, 80))) do
                assert.is_nil(seen[addr])
                seen[addr] = true
            end
        end
    end)

    it("takes the names of services", function()
        if not lfs.attributes("/etc/services") then
            pending("there is no /etc/services here")
        end
        assert.are.same({ LOOPBACK }, ms.getaddrinfo("127.0.0.1", "http"))
        assert.are.same({ LOOPBACK },
            ms.getaddrinfo("127.0.0.1", "http", { timeout = 5000 }))
    end)

    it("gives this machine's addresses when no host is given", function()
        local list = assert(ms.getaddrinfo(nil, 80))
        assert.is_true(#list > 0)
        for _, addr in ipairs(list) do
            assert.is_true(addr == LOOPBACK or addr == LOOPBACK6)
        end
    end)

    it("gives the wildcard addresses for AI_PASSIVE", function()
        local list = assert(ms.getaddrinfo(nil, 80, { flags = ms.AI_PASSIVE }))
        assert.is_true(#list > 0)
        for _, addr in ipairs(list) do
            assert.is_true(addr == ms.inetaddr("0.0.0.0", 80)
                or addr == ms.inet6addr("::", 80))
        end
    end)

    it("takes a family", function()
        local six = { family = ms.AF_INET6, flags = ms.AI_PASSIVE }
        assert.are.same({ ms.inet6addr("::", 80) },
            ms.getaddrinfo(nil, 80, six))
        local four = { family = ms.AF_INET, flags = ms.AI_PASSIVE }
        assert.are.same({ ms.inetaddr("0.0.0.0", 80) },
            ms.getaddrinfo(nil, 80, four))
        local list, _, code =
            ms.getaddrinfo("127.0.0.1", 80, { family = ms.AF_INET6 })
        assert.is_nil(list)
        assert.is_true(code < 0)
    end)

    it("takes a socktype", function()
        local datagrams = { socktype = ms.SOCK_DGRAM }
        assert.are.same({ LOOPBACK },
            ms.getaddrinfo("127.0.0.1", 80, datagrams))
        -- "login" is a service of TCP's alone, "biff" one of UDP's.
        if lfs.attributes("/etc/services") then
            assert.is_table(ms.getaddrinfo("127.0.0.1", "biff", datagrams))
            local list, _, code = ms.getaddrinfo("127.0.0.1", "biff")
            assert.is_nil(list)
            assert.are.equal(ms.EAI_SERVICE, code)
        end
    end)

    it("takes flags", function()
        local list, message, code = ms.getaddrinfo("localhost", 80,
            { flags = ms.AI_NUMERICHOST })
        assert.is_nil(list)
        assert.are.equal(ms.EAI_NONAME, code)
        assert.matches("^getaddrinfo error: %-%d+ %a", message)
        list, message, code = ms.getaddrinfo("127.0.0.1", "http",
            { flags = ms.AI_NUMERICSERV })
        assert.is_nil(list)
        assert.is_true(code == ms.EAI_NONAME or code == ms.EAI_SERVICE,
            message)
    end)

    for _, service in ipairs({
        "65536", "65616", "99999999999999999999", "-1", "-65456", "80\0",
        "80x", "no such service",
    }) do
        it(("refuses the service %q"):format(service), function()
            local list, message, code = ms.getaddrinfo("127.0.0.1", service)
            assert.is_nil(list)
            assert.are.equal(ms.EAI_SERVICE, code)
            local start = ("getaddrinfo error: %d "):format(code)
            assert.are.equal(start, message:sub(1, #start))
        end)
    end

    it("refuses a host with a NUL", function()
        for _, host in ipairs({ "127.0.0.1\0", "127.0.0.1\0x", "\0" }) do
            local list, _, code = ms.getaddrinfo(host, 80)
            assert.is_nil(list)
            assert.are.equal(ms.EAI_NONAME, code)
        end
    end)

    it("refuses neither a host nor a service", function()
        local list, _, code = ms.getaddrinfo()
        assert.is_nil(list)
        assert.are.equal(ms.EAI_NONAME, code)
    end)

    it("refuses a family that isn't one", function()
        local list, _, code = ms.getaddrinfo("127.0.0.1", 80, { family = 99 })
        assert.is_nil(list)
        assert.are.equal(ms.EAI_FAMILY, code)
    end)

    it("answers digits, and no host, at once", function()
        local at_once = { timeout = 0 }
        assert.are.same({ LOOPBACK }, ms.getaddrinfo("127.0.0.1", 80, at_once))
        assert.is_table(ms.getaddrinfo(nil, 80, at_once))
    end)
end)

-- What every program below starts with.
local PRELUDE = [==[
local ffi = require "ffi"
local ms = require "minisock"
local process = require "spec.process"
local shim = require("minisock.cdefs").shim

ffi.cdef "int fake_outstanding(void);"
process.alarm(120)

local threads, descriptors = process.threads, process.descriptors

-- Qemu has one of its own.
local at_first = threads()

local function await(what, question)
    for _ = 1, 3000 do
        if question() then return end
        ms.msleep(10)
    end
    error("waited in vain for " .. what, 2)
end

local function await_threads()
    await("threads to end", function() return threads() == at_first end)
end

local function equal(expected, actual)
    if expected ~= actual then
        error(("expected %s, got %s")
            :format(tostring(expected), tostring(actual)), 2)
    end
end

-- Fails for results that aren't a timeout, at its time: much sooner than the
-- answer would have come.
local function times_out(call, timeout, ...)
    local start = shim.minisock_now()
    local result, message, code = ms[call](...)
    local elapsed = shim.minisock_now() - start
    equal(nil, result)
    equal(call .. " timeout", message)
    equal(ms.ETIMEDOUT, code)
    assert(elapsed >= timeout, "early: " .. elapsed)
    assert(elapsed < 20000, "late: " .. elapsed)
end
]==]

-- A listener on 127.0.0.2 whose queue is full: the kernel doesn't answer who
-- would connect to it.
local FULL = [==[
local _, full = assert(ms.bind("127.0.0.2", 0, { backlog = 0 }))
local port = ms.parseaddr(full).port
repeat until not ms.connect(full, nil, 200)
]==]

describe("with name servers as they can be,", function()
    local dir, luajit

    setup(function()
        dir = support.mkdtemp()
        luajit = fake_resolver.build(dir)
    end)

    teardown(function() support.rmtree(dir) end)

    before_each(support.setup)
    after_each(support.teardown)

    local function succeeds(program, environment)
        local name = support.spit(dir .. "/program.lua", PRELUDE .. program)
        local output, status = support.shell(("env %s %s %s")
            :format(environment or "", luajit, name))
        assert.are.equal("", output)
        assert.are.equal(0, status)
    end

    it("a timeout holds", function()
        succeeds [==[
            times_out("getaddrinfo", 150, "slow.test", 80, { timeout = 150 })
            times_out("getaddrinfo", 0.5, "slow.test", 80, { timeout = 0.5 })
            times_out("connect", 150, "slow.test", 80, 150)
            times_out("bind", 150, "slow.test", 0, { timeout = 150 })
        ]==]
    end)

    it("an answer in time is waited for", function()
        succeeds([==[
            for _, timeout in ipairs { 60000, math.huge, -1 } do
                local start = shim.minisock_now()
                local list = assert(ms.getaddrinfo("slow.test", 80,
                    { timeout = timeout }))
                assert(shim.minisock_now() - start >= 50)
                equal(50, #list)
                equal(ms.inetaddr("127.0.0.2", 80), list[1])
                equal(ms.inetaddr("127.0.0.51", 80), list[50])
            end
            await_threads()
            equal(0, ffi.C.fake_outstanding())
        ]==], "FAKE_DELAY=50")
    end)

    it("without a timeout, no thread is started", function()
        succeeds([==[
            equal(50, #ms.getaddrinfo("many.test", 80))
            local fd = assert(ms.bind("many.test", 0))
            assert(ms.close(fd))
            equal(at_first, threads())
        ]==], "FAKE_NO_THREADS=1")
    end)

    it("a timeout of 0 asks nobody", function()
        succeeds([==[
            times_out("getaddrinfo", 0, "slow.test", 80, { timeout = 0 })
            times_out("getaddrinfo", 0, "many.test", 80, { timeout = 0 })
            times_out("connect", 0, "many.test", 80, 0)
            times_out("bind", 0, "many.test", 0, { timeout = 0 })
            equal(at_first, threads())
            local list =
                assert(ms.getaddrinfo("127.0.0.1", 80, { timeout = 0 }))
            equal(ms.inetaddr("127.0.0.1", 80), list[1])
            local fd = assert(ms.bind("127.0.0.1", 0, { timeout = 0 }))
            assert(ms.close(fd))
        ]==], "FAKE_NO_THREADS=1")
    end)

    it("a host in digits needs no thread", function()
        succeeds([==[
            local one_minute = { timeout = 60000 }
            local list =
                assert(ms.getaddrinfo("127.0.0.1", 80, one_minute))
            equal(ms.inetaddr("127.0.0.1", 80), list[1])
            assert(ms.getaddrinfo(nil, 80, one_minute))
        ]==], "FAKE_NO_THREADS=1")
    end)

    -- One arena, so that mallinfo2 sees what the threads allocate too.
    it("an abandoned lookup leaves nothing behind", function()
        succeeds([==[
            ffi.cdef [[
            struct spec_mallinfo { size_t unused[7], uordblks, rest[2]; };
            struct spec_mallinfo spec_mallinfo(void) __asm__("mallinfo2");
            ]]
            local open = descriptors()
            local function abandon(times)
                for _ = 1, times do
                    local list =
                        ms.getaddrinfo("slow.test", 80, { timeout = 1 })
                    equal(nil, list)
                end
                await_threads()
                equal(0, ffi.C.fake_outstanding())
                equal(open, descriptors())
                return tonumber(ffi.C.spec_mallinfo().uordblks)
            end
            abandon(50)
            local before = abandon(50)
            local grown = abandon(500) - before
            assert(grown < 50000, "memory: " .. grown)
        ]==], "FAKE_DELAY=30 MALLOC_ARENA_MAX=1")
    end)

    it("a lookup that ends with the timeout is freed once", function()
        succeeds([==[
            local answered = 0
            for i = 1, 300 do
                local timeout = 4 + i % 20 / 10
                local list =
                    ms.getaddrinfo("slow.test", 80, { timeout = timeout })
                if list then
                    equal(50, #list)
                    answered = answered + 1
                end
            end
            await_threads()
            equal(0, ffi.C.fake_outstanding())
        ]==], "FAKE_DELAY=5 MALLOC_PERTURB_=165 MALLOC_CHECK_=3")
    end)

    it("signals neither end a lookup nor its timeout", function()
        succeeds([==[
            ffi.cdef [[
            struct spec_itimerval { long interval[2], value[2]; };
            int spec_setitimer(int, const struct spec_itimerval *, void *)
                __asm__("setitimer");
            void *spec_signal(int, int (*)(int)) __asm__("signal");
            int spec_siginterrupt(int, int) __asm__("siginterrupt");
            int abs(int);
            ]]
            local SIGALRM, EVERY = 14, 2000
            ffi.C.spec_signal(SIGALRM, ffi.C.abs)
            ffi.C.spec_siginterrupt(SIGALRM, 1)
            ffi.C.spec_setitimer(0, ffi.new("struct spec_itimerval",
                { { 0, EVERY }, { 0, EVERY } }), nil)

            times_out("getaddrinfo", 150, "slow.test", 80, { timeout = 150 })
            local list, message =
                ms.getaddrinfo("slow.test", 80, { timeout = 60000 })
            equal(50, #assert(list, message))
        ]==], "FAKE_DELAY=400")
    end)

    -- Signals above 31 are glibc's own, or nobody's.
    it("the thread of a lookup takes no signals", function()
        succeeds [==[
            local KILL_AND_STOP = 0x100 + 0x40000
            local function blocked(task)
                local name = ("/proc/self/task/%s/status"):format(task)
                for line in io.lines(name) do
                    local mask = line:match("^SigBlk:%s+(%x+)$")
                    if mask then return tonumber(mask:sub(-8), 16) % 2^31 end
                end
            end
            local function tasks()
                local list = {}
                for name in require("lfs").dir("/proc/self/task") do
                    if tonumber(name) then list[name] = blocked(name) end
                end
                return list
            end
            local before = tasks()
            times_out("getaddrinfo", 200, "slow.test", 80, { timeout = 200 })
            local others = 0
            for task, mask in pairs(tasks()) do
                if before[task] then
                    equal(before[task], mask)
                else
                    others = others + 1
                    equal(0x7fffffff - KILL_AND_STOP, mask)
                end
            end
            equal(1, others)
        ]==]
    end)

    it("EAI_SYSTEM comes with its errno", function()
        succeeds [==[
            local expected = ("getaddrinfo error: %d [^()]+%%(%d [^()]+%%)$")
                :format(ms.EAI_SYSTEM, ms.ENETDOWN):gsub("%-", "%%-")
            for _, timeout in ipairs { math.huge, 60000 } do
                local list, message, code =
                    ms.getaddrinfo("system.test", 80, { timeout = timeout })
                equal(nil, list)
                equal(ms.EAI_SYSTEM, code)
                assert(message:find("^" .. expected), message)
            end
            local fd, message, code = ms.connect("system.test", 80, 60000)
            equal(nil, fd)
            equal(ms.EAI_SYSTEM, code)
            assert(message:find("^connect error: %-%d+ "), message)
        ]==]
    end)

    it("a missing thread is an error, not a wait", function()
        succeeds([==[
            local list, message, code =
                ms.getaddrinfo("many.test", 80, { timeout = 60000 })
            equal(nil, list)
            equal(ms.EAI_SYSTEM, code)
            assert(message:find("(" .. ms.EAGAIN .. " ", 1, true), message)
        ]==], "FAKE_NO_THREADS=1")
    end)

    it("a name that doesn't exist is said to by every call", function()
        succeeds [==[
            for _, timeout in ipairs { math.huge, 60000 } do
                for call, results in pairs {
                    getaddrinfo = { ms.getaddrinfo("none.test", 80,
                        { timeout = timeout }) },
                    connect = { ms.connect("none.test", 80, timeout) },
                    bind = { ms.bind("none.test", 0, { timeout = timeout }) },
                } do
                    equal(nil, results[1])
                    equal(ms.EAI_NONAME, results[3])
                    local start = ("%s error: %d ")
                        :format(call, ms.EAI_NONAME)
                    equal(start, results[2]:sub(1, #start))
                end
            end
        ]==]
    end)

    it("connect tries every address", function()
        succeeds [==[
            local open = descriptors()
            local server, addr = assert(ms.bind("127.0.0.51", 0))
            local port = ms.parseaddr(addr).port
            for _, timeout in ipairs { math.huge, 60000 } do
                local fd, peer = assert(ms.connect("many.test", port, timeout))
                equal(addr, peer)
                equal(addr, ms.getpeername(fd))
                assert(ms.close(fd))
            end
            assert(ms.close(server))
            for _, timeout in ipairs { math.huge, 60000 } do
                local fd, _, code = ms.connect("many.test", port, timeout)
                equal(nil, fd)
                equal(ms.ECONNREFUSED, code)
            end
            await_threads()
            equal(open, descriptors())
        ]==]
    end)

    it("an address that doesn't answer leaves time for the next", function()
        succeeds(FULL .. [==[
            assert(ms.bind("127.0.0.3", port))
            local start = shim.minisock_now()
            local fd, peer = ms.connect("many.test", port, 10000)
            local elapsed = shim.minisock_now() - start
            equal(ms.inetaddr("127.0.0.3", port), peer)
            equal(peer, ms.getpeername(fd))
            assert(elapsed >= 500 and elapsed < 9000, elapsed)
        ]==], "FAKE_ADDRESSES=127.0.0.2,127.0.0.3" .. (",127.0.0.4"):rep(8))
    end)

    it("a timeout covers all addresses together", function()
        succeeds(FULL .. [==[
            local open = descriptors()
            times_out("connect", 300, "many.test", port, 300)
            await_threads()
            equal(open, descriptors())
        ]==], "FAKE_ADDRESSES=127.0.0.2,127.0.0.2,127.0.0.2")
    end)

    it("bind takes the first address that is this machine's", function()
        succeeds([==[
            local open = descriptors()
            for _, timeout in ipairs { math.huge, 60000 } do
                local fd, addr =
                    assert(ms.bind("many.test", 0, { timeout = timeout }))
                equal("127.0.0.3", ms.parseaddr(addr).addr)
                assert(ms.close(fd))
            end
            await_threads()
            equal(open, descriptors())
        ]==], "FAKE_ADDRESSES=192.0.2.1,127.0.0.3,127.0.0.4")
    end)
end)
