local bit = require "bit"
local ffi = require "ffi"
local lfs = require "lfs"
local ms = require "minisock"
local support = require "spec.support"

local keep, pair = support.keep, support.pair

ffi.cdef [[
int minisock_spec_open(const char *, int) __asm__("open64");
int minisock_spec_lseek(int, long, int) __asm__("lseek");
]]

local function open(name)
    return keep(ffi.C.minisock_spec_open(name, 0))
end

-- The descriptor of a file with a text in it.
local function text_file(text)
    return open(support.spit(support.tmpname(), text))
end

-- Where a file is.
local function position(fd)
    return ffi.C.minisock_spec_lseek(fd, 0, 1)
end

-- Fails unless these are the results of a call that failed so.
local function assert_fails(call, code, ...)
    local value, message, given = ...
    assert.is_nil(value)
    assert.are.equal(code, given)
    assert.matches("^" .. call .. " error: " .. code .. " ", message)
end

-- What raises, at the line of the call, for each of the arguments.
local function raises(call, ...)
    for _, arguments in ipairs({ ... }) do
        local raised, problem = pcall(function()
            ms[call](unpack(arguments, 1, arguments.n or #arguments))
        end)
        assert.is_false(raised)
        assert.matches("descriptor_spec%.lua:%d+: bad argument #%d to '"
            .. call .. "'", problem)
    end
end

describe("dup", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("gives a second descriptor of the same socket", function()
        local a, b = pair()
        local copy = keep(ms.dup(a))
        assert.are_not.equal(a, copy)
        support.assert_talks(copy, b)
    end)

    it("gives one that is closed on exec", function()
        local a = pair()
        ms.setcloexec(a, false)
        assert.is_true(ms.getcloexec(keep(ms.dup(a))))
    end)

    it("keeps the connection when the other is closed", function()
        local a, b = ms.socketpair()
        keep(b)
        local copy = keep(ms.dup(a))
        ms.close(a)
        support.assert_talks(copy, b)
    end)

    it("keeps the connection until a shutdown", function()
        local a, b = pair()
        local copy = keep(ms.dup(a))
        ms.shutdown(copy)
        assert.are.equal("", ms.read(b))
        assert.are.equal("", ms.read(a))
    end)

    it("takes what isn't a socket, too", function()
        local file = text_file("hello")
        local copy = keep(ms.dup(file))
        assert.are.equal("hello", ms.read(copy))
        assert.are.equal(5, position(file))
    end)

    it("fails for what isn't open", function()
        assert_fails("dup", ms.EBADF, ms.dup(-1))
        assert_fails("dup", ms.EBADF, ms.dup(2^31 - 1))
    end)

    it("fails when there are no more to be had", function()
        if support.valgrind then return pending("valgrind has its own") end
        local output, status = support.run([[
            local ffi = require "ffi"
            local ms = require "minisock"
            ffi.cdef "int setrlimit(int, const unsigned long *);"
            ffi.C.setrlimit(7, ffi.new("unsigned long[2]", 20, 20))
            local last
            repeat
                last = { ms.dup(0) }
            until not last[1]
            print(unpack(last, 1, 3))
        ]])
        assert.are.equal("nil\tdup error: 24 Too many open files\t24\n",
            output)
        assert.are.equal(0, status)
    end)

    it("raises for what isn't a descriptor", function()
        raises("dup", {}, { "x" }, { 0.5 }, { 2^31 }, { {} })
    end)
end)

describe("atmark", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("tells whether urgent data is next", function()
        local client, served = support.connection()
        ms.write(client, "a")
        ms.sendmsg(client, { data = "!" }, ms.MSG_OOB)
        ms.write(client, "b")
        ms.poll(ms.pollfd(served, ms.POLLPRI), 2000)
        assert.is_false(ms.atmark(served))
        assert.are.equal("a", ms.read(served, 2000))
        assert.is_true(ms.atmark(served))
        assert.are.equal("!", ms.recvmsg(served, 2000, 1, ms.MSG_OOB).data)
        assert.are.equal("b", ms.read(served, 2000))
        assert.is_false(ms.atmark(served))
    end)

    it("is false where nothing is urgent", function()
        local client = support.connection()
        assert.is_false(ms.atmark(client))
    end)

    it("fails for what isn't a TCP socket, isn't open", function()
        local fd = keep(ms.udpsocket())
        assert_fails("atmark", ms.ENOTTY, ms.atmark(fd))
        assert_fails("atmark", ms.EBADF, ms.atmark(-1))
    end)

    it("raises for what isn't a descriptor", function()
        raises("atmark", {}, { "x" }, { 0.5 })
    end)
end)

describe("sendfile", function()
    before_each(support.setup)
    after_each(support.teardown)

    local TEXT = "0123456789"

    it("sends a file", function()
        local a, b = pair()
        assert.are.equal(10, ms.sendfile(a, text_file(TEXT), 10))
        assert.are.equal(TEXT, ms.read(b))
    end)

    it("sends a file over TCP", function()
        local client, served = support.connection()
        local text = ("0123456789abcdef"):rep(1000)
        assert.are.equal(#text,
            ms.sendfile(client, text_file(text), #text))
        local got = ""
        while #got < #text do got = got .. ms.read(served, 5000) end
        assert.are.equal(text, got)
    end)

    it("goes on from where the file is", function()
        local a, b = pair()
        local file = text_file(TEXT)
        assert.are.equal(4, ms.sendfile(a, file, 4))
        assert.are.equal(6, ms.sendfile(a, file, 100))
        assert.are.equal(TEXT, ms.read(b))
        assert.are.equal(10, position(file))
    end)

    it("sends from an offset, and leaves the file where it is", function()
        local a, b = pair()
        local file = text_file(TEXT)
        assert.are.equal(3, ms.sendfile(a, file, 3, 5))
        assert.are.equal(2, ms.sendfile(a, file, 2, 0))
        assert.are.equal("56701", ms.read(b))
        assert.are.equal(0, position(file))
    end)

    it("sends from an offset above 4 GiB", function()
        local name = support.tmpname()
        local out = assert(io.open(name, "wb"))
        out:seek("set", 2^32 + 10)
        out:write("far")
        out:close()
        local a, b = pair()
        assert.are.equal(3, ms.sendfile(a, open(name), 10, 2^32 + 10))
        assert.are.equal("far", ms.read(b))
    end)

    it("gives 0 at the end of the file", function()
        local a = pair()
        local file = text_file(TEXT)
        assert.are.equal(0, ms.sendfile(a, file, 10, 10))
        assert.are.equal(0, ms.sendfile(a, file, 10, 2^40))
        ms.sendfile(a, file, 10)
        assert.are.equal(0, ms.sendfile(a, file, 10))
        assert.are.equal(0, ms.sendfile(a, text_file(""), 10))
    end)

    it("gives 0 for nothing", function()
        local a = pair()
        assert.are.equal(0, ms.sendfile(a, text_file(TEXT), 0))
    end)

    it("fails with EAGAIN when there is no room", function()
        local a = pair()
        support.fill(a)
        ms.setnonblocking(a, true)
        assert_fails("sendfile", ms.EAGAIN,
            ms.sendfile(a, text_file(TEXT), 10))
    end)

    it("sends as much as there is room for", function()
        local client = support.connection()
        ms.setnonblocking(client, true)
        local name = support.tmpname()
        local out = assert(io.open(name, "wb"))
        out:seek("set", 64 * 2^20 - 1)
        out:write("x")
        out:close()
        local sent = ms.sendfile(client, open(name), 64 * 2^20)
        assert.is_true(sent > 0 and sent < 64 * 2^20)
    end)

    it("fails with EPIPE, and raises no SIGPIPE", function()
        local output, status = support.run([[
            local ffi = require "ffi"
            local ms = require "minisock"
            ffi.cdef "void *signal(int, void *);"
            ffi.cdef "int open(const char *, int);"
            ffi.C.signal(13, nil)
            local a, b = ms.socketpair()
            ms.close(b)
            local file = ffi.C.open(arg[0], 0)
            print(ms.sendfile(a, file, 10))
            print(ms.sendfile(a, file, 10, 1))
        ]])
        assert.are.equal(
            ("nil\tsendfile error: 32 Broken pipe\t32\n"):rep(2), output)
        assert.are.equal(0, status)
    end)

    it("fails for what isn't open, isn't connected, isn't a file", function()
        local a, b = pair()
        local file = text_file(TEXT)
        assert_fails("sendfile", ms.EBADF, ms.sendfile(-1, file, 10))
        assert_fails("sendfile", ms.EBADF, ms.sendfile(a, -1, 10))
        assert_fails("sendfile", ms.ESPIPE, ms.sendfile(a, b, 10, 0))
        local directory = open("/")
        assert_fails("sendfile", ms.EINVAL, ms.sendfile(a, directory, 10))
        local unconnected = keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        local sent = ms.sendfile(unconnected, file, 10)
        assert.is_nil(sent)
    end)

    it("raises for what can't be meant", function()
        raises("sendfile", {}, { 0 }, { 0, 0 }, { 0, "x", 1 }, { 0, 0, -1 },
            { 0, 0, 0.5 }, { 0, 0, 2^31 }, { 0, 0, 1, -1 }, { 0, 0, 1, 0.5 },
            { 0, 0, 1, "x" }, { 0, 0, 1, 2^60 }, { 0, 0, 1, 0 / 0 })
    end)
end)

describe("a descriptor's mode", function()
    before_each(support.setup)
    after_each(support.teardown)

    local O_NONBLOCK, O_CLOEXEC = ms.SOCK_NONBLOCK, ms.SOCK_CLOEXEC

    local function flag(fd, which)
        return bit.band(support.descriptor_flags(fd), which) ~= 0
    end

    it("is blocking, non-blocking, and blocking again", function()
        local fd = pair()
        assert.is_false(ms.getnonblocking(fd))
        assert.is_true(ms.setnonblocking(fd, true))
        assert.is_true(flag(fd, O_NONBLOCK))
        assert.is_true(ms.getnonblocking(fd))
        assert.is_true(ms.setnonblocking(fd, false))
        assert.is_false(flag(fd, O_NONBLOCK))
        assert.is_false(ms.getnonblocking(fd))
    end)

    it("keeps its other flags", function()
        local O_APPEND = 1024
        local name = support.spit(support.tmpname(), "")
        local fd = keep(ffi.C.minisock_spec_open(name, 1 + O_APPEND))
        ms.setnonblocking(fd, true)
        assert.is_true(flag(fd, O_APPEND))
        ms.setnonblocking(fd, false)
        assert.is_true(flag(fd, O_APPEND))
    end)

    it("is closed on exec, isn't, and is again", function()
        local fd = pair()
        assert.is_true(ms.getcloexec(fd))
        assert.is_true(ms.setcloexec(fd, false))
        assert.is_false(flag(fd, O_CLOEXEC))
        assert.is_false(ms.getcloexec(fd))
        assert.is_true(ms.setcloexec(fd, true))
        assert.is_true(flag(fd, O_CLOEXEC))
        assert.is_true(ms.getcloexec(fd))
    end)

    it("decides what a program inherits", function()
        local fd = support.dup2(pair(), 57)
        ms.setcloexec(fd, false)
        local _, inherits = support.shell("test -e /dev/fd/57")
        ms.setcloexec(fd, true)
        local _, lacks = support.shell("test -e /dev/fd/57")
        assert.are.equal(0, inherits)
        assert.are.equal(1, lacks)
    end)

    it("is none of what isn't open", function()
        for call, argument in pairs({ getnonblocking = {},
                setnonblocking = { true }, getcloexec = {},
                setcloexec = { false } }) do
            assert_fails(call, ms.EBADF, ms[call](-1, unpack(argument)))
        end
    end)

    it("raises for what isn't a descriptor, a boolean", function()
        raises("getnonblocking", {}, { "x" }, { 0.5 })
        raises("getcloexec", {}, { "x" }, { 0.5 })
        raises("setnonblocking", {}, { "x", true }, { 0 }, { 0, 1 },
            { 0, "true" })
        raises("setcloexec", {}, { "x", true }, { 0 }, { 0, 1 },
            { 0, "true" })
    end)
end)

describe("SO_PEERCRED", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("is this process, of a pair", function()
        local a = pair()
        local credentials = ms.getsockopt(a, "SO_PEERCRED")
        local status = support.slurp("/proc/self/status")
        assert.are.same({
            pid = tonumber(status:match("\nPid:%s+(%d+)")),
            uid = tonumber(status:match("\nUid:%s+%d+%s+(%d+)")),
            gid = tonumber(status:match("\nGid:%s+%d+%s+(%d+)")),
        }, credentials)
    end)

    it("is who connected", function()
        local path = support.tmpname()
        local server = keep(ms.bind(ms.unixaddr(path)))
        local process = support.spawn(([[python3 -u -c '
import os, socket
s = socket.socket(socket.AF_UNIX)
s.connect("%s")
print(os.getpid(), os.geteuid(), os.getegid())
s.recv(1)']]):format(path))
        local served = keep(ms.accept(server, 20000))
        local pid, uid, gid = process:expect("^(%d+) (%d+) (%d+)$")
        assert.are.same({ pid = tonumber(pid), uid = tonumber(uid),
            gid = tonumber(gid) }, ms.getsockopt(served, "SO_PEERCRED"))
    end)

    it("is nobody, of TCP", function()
        local client = support.connection()
        local credentials = ms.getsockopt(client, "SO_PEERCRED")
        assert.are.equal(0, credentials.pid)
        assert.are.equal(-1, bit.tobit(credentials.uid))
        assert.are.equal(-1, bit.tobit(credentials.gid))
    end)

    it("can't be set", function()
        local a = pair()
        assert.has_error(function()
            ms.setsockopt(a, "SO_PEERCRED", { pid = 1, uid = 0, gid = 0 })
        end)
    end)
end)

describe("getinterfaces", function()
    before_each(support.setup)
    after_each(support.teardown)

    local function of(name, family)
        local found = {}
        for _, one in ipairs(assert(ms.getinterfaces())) do
            if one.name == name and one.family == family then
                found[#found + 1] = one
            end
        end
        return found
    end

    it("has loopback", function()
        local lo = of("lo", "inet")[1]
        assert.are.equal("127.0.0.1", lo.addr)
        assert.are.equal("255.0.0.0", lo.mask)
        assert.are.equal(1, lo.index)
        assert.is_nil(lo.hardware and lo.hardware:match("[1-9a-f]"))
        local both = bit.bor(ms.IFF_UP, ms.IFF_LOOPBACK)
        assert.are.equal(both, bit.band(lo.flags, both))
    end)

    it("has every interface, with its index and flags", function()
        local expected, found = {}, {}
        for name in lfs.dir("/sys/class/net") do
            local path = "/sys/class/net/" .. name
            if name:sub(1, 1) ~= "." and lfs.attributes(path .. "/ifindex") then
                expected[name] = tonumber(support.slurp(path .. "/ifindex"))
            end
        end
        for _, one in ipairs(assert(ms.getinterfaces())) do
            found[one.name] = one.index
        end
        assert.are.same(expected, found)
    end)

    it("has the hardware addresses", function()
        for _, one in ipairs(assert(ms.getinterfaces())) do
            if one.hardware then
                local told = support.slurp("/sys/class/net/" .. one.name
                    .. "/address")
                assert.are.equal(told, one.hardware .. "\n")
            end
        end
    end)

    it("has the IPv6 addresses that the kernel tells", function()
        local expected, found = {}, {}
        for line in io.lines("/proc/net/if_inet6") do
            local hex, index, bits, _, _, name =
                line:match("(%x+) (%x+) (%x+) (%x+) (%x+)%s+(%S+)")
            local ip = hex:gsub("%x%x%x%x", "%0:"):sub(1, -2)
            local parts = ms.parseaddr(ms.inet6addr(ip, 0))
            expected[#expected + 1] = ("%s %s %d %d"):format(name,
                parts.addr, tonumber(index, 16), tonumber(bits, 16))
        end
        for _, one in ipairs(assert(ms.getinterfaces())) do
            if one.family == "inet6" then
                local bits = 0
                for byte in ms.inet6addr(one.mask, 0):sub(9, 24)
                        :gmatch(".") do
                    while byte:byte() ~= 0 do
                        bits = bits + 1
                        byte = string.char(byte:byte() * 2 % 256)
                    end
                end
                found[#found + 1] = ("%s %s %d %d"):format(one.name,
                    one.addr, one.index, bits)
            end
        end
        table.sort(expected)
        table.sort(found)
        assert.are.same(expected, found)
    end)

    it("has the scope of link-local addresses", function()
        for _, one in ipairs(assert(ms.getinterfaces())) do
            if one.family == "inet6" then
                local is_local = one.addr:find("^fe80:") ~= nil
                assert.are.equal(is_local and one.index or 0, one.scope)
            end
        end
    end)

    it("has the IPv4 addresses that Python is told of", function()
        local name = support.spit(support.tmpname(), [[
import fcntl, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for index, name in socket.if_nameindex():
    def ask(request):
        data = struct.pack("256s", name.encode())
        return socket.inet_ntoa(fcntl.ioctl(s.fileno(), request, data)[20:24])
    try:
        print(index, name, ask(0x8915), ask(0x891b))
    except OSError:
        pass
]])
        local seen = 0
        for line in support.shell("python3 " .. name):gmatch("[^\n]+") do
            local index, interface, addr, mask =
                line:match("^(%d+) (%S+) (%S+) (%S+)$")
            local one = of(interface, "inet")[1]
            assert.are.same({ tonumber(index), addr, mask },
                { one.index, one.addr, one.mask })
            seen = seen + 1
        end
        assert.is_true(seen > 0)
    end)

    it("gives its memory back", function()
        -- What looks at memory keeps some of what is given back.
        if support.valgrind or support.asan then
            return pending("memory is looked at")
        end
        local output = support.run([[
            local ms = require "minisock"
            local function resident()
                for line in io.lines("/proc/self/statm") do
                    return tonumber(line:match("^%d+ (%d+)"))
                end
            end
            local function many()
                for _ = 1, 5000 do ms.getinterfaces() end
                collectgarbage()
            end
            many()
            local before = resident()
            many()
            print(resident() - before < 256) -- pages: 1 MiB
        ]])
        assert.are.equal("true\n", output)
    end)
end)
