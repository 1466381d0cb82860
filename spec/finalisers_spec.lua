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

describe("a finaliser that sends and receives", function()
    before_each(support.setup)
    after_each(support.teardown)

    for _, jit in ipairs({ "on", "off" }) do
        it("leaves what it interrupts as it was, jit " .. jit, function()
            local calls = support.valgrind and 1000 or 20000
            local output, status =
                support.run(PROGRAM:format(calls, calls / 4), jit)
            assert.are.equal("", output)
            assert.are.equal(0, status)
        end)
    end
end)
