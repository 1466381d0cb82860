--- The operations of LuaSocket's API, for LuaSocket and for what stands in for
--- it.
local bit = require "bit"
local store = require "bench.kept"

local band = bit.band
local kept, senders = store.data, store.senders

-- Of the two modules, socket and unix, and the target.
local operations = {}

local function new(api, target)
    if target.path then return assert(api.unix.stream()) end
    return assert(api.socket.tcp())
end

local function connect(api, target)
    local sock = new(api, target)
    assert(sock:connect(target.path or target.host, target.port))
    if not target.path then assert(sock:setoption("tcp-nodelay", true)) end
    if target.timeout then sock:settimeout(target.timeout / 1000) end
    return sock
end

function operations.pingpong(api, target)
    local sock, message = connect(api, target), target.message
    return function(n)
        for i = 1, n do
            assert(sock:send(message))
            kept[band(i, 63)] = assert(sock:receive(64))
        end
    end
end

function operations.getsockname(api, target)
    local sock = connect(api, target)
    return function(n)
        for i = 1, n do kept[band(i, 63)] = assert(sock:getsockname()) end
    end
end

function operations.getpeername(api, target)
    local sock = connect(api, target)
    if not sock.getpeername then return nil end
    return function(n)
        for i = 1, n do kept[band(i, 63)] = assert(sock:getpeername()) end
    end
end

function operations.getsockopt(api, target)
    local sock = connect(api, target)
    local name = "recv-buffer-size"
    if not pcall(sock.getoption, sock, name) then return nil end
    return function(n)
        for i = 1, n do kept[band(i, 63)] = assert(sock:getoption(name)) end
    end
end

function operations.write_byte(api, target)
    local sock = connect(api, target)
    return function(n)
        for _ = 1, n do assert(sock:send("x")) end
    end
end

function operations.read_small(api, target)
    local sock = connect(api, target)
    return function(n)
        for i = 1, n do kept[band(i, 63)] = assert(sock:receive(64)) end
    end
end

function operations.read_lines(api, target)
    local sock = connect(api, target)
    return function(n)
        for i = 1, n do kept[band(i, 63)] = assert(sock:receive("*l")) end
    end
end

function operations.receive(api, target)
    local sock = connect(api, target)
    return function(n)
        for i = 1, n do kept[band(i, 15)] = assert(sock:receive(65536)) end
    end
end

function operations.send(api, target)
    local sock, piece = connect(api, target), target.piece
    return function(n)
        for _ = 1, n do assert(sock:send(piece)) end
    end
end

function operations.gather(api, target)
    local sock, parts = connect(api, target), target.parts
    local a, b, c = parts[1], parts[2], parts[3]
    return function(n)
        for _ = 1, n do assert(sock:send(a .. b .. c)) end
    end
end

function operations.connect(api, target)
    local host, port = target.path or target.host, target.port
    return function(n)
        for _ = 1, n do
            local sock = new(api, target)
            assert(sock:connect(host, port))
            sock:close()
        end
    end
end

function operations.accept(api, target)
    local server = new(api, target)
    assert(server:bind(target.path or target.host, target.port))
    assert(server:listen(4096))
    return function(n)
        for _ = 1, n do assert(server:accept()):close() end
    end
end

function operations.sendto(api, target)
    local sock, message = assert(api.socket.udp()), target.message
    local host, port = target.host, target.port
    return function(n)
        for _ = 1, n do assert(sock:sendto(message, host, port)) end
    end
end

function operations.recvfrom(api, target)
    local sock, request = assert(api.socket.udp()), target.message
    local host, port = target.host, target.port
    local batch, left = target.batch, 0
    return function(n)
        for i = 1, n do
            if left == 0 then
                assert(sock:sendto(request, host, port))
                left = batch
            end
            left = left - 1
            local data, sender = assert(sock:receivefrom())
            kept[band(i, 63)], senders[band(i, 63)] = data, sender
        end
    end
end

local function connect_many(api, target, sockets)
    for i = 1, target.sockets do sockets[i] = connect(api, target) end
    return sockets
end

function operations.hold(api, target)
    return function(sockets) connect_many(api, target, sockets) end
end

function operations.wait_poll(api, target)
    if target.sockets + 16 > api.socket._SETSIZE then return nil end
    local sockets = connect_many(api, target, {})
    assert(sockets[1]:send("x"))
    return function(n)
        for _ = 1, n do
            local ready = api.socket.select(sockets)
            for i = 1, #ready do
                assert(ready[i]:receive(1))
                assert(ready[i]:send("x"))
            end
        end
    end
end

--- Makes the library of two modules: socket and socket.unix.
return function(socket, unix)
    local api, library = { socket = socket, unix = unix }, {}
    for name, operation in pairs(operations) do
        library[name] = function(target) return operation(api, target) end
    end
    return library
end
