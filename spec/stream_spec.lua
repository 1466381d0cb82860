local ms = require "minisock"
local support = require "spec.support"

local is_blocking = support.is_blocking
local keep = support.keep
local port_of = support.port_of
local FAMILIES = { inet = "127.0.0.1", inet6 = "::1" }

describe("read", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("returns what is there", function()
        local a, b = support.pair()
        ms.write(a, "a\0b\r\n\255")
        assert.are.equal("a\0b\r\n\255", ms.read(b))
    end)

    it("returns up to BUFSIZE bytes by default", function()
        local a, b = support.pair()
        ms.write(a, ("x"):rep(5000))
        assert.are.equal(4096, ms.BUFSIZE)
        assert.are.equal(4096, #ms.read(b))
        assert.are.equal(904, #ms.read(b))
    end)

    it("returns up to max bytes, and leaves the rest", function()
        local a, b = support.pair()
        ms.write(a, "abcdef")
        assert.are.equal("a", ms.read(b, 2000, 1))
        assert.are.equal("bc", ms.read(b, 2000, "2"))
        assert.are.equal("def", ms.read(b, 2000, 2^31 - 1))
    end)

    it("returns more than it has returned before", function()
        local a, b = support.pair()
        local data = ("0123456789abcdef"):rep(8192)
        assert.are.equal(#data, ms.sendall(a, data, 2000))
        assert.are.equal(data, ms.read(b, 2000, 2^20))
    end)

    it("returns \"\" at the end of a stream, again and again", function()
        local client, served = support.connection()
        ms.write(client, "last")
        ms.close(client)
        assert.are.equal("last", ms.read(served, 2000))
        for _ = 1, 3 do assert.are.equal("", ms.read(served, 2000)) end
    end)

    for name, make in pairs({
        socket = support.pair,
        ["TCP connection"] = support.connection,
        pipe = support.pipe,
    }) do
        it("times out on a " .. name, function()
            local fd = make()
            local took, data, message, code =
                support.timed(ms.read, fd, 60)
            assert.is_nil(data)
            assert.are.equal("read timeout", message)
            assert.are.equal(ms.ETIMEDOUT, code)
            assert.is_true(took >= 60)
        end)

        it("tries once with timeout 0 on a " .. name, function()
            local fd = make()
            local data, message, code = ms.read(fd, 0)
            assert.is_nil(data)
            assert.are.equal("read timeout", message)
            assert.are.equal(ms.ETIMEDOUT, code)
        end)

        it("times out on a non-blocking " .. name, function()
            local fd = make()
            ms.setnonblocking(fd, true)
            local took, _, message = support.timed(ms.read, fd, 60)
            assert.are.equal("read timeout", message)
            assert.is_true(took >= 60)
        end)
    end

    it("takes a fraction of a millisecond, and never ends early", function()
        local a = support.pair()
        local took = support.timed(ms.read, a, 20.75)
        assert.is_true(took >= 20.75)
    end)

    it("takes data that is there with timeout 0", function()
        local a, b = support.pair()
        ms.write(a, "x")
        assert.are.equal("x", ms.read(b, 0))
    end)

    it("waits for data that comes", function()
        local server, addr = support.listener()
        support.spawn(("sh -c 'echo late | socat -u - TCP4:127.0.0.1:%d'")
            :format(port_of(addr)))
        local served = keep(ms.accept(server))
        assert.are.equal("late\n", ms.read(served, -1))
        assert.are.equal("", ms.read(served, math.huge))
    end)

    it("reads a pipe to its end", function()
        local reader, writer = support.pipe()
        ms.write(writer, "through")
        assert.are.equal("thr", ms.read(reader, 2000, 3))
        assert.are.equal("ough", ms.read(reader, 2000))
        ms.close(writer)
        for _ = 1, 3 do assert.are.equal("", ms.read(reader, 2000)) end
    end)

    it("reports a reset connection once", function()
        local client, served = support.connection()
        ms.setsockopt(client, "SO_LINGER", 0)
        ms.close(client)
        local data, message, code = ms.read(served, 2000)
        assert.is_nil(data)
        assert.are.equal("read error: 104 Connection reset by peer", message)
        assert.are.equal(ms.ECONNRESET, code)
        assert.are.equal("", ms.read(served, 2000))
    end)

    it("fails on a listener", function()
        assert.are.equal(ms.ENOTCONN,
            select(3, ms.read((support.listener()), 2000)))
    end)

    it("reads an empty datagram as one", function()
        local a, b = support.pair(ms.SOCK_DGRAM)
        ms.write(a, "x")
        assert.are.equal(0, ms.sendall(a, ""))
        ms.write(a, "y")
        assert.are.equal("x", ms.read(b, 2000))
        assert.are.equal("", ms.read(b, 2000))
        assert.are.equal("y", ms.read(b, 2000))
    end)

    it("fails on a descriptor that isn't open, at once", function()
        local data, message, code = ms.read(-1, 60000)
        assert.is_nil(data)
        assert.are.equal("read error: 9 Bad file descriptor", message)
        assert.are.equal(ms.EBADF, code)
    end)
end)

describe("write", function()
    before_each(support.setup)
    after_each(support.teardown)

    -- What write returns, and what arrives of "abcdef".
    local function written(...)
        local a, b = support.pair()
        local n = ms.write(a, "abcdef", ...)
        ms.shutdown(a, ms.SHUT_WR)
        local got = ms.read(b, 2000)
        return n, got
    end

    for _, case in ipairs({
        { {}, 6, "abcdef" },
        { { 1 }, 6, "abcdef" },
        { { 3 }, 4, "cdef" },
        { { 6 }, 1, "f" },
        { { 7 }, 0, "" },
        { { 1, 3 }, 3, "abc" },
        { { 3, 2 }, 2, "cd" },
        { { 3, 4 }, 4, "cdef" },
        { { 3, 5 }, 4, "cdef" },
        { { 3, 2^31 }, 4, "cdef" },
        { { 3, 2^53 }, 4, "cdef" },
        { { 3, 0 }, 0, "" },
        { { 1, 0 }, 0, "" },
        { { 7, 5 }, 0, "" },
        { { "3", "2" }, 2, "cd" },
        { { nil, 2, n = 2 }, 2, "ab" },
        { { 3, nil, n = 2 }, 4, "cdef" },
    }) do
        local arguments, count, arrived = unpack(case)
        local n = arguments.n or #arguments
        local name = {}
        for i = 1, n do name[i] = tostring(arguments[i]) end
        it(("sends %q of \"abcdef\" for (%s)")
            :format(arrived, table.concat(name, ", ")), function()
                local sent, got = written(unpack(arguments, 1, n))
                assert.are.equal(count, sent)
                assert.are.equal(arrived, got)
            end)
    end

    for _, idx in ipairs({ 0, -1, 8, -2^31, 2^31, 2^32 + 1, 1.5, 0 / 0 }) do
        it("raises for idx " .. idx, function()
            local a = support.pair()
            assert.has_error(function() ms.write(a, "abcdef", idx) end)
        end)
    end

    for _, n in ipairs({ -1, -2^31, 0.5, 0 / 0 }) do
        it("raises for n " .. n, function()
            local a = support.pair()
            assert.has_error(function() ms.write(a, "abcdef", 1, n) end)
        end)
    end

    it("sends nothing for \"\", and returns 0", function()
        local a, b = support.pair(ms.SOCK_DGRAM)
        assert.are.equal(0, ms.write(a, ""))
        assert.are.equal(0, ms.write(a, "", 1))
        assert.are.equal("read timeout", select(2, ms.read(b, 0)))
    end)

    it("fails for \"\" too when the descriptor isn't open", function()
        local n, message, code = ms.write(-1, "")
        assert.is_nil(n)
        assert.are.equal("write error: 9 Bad file descriptor", message)
        assert.are.equal(ms.EBADF, code)
    end)

    it("sends a number as its digits", function()
        local a, b = support.pair()
        assert.are.equal(3, ms.write(a, 8.5))
        assert.are.equal("8.5", ms.read(b))
    end)

    it("sends a part, and then fails with EAGAIN, when the queue of a "
        .. "non-blocking descriptor is full", function()
            local a = support.pair()
            ms.setnonblocking(a, true)
            local data = ("x"):rep(2^22)
            local n = ms.write(a, data)
            assert.is_true(n > 0 and n < #data)
            local message, code
            repeat n, message, code = ms.write(a, data) until not n
            assert.are.equal("write error: 11 Resource temporarily "
                .. "unavailable", message)
            assert.are.equal(ms.EAGAIN, code)
        end)

    it("does the same on a pipe", function()
        local _, writer = support.pipe()
        ms.setnonblocking(writer, true)
        local data = ("x"):rep(2^22)
        local n = ms.write(writer, data)
        assert.is_true(n > 0 and n < #data)
        assert.are.equal(ms.EAGAIN, select(3, ms.write(writer, data)))
    end)

    it("fails with EPIPE when the peer has gone", function()
        local a, b = support.pair()
        ms.close(b)
        local n, message, code = ms.write(a, "x")
        assert.is_nil(n)
        assert.are.equal("write error: 32 Broken pipe", message)
        assert.are.equal(ms.EPIPE, code)
    end)

    it("fails with EPIPE when a pipe's reader has gone", function()
        local reader, writer = support.pipe()
        ms.close(reader)
        local n, message, code = ms.write(writer, "x")
        assert.is_nil(n)
        assert.are.equal("write error: 32 Broken pipe", message)
        assert.are.equal(ms.EPIPE, code)
    end)

    -- SIGPIPE would end the program, and so would one left pending, when it
    -- is let through.
    it("raises no SIGPIPE where it would kill", function()
        local output, status = support.run([[
            local ffi = require "ffi"
            local ms = require "minisock"
            ffi.cdef "void *signal(int, void *); int pipe(int *);"
            ffi.cdef "int sigpending(uint64_t *); int raise(int);"
            ffi.cdef "int pthread_sigmask(int, void *, uint64_t *);"
            ffi.C.signal(13, nil)
            local a, b = ms.socketpair()
            ms.close(b)
            local server, addr = ms.bind("127.0.0.1", 0)
            local tcp = ms.connect(addr)
            ms.shutdown(tcp, ms.SHUT_WR)
            local ends = ffi.new("int[2]")
            ffi.C.pipe(ends)
            ms.close(ends[0])
            for _, result in ipairs({
                { ms.write(a, "x") },
                { ms.write(ends[1], "x") },
                { ms.write(ends[1], "x", 1, 1) },
                { ms.sendall(a, "x") },
                { ms.sendall(a, "x", 1000) },
                { ms.sendall(ends[1], "x") },
                { ms.sendall(ends[1], "x", 1000) },
                { ms.write(tcp, "x") },
                { ms.sendto(tcp, addr, "x") },
            }) do
                io.write(result[2]:match("^%a+ error: %d+"), "\n")
            end
            local set = ffi.new("uint64_t[16]")
            ffi.C.sigpending(set)
            io.write(tostring(set[0] == 0), " ")
            ffi.C.pthread_sigmask(0, nil, set)
            io.write(tostring(set[0] == 0), " ")
            io.write(tostring(ffi.C.signal(13, nil) == nil), "\n")
            io.stdout:flush()
            ffi.C.raise(13)
        ]])
        assert.are.equal(("write error: 32\n"):rep(3)
            .. ("sendall error: 32\n"):rep(4) .. "write error: 32\n"
            .. "sendto error: 32\ntrue true true\n", output)
        assert.are.equal(128 + 13, status)
    end)

    it("leaves a SIGPIPE pending that was pending before", function()
        local output, status = support.run([[
            local ffi = require "ffi"
            local ms = require "minisock"
            ffi.cdef "int pipe(int *); int raise(int);"
            ffi.cdef "int sigpending(uint64_t *);"
            ffi.cdef "int pthread_sigmask(int, uint64_t *, void *);"
            local set = ffi.new("uint64_t[16]")
            set[0] = 2^12
            ffi.C.pthread_sigmask(0, set, nil)
            ffi.C.raise(13)
            local ends = ffi.new("int[2]")
            ffi.C.pipe(ends)
            ms.close(ends[0])
            io.write(select(3, ms.write(ends[1], "x")), " ")
            ffi.C.sigpending(set)
            io.write(tonumber(set[0]))
        ]])
        assert.are.equal("32 4096", output)
        assert.are.equal(0, status)
    end)
end)

describe("close", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("returns true, and EBADF the second time", function()
        local fd = ms.udpsocket()
        assert.is_true(ms.close(fd))
        local done, message, code = ms.close(fd)
        assert.is_nil(done)
        assert.are.equal("close error: 9 Bad file descriptor", message)
        assert.are.equal(ms.EBADF, code)
    end)

    it("closes pipes too", function()
        local reader, writer = support.pipe()
        assert.is_true(ms.close(writer))
        assert.are.equal("", ms.read(reader, 0))
    end)
end)

describe("shutdown", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("ends writing alone with SHUT_WR", function()
        local a, b = support.pair()
        assert.is_true(ms.shutdown(a, ms.SHUT_WR))
        assert.are.equal("", ms.read(b, 2000))
        assert.are.equal(ms.EPIPE, select(3, ms.write(a, "x")))
        ms.write(b, "still")
        assert.are.equal("still", ms.read(a, 2000))
    end)

    it("ends reading alone with SHUT_RD", function()
        local a, b = support.pair()
        assert.is_true(ms.shutdown(a, ms.SHUT_RD))
        assert.are.equal("", ms.read(a, 2000))
        ms.write(a, "still")
        assert.are.equal("still", ms.read(b, 2000))
    end)

    it("ends both by default", function()
        local a, b = support.pair()
        assert.is_true(ms.shutdown(a))
        assert.are.equal("", ms.read(a, 2000))
        assert.are.equal("", ms.read(b, 2000))
        assert.are.equal(ms.EPIPE, select(3, ms.write(a, "x")))
    end)

    it("fails on what isn't connected, and for a wrong how", function()
        local fd = keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        local done, message, code = ms.shutdown(fd)
        assert.is_nil(done)
        assert.matches("^shutdown error: 107 ", message)
        assert.are.equal(ms.ENOTCONN, code)
        assert.are.equal(ms.EINVAL,
            select(3, ms.shutdown(support.pair(), 77)))
    end)
end)

describe("setnonblocking", function()
    before_each(support.setup)
    after_each(support.teardown)

    for name, make in pairs({ socket = support.pair, pipe = support.pipe }) do
        it("sets and clears O_NONBLOCK of a " .. name, function()
            local fd = make()
            assert.is_true(ms.setnonblocking(fd, true))
            assert.is_false(is_blocking(fd))
            assert.is_true(ms.setnonblocking(fd, false))
            assert.is_true(is_blocking(fd))
        end)
    end
end)

describe("getsockname and getpeername", function()
    before_each(support.setup)
    after_each(support.teardown)

    for family, ip in pairs(FAMILIES) do
        it("give the whole address of " .. family, function()
            local client, served = support.connection(ip)
            local own, peer = ms.getsockname(client), ms.getpeername(client)
            local make = family == "inet" and ms.inetaddr or ms.inet6addr
            assert.are.equal(make(ip, port_of(own)), own)
            assert.are.equal(make(ip, port_of(peer)), peer)
            assert.are.equal(own, ms.getpeername(served))
            assert.are.equal(peer, ms.getsockname(served))
        end)
    end

    -- A Unix socket with a name, and one that is connected to it.
    local function named(addr)
        local server = keep(ms.bind(addr))
        return server, keep(ms.connect(addr, nil, 2000))
    end

    it("give a Unix path, and the kernel's NUL", function()
        local addr = ms.unixaddr(support.tmpname())
        local server, client = named(addr)
        assert.are.equal(addr .. "\0", ms.getsockname(server))
        assert.are.equal(addr .. "\0", ms.getpeername(client))
    end)

    it("give a path of 108 bytes, which can be used again", function()
        local addr = support.longest_unixaddr()
        local server, client = named(addr)
        assert.are.equal(addr, ms.getsockname(server))
        assert.are.equal(addr, ms.getpeername(client))
        keep(ms.connect(ms.getsockname(server), nil, 2000))
    end)

    it("give an abstract name byte for byte", function()
        for _, name in ipairs({ "\0minisock\0\0", "\0" .. ("n"):rep(107) }) do
            local addr = ms.unixaddr(name)
            local server, client = named(addr)
            assert.are.equal(addr, ms.getsockname(server))
            assert.are.equal(addr, ms.getpeername(client))
            ms.close(server)
        end
    end)

    it("give the family alone for a Unix socket without a name", function()
        local a = support.pair()
        assert.are.equal(ms.unixaddr(""), ms.getsockname(a))
        assert.are.equal(ms.unixaddr(""), ms.getpeername(a))
    end)

    it("fail where there is no address", function()
        local fd = keep(ms.udpsocket())
        local addr, message, code = ms.getpeername(fd)
        assert.is_nil(addr)
        assert.matches("^getpeername error: 107 ", message)
        assert.are.equal(ms.ENOTCONN, code)
        addr, message, code = ms.getsockname((support.pipe()))
        assert.is_nil(addr)
        assert.matches("^getsockname error: 88 ", message)
        assert.are.equal(ms.ENOTSOCK, code)
    end)
end)
