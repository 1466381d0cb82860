local lsocket = require "minisock.lsocket"
local luasocket = require "minisock.luasocket"
local ms = require "minisock"
local socket = require "minisock.socket"
local support = require "spec.support"
local unix = require "minisock.luasocket.unix"

-- A path ends at its first NUL, so one with more behind that is another's.
local CUT = "/tmp/minisock\0elsewhere"
local EINVAL = require("minisock.errors").text(ms.EINVAL)

local function listening()
    local sock = assert(luasocket.tcp4())
    assert(sock:bind("127.0.0.1", 0))
    assert(sock:listen())
    return sock
end

local function connected(server)
    local _, port = server:getsockname()
    return assert(luasocket.connect("127.0.0.1", port))
end

describe("a path that C would cut", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("is refused by lsocket", function()
        for _, make in ipairs { lsocket.bind, lsocket.connect } do
            assert.are.same({ nil, EINVAL }, { make(CUT) })
        end
        local sock = assert(lsocket.bind("udp", "@minisock-refusals"))
        assert.are.same({ nil, EINVAL }, { sock:sendto("x", CUT) })
        sock:close()
    end)

    it("is refused by luasocket", function()
        for _, method in ipairs { "bind", "connect" } do
            local sock = assert(unix.stream())
            assert.are.equal("Invalid argument",
                (select(2, sock[method](sock, CUT))))
            sock:close()
        end
    end)
end)

describe("an argument that can't be meant", function()
    before_each(support.setup)
    after_each(support.teardown)

    local function raises(expected, call, ...)
        local raised, message = pcall(call, ...)
        assert.is_false(raised)
        assert.are.equal(expected, message)
    end

    it("is refused by luasocket", function()
        local server = listening()
        local client = connected(server)
        raises("bad argument #2 to 'settimeout' (invalid timeout mode)",
            client.settimeout, client, 1, "x")
        raises("bad argument #1 to 'receive' (invalid receive pattern)",
            client.receive, client, "*x")
        raises("calling 'settimeout' on bad self (tcp{any} expected)",
            client.settimeout, {}, 1)
        client:close()
        server:close()
    end)

    it("is refused by socket's options", function()
        local sock = assert(socket.tcp())
        raises("bad argument #2 to 'setoption' (integer expected, got table)",
            sock.setoption, sock, "SO_RCVBUF", {})
        raises("bad argument #1 to 'setoption' (level or name of an option "
            .. "expected, got string)", sock.setoption, sock, "SO_NONE", 1)
        sock:close()
    end)
end)

describe("of two timeouts of luasocket's", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("the shorter one holds", function()
        local server = listening()
        local client = connected(server)
        for _, timeouts in ipairs { { 0.05, 30 }, { 30, 0.05 } } do
            client:settimeout(timeouts[1], "b")
            client:settimeout(timeouts[2], "t")
            local took, data, message = support.timed(client.receive, client)
            assert.are.same({ nil, "timeout" }, { data, message })
            assert.is_true(took >= 50 and took < 20000)
        end
        client:close()
        server:close()
    end)
end)
