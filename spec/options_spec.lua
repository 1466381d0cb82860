local ffi = require "ffi"
local ms = require "minisock"
local support = require "spec.support"

local keep = support.keep

-- A C int's bytes, in the machine's order.
local function int(n)
    return ffi.string(ffi.new("int[1]", n), 4)
end

local MAKE = {
    tcp = function() return ms.socket(ms.AF_INET, ms.SOCK_STREAM) end,
    tcp6 = function() return ms.socket(ms.AF_INET6, ms.SOCK_STREAM) end,
    udp = function() return ms.socket(ms.AF_INET, ms.SOCK_DGRAM) end,
    udp6 = function() return ms.socket(ms.AF_INET6, ms.SOCK_DGRAM) end,
    unix = function() return ms.socket(ms.AF_UNIX, ms.SOCK_STREAM) end,
    listener = function() return ms.bind("127.0.0.1", 0) end,
    connected = function()
        local fd = ms.udpsocket()
        ms.connectfd(fd, ms.inetaddr("127.0.0.1", 9))
        return fd
    end,
    connected6 = function()
        local fd = ms.udpsocket("\10")
        ms.connectfd(fd, ms.inet6addr("::1", 9))
        return fd
    end,
}

describe("an option", function()
    before_each(support.setup)
    after_each(support.teardown)

    -- Of a socket, what an option reads.
    for _, case in ipairs({
        { "tcp", "SO_ACCEPTCONN", false },
        { "listener", "SO_ACCEPTCONN", true },
        { "tcp", "SO_DOMAIN", ms.AF_INET },
        { "tcp6", "SO_DOMAIN", ms.AF_INET6 },
        { "unix", "SO_DOMAIN", ms.AF_UNIX },
        { "tcp", "SO_TYPE", ms.SOCK_STREAM },
        { "udp", "SO_TYPE", ms.SOCK_DGRAM },
        { "tcp", "SO_PROTOCOL", ms.IPPROTO_TCP },
        { "udp", "SO_PROTOCOL", ms.IPPROTO_UDP },
        { "tcp", "SO_ERROR", 0 },
        { "tcp", "SO_DEBUG", false },
        { "tcp", "SO_BINDTODEVICE", "" },
        { "tcp", "SO_LINGER", false },
        { "tcp", "SO_RCVTIMEO", 0 },
        { "tcp", "SO_SNDTIMEO", 0 },
        { "tcp", "SO_MARK", 0 },
        { "tcp", "SO_SNDLOWAT", 1 },
        { "tcp", "TCP_FASTOPEN_CONNECT", false },
        { "udp", "IP_HDRINCL", false },
        { "udp", "IP_TRANSPARENT", false },
        { "udp6", "IPV6_TRANSPARENT", false },
    }) do
        local kind, name, expected = unpack(case, 1, 3)
        it(("%s of a %s socket is %s"):format(name, kind, tostring(expected)),
            function()
                local fd = keep(MAKE[kind]())
                assert.are.equal(expected, (ms.getsockopt(fd, name)))
            end)
    end

    -- Read only, with a value that the system has chosen.
    for _, case in ipairs({
        { "tcp", "SO_INCOMING_CPU" }, { "tcp", "SO_BUSY_POLL" },
        { "connected", "IP_MTU" }, { "connected6", "IPV6_MTU" },
    }) do
        local kind, name = unpack(case)
        it(("%s of a %s socket is a number"):format(name, kind), function()
            assert.is_number((ms.getsockopt(keep(MAKE[kind]()), name)))
        end)
    end

    -- Booleans that are set and cleared.
    for kind, names in pairs({
        tcp = "SO_BROADCAST SO_DONTROUTE SO_KEEPALIVE SO_OOBINLINE "
            .. "SO_REUSEADDR SO_REUSEPORT SO_TIMESTAMP SO_ZEROCOPY TCP_CORK "
            .. "TCP_NODELAY TCP_QUICKACK IP_FREEBIND "
            .. "IP_BIND_ADDRESS_NO_PORT",
        udp = "SO_BROADCAST SO_REUSEADDR SO_RXQ_OVFL IP_PKTINFO IP_RECVERR "
            .. "IP_RECVTOS IP_RECVTTL IP_MULTICAST_ALL IP_MULTICAST_LOOP",
        tcp6 = "IPV6_V6ONLY TCP_NODELAY SO_REUSEADDR",
        udp6 = "IPV6_V6ONLY IPV6_RECVERR IPV6_RECVHOPLIMIT "
            .. "IPV6_RECVPKTINFO IPV6_RECVTCLASS IPV6_MULTICAST_LOOP",
        unix = "SO_PASSCRED",
    }) do
        for name in names:gmatch("%S+") do
            it(("%s of a %s socket is a boolean"):format(name, kind),
                function()
                    local fd = keep(MAKE[kind]())
                    for _, value in ipairs({ true, false, true }) do
                        assert.is_true(ms.setsockopt(fd, name, value))
                        assert.are.equal(value, (ms.getsockopt(fd, name)))
                    end
                end)
        end
    end

    -- What is written is what is read.
    for _, case in ipairs({
        { "tcp", "SO_PRIORITY", 3 },
        { "tcp", "SO_RCVLOWAT", 100 },
        { "udp", "SO_PEEK_OFF", 7 },
        { "tcp", "SO_BINDTODEVICE", "lo" },
        { "tcp", "SO_LINGER", 0 },
        { "tcp", "SO_LINGER", 30 },
        { "tcp", "SO_LINGER", false },
        { "tcp", "TCP_CONGESTION", "reno" },
        { "tcp", "TCP_DEFER_ACCEPT", 1 },
        { "tcp", "TCP_FASTOPEN", 5 },
        { "tcp", "TCP_KEEPCNT", 5 },
        { "tcp", "TCP_KEEPIDLE", 60 },
        { "tcp", "TCP_KEEPINTVL", 10 },
        { "tcp", "TCP_LINGER2", 30 },
        { "tcp", "TCP_MAXSEG", 1000 },
        { "tcp", "TCP_NOTSENT_LOWAT", 16384 },
        { "tcp", "TCP_SYNCNT", 3 },
        { "tcp", "TCP_USER_TIMEOUT", 5000 },
        { "tcp", "TCP_WINDOW_CLAMP", 65536 },
        { "tcp", "IP_TOS", 16 },
        { "tcp", "IP_TTL", 33 },
        { "udp", "IP_MTU_DISCOVER", 2 },
        { "udp", "IP_MULTICAST_TTL", 9 },
        { "udp6", "IPV6_MTU_DISCOVER", 2 },
        { "udp6", "IPV6_MULTICAST_HOPS", 9 },
        { "udp6", "IPV6_MULTICAST_IF", 1 },
        { "udp6", "IPV6_TCLASS", 32 },
        { "tcp6", "IPV6_UNICAST_HOPS", 33 },
    }) do
        local kind, name, value = unpack(case, 1, 3)
        it(("%s of a %s socket can be %s"):format(name, kind,
            tostring(value)), function()
                local fd = keep(MAKE[kind]())
                assert.is_true(ms.setsockopt(fd, name, value))
                assert.are.equal(value, (ms.getsockopt(fd, name)))
            end)
    end

    for _, name in ipairs({ "SO_RCVBUF", "SO_SNDBUF" }) do
        it(name .. " is doubled by the system", function()
            local fd = keep(MAKE.udp())
            assert.is_true(ms.setsockopt(fd, name, 20000))
            assert.are.equal(40000, (ms.getsockopt(fd, name)))
        end)
    end

    it("takes an integer in digits", function()
        local fd = keep(MAKE.tcp())
        assert.is_true(ms.setsockopt(fd, "IP_TTL", "44"))
        assert.are.equal(44, (ms.getsockopt(fd, "IP_TTL")))
    end)

    it("can be negative", function()
        local fd = keep(MAKE.udp())
        ms.setsockopt(fd, "SO_PEEK_OFF", 5)
        assert.is_true(ms.setsockopt(fd, "SO_PEEK_OFF", -1))
        assert.are.equal(-1, (ms.getsockopt(fd, "SO_PEEK_OFF")))
    end)

    -- The kernel counts in ticks, of at most 10 ms.
    for _, name in ipairs({ "SO_RCVTIMEO", "SO_SNDTIMEO" }) do
        for _, timeout in ipairs({ 0.001, 1, 1.5, 250, 999, 1000, 61001.25,
                1e9, "100" }) do
            it(("%s of %s ms is never shorter"):format(name, timeout),
                function()
                    local fd = keep(MAKE.tcp())
                    assert.is_true(ms.setsockopt(fd, name, timeout))
                    local got = ms.getsockopt(fd, name)
                    assert.is_true(got >= tonumber(timeout))
                    assert.is_true(got <= timeout + 10)
                end)
        end

        it(name .. " of 0 is none", function()
            local fd = keep(MAKE.tcp())
            ms.setsockopt(fd, name, 5000)
            assert.is_true(ms.setsockopt(fd, name, 0))
            assert.are.equal(0, (ms.getsockopt(fd, name)))
        end)
    end

    it("SO_SNDTIMEO ends a write", function()
        local a = support.pair()
        support.fill(a)
        ms.setsockopt(a, "SO_SNDTIMEO", 60)
        local took, n, _, code = support.timed(ms.write, a, "x")
        assert.is_nil(n)
        assert.are.equal(ms.EAGAIN, code)
        assert.is_true(took >= 60)
    end)

    it("SO_ERROR is what became of a connection, once", function()
        local client, served = support.connection()
        ms.setsockopt(client, "SO_LINGER", 0)
        ms.close(client)
        ms.poll(ms.pollfd(served, ms.POLLIN), 2000)
        assert.are.equal(ms.ECONNRESET, (ms.getsockopt(served, "SO_ERROR")))
        assert.are.equal(0, (ms.getsockopt(served, "SO_ERROR")))
    end)
end)

describe("setsockopt", function()
    before_each(support.setup)
    after_each(support.teardown)

    for _, case in ipairs({
        { "TCP_NODELAY", "yes" }, { "TCP_NODELAY", 2 }, { "TCP_NODELAY", {} },
        { "TCP_NODELAY" }, { "SO_RCVBUF", true }, { "SO_RCVBUF", 1.5 },
        { "SO_RCVBUF", 0 / 0 }, { "SO_RCVBUF", 2^31 }, { "SO_RCVBUF" },
        { "SO_RCVBUF", "many" }, { "SO_LINGER", true }, { "SO_LINGER", -1 },
        { "SO_LINGER", 0.5 }, { "SO_LINGER", "long" }, { "SO_LINGER" },
        { "SO_RCVTIMEO", -1 }, { "SO_RCVTIMEO", math.huge },
        { "SO_RCVTIMEO", 0 / 0 }, { "SO_RCVTIMEO", true }, { "SO_RCVTIMEO" },
        { "TCP_CONGESTION", true }, { "TCP_CONGESTION", {} },
        { "TCP_CONGESTION" },
    }) do
        local name, value = unpack(case, 1, 2)
        it(("raises when %s is %s"):format(name, tostring(value)), function()
            local fd = keep(MAKE.tcp())
            local done, message = pcall(ms.setsockopt, fd, name, value)
            assert.is_false(done)
            assert.matches("^bad argument #3 to 'setsockopt' %(", message)
        end)
    end

    it("sets bytes by level and number", function()
        local fd = keep(MAKE.tcp())
        assert.is_true(ms.setsockopt(fd, ms.SOL_SOCKET, ms.SO_KEEPALIVE,
            int(1)))
        assert.is_true(ms.getsockopt(fd, "SO_KEEPALIVE"))
        assert.is_true(ms.setsockopt(fd, tostring(ms.IPPROTO_TCP),
            tostring(ms.TCP_KEEPIDLE), int(77)))
        assert.are.equal(77, (ms.getsockopt(fd, "TCP_KEEPIDLE")))
    end)

    it("joins a multicast group, by its structure", function()
        local fd = keep(MAKE.udp())
        local membership = "\239\255\0\1\127\0\0\1"
        assert.is_true(ms.setsockopt(fd, ms.IPPROTO_IP, ms.IP_ADD_MEMBERSHIP,
            membership))
        assert.are.equal(ms.EADDRINUSE, select(3, ms.setsockopt(fd,
            ms.IPPROTO_IP, ms.IP_ADD_MEMBERSHIP, membership)))
    end)

    it("needs bytes for a raw option", function()
        local fd = keep(MAKE.tcp())
        for _, bytes in ipairs({ true, {}, print }) do
            assert.has_error(function()
                ms.setsockopt(fd, ms.SOL_SOCKET, ms.SO_KEEPALIVE, bytes)
            end)
        end
        assert.has_error(function()
            ms.setsockopt(fd, ms.SOL_SOCKET, ms.SO_KEEPALIVE)
        end)
    end)

    for name, case in pairs({
        ["an option that is only read"] =
            { "ENOPROTOOPT", "tcp", "SO_TYPE", 1 },
        ["a value out of the option's range"] =
            { "EINVAL", "tcp", "IP_TTL", 300 },
        ["an option of another protocol"] =
            { "ENOPROTOOPT", "udp", "TCP_NODELAY", true },
        ["a device there isn't"] =
            { "ENODEV", "tcp", "SO_BINDTODEVICE", "nosuch0" },
        ["an algorithm there isn't"] =
            { "ENOENT", "tcp", "TCP_CONGESTION", "no-such" },
        ["bytes that are too short"] =
            { "EINVAL", "tcp", "1", "9", "\1" },
    }) do
        it("fails for " .. name, function()
            local fd = keep(MAKE[case[2]]())
            local first, second = case[3], case[4]
            if case[5] then first, second = ms.SOL_SOCKET, ms.SO_KEEPALIVE end
            local done, message, code =
                ms.setsockopt(fd, first, second, case[5])
            assert.is_nil(done)
            assert.are.equal(ms[case[1]], code)
            assert.matches(("^setsockopt error: %d %%u"):format(code),
                message)
        end)
    end
end)

describe("getsockopt", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("reads bytes by level and number", function()
        local fd = keep(MAKE.udp())
        assert.are.equal(int(ms.SOCK_DGRAM),
            ms.getsockopt(fd, ms.SOL_SOCKET, ms.SO_TYPE, 4))
    end)

    it("gives as many bytes as there are, or as it may", function()
        local fd = keep(MAKE.tcp())
        assert.are.equal(4,
            #ms.getsockopt(fd, ms.SOL_SOCKET, ms.SO_TYPE, 65536))
        assert.are.equal(20,
            #ms.getsockopt(fd, ms.IPPROTO_TCP, ms.TCP_INFO, "20"))
        local info = ms.getsockopt(fd, ms.IPPROTO_TCP, ms.TCP_INFO, 4096)
        assert.is_true(#info > 100 and #info < 4096)
    end)

    it("tells by a structure who the peer is", function()
        local a = support.pair()
        local file = assert(io.open("/proc/self/stat"))
        local pid = file:read("*n")
        file:close()
        local credentials =
            ms.getsockopt(a, ms.SOL_SOCKET, ms.SO_PEERCRED, 12)
        assert.are.equal(int(pid), credentials:sub(1, 4))
        assert.are.equal(12, #credentials)
    end)

    it("needs a size for a raw option", function()
        local fd = keep(MAKE.tcp())
        for _, size in ipairs({ 0, -1, 65537, 1.5, 0 / 0, true, {} }) do
            assert.has_error(function()
                ms.getsockopt(fd, ms.SOL_SOCKET, ms.SO_TYPE, size)
            end)
        end
        assert.has_error(function()
            ms.getsockopt(fd, ms.SOL_SOCKET, ms.SO_TYPE)
        end)
    end)

    for name, case in pairs({
        ["an option that is only set"] =
            { "ENOPROTOOPT", "tcp", "SO_RCVBUFFORCE" },
        ["an option of another protocol"] =
            { "EOPNOTSUPP", "udp", "TCP_NODELAY" },
        ["an option of a connection, where there is none"] =
            { "ENOTCONN", "udp", "IP_MTU" },
        ["an option of another family"] = { "EOPNOTSUPP", "unix", "IP_TTL" },
        ["a raw option there isn't"] =
            { "ENOPROTOOPT", "tcp", ms.SOL_SOCKET, 12345, 4 },
    }) do
        it("fails for " .. name, function()
            local fd = keep(MAKE[case[2]]())
            local value, message, code =
                ms.getsockopt(fd, case[3], case[4], case[5])
            assert.is_nil(value)
            assert.are.equal(ms[case[1]], code)
            assert.matches(("^getsockopt error: %d %%u"):format(code),
                message)
        end)
    end

    it("fails on what isn't a socket", function()
        local reader = support.pipe()
        assert.are.equal(ms.ENOTSOCK,
            select(3, ms.getsockopt(reader, "SO_TYPE")))
    end)
end)

for _, call in ipairs({ "setsockopt", "getsockopt" }) do
    describe(call, function()
        before_each(support.setup)
        after_each(support.teardown)

        for _, name in ipairs({ "SO_NOSUCH", "so_keepalive", "", "AF_INET",
                "SO_KEEPALIVE\0", "__index", "TCP_INFO" }) do
            it(("raises for the name %q"):format(name), function()
                local fd = keep(MAKE.tcp())
                local done, message = pcall(ms[call], fd, name, true)
                assert.is_false(done)
                assert.matches(("^bad argument #2 to '%s' %%("):format(call),
                    message)
                assert.is_not_nil(message:find(
                    ("unknown option '%s'"):format(name), 1, true))
            end)
        end
    end)
end

describe("constants", function()
    it("are numbers by their C names", function()
        assert.are.equal(2, ms.AF_INET)
        assert.are.equal(10, ms.AF_INET6)
        assert.are.equal(1, ms.AF_UNIX)
        assert.are.equal(1, ms.SOCK_STREAM)
        assert.are.equal(6, ms.IPPROTO_TCP)
        assert.are.equal(-2, ms.EAI_NONAME)
        assert.are.equal(4294967295, ms.INADDR_BROADCAST)
        assert.are.equal(2130706433, ms.INADDR_LOOPBACK)
    end)

    it("are nil where the system doesn't have them", function()
        for _, name in ipairs({ "TCP_KEEPALIVE", "AI_DEFAULT", "NO_SUCH",
                "", "AF_INET\0", "af_inet", "socket_", 1, 0.5, true }) do
            assert.is_nil(ms[name])
        end
    end)

    it("are what another's library says they are", function()
        local pipe = io.popen([[python3 -c '
import errno, select, socket
for module in socket, errno, select:
    for name in dir(module):
        value = getattr(module, name)
        if name.isupper() and isinstance(value, int) and value is not True:
            print(name, int(value))']])
        local compared = 0
        for line in pipe:lines() do
            local name, value = line:match("^(%S+) (%S+)$")
            if ms[name] and name ~= "EAI_MAX" then
                assert.are.equal(name .. " " .. value,
                    ("%s %.0f"):format(name, ms[name]))
                compared = compared + 1
            end
        end
        pipe:close()
        assert.is_true(compared > 150, compared)
    end)

    it("say what read and recvfrom do by default", function()
        assert.are.equal(4096, ms.BUFSIZE)
        assert.are.equal(2048, ms.UDPMAXSIZE)
        assert.are.equal(10000, ms.DEFAULT_TIMEOUT)
        assert.matches("^%d+%.%d+%.%d+$", ms.VERSION)
    end)
end)

describe("require", function()
    it("touches no global, and reads none that isn't Lua's", function()
        local output, status = support.run([[
            local before = {}
            for name, value in pairs(_G) do before[name] = value end
            setmetatable(_G, {
                __index = function(_, name) error("reads " .. name) end,
                __newindex = function(_, name) error("sets " .. name) end,
            })
            local ms = require "minisock"
            local a, b = ms.socketpair()
            ms.write(a, "used")
            assert(ms.read(b) == "used")
            assert(ms.connect("127.0.0.1", "no-such-service") == nil)
            for name, value in pairs(_G) do
                assert(rawequal(before[name], value), name)
            end
            for name in pairs(before) do assert(rawget(_G, name)) end
            io.write("untouched")
        ]])
        assert.are.equal("untouched", output)
        assert.are.equal(0, status)
    end)

    it("changes no disposition of a signal, and opens nothing", function()
        local output = support.run([[
            local function state()
                local lines = {}
                for line in io.lines("/proc/self/status") do
                    if line:find("^Sig%u%l%l:") then
                        lines[#lines + 1] = line
                    end
                end
                for name in require("lfs").dir("/proc/self/fd") do
                    lines[#lines + 1] = name
                end
                return table.concat(lines, "\n")
            end
            local before = state()
            require "minisock"
            io.write(before, "|", state())
        ]])
        local first, second = output:match("^(.*)|(.*)$")
        assert.are.equal(first, second)
    end)
end)
