--- What an operation of the matrix finds before it, and what must be true after
--- it, be it that it succeeded or that it failed: every byte is where it should
--- be, once, and what was open is of use.
local ffi = require "ffi"
local faces = require "spec.faults.faces"
local ms = require "minisock"
local verdicts = require "spec.faults.verdicts"

local WAIT = 2000 -- ms

if not pcall(ffi.typeof, "struct spec_faults_situations") then
    ffi.cdef [[
    struct spec_faults_situations { int unused; };
    int spec_faults_pipe2(int *, int) __asm__("pipe2");
    ]]
end

---@class spec.faults.test
---@field face table of spec.faults.faces
---@field verdict spec.faults.verdict
---@field open function[] what closes what is open
---@field sock any the library's own socket that the operation is about
---@field peer integer a descriptor
local Test = {}
Test.__index = Test

--- Closes a descriptor when the test is over. Passes on all it got.
function Test:keep(fd, ...)
    assert(fd, (...))
    self.open[#self.open + 1] = function() ms.close(fd) end
    return fd, ...
end

--- The same, of a socket of the library's.
function Test:hold(sock, ...)
    assert(sock, (...))
    self.open[#self.open + 1] = function() self:close(sock) end
    return sock, ...
end

function Test:close(sock)
    self.face.of(sock):close()
end

function Test:close_all()
    for i = #self.open, 1, -1 do self.open[i]() end
end

local situations = { DATA = "0123456789", WAIT = WAIT }
local DATA = situations.DATA

---@param library string
---@return spec.faults.test
function situations.new(library)
    return setmetatable({
        face = faces[library], verdict = verdicts[library], open = {},
    }, Test)
end

-- Reads from a descriptor up to an end mark, or to the end of the stream.
local function read_to(fd, mark)
    local seen = ""
    repeat
        local piece = assert(ms.read(fd, WAIT))
        seen = seen .. piece
    until piece == "" or mark and seen:sub(-#mark) == mark
    return seen
end

local function equal(expected, actual, what)
    if expected ~= actual then
        error(("%s: expected %q, got %q")
            :format(what, tostring(expected), tostring(actual)), 0)
    end
end

local function hear(expected, listener, what)
    local heard = ""
    while #heard < #expected do heard = heard .. assert(listener:recv()) end
    equal(expected, heard, what)
end

local function talks(test, sock, peer)
    local here, there = test.face.of(sock), faces.core.of(peer)
    assert(here:send("ping"))
    hear("ping", there, "sent afterwards")
    assert(there:send("pong"))
    hear("pong", here, "received afterwards")
end

local function connect(test)
    local server, addr = test:keep(ms.bind("127.0.0.1", 0))
    test.port = ms.parseaddr(addr).port
    local place = { host = "127.0.0.1", port = test.port }
    test.sock = test:hold(assert(test.face.connect(place, WAIT)).sock)
    test.peer = test:keep(ms.accept(server, WAIT))
end

--- Nothing before, and after it what was made is closed.
situations.making = {
    prepare = function() end,
    settle = function(test, results, done)
        if done then test:close(results[1]) end
    end,
}

--- The same for something that isn't to be closed.
situations.asking = {
    prepare = function() end,
    settle = function() end,
}

--- A TCP connection, which is of use afterwards.
situations.connected = {
    prepare = connect,
    settle = function(test) talks(test, test.sock, test.peer) end,
}

--- A TCP connection that nothing is asked of afterwards.
situations.closing = {
    prepare = connect,
    settle = function() end,
}

--- One that has DATA to be read.
situations.reading = {
    stream = true,
    prepare = function(test)
        connect(test)
        assert(ms.sendall(test.peer, DATA))
    end,
    settle = function(test, results, done, op)
        local here = test.face.of(test.sock)
        local partial = test.verdict.partial
        local seen = op.got and op.got(results, test)
            or done and results[1] or partial and partial(results) or ""
        if not done and test.verdict.fatal then
            equal(DATA:sub(1, #seen), seen, "read")
            equal(nil, (here:recv()), "read afterwards")
            return
        end
        assert(ms.sendall(test.peer, "!"))
        while seen:sub(-1) ~= "!" do
            seen = seen .. assert(here:recv())
        end
        equal(DATA .. "!", seen, "read in all")
        talks(test, test.sock, test.peer)
    end,
}

--- One that has DATA, a line, and then its end: the system wouldn't say EAGAIN
--- again and again, when poll says that it has ended.
situations.reading_to_the_end = {
    stream = true, ends = true,
    prepare = function(test)
        connect(test)
        assert(ms.sendall(test.peer, DATA .. "\n"))
        assert(ms.shutdown(test.peer, ms.SHUT_WR))
    end,
    settle = function(test, results, done, op)
        local here = test.face.of(test.sock)
        local partial = test.verdict.partial
        local seen = op.got and op.got(results, test)
            or done and results[1] or partial and partial(results) or ""
        local whole = DATA .. "\n"
        if done then whole = op.whole or whole end
        if not done and not test.verdict.fatal then
            local more
            repeat
                more = here:recv()
                seen = seen .. (more or "")
            until not more
            equal(whole, seen, "read in all")
        else
            equal(done and whole or whole:sub(1, #seen), seen, "read")
        end
    end,
}

-- What arrived is what the operation says that it has sent.
local function settle_writing(test, results, done, op)
    local sent
    if done then
        sent = op.count and op.count(results) or results[1]
    else
        sent = test.verdict.sent and test.verdict.sent(results) or nil
    end
    local dead = not done and test.verdict.fatal
    if not dead then assert(test.face.of(test.sock):send("!")) end
    test:close(test.sock)
    local seen = read_to(test.peer)
    if not dead then
        equal("!", seen:sub(-1), "the last byte")
        seen = seen:sub(1, -2)
    end
    equal(DATA:sub(1, sent or #seen), seen, "arrived")
end

--- A TCP connection to which DATA is to be written.
situations.writing = {
    stream = true,
    prepare = connect,
    settle = settle_writing,
}

-- With a pipe these say ENOTSOCK, and nothing else.
local NO_SOCKET = "recv send sendmsg"

local pair = ffi.new("int[2]")

local function pipe(test)
    assert(ffi.C.spec_faults_pipe2(pair, ms.SOCK_CLOEXEC) == 0)
    local from, to = pair[0], pair[1]
    return test:keep(from), to
end

--- The two ends of a pipe, which has DATA to be read.
situations.reading_pipe = {
    stream = true, not_counted = NO_SOCKET,
    prepare = function(test)
        test.sock, test.peer = pipe(test)
        test:keep(test.peer)
        assert(ms.write(test.peer, DATA))
    end,
    settle = function(test, results, done)
        local seen = done and results[1] or ""
        assert(ms.write(test.peer, "!"))
        equal(DATA .. "!", seen .. read_to(test.sock, "!"), "read in all")
    end,
}

--- A pipe to which DATA is to be written.
situations.writing_pipe = {
    stream = true, not_counted = NO_SOCKET,
    prepare = function(test)
        test.peer, test.sock = pipe(test)
    end,
    settle = settle_writing,
}

--- A pipe that nobody reads.
situations.broken_pipe = {
    not_counted = NO_SOCKET,
    prepare = function(test)
        test.peer, test.sock = pipe(test)
        test:keep(test.sock)
        test.open[1] = function() end
        assert(ms.close(test.peer))
    end,
    settle = function() end,
}

--- A listener, and a client that waits to be accepted.
situations.accepting = {
    prepare = function(test, op)
        if op.listen then
            local port
            test.sock, port = op.listen(test)
            test.addr = ms.inetaddr("127.0.0.1", port)
        else
            test.sock, test.addr = test:keep(ms.bind("127.0.0.1", 0))
        end
        test.client = test:keep(ms.connect(test.addr, nil, WAIT))
    end,
    settle = function(test, results, done, op)
        local accepted = done and results[1] or op.act(test)
        assert(accepted, "not accepted afterwards")
        talks(test, test:hold(accepted), test.client)
    end,
}

--- A listener; what connects to it is of use.
situations.connecting = {
    prepare = function(test)
        test.server, test.addr = test:keep(ms.bind("127.0.0.1", 0))
        test.port = ms.parseaddr(test.addr).port
    end,
    settle = function(test, results, done, op)
        local sock = done and (op.client and test.client or results[1])
        if not sock then return end
        if not op.client then test:hold(sock) end
        talks(test, sock, test:keep(ms.accept(test.server, WAIT)))
    end,
}

--- The same for a Unix socket, of an abstract name.
situations.connecting_unix = {
    prepare = function(test)
        situations.serial = (situations.serial or 0) + 1
        test.path = ("@spec_faults_%d_%d"):format(
            require("minisock.owner").process(), situations.serial)
        test.addr = assert(ms.unixaddr(test.path))
        test.server = test:keep(ms.bind(test.addr))
    end,
    settle = situations.connecting.settle,
}

local function bound(test)
    local fd = test:keep(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
    return fd, ms.getsockname(fd)
end

local function receive_all(fd)
    local seen = {}
    repeat
        local data = ms.recvfrom(fd, 0)
        seen[#seen + 1] = data and ("[%s]"):format(data)
    until not data
    return table.concat(seen)
end

--- Two UDP sockets of which one has datagrams to be received.
situations.receiving = {
    prepare = function(test, op)
        test.sock, test.addr = bound(test)
        test.peer, test.peer_addr = bound(test)
        if op.object then op.object(test) end
        for _, data in ipairs({ "one", "", "three" }) do
            assert(ms.sendto(test.peer, test.addr, data))
        end
    end,
    settle = function(test, results, done, op)
        local seen = ""
        if op.got then
            seen = op.got(results, test)
        elseif done then
            seen = ("[%s]"):format(results[1])
        end
        equal("[one][][three]", seen .. receive_all(test.sock), "received")
    end,
}

--- Two UDP sockets of which one is to send a datagram, or a list of these.
situations.sending = {
    prepare = function(test, op)
        test.sock, test.addr = bound(test)
        test.peer, test.peer_addr = bound(test)
        if op.object then op.object(test) end
    end,
    settle = function(test, results, done, op)
        local expected = done and "[data]" or ""
        if op.sent then expected = op.sent(results, done) end
        equal(expected, receive_all(test.peer), "arrived")
        assert(ms.sendto(test.sock, test.peer_addr, "more"))
        equal("[more]", receive_all(test.peer), "arrived afterwards")
    end,
}

return situations
