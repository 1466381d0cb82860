local ffi = require "ffi"
local ms = require "minisock"
local support = require "spec.support"

-- A C uint16_t and uint32_t in the machine's byte order.
local function native16(n)
    return ffi.string(ffi.new("uint16_t[1]", n), 2)
end

local function native32(n)
    return ffi.string(ffi.new("uint32_t[1]", n), 4)
end

local UNIX = native16(ms.AF_UNIX)
local LOOPBACK6 = ("\0"):rep(15) .. "\1"

local function loopback_index()
    local file = assert(io.open("/sys/class/net/lo/ifindex"))
    local index = file:read("*n")
    file:close()
    return index
end

describe("inetaddr", function()
    it("makes a struct sockaddr_in", function()
        assert.are.equal(
            native16(ms.AF_INET) .. "\31\144\127\0\0\1" .. ("\0"):rep(8),
            ms.inetaddr("127.0.0.1", 8080))
    end)

    it("takes the lowest and the highest port", function()
        assert.are.equal("\0\0", ms.inetaddr("0.0.0.0", 0):sub(3, 4))
        assert.are.equal("\255\255", ms.inetaddr("0.0.0.0", 65535):sub(3, 4))
    end)

    it("takes a port in digits", function()
        assert.are.equal(ms.inetaddr("10.1.2.3", 80),
            ms.inetaddr("10.1.2.3", "80"))
    end)

    it("raises for a port out of range", function()
        for _, port in ipairs({ -1, 65536, 0.5, 0 / 0, 2^32 + 80 }) do
            assert.has_error(function() ms.inetaddr("1.2.3.4", port) end)
        end
    end)

    for _, ip in ipairs({
        "", "127.1", "127.0.0.1.", "1.2.3", "1.2.3.4.5", "01.2.3.4",
        "1.2.3.04", " 1.2.3.4", "1.2.3.4 ", "1.2.3.4\n", "1.2.3.4\0",
        "1.2.3.4\0x", "1.2.3.256", "1.2.3.-4", "0x7f.0.0.1", "2130706433",
        "localhost", "::1", "1.2.3.4:80", ("1"):rep(10000),
    }) do
        it(("refuses %q"):format(ip:sub(1, 20)), function()
            local addr, message, code = ms.inetaddr(ip, 80)
            assert.is_nil(addr)
            assert.are.equal("inetaddr error: 22 Invalid argument", message)
            assert.are.equal(ms.EINVAL, code)
        end)
    end
end)

describe("inet6addr", function()
    it("makes a struct sockaddr_in6", function()
        assert.are.equal(
            native16(ms.AF_INET6) .. "\31\144" .. native32(0) .. LOOPBACK6
                .. native32(0),
            ms.inet6addr("::1", 8080))
    end)

    it("keeps nothing of the call before", function()
        ms.inet6addr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, 7)
        assert.are.equal(native16(ms.AF_INET6) .. ("\0"):rep(26),
            ms.inet6addr("::", 0))
    end)

    it("takes an IPv4 address in an IPv6 one", function()
        assert.are.equal(("\0"):rep(10) .. "\255\255\1\2\3\4",
            ms.inet6addr("::ffff:1.2.3.4", 0):sub(9, 24))
    end)

    it("takes a scope by its number", function()
        assert.are.equal(native32(7),
            ms.inet6addr("fe80::1", 0, 7):sub(25, 28))
        assert.are.equal(native32(7),
            ms.inet6addr("fe80::1", 0, "7"):sub(25, 28))
        assert.are.equal("\255\255\255\255",
            ms.inet6addr("fe80::1", 0, 2^32 - 1):sub(25, 28))
    end)

    it("takes a scope by the interface's name", function()
        assert.are.equal(native32(loopback_index()),
            ms.inet6addr("fe80::1", 0, "lo"):sub(25, 28))
    end)

    for _, scope in ipairs({ "nosuch0", "", "lo\0", ("l"):rep(1000) }) do
        it(("knows no interface %q"):format(scope:sub(1, 10)), function()
            local addr, message, code = ms.inet6addr("fe80::1", 0, scope)
            assert.is_nil(addr)
            assert.are.equal("inet6addr error: 19 No such device", message)
            assert.are.equal(ms.ENODEV, code)
        end)
    end

    it("raises for a scope that can't be one", function()
        for _, scope in ipairs({ -1, 2^32, 1.5, 0 / 0, true, {} }) do
            assert.has_error(function() ms.inet6addr("::1", 0, scope) end)
        end
    end)

    for _, ip in ipairs({
        "", ":", ":::", "1::2::3", "::1%lo", "fe80::1%1", "[::1]", " ::1",
        "::1 ", "::1\0", "::1\0x", "::12345", "::g", "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9", "::1.2.3", "127.0.0.1", "::1/64", "localhost",
        (":1"):rep(10000),
    }) do
        it(("refuses %q"):format(ip:sub(1, 20)), function()
            local addr, message, code = ms.inet6addr(ip, 80)
            assert.is_nil(addr)
            assert.are.equal("inet6addr error: 22 Invalid argument", message)
            assert.are.equal(ms.EINVAL, code)
        end)
    end
end)

describe("unixaddr", function()
    it("is the family and the path, without a NUL", function()
        assert.are.equal(UNIX .. "/tmp/a", ms.unixaddr("/tmp/a"))
    end)

    it("is the family alone for no name", function()
        assert.are.equal(UNIX, ms.unixaddr(""))
    end)

    it("takes an abstract name byte for byte", function()
        assert.are.equal(UNIX .. "\0a\0b\0", ms.unixaddr("\0a\0b\0"))
    end)

    it("takes an @ for the NUL of an abstract name", function()
        assert.are.equal(UNIX .. "\0a@b", ms.unixaddr("@a@b"))
        assert.are.equal(UNIX .. "\0", ms.unixaddr("@"))
        assert.are.equal(UNIX .. "\0a\0b", ms.unixaddr("@a\0b"))
    end)

    it("takes an @ elsewhere as it is", function()
        assert.are.equal(UNIX .. "./@a", ms.unixaddr("./@a"))
    end)

    it("takes 108 bytes of path", function()
        local path = "/" .. ("p"):rep(107)
        assert.are.equal(UNIX .. path, ms.unixaddr(path))
    end)

    it("takes 108 bytes of abstract name, the NUL included", function()
        local name = ("n"):rep(107)
        assert.are.equal(UNIX .. "\0" .. name, ms.unixaddr("@" .. name))
    end)

    for _, path in ipairs({ "/" .. ("p"):rep(108), "@" .. ("n"):rep(108),
            "\0" .. ("\0"):rep(108), ("p"):rep(100000) }) do
        it(("refuses %d bytes"):format(#path), function()
            local addr, message, code = ms.unixaddr(path)
            assert.is_nil(addr)
            assert.are.equal("unixaddr error: 36 File name too long", message)
            assert.are.equal(ms.ENAMETOOLONG, code)
        end)
    end

    it("refuses a NUL inside a pathname, or at its end", function()
        for _, path in ipairs({ "/tmp\0/a", "/tmp/a\0" }) do
            local addr, message, code = ms.unixaddr(path)
            assert.is_nil(addr)
            assert.are.equal("unixaddr error: 22 Invalid argument", message)
            assert.are.equal(ms.EINVAL, code)
        end
    end)
end)

describe("parseaddr", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("tells of an IPv4 address", function()
        assert.are.same(
            { family = "inet", addr = "192.0.2.255", port = 443, scope = 0 },
            ms.parseaddr(ms.inetaddr("192.0.2.255", 443)))
    end)

    it("tells of an IPv6 address, without its scope in the text", function()
        assert.are.same(
            { family = "inet6", addr = "fe80::1", port = 65535, scope = 1 },
            ms.parseaddr(ms.inet6addr("fe80::1", 65535, 1)))
    end)

    it("gives a scope as a number, and 0 for none", function()
        assert.are.equal(loopback_index(),
            ms.parseaddr(ms.inet6addr("fe80::1", 1, "lo")).scope)
        assert.are.equal(2^32 - 1,
            ms.parseaddr(ms.inet6addr("fe80::1", 1, 2^32 - 1)).scope)
        assert.are.equal(0, ms.parseaddr(ms.inet6addr("2001:db8::1", 1)).scope)
    end)

    for _, path in ipairs({ "/tmp/a", "a", "", "\0abstract", "\0a\0b\0", "\0",
            "/" .. ("p"):rep(107), "\0" .. ("n"):rep(107) }) do
        it(("gives back %q"):format(path:sub(1, 12)), function()
            assert.are.same({ family = "unix", path = path },
                ms.parseaddr(ms.unixaddr(path)))
        end)
    end

    it("leaves out the kernel's NUL after a path", function()
        local name = support.tmpname()
        local server = support.keep(ms.bind(ms.unixaddr(name)))
        local addr = ms.getsockname(server)
        assert.are.equal(UNIX .. name .. "\0", addr)
        assert.are.same({ family = "unix", path = name }, ms.parseaddr(addr))
    end)

    for _, ip in ipairs({ "0.0.0.0", "10.0.0.1", "255.255.255.255" }) do
        it("gives back " .. ip, function()
            local addr = ms.inetaddr(ip, 1234)
            local parts = ms.parseaddr(addr)
            assert.are.equal(ip, parts.addr)
            assert.are.equal(addr, ms.inetaddr(parts.addr, parts.port))
        end)
    end

    for _, ip in ipairs({ "::", "::1", "2001:db8::ff00:42:8329",
            "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8" }) do
        it("gives back " .. ip, function()
            local addr = ms.inet6addr(ip, 1234, 9)
            local parts = ms.parseaddr(addr)
            assert.are.equal(ip, parts.addr)
            assert.are.equal(addr,
                ms.inet6addr(parts.addr, parts.port, parts.scope))
        end)
    end

    it("takes an IPv4 address with more bytes than it needs", function()
        for _, more in ipairs({ 10, 2^20 }) do
            local addr = ms.inetaddr("192.0.2.1", 80) .. ("x"):rep(more)
            assert.are.equal("192.0.2.1", ms.parseaddr(addr).addr)
        end
    end)
end)

-- Strings that are no address: empty, without a whole family, of a family
-- that isn't known, or shorter than their family's addresses.
local NO_ADDRESSES = {
    ["nothing"] = "",
    ["one byte"] = "\2",
    ["a host name"] = "localhost",
    ["AF_UNSPEC"] = native16(0) .. ("\0"):rep(26),
    ["another family"] = native16(ms.AF_NETLINK) .. ("\0"):rep(26),
    ["a family with a wrong second byte"] =
        native16(ms.AF_INET + 256) .. ("\0"):rep(26),
    ["an IPv4 family alone"] = native16(ms.AF_INET),
    ["a short IPv4 address"] = ms.inetaddr("127.0.0.1", 80):sub(1, 15),
    ["an IPv6 family alone"] = native16(ms.AF_INET6),
    ["a short IPv6 address"] = ms.inet6addr("::1", 80):sub(1, 27),
}

for _, call in ipairs({ "parseaddr", "getnameinfo", "bind", "connect",
        "udpsocket" }) do
    describe(call, function()
        before_each(support.setup)
        after_each(support.teardown)

        for name, addr in pairs(NO_ADDRESSES) do
            -- udpsocket takes these two: no address, and a family's byte.
            if not (call == "udpsocket" and #addr < 2) then
                it("refuses " .. name, function()
                    local result, message, code = ms[call](addr)
                    assert.is_nil(result)
                    assert.are.equal(call .. " error: 22 Invalid argument",
                        message)
                    assert.are.equal(ms.EINVAL, code)
                end)
            end
        end
    end)
end

for _, call in ipairs({ "bindfd", "connectfd", "sendto" }) do
    describe(call, function()
        before_each(support.setup)
        after_each(support.teardown)

        for name, addr in pairs(NO_ADDRESSES) do
            it("refuses " .. name, function()
                local fd = support.keep(ms.udpsocket())
                local result, message, code
                if call == "sendto" then
                    result, message, code = ms.sendto(fd, addr, "x")
                else
                    result, message, code = ms[call](fd, addr)
                end
                assert.is_nil(result)
                assert.are.equal(call .. " error: 22 Invalid argument",
                    message)
                assert.are.equal(ms.EINVAL, code)
            end)
        end
    end)
end

describe("getnameinfo", function()
    it("gives an IPv4 address in digits, and the port", function()
        local host, port = ms.getnameinfo(ms.inetaddr("192.0.2.1", 80), true)
        assert.are.equal("192.0.2.1", host)
        assert.are.equal(80, port)
    end)

    it("gives an IPv6 address in digits, and the port", function()
        local host, port =
            ms.getnameinfo(ms.inet6addr("2001:db8::1", 65535), true)
        assert.are.equal("2001:db8::1", host)
        assert.are.equal(65535, port)
    end)

    it("gives the scope of a link-local address", function()
        assert.are.equal("fe80::1%lo",
            (ms.getnameinfo(ms.inet6addr("fe80::1", 1, "lo"), true)))
    end)

    it("gives the name that this machine's address has", function()
        local host, port = ms.getnameinfo(ms.inetaddr("127.0.0.1", 22))
        assert.are.equal("localhost", host)
        assert.are.equal(22, port)
    end)

    it("gives this machine and no port for a Unix address", function()
        local host, port = ms.getnameinfo(ms.unixaddr("/tmp/a"))
        assert.is_string(host)
        assert.are.equal(0, port)
    end)

    it("goes back to the address by getaddrinfo", function()
        for _, addr in ipairs({ ms.inetaddr("192.0.2.1", 80),
                ms.inet6addr("2001:db8::1", 81),
                ms.inet6addr("fe80::1", 82, "lo") }) do
            assert.are.same({ addr },
                ms.getaddrinfo(ms.getnameinfo(addr, true)))
        end
    end)
end)

describe("addresses", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("are what the kernel says of a socket bound to them", function()
        for _, any in ipairs({ ms.inetaddr("127.0.0.1", 0),
                ms.inet6addr("::1", 0) }) do
            local fd = support.keep(ms.udpsocket(any))
            local addr = ms.getsockname(fd)
            local parts = ms.parseaddr(addr)
            local make = parts.family == "inet" and ms.inetaddr
                or ms.inet6addr
            assert.are.equal(addr, make(parts.addr, parts.port))
        end
    end)
end)

-- LuaJIT takes no snapshot for ffi.fill: a trace that was left after it went
-- back to before the string of the address before, and made it of zeros.
describe("an address made just before one that is refused", function()
    it("is right in compiled code too", function()
        local firsts, seconds, wrong = {}, {}, 0
        for i = 1, 300 do
            firsts[i] = "1.2.3." .. (i % 200)
            seconds[i] = i < 250 and "5.6.7." .. (i % 200) or "5.6.7.8\0"
        end
        for i = 1, 300 do
            local addr = ms.inetaddr(firsts[i], 80)
            ms.inetaddr(seconds[i], 80)
            local parts = ms.parseaddr(addr)
            if not parts or parts.addr ~= firsts[i] then wrong = wrong + 1 end
        end
        assert.are.equal(0, wrong)
    end)
end)
