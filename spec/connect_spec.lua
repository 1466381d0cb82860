local ms = require "minisock"
local support = require "spec.support"

local assert_talks = support.assert_talks
local is_blocking = support.is_blocking
local keep = support.keep
local port_of = support.port_of
local FAMILIES = { inet = "127.0.0.1", inet6 = "::1" }

-- The address of a port that is taken, but that nobody listens on.
local function unused(ip)
    local make = ip == "::1" and ms.inet6addr or ms.inetaddr
    local addr = make(ip or "127.0.0.1", 0)
    local fd = keep(ms.socket(ms.parseaddr(addr).family == "inet"
        and ms.AF_INET or ms.AF_INET6, ms.SOCK_STREAM))
    ms.bindfd(fd, addr)
    return ms.getsockname(fd)
end

-- A Unix listener whose queue is full.
local function full_unix_listener()
    local addr = ms.unixaddr(support.tmpname())
    local server = keep(ms.bind(addr, { backlog = 0 }))
    local client
    repeat
        client = ms.connect(addr, nil, 0)
        if client then keep(client) end
    until not client
    return addr, server
end

describe("connect", function()
    before_each(support.setup)
    after_each(support.teardown)

    for family, ip in pairs(FAMILIES) do
        it("reaches a host and a port by " .. family, function()
            local server, addr = support.listener(ip)
            local client, to = ms.connect(ip, port_of(addr), 2000)
            keep(client)
            assert.are.equal(addr, to)
            assert.are.equal(addr, ms.getpeername(client))
            assert_talks(client, keep(ms.accept(server, 2000)))
        end)

        it("is refused by " .. family, function()
            local addr = unused(ip)
            for _, timeout in ipairs({ 2000, math.huge }) do
                local fd, message, code = ms.connect(addr, nil, timeout)
                assert.is_nil(fd)
                assert.matches("^connect error: 111 ", message)
                assert.are.equal(ms.ECONNREFUSED, code)
                fd, message, code = ms.connect(ip, port_of(addr), timeout)
                assert.is_nil(fd)
                assert.matches("^connect error: 111 ", message)
                assert.are.equal(ms.ECONNREFUSED, code)
            end
        end)
    end

    it("returns one value for a raw address, two for a host", function()
        local _, addr = support.listener()
        local raw = { ms.connect(addr, nil, 2000) }
        local host = { ms.connect("127.0.0.1", port_of(addr), 2000) }
        keep(raw[1])
        keep(host[1])
        assert.are.equal(1, #raw)
        assert.are.equal(2, #host)
    end)

    it("gives a blocking descriptor", function()
        local _, addr = support.listener()
        for _, timeout in ipairs({ 2000, math.huge }) do
            assert.is_true(is_blocking(keep(ms.connect(addr, nil, timeout))))
            assert.is_true(is_blocking(
                keep(ms.connect("127.0.0.1", port_of(addr), timeout))))
        end
    end)

    it("takes a port in digits", function()
        local _, addr = support.listener()
        keep(ms.connect("127.0.0.1", tostring(port_of(addr)), 2000))
    end)

    it("finds the one family that a name is served by", function()
        local _, addr = support.listener()
        keep(ms.connect("localhost", port_of(addr), 5000))
    end)

    -- What a name resolves to is this program's own to say, the connections
    -- are real.
    local function connect_to_several(program)
        return support.run([[
            local resolver = require "minisock.resolver"
            local list = {}
            resolver.lookup = function() return list end
            local ms = require "minisock"
            local function listener(opts)
                local fd = ms.bind(ms.inetaddr("127.0.0.1", 0), opts)
                return fd, ms.getsockname(fd)
            end
            local function add_live()
                local _, addr = listener()
                list[#list + 1] = addr
            end
            local function add_refusing(addr)
                local fd = ms.socket(addr and ms.AF_INET6 or ms.AF_INET,
                    ms.SOCK_STREAM)
                ms.bindfd(fd, addr or ms.inetaddr("127.0.0.1", 0))
                list[#list + 1] = ms.getsockname(fd)
            end
            local function add_silent()
                local _, addr = listener({ backlog = 0 })
                while ms.connect(addr, nil, 100) do end
                list[#list + 1] = addr
            end
            local descriptors = require("spec.process").descriptors
        ]] .. program)
    end

    it("goes on to the next address when one refuses", function()
        local output = connect_to_several [[
            add_refusing(ms.inet6addr("::1", 0))
            add_refusing()
            add_live()
            add_live()
            local before = descriptors()
            local fd, addr = ms.connect("many", 80, 5000)
            io.write(tostring(addr == list[3]), " ",
                tostring(ms.getpeername(fd) == addr), " ",
                descriptors() - before, "\n")
            fd, addr = ms.connect("many", 80)
            io.write(tostring(addr == list[3] and fd > 0))
        ]]
        assert.are.equal("true true 1\ntrue", output)
    end)

    it("leaves time for the next address when one is silent", function()
        local output = connect_to_several [[
            add_silent()
            add_live()
            local now = require("minisock.cdefs").shim.minisock_now
            local before = descriptors()
            local start = now()
            local _, addr = ms.connect("many", 80, 1500)
            io.write(tostring(addr == list[2]), " ", descriptors() - before,
                " ", tostring(now() - start < 1500))
        ]]
        assert.are.equal("true 1 true", output)
    end)

    it("has one deadline for all addresses", function()
        local output = connect_to_several [[
            add_silent()
            list[2], list[3], list[4] = list[1], list[1], list[1]
            local now = require("minisock.cdefs").shim.minisock_now
            local before = descriptors()
            local start = now()
            local fd, message, code = ms.connect("many", 80, 400)
            local took = now() - start
            io.write(tostring(fd), " ", message, " ", code, " ",
                tostring(took >= 400 and took < 1500), " ",
                descriptors() - before)
        ]]
        assert.are.equal("nil connect timeout " .. ms.ETIMEDOUT .. " true 0",
            output)
    end)

    it("fails as the last address did", function()
        local output = connect_to_several [[
            add_refusing()
            list[2] = ms.unixaddr("/no/such/path")
            local _, message = ms.connect("many", 80, 2000)
            io.write(message, "\n")
            list[1], list[2] = list[2], list[1]
            _, message = ms.connect("many", 80, 2000)
            io.write(message)
        ]]
        assert.are.equal("connect error: 2 No such file or directory\n"
            .. "connect error: 111 Connection refused", output)
    end)

    for family, ip in pairs(FAMILIES) do
        it("times out by " .. family .. " when nobody answers", function()
            local addr = support.full_listener(ip)
            local took, fd, message, code =
                support.timed(ms.connect, addr, nil, 80)
            assert.is_nil(fd)
            assert.are.equal("connect timeout", message)
            assert.are.equal(ms.ETIMEDOUT, code)
            assert.is_true(took >= 80)
        end)
    end

    it("times out in its host form too", function()
        local addr = support.full_listener()
        local took, fd, message, code =
            support.timed(ms.connect, "127.0.0.1", port_of(addr), 80)
        assert.is_nil(fd)
        assert.are.equal("connect timeout", message)
        assert.are.equal(ms.ETIMEDOUT, code)
        assert.is_true(took >= 80)
    end)

    it("times out when a Unix server's queue is full", function()
        local addr = full_unix_listener()
        local took, fd, message, code =
            support.timed(ms.connect, addr, nil, 80)
        assert.is_nil(fd)
        assert.are.equal("connect timeout", message)
        assert.are.equal(ms.ETIMEDOUT, code)
        assert.is_true(took >= 80)
    end)

    it("gets in when there is room in a Unix server's queue", function()
        local path = support.tmpname()
        local server = keep(ms.bind(ms.unixaddr(path), { backlog = 0 }))
        keep(ms.connect(ms.unixaddr(path)))
        local other = support.spawn_lua([[
            local ms = require "minisock"
            local addr = ms.unixaddr((...))
            assert(select(2, ms.connect(addr, nil, 0)) == "connect timeout")
            print("full")
            io.stdout:flush()
            print(ms.connect(addr, nil, 10000) and "in")
        ]], path)
        assert.are.equal("full", other:line())
        keep(ms.accept(server))
        assert.are.equal("in", other:line())
    end)

    it("says what is wrong with a Unix path", function()
        assert.are.equal(ms.ENOENT,
            select(3, ms.connect(ms.unixaddr(support.tmpname()), nil, 2000)))
        assert.are.equal(ms.ECONNREFUSED,
            select(3, ms.connect(ms.unixaddr("/etc/hosts"), nil, 2000)))
    end)

    it("fails for a host that isn't there, under its own name", function()
        local fd, message, code = ms.connect("no host at all", 80)
        assert.is_nil(fd)
        assert.are.equal("connect error: -2 Name or service not known",
            message)
        assert.are.equal(ms.EAI_NONAME, code)
    end)

    it("fails for a host name without a service", function()
        for _, host in ipairs({ "localhost", "lo", "127.0.0.1", "" }) do
            local fd, message, code = ms.connect(host)
            assert.is_nil(fd)
            assert.are.equal("connect error: 22 Invalid argument", message)
            assert.are.equal(ms.EINVAL, code)
        end
    end)

    for option, ip in pairs({ TCP4 = "127.0.0.1", TCP6 = "::1" }) do
        it("talks to a server of another's by " .. option, function()
            local bind = option == "TCP6" and "[::1]" or ip
            local server = support.spawn(
                ("socat -d -d %s-LISTEN:0,bind=%s EXEC:cat")
                    :format(option, bind))
            local port = server:expect("listening on .*:(%d+)$")
            local client = keep(ms.connect(ip, port, 5000))
            ms.write(client, "echo")
            assert.are.equal("echo", ms.read(client, 5000))
            ms.shutdown(client, ms.SHUT_WR)
            assert.are.equal("", ms.read(client, 5000))
        end)
    end

    it("talks to a Unix server of another's", function()
        local path = support.tmpname()
        local server = support.spawn(([[python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX); s.bind("%s"); s.listen()
print("ready", flush=True)
c = s.accept()[0]; c.sendall(c.recv(100).upper())']]):format(path))
        server:expect("^ready$")
        local client = keep(ms.connect(ms.unixaddr(path), nil, 5000))
        ms.write(client, "shout")
        assert.are.equal("SHOUT", ms.read(client, 5000))
        assert.are.equal("", ms.read(client, 5000))
    end)
end)

describe("connectfd", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("connects what socket made and bindfd bound", function()
        local server = keep(ms.socket(ms.AF_INET6, ms.SOCK_STREAM))
        assert.is_true(ms.bindfd(server, ms.inet6addr("::1", 0)))
        assert.is_true(ms.listen(server))
        local client = keep(ms.socket(ms.AF_INET6, ms.SOCK_STREAM))
        assert.is_true(ms.bindfd(client, ms.inet6addr("::1", 0)))
        assert.is_true(ms.connectfd(client, ms.getsockname(server), 2000))
        assert_talks(client, keep(ms.accept(server, 2000)))
    end)

    for _, timeout in ipairs({ 2000, math.huge }) do
        it(("leaves O_NONBLOCK as it was (timeout %s)"):format(timeout),
            function()
                local _, addr = support.listener()
                for _, on in ipairs({ true, false }) do
                    local fd = keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
                    ms.setnonblocking(fd, on)
                    assert.is_true(ms.connectfd(fd, addr, timeout))
                    assert.are.equal(not on, is_blocking(fd))
                end
            end)
    end

    it("times out, and leaves a blocking descriptor blocking", function()
        local addr = support.full_listener()
        local fd = keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        local took, done, message, code =
            support.timed(ms.connectfd, fd, addr, 80)
        assert.is_nil(done)
        assert.are.equal("connectfd timeout", message)
        assert.are.equal(ms.ETIMEDOUT, code)
        assert.is_true(took >= 80)
        assert.is_true(is_blocking(fd))
    end)

    it("times out on a Unix queue, and can try again", function()
        local addr, server = full_unix_listener()
        local fd = keep(ms.socket(ms.AF_UNIX, ms.SOCK_STREAM))
        assert.are.equal("connectfd timeout",
            select(2, ms.connectfd(fd, addr, 20)))
        assert.is_true(is_blocking(fd))
        keep(ms.accept(server, 2000))
        assert.is_true(ms.connectfd(fd, addr, 2000))
    end)

    it("is refused, and leaves a blocking descriptor blocking", function()
        local fd = keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        local done, message, code = ms.connectfd(fd, unused(), 2000)
        assert.is_nil(done)
        assert.matches("^connectfd error: 111 ", message)
        assert.are.equal(ms.ECONNREFUSED, code)
        assert.is_true(is_blocking(fd))
    end)

    it("fails on a connected socket", function()
        local _, served = support.connection()
        assert.are.equal(ms.EISCONN,
            select(3, ms.connectfd(served, ms.getpeername(served), 2000)))
    end)

    it("fails for an address of another family", function()
        local fd = keep(ms.socket(ms.AF_INET6, ms.SOCK_STREAM))
        assert.are.equal(ms.EAFNOSUPPORT, select(3,
            ms.connectfd(fd, ms.unixaddr("/tmp/a") .. ("x"):rep(30), 2000)))
    end)
end)
