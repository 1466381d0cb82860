local ms = require "minisock"
local support = require "spec.support"

local resty

-- Forgets the look-alikes and all that they keep.
local function unload()
    resty = nil
    for name in pairs(package.loaded) do
        if name:find("^minisock%.resty") then package.loaded[name] = nil end
    end
    jit.flush()
    collectgarbage()
    collectgarbage()
end

describe("minisock.resty's pool", function()
    local server, addr, port

    before_each(function()
        unload()
        support.setup()
        resty = require "minisock.resty"
        server, addr = support.listener()
        port = support.port_of(addr)
    end)

    after_each(function()
        unload()
        support.teardown()
    end)

    -- A client that is connected anew, and the server's end.
    local function connect(options)
        local sock = resty.tcp()
        sock:settimeout(5000)
        assert.are.equal(1, sock:connect("127.0.0.1", port, options))
        assert.are.equal(0, sock:getreusedtimes())
        return sock, support.keep(ms.accept(server, 5000))
    end

    -- How often what is had now was had before.
    local function reconnect(options)
        local sock = resty.tcp()
        sock:settimeout(5000)
        assert.are.equal(1, sock:connect("127.0.0.1", port, options))
        return sock:getreusedtimes(), sock
    end

    local function is_open(fd)
        local data, _, code = ms.read(fd, 0)
        assert.is_nil(data)
        return code == ms.ETIMEDOUT
    end

    local function assert_closed(fd)
        assert.are.equal("", ms.read(fd, 5000))
    end

    local function wait_to_read(fd)
        local _, ready = ms.poll(ms.pollfd(fd, ms.POLLIN), 5000)
        assert.are.equal(1, ready)
    end

    local function descriptor(sock)
        return sock.connection:fd()
    end

    -----------------------------------------------------------------------
    -- Time
    -----------------------------------------------------------------------

    it("takes what was idle for too long as closed", function()
        local sock, peer = connect()
        assert.are.equal(1, sock:setkeepalive(20))
        ms.msleep(25)
        assert.is_true(is_open(peer))
        assert.are.equal(0, (reconnect()))
        assert_closed(peer)
    end)

    it("closes it when any other pool is used", function()
        local sock, peer = connect({ pool = "one" })
        assert.are.equal(1, sock:setkeepalive(20))
        ms.msleep(25)
        assert.are.equal(0, (reconnect({ pool = "two" })))
        assert_closed(peer)
    end)

    it("closes it when another connection is kept", function()
        local sock, peer = connect({ pool = "one" })
        local other, others = connect({ pool = "two" })
        assert.are.equal(1, sock:setkeepalive(20))
        ms.msleep(25)
        assert.are.equal(1, other:setkeepalive(60000))
        assert_closed(peer)
        assert.is_true(is_open(others))
    end)

    it("keeps what has time left, next to what has none", function()
        local first, dead = connect()
        local second, alive = connect()
        -- The first one is taken last, were it still there.
        assert.are.equal(1, first:setkeepalive(20))
        assert.are.equal(1, second:setkeepalive(60000))
        ms.msleep(25)
        local times, sock = reconnect()
        assert.are.equal(1, times)
        assert_closed(dead)
        support.assert_talks(descriptor(sock), alive)
        assert.are.equal(0, (reconnect()))
    end)

    it("keeps for ever what has a time of 0", function()
        local sock = connect()
        assert.are.equal(1, sock:setkeepalive(0))
        ms.msleep(30)
        assert.are.equal(1, (reconnect()))
    end)

    -----------------------------------------------------------------------
    -- Peers
    -----------------------------------------------------------------------

    it("never hands out what the peer has closed", function()
        local sock, peer = connect()
        local fd = descriptor(sock)
        assert.are.equal(1, sock:setkeepalive())
        assert(ms.shutdown(peer, ms.SHUT_WR))
        wait_to_read(fd)
        assert.are.equal(0, (reconnect()))
        assert_closed(peer)
    end)

    it("never hands out what the peer has reset", function()
        local sock, peer = connect()
        local fd = descriptor(sock)
        assert.are.equal(1, sock:setkeepalive())
        assert(ms.setsockopt(peer, "SO_LINGER", 0))
        support.dup2(server, peer) -- closes it, and the number stays ours
        wait_to_read(fd)
        assert.are.equal(0, (reconnect()))
    end)

    it("never hands out what the peer talks on", function()
        local sock, peer = connect()
        local fd = descriptor(sock)
        assert.are.equal(1, sock:setkeepalive())
        assert(ms.write(peer, "unasked"))
        wait_to_read(fd)
        local times, other = reconnect()
        assert.are.equal(0, times)
        local fresh = support.keep(ms.accept(server, 5000))
        assert(ms.write(fresh, "asked"))
        assert.are.equal("asked", other:receive(5))
    end)

    it("passes over all the dead ones, to one that lives", function()
        local socks, peers, fds = {}, {}, {}
        for i = 1, 6 do
            socks[i], peers[i] = connect()
            fds[i] = descriptor(socks[i])
        end
        for i = 1, 6 do assert.are.equal(1, socks[i]:setkeepalive()) end
        for i = 2, 6 do
            if i % 2 == 0 then
                assert(ms.shutdown(peers[i], ms.SHUT_WR))
            else
                assert(ms.write(peers[i], "unasked"))
            end
            wait_to_read(fds[i])
        end
        local times, sock = reconnect()
        assert.are.equal(1, times)
        support.assert_talks(descriptor(sock), peers[1])
        assert.are.equal(0, (reconnect()))
    end)

    -----------------------------------------------------------------------
    -- Sizes and names
    -----------------------------------------------------------------------

    it("that is full closes the one that was idle longest", function()
        local socks, peers = {}, {}
        for i = 1, 4 do socks[i], peers[i] = connect({ pool_size = 2 }) end
        for i = 1, 4 do
            assert.are.equal(1, socks[i]:setkeepalive())
            for j = 1, i - 2 do assert_closed(peers[j]) end
            for j = math.max(1, i - 1), i do
                assert.is_true(is_open(peers[j]))
            end
        end
        -- The latest first.
        local _, latest = reconnect()
        support.assert_talks(descriptor(latest), peers[4])
        local _, other = reconnect()
        support.assert_talks(descriptor(other), peers[3])
        assert.are.equal(0, (reconnect()))
    end)

    it("has 30 places when nobody says", function()
        local socks, peers = {}, {}
        for i = 1, 31 do socks[i], peers[i] = connect() end
        for i = 1, 31 do assert.are.equal(1, socks[i]:setkeepalive()) end
        assert_closed(peers[1])
        for i = 2, 31 do assert.is_true(is_open(peers[i])) end
        for _ = 1, 30 do
            local times, sock = reconnect()
            assert.are.equal(1, times)
            socks[#socks + 1] = sock
        end
        assert.are.equal(0, (reconnect()))
    end)

    it("has a size of each name's own", function()
        local a, peer_a = connect({ pool = "a", pool_size = 1 })
        local b, peer_b = connect({ pool = "b", pool_size = 1 })
        assert.are.equal(1, a:setkeepalive())
        assert.are.equal(1, b:setkeepalive())
        assert.is_true(is_open(peer_a))
        assert.is_true(is_open(peer_b))
        assert.are.equal(0, (reconnect()))
        local times, sock = reconnect({ pool = "a" })
        assert.are.equal(1, times)
        support.assert_talks(descriptor(sock), peer_a)
    end)

    it("of a path is the path's", function()
        local path, other = support.tmpname(), support.tmpname()
        local one = support.keep(ms.bind(ms.unixaddr(path)))
        local two = support.keep(ms.bind(ms.unixaddr(other)))
        local sock = resty.tcp()
        assert.are.equal(1, sock:connect("unix:" .. path))
        local peer = support.keep(ms.accept(one, 5000))
        assert.are.equal(1, sock:setkeepalive())
        assert.are.equal(1, sock:connect("unix:" .. other))
        assert.are.equal(0, sock:getreusedtimes())
        support.keep(ms.accept(two, 5000))
        local again = resty.tcp()
        assert.are.equal(1, again:connect("unix:" .. path))
        assert.are.equal(1, again:getreusedtimes())
        support.assert_talks(descriptor(again), peer)
        -- The place of a name is another, were it the same path.
        assert.are.equal(1, again:setkeepalive())
        assert.are.equal(1, sock:connect("unix:" .. path, { pool = "mine" }))
        assert.are.equal(0, sock:getreusedtimes())
    end)

    it("of a name is for whoever says the name", function()
        local sock, peer = connect({ pool = "mine" })
        assert.are.equal(1, sock:setkeepalive())
        local other = resty.tcp()
        assert.are.equal(1, other:connect("127.0.0.1", 1, { pool = "mine" }))
        assert.are.equal(1, other:getreusedtimes())
        support.assert_talks(descriptor(other), peer)
    end)

    it("counts how often, and keeps no timeouts", function()
        local sock, peer = connect()
        for i = 1, 5 do
            assert.are.equal(1, sock:setkeepalive())
            local times
            times, sock = reconnect()
            assert.are.equal(i, times)
        end
        sock:settimeout(20)
        assert.are.same({ nil, "timeout", "" }, { sock:receive(1) })
        assert.is_true(is_open(peer))
    end)
end)

describe("minisock.resty's pool, in a process of its own:", function()
    before_each(support.setup)
    after_each(support.teardown)

    local PRELUDE = [==[
        local ffi = require "ffi"
        local ms = require "minisock"
        local process = require "spec.process"
        local resty = require "minisock.resty"

        ffi.cdef [[
        int spec_fork(void) __asm__("fork");
        int spec_waitpid(int, int *, int) __asm__("waitpid");
        void spec_exit(int) __asm__("_exit");
        ]]
        process.alarm(30)

        local server, addr = assert(ms.bind("127.0.0.1", 0))
        local port = ms.parseaddr(addr).port

        local function connect(options)
            local sock = resty.tcp()
            sock:settimeout(5000)
            assert(sock:connect("127.0.0.1", port, options))
            return sock
        end

        local function equal(expected, actual)
            if expected ~= actual then
                error(("expected %s, got %s")
                    :format(tostring(expected), tostring(actual)), 2)
            end
        end

        local function open(fd)
            local _, _, code = ms.read(fd, 0)
            return code == ms.ETIMEDOUT
        end

        local function talk(sock, peer)
            assert(ms.write(peer, "hello"))
            equal("hello", sock:receive(5))
            equal(2, sock:send("hi"))
            equal("hi", ms.read(peer, 5000, 2))
        end

        -- Runs in a child, and waits for it.
        local function in_child(act)
            local pid = ffi.C.spec_fork()
            assert(pid >= 0)
            if pid == 0 then
                local done, problem = xpcall(act, debug.traceback)
                if not done then io.stderr:write(problem, "\n") end
                ffi.C.spec_exit(done and 0 or 1)
            end
            local status = ffi.new("int[1]")
            equal(pid, ffi.C.spec_waitpid(pid, status, 0))
            equal(0, status[0])
        end

        local function unload()
            for name in pairs(package.loaded) do
                if name:find("^minisock") then package.loaded[name] = nil end
            end
            resty = nil
            jit.flush()
            collectgarbage()
            collectgarbage()
        end
    ]==]

    local function succeeds(program)
        local output, status = support.run(PRELUDE .. program)
        assert.are.equal("", output)
        assert.are.equal(0, status)
    end

    it("a forked one begins with an empty pool", function()
        succeeds [==[
            local sock = connect()
            local peer = assert(ms.accept(server, 5000))
            equal(1, sock:setkeepalive())
            in_child(function()
                local before = process.descriptors()
                local mine = connect()
                equal(0, mine:getreusedtimes())
                -- The inherited one is closed.
                equal(before, process.descriptors())
                local other = assert(ms.accept(server, 5000))
                talk(mine, other)
                equal(1, mine:setkeepalive())
                local again = connect()
                equal(1, again:getreusedtimes())
                talk(again, other)
            end)
            assert(open(peer))
            local again = connect()
            equal(1, again:getreusedtimes())
            talk(again, peer)
        ]==]
    end)

    it("a forked one's setkeepalive keeps nothing of its parent's", function()
        succeeds [==[
            local sock = connect({ pool_size = 1 })
            local peer = assert(ms.accept(server, 5000))
            equal(1, sock:setkeepalive())
            local sock = connect({ pool = "other" })
            local other = assert(ms.accept(server, 5000))
            in_child(function()
                local before = process.descriptors()
                -- Its own from now on, and in a pool of this process.
                equal(1, sock:setkeepalive())
                equal(before - 1, process.descriptors())
                equal(1, connect({ pool = "other" }):getreusedtimes())
                equal(0, connect():getreusedtimes())
            end)
            assert(open(peer))
            local again = connect()
            equal(1, again:getreusedtimes())
            talk(again, peer)
        ]==]
    end)

    it("forks of forks, and what comes after them", function()
        succeeds [==[
            local sock = connect()
            local peer = assert(ms.accept(server, 5000))
            equal(1, sock:setkeepalive())
            in_child(function()
                local mine = connect()
                local other = assert(ms.accept(server, 5000))
                equal(1, mine:setkeepalive())
                in_child(function()
                    local mine = connect()
                    equal(0, mine:getreusedtimes())
                    talk(mine, assert(ms.accept(server, 5000)))
                end)
                assert(open(other))
                equal(1, connect():getreusedtimes())
            end)
            assert(open(peer))
            equal(1, connect():getreusedtimes())
        ]==]
    end)

    it("1,000 names leave nothing in memory", function()
        succeeds [==[
            local function round(first, idle)
                for i = first, first + 999 do
                    local sock = connect({ pool = ("name"):rep(500) .. i })
                    local peer = assert(ms.accept(server, 5000))
                    equal(1, sock:setkeepalive(idle))
                    if not idle then
                        sock = connect({ pool = ("name"):rep(500) .. i })
                        equal(1, sock:getreusedtimes())
                        sock:close()
                    else
                        ms.msleep(0.05)
                    end
                    ms.close(peer)
                end
            end
            local function memory()
                ms.msleep(1)
                connect():close() -- what is idle for too long is closed
                collectgarbage()
                collectgarbage()
                return collectgarbage("count")
            end
            round(1, nil)
            local before, open = memory(), process.descriptors()
            round(1001, nil)
            round(2001, 0.01)
            local after = memory()
            equal(open, process.descriptors())
            -- The names alone would be 4,000 KiB.
            assert(after - before < 1000, after - before)
        ]==]
    end)

    it("a collected module closes what it keeps", function()
        succeeds [==[
            local before = process.descriptors()
            local socks, peers = {}, {}
            for i = 1, 20 do
                socks[i] = connect({ pool = "name" .. i % 3 })
                peers[i] = assert(ms.accept(server, 5000))
            end
            for _, sock in ipairs(socks) do equal(1, sock:setkeepalive(0)) end
            equal(before + 20 + 20, process.descriptors())
            socks = nil
            unload()
            for _, peer in ipairs(peers) do
                equal("", ms.read(peer, 5000))
                ms.close(peer)
            end
            equal(before, process.descriptors())
        ]==]
    end)

    it("a reload's pool is another", function()
        succeeds [==[
            local sock = connect()
            local peer = assert(ms.accept(server, 5000))
            equal(1, sock:setkeepalive(0))
            sock = nil
            unload()
            resty = require "minisock.resty"
            equal("", ms.read(peer, 5000))
            equal(0, connect():getreusedtimes())
        ]==]
    end)
end)
