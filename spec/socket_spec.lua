local bit = require "bit"
local lfs = require "lfs"
local ms = require "minisock"
local socket = require "minisock.socket"
local support = require "spec.support"

local CLOSED, TIMEOUT = "Connection closed", "Operation timed out"
local NOT_OPEN = "Bad file descriptor"
local WOULD_BLOCK = "Resource temporarily unavailable"
local AF_INET, AF_INET6, AF_UNIX = ms.AF_INET, ms.AF_INET6, ms.AF_UNIX
local SOCK_STREAM, SOCK_DGRAM = ms.SOCK_STREAM, ms.SOCK_DGRAM

local objects

-- Closes a socket after the test, and bounds its waiting.
local function keep(sock, ...)
    assert(sock, (...))
    objects[#objects + 1] = sock
    sock:settimeout(10)
    return sock, ...
end

local function setup()
    objects = {}
    support.setup()
end

local function teardown()
    for _, sock in ipairs(objects) do sock:close() end
    support.teardown()
end

local function results(...)
    return { n = select("#", ...), ... }
end

local function listener(host)
    local server = keep(socket.tcp())
    assert(server:bind(host or "127.0.0.1", 0))
    assert(server:listen(5))
    return server, server:getsockname()[2]
end

-- A client, the server's end of the connection, and the server.
local function connection(host)
    local server, port = listener(host)
    local client = keep(socket.tcp())
    assert(client:connect(host or "127.0.0.1", port))
    return client, keep(server:accept()), server
end

-- Two connected Unix sockets.
local function pair(socktype)
    local a, b = ms.socketpair(socktype)
    return keep(socket.fromfd(a)), keep(socket.fromfd(b))
end

local function udp(host)
    local sock = keep(socket.udp())
    assert(sock:bind(host or "127.0.0.1", 0))
    return sock, sock:getsockname()[2]
end

local function unix(socktype)
    return keep(socket.socket(AF_UNIX, socktype or SOCK_STREAM))
end

local function unique_name()
    return ("@minisock %d %.17g"):format(os.time(), math.random())
end

-- A Python program at the other end.
local function python(program)
    return support.spawn("python3 -u " .. support.spit(support.tmpname(),
        "import signal, socket, sys\nsignal.alarm(60)\n" .. program))
end

-- Runs a Lua program in a LuaJIT of its own, in a shell that was prepared for
-- it, and expects it to print this.
local function assert_prints(expected, program, preparation, luajit)
    local name = support.spit(support.tmpname(), program)
    local output, status = support.shell(("%s %s %s"):format(
        preparation or "", luajit or support.luajit, name))
    assert.are.equal(expected, output)
    assert.are.equal(0, status)
end

local function assert_raises(pattern, call, ...)
    local fine, message = pcall(call, ...)
    assert.is_false(fine)
    assert.matches(pattern, message)
end

local function flags_of(sock)
    return support.descriptor_flags(sock:fileno())
end

local function is_blocking(sock)
    return bit.band(flags_of(sock), ms.SOCK_NONBLOCK) == 0
end

describe("socket.socket", function()
    before_each(setup)
    after_each(teardown)

    for _, family in ipairs({ "AF_INET", "AF_INET6", "AF_UNIX" }) do
        for _, socktype in ipairs({ "SOCK_STREAM", "SOCK_DGRAM" }) do
            it(("makes one of %s, %s"):format(family, socktype), function()
                local got = results(
                    socket.socket(socket[family], socket[socktype]))
                local fd = keep(got[1]):fileno()
                assert.are.equal(1, got.n)
                assert.are.equal(ms[family], ms.getsockopt(fd, "SO_DOMAIN"))
                assert.are.equal(ms[socktype], ms.getsockopt(fd, "SO_TYPE"))
            end)
        end
    end

    it("takes a protocol", function()
        local sock = keep(socket.socket(AF_INET, SOCK_DGRAM, 136))
        assert.are.equal(136, ms.getsockopt(sock:fileno(), "SO_PROTOCOL"))
    end)

    it("takes numbers in strings", function()
        local sock = keep(socket.socket("2", "2", "0"))
        assert.are.equal(SOCK_DGRAM,
            ms.getsockopt(sock:fileno(), "SO_TYPE"))
    end)

    it("waits for ever, until it is told otherwise", function()
        local sock = socket.socket(AF_INET, SOCK_STREAM)
        local timeout, blocking = sock:gettimeout(), is_blocking(sock)
        sock:close()
        assert.are.equal(-1, timeout)
        assert.is_true(blocking)
    end)

    it("isn't inherited by other programs", function()
        local sock = keep(socket.tcp())
        assert.are_not.equal(0, bit.band(flags_of(sock), ms.SOCK_CLOEXEC))
    end)

    it("says what the system says", function()
        local sock, message, code = socket.socket(99, SOCK_STREAM)
        assert.is_nil(sock)
        assert.are.equal("Address family not supported by protocol", message)
        assert.are.equal(ms.EAFNOSUPPORT, code)
    end)

    it("raises for what isn't a number, at the line that called", function()
        assert_raises("bad argument #1 to 'socket'", socket.socket)
        assert_raises("bad argument #2 to 'socket'", socket.socket, 2)
        assert_raises("bad argument #3 to 'socket'", socket.socket, 2, 1, {})
        assert_raises("^spec/socket_spec", function()
            local sock = socket.socket({}, 1)
            return sock
        end)
    end)
end)

describe("socket.tcp and socket.udp", function()
    before_each(setup)
    after_each(teardown)

    for name, socktype in pairs({ tcp = SOCK_STREAM, udp = SOCK_DGRAM }) do
        it(name .. " makes an IPv4 socket", function()
            local fd = keep(socket[name]()):fileno()
            assert.are.equal(AF_INET, ms.getsockopt(fd, "SO_DOMAIN"))
            assert.are.equal(socktype, ms.getsockopt(fd, "SO_TYPE"))
        end)
    end
end)

describe("socket.fromfd", function()
    before_each(setup)
    after_each(teardown)

    it("makes a socket that reads and writes", function()
        local a, b = pair()
        a:write("there")
        local there = b:read(100)
        b:write("back")
        assert.are.equal("there", there)
        assert.are.equal("back", a:read(100))
    end)

    it("knows that it is of datagrams", function()
        local a, b = pair(SOCK_DGRAM)
        a:write("")
        a:write("x")
        assert.are.equal("", b:read(100))
        assert.are.equal("x", b:read(100))
    end)

    it("reads from a descriptor that doesn't block", function()
        local a, b = ms.socketpair(bit.bor(SOCK_STREAM, ms.SOCK_NONBLOCK))
        support.keep(b)
        local sock = socket.fromfd(a)
        local writer = support.spawn("sleep 60")
        sock:settimeout(0.05)
        local data, message = sock:read(10)
        sock:close()
        writer:stop()
        assert.are.equal("", data)
        assert.are.equal(TIMEOUT, message)
    end)

    it("refuses what isn't open", function()
        local sock, message, code = socket.fromfd(-1)
        assert.is_nil(sock)
        assert.are.equal(NOT_OPEN, message)
        assert.are.equal(ms.EBADF, code)
    end)

    it("refuses what isn't a socket", function()
        local sock, message = socket.fromfd((support.pipe()))
        assert.is_nil(sock)
        assert.are.equal("Socket operation on non-socket", message)
    end)

    it("raises for what isn't a number", function()
        assert_raises("bad argument #1 to 'fromfd'", socket.fromfd, "x")
    end)

    it("works above 1024", function()
        local a, b = ms.socketpair()
        support.keep(a)
        local high = keep(socket.fromfd(support.dup2(b, 1500)))
        ms.close(b)
        ms.write(a, "high")
        assert.are.equal(1500, high:fileno())
        assert.are.equal("high", high:read(100))
        high:settimeout(0.05)
        assert.are.equal(TIMEOUT, select(2, high:read(100)))
    end)
end)

describe("socket.getaddrinfo", function()
    before_each(setup)
    after_each(teardown)

    it("gives an entry for each type", function()
        local list = assert(socket.getaddrinfo("127.0.0.1", 80))
        local types = {}
        for _, entry in ipairs(list) do
            types[#types + 1] = entry.socktype
            assert.are.equal(AF_INET, entry.family)
            assert.are.equal("127.0.0.1", entry.addr)
            assert.are.equal(80, entry.port)
            assert.are.equal("", entry.canonname)
        end
        assert.are.same({ 1, 2, 3 }, types)
    end)

    it("gives what family, type and protocol ask for", function()
        local list = assert(socket.getaddrinfo("::1", "80", AF_INET6,
            SOCK_DGRAM, ms.IPPROTO_UDP))
        assert.are.same({ {
            family = AF_INET6, socktype = SOCK_DGRAM,
            protocol = ms.IPPROTO_UDP, canonname = "", addr = "::1",
            port = 80,
        } }, list)
    end)

    it("looks up a service", function()
        local list = assert(socket.getaddrinfo("127.0.0.1", "http", 0,
            SOCK_STREAM))
        assert.are.equal(80, list[1].port)
    end)

    it("takes flags", function()
        local any = assert(socket.getaddrinfo(nil, 80, AF_INET, SOCK_STREAM,
            0, socket.AI_PASSIVE))
        local here = assert(socket.getaddrinfo(nil, 80, AF_INET, SOCK_STREAM))
        local named = assert(socket.getaddrinfo("127.0.0.1", 80, AF_INET,
            SOCK_STREAM, 0, socket.AI_CANONNAME))
        assert.are.equal("0.0.0.0", any[1].addr)
        assert.are.equal("127.0.0.1", here[1].addr)
        assert.are.equal("127.0.0.1", named[1].canonname)
    end)

    it("takes nil for a port", function()
        local list = assert(socket.getaddrinfo("127.0.0.1", nil))
        assert.are.equal(0, list[1].port)
    end)

    it("says what is wrong with the port", function()
        for _, port in ipairs({ {}, true, print }) do
            local got = results(socket.getaddrinfo("127.0.0.1", port))
            assert.is_nil(got[1])
            assert.are.equal("port argument expect string/number/nil", got[2])
        end
    end)

    it("says what the resolver says", function()
        local list, message, code = socket.getaddrinfo("no address", 80, 0, 0,
            0, socket.AI_NUMERICHOST)
        assert.is_nil(list)
        assert.are.equal("Name or service not known", message)
        assert.are.equal(ms.EAI_NONAME, code)
        assert.are.equal("Name or service not known",
            select(2, socket.getaddrinfo(nil, nil)))
    end)

    it("raises for what can't be a host or a hint", function()
        assert_raises("bad argument #1 to 'getaddrinfo'",
            socket.getaddrinfo, {}, 80)
        assert_raises("bad argument #3 to 'getaddrinfo'",
            socket.getaddrinfo, "127.0.0.1", 80, "inet")
        assert_raises("bad argument #6 to 'getaddrinfo'",
            socket.getaddrinfo, "127.0.0.1", 80, 0, 0, 0, {})
    end)
end)

describe("connect", function()
    before_each(setup)
    after_each(teardown)

    local GREETER = [[
s = socket.socket(%s, socket.SOCK_STREAM)
s.bind(%s)
s.listen()
print("listens on", s.getsockname()[1])
c, a = s.accept()
print("from", ascii(a))
c.sendall(c.recv(100).upper())
c.close()
]]

    for family, host in pairs({ AF_INET = "127.0.0.1", AF_INET6 = "::1" }) do
        it("reaches a server by " .. family, function()
            local server = python(GREETER:format("socket." .. family,
                ("('%s', 0)"):format(host)))
            local port = server:expect("^listens on (%d+)")
            local sock = keep(socket.tcp())
            local got = results(sock:connect(host, tonumber(port)))
            assert.are.same({ n = 1, true }, got)
            assert.are.equal(5, sock:write("hello"))
            assert.are.equal("HELLO", sock:read(100))
            assert.are.same({ host, tonumber(port) }, sock:getpeername())
            assert.are.same({ n = 2, "", CLOSED }, results(sock:read(100)))
        end)
    end

    it("takes a port in a string, and a service", function()
        local server, port = listener()
        local sock = keep(socket.tcp())
        assert.is_true(sock:connect("127.0.0.1", tostring(port)))
        keep(server:accept())
        local _, message = keep(socket.tcp()):connect("127.0.0.1", "nonsense")
        assert.matches("^Servname not supported", message)
    end)

    it("takes an IPv4 address as a number", function()
        local server, port = listener()
        assert.is_true(keep(socket.tcp()):connect(socket.INADDR_LOOPBACK,
            port))
        keep(server:accept())
    end)

    it("reaches a Unix server by its path", function()
        local path = support.tmpname()
        local server = python(GREETER:format("socket.AF_UNIX",
            ("'%s'"):format(path)))
        server:expect("^listens")
        local sock = unix()
        assert.is_true(sock:connect(path))
        sock:write("hello")
        assert.are.equal("HELLO", sock:read(100))
        assert.are.same({ path }, sock:getpeername())
    end)

    it("gives abstract names byte for byte", function()
        local server = python(GREETER:format("socket.AF_UNIX",
            [[b"\0minisock \xff\0." + str(__import__("os").getpid()).encode()]]
        ))
        server:expect("^listens")
        local sock = unix()
        assert.is_true(sock:bind("@minisock client\0" .. server.pid))
        assert.is_true(sock:connect("@minisock \255\0." .. server.pid))
        assert.are.equal(
            ([[b'\x00minisock client\x00%s']]):format(server.pid),
            server:expect("^from (.*)"))
        assert.are.same({ "\0minisock \255\0." .. server.pid },
            sock:getpeername())
    end)

    it("takes 108 bytes of path, and no more", function()
        local path = ms.parseaddr(support.longest_unixaddr()).path
        local server = unix()
        assert.is_true(server:bind(path))
        server:listen(1)
        assert.is_true(unix():connect(path))
        assert.are.same({ path }, server:getsockname())
        for _, call in ipairs({ "connect", "bind" }) do
            local sock = unix()
            local done, message, code = sock[call](sock, path .. "x")
            assert.is_nil(done)
            assert.are.equal("File name too long", message)
            assert.are.equal(ms.ENAMETOOLONG, code)
        end
    end)

    it("refuses a path with a NUL in it", function()
        assert.are.same({ n = 3, nil, "Invalid argument", ms.EINVAL },
            results(unix():connect("/tmp/a\0b")))
    end)

    it("says that nobody listens", function()
        local server, port = listener()
        server:close()
        assert.are.same({ n = 3, nil, "Connection refused", ms.ECONNREFUSED },
            results(keep(socket.tcp()):connect("127.0.0.1", port)))
        assert.are.same({ n = 3, nil, "No such file or directory",
            ms.ENOENT }, results(unix():connect(support.tmpname())))
    end)

    it("says that it is connected already", function()
        local client, _, server = connection()
        local port = server:getsockname()[2]
        client:connect("127.0.0.1", port) -- the kernel may say yes once more
        assert.is_nil((client:connect("::1", port)))
        assert.are.same({ n = 3, nil,
            "Transport endpoint is already connected", ms.EISCONN },
            results(client:connect("127.0.0.1", port)))
        assert.are.same({ "127.0.0.1", port }, client:getpeername())
    end)

    it("doesn't make a Unix socket into another", function()
        local _, port = listener()
        local sock = unix()
        local done, message = sock:connect("127.0.0.1", port)
        assert.is_nil(done)
        assert.is_string(message)
        assert.are.equal(AF_UNIX,
            ms.getsockopt(sock:fileno(), "SO_DOMAIN"))
    end)

    it("can't reach a path from an IPv4 socket", function()
        local done, message = keep(socket.tcp()):connect("/tmp/nowhere")
        assert.is_nil(done)
        assert.is_string(message)
    end)

    it("times out", function()
        local addr = support.full_listener()
        local sock = keep(socket.tcp())
        sock:settimeout(0.1)
        local took, done, message, code = support.timed(sock.connect, sock,
            "127.0.0.1", support.port_of(addr))
        assert.is_nil(done)
        assert.are.equal(TIMEOUT, message)
        assert.are.equal(socket.ERROR_TIMEOUT, message)
        assert.are.equal(ms.ETIMEDOUT, code)
        assert.is_true(took >= 90)
    end)

    it("only begins, with a timeout of 0", function()
        local server, port = listener()
        local sock = keep(socket.tcp())
        sock:settimeout(0)
        local done, message, code = sock:connect("127.0.0.1", port)
        assert.is_nil(done)
        assert.are.equal("Operation now in progress", message)
        assert.are.equal(ms.EINPROGRESS, code)
        server:accept():close()
        sock:settimeout(10)
        assert.are.same({ n = 2, "", CLOSED }, results(sock:read(10)))
    end)

    it("goes on with what it began", function()
        local addr = support.full_listener()
        local sock = keep(socket.tcp())
        sock:settimeout(0)
        sock:connect("127.0.0.1", support.port_of(addr))
        local fd, place = sock:fileno(), sock:getsockname()
        local done, message = sock:connect("127.0.0.1",
            support.port_of(addr))
        assert.is_nil(done)
        assert.are.equal("Operation already in progress", message)
        assert.are.equal(fd, sock:fileno())
        assert.are.same(place, sock:getsockname())
    end)

    it("becomes IPv6 with its options and its mode", function()
        local server, port = listener("::1")
        local sock = keep(socket.tcp())
        assert.is_true(sock:setoption(ms.SOL_SOCKET, ms.SO_KEEPALIVE, 1))
        assert.is_true(sock:setoption("TCP_NODELAY", true))
        sock:settimeout(5)
        assert.is_true(sock:connect("::1", port))
        keep(server:accept())
        assert.is_true(sock:getoption("SO_KEEPALIVE"))
        assert.is_true(sock:getoption("TCP_NODELAY"))
        assert.are.equal(5, sock:gettimeout())
        assert.is_false(is_blocking(sock))
        assert.are_not.equal(0, bit.band(flags_of(sock), ms.SOCK_CLOEXEC))
    end)

    it("raises for what can't be a place", function()
        local sock = keep(socket.tcp())
        for _, call in ipairs({ "connect", "bind" }) do
            assert_raises("bad argument #1 to '" .. call, sock[call], sock)
            assert_raises("bad argument #1 to '" .. call, sock[call], sock,
                {}, 80)
            for _, port in ipairs({ 65536, -1, 1.5, {} }) do
                assert_raises("bad argument #2 to '" .. call, sock[call],
                    sock, "127.0.0.1", port)
            end
        end
        local _, message = sock:connect("127.0.0.1", "65616")
        assert.matches("^Servname", message)
    end)
end)

-- A resolver that knows three names: "cafe", which could be taken for digits,
-- "six" for IPv6's loopback, "both" for that of both.
local NAMES = [==[
#include <dlfcn.h>
#include <netdb.h>
#include <stddef.h>
#include <string.h>

typedef int resolve(const char *, const char *, const struct addrinfo *,
                    struct addrinfo **);

static int ask(const char *host, const char *service,
               const struct addrinfo *hints, struct addrinfo **list)
{
    return ((resolve *)dlsym(RTLD_NEXT, "getaddrinfo"))(host, service, hints,
                                                        list);
}

int getaddrinfo(const char *host, const char *service,
                const struct addrinfo *hints, struct addrinfo **list)
{
    struct addrinfo **end = list;
    int six, four;

    if (host == NULL || hints == NULL || hints->ai_flags & AI_NUMERICHOST)
        return ask(host, service, hints, list);
    if (strcmp(host, "cafe") == 0)
        return ask("127.0.0.1", service, hints, list);
    if (strcmp(host, "six") == 0)
        return ask("::1", service, hints, list);
    if (strcmp(host, "both") != 0)
        return ask(host, service, hints, list);
    six = ask("::1", service, hints, list);
    while (six == 0 && *end != NULL)
        end = &(*end)->ai_next;
    four = ask("127.0.0.1", service, hints, end);
    return six == 0 ? 0 : four;
}
]==]

describe("names", function()
    local dir, luajit

    lazy_setup(function()
        dir = support.mkdtemp()
        luajit = support.preloading(
            support.build_library(dir, "names", NAMES, "-ldl"))
    end)
    lazy_teardown(function() support.rmtree(dir) end)
    before_each(setup)
    after_each(teardown)

    local CLIENT = [[
        local socket = require "minisock.socket"
        local sock = socket.socket(socket.%s, socket.SOCK_STREAM)
        sock:settimeout(%s)
        assert(sock:connect("%s", %d))
        io.write(sock:getpeername()[1])
    ]]

    local function assert_connects(family, name, host, timeout)
        local server, port = listener(host)
        assert_prints(host,
            CLIENT:format(family, timeout or 10, name, port), nil, luajit)
        keep(server:accept())
    end

    it("of hex digits alone are names", function()
        assert_connects("AF_INET", "cafe", "127.0.0.1")
    end)

    it("of the other family just work", function()
        assert_connects("AF_INET", "six", "::1")
        assert_connects("AF_INET6", "cafe", "127.0.0.1")
    end)

    it("have every address tried", function()
        assert_connects("AF_INET", "both", "::1")
        assert_connects("AF_INET6", "both", "127.0.0.1")
        assert_connects("AF_INET", "both", "::1", -1)
    end)

    it("have the socket's own family tried first", function()
        assert_connects("AF_INET", "both", "127.0.0.1")
        assert_connects("AF_INET6", "both", "::1")
    end)

    it("can be bound to", function()
        assert_prints("::1 127.0.0.1 true", [[
            local socket = require "minisock.socket"
            local sock = socket.tcp()
            assert(sock:bind("six", 0))
            local other = socket.udp()
            assert(other:bind("both", 0))
            io.write(sock:getsockname()[1], " ", other:getsockname()[1], " ",
                tostring(sock:listen(1)))
        ]], nil, luajit)
    end)
end)

describe("bind", function()
    before_each(setup)
    after_each(teardown)

    for host, expected in pairs({
        ["127.0.0.1"] = "127.0.0.1", ["::1"] = "::1", ["*"] = "0.0.0.0",
        [""] = "0.0.0.0", ["::"] = "::", [0] = "0.0.0.0",
        [2130706433] = "127.0.0.1",
    }) do
        for _, kind in ipairs({ "tcp", "udp" }) do
            it(("%s to %q"):format(kind, host), function()
                local sock = keep(socket[kind]())
                assert.are.same({ n = 1, true }, results(sock:bind(host, 0)))
                local place = sock:getsockname()
                assert.are.equal(expected, place[1])
                assert.is_true(place[2] > 0)
            end)
        end
    end

    it("to a path, which a program in another language finds", function()
        local path = support.tmpname()
        local server = unix()
        assert.is_true(server:bind(path))
        server:listen(1)
        python(([[
s = socket.socket(socket.AF_UNIX)
s.connect("%s")
s.sendall(b"from Python")
]]):format(path))
        local served = keep(server:accept())
        assert.are.equal("from Python", served:read(100))
        assert.are.same({ "" }, served:getpeername())
    end)

    it("to an abstract name, which socat finds", function()
        local name = unique_name()
        local server = unix()
        assert.is_true(server:bind(name))
        server:listen(1)
        support.spawn(("echo hello | socat - 'ABSTRACT-CONNECT:%s'")
            :format(name:sub(2)))
        assert.are.equal("hello", keep(server:accept()):readline())
    end)

    it("says that an address is taken, on UDP too", function()
        local _, port = listener()
        local _, udp_port = udp()
        assert.are.same({ n = 3, nil, "Address already in use",
            ms.EADDRINUSE },
            results(keep(socket.tcp()):bind("127.0.0.1", port)))
        assert.are.same({ n = 3, nil, "Address already in use",
            ms.EADDRINUSE },
            results(keep(socket.udp()):bind("127.0.0.1", udp_port)))
    end)

    it("leaves no descriptor when it fails", function()
        local _, port = listener()
        local sock = keep(socket.tcp())
        local before = support.count_descriptors()
        for _ = 1, 20 do
            sock:bind("127.0.0.1", port)
            sock:bind("203.0.113.77", 0)
            sock:bind("2001:db8::77", 0)
        end
        assert.are.equal(before, support.count_descriptors())
    end)

    it("takes a port again right after its connections", function()
        local client, served, server = connection()
        local port = server:getsockname()[2]
        served:close()
        client:read(1)
        client:close()
        server:close()
        assert.is_true(keep(socket.tcp()):bind("127.0.0.1", port))
    end)

    it("refuses a second time", function()
        local sock = keep(socket.tcp())
        sock:bind("127.0.0.1", 0)
        local place = sock:getsockname()
        assert.are.equal("Invalid argument",
            select(2, sock:bind("127.0.0.1", 0)))
        assert.is_nil((sock:bind("::1", 0)))
        assert.are.same(place, sock:getsockname())
    end)

    it("says that the resolver knows no such host", function()
        local done, message = keep(socket.tcp()):bind("no address\0", 80)
        assert.is_nil(done)
        assert.are.equal("Name or service not known", message)
    end)
end)

describe("listen", function()
    before_each(setup)
    after_each(teardown)

    it("returns true, with a negative backlog too", function()
        for _, backlog in ipairs({ 1, 0, -1, socket.SOMAXCONN, "3" }) do
            local sock = keep(socket.tcp())
            sock:bind("127.0.0.1", 0)
            assert.are.same({ n = 1, true }, results(sock:listen(backlog)))
            assert.is_true(sock:getoption("SO_ACCEPTCONN"))
        end
    end)

    it("says what the system says", function()
        assert.are.same({ n = 3, nil, "Operation not supported",
            ms.EOPNOTSUPP }, results(keep(socket.udp()):listen(1)))
    end)

    it("needs a backlog", function()
        local sock = keep(socket.tcp())
        assert_raises("bad argument #1 to 'listen'", sock.listen, sock)
    end)
end)

describe("accept", function()
    before_each(setup)
    after_each(teardown)

    for _, host in ipairs({ "127.0.0.1", "::1" }) do
        it("gives a socket of its own, of " .. host, function()
            local server, port = listener(host)
            local client = keep(socket.tcp())
            client:connect(host, port)
            local got = results(server:accept())
            local served = got[1]
            local timeout, blocking = served:gettimeout(), is_blocking(served)
            keep(served)
            assert.are.equal(1, got.n)
            assert.are.equal(-1, timeout)
            assert.is_true(blocking)
            assert.are.same(client:getsockname(), served:getpeername())
            assert.are.same({ host, port }, served:getsockname())
            assert.are_not.equal(0,
                bit.band(flags_of(served), ms.SOCK_CLOEXEC))
        end)
    end

    it("gives one of a Unix server's", function()
        local server = unix()
        local name = unique_name()
        server:bind(name)
        server:listen(1)
        local client = unix()
        client:connect(name)
        local served = keep(server:accept())
        client:write("hello")
        assert.are.equal("hello", served:read(100))
    end)

    it("times out", function()
        local server = listener()
        server:settimeout(0.1)
        local took, sock, message, code =
            support.timed(server.accept, server)
        assert.is_nil(sock)
        assert.are.equal(TIMEOUT, message)
        assert.are.equal(ms.ETIMEDOUT, code)
        assert.is_true(took >= 90)
    end)

    it("doesn't wait with a timeout of 0", function()
        local server = listener()
        server:settimeout(0)
        assert.are.same({ n = 3, nil, WOULD_BLOCK, ms.EAGAIN },
            results(server:accept()))
    end)

    it("says that it doesn't listen", function()
        assert.are.same({ n = 3, nil, "Invalid argument", ms.EINVAL },
            results(keep(socket.tcp()):accept()))
    end)

    it("keeps a connection from becoming another", function()
        local client, served, server = connection()
        served:connect("::1", server:getsockname()[2])
        client:write("still here")
        assert.are.equal("still here", served:read(100))
    end)
end)

describe("write", function()
    before_each(setup)
    after_each(teardown)

    it("writes all of it, to a program that reads slowly", function()
        local size = 5 * 2^20
        local server = python([[
s = socket.create_server(("127.0.0.1", 0))
print("port", s.getsockname()[1])
c, _ = s.accept()
n = 0
while True:
    piece = c.recv(7001)
    if not piece: break
    n += len(piece)
print("got", n)
]])
        local sock = keep(socket.tcp())
        sock:settimeout(30)
        sock:connect("127.0.0.1", server:expect("^port (%d+)"))
        assert.are.same({ n = 1, size },
            results(sock:write(("x"):rep(size))))
        sock:shutdown(socket.SHUT_WR)
        assert.are.equal(size, tonumber(server:expect("^got (%d+)")))
    end)

    it("writes nothing, and numbers", function()
        local a, b = pair()
        assert.are.same({ n = 1, 0 }, results(a:write("")))
        assert.are.equal(2, a:write(42))
        assert.are.equal("42", b:read(100))
    end)

    it("says how much it sent until the timeout", function()
        local a, b = pair()
        a:settimeout(0.1)
        local done, message, code, sent = a:write(("x"):rep(2^24))
        assert.is_nil(done)
        assert.are.equal(TIMEOUT, message)
        assert.are.equal(ms.ETIMEDOUT, code)
        assert.are.equal(sent, #b:readexactly(sent))
        b:settimeout(0)
        assert.are.equal(WOULD_BLOCK, select(2, b:read(1)))
    end)

    it("doesn't wait with a timeout of 0", function()
        local a = pair()
        a:settimeout(0)
        local done, message, code, sent = a:write(("x"):rep(2^24))
        assert.is_nil(done)
        assert.are.equal(WOULD_BLOCK, message)
        assert.are.equal(ms.EAGAIN, code)
        assert.is_true(sent > 0 and sent < 2^24)
    end)

    it("says that the connection is closed", function()
        local a = pair()
        a:shutdown(socket.SHUT_WR)
        local got = results(a:write("x"))
        assert.is_nil(got[1])
        assert.are.equal(CLOSED, got[2])
        assert.are.equal(socket.ERROR_CLOSED, got[2])
    end)

    it("says so too when the peer has reset it", function()
        local client, served = connection()
        client:setoption("SO_LINGER", 0)
        client:close()
        local done, message, code = served:write("x")
        assert.is_nil(done)
        assert.are.equal(CLOSED, message)
        assert.are.equal(ms.ECONNRESET, code)
    end)

    it("doesn't die of a closed connection", function()
        assert_prints("Connection closed", [[
            local ms = require "minisock"
            local socket = require "minisock.socket"
            local a, b = ms.socketpair()
            ms.close(b)
            io.write((select(2, socket.fromfd(a):write("x"))))
        ]])
    end)

    it("sends a datagram in one piece", function()
        local server = python([[
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
print("port", s.getsockname()[1])
while True:
    print("got", len(s.recv(65536)))
]])
        local sock = keep(socket.udp())
        sock:connect("127.0.0.1", server:expect("^port (%d+)"))
        assert.are.equal(10000, sock:write(("x"):rep(10000)))
        assert.are.equal(0, sock:write(""))
        assert.are.equal("10000", server:expect("^got (%d+)"))
        assert.are.equal("0", server:expect("^got (%d+)"))
    end)

    it("says that a datagram is too long", function()
        local sock = keep(socket.udp())
        sock:connect("127.0.0.1", select(2, udp()))
        assert.are.equal("Message too long",
            select(2, sock:write(("x"):rep(65508))))
    end)

    it("raises for what isn't a string", function()
        local a = pair()
        assert_raises("bad argument #1 to 'write'", a.write, a)
        assert_raises("bad argument #1 to 'write'", a.write, a, {})
    end)
end)

describe("read", function()
    before_each(setup)
    after_each(teardown)

    it("gives what there is, no more than was asked for", function()
        local a, b = pair()
        a:write("hello")
        assert.are.same({ n = 1, "hel" }, results(b:read(3)))
        assert.are.same({ n = 1, "lo" }, results(b:read(1000)))
    end)

    it("gives nothing at the end, again and again", function()
        local a, b = pair()
        a:write("last")
        a:close()
        assert.are.equal("last", b:read(100))
        for _ = 1, 2 do
            local got = results(b:read(100))
            assert.are.same({ n = 2, "", CLOSED }, got)
            assert.are.equal(socket.ERROR_CLOSED, got[2])
        end
    end)

    it("times out", function()
        local a = pair()
        a:settimeout(0.1)
        local took, data, message, code = support.timed(a.read, a, 100)
        assert.are.equal("", data)
        assert.are.equal(TIMEOUT, message)
        assert.are.equal(ms.ETIMEDOUT, code)
        assert.is_true(took >= 90)
    end)

    it("doesn't wait with a timeout of 0", function()
        local a = pair()
        a:settimeout(0)
        assert.are.same({ n = 3, "", WOULD_BLOCK, ms.EAGAIN },
            results(a:read(100)))
    end)

    it("waits for what comes later", function()
        local a = keep(socket.tcp())
        local server = python([[
s = socket.create_server(("127.0.0.1", 0))
print("port", s.getsockname()[1])
c, _ = s.accept()
signal.setitimer(signal.ITIMER_REAL, 60)
import time
time.sleep(0.2)
c.sendall(b"late")
c.recv(1)
]])
        a:connect("127.0.0.1", server:expect("^port (%d+)"))
        assert.are.equal("late", a:read(100))
    end)

    it("burns no CPU while it waits", function()
        local a = pair()
        a:settimeout(0.5)
        local start = os.clock()
        a:read(100)
        assert.is_true(os.clock() - start < 0.2)
    end)

    it("reads nothing when nothing is asked for", function()
        assert.are.same({ n = 1, "" }, results(pair():read(0)))
    end)

    it("takes an empty datagram for what it is", function()
        local sock, port = udp()
        python(([[
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.1", %d))
s.send(b"")
s.send(b"more")
]]):format(port))
        assert.are.same({ n = 1, "" }, results(sock:read(100)))
        assert.are.same({ n = 1, "more" }, results(sock:read(100)))
    end)

    it("says that the peer has reset the connection", function()
        local client, served = connection()
        client:setoption("SO_LINGER", 0)
        client:close()
        assert.are.same({ n = 3, "", "Connection reset by peer",
            ms.ECONNRESET }, results(served:read(100)))
    end)

    it("needs a size", function()
        local a = pair()
        for _, size in ipairs({ -1, 0.5, "x", {} }) do
            assert_raises("bad argument #1 to 'read'", a.read, a, size)
        end
        assert_raises("bad argument #1 to 'read'", a.read, a)
    end)
end)

-- The handler is abs(3), which a signal's number doesn't harm; it is asked not
-- to restart the call that it interrupts.
local SIGNALS = [[
    local ffi = require "ffi"
    ffi.cdef "int abs(int); void *signal(int, void *);"
    ffi.cdef "int siginterrupt(int, int);"
    ffi.cdef "int setitimer(int, const long *, long *);"
    local ms = require "minisock"
    local socket = require "minisock.socket"
    local now = require("minisock.cdefs").shim.minisock_now
    local a, b = ms.socketpair(%s)
    local full = socket.fromfd(a)
    full:settimeout(0)
    repeat until not full:write(("x"):rep(1000))
    local empty = socket.fromfd(b)
    local idle = socket.udp()
    idle:bind("127.0.0.1", 0)
    local server = socket.tcp()
    server:bind("127.0.0.1", 0)
    server:listen(0)
    local port = server:getsockname()[2]
    local function timed(sock, call, ...)
        sock:settimeout(0.3)
        local start = now()
        local _, message = sock[call](sock, ...)
        io.write(message, now() - start < 300 and " early" or " in time")
    end
    local function stuff()
        while true do
            local fd = ms.connect(ms.inetaddr("127.0.0.1", port), nil, 100)
            if not fd then return end
        end
    end
    ffi.C.signal(14, ffi.cast("void *", ffi.C.abs))
    ffi.C.siginterrupt(14, 1)
    %s
    ffi.C.setitimer(0, ffi.new("long[4]", 0, 20000, 0, 20000), nil)
    %s
]]

describe("signals", function()
    before_each(setup)
    after_each(teardown)

    local STREAM, DATAGRAM = "ms.SOCK_STREAM", "ms.SOCK_DGRAM"

    for name, case in pairs({
        read = { STREAM, "", "timed(idle, 'read', 10)" },
        recvfrom = { STREAM, "", "timed(idle, 'recvfrom', 10)" },
        readline = { STREAM, "", "timed(full, 'readline')" },
        write = { STREAM, "", "timed(full, 'write', ('x'):rep(2^24))" },
        accept = { STREAM, "", "timed(server, 'accept')" },
        connect = { STREAM, "stuff()",
            "timed(socket.tcp(), 'connect', '127.0.0.1', port)" },
        ["write of a datagram"] = { DATAGRAM, "", "timed(full, 'write', 'x')" },
    }) do
        it("don't make a " .. name .. " fail or wait longer", function()
            assert_prints(TIMEOUT .. " in time", SIGNALS:format(unpack(case)))
        end)
    end

    it("don't make a read for ever fail", function()
        assert_prints("here", SIGNALS:format(STREAM, "", [[
            local child = io.popen("python3 -c 'import socket, time;"
                .. "time.sleep(0.3); s = socket.socket(2, 2);"
                .. "s.sendto(b\"here\", (\"127.0.0.1\", "
                .. idle:getsockname()[2] .. "))'")
            io.write((idle:read(4)))
            ffi.C.setitimer(0, ffi.new("long[4]"), nil)
            child:close()
        ]]))
    end)
end)

describe("close", function()
    before_each(setup)
    after_each(teardown)

    it("returns nothing, a second time too", function()
        local sock = socket.tcp()
        local before = support.count_descriptors()
        assert.are.equal(0, results(sock:close()).n)
        assert.are.equal(0, results(sock:close()).n)
        assert.are.equal(before - 1, support.count_descriptors())
        assert.are.equal(-1, sock:fileno())
    end)

    it("doesn't close a descriptor that came after", function()
        local sock = socket.tcp()
        local fd = sock:fileno()
        sock:close()
        local other = keep(socket.tcp())
        assert.are.equal(fd, other:fileno())
        sock:close()
        assert.is_true(other:bind("127.0.0.1", 0))
    end)

    for call, arguments in pairs({
        connect = { "127.0.0.1", 80 }, bind = { "127.0.0.1", 0 },
        listen = { 1 }, accept = {}, write = { "x" }, shutdown = { 2 },
        setoption = { 1, 2, 1 }, getoption = { 1, 2 }, getpeername = {},
        getsockname = {}, sendto = { "x", "127.0.0.1", 9 }, recvfrom = {},
        readline = {}, readexactly = { 1 },
    }) do
        it("makes a later " .. call .. " fail", function()
            local sock = keep(socket.tcp())
            sock:close()
            local got = results(sock[call](sock, unpack(arguments)))
            assert.is_nil(got[1])
            assert.are.equal(NOT_OPEN, got[2])
            assert.are.equal(ms.EBADF, got[3])
        end)
    end

    it("makes connect and bind of another family fail", function()
        local sock = keep(socket.tcp())
        sock:close()
        assert.are.equal(NOT_OPEN, select(2, sock:connect("::1", 80)))
        assert.are.equal(NOT_OPEN, select(2, sock:bind("::1", 0)))
        assert.are.equal(NOT_OPEN, select(2, sock:connect("/nowhere")))
    end)

    it("makes a later read fail, of any size", function()
        local sock = keep(socket.tcp())
        sock:close()
        for _, size in ipairs({ 0, 1 }) do
            assert.are.same({ n = 3, "", NOT_OPEN, ms.EBADF },
                results(sock:read(size)))
        end
    end)

    it("makes writing nothing fail", function()
        local sock = keep(socket.tcp())
        sock:close()
        assert.are.equal(NOT_OPEN, select(2, sock:write("")))
    end)

    it("makes options by name fail", function()
        local sock = keep(socket.tcp())
        sock:close()
        assert.are.equal(NOT_OPEN, select(2, sock:getoption("SO_TYPE")))
        assert.are.equal(NOT_OPEN,
            select(2, sock:setoption("SO_KEEPALIVE", true)))
    end)

    it("forgets what was buffered", function()
        local a, b = pair()
        a:write("one\ntwo\n")
        b:readline()
        b:close()
        assert.are.equal(NOT_OPEN, select(2, b:readline()))
    end)

    it("leaves settimeout, gettimeout and fileno", function()
        local sock = keep(socket.tcp())
        sock:close()
        assert.are.equal(0, results(sock:settimeout(3)).n)
        assert.are.equal(0, results(sock:setblocking(0)).n)
        assert.are.equal(0, sock:gettimeout())
        assert.are.equal(-1, sock:getfd())
        assert.are.equal(-1, sock:detach())
    end)
end)

describe("shutdown", function()
    before_each(setup)
    after_each(teardown)

    it("ends one direction", function()
        local a, b = pair()
        assert.are.same({ n = 1, true },
            results(a:shutdown(socket.SHUT_WR)))
        b:write("still")
        assert.are.same({ n = 2, "", CLOSED }, results(b:read(10)))
        assert.are.equal("still", a:read(10))
    end)

    it("ends both", function()
        local a = pair()
        assert.is_true(a:shutdown(socket.SHUT_RDWR))
        assert.are.same({ n = 2, "", CLOSED }, results(a:read(10)))
        assert.are.equal(CLOSED, select(2, a:write("x")))
    end)

    it("says that there is no connection", function()
        local sock = keep(socket.tcp())
        assert.are.same({ n = 3, nil,
            "Transport endpoint is not connected", ms.ENOTCONN },
            results(sock:shutdown(socket.SHUT_RD)))
    end)

    it("needs to know how", function()
        local a = pair()
        assert_raises("bad argument #1 to 'shutdown'", a.shutdown, a)
    end)
end)

describe("options", function()
    before_each(setup)
    after_each(teardown)

    it("hold what was set, by level and number", function()
        local sock = keep(socket.tcp())
        local level, option = ms.IPPROTO_TCP, socket.TCP_KEEPALIVE
        assert.are.same({ n = 1, true },
            results(sock:setoption(level, option, 77)))
        assert.are.same({ n = 1, 77 },
            results(sock:getoption(level, option)))
        sock:setoption(ms.SOL_SOCKET, ms.SO_RCVBUF, 30000)
        assert.are.equal(60000,
            sock:getoption(ms.SOL_SOCKET, ms.SO_RCVBUF))
    end)

    it("are booleans where they are on or off", function()
        local sock = keep(socket.tcp())
        local level, option = ms.IPPROTO_TCP, socket.TCP_NODELAY
        assert.is_false(sock:getoption(level, option))
        assert.is_true(sock:setoption(level, option, 1))
        assert.is_true(sock:getoption(level, option))
        assert.is_true(sock:setoption(level, option, false))
        assert.is_false(sock:getoption(level, option))
        assert.is_true(sock:setoption(tostring(level), option, true))
        assert.is_true(sock:getoption(tostring(level), option))
    end)

    it("can be given by name", function()
        local sock = keep(socket.tcp())
        assert.are.same({ n = 1, true },
            results(sock:setoption("SO_LINGER", 3)))
        assert.are.same({ n = 1, 3 }, results(sock:getoption("SO_LINGER")))
        assert.is_true(sock:setoption("SO_LINGER", false))
        assert.are.same({ n = 1, false },
            results(sock:getoption("SO_LINGER")))
    end)

    it("say what the system says", function()
        local sock = keep(socket.tcp())
        assert.are.same({ n = 3, nil, "Protocol not available",
            ms.ENOPROTOOPT }, results(sock:getoption(1, 9999)))
        assert.are.same({ n = 3, nil, "Protocol not available",
            ms.ENOPROTOOPT }, results(sock:setoption(1, 9999, 1)))
        assert.are.equal("Invalid argument",
            select(2, sock:setoption("TCP_KEEPCNT", -1)))
    end)

    it("raise for what isn't a number", function()
        local sock = keep(socket.tcp())
        assert_raises("'setoption'", sock.setoption, sock)
        assert_raises("#3 to 'setoption'", sock.setoption, sock, 1, 2)
        assert_raises("#3 to 'setoption'", sock.setoption, sock, 1, 2, {})
        assert_raises("#2 to 'getoption'", sock.getoption, sock, 1)
        assert_raises("#1 to 'getoption'", sock.getoption, sock, "SO_NONSENSE")
    end)

    it("take no more memory when they are set often", function()
        local sock = keep(socket.tcp())
        local function set()
            for _ = 1, 5000 do
                sock:setoption(ms.IPPROTO_TCP, ms.TCP_NODELAY, 1)
                sock:setoption("TCP_NODELAY", true)
            end
            collectgarbage()
            collectgarbage()
            return collectgarbage("count")
        end
        for _ = 1, 3 do set() end -- what is compiled takes memory too
        local before = set()
        assert.is_true(set() - before < 400) -- KiB; an entry each is 1000
    end)
end)

describe("timeouts", function()
    before_each(setup)
    after_each(teardown)

    it("are kept as they are given", function()
        local sock = keep(socket.tcp())
        for _, timeout in ipairs({ -3, 0, 0.25, 60, -1 }) do
            assert.are.equal(0, results(sock:settimeout(timeout)).n)
            assert.are.equal(timeout, sock:gettimeout())
            assert.are.equal(timeout < 0, is_blocking(sock))
        end
        sock:settimeout("2.5")
        assert.are.equal(2.5, sock:gettimeout())
    end)

    it("need a number", function()
        local sock = keep(socket.tcp())
        for _, timeout in ipairs({ "x", {}, true, 0 / 0 }) do
            assert_raises("bad argument #1 to 'settimeout'", sock.settimeout,
                sock, timeout)
        end
        assert_raises("bad argument #1 to 'settimeout'", sock.settimeout,
            sock, nil)
    end)

    it("are -1 or 0 after setblocking", function()
        local sock = keep(socket.tcp())
        for value, timeout in pairs({
            [1] = -1, [true] = -1, [0] = 0, [false] = 0,
        }) do
            assert.are.equal(0, results(sock:setblocking(value)).n)
            assert.are.equal(timeout, sock:gettimeout())
            assert.are.equal(timeout < 0, is_blocking(sock))
        end
        assert_raises("bad argument #1 to 'setblocking'", sock.setblocking,
            sock)
    end)

    it("of less than a millisecond are waited for", function()
        local a = pair()
        a:settimeout(0.0001)
        assert.are.equal(TIMEOUT, select(2, a:read(1)))
    end)
end)

describe("getpeername and getsockname", function()
    before_each(setup)
    after_each(teardown)

    for _, host in ipairs({ "127.0.0.1", "::1" }) do
        it("give address and port of " .. host, function()
            local client, served, server = connection(host)
            local port = server:getsockname()[2]
            assert.are.same({ n = 1, { host, port } },
                results(client:getpeername()))
            assert.are.same(client:getsockname(), served:getpeername())
            assert.are.equal(host, client:getsockname()[1])
            assert.is_number(client:getsockname()[2])
        end)
    end

    it("give a Unix socket's path, or its lack of one", function()
        local path = support.tmpname()
        local server = unix()
        server:bind(path)
        server:listen(1)
        local client = unix()
        client:connect(path)
        assert.are.same({ path }, client:getpeername())
        assert.are.same({ "" }, client:getsockname())
    end)

    it("say that there is no peer", function()
        assert.are.same({ n = 3, nil,
            "Transport endpoint is not connected", ms.ENOTCONN },
            results(keep(socket.tcp()):getpeername()))
    end)

    it("give 0.0.0.0 and 0 for what isn't bound", function()
        assert.are.same({ "0.0.0.0", 0 }, keep(socket.tcp()):getsockname())
    end)
end)

describe("sendto and recvfrom", function()
    before_each(setup)
    after_each(teardown)

    for family, host in pairs({ inet = "127.0.0.1", inet6 = "::1" }) do
        it("exchange datagrams with Python by " .. family, function()
            local peer = python(([[
s = socket.socket(socket.AF_%s, socket.SOCK_DGRAM)
s.bind(("%s", 0))
print("port", s.getsockname()[1])
data, sender = s.recvfrom(100)
s.sendto(data.upper(), sender)
]]):format(family:upper(), host))
            local port = tonumber(peer:expect("^port (%d+)"))
            local sock = udp(host)
            assert.are.same({ n = 1, 5 },
                results(sock:sendto("hello", host, port)))
            assert.are.same({ n = 4, "HELLO", host, port, false },
                results(sock:recvfrom()))
        end)
    end

    it("exchange datagrams by path and by abstract name", function()
        for _, name in ipairs({ support.tmpname(), unique_name() }) do
            local server, client = unix(SOCK_DGRAM), unix(SOCK_DGRAM)
            assert(server:bind(name))
            assert.are.equal(2, client:sendto("hi", name))
            assert.are.same({ n = 4, "hi", "", nil, false },
                results(server:recvfrom()))
            local other = name:gsub("^@", "\0")
            assert.are.equal(2, server:sendto("me", name))
            assert.are.equal(other, select(2, server:recvfrom()))
        end
    end)

    it("tell an empty datagram, and one that was cut", function()
        local sock, port = udp()
        sock:sendto("", socket.INADDR_LOOPBACK, port)
        sock:sendto("hello", "127.0.0.1", port)
        assert.are.same({ n = 4, "", "127.0.0.1", port, false },
            results(sock:recvfrom()))
        assert.are.same({ n = 4, "he", "127.0.0.1", port, true },
            results(sock:recvfrom(2)))
    end)

    it("take the largest datagram", function()
        local sock, port = udp()
        local data = ("x"):rep(65507)
        assert.are.equal(65507, sock:sendto(data, "127.0.0.1", port))
        assert.are.equal(data, (sock:recvfrom()))
        assert.are.equal("Message too long",
            select(2, sock:sendto(data .. "x", "127.0.0.1", port)))
    end)

    it("time out, and don't wait with a timeout of 0", function()
        local sock = udp()
        sock:settimeout(0.05)
        assert.are.same({ n = 3, nil, TIMEOUT, ms.ETIMEDOUT },
            results(sock:recvfrom()))
        sock:settimeout(0)
        assert.are.same({ n = 3, nil, WOULD_BLOCK, ms.EAGAIN },
            results(sock:recvfrom()))
    end)

    it("wait for room no longer than the timeout", function()
        local name = unique_name()
        unix(SOCK_DGRAM):bind(name)
        local sock = unix(SOCK_DGRAM)
        sock:settimeout(0)
        local sent, message, code
        repeat sent, message, code = sock:sendto("x", name) until not sent
        assert.are.equal(WOULD_BLOCK, message)
        assert.are.equal(ms.EAGAIN, code)
        sock:settimeout(0.05)
        assert.are.same({ n = 3, nil, TIMEOUT, ms.ETIMEDOUT },
            results(sock:sendto("x", name)))
    end)

    it("go on when there is room again", function()
        local name = unique_name()
        local server, sock = unix(SOCK_DGRAM), unix(SOCK_DGRAM)
        server:bind(name)
        sock:settimeout(0)
        repeat until not sock:sendto("x", name)
        sock:settimeout(-1)
        support.spawn_lua([[
            local socket = require "minisock.socket"
            local sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            print("sends")
            io.stdout:flush()
            print(sock:sendto("last", arg[1]))
        ]], "'" .. name .. "'"):expect("sends")
        local data
        repeat data = server:recvfrom() until data ~= "x"
        assert.are.equal("last", data)
    end)

    it("raise for what can't be a place or a size", function()
        local sock = udp()
        assert_raises("'sendto'", sock.sendto, sock)
        assert_raises("'sendto'", sock.sendto, sock, "x")
        assert_raises("'sendto'", sock.sendto, sock, "x", "::1", 65536)
        assert_raises("'recvfrom'", sock.recvfrom, sock, 0)
        assert_raises("'recvfrom'", sock.recvfrom, sock, "x")
    end)
end)

describe("descriptors", function()
    before_each(setup)
    after_each(teardown)

    it("are told by fileno and getfd", function()
        local sock = keep(socket.tcp())
        assert.is_true(sock:fileno() >= 0)
        assert.are.equal(sock:fileno(), sock:getfd())
    end)

    it("are given up by detach", function()
        local sock = socket.udp()
        local fd = sock:fileno()
        assert.are.equal(fd, support.keep(sock:detach()))
        assert.are.equal(-1, sock:fileno())
        sock:close()
        assert.are.equal(SOCK_DGRAM, ms.getsockopt(fd, "SO_TYPE"))
    end)

    it("are exchanged by setfd", function()
        local a, b = ms.socketpair()
        support.keep(b)
        local sock = keep(socket.tcp())
        local before = support.count_descriptors()
        sock:setfd(a)
        assert.are.equal(before - 1, support.count_descriptors())
        assert.are.equal(a, sock:fileno())
        ms.write(b, "hi")
        assert.are.equal("hi", sock:read(10))
    end)

    it("may be of another kind after setfd", function()
        local a, b = ms.socketpair(SOCK_DGRAM)
        support.keep(b)
        local sock = keep(socket.tcp())
        assert.is_true(sock:setfd(a))
        ms.sendall(b, "")
        ms.sendall(b, "x")
        assert.are.same({ n = 1, "" }, results(sock:read(10)))
        assert.are.equal("x", sock:read(10))
        assert.is_false(is_blocking(sock))
    end)

    it("are kept when setfd gets one that won't do", function()
        local sock = keep(socket.tcp())
        local fd = sock:fileno()
        assert.are.same({ n = 3, nil, "Socket operation on non-socket",
            ms.ENOTSOCK }, results(sock:setfd((support.pipe()))))
        assert.are.equal(fd, sock:fileno())
    end)

    it("are closed by setfd(-1)", function()
        local sock = keep(socket.tcp())
        local before = support.count_descriptors()
        assert.is_true(sock:setfd(-1))
        assert.are.equal(before - 1, support.count_descriptors())
        assert.are.equal(NOT_OPEN, select(2, sock:getsockname()))
        assert_raises("bad argument #1 to 'setfd'", sock.setfd, sock)
    end)

    it("are closed when nothing refers to the socket", function()
        local before = support.count_descriptors()
        local function waste()
            for _ = 1, 20 do socket.tcp() end
        end
        waste()
        collectgarbage()
        collectgarbage()
        assert.are.equal(before, support.count_descriptors())
    end)

    it("aren't closed by the collector after a detach", function()
        local function make() return socket.tcp():detach() end
        local fd = support.keep(make())
        collectgarbage()
        collectgarbage()
        assert.are.equal(SOCK_STREAM, ms.getsockopt(fd, "SO_TYPE"))
    end)

    it("are found among the garbage when there are no more", function()
        assert_prints("1000 1000", [[
            collectgarbage("stop")
            local socket = require "minisock.socket"
            local made, accepted = 0, 0
            local server = socket.tcp()
            server:bind("127.0.0.1", 0)
            server:listen(5)
            local port = server:getsockname()[2]
            for _ = 1, 1000 do
                if socket.udp() then made = made + 1 end
            end
            for _ = 1, 1000 do
                collectgarbage("stop")
                local client = socket.tcp()
                client:connect("127.0.0.1", port)
                if server:accept() then accepted = accepted + 1 end
            end
            io.write(made, " ", accepted)
        ]], "ulimit -Sn 60;")
    end)

    it("are told to be too many when they are in use", function()
        assert_prints("Too many open files 24", [[
            local socket = require "minisock.socket"
            local all = {}
            repeat
                local sock, message, code = socket.tcp()
                all[#all + 1] = sock
                if not sock then io.write(message, " ", code) end
            until not sock
        ]], "ulimit -Sn 60;")
    end)
end)

describe("readline", function()
    before_each(setup)
    after_each(teardown)

    it("gives lines without their ends", function()
        local a, b = pair()
        a:write("one\r\ntwo\n\nfour\rfive\n")
        assert.are.same({ n = 1, "one" }, results(b:readline()))
        assert.are.equal("two", b:readline())
        assert.are.equal("", b:readline())
        assert.are.equal("four\rfive", b:readline())
    end)

    it("gives a line that comes in pieces", function()
        local a, b = pair()
        b:settimeout(0)
        a:write("he")
        assert.are.same({ n = 3, nil, WOULD_BLOCK, ms.EAGAIN },
            results(b:readline()))
        a:write("llo\r")
        assert.is_nil((b:readline()))
        a:write("\nmore\n")
        assert.are.equal("hello", b:readline())
        assert.are.equal("more", b:readline())
    end)

    it("loses nothing to a timeout", function()
        local a, b = pair()
        b:settimeout(0.05)
        a:write("half")
        assert.are.same({ n = 3, nil, TIMEOUT, ms.ETIMEDOUT },
            results(b:readline()))
        assert.are.equal("half", b:read(100))
    end)

    it("gives the rest at the end", function()
        local a, b = pair()
        a:write("line\nrest")
        a:close()
        assert.are.equal("line", b:readline())
        assert.are.same({ n = 4, nil, CLOSED, nil, "rest" },
            results(b:readline()))
        assert.are.same({ n = 4, nil, CLOSED, nil, "" },
            results(b:readline()))
    end)

    it("keeps one deadline for all of the line", function()
        local sock = keep(socket.tcp())
        local server = python([[
s = socket.create_server(("127.0.0.1", 0))
print("port", s.getsockname()[1])
c, _ = s.accept()
import time
try:
    while True:
        c.sendall(b"x")
        time.sleep(0.05)
except OSError:
    pass
]])
        sock:connect("127.0.0.1", server:expect("^port (%d+)"))
        sock:settimeout(0.5)
        assert.are.equal(TIMEOUT, select(2, sock:readline()))
    end)

    it("leaves what follows to read and readexactly", function()
        local a, b = pair()
        a:write("line\n12345678")
        assert.are.equal("line", b:readline())
        assert.are.equal("12", b:read(2))
        assert.are.equal("345", b:readexactly(3))
        assert.are.equal("678", b:read(100))
        a:write("fresh")
        assert.are.equal("fresh", b:read(100))
    end)

    it("gives a very long line", function()
        local a, b = pair()
        local line = ("x"):rep(150000)
        a:settimeout(0)
        local _, _, _, sent = a:write(line .. "\n")
        b:settimeout(0)
        assert.is_nil(sent and (b:readline()))
        a:settimeout(10)
        if sent then a:write((line .. "\n"):sub(sent + 1)) end
        b:settimeout(10)
        assert.are.equal(line, b:readline())
    end)
end)

describe("readexactly", function()
    before_each(setup)
    after_each(teardown)

    it("waits for all of it", function()
        local a, b = pair()
        b:settimeout(0.05)
        a:write("123")
        assert.are.same({ n = 3, nil, TIMEOUT, ms.ETIMEDOUT },
            results(b:readexactly(5)))
        a:write("456")
        assert.are.same({ n = 1, "12345" }, results(b:readexactly(5)))
        assert.are.equal("6", b:readexactly(1))
    end)

    it("gives the rest at the end", function()
        local a, b = pair()
        a:write("123")
        a:close()
        assert.are.same({ n = 4, nil, CLOSED, nil, "123" },
            results(b:readexactly(5)))
    end)

    it("gives nothing when nothing is asked for", function()
        assert.are.same({ n = 1, "" }, results(pair():readexactly(0)))
    end)

    it("needs a size", function()
        local a = pair()
        assert_raises("bad argument #1 to 'readexactly'", a.readexactly, a)
        assert_raises("bad argument #1 to 'readexactly'", a.readexactly, a,
            -1)
    end)
end)

describe("tostring", function()
    before_each(setup)
    after_each(teardown)

    it("shows both ends", function()
        for host, shown in pairs({
            ["127.0.0.1"] = "127.0.0.1", ["::1"] = "[::1]",
        }) do
            local client, _, server = connection(host)
            local port = client:getsockname()[2]
            assert.are.equal(("<socket: %d %s:%d -> %s:%d>"):format(
                client:fileno(), shown, port, shown,
                server:getsockname()[2]), tostring(client))
        end
    end)

    it("shows names of Unix sockets", function()
        local name = unique_name()
        local server = unix()
        server:bind(name)
        assert.are.equal(("<socket: %d %s>"):format(server:fileno(), name),
            tostring(server))
    end)

    it("shows that it is closed", function()
        local sock = socket.tcp()
        sock:close()
        assert.are.equal("<socket: -1>", tostring(sock))
    end)
end)

describe("the module", function()
    before_each(setup)
    after_each(teardown)

    it("has the constants of lua-ssocket", function()
        for name, value in pairs({
            AF_INET = 2, AF_INET6 = 10, AF_UNIX = 1,
            SOCK_STREAM = 1, SOCK_DGRAM = 2, SOCK_RAW = 3, SOCK_RDM = 4,
            SOCK_SEQPACKET = 5,
            AI_PASSIVE = 1, AI_CANONNAME = 2, AI_NUMERICHOST = 4,
            AI_NUMERICSERV = 1024, AI_ALL = 16, AI_ADDRCONFIG = 32,
            AI_V4MAPPED = 8,
            INADDR_ANY = 0, INADDR_BROADCAST = 4294967295,
            INADDR_LOOPBACK = 2130706433,
            INADDR_UNSPEC_GROUP = 3758096384,
            INADDR_ALLHOSTS_GROUP = 3758096385,
            INADDR_MAX_LOCAL_GROUP = 3758096639,
            INADDR_NONE = 4294967295,
            TCP_NODELAY = 1, TCP_KEEPALIVE = 4,
            SHUT_RD = 0, SHUT_WR = 1, SHUT_RDWR = 2,
            SOMAXCONN = ms.SOMAXCONN,
            ERROR_TIMEOUT = "Operation timed out",
            ERROR_CLOSED = "Connection closed",
        }) do
            assert.are.equal(value, socket[name], name)
        end
    end)

    it("has nil for those that the platform lacks", function()
        for _, name in ipairs({
            "AI_MASK", "AI_V4MAPPED_CFG", "AI_DEFAULT", "NONSENSE", "nonsense",
        }) do
            assert.is_nil(socket[name], name)
        end
        assert.is_nil(socket[1])
    end)

    it("has the levels and numbers that options need", function()
        assert.are.equal(ms.SOL_SOCKET, socket.SOL_SOCKET)
        assert.are.equal(ms.SO_RCVBUF, socket.SO_RCVBUF)
        assert.are.equal(ms.IPPROTO_TCP, socket.IPPROTO_TCP)
    end)

    it("touches no global, and no signal", function()
        assert_prints("", [[
            local function ignored()
                for line in io.lines("/proc/self/status") do
                    if line:find("^SigIgn") then return line end
                end
            end
            local before, signals = {}, ignored()
            for name, value in pairs(_G) do before[name] = value end
            require "minisock.socket"
            for name, value in pairs(_G) do
                if before[name] ~= value then io.write(name) end
            end
            if ignored() ~= signals then io.write("signals") end
        ]])
    end)

    it("can be loaded anew, and old sockets go on working", function()
        assert_prints("new hello end true hello", [[
            local ms = require "minisock"
            local old = require "minisock.socket"
            local a, b = ms.socketpair()
            local reader, writer = old.fromfd(a), old.fromfd(b)
            for name in pairs(package.loaded) do
                if name:find("^minisock") then package.loaded[name] = nil end
            end
            local path = package.searchpath("minisock.socket", package.path)
            local text = io.open(path):read("*a")
            package.preload["minisock.socket"] = assert(loadstring(
                text:gsub("\nreturn socket%s*$",
                    "\nfunction Socket:what() return 'new' end\n%0")))
            local new = require "minisock.socket"
            io.write(new.tcp():what(), " ")
            writer:write("hello\n")
            io.write(reader:readline(), " ")
            writer:close()
            io.write(select(2, reader:read(1)) == old.ERROR_CLOSED and "end",
                " ", tostring(reader.what == nil), " ")
            local server = old.tcp()
            server:bind("127.0.0.1", 0)
            server:listen(1)
            local client = new.tcp()
            client:connect("127.0.0.1", server:getsockname()[2])
            server:accept():write("hello")
            io.write(client:read(10))
            collectgarbage()
        ]])
    end)
end)

describe("a program for lua-ssocket", function()
    before_each(setup)
    after_each(teardown)

    local DROPIN = ("LUA_PATH='%s/minisock/dropin/?.lua;%s/?.lua;;'")
        :format(lfs.currentdir(), lfs.currentdir())

    it("gets minisock.socket by the original's name", function()
        assert_prints("true", [[
            local socket = require "socket"
            io.write(tostring(socket == require "minisock.socket"))
        ]], DROPIN)
    end)

    it("runs as it stands", function()
        local dir = support.mkdtemp()
        support.spit(dir .. "/index.html", "hello\n")
        local server = support.spawn("python3 -u -m http.server "
            .. "--bind 127.0.0.1 --directory " .. dir .. " 0")
        local port = server:expect("port (%d+)")
        local name = support.spit(support.tmpname(), ([[
    socket = require "socket"

    sock = socket.tcp()
    local ok, err = sock:connect("127.0.0.1", %d)
    if err then
        print(err)
    end
    sock:write("GET / HTTP/1.1\r\n")
    sock:write("\r\n")
    sock:settimeout(1)
    io.output():write(sock:read(1024))
    sock:close()
]]):format(port))
        local output, status = support.shell(("%s %s %s"):format(DROPIN,
            support.luajit, name))
        support.rmtree(dir)
        assert.matches("^HTTP/1%.%d 200 OK\r\n", output)
        assert.are.equal(0, status)
    end)
end)

describe("a socket whose connect was refused", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("can be connected elsewhere", function()
        local gone, nobody = ms.bind("127.0.0.1", 0)
        ms.close(gone)
        local _, addr = support.listener()
        local sock = assert(socket.tcp())
        local refused = { sock:connect("127.0.0.1", ms.parseaddr(nobody).port) }
        local done, problem =
            sock:connect("127.0.0.1", ms.parseaddr(addr).port)
        sock:close()
        assert.are.equal(ms.ECONNREFUSED, refused[3])
        assert.is_true(done, problem)
    end)
end)

describe("a socket's reading and sending", function()
    before_each(setup)
    after_each(teardown)

    it("reads lines past an empty datagram", function()
        local a, b = assert(ms.socketpair(SOCK_DGRAM))
        local sock = keep(socket.fromfd(a))
        for _, text in ipairs({ "", "", "one\ntw", "", "o\n" }) do
            assert(ms.sendall(b, text))
        end
        assert.are.equal("one", sock:readline())
        assert.are.equal("two", sock:readline())
        ms.close(b)
    end)

    it("says what the resolver says of a host", function()
        local sock = keep(socket.udp())
        assert.are.same({ n = 3, "Name or service not known", ms.EAI_NONAME },
            { n = 3, select(2, sock:sendto("text", "a\0b", 1)) })
    end)

    it("keeps its timeout when an option of its own is set", function()
        local server, port = listener()
        local sock = keep(socket.tcp())
        assert(sock:connect("127.0.0.1", port))
        sock:settimeout(1)
        assert.is_true((sock:setoption("SO_RCVTIMEO", 50)))
        local took, _, message = support.timed(sock.read, sock, 1)
        assert.are.equal(TIMEOUT, message)
        assert.is_true(took >= 1000, took)
        server:close()
    end)
end)
