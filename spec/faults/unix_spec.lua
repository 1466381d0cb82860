local faults = require "spec.faults.support"
local lfs = require "lfs"
local faces = require "spec.faults.faces"
local ms = require "minisock"
local support = require "spec.support"

local each, hold = faults.each, faults.hold

-- A path of so many bytes, removed after the test.
local function path_of(size)
    local path = support.tmpname()
    path = path .. ("x"):rep(size - #path)
    support.remove(path)
    return path
end

local count = 0
local function abstract()
    count = count + 1
    return ("\0minisock %s %d"):format(os.tmpname():gsub("^.*/", ""), count)
end

describe("Unix sockets:", function()
    before_each(faults.setup)
    after_each(faults.teardown)

    each("case 54: a path may have 108 bytes", "connect", function(library)
        local path = path_of(108)
        local server = support.keep(ms.bind(ms.unixaddr(path)))
        assert.are.equal(path, faults.place(server).path)
        assert.are.equal(ms.unixaddr(path), ms.getsockname(server))
        local here = hold(library.connect({ path = path }))
        assert.are.equal(path,
            ms.parseaddr(ms.getpeername(here:fd())).path)
        local peer = support.keep(ms.accept(server, 2000))
        here:send("x")
        assert.are.equal("x", ms.read(peer, 2000))
    end)

    each("case 54: a listener's too", "listen", function(library)
        local path = path_of(108)
        local server = hold(library.listen({ path = path }))
        assert.are.equal(path, faults.place(server:fd()).path)
        support.keep(ms.connect(ms.unixaddr(path)))
        hold(server:accept())
    end)

    for _, call in ipairs({ "connect", "listen", "sender", "receiver" }) do
        each("case 55: 109 are too many, and not cut, for a " .. call, call,
            function(library)
                local path = path_of(109)
                if call == "connect" then
                    support.keep(ms.bind(ms.unixaddr(path:sub(1, 108))))
                end
                local sock, why = library[call]({ path = path })
                assert.is_nil(sock)
                assert.are.equal("ENAMETOOLONG", why)
                assert.are.equal(call == "connect" and "socket" or nil,
                    lfs.attributes(path:sub(1, 108), "mode"))
                support.remove(path:sub(1, 108))
            end, "core")
    end

    it("case 55: nor for a raw address", function()
        assert.are.equal(ms.ENAMETOOLONG,
            select(3, ms.unixaddr(("x"):rep(109))))
        assert.are.equal(ms.ENAMETOOLONG,
            select(3, ms.unixaddr("\0" .. ("x"):rep(108))))
        assert.are.equal(110, #ms.unixaddr("\0" .. ("x"):rep(107)))
    end)

    each("case 56: an abstract name is byte for byte what it is", "connect",
        function(library)
            local name = abstract() .. "\0with\0NULs\0"
            local server = support.keep(ms.bind(ms.unixaddr(name)))
            assert.are.equal(name, faults.place(server).path)
            local here = hold(library.connect({ path = name }))
            assert.are.equal(name,
                ms.parseaddr(ms.getpeername(here:fd())).path)
            for _, other in ipairs({ name .. "\0", name:sub(1, -2) }) do
                local sock, why = library.connect({ path = other })
                assert.is_nil(sock)
                assert.are.equal("ECONNREFUSED", why)
            end
        end)

    it("case 57: a padded name is another one", function()
        local name = abstract()
        local padded = name .. ("\0"):rep(108 - #name)
        support.keep(ms.bind(ms.unixaddr(name)))
        assert.are.equal(ms.ECONNREFUSED,
            select(3, ms.connect(ms.unixaddr(padded))))
        support.keep(ms.bind(ms.unixaddr(padded)))
        support.keep(ms.connect(ms.unixaddr(padded)))
        assert.are.equal(2 + #name, #ms.unixaddr(name))
    end)

    it("case 58: without a name, bind makes one", function()
        local fd = support.keep(ms.socket(ms.AF_UNIX, ms.SOCK_DGRAM))
        assert.is_true(ms.bindfd(fd, ms.unixaddr("")))
        local name = faults.place(fd).path
        assert.matches("^%z%x%x%x%x%x$", name)
        local sender = support.keep(ms.socket(ms.AF_UNIX, ms.SOCK_DGRAM))
        ms.sendto(sender, ms.unixaddr(name), "x")
        assert.are.equal("x", ms.read(fd, 2000))
    end)

    -- A socket that nobody listens on any more, and what else can be there.
    each("case 59: what is in the way stays there", "listen",
        function(library)
            local stale = support.tmpname()
            ms.close(ms.bind(ms.unixaddr(stale)))
            local file = support.spit(support.tmpname(), "text")
            for _, path in ipairs({ stale, file }) do
                local before = lfs.attributes(path, "ino")
                local sock, why = library.listen({ path = path })
                assert.is_nil(sock)
                assert.are.equal("EADDRINUSE", why)
                assert.are.equal(before, lfs.attributes(path, "ino"))
            end
            assert.are.equal("text", support.slurp(file))
        end)

    each("case 59: what was bound stays after a close", "listen",
        function(library)
            local path = support.tmpname()
            hold(library.listen({ path = path })):close()
            assert.are.equal("socket", lfs.attributes(path, "mode"))
        end)

    each("case 59: a client is told what is there instead", "connect",
        function(library)
            local stale = support.tmpname()
            ms.close(ms.bind(ms.unixaddr(stale)))
            local file = support.spit(support.tmpname(), "")
            for path, expected in pairs({
                [stale] = "ECONNREFUSED", [file] = "ECONNREFUSED",
                [support.tmpname()] = "ENOENT",
            }) do
                local sock, why = library.connect({ path = path })
                assert.is_nil(sock)
                assert.are.equal(expected, why)
            end
        end)

    it("case 59: an address without a name is nobody's", function()
        assert.are.equal(ms.EINVAL, select(3, ms.connect(ms.unixaddr(""))))
    end)

    it("case 60: a NUL after a path changes nothing", function()
        local path = support.tmpname()
        local addr = ms.unixaddr(path)
        local fd = support.keep(ms.bind(addr .. "\0"))
        assert.are.equal(path, faults.place(fd).path)
        for _, form in ipairs({ addr, addr .. "\0", addr .. "\0rest" }) do
            assert.are.equal(path, ms.parseaddr(form).path)
            support.keep(ms.connect(form))
        end
    end)

    -- The kernel says EAGAIN, of which poll knows nothing.
    each("case 61: for room in a full queue it waits, to its deadline",
        "connect", function(library)
            local server, place = faults.unix_listener({ backlog = 0 })
            support.keep(ms.connect(faces.raw(place)))
            local took, sock, why =
                support.timed(library.connect, place, 100)
            assert.is_nil(sock)
            if library.name == "lsocket" then -- which never waits
                assert.are.equal("again", why)
            else
                assert.are.equal(
                    library.name == "llsocket" and "again" or "timeout", why)
                assert.is_true(took >= 100, took)
            end
            support.keep(ms.accept(server))
            hold(library.connect(place, 100))
        end)

    each("case 62: streams and datagrams are no match", "connect",
        function(library)
            local path = support.tmpname()
            support.keep(ms.udpsocket(ms.unixaddr(path)))
            local sock, why = library.connect({ path = path })
            assert.is_nil(sock)
            assert.are.equal("EPROTOTYPE", why)
        end)

    each("case 62: nor the other way round", "sender", function(library)
        local _, place = faults.unix_listener()
        local sock, why = library.sender(place)
        assert.is_nil(sock)
        assert.are.equal("EPROTOTYPE", why)
    end)
end)
