local bit = require "bit"
local lfs = require "lfs"
local lsocket = require "minisock.lsocket"
local ms = require "minisock"
local support = require "spec.support"

local NOT_OPEN = "Bad file descriptor"

local objects

local function keep(sock, ...)
    assert(sock, (...))
    objects[#objects + 1] = sock
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

local function port_of(sock)
    return sock:info("socket").port
end

local function wait_to_read(sock)
    assert.are.equal(sock, assert(lsocket.select({ sock }, 10))[1])
end

local function wait_to_write(sock)
    local _, writable = lsocket.select(nil, { sock }, 10)
    assert.are.equal(sock, assert(writable)[1])
end

local function accept(server)
    wait_to_read(server)
    return keep(server:accept())
end

-- What comes next, after it has come.
local function receive(sock, size)
    wait_to_read(sock)
    return sock:recv(size)
end

-- A client, the server's end of the connection, and the server.
local function connection(host)
    local server = keep(lsocket.bind(host or "127.0.0.1", 0))
    local client = keep(lsocket.connect(host or "127.0.0.1", port_of(server)))
    wait_to_write(client)
    assert(client:status())
    return client, accept(server), server
end

local function udp(host)
    local sock = keep(lsocket.bind("udp", host or "127.0.0.1", 0))
    return sock, port_of(sock)
end

local function unique_name()
    return ("@minisock l%d %.17g"):format(os.time(), math.random())
end

-- A Python program at the other end.
local function python(program)
    return support.spawn("python3 -u " .. support.spit(support.tmpname(),
        "import signal, socket, struct, sys\nsignal.alarm(60)\n" .. program))
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

-- Sends until there is no more room, and returns how much there was.
local function fill(sock)
    local sum = 0
    while true do
        local count = assert.is_not_nil(sock:send(("x"):rep(65536)))
        if not count then return sum end
        sum = sum + count
    end
end

describe("lsocket.bind", function()
    before_each(setup)
    after_each(teardown)

    for _, case in ipairs({
        { "a port alone", { 0 }, "inet", "tcp", "0.0.0.0" },
        { "a port in a string", { "127.0.0.1", "0" }, "inet", "tcp",
            "127.0.0.1" },
        { "tcp", { "tcp", 0 }, "inet", "tcp", "0.0.0.0" },
        { "TCP", { "TCP", "127.0.0.1", 0 }, "inet", "tcp", "127.0.0.1" },
        { "udp", { "udp", 0 }, "inet", "udp", "0.0.0.0" },
        { "UdP", { "UdP", "::1", 0 }, "inet6", "udp", "::1" },
        { "an address", { "127.0.0.1", 0 }, "inet", "tcp", "127.0.0.1" },
        { "an IPv6 address", { "::1", 0, 3 }, "inet6", "tcp", "::1" },
        { "a name", { "localhost", 0 }, nil, "tcp", nil },
        { "INADDR_ANY", { lsocket.INADDR_ANY, 0 }, "inet", "tcp",
            "0.0.0.0" },
        { "IN6ADDR_ANY", { lsocket.IN6ADDR_ANY, 0 }, "inet6", "tcp", "::" },
    }) do
        local name, arguments, family, kind, addr = unpack(case)
        it("takes " .. name, function()
            local got = results(lsocket.bind(unpack(arguments)))
            local sock = keep(got[1], got[2])
            local info, place = sock:info(), sock:info("socket")
            assert.are.equal(1, got.n)
            assert.are.same({
                fd = sock:getfd(), family = family or info.family,
                type = kind, listening = true, multicast = false,
            }, info)
            assert.are.equal(info.family, place.family)
            assert.are.equal(addr or place.addr, place.addr)
            assert.is_true(place.port > 0)
        end)
    end

    it("listens on tcp only", function()
        local tcp, datagrams = keep(lsocket.bind(0)), udp()
        assert.is_true(ms.getsockopt(tcp:getfd(), "SO_ACCEPTCONN"))
        assert.is_false(ms.getsockopt(datagrams:getfd(), "SO_ACCEPTCONN"))
    end)

    it("takes a backlog", function()
        local server = keep(lsocket.bind("127.0.0.1", 0, 0))
        local clients = 0
        repeat
            local client = keep(lsocket.connect("127.0.0.1", port_of(server)))
            local _, connected = lsocket.select(nil, { client }, 0.2)
            if connected then clients = clients + 1 end
        until not connected
        assert.is_true(clients < 5)
    end)

    it("makes what doesn't block and isn't inherited", function()
        local flags =
            support.descriptor_flags(keep(lsocket.bind(0)):getfd())
        assert.are_not.equal(0, bit.band(flags, ms.SOCK_NONBLOCK))
        assert.are_not.equal(0, bit.band(flags, ms.SOCK_CLOEXEC))
    end)

    it("makes a path, which Python finds", function()
        local path = support.tmpname()
        local server = keep(lsocket.bind(path))
        assert.are.same({
            fd = server:getfd(), family = "unix", type = "tcp",
            listening = true, multicast = false,
        }, server:info())
        python(([[
s = socket.socket(socket.AF_UNIX)
s.connect("%s")
s.sendall(b"hello")
]]):format(path))
        assert.are.equal("hello", receive(accept(server)))
        assert.are.same({ family = "unix", addr = path },
            server:info("socket"))
    end)

    it("makes a path for datagrams", function()
        local path = support.tmpname()
        local server = keep(lsocket.bind("udp", path))
        local client = keep(lsocket.connect("udp", path))
        assert.are.equal(2, client:send("hi"))
        assert.are.equal("hi", receive(server))
        assert.are.equal("udp", server:info().type)
    end)

    it("makes an abstract name, which socat finds", function()
        local name = unique_name()
        local server = keep(lsocket.bind(name))
        support.spawn(("echo hello | socat - 'ABSTRACT-CONNECT:%s'")
            :format(name:sub(2)))
        assert.are.equal("hello\n", receive(accept(server)))
        assert.are.same({ family = "unix", addr = name },
            server:info("socket"))
    end)

    it("takes 108 bytes of path, and no more", function()
        local path = ms.parseaddr(support.longest_unixaddr()).path
        local server = keep(lsocket.bind(path))
        assert.are.equal(path, server:info("socket").addr)
        assert.is_true(keep(lsocket.connect(path)):status())
        for _, call in ipairs({ "bind", "connect" }) do
            assert.are.same({ n = 2, nil, "unix domain path too long" },
                results(lsocket[call](path .. "x")))
        end
    end)

    it("says that an address is taken, on UDP too", function()
        local server = keep(lsocket.bind("127.0.0.1", 0))
        local _, port = udp()
        assert.are.same({ n = 2, nil, "Address already in use" },
            results(lsocket.bind("127.0.0.1", port_of(server))))
        assert.are.same({ n = 2, nil, "Address already in use" },
            results(lsocket.bind("udp", "127.0.0.1", port)))
    end)

    it("leaves no descriptor when it fails", function()
        local _, port = udp()
        local before = support.count_descriptors()
        for _ = 1, 20 do
            assert.is_nil((lsocket.bind("udp", "127.0.0.1", port)))
            assert.is_nil((lsocket.bind("203.0.113.77", 0)))
            assert.is_nil((lsocket.bind("/nowhere/at/all")))
            assert.is_nil((lsocket.bind("mcast", "203.0.113.77", 0)))
        end
        assert.are.equal(before, support.count_descriptors())
    end)

    it("takes a port again right after its connections", function()
        local client, served, server = connection()
        local port = port_of(server)
        served:close()
        receive(client)
        client:close()
        server:close()
        assert.is_not_nil(keep(lsocket.bind("127.0.0.1", port)))
    end)

    it("says that a port is missing", function()
        for _, arguments in ipairs({
            { "127.0.0.1" }, { "tcp", "127.0.0.1" }, { "udp", "8080" },
        }) do
            assert.are.same({ n = 2, nil,
                "Servname not supported for ai_socktype" },
                results(lsocket.bind(unpack(arguments))))
        end
    end)

    it("raises for what can't be meant", function()
        for _, arguments in ipairs({
            {}, { "tcp" }, { {} }, { 65536 }, { -1 }, { 1.5 }, { true },
            { "127.0.0.1", {} }, { "127.0.0.1", 70000 },
            { "127.0.0.1", 0, {} },
        }) do
            assert_raises("bad argument #%d to 'bind'", lsocket.bind,
                unpack(arguments))
        end
    end)

    it("says what the resolver says", function()
        local sock, message = lsocket.bind("no such\0host", 0)
        assert.is_nil(sock)
        assert.are.equal("Name or service not known", message)
    end)
end)

local ECHO = [[
s = socket.socket(%s)
s.bind(%s)
s.listen()
print("port", s.getsockname()[1])
c, a = s.accept()
print("from", ascii(a))
while True:
    data = c.recv(65536)
    if not data: break
    c.sendall(data.upper())
]]

describe("lsocket.connect", function()
    before_each(setup)
    after_each(teardown)

    for family, host in pairs({ inet = "127.0.0.1", inet6 = "::1" }) do
        it("reaches a server of " .. family, function()
            local server = python(ECHO:format(
                "socket.AF_" .. family:upper(), ("('%s', 0)"):format(host)))
            local port = tonumber(server:expect("^port (%d+)"))
            local got = results(lsocket.connect(host, port))
            local sock = keep(got[1], got[2])
            wait_to_write(sock)
            assert.is_true(sock:status())
            assert.are.equal(5, sock:send("hello"))
            assert.are.equal("HELLO", receive(sock))
            assert.are.equal(1, got.n)
            assert.are.same({
                fd = sock:getfd(), family = family, type = "tcp",
                listening = false, multicast = false,
            }, sock:info())
            assert.are.same({ family = family, addr = host, port = port },
                sock:info("peer"))
        end)
    end

    it("takes a type and a port in a string", function()
        local server = keep(lsocket.bind("127.0.0.1", 0))
        local sock = keep(lsocket.connect("TCP", "127.0.0.1",
            tostring(port_of(server))))
        accept(server)
        assert.are.equal("tcp", sock:info().type)
    end)

    it("reaches abstract names byte for byte", function()
        local server = python(ECHO:format("socket.AF_UNIX",
            [[b"\0l\xff\0" + str(__import__("os").getpid()).encode()]]))
        server:expect("^port")
        local name = "@l\255\0" .. server.pid
        local sock = keep(lsocket.connect(name))
        assert.is_true(sock:status())
        assert.are.same({ family = "unix", addr = name },
            sock:info("peer"))
        sock:send("hello")
        assert.are.equal("HELLO", receive(sock))
    end)

    it("reaches datagram sockets", function()
        local server, port = udp()
        local sock = keep(lsocket.connect("udp", "127.0.0.1", port))
        assert.are.equal(2, sock:send("hi"))
        assert.are.equal("hi", receive(server))
        assert.are.equal("udp", sock:info().type)
        assert.is_false(sock:info().listening)
    end)

    it("has no SO_REUSEADDR", function()
        local _, port = udp()
        local sock = keep(lsocket.connect("udp", "127.0.0.1", port))
        assert.is_false(ms.getsockopt(sock:getfd(), "SO_REUSEADDR"))
    end)

    it("tells later that nobody listens", function()
        local server = keep(lsocket.bind("127.0.0.1", 0))
        local port = port_of(server)
        server:close()
        local sock = keep(lsocket.connect("127.0.0.1", port))
        local readable, writable = lsocket.select({ sock }, { sock }, 10)
        assert.are.same({ sock }, readable)
        assert.are.same({ sock }, writable)
        assert.are.same({ n = 2, nil, "Connection refused" },
            results(sock:status()))
        assert.are.same({ n = 1, true }, results(sock:status()))
    end)

    it("is under way while nobody answers", function()
        local addr = support.full_listener()
        local sock = keep(lsocket.connect("127.0.0.1",
            support.port_of(addr)))
        assert.is_true(sock:status())
        assert.is_false((lsocket.select(nil, { sock }, 0)))
        assert.is_false(sock:send("x"))
    end)

    it("says at once what fails at once", function()
        assert.are.same({ n = 2, nil, "No such file or directory" },
            results(lsocket.connect("/nowhere/at/all")))
        assert.are.same({ n = 2, nil, "Connection refused" },
            results(lsocket.connect(unique_name())))
        assert.are.same({ n = 2, nil, "Network is unreachable" },
            results(lsocket.connect("255.255.255.255", 80)))
        assert.are.same({ n = 2, nil,
            "Servname not supported for ai_socktype" },
            results(lsocket.connect("127.0.0.1")))
    end)

    it("says that a Unix server's queue is full", function()
        local name = unique_name()
        keep(lsocket.bind(name, nil, 0))
        local sock, message
        repeat
            sock, message = lsocket.connect(name)
            if sock then keep(sock) end
        until not sock
        assert.are.equal("Resource temporarily unavailable", message)
    end)

    it("leaves no descriptor when it fails", function()
        local before = support.count_descriptors()
        for _ = 1, 20 do
            lsocket.connect("/nowhere/at/all")
            lsocket.connect("255.255.255.255", 80)
        end
        assert.are.equal(before, support.count_descriptors())
    end)

    it("raises for what can't be meant", function()
        for _, arguments in ipairs({
            {}, { "tcp" }, { 80 }, { {}, 80 }, { "127.0.0.1", 65536 },
            { "127.0.0.1", {} }, { "mcast", "239.1.1.1", 80, 256 },
            { "mcast", "239.1.1.1", 80, {} },
        }) do
            assert_raises("bad argument #%d to 'connect'", lsocket.connect,
                unpack(arguments))
        end
    end)
end)

-- A resolver that knows the name "cafe", which could be taken for digits, and
-- two names of which the first address won't do: "far" can't be connected to,
-- "strange" can't be bound to.
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
    const char *first = "255.255.255.255";

    if (host == NULL || hints == NULL || hints->ai_flags & AI_NUMERICHOST)
        return ask(host, service, hints, list);
    if (strcmp(host, "cafe") == 0)
        return ask("127.0.0.1", service, hints, list);
    if (strcmp(host, "strange") == 0)
        first = "203.0.113.77";
    else if (strcmp(host, "far") != 0)
        return ask(host, service, hints, list);
    if (ask(first, service, hints, list) != 0)
        return EAI_NONAME;
    while (*end != NULL)
        end = &(*end)->ai_next;
    return ask("127.0.0.1", service, hints, end);
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

    it("of hex digits alone are names", function()
        assert_prints("127.0.0.1 inet 127.0.0.1 1", [[
            local lsocket = require "minisock.lsocket"
            local list = assert(lsocket.resolve("cafe"))
            local server = assert(lsocket.bind("cafe", 0))
            local sock = assert(lsocket.bind("udp", "127.0.0.1", 0))
            io.write(server:info("socket").addr, " ", list[1].family, " ",
                list[1].addr, " ",
                assert(sock:sendto("x", "cafe", 9)))
        ]], nil, luajit)
    end)

    it("have the next address tried when one can't be reached", function()
        local server = keep(lsocket.bind("127.0.0.1", 0))
        assert_prints("127.0.0.1", ([[
            local lsocket = require "minisock.lsocket"
            local sock = assert(lsocket.connect("far", %d))
            lsocket.select(nil, { sock }, 10)
            assert(sock:status())
            io.write(sock:info("peer").addr)
        ]]):format(port_of(server)), nil, luajit)
        accept(server)
    end)

    it("have the next address tried when one can't be bound to", function()
        assert_prints("127.0.0.1", [[
            local lsocket = require "minisock.lsocket"
            io.write(assert(lsocket.bind("strange", 0)):info("socket").addr)
        ]], nil, luajit)
    end)
end)

-- Without an interface for it, IPv6 multicast has nowhere to go.
local function has_inet6_multicast()
    for _, interface in ipairs(ms.getinterfaces()) do
        if interface.family == "inet6"
                and bit.band(interface.flags, ms.IFF_LOOPBACK) == 0
                and bit.band(interface.flags, ms.IFF_MULTICAST) ~= 0 then
            return true
        end
    end
end

describe("mcast", function()
    before_each(setup)
    after_each(teardown)

    local it_by_inet6 = has_inet6_multicast() and it or pending

    -- How a Python socket names the interface that was chosen.
    local function scope_of(sock)
        return ms.parseaddr(ms.getsockname(sock:getfd())).scope
    end

    for _, group in ipairs({
        "239.255.77.1", "ff01::7701", "ff02::7701", "ff05::7701",
        "ff01::1", "ff02::1",
    }) do
        local test = group:find(":") and it_by_inet6 or it
        test("gets and sends to " .. group, function()
            local client = keep(lsocket.bind("mcast", group, 0))
            local server = keep(lsocket.connect("mcast", group,
                port_of(client)))
            assert.are.equal(5, server:send("hello"))
            wait_to_read(client)
            local data, addr, port = client:recvfrom()
            assert.are.equal("hello", data)
            assert.are.equal(server:info("socket").addr, addr)
            assert.are.equal(port_of(server), port)
        end)
    end

    it("gets what Python sends to an IPv4 group", function()
        local client = keep(lsocket.bind("mcast", "239.255.77.2", 0))
        python(([[
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b"from Python", ("239.255.77.2", %d))
]]):format(port_of(client)))
        assert.are.equal("from Python", receive(client))
    end)

    it_by_inet6("gets what Python sends to an IPv6 group", function()
        local client = keep(lsocket.bind("mcast", "ff02::7702", 0))
        python(([[
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.sendto(b"from Python", ("ff02::7702", %d, 0, %d))
]]):format(port_of(client), scope_of(client)))
        assert.are.equal("from Python", receive(client))
    end)

    it("sends what Python gets", function()
        local peer = python([[
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("239.255.77.3", 0))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
             socket.inet_aton("239.255.77.3") + socket.inet_aton("0.0.0.0"))
print("port", s.getsockname()[1])
print("got", s.recv(100).decode())
]])
        local server = keep(lsocket.connect("mcast", "239.255.77.3",
            peer:expect("^port (%d+)")))
        server:send("hello")
        assert.are.equal("hello", peer:expect("^got (.*)"))
    end)

    it("lets several get the same", function()
        local first = keep(lsocket.bind("mcast", "239.255.77.4", 0))
        local port = port_of(first)
        local second = keep(lsocket.bind("mcast", "239.255.77.4", port))
        keep(lsocket.connect("mcast", "239.255.77.4", port)):send("all")
        assert.are.equal("all", receive(first))
        assert.are.equal("all", receive(second))
    end)

    it("gets and sends broadcasts", function()
        local client = keep(lsocket.bind("mcast", 0))
        local server = keep(lsocket.connect("mcast", "127.255.255.255",
            port_of(client)))
        assert.are.equal(3, server:send("all"))
        assert.are.equal("all", receive(client))
    end)

    for group, option in pairs({
        ["239.255.77.5"] = "IP_MULTICAST_TTL",
        ["ff02::7705"] = "IPV6_MULTICAST_HOPS",
    }) do
        local test = group:find(":") and it_by_inet6 or it
        test("has a ttl, of 1 by default, for " .. group, function()
            local near = keep(lsocket.connect("mcast", group, 9))
            local far = keep(lsocket.connect("mcast", group, 9, "7"))
            assert.are.equal(1, ms.getsockopt(near:getfd(), option))
            assert.are.equal(7, ms.getsockopt(far:getfd(), option))
        end)
    end

    it("works on a machine without a route", function()
        local _, status = support.shell("unshare -rn true")
        if status ~= 0 then pending("needs a network of its own") end
        assert_prints("hello", [[
            local lsocket = require "minisock.lsocket"
            local client = assert(lsocket.bind("mcast", "239.255.77.8", 0))
            local server = assert(lsocket.connect("mcast", "239.255.77.8",
                client:info("socket").port))
            server:send("hello")
            lsocket.select({ client }, 10)
            io.write((client:recv()))
        ]], "unshare -rn sh -c 'ip link set lo up; exec \"$@\"' sh")
    end)

    it("is what info says", function()
        local client = keep(lsocket.bind("MCAST", "239.255.77.6", 0))
        local server = keep(lsocket.connect("mcast", "239.255.77.6", 9))
        assert.are.same({
            fd = client:getfd(), family = "inet", type = "udp",
            listening = true, multicast = true,
        }, client:info())
        assert.are.same({
            fd = server:getfd(), family = "inet", type = "udp",
            listening = false, multicast = true,
        }, server:info())
    end)

    it("isn't for Unix sockets", function()
        for _, call in ipairs({ "bind", "connect" }) do
            for _, name in ipairs({ "/tmp/x", "@x" }) do
                assert.are.same({ n = 2, nil,
                    "multicast not available for unix domain sockets." },
                    results(lsocket[call]("mcast", name, 9)))
            end
        end
    end)

    it_by_inet6("gets what sendto sends to a group", function()
        local client = keep(lsocket.bind("mcast", "ff02::7707", 0))
        local server = keep(lsocket.bind("udp", "::", 0))
        assert.are.equal(1,
            server:sendto("?", "ff02::7707", port_of(client)))
        assert.are.equal("?", receive(client))
    end)
end)

describe("info", function()
    before_each(setup)
    after_each(teardown)

    for family, host in pairs({ inet = "127.0.0.1", inet6 = "::1" }) do
        it("tells both ends of " .. family, function()
            local client, served, server = connection(host)
            assert.are.same(
                { family = family, addr = host, port = port_of(server) },
                served:info("socket"))
            assert.are.same(
                { family = family, addr = host, port = port_of(client) },
                served:info("peer"))
            assert.are.same(client:info("socket"), served:info("peer"))
            assert.are.same(client:info("Peer"), served:info("SOCKET"))
        end)
    end

    it("tells that a Unix client has no name", function()
        local name = unique_name()
        local server = keep(lsocket.bind(name))
        local client = keep(lsocket.connect(name))
        local served = accept(server)
        assert.are.same({ family = "unix", addr = "" },
            served:info("peer"))
        assert.are.same({ family = "unix", addr = "" },
            client:info("socket"))
        assert.are.same({ family = "unix", addr = name },
            served:info("socket"))
    end)

    it("says that there is no peer", function()
        assert.are.same({ n = 2, nil,
            "Transport endpoint is not connected" },
            results(udp():info("peer")))
    end)

    it("is nil for anything else", function()
        assert.are.same({ n = 1 }, results(udp():info("else")))
        assert_raises("bad argument #1 to 'info'", udp().info, udp(), {})
    end)

    it("tells that a socket is closed", function()
        local sock = keep(lsocket.bind(0))
        sock:close()
        assert.are.same({
            fd = -1, family = "inet", type = "unknown", listening = false,
            multicast = false,
        }, sock:info())
    end)
end)

describe("setfd and getfd", function()
    before_each(setup)
    after_each(teardown)

    it("give up the descriptor", function()
        local sock = lsocket.bind("udp", 0)
        local fd = support.keep(sock:getfd())
        assert.are.same({ n = 1, true }, results(sock:setfd(-1)))
        assert.are.equal(-1, sock:getfd())
        assert.is_true(sock:close())
        assert.are.equal(ms.SOCK_DGRAM, ms.getsockopt(fd, "SO_TYPE"))
    end)

    it("take no other", function()
        local sock = udp()
        local fd = sock:getfd()
        for _, other in ipairs({ 0, 5, "x", {} }) do
            assert.are.same({ n = 2, nil,
                "bad argument #1 to 'setfd' (invalid fd)" },
                results(sock:setfd(other)))
        end
        assert.are.equal(fd, sock:getfd())
    end)
end)

describe("accept", function()
    before_each(setup)
    after_each(teardown)

    for family, host in pairs({ inet = "127.0.0.1", inet6 = "::1" }) do
        it("gives a socket, address and port of " .. family, function()
            local server = keep(lsocket.bind(host, 0))
            local client = keep(lsocket.connect(host, port_of(server)))
            wait_to_read(server)
            local got = results(server:accept())
            local served = keep(got[1])
            assert.are.same({ n = 3, served, host, port_of(client) }, got)
            assert.are.same({
                fd = served:getfd(), family = family, type = "tcp",
                listening = false, multicast = false,
            }, served:info())
            local flags = support.descriptor_flags(served:getfd())
            assert.are_not.equal(0, bit.band(flags, ms.SOCK_NONBLOCK))
            assert.are_not.equal(0, bit.band(flags, ms.SOCK_CLOEXEC))
        end)
    end

    it("gives no address of a Unix client", function()
        local name = unique_name()
        local server = keep(lsocket.bind(name))
        keep(lsocket.connect(name))
        wait_to_read(server)
        local got = results(server:accept())
        keep(got[1])
        assert.are.same({ n = 3, got[1] }, got)
        assert.are.equal("unix", got[1]:info().family)
    end)

    it("is false when there is none", function()
        assert.are.same({ n = 1, false },
            results(keep(lsocket.bind("127.0.0.1", 0)):accept()))
    end)

    it("says what the system says", function()
        assert.are.same({ n = 2, nil, "Operation not supported" },
            results(udp():accept()))
        local client = connection()
        assert.are.same({ n = 2, nil, "Invalid argument" },
            results(client:accept()))
    end)
end)

describe("recv", function()
    before_each(setup)
    after_each(teardown)

    it("gives what there is, 8192 bytes at most", function()
        local client, served = connection()
        client:send(("x"):rep(10000))
        wait_to_read(served)
        assert.are.same({ n = 1, "xx" }, results(served:recv(2)))
        local sum, most = 2, 0
        while sum < 10000 do
            local data = receive(served)
            sum, most = sum + #data, math.max(most, #data)
        end
        assert.are.equal(10000, sum)
        assert.is_true(most <= 8192)
    end)

    it("takes 8192 bytes of a datagram", function()
        local sock, port = udp()
        sock:sendto(("x"):rep(9000), "127.0.0.1", port)
        assert.are.equal(8192, #receive(sock))
    end)

    it("takes the size it is given", function()
        local sock, port = udp()
        sock:sendto(("x"):rep(60000), "127.0.0.1", port)
        assert.are.equal(60000, #receive(sock, "65536"))
        sock:sendto("hello", "127.0.0.1", port)
        assert.are.equal("hello", receive(sock, 2^32 - 1))
    end)

    it("is false when there is nothing", function()
        local client = connection()
        assert.are.same({ n = 1, false }, results(client:recv()))
    end)

    it("is nil alone at the end, again and again", function()
        local client, served = connection()
        client:close()
        wait_to_read(served)
        for _ = 1, 2 do
            assert.are.same({ n = 1 }, results(served:recv()))
        end
    end)

    it("says what the system says", function()
        local client, served = connection()
        ms.setsockopt(client:getfd(), "SO_LINGER", 0)
        client:close()
        wait_to_read(served)
        assert.are.same({ n = 2, nil, "Connection reset by peer" },
            results(served:recv()))
    end)

    it("takes an empty datagram for what it is", function()
        local sock, port = udp()
        python(([[
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.1", %d))
s.send(b"")
s.send(b"more")
]]):format(port))
        wait_to_read(sock)
        assert.are.same({ n = 1, "" }, results(sock:recv()))
        assert.are.equal("more", receive(sock))
    end)

    it("isn't at the end when nothing is asked for", function()
        local client = connection()
        assert.are.same({ n = 1, "" }, results(client:recv(0)))
        assert.are.same({ n = 1, "" }, results(client:recvfrom(0)))
    end)

    it("raises for what can't be a size", function()
        local sock = udp()
        for _, call in ipairs({ "recv", "recvfrom" }) do
            for _, size in ipairs({ -1, 2^32, 0.5, "x", {} }) do
                assert_raises("bad argument #1 to '" .. call, sock[call],
                    sock, size)
            end
        end
    end)
end)

describe("recvfrom", function()
    before_each(setup)
    after_each(teardown)

    for family, host in pairs({ inet = "127.0.0.1", inet6 = "::1" }) do
        it("tells who sent, by " .. family, function()
            local sock, port = udp(host)
            local peer = python(([[
s = socket.socket(socket.AF_%s, socket.SOCK_DGRAM)
s.bind(("%s", 0))
s.sendto(b"", ("%s", %d))
s.sendto(b"hello", ("%s", %d))
print("port", s.getsockname()[1])
print("got", s.recv(100).decode())
]]):format(family:upper(), host, host, port, host, port))
            local from = tonumber(peer:expect("^port (%d+)"))
            wait_to_read(sock)
            assert.are.same({ n = 3, "", host, from },
                results(sock:recvfrom()))
            wait_to_read(sock)
            assert.are.same({ n = 3, "hel", host, from },
                results(sock:recvfrom(3)))
            assert.are.same({ n = 1, 4 },
                results(sock:sendto("back", host, from)))
            assert.are.equal("back", peer:expect("^got (.*)"))
        end)
    end

    it("tells a Unix sender's path, or that it has none", function()
        local server = keep(lsocket.bind("udp", unique_name()))
        local name = server:info("socket").addr
        for _, own in ipairs({ support.tmpname(), unique_name() .. "b" }) do
            local client = keep(lsocket.bind("udp", own))
            client:sendto("hi", name)
            wait_to_read(server)
            assert.are.same({ n = 3, "hi", own, 0 },
                results(server:recvfrom()))
        end
        keep(lsocket.connect("udp", name)):send("ho")
        wait_to_read(server)
        assert.are.same({ n = 3, "ho", "", 0 }, results(server:recvfrom()))
    end)

    it("is false when there is nothing", function()
        assert.are.same({ n = 1, false }, results(udp():recvfrom()))
        local client = connection()
        assert.are.same({ n = 1, false }, results(client:recvfrom()))
    end)

    it("loses nothing of a stream", function()
        local client, served = connection()
        client:send("hello")
        wait_to_read(served)
        assert.are.same({ n = 3, "hello", "127.0.0.1", port_of(client) },
            results(served:recvfrom()))
        client:close()
        wait_to_read(served)
        assert.are.same({ n = 1 }, results(served:recvfrom()))
    end)
end)

describe("send", function()
    before_each(setup)
    after_each(teardown)

    it("sends, and tells how much", function()
        local client, served = connection()
        assert.are.same({ n = 1, 5 }, results(client:send("hello")))
        assert.are.equal("hello", receive(served))
        assert.are.equal(2, client:send(42))
        assert.are.equal("42", receive(served))
        assert.are.same({ n = 1, 0 }, results(client:send("")))
    end)

    it("sends part, then is false when there is no room", function()
        local client, served = connection()
        local sum = fill(client)
        assert.are.same({ n = 1, false }, results(client:send("x")))
        local got = 0
        repeat got = got + #receive(served, 2^20) until got == sum
        assert.are.equal(1, client:send("x"))
    end)

    it("sends an empty datagram", function()
        local server, port = udp()
        local client = keep(lsocket.connect("udp", "127.0.0.1", port))
        assert.are.equal(0, client:send(""))
        assert.are.equal("", receive(server))
    end)

    it("doesn't die of a closed connection", function()
        assert_prints("Broken pipe", [[
            local lsocket = require "minisock.lsocket"
            local server = lsocket.bind("@minisock pipe " .. arg[0])
            local client = lsocket.connect("@minisock pipe " .. arg[0])
            server:accept():close()
            io.write((select(2, client:send("x"))))
        ]])
    end)

    it("raises for what isn't a string", function()
        local sock = udp()
        assert_raises("bad argument #1 to 'send'", sock.send, sock)
        assert_raises("bad argument #1 to 'sendto'", sock.sendto, sock)
    end)
end)

describe("sendto", function()
    before_each(setup)
    after_each(teardown)

    it("sends to a name of the socket's own family", function()
        local sock, port = udp()
        assert.are.equal(2, sock:sendto("hi", "localhost", port))
        assert.are.equal("hi", receive(sock))
        assert.are.equal(0, sock:sendto("", "127.0.0.1", tostring(port)))
        assert.are.equal("", receive(sock))
    end)

    it("is false when there is no room", function()
        local name = unique_name()
        local sock = keep(lsocket.bind("udp", name))
        local sent
        repeat sent = sock:sendto("x", name, 0) until sent ~= 1
        assert.is_false(sent)
    end)

    it("says what the system says", function()
        local sock = udp()
        assert.are.same({ n = 2, nil, "Message too long" },
            results(sock:sendto(("x"):rep(65508), "127.0.0.1", 9)))
        local unix = keep(lsocket.bind("udp", unique_name()))
        assert.are.same({ n = 2, nil, "No such file or directory" },
            results(unix:sendto("x", "/nowhere/at/all", 0)))
        local sent, message = sock:sendto("x", "::1", 9)
        assert.is_nil(sent)
        assert.is_string(message)
    end)

    it("raises for what can't be meant", function()
        local sock = udp()
        assert_raises("#2 to 'sendto'", sock.sendto, sock, "x")
        assert_raises("#3 to 'sendto'", sock.sendto, sock, "x", "127.0.0.1")
        assert_raises("#3 to 'sendto'", sock.sendto, sock, "x", "127.0.0.1",
            65536)
    end)
end)

describe("close", function()
    before_each(setup)
    after_each(teardown)

    it("returns true, a second time too", function()
        local sock = lsocket.bind(0)
        local before = support.count_descriptors()
        assert.are.same({ n = 1, true }, results(sock:close()))
        assert.are.same({ n = 1, true }, results(sock:close()))
        assert.are.equal(before - 1, support.count_descriptors())
        assert.are.equal(-1, sock:getfd())
    end)

    for _, kind in ipairs({ "tcp", "udp" }) do
        for call, arguments in pairs({
            status = {}, accept = {}, recv = {}, recvfrom = {},
            send = { "x" }, sendto = { "x", "127.0.0.1", 9 },
            info = { "peer" },
        }) do
            it(("makes a later %s of %s fail"):format(call, kind), function()
                local sock = keep(lsocket.bind(kind, 0))
                sock:close()
                assert.are.same({ n = 2, nil, NOT_OPEN },
                    results(sock[call](sock, unpack(arguments))))
            end)
        end
    end

    it("makes doing nothing fail too", function()
        local sock = keep(lsocket.bind("udp", 0))
        sock:close()
        for call, argument in pairs({
            recv = 0, recvfrom = 0, send = "", info = "socket",
        }) do
            assert.are.same({ n = 2, nil, NOT_OPEN },
                results(sock[call](sock, argument)))
        end
    end)

    it("says what the system says", function()
        local sock = lsocket.bind("udp", 0)
        ms.close(sock:getfd())
        assert.are.same({ n = 2, nil, NOT_OPEN }, results(sock:close()))
        assert.are.same({ n = 1, true }, results(sock:close()))
    end)

    it("happens when nothing refers to the socket", function()
        local before = support.count_descriptors()
        local function waste()
            for _ = 1, 20 do lsocket.bind(0) end
        end
        waste()
        collectgarbage()
        collectgarbage()
        assert.are.equal(before, support.count_descriptors())
    end)

    it("happens when there are no more descriptors", function()
        if support.valgrind then return pending("valgrind has its own") end
        assert_prints("1000 1000", [[
            local lsocket = require "minisock.lsocket"
            local bound, accepted = 0, 0
            local name = "@minisock many " .. arg[0]
            local server = lsocket.bind(name)
            for _ = 1, 1000 do
                collectgarbage("stop")
                if lsocket.bind("udp", 0) then bound = bound + 1 end
            end
            for _ = 1, 1000 do
                collectgarbage("stop")
                local client = lsocket.connect(name)
                if server:accept() then accepted = accepted + 1 end
            end
            io.write(bound, " ", accepted)
        ]], "ulimit -Sn 60;")
    end)

    it("doesn't happen when they are in use", function()
        assert_prints("Too many open files", [[
            local lsocket = require "minisock.lsocket"
            local all = {}
            repeat
                local sock, message = lsocket.bind("udp", 0)
                all[#all + 1] = sock
                if not sock then io.write(message) end
            until not sock
        ]], "ulimit -Sn 60;")
    end)
end)

describe("lsocket.select", function()
    before_each(setup)
    after_each(teardown)

    it("gives as many tables as it got", function()
        local client, served = connection()
        client:send("x")
        assert.are.same({ n = 1, { served } },
            results(lsocket.select({ served }, 10)))
        assert.are.same({ n = 1, { served } },
            results(lsocket.select({ served }, nil, 10)))
        assert.are.same({ n = 2, { served }, { client } },
            results(lsocket.select({ served }, { client }, 10)))
        assert.are.same({ n = 2, {}, { client } },
            results(lsocket.select(nil, { client }, 10)))
        assert.are.same({ n = 2, {}, { client } },
            results(lsocket.select({ client }, { client })))
        assert.are.same({ n = 1, { served } },
            results(lsocket.select({ served })))
    end)

    it("is false after the timeout", function()
        local sock = udp()
        for _, arguments in ipairs({
            { { sock }, 0.05 }, { { sock }, nil, 0.05 },
            { { sock }, {}, 0.05 }, { nil, nil, 0.05 }, { 0.05 },
            { nil, 0.05 }, { {}, {}, "0.05" },
        }) do
            local took, got = support.timed(function()
                return results(lsocket.select(unpack(arguments, 1, 3)))
            end)
            assert.are.same({ n = 1, false }, got)
            assert.is_true(took >= 45)
        end
        assert.are.same({ n = 1, false }, results(lsocket.select(0)))
    end)

    it("burns no CPU", function()
        local sock = udp()
        local start = os.clock()
        lsocket.select({ sock }, 0.5)
        assert.is_true(os.clock() - start < 0.2)
    end)

    it("gives the same objects, once, by ascending descriptor", function()
        local socks = {}
        for i = 1, 5 do
            local sock, port = udp()
            sock:sendto("x", "127.0.0.1", port)
            wait_to_read(sock)
            socks[i] = sock
        end
        table.sort(socks, function(a, b) return a:getfd() < b:getfd() end)
        local a, b, c, d, e = unpack(socks)
        assert.are.same({ a, b, c, d, e },
            lsocket.select({ e, c, a, c, d, b, e }, 10))
        for i, sock in ipairs(lsocket.select({ e, d, c, b, a }, 10)) do
            assert.are.equal(socks[i], sock)
        end
    end)

    it("passes over closed sockets", function()
        local sock, port = udp()
        local closed = lsocket.bind(0)
        closed:close()
        sock:sendto("x", "127.0.0.1", port)
        assert.are.same({ sock }, lsocket.select({ closed, sock }, 10))
        assert.is_false((lsocket.select({ closed }, { closed }, 0)))
    end)

    it("reads tables up to the first nil", function()
        local a, b = udp(), udp()
        local _, writable = lsocket.select(nil, { a, nil, b }, 10)
        assert.are.same({ a }, writable)
    end)

    it("tells that a connection is closed", function()
        local client, served = connection()
        client:close()
        assert.are.same({ served }, lsocket.select({ served }, 10))
    end)

    it("doesn't wait for ever for nothing", function()
        local closed = lsocket.bind(0)
        closed:close()
        for _, arguments in ipairs({
            {}, { {} }, { { closed } }, { {}, {} }, { -1 }, { {}, {}, -2 },
        }) do
            assert.are.same({ n = 2, nil,
                "no open sockets to check and no timeout set" },
                results(lsocket.select(unpack(arguments))))
        end
    end)

    it("works above 1024", function()
        assert_prints("1500 x 1400 1500", [[
            local ffi = require "ffi"
            local lsocket = require "minisock.lsocket"
            ffi.cdef "int dup2(int, int);"
            -- Numbers above 1024 come by themselves when those below are taken.
            local low = lsocket.bind("udp", "127.0.0.1", 0)
            local function at(number)
                for fd = 3, number - 1 do
                    if ffi.C.dup2(fd, fd) < 0 then
                        ffi.C.dup2(low:getfd(), fd)
                    end
                end
                local sock = assert(lsocket.bind("udp", "127.0.0.1", 0))
                assert(sock:getfd() == number)
                return sock
            end
            local first, second = at(1400), at(1500)
            second:sendto("x", "127.0.0.1", second:info("socket").port)
            local ready = lsocket.select({ first, second }, 10)
            io.write(ready[1]:getfd(), " ", (second:recvfrom()))
            local _, writable = lsocket.select(nil, { second, first }, 10)
            io.write(" ", writable[1]:getfd(), " ", writable[2]:getfd())
        ]], "ulimit -Sn 2000;")
    end)

    it("accepts above 1024", function()
        assert_prints("1200 127.0.0.1", [[
            local ffi = require "ffi"
            local lsocket = require "minisock.lsocket"
            ffi.cdef "int dup2(int, int);"
            local server = lsocket.bind("127.0.0.1", 0)
            local client =
                lsocket.connect("127.0.0.1", server:info("socket").port)
            for fd = 3, 1199 do
                if ffi.C.dup2(fd, fd) < 0 then ffi.C.dup2(0, fd) end
            end
            lsocket.select({ server }, 10)
            local served, addr = server:accept()
            io.write(served:getfd(), " ", addr)
        ]], "ulimit -Sn 2000;")
    end)

    it("isn't ended by signals", function()
        assert_prints("false in time", [[
            local ffi = require "ffi"
            local lsocket = require "minisock.lsocket"
            local now = require("minisock.cdefs").shim.minisock_now
            ffi.cdef "int abs(int); void *signal(int, void *);"
            ffi.cdef "int siginterrupt(int, int);"
            ffi.cdef "int setitimer(int, const long *, long *);"
            ffi.C.signal(14, ffi.cast("void *", ffi.C.abs))
            ffi.C.siginterrupt(14, 1)
            ffi.C.setitimer(0, ffi.new("long[4]", 0, 20000, 0, 20000), nil)
            local sock = lsocket.bind("udp", "127.0.0.1", 0)
            local start = now()
            io.write(tostring(lsocket.select({ sock }, 0.3)),
                now() - start < 300 and " early" or " in time")
        ]])
    end)

    it("raises for what can't be meant, at the line that called", function()
        local sock = udp()
        for _, value in ipairs({ 1, "x", {}, io.stdout }) do
            assert_raises("tables can only contain sockets", lsocket.select,
                { value }, 0)
            assert_raises("tables can only contain sockets", lsocket.select,
                nil, { sock, value }, 0)
        end
        assert_raises("bad argument to 'select'", lsocket.select, { sock },
            nil, "x")
        assert_raises("bad argument to 'select'", lsocket.select, true)
        assert_raises("bad argument to 'select'", lsocket.select, 0 / 0)
        assert_raises("^spec/lsocket_spec", function()
            local ready = lsocket.select({ 1 }, 0)
            return ready
        end)
        assert_raises("^spec/lsocket_spec", function()
            local ready = lsocket.select("x")
            return ready
        end)
    end)
end)

describe("lsocket.resolve", function()
    before_each(setup)
    after_each(teardown)

    it("gives family and address", function()
        assert.are.same({ n = 1, { { family = "inet", addr = "127.0.0.1" } } },
            results(lsocket.resolve("127.0.0.1")))
        assert.are.same({ { family = "inet6", addr = "::1" } },
            lsocket.resolve("::1"))
    end)

    it("gives what Python gives", function()
        local process = python([[
for family in (socket.AF_INET, socket.AF_INET6):
    try:
        for a in socket.getaddrinfo("localhost", None, family,
                                    socket.SOCK_STREAM):
            print(a[4][0])
    except socket.gaierror:
        pass
print("end")
]])
        local expected, got = {}, {}
        for line in function() return process:line() end do
            if line == "end" then break end
            expected[#expected + 1] = line
        end
        for i, entry in ipairs(lsocket.resolve("localhost")) do
            got[i] = entry.addr
        end
        table.sort(expected)
        table.sort(got)
        assert.are.same(expected, got)
    end)

    it("says what the resolver says", function()
        assert.are.same({ n = 2, nil, "Name or service not known" },
            results(lsocket.resolve("no\0host")))
        assert_raises("bad argument #1 to 'resolve'", lsocket.resolve)
    end)
end)

describe("lsocket.getinterfaces", function()
    before_each(setup)
    after_each(teardown)

    it("gives a record for each address", function()
        local got = results(lsocket.getinterfaces())
        local loopback
        for _, record in ipairs(got[1]) do
            assert.is_string(record.name)
            assert.is_true(record.family == "inet"
                or record.family == "inet6")
            assert.is_not_nil(ms.inetaddr(record.addr, 0)
                or ms.inet6addr(record.addr, 0))
            if record.addr == "127.0.0.1" then loopback = record end
        end
        assert.are.equal(1, got.n)
        assert.are.same({ name = "lo", family = "inet", addr = "127.0.0.1",
            mask = "255.0.0.0" }, loopback)
    end)

    it("gives the IPv6 addresses that the kernel lists", function()
        local expected, got = {}, {}
        for line in io.lines("/proc/net/if_inet6") do
            local name = line:match("(%S+)%s*$")
            expected[#expected + 1] = name .. " " .. line:match("^%x+")
        end
        for _, record in ipairs(lsocket.getinterfaces()) do
            if record.family == "inet6" then
                local raw = ms.inet6addr(record.addr, 0):sub(9, 24)
                got[#got + 1] = record.name .. " " .. raw:gsub(".",
                    function(c) return ("%02x"):format(c:byte()) end)
            end
        end
        table.sort(expected)
        table.sort(got)
        assert.are.same(expected, got)
    end)

    it("lets go of all it took", function()
        -- What looks at memory keeps some of what is given back.
        if support.valgrind or support.asan then
            return pending("memory is looked at")
        end
        assert_prints("true", [[
            local lsocket = require "minisock.lsocket"
            local function pages()
                local file = io.open("/proc/self/statm")
                local data = file:read("*a"):match("^%d+ (%d+)")
                file:close()
                return tonumber(data)
            end
            local function work()
                for _ = 1, 3000 do
                    lsocket.getinterfaces()
                    lsocket.resolve("127.0.0.1")
                end
                collectgarbage()
                collectgarbage()
                return pages()
            end
            work()
            local before = work()
            io.write(tostring(work() - before < 500))
        ]])
    end)
end)

describe("the module", function()
    before_each(setup)
    after_each(teardown)

    it("has the constants of lsocket", function()
        assert.are.equal("0.0.0.0", lsocket.INADDR_ANY)
        assert.are.equal("::0", lsocket.IN6ADDR_ANY)
        assert.are.equal("1.4.1", lsocket._VERSION)
    end)

    it("has sockets that print, and that are keys", function()
        local sock = udp()
        local name = tostring(sock)
        assert.matches("^socket: 0x%x+$", name)
        assert.are.equal("socket", getmetatable(sock).__type)
        assert.are.equal(1, ({ [sock] = 1 })[sock])
        sock:close()
        assert.are.equal(name, tostring(sock))
        assert.are_not.equal(name, tostring(udp()))
    end)

    it("touches no global", function()
        assert_prints("", [[
            local before = {}
            for name, value in pairs(_G) do before[name] = value end
            require "minisock.lsocket"
            for name, value in pairs(_G) do
                if before[name] ~= value then io.write(name) end
            end
        ]])
    end)

    it("can be loaded anew, and old sockets go on working", function()
        assert_prints("new true 1 hello", [[
            local old = require "minisock.lsocket"
            local server = old.bind("127.0.0.1", 0)
            for name in pairs(package.loaded) do
                if name:find("^minisock") then package.loaded[name] = nil end
            end
            local path = package.searchpath("minisock.lsocket", package.path)
            local text = io.open(path):read("*a")
            package.preload["minisock.lsocket"] = assert(loadstring(
                text:gsub("\nreturn lsocket%s*$",
                    "\nfunction Methods:what() return 'new' end\n%0")))
            local new = require "minisock.lsocket"
            local client = new.connect("127.0.0.1",
                server:info("socket").port)
            io.write(client:what(), " ", tostring(server.what == nil), " ")
            io.write(#new.select({ server }, 10), " ")
            local served = server:accept()
            served:send("hello")
            old.select({ client }, 10)
            io.write(client:recv())
            collectgarbage()
        ]])
    end)
end)

describe("a program for lsocket", function()
    before_each(setup)
    after_each(teardown)

    local DROPIN = ("LUA_PATH='%s/minisock/dropin/?.lua;%s/?.lua;;'")
        :format(lfs.currentdir(), lfs.currentdir())

    it("gets minisock.lsocket by the original's name", function()
        assert_prints("true", [[
            local lsocket = require "lsocket"
            io.write(tostring(lsocket == require "minisock.lsocket"))
        ]], DROPIN)
    end)

    it("serves socat", function()
        local name = support.spit(support.tmpname(), [[
            local lsocket = require "lsocket"
            local server = assert(lsocket.bind("127.0.0.1", 0))
            print("port " .. server:info("socket").port)
            io.stdout:flush()
            local sockets = { server }
            while true do
                for _, sock in ipairs(lsocket.select(sockets)) do
                    if sock == server then
                        sockets[#sockets + 1] = sock:accept()
                    else
                        local data = sock:recv()
                        if not data then os.exit(0) end
                        sock:send(data:upper())
                    end
                end
            end
        ]])
        local server = support.spawn(("env %s %s %s"):format(DROPIN,
            support.luajit, name))
        local port = server:expect("^port (%d+)")
        local output = support.shell(
            "echo hello | socat -t 10 - TCP:127.0.0.1:" .. port)
        assert.are.equal("HELLO\n", output)
    end)
end)
