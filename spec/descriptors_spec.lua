local bit = require "bit"
local ms = require "minisock"
local support = require "spec.support"

local assert_talks = support.assert_talks
local is_blocking = support.is_blocking
local keep = support.keep
local port_of = support.port_of

describe("socket", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("makes a socket of a family, a type and a protocol", function()
        local fd =
            keep(ms.socket(ms.AF_INET6, ms.SOCK_DGRAM, ms.IPPROTO_UDP))
        assert.are.equal(ms.AF_INET6, ms.getsockopt(fd, "SO_DOMAIN"))
        assert.are.equal(ms.SOCK_DGRAM, ms.getsockopt(fd, "SO_TYPE"))
        assert.are.equal(ms.IPPROTO_UDP, ms.getsockopt(fd, "SO_PROTOCOL"))
    end)

    it("takes SOCK_NONBLOCK with the type", function()
        local fd = keep(ms.socket(ms.AF_UNIX,
            ms.SOCK_STREAM + ms.SOCK_NONBLOCK))
        assert.is_false(is_blocking(fd))
    end)

    it("fails for what the system doesn't have", function()
        local fd, message, code = ms.socket(12345, ms.SOCK_STREAM)
        assert.is_nil(fd)
        assert.matches("^socket error: 97 ", message)
        assert.are.equal(ms.EAFNOSUPPORT, code)
        assert.are.equal(ms.EPROTONOSUPPORT, select(3,
            ms.socket(ms.AF_INET, ms.SOCK_STREAM, ms.IPPROTO_UDP)))
        assert.are.equal(ms.EAFNOSUPPORT,
            select(3, ms.socket(-1, ms.SOCK_STREAM)))
        assert.are.equal(ms.EINVAL, select(3, ms.socket(ms.AF_INET, -1)))
    end)

    it("fails when the process has no more descriptors", function()
        if support.valgrind then return pending("valgrind has its own") end
        local output = support.run([[
            local ffi = require "ffi"
            local ms = require "minisock"
            ms.load() -- files couldn't be opened either
            ffi.cdef "int setrlimit(int, const unsigned long *);"
            ffi.C.setrlimit(7, ffi.new("unsigned long[2]", 20, 20))
            local server, addr = ms.bind("127.0.0.1", 0)
            local client = ms.connect(addr)
            while ms.socket(ms.AF_INET, ms.SOCK_STREAM) do end
            for _, result in ipairs({
                { ms.socket(ms.AF_INET, ms.SOCK_STREAM) },
                { ms.socketpair() },
                { ms.udpsocket() },
                { ms.bind("127.0.0.1", 0) },
                { ms.bind("*", 0) },
                { ms.connect(addr) },
                { ms.connect(addr, nil, 5000) },
                { ms.accept(server) },
                { ms.accept(server, 5000) },
            }) do
                print(result[2], result[3] == ms.EMFILE)
            end
        ]])
        for call in ("socket socketpair udpsocket bind bind connect connect "
            .. "accept accept"):gmatch("%a+") do
            local line
            line, output = output:match("^([^\n]*)\n(.*)$")
            assert.are.equal(
                call .. " error: 24 Too many open files\ttrue", line)
        end
    end)
end)

describe("socketpair", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("makes two connected streams", function()
        local a, b = support.pair()
        assert.are.equal(ms.SOCK_STREAM, ms.getsockopt(a, "SO_TYPE"))
        assert_talks(a, b)
    end)

    for _, name in ipairs({ "SOCK_DGRAM", "SOCK_SEQPACKET" }) do
        it("makes a pair of " .. name, function()
            local a, b = support.pair(ms[name])
            ms.write(a, "one")
            ms.write(a, "two")
            assert.are.equal("one", ms.read(b, 2000))
            assert.are.equal("two", ms.read(b, 2000))
        end)
    end

    it("fails for a type there isn't", function()
        local fd, message, code = ms.socketpair(77)
        assert.is_nil(fd)
        assert.matches("^socketpair error: ", message)
        assert.is_true(code > 0)
    end)
end)

describe("descriptors", function()
    before_each(support.setup)
    after_each(support.teardown)

    local function is_closed_on_exec(fd)
        return bit.band(support.descriptor_flags(fd), ms.SOCK_CLOEXEC) ~= 0
    end

    it("aren't inherited by other programs", function()
        local server, addr = support.listener()
        local made = {
            server,
            keep(ms.bind(ms.inet6addr("::1", 0))),
            keep(ms.bind(nil, 0)),
            keep(ms.connect(addr)),
            keep(ms.connect(addr, nil, 2000)),
            keep(ms.connect("127.0.0.1", port_of(addr), 2000)),
            keep(ms.accept(server)),
            keep(ms.accept(server, 2000)),
            keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM)),
            keep(ms.udpsocket()),
            keep(ms.udpsocket(ms.inetaddr("127.0.0.1", 0))),
            support.pair(),
        }
        made[#made + 1] = select(2, support.pair())
        for i, fd in ipairs(made) do
            assert.is_true(is_closed_on_exec(fd), i)
        end
    end)

    it("aren't there in a program that is started", function()
        local function sockets_of_a_program()
            local pipe = io.popen("ls -l /proc/self/fd")
            local _, count = pipe:read("*a"):gsub("socket:", "")
            pipe:close()
            return count
        end
        local before = sockets_of_a_program()
        local server, addr = support.listener()
        keep(ms.connect(addr))
        keep(ms.accept(server))
        assert.are.equal(before, sockets_of_a_program())
    end)
end)
