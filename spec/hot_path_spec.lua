-- What is called again and again stays compiled, and makes no garbage but the
-- strings that it returns. Each loop runs in a LuaJIT of its own, where
-- nothing of busted's is compiled or collected.
local support = require "spec.support"

local WARM_UP, ROUNDS = 200, 5000

-- Fewer bytes than the smallest cdata or closure in every round, more than
-- the traces that are still made.
local GROWTH = 6 * ROUNDS

-- A loop is a chunk that returns a function, one round. Its strings are always
-- the same ones: these are made once, and all else that grows is garbage.
local PRELUDE = [==[
local ffi = require "ffi"
local ms = require "minisock"
local batch = require "minisock.batch"
local poller = require "minisock.poller"
local pollset = require "minisock.pollset"
local process = require "spec.process"
local jutil = require "jit.util"
local vmdef = require "jit.vmdef"

ffi.cdef [[
int spec_fork(void) __asm__("fork");
int spec_prctl(int, unsigned long) __asm__("prctl");
void spec_exit(int) __asm__("_exit");
]]
process.alarm(60)

local aborts, seen = {}, {}
local traces, watching = 0, false

local function reason(code, info)
    if type(code) ~= "number" then return tostring(code) end
    if type(info) == "function" then
        local called = jutil.funcinfo(info)
        info = called.addr and vmdef.ffnames[called.ffid] or called.loc
    end
    return (vmdef.traceerr[code]:gsub("%%d", "%%s"):format(tostring(info)))
end

local function on_trace(what, _, func, pc, code, info)
    if what == "stop" then traces = traces + 1 end
    if what ~= "abort" or not watching then return end
    local place = jutil.funcinfo(func, pc).loc or "?"
    local text = ("%s: %s"):format(place, reason(code, info))
    if not seen[text] then aborts[#aborts + 1] = text end
    seen[text] = (seen[text] or 0) + 1
end

-- Another process, which does what a function says until it fails.
local function other(act)
    local parent = ffi.C.spec_fork()
    if parent ~= 0 then return end
    ms.close(1) -- nobody waits for it
    ms.close(2)
    process.alarm(60)
    ffi.C.spec_prctl(1, 9) -- it ends when the parent does
    pcall(function() while act() do end end)
    ffi.C.spec_exit(0)
end

local function udp()
    local fd = assert(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
    return fd, ms.getsockname(fd)
end

local function tcp_pair()
    local server, addr = assert(ms.bind("127.0.0.1", 0))
    local client = assert(ms.connect(addr))
    ms.setsockopt(client, "TCP_NODELAY", true)
    return client, assert(ms.accept(server))
end

local function make()
]==]

local MEASURE = "\n" .. [==[
end

local round = make()

local function rounds(count)
    for _ = 1, count do round() end
end

jit.attach(on_trace, "trace")
rounds(WARM_UP)
watching = true
rounds(ROUNDS)
watching = false
print("traces " .. traces)
for _, text in ipairs(aborts) do
    print(("abort %dx %s"):format(seen[text], text))
end
collectgarbage()
collectgarbage "stop"
local before = collectgarbage "count"
rounds(ROUNDS)
print("bytes " .. (collectgarbage "count" - before) * 1024)
]==]

local LOOPS = {
    { "write and read", [[
        local a, b = ms.socketpair()
        return function()
            ms.write(a, "ping")
            assert(ms.read(b) == "ping")
        end]] },
    { "write and read with timeouts", [[
        local a, b = tcp_pair()
        return function()
            ms.write(a, "ping")
            assert(ms.read(b, 1000) == "ping")
            ms.write(b, "pong")
            assert(ms.read(a, math.huge, 16) == "pong")
        end]] },
    { "write and read of what another process echoes", [[
        local a, b = tcp_pair()
        other(function() return ms.write(b, ms.read(b, 10000)) end)
        return function()
            ms.write(a, "ping")
            assert(ms.read(a, 5000) == "ping")
        end]] },
    { "the same without a timeout", [[
        local a, b = ms.socketpair()
        other(function() return ms.write(b, ms.read(b, 10000)) end)
        return function()
            ms.write(a, "ping")
            assert(ms.read(a, math.huge) == "ping")
        end]] },
    { "write of a part", [[
        local a, b = ms.socketpair()
        return function()
            ms.write(a, "xxping", 3)
            ms.write(a, "xxpingxx", 3, 4)
            assert(ms.read(b, 1000) == "pingping")
        end]] },
    { "readinto an array", [[
        local a, b = ms.socketpair()
        local array = ffi.new("uint8_t[16]")
        return function()
            ms.write(a, "ping")
            assert(ms.readinto(b, array, 1000, 16) == 4)
            assert(array[3] == 103)
        end]] },
    { "readinto a pointer", [[
        local a, b = ms.socketpair()
        local array = ffi.new("char[16]")
        local pointer = ffi.cast("char *", array)
        return function()
            ms.write(a, "ping")
            assert(ms.readinto(b, pointer, 1000, 16) == 4)
            assert(array[3] == 103) -- and it is kept
        end]] },
    { "readinto a string.buffer", [[
        local a, b = ms.socketpair()
        local buffer = require("string.buffer").new(65536)
        return function()
            ms.write(a, "ping")
            assert(ms.readinto(b, buffer, 1000) == 4)
            buffer:reset()
        end]] },
    { "sendall of a string", [[
        local a, b = ms.socketpair()
        return function()
            assert(ms.sendall(a, "ping") == 4)
            assert(ms.sendall(a, "ping", 1000) == 4)
            assert(ms.read(b, 1000) == "pingping")
        end]] },
    { "sendall of a list", [[
        local a, b = ms.socketpair()
        local list = { "p", "i", "n", "g" }
        return function()
            assert(ms.sendall(a, list) == 4)
            assert(ms.sendall(a, list, 1000) == 4)
            assert(ms.read(b, 1000) == "pingping")
        end]] },
    { "sendall of lists of many sizes", [[
        local a, b = ms.socketpair()
        local lists = {}
        for i = 0, 15 do
            lists[i] = {}
            for j = 1, i + 1 do lists[i][j] = "piece" end
        end
        local i = 0
        return function()
            i = (i + 1) % 16
            assert(ms.sendall(a, lists[i], 1000) == 5 * i + 5)
            assert(#ms.read(b, 1000) == 5 * i + 5)
        end]] },
    { "sendall of an array", [[
        local a, b = ms.socketpair()
        local array = ffi.new("char[4]", "ping")
        return function()
            assert(ms.sendall(a, array, 1000, 4) == 4)
            assert(ms.read(b, 1000) == "ping")
        end]] },
    { "sendall in bulk", [[
        local a, b = tcp_pair()
        local array = ffi.new("char[65536]")
        local data = ("x"):rep(65536)
        other(function()
            return ms.readinto(b, array, 10000, 65536) > 0
        end)
        ms.close(b)
        return function()
            assert(ms.sendall(a, data, 10000) == 65536)
        end]] },
    { "sendall of lists in bulk", [[
        local a, b = tcp_pair()
        local array = ffi.new("char[65536]")
        local list = {}
        for i = 1, 16 do list[i] = ("x"):rep(1024) end
        other(function()
            return ms.readinto(b, array, 10000, 65536) > 0
        end)
        ms.close(b)
        return function()
            -- With a timeout, a part that is left over would be a string.
            assert(ms.sendall(a, list) == 16384)
        end]] },
    { "readinto in bulk", [[
        local a, b = tcp_pair()
        local data = ("x"):rep(65536)
        other(function() return ms.sendall(b, data, 10000) end)
        ms.close(b)
        local array = ffi.new("char[65536]")
        return function()
            assert(ms.readinto(a, array, 5000, 65536) > 0)
        end]] },
    { "sendto and recvfrom", [[
        local a, a_addr = udp()
        local b, b_addr = udp()
        return function()
            ms.sendto(a, b_addr, "ping")
            local data, from, cut = ms.recvfrom(b, 1000)
            assert(data == "ping" and from == a_addr and not cut)
        end]] },
    { "sendto and recvfrom of two senders", [[
        local a, a_addr = udp()
        local b, b_addr = udp()
        local c, c_addr = udp()
        return function()
            ms.sendto(a, b_addr, "ping")
            ms.sendto(c, b_addr, "ping")
            assert(select(2, ms.recvfrom(b, 1000)) == a_addr)
            assert(select(2, ms.recvfrom(b, 1000)) == c_addr)
        end]] },
    { "sendto and recvfrom of what another process echoes", [[
        local a, a_addr = udp()
        local b, b_addr = udp()
        other(function()
            local data, from = ms.recvfrom(b, 10000)
            return ms.sendto(b, from, data)
        end)
        return function()
            ms.sendto(a, b_addr, "ping")
            assert(ms.recvfrom(a, 5000) == "ping")
        end]] },
    { "sendmany and recvmany", [[
        local a, a_addr = udp()
        local b, b_addr = udp()
        local into = batch.new(16)
        local list = { "1", "2", "3", "4", "5", "6", "7", "8" }
        return function()
            assert(ms.sendmany(a, list, b_addr) == 8)
            for i = 1, assert(ms.recvmany(b, into, 1000)) do
                local data, from, cut = into:get(i)
                assert(data == list[i] and from == a_addr and not cut)
            end
        end]] },
    { "sendmany with an address each", [[
        local a, a_addr = udp()
        local b, b_addr = udp()
        local c, c_addr = udp()
        local into = batch.new(16)
        local list = { "1", "2", "3", "4" }
        local addrs = { b_addr, c_addr, b_addr, c_addr }
        return function()
            assert(ms.sendmany(a, list, addrs) == 4)
            assert(ms.recvmany(b, into, 1000) == 2)
            assert(into:get(2) == "3" and into:address(1) == a_addr)
            assert(ms.recvmany(c, into, 1000) == 2)
        end]] },
    { "sendmany of a connected socket", [[
        local a, b = ms.socketpair(ms.SOCK_DGRAM)
        local into = batch.new(16)
        local list = { "1", "2", "3", "4" }
        return function()
            assert(ms.sendmany(a, list) == 4)
            assert(ms.recvmany(b, into) == 4)
        end]] },
    { "recvmany without strings", [[
        local a, a_addr = udp()
        local b, b_addr = udp()
        local into = batch.new(16)
        local list = { "1", "2", "3", "4", "5", "6", "7", "8" }
        return function()
            assert(ms.sendmany(a, list, b_addr) == 8)
            local sum = 0
            for i = 1, assert(ms.recvmany(b, into, 1000)) do
                local size, cut = into:length(i)
                sum = sum + into:pointer(i)[0] - 48 + size
                assert(not cut)
            end
            assert(sum == 44)
        end]] },
    { "recvmany of two senders", [[
        local a, a_addr = udp()
        local b, b_addr = udp()
        local c, c_addr = udp()
        local into = batch.new(16)
        local list = { "1", "2" }
        return function()
            ms.sendmany(a, list, b_addr)
            ms.sendmany(c, list, b_addr)
            assert(ms.recvmany(b, into, 1000) == 4)
            assert(into:address(1) == a_addr and into:address(2) == a_addr)
            assert(into:address(3) == c_addr and into:address(4) == c_addr)
        end]] },
    { "sendmany and recvmany of what another process echoes", [[
        local a, a_addr = udp()
        local b, b_addr = udp()
        local into = batch.new(16)
        local list = { "1", "2", "3", "4" }
        other(function()
            local n = ms.recvmany(b, into, 10000)
            local back = {}
            for i = 1, n do back[i] = into:get(i) end
            return ms.sendmany(b, back, a_addr)
        end)
        return function()
            assert(ms.sendmany(a, list, b_addr) == 4)
            assert(ms.recvmany(a, into, 5000) >= 1)
        end]] },
    { "a poller of one", [[
        local p = poller.new()
        local a, b = ms.socketpair()
        p:add(b, ms.EPOLLIN)
        return function()
            ms.write(a, "x")
            assert(p:wait(1000) == 1)
            local fd, events = p:ready(1)
            assert(fd == b and events == ms.EPOLLIN)
            ms.read(b, 0)
        end]] },
    { "a poller of many, with values and each timeout", [[
        local p = poller.new()
        local pairs_of = {}
        for i = 1, 50 do
            local a, b = ms.socketpair()
            pairs_of[i] = { a = a, b = b }
            p:add(b, ms.EPOLLIN, pairs_of[i])
        end
        local function take(timeout)
            for i = 1, 8 do ms.write(pairs_of[i].a, "x") end
            assert(p:wait(timeout) == 8)
            for i = 1, 8 do
                local found, events = p:ready(i)
                assert(events == ms.EPOLLIN)
                ms.read(found.b, 0)
            end
        end
        return function()
            take(nil)
            take(0)
            assert(p:wait(0) == 0)
            take(1000)
        end]] },
    { "a poller that adds, modifies and removes", [[
        local p = poller.new()
        local a, b = ms.socketpair()
        local value = {}
        return function()
            assert(p:add(b, ms.EPOLLIN, value))
            ms.write(a, "x")
            assert(p:wait(1000) == 1)
            assert(p:ready(1) == value)
            ms.read(b, 0)
            assert(p:modify(b, ms.EPOLLOUT))
            assert(p:wait(1000) == 1)
            assert(p:remove(b))
        end]] },
    { "a poller between two processes", [[
        local p = poller.new()
        local a, b = tcp_pair()
        other(function() return ms.write(b, ms.read(b, 10000)) end)
        p:add(a, ms.EPOLLIN)
        return function()
            ms.write(a, "ping")
            assert(p:wait(5000) == 1)
            assert(p:ready(1) == a)
            assert(ms.read(a, 0) == "ping")
        end]] },
    { "a pollset of one", [[
        local set = pollset.new()
        local a, b = ms.socketpair()
        set:add(b, ms.POLLIN)
        return function()
            ms.write(a, "x")
            assert(set:wait(1000) == 1)
            local fd, _, revents = set:get(1)
            assert(fd == b and revents == ms.POLLIN)
            ms.read(b, 0)
        end]] },
    { "a pollset of many, with each timeout", [[
        local set = pollset.new()
        local ends = {}
        for i = 1, 50 do
            local a, b = ms.socketpair()
            ends[i] = a
            set:add(b, ms.POLLIN)
        end
        local function take(timeout)
            for i = 1, 50, 7 do ms.write(ends[i], "x") end
            assert(set:wait(timeout) == 8)
            local found = 0
            for _, fd, revents in set:ready() do
                assert(revents == ms.POLLIN)
                ms.read(fd, 0)
                found = found + 1
            end
            assert(found == 8)
        end
        return function()
            take(nil)
            take(0)
            assert(set:wait(0) == 0)
            take(1000)
        end]] },
    { "a pollset that is filled each time", [[
        local set = pollset.new()
        local fds = {}
        for i = 1, 20 do fds[i] = ms.socketpair() end
        return function()
            set:clear()
            for i = 1, 20 do set:add(fds[i], ms.POLLIN) end
            set:set(5, fds[5], ms.POLLOUT)
            assert(set:wait(1000) == 1)
            for i, fd, revents in set:ready() do
                assert(i == 5 and fd == fds[5] and revents == ms.POLLOUT)
            end
        end]] },
    { "a pollset between two processes", [[
        local set = pollset.new()
        local a, b = tcp_pair()
        other(function() return ms.write(b, ms.read(b, 10000)) end)
        set:add(a, ms.POLLIN)
        return function()
            ms.write(a, "ping")
            assert(set:wait(5000) == 1)
            assert(ms.read(a, 0) == "ping")
        end]] },
    { "minisock.socket's write and read", [[
        local socket = require "minisock.socket"
        local a, b = ms.socketpair()
        a, b = socket.fromfd(a), socket.fromfd(b)
        a:settimeout(5)
        b:settimeout(5)
        return function()
            a:write("ping")
            assert(b:read(16) == "ping")
        end]] },
    { "minisock.socket's readline, many lines at once", [[
        local socket = require "minisock.socket"
        local a, b = ms.socketpair()
        a, b = socket.fromfd(a), socket.fromfd(b)
        a:settimeout(5)
        b:settimeout(5)
        local lines = ("a line\r\n"):rep(64)
        local left = 0
        return function()
            if left == 0 then
                a:write(lines)
                left = 64
            end
            left = left - 1
            assert(b:readline() == "a line")
        end]] },
    { "minisock.socket's readline, one at a time", [[
        local socket = require "minisock.socket"
        local a, b = ms.socketpair()
        a, b = socket.fromfd(a), socket.fromfd(b)
        a:settimeout(5)
        b:settimeout(5)
        return function()
            a:write("a line\n")
            assert(b:readline() == "a line")
        end]] },
    { "minisock.luasocket's lines, many at once", [[
        local socket = require "minisock.luasocket"
        local server = assert(socket.tcp())
        assert(server:bind("127.0.0.1", 0))
        assert(server:listen(5))
        local host, port = server:getsockname()
        local a = assert(socket.connect(host, port))
        local b = assert(server:accept())
        a:settimeout(5)
        b:settimeout(5)
        local lines = ("a line\r\n"):rep(64)
        local left = 0
        return function()
            if left == 0 then
                assert(a:send(lines))
                left = 64
            end
            left = left - 1
            assert(b:receive("*l") == "a line")
        end]] },
    { "minisock.luasocket's lines, one at a time", [[
        local socket = require "minisock.luasocket"
        local server = assert(socket.tcp())
        assert(server:bind("127.0.0.1", 0))
        assert(server:listen(5))
        local host, port = server:getsockname()
        local a = assert(socket.connect(host, port))
        local b = assert(server:accept())
        a:settimeout(5)
        b:settimeout(5)
        return function()
            assert(a:send("a line\n"))
            assert(b:receive() == "a line")
        end]] },
}

describe("once warmed up,", function()
    before_each(support.setup)
    after_each(support.teardown)

    for _, loop in ipairs(LOOPS) do
        local name, chunk = loop[1], loop[2]
        local results

        local function measure()
            local output, status = support.run(PRELUDE .. chunk
                .. (MEASURE:gsub("WARM_UP", WARM_UP):gsub("ROUNDS", ROUNDS)))
            assert.are.equal(0, status, output)
            return {
                traces = tonumber(output:match("traces (%d+)")),
                aborts = output:match("traces %d+\n(.*)bytes"),
                bytes = tonumber(output:match("bytes (%-?%d[%d.e+-]*)")),
            }
        end

        -- One run for both tests, in the first of them. What is recorded when
        -- is partly chance, so that one of three runs has to be as it should.
        local function run()
            for _ = 1, results and 0 or 3 do
                results = measure()
                if results.aborts == "" and results.bytes < GROWTH then
                    break
                end
            end
            return results
        end

        it(name .. ": no trace is aborted", function()
            assert.are.equal("", run().aborts)
            assert.is_true(run().traces > 0)
        end)

        it(name .. ": nothing is garbage", function()
            assert.is_true(run().bytes < GROWTH,
                ("%.1f bytes a round"):format(run().bytes / ROUNDS))
        end)
    end
end)
