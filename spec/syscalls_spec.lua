local support = require "spec.support"

-- What every program below starts with. What it does between two marks is what
-- is counted; a mark is a close of a descriptor that can't be.
local PRELUDE = [==[
local ffi = require "ffi"
local ms = require "minisock"

ffi.cdef [[
int spec_close(int) __asm__("close");
int spec_dup2(int, int) __asm__("dup2");
]]
require("spec.process").alarm(60)

local function mark() ffi.C.spec_close(-77) end

-- Two rounds are rehearsals, for what is looked up or allocated only once.
-- What prepares a round doesn't count.
local function measure(act, prepare)
    for round = 1, 3 do
        if prepare then prepare() end
        if round == 3 then mark() end
        act(round)
    end
    mark()
end

local function equal(expected, actual)
    if expected ~= actual then
        error(("expected %s, got %s")
            :format(tostring(expected), tostring(actual)), 2)
    end
end

local function tcp_pair()
    local server, addr = assert(ms.bind("127.0.0.1", 0))
    local client = assert(ms.connect(addr))
    return client, assert(ms.accept(server)), server, addr
end
]==]

-- LuaJIT's own, for memory, come when they come.
local MEMORY = {
    brk = true, madvise = true, mmap = true, mprotect = true, mremap = true,
    mmap2 = true, munmap = true,
}

local _, unable = support.shell("strace -qq -o /dev/null true")
local able = unable == 0

local function traced(name, test)
    if able then return it(name, test) end
    pending(name .. " (strace can't trace here)")
end

describe("system calls:", function()
    local dir

    setup(function() dir = support.mkdtemp() end)
    teardown(function() support.rmtree(dir) end)

    before_each(support.setup)
    after_each(support.teardown)

    -- Calls to trace or to inject into, by the names of other processors too.
    local function of_all(flags)
        return (flags:gsub("=sendto", "%0,send"):gsub("=recvfrom", "%0,recv"))
    end

    -- Runs a program under strace, and returns its trace, line by line.
    local function trace(program, flags)
        local name = support.spit(dir .. "/program.lua", PRELUDE .. program)
        local output, status = support.shell(
            ("strace -f -qq -s 64 -o %s/trace %s %s %s")
                :format(dir, of_all(flags or ""), support.luajit, name))
        assert.are.equal("", output)
        assert.are.equal(0, status)
        local lines = {}
        for line in io.lines(dir .. "/trace") do
            line = line:match("^%d+%s+(.*)$") or line
            lines[#lines + 1] =
                line:gsub("^send%(", "sendto("):gsub("^recv%(", "recvfrom(")
        end
        return lines
    end

    -- The names of the calls between the marks.
    local function calls(program)
        local names, counting = {}, false
        for _, line in ipairs(trace(program)) do
            local name = support.call_name(line)
            if line:find("^close%(%-77%)") then
                counting = not counting
            elseif counting and name and not MEMORY[name] then
                names[#names + 1] = name
            end
        end
        assert.is_false(counting)
        return names
    end

    local function times(count, name)
        local names = {}
        for i = 1, count do names[i] = name end
        return names
    end

    local function injected(lines, pattern)
        local count = 0
        for _, line in ipairs(lines) do
            if line:find("(INJECTED)", 1, true) and line:find(pattern) then
                count = count + 1
            end
        end
        return count
    end

    local function count(lines, pattern)
        local found = 0
        for _, line in ipairs(lines) do
            if line:find(pattern) then found = found + 1 end
        end
        return found
    end

    traced("a read of what is there is one, whatever the timeout", function()
        assert.are.same(times(1000, "recvfrom"), calls [==[
            local client, peer = tcp_pair()
            assert(ms.sendall(client, ("x"):rep(30000)))
            local timeouts = { 1000, 0, -1, 0.5, math.huge }
            measure(function(round)
                for i = 1, round == 3 and 1000 or 100 do
                    equal("x", ms.read(peer, timeouts[i % 5 + 1], 1))
                end
            end)
        ]==])
    end)

    traced("so is one with the default timeout", function()
        assert.are.same({ "recvfrom" }, calls [==[
            local client, peer = tcp_pair()
            measure(function() equal("data", ms.read(peer)) end,
                function() assert(ms.write(client, "data")) end)
        ]==])
    end)

    traced("a readinto of what is there is one", function()
        assert.are.same(times(100, "recvfrom"), calls [==[
            local client, peer = tcp_pair()
            local array = ffi.new("char[4]")
            assert(ms.sendall(client, ("data"):rep(1000)))
            measure(function()
                for _ = 1, 100 do
                    equal(4, ms.readinto(peer, array, 1000, 4))
                end
            end)
        ]==])
    end)

    traced("a read that times out at once waits for nothing", function()
        local names = calls [==[
            local _, peer = tcp_pair()
            measure(function()
                equal("read timeout", select(2, ms.read(peer, 0)))
            end)
        ]==]
        assert.are.equal("recvfrom", names[1])
        for _, name in ipairs(names) do
            assert.is_true(name == "recvfrom" or name == "poll", name)
        end
    end)

    traced("a recvfrom of what is there is one", function()
        assert.are.same(times(100, "recvmsg"), calls [==[
            local fd = assert(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
            local addr = ms.getsockname(fd)
            measure(function()
                for _ = 1, 100 do
                    local datagram, from, cut = ms.recvfrom(fd, 1000)
                    equal("datagram", datagram)
                    equal(addr, from)
                    equal(false, cut)
                end
            end, function()
                for _ = 1, 100 do assert(ms.sendto(fd, addr, "datagram")) end
            end)
        ]==])
    end)

    traced("a write, a sendall and a sendto are one each", function()
        assert.are.same({ "sendto", "sendto", "sendto" }, calls [==[
            local client = tcp_pair()
            local fd = assert(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
            local addr = ms.getsockname(fd)
            measure(function()
                equal(4, ms.write(client, "data"))
                equal(4, ms.sendall(client, "data", 1000))
                equal(8, ms.sendto(fd, addr, "datagram"))
            end)
        ]==])
    end)

    traced("connecting without a timeout is two", function()
        assert.are.same({ "socket", "connect" }, calls [==[
            local _, _, _, addr = tcp_pair()
            measure(function() assert(ms.connect(addr)) end)
        ]==])
    end)

    traced("accepting without a timeout is one", function()
        assert.are.same({ "accept4" }, calls [==[
            local _, _, server, addr = tcp_pair()
            measure(function() assert(ms.accept(server)) end,
                function() assert(ms.connect(addr)) end)
        ]==])
    end)

    traced("a poll of what is ready is one", function()
        assert.are.same({ "poll" }, calls [==[
            local client = tcp_pair()
            local pollfds = ms.pollfd(client, ms.POLLOUT)
            measure(function()
                equal(1, select(2, ms.poll(pollfds, 1000)))
            end)
        ]==])
    end)

    traced("the others are one each", function()
        assert.are.same({
            "getsockname", "getpeername", "setsockopt", "getsockopt",
            "shutdown", "socket", "bind", "listen", "close",
        }, calls [==[
            local addr = ms.inetaddr("127.0.0.1", 0)
            local client
            measure(function()
                assert(ms.getsockname(client))
                assert(ms.getpeername(client))
                assert(ms.setsockopt(client, "TCP_NODELAY", true))
                assert(ms.getsockopt(client, "TCP_NODELAY"))
                assert(ms.shutdown(client))
                local fd = assert(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
                assert(ms.bindfd(fd, addr))
                assert(ms.listen(fd))
                assert(ms.close(fd))
            end, function() client = tcp_pair() end)
        ]==])
    end)

    traced("addresses and texts need none", function()
        assert.are.same({}, calls [==[
            measure(function()
                local addr = ms.inetaddr("127.0.0.1", 80)
                equal(80, ms.parseaddr(addr).port)
                equal("::1", ms.parseaddr(ms.inet6addr("::1", 0)).addr)
                equal("/x", ms.parseaddr(ms.unixaddr("/x")).path)
                equal(3, (ms.unpollfd(ms.pollfd(3, ms.POLLIN))))
            end)
        ]==])
    end)

    -----------------------------------------------------------------------
    -- Calls that fail as they seldom do: strace takes the call's place.
    -----------------------------------------------------------------------

    traced("an interrupted recv is made again", function()
        local lines = trace([==[
            local client, peer = tcp_pair()
            for i = 1, 10 do
                assert(ms.write(client, "data" .. i))
                equal("data" .. i, ms.read(peer, 60000))
            end
            local array = ffi.new("char[4]")
            assert(ms.write(client, "more"))
            equal(4, ms.readinto(peer, array, 60000, 4))
        ]==], "-e trace=recvfrom -e inject=recvfrom:error=EINTR:when=1+2")
        assert.are.equal(11, injected(lines, "EINTR"))
    end)

    traced("so is an interrupted recvmsg", function()
        local lines = trace([==[
            local fd = assert(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
            assert(ms.sendto(fd, ms.getsockname(fd), "datagram"))
            equal("datagram", ms.recvfrom(fd, 60000))
        ]==], "-e trace=recvmsg -e inject=recvmsg:error=EINTR:when=1..3")
        assert.are.equal(3, injected(lines, "EINTR"))
    end)

    traced("so is an interrupted read of a pipe", function()
        local lines = trace([==[
            ffi.cdef "int spec_pipe(int *) __asm__(\"pipe\");"
            local ends = ffi.new("int[2]")
            ffi.C.spec_pipe(ends)
            ffi.C.spec_dup2(ends[0], 500)
            assert(ms.write(ends[1], "data"))
            equal("data", ms.read(500, 60000))
        ]==], "-e trace=poll,ppoll -e inject=poll:error=EINTR:when=1..3 "
            .. "-e inject=ppoll:error=EINTR:when=1..3")
        assert.are.equal(3, injected(lines, "EINTR"))
    end)

    traced("an interrupted send is made again, and sends once", function()
        local lines = trace([==[
            local client, peer = tcp_pair()
            equal(4, ms.write(client, "one "))
            equal(4, ms.sendall(client, "two "))
            equal(6, ms.sendall(client, "three ", 60000))
            assert(ms.shutdown(client, ms.SHUT_WR))
            local seen = ""
            repeat
                local piece = assert(ms.read(peer, 60000))
                seen = seen .. piece
            until piece == ""
            equal("one two three ", seen)
        ]==], "-e trace=sendto -e inject=sendto:error=EINTR:when=1+2")
        assert.are.equal(3, injected(lines, "EINTR"))
        assert.are.equal(6, count(lines, "^sendto"))
    end)

    traced("so is an interrupted sendto", function()
        local lines = trace([==[
            local fd = assert(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
            equal(8, ms.sendto(fd, ms.getsockname(fd), "datagram"))
            equal("datagram", ms.recvfrom(fd, 60000))
            equal(nil, (ms.recvfrom(fd, 0)))
        ]==], "-e trace=sendto -e inject=sendto:error=EINTR:when=1..3")
        assert.are.equal(3, injected(lines, "EINTR"))
    end)

    -- The pretended bytes never go out, so what arrives is the rest.
    for _, timeout in ipairs({ "nil", "60000" }) do
        traced("sendall goes on after a short send, timeout " .. timeout,
            function()
                local lines = trace(([==[
                    local client, peer = tcp_pair()
                    equal(10, ms.sendall(client, "0123456789", %s))
                    equal("456789", ms.read(peer, 60000))
                ]==]):format(timeout),
                    "-e trace=sendto -e inject=sendto:retval=4:when=1")
                assert.are.equal(2, count(lines, "^sendto"))
                assert.are.equal(1,
                    count(lines, '^sendto%(%d+, "0123456789", 10,.*= 4'))
                assert.are.equal(1,
                    count(lines, '^sendto%(%d+, "456789", 6,.*= 6'))
            end)
    end

    traced("sendall says how much went out before a failure", function()
        local lines = trace([==[
            local client = tcp_pair()
            local sent, message, code, before =
                ms.sendall(client, "0123456789", 60000)
            equal(nil, sent)
            equal(ms.ENOBUFS, code)
            assert(message:find("^sendall error: "))
            equal(0, before)
        ]==], "-e trace=sendto -e inject=sendto:error=ENOBUFS:when=1")
        assert.are.equal(1, count(lines, "^sendto"))
    end)

    for _, errno in ipairs({ "EINTR", "ECONNABORTED" }) do
        for _, timeout in ipairs({ "nil", "60000" }) do
            traced(("accept goes on after %s, timeout %s")
                :format(errno, timeout), function()
                    local lines = trace(([==[
                        local server, addr = assert(ms.bind("127.0.0.1", 0))
                        local client = assert(ms.connect(addr))
                        local fd, from = assert(ms.accept(server, %s))
                        equal(ms.getsockname(client), from)
                        equal(4, ms.write(client, "data"))
                        equal("data", ms.read(fd, 60000))
                    ]==]):format(timeout), ("-e trace=accept4 "
                        .. "-e inject=accept4:error=%s:when=1..3")
                        :format(errno))
                    assert.are.equal(3, injected(lines, errno))
                    assert.are.equal(4, count(lines, "^accept4"))
                end)
        end
    end

    traced("an accept without descriptors left is reported", function()
        trace([==[
            local server, addr = assert(ms.bind("127.0.0.1", 0))
            local client = assert(ms.connect(addr))
            for _, timeout in ipairs { math.huge, 60000 } do
                local fd, message, code = ms.accept(server, timeout)
                equal(nil, fd)
                equal(ms.EMFILE, code)
                assert(message:find("^accept error: "))
            end
            local fd, from = assert(ms.accept(server, 60000))
            equal(ms.getsockname(client), from)
            assert(ms.close(fd))
        ]==], "-e trace=accept4 -e inject=accept4:error=EMFILE:when=1..2")
    end)

    traced("an interrupted connect of a Unix socket is made again", function()
        local lines = trace(([==[
            local addr = assert(ms.unixaddr(%q))
            local server = assert(ms.bind(addr))
            for _, timeout in ipairs { math.huge, 60000 } do
                local client = assert(ms.connect(addr, nil, timeout))
                local peer = assert(ms.accept(server, 60000))
                equal(4, ms.write(client, "data"))
                equal("data", ms.read(peer, 60000))
            end
        ]==]):format(dir .. "/socket"),
            "-e trace=connect -e inject=connect:error=EINTR:when=1+2")
        assert.are.equal(2, injected(lines, "EINTR"))
    end)

    traced("an interrupted poll waits on", function()
        local lines = trace([==[
            local shim = require("minisock.cdefs").shim
            local client, peer = tcp_pair()
            for _, wait in ipairs {
                function() return select(2, ms.read(peer, 100)) end,
                function() return ms.msleep(100) end,
                function() return ms.poll(ms.pollfd(peer, ms.POLLIN), 100) end,
            } do
                local start = shim.minisock_now()
                assert(wait())
                assert(shim.minisock_now() - start >= 100)
            end
        ]==], "-e trace=poll,ppoll -e inject=poll:error=EINTR:when=1+2 "
            .. "-e inject=ppoll:error=EINTR:when=1+2")
        assert.is_true(injected(lines, "EINTR") >= 3)
    end)

    -- Which call it is has to be known beforehand: strace counts them all.
    traced("an interrupted close isn't made again, nor an error", function()
        local program = [==[
            local fd = assert(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
            ffi.C.spec_dup2(fd, 500)
            equal(true, ms.close(500))
        ]==]
        local number = 0
        for _, line in ipairs(trace(program, "-e trace=close,execve")) do
            -- Other processors' calls are counted by themselves.
            if support.engine == "i386" and line:find("^execve") then
                number = 0
            end
            if line:find("^close%(") then number = number + 1 end
            if line:find("^close%(500%)") then break end
        end
        local lines = trace(program, ("-e trace=close "
            .. "-e inject=close:error=EINTR:when=%d"):format(number))
        assert.are.equal(1, injected(lines, "^close%(500%)"))
        assert.are.equal(1, count(lines, "^close%(500%)"))
    end)

    -- The first that fails is the one that is asked for; what was opened
    -- before it has to be closed.
    local FAILING = {
        { "socket", "EMFILE", {
            [[ms.socket(ms.AF_INET, ms.SOCK_STREAM)]],
            [[ms.connect(addr)]],
            [[ms.connect(addr, nil, 60000)]],
            [[ms.connect("127.0.0.1", 1)]],
            [[ms.bind(addr)]],
            [[ms.bind("127.0.0.1", 0)]],
            [[ms.bind("*", 0)]],
            [[ms.udpsocket()]],
        } },
        { "socketpair", "ENFILE", { [[ms.socketpair()]] } },
        { "bind", "EADDRINUSE", {
            [[ms.bind(addr)]],
            [[ms.bind("127.0.0.1", 0)]],
            [[ms.bind("*", 0)]],
            [[ms.udpsocket(addr)]],
        } },
        { "listen", "EADDRINUSE", {
            [[ms.bind(addr)]],
            [[ms.bind("127.0.0.1", 0)]],
            [[ms.bind(nil, 0)]],
        } },
        { "setsockopt", "ENOPROTOOPT", {
            [[ms.bind(addr)]],
            [[ms.bind("127.0.0.1", 0, { reuseport = true })]],
        } },
        { "connect", "ENETUNREACH", {
            [[ms.connect(addr)]],
            [[ms.connect(addr, nil, 60000)]],
            [[ms.connect("127.0.0.1", 1)]],
            [[ms.connect("127.0.0.1", 1, 60000)]],
        } },
        { "ioctl", "ENOTTY", { [[ms.setnonblocking(fd, true)]] } },
    }

    local FAILING_PROGRAM = [==[
        local descriptors = require("spec.process").descriptors
        local addr = ms.inetaddr("127.0.0.1", 0)
        local fd = 0
        local before = descriptors()
        local expected, message, code = %s
        equal(nil, expected)
        equal(ms.%s, code)
        assert(message:find("^%s error: "), message)
        equal(before, descriptors())
    ]==]

    for _, failing in ipairs(FAILING) do
        local syscall, errno, attempts = unpack(failing)
        traced(("when %s fails, that's said, and nothing is left open")
            :format(syscall), function()
                for _, attempt in ipairs(attempts) do
                    local lines = trace(FAILING_PROGRAM:format(attempt, errno,
                        attempt:match("^ms%.([%w_]+)")),
                        ("-e trace=%s -e inject=%s:error=%s:when=1+")
                            :format(syscall, syscall, errno))
                    assert.is_true(injected(lines, errno) > 0, attempt)
                end
            end)
    end
end)
