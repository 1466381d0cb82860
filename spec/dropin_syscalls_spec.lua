local servers = require "spec.servers"
local support = require "spec.support"

-- What every program below starts with. What it does between two marks is what
-- is counted; a mark is a close of a descriptor that can't be.
local PRELUDE = [==[
local ffi = require "ffi"
local ms = require "minisock"
local resty = require "minisock.resty"
local luasocket = require "minisock.luasocket"
local unix = require "minisock.luasocket.unix"

ffi.cdef [[
int spec_close(int) __asm__("close");
]]
require("spec.process").alarm(60)

local function mark() ffi.C.spec_close(-77) end

-- Two rounds are rehearsals, for what is looked up or allocated only once.
-- What prepares a round doesn't count.
local function measure(act, prepare)
    for round = 1, 3 do
        if prepare then prepare() end
        if round == 3 then
            collectgarbage()
            mark()
        end
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

-- Unix sockets: what was sent is there at once, and in one piece. And TCP, for
-- which neither is certain.
local path = arg[1]
local server = assert(ms.bind(assert(ms.unixaddr(path))))
local tcp_server, addr = assert(ms.bind("127.0.0.1", 0))
local port = ms.parseaddr(addr).port

-- The client of each module, and the descriptor of its peer.
local connect = {}

function connect.resty()
    local sock = resty.tcp()
    sock:settimeout(30000)
    assert(sock:connect("unix:" .. path))
    return sock, assert(ms.accept(server))
end

function connect.resty_tcp()
    local sock = resty.tcp()
    sock:settimeout(30000)
    assert(sock:connect("127.0.0.1", port))
    return sock, assert(ms.accept(tcp_server))
end

function connect.luasocket()
    local sock = assert(unix.stream())
    assert(sock:connect(path))
    sock:settimeout(30)
    return sock, assert(ms.accept(server))
end

function connect.luasocket_tcp()
    local sock = assert(luasocket.connect("127.0.0.1", port))
    sock:settimeout(30)
    return sock, assert(ms.accept(tcp_server))
end

local function send(peer, text)
    equal(#text, assert(ms.sendall(peer, text, 30000)))
end
]==]

-- LuaJIT's own, for memory, come when they come.
local MEMORY = {
    brk = true, madvise = true, mmap = true, mprotect = true, mremap = true,
    mmap2 = true, munmap = true,
}

describe("system calls of the drop-ins:", function()
    local dir

    setup(function()
        servers.need("strace")
        dir = support.mkdtemp()
    end)

    teardown(function() support.rmtree(dir) end)

    before_each(support.setup)
    after_each(support.teardown)

    -- How often each is called between the marks.
    local function calls(program)
        local name = support.spit(dir .. "/program.lua", PRELUDE .. program)
        local output, status = support.shell(
            ("strace -f -qq -s 16 -o %s/trace %s %s %s")
                :format(dir, support.luajit, name, support.tmpname()))
        assert.are.equal("", output)
        assert.are.equal(0, status)
        local counts, counting = {}, false
        for line in io.lines(dir .. "/trace") do
            line = line:match("^%d+%s+(.*)$") or line
            local call = support.call_name(line)
            if line:find("^close%(%-77%)") then
                counting = not counting
            elseif counting and call and not MEMORY[call] then
                counts[call] = (counts[call] or 0) + 1
            end
        end
        assert.is_false(counting)
        return counts
    end

    for _, module in ipairs({ "resty", "luasocket" }) do
        local function start(kind)
            return ("local sock, peer = connect.%s()\n"):format(kind)
        end

        -- A buffer is 64 KiB, and this is less: one call for all of it.
        it(module .. " reads 3,000 lines by one recv", function()
            assert.are.same({ recvfrom = 1 }, calls(start(module) .. [==[
                local lines = ("a line of text\r\n"):rep(3000)
                measure(function()
                    for _ = 1, 3000 do
                        equal("a line of text", sock:receive("*l"))
                    end
                end, function() send(peer, lines) end)
            ]==]))
        end)

        it(module .. " receives small pieces by one recv", function()
            assert.are.same({ recvfrom = 1 }, calls(start(module) .. [==[
                measure(function()
                    for _ = 1, 3000 do equal("12345", sock:receive(5)) end
                end, function() send(peer, ("12345"):rep(3000)) end)
            ]==]))
        end)

        it(module .. " reads a long stream over TCP by buffers", function()
            local counts = calls(start(module .. "_tcp") .. [==[
                local part = ("0123456789abc\n"):rep(5000)
                measure(function()
                    for _ = 1, 4 do
                        send(peer, part)
                        for _ = 1, 5000 do
                            equal("0123456789abc", sock:receive())
                        end
                    end
                end)
            ]==])
            -- 20,000 lines in four parts of 70,000 bytes, which may come in
            -- pieces, and are waited for where they don't come at once.
            assert.is_true(counts.recvfrom >= 4 and counts.recvfrom <= 100,
                counts.recvfrom)
            assert.is_true((counts.poll or 0) <= counts.recvfrom)
        end)

        it(module .. " receives what is there by one call", function()
            assert.are.same({ recvfrom = 100, sendto = 100 },
                calls(start(module) .. [==[
                measure(function()
                    for _ = 1, 100 do
                        send(peer, "data")
                        equal("data", sock:receive(4))
                    end
                end)
            ]==]))
        end)

        it(module .. " sends by one call", function()
            assert.are.same({ sendto = 30 }, calls(start(module) .. [==[
                local text = ("x"):rep(1000)
                measure(function()
                    for _ = 1, 30 do equal(1000, sock:send(text)) end
                end, function()
                    ms.setnonblocking(peer, true)
                    while ms.read(peer, 0) do end
                end)
            ]==]))
        end)
    end

    it("resty's pieces up to a text cost one recv", function()
        assert.are.same({ recvfrom = 1 }, calls [==[
            local sock, peer = connect.resty()
            local upto = sock:receiveuntil("--end--")
            measure(function()
                for _ = 1, 1000 do equal("part", upto()) end
            end, function() send(peer, ("part--end--"):rep(1000)) end)
        ]==])
    end)

    it("resty's any costs one recv", function()
        assert.are.same({ recvfrom = 1 }, calls [==[
            local sock, peer = connect.resty()
            measure(function() equal("data", sock:receiveany(1000)) end,
                function() send(peer, "data") end)
        ]==])
    end)

    -- One look whether the peer has closed it or said something: when it is
    -- kept, and when it is taken.
    it("resty's pool costs a recv each way", function()
        assert.are.same({ recvfrom = 2, getpid = 2 }, calls [==[
            local sock = connect.resty()
            measure(function()
                equal(1, sock:setkeepalive())
                equal(1, sock:connect("unix:" .. path))
            end)
            equal(3, sock:getreusedtimes())
        ]==])
    end)

    it("a datagram is one call each way", function()
        assert.are.same({ sendto = 2, recvmsg = 2 }, calls [==[
            local fd = assert(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
            local here = ms.parseaddr(assert(ms.getsockname(fd))).port
            local one, two = resty.udp(), luasocket.udp()
            assert(one:setpeername("127.0.0.1", here))
            assert(two:setpeername("127.0.0.1", here))
            local pollfds = {}
            for i, sock in ipairs { one, two } do
                sock:send("hello")
                local _, from = assert(ms.recvfrom(fd, 30000))
                assert(ms.sendto(fd, from, "first"))
                equal("first", sock:receive())
                assert(ms.sendto(fd, from, "second"))
                pollfds[i] = from
            end
            ms.msleep(50)
            mark()
            equal(1, one:send("x"))
            equal(1, two:send("x"))
            equal("second", one:receive())
            equal("second", two:receive())
            mark()
        ]==])
    end)

    it("luasocket's select is one poll", function()
        assert.are.same({ poll = 1 }, calls [==[
            local sock, peer = connect.luasocket()
            measure(function()
                local ready = luasocket.select({ sock }, nil, 30)
                equal(sock, ready[1])
            end, function() send(peer, "data") end)
        ]==])
    end)
end)
