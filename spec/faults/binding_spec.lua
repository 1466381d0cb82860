local faults = require "spec.faults.support"
local faces = require "spec.faults.faces"
local llsocket = require "minisock.llsocket"
local luasocket = require "minisock.luasocket"
local ms = require "minisock"
local socket = require "minisock.socket"
local support = require "spec.support"

local each, hold = faults.each, faults.hold
local LOOPBACK = { host = "127.0.0.1", port = 0 }

local function object()
    local sock = hold(socket.tcp())
    sock:settimeout(2)
    return sock
end

describe("binding, closing and what is left:", function()
    before_each(faults.setup)
    after_each(faults.teardown)

    for _, call in ipairs({ "listen", "receiver" }) do
        each("case 69: an address in use is told, and nothing left, of a "
            .. call, call, function(library)
                local first = hold(library[call](LOOPBACK))
                local before = support.count_descriptors()
                local sock, why = library[call](faults.place(first:fd()))
                assert.is_nil(sock)
                assert.are.equal("EADDRINUSE", why)
                assert.are.equal(before, support.count_descriptors())
            end)

        each("case 69: one that isn't this machine's too, of a " .. call,
            call, function(library)
                local before = support.count_descriptors()
                local sock, why =
                    library[call]({ host = "192.0.2.1", port = 0 })
                assert.is_nil(sock)
                assert.are.equal("EADDRNOTAVAIL", why)
                assert.are.equal(before, support.count_descriptors())
            end)
    end

    it("case 69: a socket is bound only once", function()
        local addr = ms.inetaddr("127.0.0.1", 0)
        local fd = support.keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        assert.is_true(ms.bindfd(fd, addr))
        assert.are.equal(ms.EINVAL, select(3, ms.bindfd(fd, addr)))
        local sock = object()
        assert.is_true(sock:bind("127.0.0.1", 0))
        assert.are.equal(ms.EINVAL, select(3, sock:bind("127.0.0.1", 0)))
        local udp = hold(faces.luasocket.receiver(LOOPBACK)).sock
        assert.is_nil((udp:setsockname("127.0.0.1", 0)))
        local ll = hold(faces.llsocket.receiver(LOOPBACK)).sock
        assert.are.equal("EINVAL", faces.word(ll:bind()))
    end)

    it("case 70: a listener without an address gets one", function()
        local fd = support.keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        assert.is_true(ms.listen(fd, -1)) -- as many as the system allows
        local place = faults.place(fd)
        assert.is_true(place.port > 0)
        support.keep(ms.connect(ms.inetaddr("127.0.0.1", place.port)))
        local sock = object()
        assert.is_true(sock:listen(-1))
        assert.is_true(sock:getsockname()[2] > 0)
    end)

    it("case 70: a datagram socket doesn't listen", function()
        local fd = support.keep(ms.udpsocket())
        assert.are.equal(ms.EOPNOTSUPP, select(3, ms.listen(fd)))
        assert.are.equal(ms.EOPNOTSUPP,
            select(3, hold(socket.udp()):listen(1)))
        local ll = hold(faces.llsocket.receiver(LOOPBACK)).sock
        assert.are.equal("EOPNOTSUPP", faces.word(ll:listen()))
    end)

    it("case 71: the core says that it was closed already", function()
        local fd = ms.socket(ms.AF_INET, ms.SOCK_STREAM)
        assert.is_true(ms.close(fd))
        assert.are.equal(ms.EBADF, select(3, ms.close(fd)))
    end)

    -- The number is another's then: a second close, or the collector's, would
    -- close that.
    for _, call in ipairs({ "connect", "sender", "listen", "receiver" }) do
        each("case 71: an object is closed once, of a " .. call, call,
            function(library)
                local _, place = faults.listener()
                if call ~= "connect" then place = LOOPBACK end
                if call == "sender" then
                    place = { host = "127.0.0.1", port = 9 }
                end
                local here = assert(library[call](place))
                local fd = here:fd()
                here:close()
                local other = support.keep(
                    ms.socket(ms.AF_INET, ms.SOCK_DGRAM))
                assert.are.equal(fd, other)
                here:close()
                here = nil -- luacheck: ignore
                collectgarbage()
                collectgarbage()
                assert.are.equal(ms.SOCK_DGRAM,
                    ms.getsockopt(other, "SO_TYPE"))
            end, "core")
    end

    it("case 71: a duplicate keeps a connection, up to a shutdown", function()
        local here, peer = faults.connection(faces.core)
        local copy = support.keep(ms.dup(here:fd()))
        ms.close(here:fd())
        here.close = function() end
        assert.are.equal("", faults.revents(peer, ms.POLLRDHUP, 50))
        ms.shutdown(copy)
        assert.are.equal("", ms.read(peer, 2000))
    end)

    -- All that a library opens, whatever call opened it.
    local function flags_of(make)
        local before = {}
        for fd = 0, 200 do before[fd] = ms.getcloexec(fd) ~= nil end
        local kept = { make() }
        local found = 0
        for fd = 0, 200 do
            local cloexec = ms.getcloexec(fd)
            if cloexec ~= nil and not before[fd] then
                found = found + 1
                assert.is_true(cloexec, fd)
            end
        end
        return found, kept
    end

    for _, call in ipairs({ "connect", "sender", "listen", "receiver" }) do
        each("case 72: nothing of it is inherited, of a " .. call, call,
            function(library)
                local _, place = faults.listener()
                if call:find("^[lr]") then place = LOOPBACK end
                assert.are.equal(1, (flags_of(function()
                    return hold(library[call](place))
                end)))
            end)
    end

    it("case 72: nor of pairs, duplicates and pollers", function()
        local poller = require "minisock.poller"
        assert.are.equal(8, (flags_of(function()
            local a, b = support.pair()
            support.keep(ms.dup(a))
            ms.dup2(b, support.keep(ms.dup(b)))
            hold(poller.new())
            local pair = llsocket.socket.pair(ms.SOCK_STREAM)
            hold(pair[1])
            hold(pair[2])
            hold(pair[1]:dup())
        end)))
    end)

    each("case 74: after a reset there is no peer to name", "connect",
        function(library)
            local here, peer = faults.connection(library)
            faults.reset(peer)
            faults.settle(here:fd())
            assert.are.equal(ms.ENOTCONN,
                select(3, ms.getpeername(here:fd())))
            local asks = {
                socket = function(sock) return sock:getpeername() end,
                luasocket = function(sock) return sock:getpeername() end,
                lsocket = function(sock) return sock:info("peer") end,
                llsocket = function(sock) return sock:getpeername() end,
            }
            local ask = asks[library.name]
            if ask then
                local name, why = ask(here.sock)
                assert.is_nil(name)
                assert.are.equal("ENOTCONN", faces.word(why))
            end
        end)

    -- The kernel tells how long it is all the same.
    it("case 75: an option is cut to the room there is", function()
        local fd = support.keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        ms.setsockopt(fd, "SO_LINGER", 7)
        local whole = ms.getsockopt(fd, ms.SOL_SOCKET, ms.SO_LINGER, 100)
        assert.are.equal(8, #whole)
        assert.are.equal(whole:sub(1, 4),
            ms.getsockopt(fd, ms.SOL_SOCKET, ms.SO_LINGER, 4))
        assert.are.equal(1,
            #ms.getsockopt(fd, ms.SOL_SOCKET, ms.SO_RCVBUF, 1))
    end)

    it("case 75: an address is as long as it is", function()
        for addr, make in pairs({
            [ms.inetaddr("127.0.0.1", 0)] = 16,
            [ms.inet6addr("::1", 0)] = 28,
            [ms.unixaddr("")] = 8,
        }) do
            local fd = support.keep(ms.udpsocket(addr))
            if #addr == 2 then ms.bindfd(fd, addr) end
            assert.are.equal(make, #ms.getsockname(fd))
        end
    end)

    it("case 76: a wrong option is told by its errno", function()
        local fd = support.keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        for size = 0, 3 do
            assert.are.equal(ms.EINVAL, select(3, ms.setsockopt(fd,
                ms.SOL_SOCKET, ms.SO_REUSEADDR, ("\0"):rep(size))))
        end
        assert.are.equal(ms.EINVAL, select(3, ms.setsockopt(fd,
            ms.SOL_SOCKET, ms.SO_LINGER, ("\0"):rep(4))))
        assert.are.equal(ms.ENOPROTOOPT, select(3, ms.setsockopt(fd,
            ms.SOL_SOCKET, 9999, ("\0"):rep(4))))
        assert.are.equal(ms.ENOPROTOOPT,
            select(3, ms.getsockopt(fd, ms.SOL_SOCKET, 9999, 4)))
        local unix = support.pair()
        assert.are.equal(ms.EOPNOTSUPP,
            select(3, ms.setsockopt(unix, "TCP_NODELAY", true)))
    end)

    it("case 77: urgent data is apart, and its mark is told", function()
        local here, peer = faults.connection(faces.core)
        ms.write(peer, "before")
        ms.sendmsg(peer, { data = "!" }, ms.MSG_OOB)
        ms.write(peer, "after")
        support.wait_for("what is urgent", function()
            return faults.revents(here:fd(), ms.POLLPRI, 0) == "PRI"
        end)
        assert.are.equal("IN OUT PRI",
            faults.revents(here:fd(), faults.ALL))
        assert.is_false(ms.atmark(here:fd()))
        assert.are.equal("before", here:recv())
        assert.is_true(ms.atmark(here:fd()))
        assert.are.equal("!",
            ms.recvmsg(here:fd(), 0, 9, ms.MSG_OOB).data)
        assert.are.equal("after", here:recv())
    end)

    -- What wants more than comes, and then what is there.
    local WANTS = {
        socket = function(here)
            local data, _, code = here.sock:readexactly(10)
            assert.is_nil(data)
            assert.are.equal(ms.ETIMEDOUT, code)
            return here.sock:read(10)
        end,
        luasocket = function(here)
            local data, why, part = here.sock:receive(10)
            assert.is_nil(data)
            assert.are.equal("timeout", why)
            return part
        end,
        resty = function(here)
            local data, why, part = here.sock:receive(10)
            assert.is_nil(data)
            assert.are.equal("timeout", why)
            return part
        end,
        llsocket = function(here)
            return (here.sock:recv(10, ms.MSG_WAITALL))
        end,
    }
    each("case 78: of what should come in full, a part isn't lost", "connect",
        function(library)
            local here, peer = faults.connection(library)
            here:settimeout(100)
            ms.write(peer, "abc")
            local took, data = support.timed(WANTS[library.name], here)
            assert.are.equal("abc", data)
            assert.is_true(took >= 100, took)
        end, "core lsocket")

    for what, program in pairs({
        ["a child that exits"] = "os.exit(0, true)",
        ["a child that collects garbage"] =
            "here = nil collectgarbage() collectgarbage() _exit(0)",
        ["a child that closes"] = "here:close() _exit(0)",
    }) do
        each("case 79: a connection outlives " .. what, "connect",
            function(library)
                local output, status = support.run(([[
                    local ffi = require "ffi"
                    local faces = require "spec.faults.faces"
                    local ms = require "minisock"
                    ffi.cdef "int fork(void); void _exit(int);"
                    ffi.cdef "int waitpid(int, int *, int);"
                    local _exit = ffi.C._exit
                    local server, addr = ms.bind("127.0.0.1", 0)
                    local parts = ms.parseaddr(addr)
                    local here = faces[%q].connect({
                        host = parts.addr, port = parts.port })
                    local peer = ms.accept(server)
                    local child = ffi.C.fork()
                    if child == 0 then %s end
                    ffi.C.waitpid(child, nil, 0)
                    here:send("ping")
                    io.write(ms.read(peer, 2000))
                    ms.write(peer, "pong")
                    io.write(here:recv())
                ]]):format(library.name, program))
                assert.are.equal("pingpong", output)
                assert.are.equal(0, status)
            end)
    end

    it("case 79: but not a shutdown by the child", function()
        assert.are.equal("end", (support.run([[
            local ffi = require "ffi"
            local ms = require "minisock"
            ffi.cdef "int fork(void); void _exit(int);"
            ffi.cdef "int waitpid(int, int *, int);"
            local a, b = ms.socketpair()
            local child = ffi.C.fork()
            if child == 0 then
                ms.shutdown(a)
                ffi.C._exit(0)
            end
            ffi.C.waitpid(child, nil, 0)
            io.write(ms.read(b, 2000) == "" and "end" or "more")
        ]])))
    end)

    -- Serves a client, closes first, and so leaves the port in TIME_WAIT.
    local function serve(server)
        local place = faults.place(server:fd())
        local client = support.keep(ms.connect(faces.raw(place)))
        hold(server:accept()):close()
        assert.are.equal("", ms.read(client, 2000))
        ms.close(client)
        server:close()
        return place
    end

    each("case 80: a server can start again at once", "listen",
        function(library)
            local place = serve(hold(library.listen(LOOPBACK)))
            hold(library.listen(place))
        end, "luasocket llsocket")

    -- There it is for the program to say so, as with the originals.
    local REUSE = {
        luasocket = function(place)
            local sock = hold(luasocket.tcp4())
            assert(sock:setoption("reuseaddr", true))
            assert(sock:bind(place.host, place.port))
            assert(sock:listen())
            return sock
        end,
        llsocket = function(place)
            local sock = hold(llsocket.socket.new(
                faces.llsocket.address(place, ms.SOCK_STREAM)))
            sock:reuseaddr(true)
            assert(not sock:bind())
            assert(not sock:listen())
            return sock
        end,
    }
    for name, listen in pairs(REUSE) do
        it("case 80: with SO_REUSEADDR, one of " .. name, function()
            local library = faces[name]
            local sock, why =
                library.listen(serve(hold(library.listen(LOOPBACK))))
            assert.is_nil(sock)
            assert.are.equal("EADDRINUSE", why)
            local server = listen(LOOPBACK)
            local place = serve({
                fd = function()
                    return (server.getfd or server.fd)(server)
                end,
                accept = function() return server:accept() end,
                close = function() server:close() end,
            })
            listen(place)
        end)
    end
end)
