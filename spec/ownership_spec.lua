-- One owner for a descriptor, whatever is done to the object: what went wrong
-- once.
local llsocket = require "minisock.llsocket"
local ms = require "minisock"
local socket = require "minisock.socket"
local support = require "spec.support"

describe("a socket", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("keeps the descriptor that it is given again", function()
        local sock = assert(socket.udp())
        sock:setfd(sock:getfd())
        local name = sock:getsockname()
        sock:close()
        assert.is_table(name)
    end)

    it("isn't made anew while it is connecting", function()
        local _, addr = support.listener()
        local sock = assert(socket.tcp())
        sock:settimeout(0)
        sock:connect("127.0.0.1", ms.parseaddr(addr).port)
        local bound = sock:bind("::1", 0)
        local family = ms.parseaddr(ms.getsockname(sock:getfd())).family
        sock:close()
        assert.is_nil(bound)
        assert.are.equal("inet", family)
    end)

    it("isn't made anew once it listens", function()
        local sock = assert(socket.tcp())
        sock:listen(1)
        sock:connect("::1", 1)
        local listening = ms.getsockopt(sock:getfd(), "SO_ACCEPTCONN")
        sock:close()
        assert.is_true(listening)
    end)

    it("gives what it has read ahead with its descriptor", function()
        local a, b = ms.socketpair()
        local sock = assert(socket.fromfd(a))
        ms.write(b, "line\nrest")
        sock:readline()
        local fd, rest = sock:detach()
        ms.close(fd)
        ms.close(b)
        assert.are.equal("rest", rest)
    end)

    it("finds lines in pieces that something else had waited for", function()
        local a, b = ms.socketpair()
        local sock = assert(socket.fromfd(a))
        sock:settimeout(0.05)
        ms.write(b, "one\ntwo")
        local early = sock:readexactly(100)
        ms.write(b, " and a half\nthree\n")
        local lines = { sock:readline(), sock:readline(), sock:readline() }
        sock:close()
        ms.close(b)
        assert.is_nil(early)
        assert.are.same({ "one", "two and a half", "three" }, lines)
    end)

    it("never connects to this machine for want of a host", function()
        local sock = assert(socket.tcp())
        local done, _, code = sock:connect("", 1)
        sock:close()
        assert.is_nil(done)
        assert.are.equal(ms.EAI_NONAME, code)
    end)

    it("knows its type whatever flags it was made with", function()
        local sock = assert(socket.socket(socket.AF_INET,
            socket.SOCK_DGRAM + socket.SOCK_NONBLOCK))
        local bound, problem = sock:bind("127.0.0.1", 0)
        sock:close()
        assert.is_true(bound, problem)
    end)
end)

describe("llsocket", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("hands on a descriptor that came with an empty message", function()
        local pair = assert(llsocket.socket.pair(llsocket.SOCK_SEQPACKET))
        pair[1]:sendmsg({ iov = "", fds = { pair[1]:fd() } })
        local fd = pair[2]:recvfd()
        pair[1]:close()
        pair[2]:close()
        assert.is_true(ms.close(fd))
    end)

    it("keeps the timeout of a copy when a closed one is asked", function()
        local pair = assert(llsocket.socket.pair(llsocket.SOCK_STREAM))
        local copy = pair[1]:dup()
        copy:rcvtimeo(0.05)
        pair[1]:close()
        pair[1]:recv()
        local _, _, again = copy:recv()
        copy:close()
        pair[2]:close()
        assert.is_true(again)
    end)

    it("takes address infos from before a hot reload", function()
        local output = support.run([[
            local old = require "minisock.llsocket"
            local ai = old.inet.getaddrinfo("127.0.0.1", "0",
                old.SOCK_STREAM)[1]
            for name in pairs(package.loaded) do
                if name:find("^minisock") then package.loaded[name] = nil end
            end
            local new = require "minisock.llsocket"
            local problem = new.socket.new(ai):bind()
            io.write(tostring(problem))
        ]])
        assert.are.equal("nil", output)
    end)
end)
