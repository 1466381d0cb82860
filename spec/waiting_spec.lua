-- Where poll says "ready" and the call finds nothing: waiting must not become
-- spinning, and must end.
local bit = require "bit"
local ffi = require "ffi"
local ms = require "minisock"
local support = require "spec.support"

-- The results of a call, and how many ms of processor time it took.
local function with_cpu(call, ...)
    local start = os.clock()
    local first, second, third = call(...)
    return (os.clock() - start) * 1000, first, second, third
end

local function udp()
    local fd = support.keep(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
    return fd, ms.getsockname(fd)
end

describe("a datagram socket that was shut down for reading", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("gives the end of the stream to read", function()
        local fd, addr = udp()
        assert(ms.connectfd(fd, addr))
        assert(ms.shutdown(fd, ms.SHUT_RD))
        assert.are.equal("", ms.read(fd, 5000))
    end)

    it("gives it to recvfrom, without an address", function()
        local fd, addr = udp()
        assert(ms.connectfd(fd, addr))
        assert(ms.shutdown(fd, ms.SHUT_RD))
        assert.are.same({ "", "", false }, { ms.recvfrom(fd, 5000) })
    end)

    it("does so for a Unix socket", function()
        local a = support.pair(ms.SOCK_DGRAM)
        assert(ms.shutdown(a, ms.SHUT_RD))
        assert.are.equal("", ms.read(a, 5000))
    end)
end)

describe("a socket whose error queue isn't empty", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("waits for its timeout, without burning the processor", function()
        local fd = udp()
        assert(ms.setsockopt(fd, "IP_RECVERR", true))
        local gone = ms.udpsocket(ms.inetaddr("127.0.0.1", 0))
        local nobody = ms.getsockname(gone)
        ms.close(gone)
        assert(ms.connectfd(fd, nobody))
        assert(ms.write(fd, "x"))
        assert.are.equal(ms.ECONNREFUSED, select(3, ms.read(fd, 2000)))
        local cpu, data, _, code = with_cpu(ms.read, fd, 300)
        assert.is_nil(data)
        assert.are.equal(ms.ETIMEDOUT, code)
        assert.is_true(cpu < 150, cpu)
    end)
end)

describe("recvmsg", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("of the error queue doesn't wait for ordinary data", function()
        local fd, addr = udp()
        ms.sendto(fd, addr, "data")
        local _, _, code = ms.recvmsg(fd, 300, 10, ms.MSG_ERRQUEUE)
        assert.are.equal(ms.ETIMEDOUT, code)
    end)

    it("that peeks beyond the data waits without spinning", function()
        local a, b = support.pair()
        assert(ms.setsockopt(b, "SO_PEEK_OFF", 4))
        ms.write(a, "abcd")
        local cpu, _, _, code =
            with_cpu(ms.recvmsg, b, 300, 10, ms.MSG_PEEK)
        assert.are.equal(ms.ETIMEDOUT, code)
        assert.is_true(cpu < 150, cpu)
    end)
end)

-- SIGPIPE kills by default; busted must not be what it kills.
describe("a reader that leaves in the middle of a write", function()
    before_each(support.setup)
    after_each(support.teardown)

    local PROGRAM = [[
        local ffi, ms = require "ffi", require "minisock"
        ffi.cdef "int pipe(int *); int fork(void); void _exit(int);"
        local ends = ffi.new("int[2]")
        assert(ffi.C.pipe(ends) == 0)
        if ffi.C.fork() == 0 then
            ms.close(ends[1])
            ms.read(ends[0], 5000)
            ffi.C._exit(0)
        end
        ms.close(ends[0])
        local sent, _, code = ms.%s(ends[1], ("x"):rep(2^20))
        print(sent and sent > 0 or code == ms.EPIPE)
    ]]

    for _, call in ipairs({ "write", "sendall" }) do
        it("doesn't kill the one who calls " .. call, function()
            local output, status = support.run(PROGRAM:format(call))
            assert.are.equal(0, status)
            assert.are.equal("true\n", output)
        end)
    end
end)

-- A NULL pointer equals nil, and is no nil.
describe("a NULL pointer", function()
    before_each(support.setup)
    after_each(support.teardown)

    local NULL = ffi.cast("void *", 0)

    it("is no address for udpsocket", function()
        assert.has_error(function() ms.udpsocket(NULL) end)
    end)

    it("is no part of a message", function()
        local a = support.pair()
        for _, part in ipairs({ "fds", "credentials", "control" }) do
            assert.has_error(function()
                ms.sendmsg(a, { data = "x", [part] = NULL })
            end)
        end
    end)

    it("is no host", function()
        assert.has_error(function() ms.getaddrinfo(NULL, 80) end)
    end)
end)

describe("memory that can't be written to", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("is refused by readinto, by the argument's number", function()
        local a = support.pair()
        for _, value in ipairs({ ffi.cast("const char *", "text"),
                ffi.new("const char[4]"), ffi.typeof("char[16]") }) do
            local raised, problem =
                pcall(function() ms.readinto(a, value, 0, 3) end)
            assert.is_false(raised)
            assert.matches("waiting_spec%.lua:%d+: bad argument #2 to "
                .. "'readinto'", problem)
        end
    end)
end)

describe("bind of a raw address", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("takes its options in the third place too", function()
        local fd = support.keep(
            ms.bind(ms.inetaddr("127.0.0.1", 0), nil, { reuseport = true }))
        assert.is_true(ms.getsockopt(fd, "SO_REUSEPORT"))
    end)
end)

describe("startconnect", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("is under way, and tells by POLLOUT and SO_ERROR", function()
        local _, addr = support.listener()
        local fd = support.keep(
            ms.socket(ms.AF_INET, ms.SOCK_STREAM + ms.SOCK_NONBLOCK))
        local _, _, code = ms.startconnect(fd, addr)
        local ready = ms.poll(ms.pollfd(fd, ms.POLLOUT), 2000)
        local _, _, revents = ms.unpollfd(ready)
        assert.are.equal(ms.EINPROGRESS, code)
        assert.are.equal(ms.POLLOUT, bit.band(revents, ms.POLLOUT))
        assert.are.equal(0, ms.getsockopt(fd, "SO_ERROR"))
    end)
end)
