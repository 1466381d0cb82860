local ms = require "minisock"
local support = require "spec.support"

local assert_talks = support.assert_talks
local is_blocking = support.is_blocking
local keep = support.keep
local port_of = support.port_of
local FAMILIES = { inet = "127.0.0.1", inet6 = "::1" }

-- How long a listener's queue may be, from its struct tcp_info.
local function backlog_of(fd)
    local info = ms.getsockopt(fd, ms.IPPROTO_TCP, ms.TCP_INFO, 32)
    local a, b, c, d = info:byte(29, 32)
    if require("ffi").abi("be") then a, b, c, d = d, c, b, a end
    return a + b * 2^8 + c * 2^16 + d * 2^24
end

describe("bind", function()
    before_each(support.setup)
    after_each(support.teardown)

    for family, ip in pairs(FAMILIES) do
        it("listens on a raw address of " .. family, function()
            local make = family == "inet" and ms.inetaddr or ms.inet6addr
            local server = keep(ms.bind(make(ip, 0)))
            assert_talks(keep(ms.connect(ms.getsockname(server))),
                keep(ms.accept(server, 2000)))
        end)

        it("listens on a host of " .. family, function()
            local server, addr = ms.bind(ip, 0)
            keep(server)
            assert.are.equal(family, ms.parseaddr(addr).family)
            assert_talks(keep(ms.connect(addr)),
                keep(ms.accept(server, 2000)))
        end)

        it("lets a server of " .. family .. " start again at once", function()
            local server, addr = ms.bind(ip, 0)
            local client = keep(ms.connect(addr))
            -- The server's end is closed first, so TIME_WAIT is the server's.
            ms.close(ms.accept(server, 2000))
            assert.are.equal("", ms.read(client, 2000))
            ms.close(server)
            keep(ms.bind(addr))
        end)

        it("fails when the port of " .. family .. " is in use", function()
            local _, addr = support.listener(ip)
            local before = support.count_descriptors()
            local fd, message, code = ms.bind(addr)
            assert.is_nil(fd)
            assert.are.equal("bind error: 98 Address already in use", message)
            assert.are.equal(ms.EADDRINUSE, code)
            assert.are.equal(before, support.count_descriptors())
            assert.are.equal(ms.EADDRINUSE,
                select(3, ms.bind(ip, port_of(addr))))
            assert.are.equal(before, support.count_descriptors())
        end)
    end

    it("returns one value for a raw address, two for a host", function()
        local raw = { ms.bind(ms.inetaddr("127.0.0.1", 0)) }
        local host = { ms.bind("127.0.0.1", 0) }
        keep(raw[1])
        keep(host[1])
        assert.are.equal(1, #raw)
        assert.are.equal(2, #host)
    end)

    it("shows the real port of service 0", function()
        for _, service in ipairs({ 0, "0" }) do
            local server, addr = ms.bind("127.0.0.1", service)
            keep(server)
            assert.is_true(port_of(addr) > 0)
            assert.are.equal(addr, ms.getsockname(server))
        end
    end)

    for name, host in pairs({ ["nil"] = false, ['""'] = "", ['"*"'] = "*" }) do
        it("listens for IPv4 and IPv6 when the host is " .. name, function()
            local server, addr = ms.bind(host or nil, 0)
            keep(server)
            for _, ip in pairs(FAMILIES) do
                local client = keep(ms.connect(ip, port_of(addr), 2000))
                assert_talks(client, keep(ms.accept(server, 2000)))
            end
        end)
    end

    it("listens for IPv6 alone with v6only", function()
        local server, addr = ms.bind("*", 0, { v6only = true })
        keep(server)
        assert.is_true(ms.getsockopt(server, "IPV6_V6ONLY"))
        assert.are.equal(ms.ECONNREFUSED,
            select(3, ms.connect("127.0.0.1", port_of(addr), 2000)))
        keep(ms.connect("::1", port_of(addr), 2000))
    end)

    it("takes v6only with a raw address too", function()
        for _, on in ipairs({ true, false }) do
            local server =
                keep(ms.bind(ms.inet6addr("::", 0), { v6only = on }))
            assert.are.equal(on, ms.getsockopt(server, "IPV6_V6ONLY"))
        end
    end)

    it("fails when a wildcard port is in use by IPv4 alone", function()
        local _, addr = support.listener("0.0.0.0")
        assert.are.equal(ms.EADDRINUSE,
            select(3, ms.bind("*", port_of(addr))))
    end)

    it("shares a port with reuseport", function()
        local _, addr = support.listener(nil, { reuseport = true })
        keep(ms.bind(addr, { reuseport = true }))
        keep(ms.bind("127.0.0.1", port_of(addr), { reuseport = true }))
        assert.are.equal(ms.EADDRINUSE, select(3, ms.bind(addr)))
    end)

    it("takes a backlog", function()
        local host = support.listener(nil, { backlog = 7 })
        local raw = keep(ms.bind(ms.inetaddr("127.0.0.1", 0),
            { backlog = "9" }))
        assert.are.equal(7, backlog_of(host))
        assert.are.equal(9, backlog_of(raw))
    end)

    it("has the system's largest backlog by default", function()
        local file = assert(io.open("/proc/sys/net/core/somaxconn"))
        local limit = file:read("*n")
        file:close()
        assert.are.equal(math.min(limit, ms.SOMAXCONN),
            backlog_of((support.listener())))
    end)

    it("raises for a backlog that isn't one", function()
        for _, backlog in ipairs({ -1, 0.5, 2^31, "x", true }) do
            assert.has_error(function()
                ms.bind("127.0.0.1", 0, { backlog = backlog })
            end)
        end
    end)

    for name, path in pairs({ path = false, ["abstract name"] =
            "\0minisock\0" .. os.time() .. math.random() }) do
        it("listens on a Unix " .. name, function()
            local addr = ms.unixaddr(path or support.tmpname())
            local server = keep(ms.bind(addr))
            local client = keep(ms.connect(addr))
            local served, from = ms.accept(server, 2000)
            keep(served)
            assert.are.equal(ms.unixaddr(""), from)
            assert_talks(client, served)
        end)
    end

    it("listens on a Unix path of 108 bytes", function()
        local addr = support.longest_unixaddr()
        local server = keep(ms.bind(addr))
        local client = keep(ms.connect(addr, nil, 2000))
        assert_talks(client, keep(ms.accept(server, 2000)))
    end)

    it("fails when the Unix path is in use", function()
        local addr = ms.unixaddr(support.tmpname())
        keep(ms.bind(addr))
        local fd, message, code = ms.bind(addr)
        assert.is_nil(fd)
        assert.are.equal("bind error: 98 Address already in use", message)
        assert.are.equal(ms.EADDRINUSE, code)
    end)

    it("fails for an address that isn't this machine's", function()
        local fd, message, code = ms.bind("203.0.113.1", 0)
        assert.is_nil(fd)
        assert.matches("^bind error: 99 ", message)
        assert.are.equal(ms.EADDRNOTAVAIL, code)
    end)

    it("fails for a host name without a service", function()
        for _, host in ipairs({ "localhost", "lo", "127.0.0.1", "x", "" }) do
            local fd, message, code = ms.bind(host)
            assert.is_nil(fd)
            assert.are.equal("bind error: 22 Invalid argument", message)
            assert.are.equal(ms.EINVAL, code)
        end
    end)

    it("fails with the resolver's code", function()
        local fd, message, code = ms.bind("127.0.0.1", "no-such-service")
        assert.is_nil(fd)
        assert.matches("^bind error: %-8 ", message)
        assert.are.equal(ms.EAI_SERVICE, code)
        fd, message, code = ms.bind("256.256.256.256", 0, { timeout = 0 })
        assert.is_nil(fd)
        assert.are.equal("bind timeout", message)
        assert.are.equal(ms.ETIMEDOUT, code)
    end)

    it("serves a client of another's", function()
        local server, addr = support.listener()
        local client = support.spawn(("sh -c 'echo hello | "
            .. "socat -t 5 - TCP4:127.0.0.1:%d'"):format(port_of(addr)))
        local served = keep(ms.accept(server, 5000))
        assert.are.equal("hello\n", ms.read(served, 5000))
        ms.write(served, "welcome\n")
        assert.are.equal("welcome", client:line())
    end)
end)

describe("bindfd", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("fails when the address is in use", function()
        local _, addr = support.listener()
        local fd = keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        local done, message, code = ms.bindfd(fd, addr)
        assert.is_nil(done)
        assert.are.equal("bindfd error: 98 Address already in use", message)
        assert.are.equal(ms.EADDRINUSE, code)
    end)

    it("fails on a socket that is bound", function()
        local server, addr = support.listener()
        assert.are.equal(ms.EINVAL, select(3, ms.bindfd(server, addr)))
    end)
end)

describe("listen", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("takes a backlog", function()
        local fd = keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        ms.bindfd(fd, ms.inetaddr("127.0.0.1", 0))
        assert.is_true(ms.listen(fd, 5))
        assert.are.equal(5, backlog_of(fd))
        assert.is_true(ms.listen(fd, "6"))
        assert.are.equal(6, backlog_of(fd))
    end)

    it("fails on a datagram socket", function()
        local done, message, code = ms.listen(keep(ms.udpsocket()))
        assert.is_nil(done)
        assert.matches("^listen error: 95 ", message)
        assert.are.equal(ms.EOPNOTSUPP, code)
    end)
end)

describe("accept", function()
    before_each(support.setup)
    after_each(support.teardown)

    for family, ip in pairs(FAMILIES) do
        it("gives the address of a client by " .. family, function()
            local server, addr = support.listener(ip)
            local client = keep(ms.connect(addr))
            local served, from = ms.accept(server)
            keep(served)
            assert.are.equal(ms.getsockname(client), from)
            assert.are.equal(ms.getpeername(served), from)
        end)
    end

    it("gives the address of a Unix client that has one", function()
        local addr = ms.unixaddr(support.tmpname())
        local own = ms.unixaddr("\0minisock client" .. math.random())
        local server = keep(ms.bind(addr))
        local client = keep(ms.socket(ms.AF_UNIX, ms.SOCK_STREAM))
        ms.bindfd(client, own)
        ms.connectfd(client, addr)
        local served, from = ms.accept(server, 2000)
        keep(served)
        assert.are.equal(own, from)
    end)

    it("times out", function()
        local server = support.listener()
        local took, fd, message, code = support.timed(ms.accept, server, 60)
        assert.is_nil(fd)
        assert.are.equal("accept timeout", message)
        assert.are.equal(ms.ETIMEDOUT, code)
        assert.is_true(took >= 60)
    end)

    it("tries once with timeout 0", function()
        local server, addr = support.listener()
        assert.are.equal("accept timeout", select(2, ms.accept(server, 0)))
        keep(ms.connect(addr))
        keep(ms.accept(server, 0))
    end)

    it("waits for ever with a negative timeout, math.huge or none", function()
        local server, addr = support.listener()
        for _, timeout in ipairs({ -1, math.huge, "none" }) do
            keep(ms.connect(addr))
            if timeout == "none" then timeout = nil end
            keep(ms.accept(server, timeout))
        end
    end)

    it("waits on a non-blocking listener too", function()
        local server, addr = support.listener()
        ms.setnonblocking(server, true)
        local took, _, message = support.timed(ms.accept, server, 60)
        assert.are.equal("accept timeout", message)
        assert.is_true(took >= 60)
        support.spawn("socat -u OPEN:/dev/null TCP4:127.0.0.1:"
            .. port_of(addr))
        keep(ms.accept(server))
    end)

    it("gives a blocking descriptor, whatever the listener is", function()
        local server, addr = support.listener()
        for _, timeout in ipairs({ 2000, math.huge }) do
            for _, on in ipairs({ true, false }) do
                ms.setnonblocking(server, on)
                keep(ms.connect(addr))
                assert.is_true(is_blocking(keep(ms.accept(server, timeout))))
            end
        end
    end)

    -- A listener that says it is ready can be empty again: another process
    -- was quicker. Both wait here, one client comes.
    it("keeps its deadline when another process is quicker", function()
        local output, status = support.run([[
            local ffi = require "ffi"
            local ms = require "minisock"
            local process = require "spec.process"
            ffi.cdef "int fork(void); void _exit(int);"
            ffi.cdef "int waitpid(int, int *, int);"
            local server, addr = ms.bind("127.0.0.1", 0)
            local pids = {}
            local function asleep(pid)
                local file = assert(io.open("/proc/" .. pid .. "/stat"))
                local state = file:read("*a"):match("%) (%a)")
                file:close()
                return state == "S"
            end
            for i = 1, 2 do
                pids[i] = ffi.C.fork()
                if pids[i] == 0 then
                    process.alarm(5)
                    local fd, message = ms.accept(server, 500)
                    ffi.C._exit(fd and 1 or message == "accept timeout"
                        and 2 or 3)
                end
            end
            repeat until asleep(pids[1]) and asleep(pids[2])
            ms.connect(addr)
            local result = ffi.new("int[1]")
            local sum = {}
            for i = 1, 2 do
                ffi.C.waitpid(pids[i], result, 0)
                sum[i] = result[0]
            end
            table.sort(sum)
            io.write(sum[1] / 256, " ", sum[2] / 256)
        ]])
        assert.are.equal("1 2", output)
        assert.are.equal(0, status)
    end)

    it("fails on what doesn't listen", function()
        local fd = keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        for _, timeout in ipairs({ 0, 5000, math.huge }) do
            local served, message, code = ms.accept(fd, timeout)
            assert.is_nil(served)
            assert.are.equal("accept error: 22 Invalid argument", message)
            assert.are.equal(ms.EINVAL, code)
        end
    end)

    it("fails on what isn't a socket", function()
        local reader = support.pipe()
        assert.are.equal(ms.ENOTSOCK, select(3, ms.accept(reader, 5000)))
        assert.are.equal(ms.ENOTSOCK, select(3, ms.accept(reader)))
    end)

    it("fails on a descriptor that isn't open, at once", function()
        for _, timeout in ipairs({ 60000, math.huge }) do
            local fd, message, code = ms.accept(-1, timeout)
            assert.is_nil(fd)
            assert.are.equal("accept error: 9 Bad file descriptor", message)
            assert.are.equal(ms.EBADF, code)
        end
    end)
end)
