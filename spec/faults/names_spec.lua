local faults = require "spec.faults.support"
local faces = require "spec.faults.faces"
local llsocket = require "minisock.llsocket"
local lsocket = require "minisock.lsocket"
local luasocket = require "minisock.luasocket"
local ms = require "minisock"
local resty = require "minisock.resty"
local socket = require "minisock.socket"
local support = require "spec.support"

local each, hold = faults.each, faults.hold
local NUMERIC = { flags = ms.AI_NUMERICHOST }

local function kept(fd, why)
    return fd and support.keep(fd), why
end

local function held(sock, why)
    return sock and hold(sock), why
end

-- How each takes a host and a port that may be names.
local CONNECT = {
    core = function(host, port) return kept(ms.connect(host, port, 5000)) end,
    socket = function(host, port)
        return hold(socket.tcp()):connect(host, port)
    end,
    luasocket = function(host, port)
        return hold(luasocket.tcp()):connect(host, port)
    end,
    resty = function(host, port)
        return hold(resty.tcp()):connect(host, port)
    end,
    lsocket = function(host, port)
        return held(lsocket.connect(host, tonumber(port) or port))
    end,
    llsocket = function(host, port)
        return llsocket.inet.getaddrinfo(host, tostring(port),
            ms.SOCK_STREAM)
    end,
}

local LISTEN = {
    core = function(host, port) return kept(ms.bind(host, port)) end,
    socket = function(host, port)
        return hold(socket.tcp()):bind(host, port)
    end,
    luasocket = function(host, port)
        return hold(luasocket.tcp()):bind(host, port)
    end,
    lsocket = function(host, port)
        return held(lsocket.bind(host, tonumber(port) or port))
    end,
}

local function try(call, ...)
    local done, result = pcall(call, ...)
    return done and result
end

-- It may raise or return; but what is right must work.
local function assert_refused(call, right_port, host, port)
    assert.is_truthy(call("127.0.0.1", right_port))
    assert.is_falsy(try(call, host, port))
end

describe("IPv6 and names:", function()
    before_each(faults.setup)
    after_each(faults.teardown)

    it("case 63: a link-local address needs its scope", function()
        local fd = support.keep(ms.socket(ms.AF_INET6, ms.SOCK_STREAM))
        assert.are.equal(ms.EINVAL, select(3,
            ms.connectfd(fd, ms.inet6addr("fe80::1", 9), 1000)))
        assert.are.equal(ms.EINVAL, select(3,
            ms.connect("fe80::1", 9, 1000)))
    end)

    it("case 63: a scope stays with its address", function()
        for _, scope in ipairs({ 1, "lo", 99, 2^32 - 1 }) do
            local addr = ms.inet6addr("fe80::1", 9, scope)
            local parts = ms.parseaddr(addr)
            assert.are.equal(scope == "lo" and 1 or scope, parts.scope)
            assert.are.equal("fe80::1", parts.addr)
            assert.are.equal(addr,
                ms.inet6addr(parts.addr, parts.port, parts.scope))
        end
    end)

    it("case 64: a scope may be a name or a number", function()
        for host, expected in pairs({
            ["fe80::1%lo"] = 1, ["fe80::1%1"] = 1, ["fe80::1%99"] = 99,
            ["fe80::1"] = 0,
        }) do
            local list = assert(ms.getaddrinfo(host, 9, NUMERIC))
            assert.are.equal(1, #list)
            assert.are.equal(expected, ms.parseaddr(list[1]).scope)
            local name = ms.getnameinfo(list[1], true)
            assert.are.equal(list[1], ms.getaddrinfo(name, 9, NUMERIC)[1])
        end
    end)

    it("case 64: one that doesn't exist, or isn't wanted, is refused",
        function()
            for _, host in ipairs({ "fe80::1%bogus", "::1%lo" }) do
                assert.are.equal(ms.EAI_NONAME,
                    select(3, ms.getaddrinfo(host, 9, NUMERIC)))
            end
            assert.are.equal(ms.ENODEV,
                select(3, ms.inet6addr("fe80::1", 9, "bogus")))
            assert.is_nil((ms.inet6addr("fe80::1%lo", 9)))
        end)

    it("case 65: V6ONLY decides whether IPv4 comes in", function()
        for _, only in ipairs({ false, true }) do
            local fd, addr = ms.bind("::", 0, { v6only = only })
            support.keep(fd)
            assert.are.equal(only, ms.getsockopt(fd, "IPV6_V6ONLY"))
            local client, _, code = ms.connect(
                ms.inetaddr("127.0.0.1", support.port_of(addr)), nil, 2000)
            if only then
                assert.are.equal(ms.ECONNREFUSED, code)
            else
                support.keep(client)
                local peer, from = ms.accept(fd, 2000)
                support.keep(peer)
                assert.are.equal("::ffff:127.0.0.1",
                    ms.parseaddr(from).addr)
            end
        end
    end)

    -- LuaSocket's IPv6 sockets are for IPv6 alone, like the original's.
    it("case 65: an address of IPv4 in IPv6 connects", function()
        local _, place = faults.listener()
        place.host = "::ffff:127.0.0.1"
        for _, name in ipairs({ "core", "socket", "resty", "lsocket",
            "llsocket" }) do
            hold(faces[name].connect(place))
        end
    end)

    -- What glibc takes for 0, for 80 or for 65535.
    for _, port in ipairs({ "65536", "65616", "-1", "+-1", "99999999999",
        65536, -1, 0.5, 0 / 0, 2^32 }) do
        -- A cosocket takes 0.5 for 0.
        each(("case 66: %s is no port"):format(port), "connect",
            function(library)
                local _, place = faults.listener()
                assert_refused(CONNECT[library.name], place.port,
                    "127.0.0.1", port)
            end, port == 0.5 and "resty" or nil)

        each(("case 66: %s is no port to listen on"):format(port), "listen",
            function(library)
                assert_refused(LISTEN[library.name], 0, "127.0.0.1", port)
            end, "llsocket")
    end

    -- libc's resolver takes these for addresses; filters of addresses may not.
    it("case 66: inetaddr takes four decimal numbers alone", function()
        for _, host in ipairs({ "127.1", "0x7f.1", "0177.0.0.1", "1.2.3",
            "127.0.0.01", "127.0.0.1 ", " 127.0.0.1", "2130706433",
            "256.0.0.1", "" }) do
            assert.are.equal(ms.EINVAL, select(3, ms.inetaddr(host, 1)))
            assert.are.equal(ms.EINVAL, select(3, ms.inet6addr(host, 1)))
        end
        assert.are.equal("127.0.0.1",
            ms.parseaddr(ms.getaddrinfo("127.1", 1, NUMERIC)[1]).addr)
    end)

    for name, host in pairs({
        ["in an address"] = "127.0.0.1\0evil", ["at its end"] = "127.0.0.1\0",
        ["in a name"] = "localhost\0.example", ["in front"] = "\000127.0.0.1",
    }) do
        each(("case 67: a NUL is no part of a host, %s"):format(name),
            "connect", function(library)
                local _, place = faults.listener()
                assert_refused(CONNECT[library.name], place.port, host,
                    place.port)
            end)
        each(("case 67: nor of one to listen on, %s"):format(name),
            "listen", function(library)
                assert_refused(LISTEN[library.name], 0, host, 0)
            end, "llsocket")
    end

    each("case 67: nor of a port", "connect", function(library)
        local _, place = faults.listener()
        assert_refused(CONNECT[library.name], place.port, "127.0.0.1",
            place.port .. "\0evil")
    end)

    each("case 67: nor of a path", "connect", function(library)
        local _, place = faults.unix_listener()
        hold(library.connect(place))
        place.path = place.path .. "\0evil"
        assert.is_falsy(try(library.connect, place))
    end)

    it("case 67: neither a host nor a service is none, a bad family too",
        function()
            assert.are.equal(ms.EAI_NONAME,
                select(3, ms.getaddrinfo(nil, nil)))
            assert.are.equal(ms.EAI_FAMILY, select(3,
                ms.getaddrinfo("localhost", 1, { family = 99 })))
        end)
end)
