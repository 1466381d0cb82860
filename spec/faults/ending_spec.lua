local faults = require "spec.faults.support"
local luasocket = require "minisock.luasocket"
local lsocket = require "minisock.lsocket"
local ms = require "minisock"
local poller = require "minisock.poller"
local pollset = require "minisock.pollset"
local socket = require "minisock.socket"
local support = require "spec.support"

local each, hold = faults.each, faults.hold

-- How a connection's end is told. LuaSocket has one word for every end.
local function ended(library)
    return library.name == "luasocket" and "closed" or "end"
end

local function was_reset(library)
    return library.name == "luasocket" and "closed" or "ECONNRESET"
end

-- How a send is refused, to a peer that is gone.
local function refusal(library)
    local words = { luasocket = "closed", llsocket = "closed" }
    return words[library.name] or "EPIPE"
end

local function assert_refused(library, here)
    local sent, why = here:send("x")
    assert.is_nil(sent)
    assert.are.equal(refusal(library), why)
end

local function assert_ends(library, here)
    local data, why = here:recv()
    assert.is_nil(data)
    assert.are.equal(ended(library), why)
end

describe("ends of connections:", function()
    before_each(faults.setup)
    after_each(faults.teardown)

    each("case 14: FIN is the end of the stream, again and again", "connect",
        function(library)
            local here, peer = faults.connection(library)
            ms.close(peer)
            assert.are.equal("IN RDHUP",
                faults.revents(here:fd(), ms.POLLIN + ms.POLLRDHUP))
            assert_ends(library, here)
            assert_ends(library, here)
        end)

    each("case 15: a reset is told once, and is no clean end", "connect",
        function(library)
            local here, peer = faults.connection(library)
            faults.reset(peer)
            faults.settle(here:fd())
            assert.are.equal("ERR HUP IN OUT RDHUP",
                faults.revents(here:fd(), faults.ALL))
            local data, why = here:recv()
            assert.is_nil(data)
            assert.are.equal(was_reset(library), why)
            assert_ends(library, here)
            assert_refused(library, here)
        end)

    -- It says "closed" either way; but not that this is all there was.
    it("case 15: luasocket's *a tells a reset from the end", function()
        for _, reset in ipairs({ true, false }) do
            local here, peer =
                faults.connection(faults.faces.luasocket)
            ms.write(peer, "part")
            support.wait_for("data", function()
                return here.sock:receive(0) == ""
            end)
            if reset then faults.reset(peer) else ms.close(peer) end
            faults.settle(here:fd(), ms.POLLRDHUP)
            local all, why, part = here.sock:receive("*a")
            if reset then
                assert.is_nil(all)
                assert.are.equal("closed", why)
                assert.are.equal("part", part)
            else
                assert.are.equal("part", all)
            end
        end
    end)

    -- readinto, recvfrom, recvmsg and recvmany have their own ways there.
    for name, call in pairs({
        readinto = function(fd)
            return ms.readinto(fd, require("ffi").new("char[9]"), 2000, 9)
        end,
        recvfrom = function(fd) return ms.recvfrom(fd, 2000) end,
        recvmsg = function(fd) return ms.recvmsg(fd, 2000) end,
        recvmany = function(fd)
            return ms.recvmany(fd, require("minisock.batch").new(2), 2000)
        end,
    }) do
        it("case 15: a reset is told once by " .. name, function()
            local here, peer = faults.connection(faults.faces.core)
            faults.reset(peer)
            faults.settle(here:fd())
            local result, _, code = call(here:fd())
            assert.is_nil(result)
            assert.are.equal(ms.ECONNRESET, code)
            assert.is_truthy(call(here:fd()))
        end)
    end

    each("case 16: what came before a reset is read first", "connect",
        function(library)
            local here, peer = faults.connection(library)
            ms.write(peer, "last words")
            faults.reset(peer)
            faults.settle(here:fd(), ms.POLLRDHUP)
            assert.are.equal("last words", here:recv())
            local data, why = here:recv()
            assert.is_nil(data)
            assert.are.equal(was_reset(library), why)
        end)

    it("case 16: readline and readexactly keep it for another try", function()
        for _, call in ipairs({ "readline", "readexactly" }) do
            local here, peer = faults.connection(faults.faces.socket)
            ms.write(peer, "last words")
            faults.reset(peer)
            faults.settle(here:fd(), ms.POLLRDHUP)
            local data, _, code = here.sock[call](here.sock, 100)
            assert.is_nil(data)
            assert.are.equal(ms.ECONNRESET, code)
            assert.are.equal("last words", here.sock:read(100))
        end
    end)

    it("case 16: resty and luasocket give it beside the reason", function()
        for _, name in ipairs({ "resty", "luasocket" }) do
            local here, peer = faults.connection(faults.faces[name])
            ms.write(peer, "last words")
            faults.reset(peer)
            faults.settle(here:fd(), ms.POLLRDHUP)
            local data, _, part = here.sock:receive(100)
            assert.is_nil(data)
            assert.are.equal("last words", part)
        end
    end)

    each("case 17: a close with unread data is a reset for the peer",
        "connect", function(library)
            local here, peer = faults.connection(library)
            ms.write(peer, "unread")
            faults.settle(here:fd())
            here:close()
            assert.are.equal(ms.ECONNRESET, select(3, ms.read(peer, 2000)))
        end)

    each("case 18: after a shutdown for sending, the answer is read",
        "connect", function(library)
            local here, peer = faults.connection(library)
            assert.are.equal(4, here:send("ask?"))
            assert.is_truthy(here:finish())
            faults.settle(peer, ms.POLLRDHUP)
            assert.are.equal("IN OUT RDHUP",
                faults.revents(peer, faults.ALL))
            assert.are.equal("ask?", faults.drain(peer))
            ms.write(peer, "answer")
            assert.are.equal("answer", here:recv())
            assert_refused(library, here)
        end)

    each("case 18: to a peer that has finished, more can be sent", "connect",
        function(library)
            local here, peer = faults.connection(library)
            ms.shutdown(peer, ms.SHUT_WR)
            assert_ends(library, here)
            here:send("answer")
            assert.are.equal("answer", ms.read(peer, 2000))
        end)

    each("case 19: when both have finished, that is something to read",
        "connect", function(library)
            local here, peer = faults.connection(library)
            here:finish()
            ms.shutdown(peer, ms.SHUT_WR)
            faults.settle(here:fd(), 0)
            assert.are.equal("HUP", faults.revents(here:fd(), 0))
            assert_ends(library, here)
        end)

    -- With the events 0, all that can come is HUP.
    it("case 19: HUP comes unasked, by all that poll", function()
        local here, peer = faults.connection(faults.faces.core)
        here:finish()
        ms.shutdown(peer, ms.SHUT_WR)
        local set = pollset.new()
        set:add(here:fd(), 0)
        assert.are.equal(1, set:wait(2000))
        for _, _, revents in set:ready() do
            assert.are.equal(ms.POLLHUP, revents)
        end
        local watch = assert(poller.new())
        assert(watch:add(here:fd(), 0, "value"))
        assert.are.equal(1, watch:wait(2000))
        local value, events = watch:ready(1)
        watch:close()
        assert.are.equal("value", value)
        assert.are.equal(poller.EPOLLHUP or ms.EPOLLHUP, events)
    end)

    for name, select in pairs({
        luasocket = luasocket.select, lsocket = lsocket.select,
    }) do
        it("case 19: HUP is something to read by select of " .. name,
            function()
                local library = faults.faces[name]
                local here, peer = faults.connection(library)
                here:finish()
                ms.shutdown(peer, ms.SHUT_WR)
                faults.settle(here:fd(), 0)
                assert.are.equal(here.sock,
                    select({ here.sock }, {}, 2)[1])
            end)
    end

    each("case 20: a second shutdown is no error", "connect",
        function(library)
            local here = faults.connection(library)
            assert.is_truthy(here:finish())
            assert.is_truthy(here:finish())
        end)

    it("case 20: one of what isn't connected is", function()
        local fd = support.keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        assert.are.equal(ms.ENOTCONN, select(3, ms.shutdown(fd)))
        local sock = hold(socket.tcp())
        assert.are.equal(ms.ENOTCONN,
            select(3, sock:shutdown(ms.SHUT_WR)))
    end)

    -- LuaSocket's servers have no shutdown.
    each("case 20: a listener that was shut down accepts no more", "listen",
        function(library)
            local here = hold(library.listen({
                host = "127.0.0.1", port = 0,
            }))
            assert.is_true(ms.shutdown(here:fd()))
            assert.are.equal("HUP", faults.revents(here:fd(), 0))
            local client, why = here:accept()
            assert.is_nil(client)
            assert.are.equal("EINVAL", why)
        end)

    it("case 21: a shutdown after a reset fails", function()
        for _, name in ipairs({ "core", "socket" }) do
            local here, peer = faults.connection(faults.faces[name])
            faults.reset(peer)
            faults.settle(here:fd())
            assert.are.equal(ms.ENOTCONN, select(3, here:finish()))
        end
    end)

    each("case 21: a close after a reset doesn't", "connect",
        function(library)
            local before = support.count_descriptors()
            local here, peer = faults.connection(library)
            faults.reset(peer)
            faults.settle(here:fd())
            local _, problem
            if library.name == "core" then
                _, problem = ms.close(here.sock)
                here.close = function() end
            else
                _, problem = here.sock:close()
            end
            assert.is_nil(problem)
            assert.are.equal(before + 1, support.count_descriptors())
        end)

    it("case 21: llsocket tells of the shutdown, and closes", function()
        local here, peer = faults.connection(faults.faces.llsocket)
        local fd = here:fd()
        faults.reset(peer)
        faults.settle(fd)
        assert.are.equal("ENOTCONN",
            faults.faces.word(here.sock:close(ms.SHUT_RDWR)))
        assert.are.equal(-1, here:fd())
        assert.are.equal(ms.EBADF, select(3, ms.getsockname(fd)))
    end)

    -- The first goes into the queue: that it was sent says nothing of the peer.
    each("case 22: the second send to a closed peer fails", "connect",
        function(library)
            local here, peer = faults.connection(library)
            ms.close(peer)
            faults.settle(here:fd())
            assert.are.equal(1, here:send("x"))
            faults.settle(here:fd(), 0) -- the answer is a reset
            assert_refused(library, here)
        end)
end)
