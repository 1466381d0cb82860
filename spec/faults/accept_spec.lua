local bit = require "bit"
local faults = require "spec.faults.support"
local llsocket = require "minisock.llsocket"
local lsocket = require "minisock.lsocket"
local luaunix = require "minisock.luasocket.unix"
local ms = require "minisock"
local socket = require "minisock.socket"
local support = require "spec.support"

local each, hold = faults.each, faults.hold

-- In a process of its own, whose limit of descriptors goes down and up again.
local LIMITED = [[
    local ffi = require "ffi"
    local faces = require "spec.faults.faces"
    local ms = require "minisock"
    local owner = require "minisock.owner"
    ms.load()
    ffi.cdef "int setrlimit(int, const unsigned long *);"
    local free
    local function limit(more)
        if not free then
            free = assert(ms.dup(0))
            ms.close(free)
        end
        ffi.C.setrlimit(7, ffi.new("unsigned long[2]", free + more, 1024))
    end
    local server, addr
    local function listen(library)
        server = library.listen({ host = "127.0.0.1", port = 0 })
        addr = ms.getsockname(server:fd())
        return ms.connect(addr)
    end
]]

local function run(library, program)
    local output, status = support.run(LIMITED
        .. ("local library = faces[%q]\n"):format(library.name)
        .. program)
    assert.are.equal(0, status, output)
    return output
end

local function server_of(library)
    local server = hold(library.listen({ host = "127.0.0.1", port = 0 }))
    return server, ms.getsockname(server:fd())
end

describe("accepting:", function()
    before_each(faults.setup)
    after_each(faults.teardown)

    each("case 36: without a descriptor the connection stays queued", "listen",
        function(library)
            if support.valgrind then return pending("valgrind has its own") end
            assert.are.equal("EMFILE\t1\nping\n", run(library, [[
                local client = listen(library)
                limit(0)
                local here, why = server:accept()
                print(why, select(2, ms.poll(
                    ms.pollfd(server:fd(), ms.POLLIN), 0)))
                limit(9)
                here = server:accept()
                here:send("ping")
                print(ms.read(client, 2000))
            ]]))
        end)

    each("case 36: those of garbage are used again", "listen",
        function(library)
            if support.valgrind then return pending("valgrind has its own") end
            assert.are.equal("accepted\n", run(library, [[
                local client = listen(library)
                collectgarbage()
                collectgarbage()
                collectgarbage("stop")
                limit(20)
                local fd = ms.dup(0)
                while fd do
                    owner.new(fd)
                    fd = ms.dup(0)
                end
                print(server:accept() and "accepted")
            ]]))
        end, "core")

    each("case 37: a client that is gone already is accepted", "listen",
        function(library)
            local server, addr = server_of(library)
            local client = ms.connect(addr, nil, 2000)
            faults.reset(client)
            faults.settle(server:fd())
            local here = hold(server:accept())
            assert.are.equal(ms.ENOTCONN,
                select(3, ms.getpeername(here:fd())))
            local data, why = here:recv()
            assert.is_nil(data)
            assert.are.equal(
                library.name == "luasocket" and "closed" or "ECONNRESET", why)
        end)

    each("case 38: what is accepted is closed on exec, and waits", "listen",
        function(library)
            for _, nonblocking in ipairs({ false, true }) do
                local server, addr = server_of(library)
                if nonblocking then
                    ms.setnonblocking(server:fd(), true)
                end
                support.keep(ms.connect(addr, nil, 2000))
                local here = hold(server:accept())
                assert.are_not.equal(0, bit.band(ms.SOCK_CLOEXEC,
                    support.descriptor_flags(here:fd())))
                here:settimeout(50)
                local took, data, why = support.timed(here.recv, here)
                assert.is_nil(data)
                assert.are.equal("timeout", why)
                assert.is_true(took >= 50, took)
            end
        end)

    it("case 38: the core's and the object's are blocking", function()
        for _, name in ipairs({ "core", "socket" }) do
            local library = faults.faces[name]
            local server, addr = server_of(library)
            ms.setnonblocking(server:fd(), true)
            support.keep(ms.connect(addr, nil, 2000))
            local raw = server:accept()
            hold(raw)
            if name == "socket" then raw.sock:settimeout(-1) end
            assert.is_true(support.is_blocking(raw:fd()))
        end
    end)

    it("case 39: only a listener accepts", function()
        local fd = support.keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        local pipe = support.pipe()
        for _, timeout in ipairs({ 0, 10000, math.huge }) do
            assert.are.equal(ms.EINVAL, select(3, ms.accept(fd, timeout)))
            assert.are.equal(ms.ENOTSOCK, select(3, ms.accept(pipe, timeout)))
            assert.are.equal(ms.EBADF, select(3, ms.accept(-1, timeout)))
        end
        local sock = hold(socket.tcp())
        assert.are.equal(ms.EINVAL, select(3, sock:accept()))
        local client = hold(faults.faces.lsocket.connect(
            select(2, faults.listener())))
        assert.are.equal("EINVAL", faults.faces.word(
            (select(2, client.sock:accept()))))
        local ai = faults.faces.llsocket.address(
            { host = "127.0.0.1", port = 0 }, ms.SOCK_STREAM)
        local unbound = hold(llsocket.socket.new(ai))
        assert.are.equal("EINVAL", faults.faces.word(
            (select(2, unbound:accept()))))
    end)

    -- A named client comes first: nothing of its name may be left over.
    local function two_clients(path, kind)
        local named = support.keep(ms.socket(ms.AF_UNIX, kind))
        assert(ms.bindfd(named, ms.unixaddr(support.tmpname())))
        local unnamed = support.keep(ms.socket(ms.AF_UNIX, kind))
        for _, fd in ipairs({ named, unnamed }) do
            assert(ms.connectfd(fd, ms.unixaddr(path), 2000))
            ms.write(fd, "x")
        end
        return ms.parseaddr(ms.getsockname(named)).path
    end

    -- What each gives for a sender: its path, and then for none.
    local SENDERS = {
        recvfrom = {
            function(path) return support.keep(
                ms.udpsocket(ms.unixaddr(path))) end,
            function(fd)
                return ms.parseaddr(select(2, ms.recvfrom(fd, 2000))).path
            end, "",
        },
        recvmsg = {
            function(path) return support.keep(
                ms.udpsocket(ms.unixaddr(path))) end,
            function(fd)
                return ms.parseaddr(ms.recvmsg(fd, 2000).addr).path
            end, "",
        },
        recvmany = {
            function(path) return support.keep(
                ms.udpsocket(ms.unixaddr(path))) end,
            function(fd)
                local batch = require("minisock.batch").new(1)
                assert(ms.recvmany(fd, batch, 2000))
                return ms.parseaddr(batch:address(1)).path
            end, "",
        },
        socket = {
            function(path)
                local sock = hold(socket.socket(socket.AF_UNIX,
                    socket.SOCK_DGRAM))
                assert(sock:bind(path))
                return sock
            end,
            function(sock) return (select(2, sock:recvfrom())) end, "",
        },
        luasocket = {
            function(path)
                local sock = hold(luaunix.dgram())
                assert(sock:bind(path))
                return sock
            end,
            function(sock) return (select(2, sock:receivefrom())) end, "",
        },
        lsocket = {
            function(path) return hold(lsocket.bind("udp", path)) end,
            function(sock) return (select(2, sock:recvfrom())) end, "",
        },
        llsocket = {
            function(path)
                local ai = llsocket.unix.getaddrinfo(path, ms.SOCK_DGRAM)
                local sock = hold(llsocket.socket.new(ai))
                assert(not sock:bind())
                return sock
            end,
            function(sock)
                local _, ai = sock:recvfrom()
                return ai and ai:addr()[1]
            end, nil,
        },
    }
    for name, case in pairs(SENDERS) do
        local make, receive, nobody = unpack(case)
        it("case 40: a sender without a name has none, by " .. name,
            function()
                local path = support.tmpname()
                local receiver = make(path)
                local sender = two_clients(path, ms.SOCK_DGRAM)
                assert.are.equal(sender, receive(receiver))
                assert.are.equal(nobody, receive(receiver))
            end)
    end

    it("case 40: nor has a client that is accepted", function()
        local fd, place = faults.unix_listener()
        local client = two_clients(place.path, ms.SOCK_STREAM)
        for _, path in ipairs({ client, "" }) do
            local peer, addr = ms.accept(fd, 2000)
            support.keep(peer)
            assert.are.equal(path, ms.parseaddr(addr).path)
            assert.are.equal(addr, ms.getpeername(peer))
        end
    end)

    each("case 40: nor is an object's accept the worse for it", "listen",
        function(library)
            local path = support.tmpname()
            local server = hold(library.listen({ path = path }))
            two_clients(path, ms.SOCK_STREAM)
            for _ = 1, 2 do
                assert.are.equal("x", hold(server:accept()):recv(1))
            end
        end)
end)
