--- luv, the package lua-luv: callbacks of libuv's loop. It writes by try_write
--- and try_send, without a request, wherever it can.
local bit = require "bit"
local store = require "bench.kept"
local uv = require "luv"

local band = bit.band
local kept, senders = store.data, store.senders

local library = {}

local function new(target)
    if target.path then return uv.new_pipe(false) end
    return uv.new_tcp()
end

local function connect_with(sock, target, done)
    if target.path then return sock:connect(target.path, done) end
    return assert(sock:connect(target.host, target.port, done))
end

local function connect(target)
    local sock = new(target)
    connect_with(sock, target, function(err)
        assert(not err, err)
        uv.stop()
    end)
    uv.run()
    if not target.path then assert(sock:nodelay(true)) end
    return sock
end

-- Blocking, for what writes and does nothing else.
local function connect_blocking(target)
    local sock = connect(target)
    assert(sock:set_blocking(true))
    return sock
end

function library.pingpong(target)
    local sock, message = connect(target), target.message
    local timeout, timer = target.timeout, uv.new_timer()
    local left, got = 0, 0
    assert(sock:read_start(function(err, data)
        assert(not err, err)
        kept[band(left, 63)] = data
        got = got + #data
        if got < 64 then return end
        got, left = 0, left - 1
        if left == 0 then return uv.stop() end
        if timeout then timer:again() end
        assert(sock:try_write(message))
    end))
    return function(n)
        left = n
        if timeout then
            timer:start(timeout, timeout, function() error "timeout" end)
        end
        assert(sock:try_write(message))
        uv.run()
        timer:stop()
    end
end

function library.getsockname(target)
    local sock = connect(target)
    return function(n)
        for i = 1, n do kept[band(i, 63)] = assert(sock:getsockname()) end
    end
end

function library.getpeername(target)
    local sock = connect(target)
    return function(n)
        for i = 1, n do kept[band(i, 63)] = assert(sock:getpeername()) end
    end
end

function library.getsockopt(target)
    local sock = connect(target)
    return function(n)
        for i = 1, n do
            kept[band(i, 63)] = assert(uv.recv_buffer_size(sock))
        end
    end
end

function library.write_byte(target)
    local sock = connect_blocking(target)
    return function(n)
        for _ = 1, n do assert(sock:try_write("x")) end
    end
end

function library.receive(target)
    local sock, left, i = connect(target), 0, 0
    local function got(err, data)
        assert(not err, err)
        kept[band(i, 15)] = data
        i, left = i + 1, left - #data
        if left > 0 then return end
        sock:read_stop()
        uv.stop()
    end
    return function(n)
        left = left + n * 65536
        if left <= 0 then return end
        sock:read_start(got)
        uv.run()
    end
end

function library.send(target)
    local sock, piece = connect_blocking(target), target.piece
    return function(n)
        for _ = 1, n do assert(sock:write(piece)) end
        uv.run("nowait")
    end
end

function library.gather(target)
    local sock, parts = connect_blocking(target), target.parts
    return function(n)
        for _ = 1, n do assert(sock:try_write(parts)) end
    end
end

function library.connect(target)
    local left, sock = 0
    local function again(err)
        assert(not err, err)
        if sock then
            left = left - 1
            sock:close()
        end
        sock = nil
        if left == 0 then return uv.stop() end
        sock = new(target)
        connect_with(sock, target, again)
    end
    return function(n)
        left = n
        again()
        uv.run()
    end
end

function library.accept(target)
    local server, left = new(target), 0
    assert(server:bind(target.path or target.host, target.port))
    assert(server:listen(4096, function(err)
        assert(not err, err)
        local sock = new(target)
        assert(server:accept(sock))
        sock:close()
        left = left - 1
        if left == 0 then uv.stop() end
    end))
    return function(n)
        left = left + n -- it may have accepted more than it had to
        if left > 0 then uv.run() end
    end
end

function library.sendto(target)
    local sock, message = uv.new_udp("inet"), target.message
    local host, port = target.host, target.port
    return function(n)
        for _ = 1, n do assert(sock:try_send(message, host, port)) end
    end
end

-- Up to that many datagrams of one system call.
local function receive_datagrams(target, mmsgs)
    local sock = uv.new_udp { family = "inet", mmsgs = mmsgs }
    local request, batch = target.message, target.batch
    local host, port = target.host, target.port
    local left, wanted = 0, 0
    assert(sock:bind("0.0.0.0", 0))
    assert(sock:recv_start(function(err, data, sender)
        assert(not err, err)
        if not data then return end
        kept[band(wanted, 63)], senders[band(wanted, 63)] = data, sender
        left, wanted = left - 1, wanted - 1
        if left == 0 then
            if wanted <= 0 then return uv.stop() end
            left = batch
            assert(sock:try_send(request, host, port))
        end
    end))
    return function(n)
        wanted, left = n, batch
        assert(sock:try_send(request, host, port))
        uv.run()
    end
end

function library.recvfrom(target)
    return receive_datagrams(target, 1)
end

function library.recvmany(target)
    return receive_datagrams(target, target.batch)
end

local function connect_many(target, sockets)
    for i = 1, target.sockets do sockets[i] = connect(target) end
    return sockets
end

function library.hold(target)
    return function(sockets) connect_many(target, sockets) end
end

function library.wait_epoll(target)
    local sockets, left = connect_many(target, {}), 0
    for _, sock in ipairs(sockets) do
        assert(sock:read_start(function(err)
            assert(not err, err)
            assert(sock:try_write("x"))
            left = left - 1
            if left == 0 then uv.stop() end
        end))
    end
    assert(sockets[1]:try_write("x"))
    return function(n)
        left = n
        uv.run()
    end
end

return library
