local support = require "spec.support"

-- A finaliser may run in the middle of any call, and make one itself: what the
-- two work with must not be the same memory.
local PROGRAM = [==[
jit[...]()
local ffi = require "ffi"
local ms = require "minisock"

ffi.cdef "struct spec_finalised { int value; };"
local FINALISED = ffi.typeof("struct spec_finalised")

local function bound()
    local fd = assert(ms.udpsocket(assert(ms.inetaddr("127.0.0.1", 0))))
    return fd, assert(ms.getsockname(fd))
end

local function receive(fd)
    local message = assert(ms.recvmsg(fd, 0))
    return message.data, message.addr
end

local inner, inner_addr = bound()
local other, other_addr = bound()
local runs = 0

local function finalise()
    runs = runs + 1
    for _, call in ipairs { ms.recvfrom, receive } do
        assert(ms.sendmsg(other, { data = "inner", addr = inner_addr }))
        local data, addr = call(inner, 0)
        assert(data == "inner" and addr == other_addr)
    end
end

local fd, addr = bound()
local peer, peer_addr = bound()
for i = 1, %d do
    ffi.gc(FINALISED(), finalise)
    local text = "outer " .. i
    assert(ms.sendmsg(peer, { data = { text, "." }, addr = addr }))
    local data, from
    if i %% 2 == 0 then
        data, from = ms.recvfrom(fd, 0)
    else
        data, from = receive(fd)
    end
    assert(data == text .. ".", data)
    assert(from == peer_addr, "of " .. text)
end
assert(runs > %d, runs)
]==]

-- The same for what makes no system call, or one that has no peer: what each
-- call gives for one of two arguments, while a finaliser asks about the other.
local PAIRS = [==[
jit[...]()
local ffi = require "ffi"
local ms = require "minisock"

ffi.cdef "struct spec_finalised { int value; };"
local FINALISED = ffi.typeof("struct spec_finalised")
collectgarbage("setpause", 100)
collectgarbage("setstepmul", 1000)

local function parsed(addr)
    local parts = ms.parseaddr(addr)
    return parts.addr .. " " .. parts.port .. " " .. parts.scope
end

local fd = assert(ms.udpsocket())
local function received_within(timeout)
    assert(ms.setsockopt(fd, "SO_RCVTIMEO", timeout))
    return ms.getsockopt(fd, "SO_RCVTIMEO")
end

local function join(group)
    assert(ms.joingroup(fd, group, 1))
    assert(ms.leavegroup(fd, group, 1))
end

local four, other = ms.inetaddr("10.1.2.3", 1), ms.inetaddr("99.98.97.96", 2)
local six = ms.inet6addr("2001:db8::1", 3, 4)
local link = ms.inet6addr("fe80::1", 5, 6)
local CALLS = {
    { ms.inetaddr, { "10.1.2.3", 1111 }, { "99.98.97.96", 9999 } },
    { ms.inet6addr, { "2001:db8::1", 1, 2 }, { "fe80::1", 3, 4 } },
    { function(...) return ms.getaddrinfo(...)[1] end,
        { "10.1.2.3", 1111 }, { "::1", 9999 } },
    { parsed, { four }, { other } },
    { parsed, { six }, { link } },
    { ms.getnameinfo, { four, true }, { link, true } },
    { received_within, { 3000 }, { 8500 }, alone = true },
    { join, { "239.1.2.3" }, { "239.3.2.1" } },
}

for number, case in ipairs(CALLS) do
    local call, ours, theirs = case[1], case[2], case[3]
    local expected = call(unpack(ours))
    local also = call(unpack(theirs))
    local runs = 0
    local function finalise()
        runs = runs + 1
        if case.alone then return assert(ms.getsockopt(fd, "SO_SNDTIMEO")) end
        assert(call(unpack(theirs)) == also, "inner of " .. number)
    end
    for _ = 1, %d do
        ffi.gc(FINALISED(), finalise)
        assert(call(unpack(ours)) == expected, "outer of " .. number)
    end
    collectgarbage()
    assert(runs > 0)
end
]==]

describe("a finaliser that sends and receives", function()
    before_each(support.setup)
    after_each(support.teardown)

    for _, jit in ipairs({ "on", "off" }) do
        it("leaves what it interrupts as it was, jit " .. jit, function()
            local calls = support.slow and 1000 or 20000
            local output, status =
                support.run(PROGRAM:format(calls, calls / 4), jit)
            assert.are.equal("", output)
            assert.are.equal(0, status)
        end)

        it("leaves what others give as it was, jit " .. jit, function()
            local calls = support.slow and 200 or 3000
            local output, status = support.run(PAIRS:format(calls), jit)
            assert.are.equal("", output)
            assert.are.equal(0, status)
        end)
    end
end)
