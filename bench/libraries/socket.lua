--- minisock.socket: socket objects.
local bit = require "bit"
local socket = require "minisock.socket"
local store = require "bench.kept"

local band = bit.band
local kept, senders = store.data, store.senders

local objects = {}

local function new(target)
    if not target.path then return assert(socket.tcp()) end
    return assert(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
end

local function connect(target)
    local sock = new(target)
    assert(sock:connect(target.path or target.host, target.port))
    if not target.path then assert(sock:setoption("TCP_NODELAY", true)) end
    if target.timeout then sock:settimeout(target.timeout / 1000) end
    return sock
end

function objects.pingpong(target)
    local sock, message = connect(target), target.message
    return function(n)
        for i = 1, n do
            assert(sock:write(message))
            local data, err = sock:read(64)
            assert(not err, err)
            kept[band(i, 63)] = data
        end
    end
end

function objects.getsockname(target)
    local sock = connect(target)
    return function(n)
        for i = 1, n do kept[band(i, 63)] = assert(sock:getsockname()) end
    end
end

function objects.getpeername(target)
    local sock = connect(target)
    return function(n)
        for i = 1, n do kept[band(i, 63)] = assert(sock:getpeername()) end
    end
end

function objects.getsockopt(target)
    local sock = connect(target)
    return function(n)
        for i = 1, n do
            kept[band(i, 63)] = assert(sock:getoption("SO_RCVBUF"))
        end
    end
end

function objects.write_byte(target)
    local sock = connect(target)
    return function(n)
        for _ = 1, n do assert(sock:write("x")) end
    end
end

function objects.read_small(target)
    local sock = connect(target)
    return function(n)
        for i = 1, n do kept[band(i, 63)] = assert(sock:readexactly(64)) end
    end
end

function objects.read_lines(target)
    local sock = connect(target)
    return function(n)
        for i = 1, n do kept[band(i, 63)] = assert(sock:readline()) end
    end
end

function objects.receive(target)
    local sock = connect(target)
    return function(n)
        local left, i = n * 65536, 0
        while left > 0 do
            local data, err = sock:read(65536)
            assert(not err, err)
            kept[band(i, 15)] = data
            i, left = i + 1, left - #data
        end
    end
end

function objects.send(target)
    local sock, piece = connect(target), target.piece
    return function(n)
        for _ = 1, n do assert(sock:write(piece)) end
    end
end

function objects.gather(target)
    local sock, parts = connect(target), target.parts
    local a, b, c = parts[1], parts[2], parts[3]
    return function(n)
        for _ = 1, n do assert(sock:write(a .. b .. c)) end
    end
end

function objects.connect(target)
    local host, port = target.path or target.host, target.port
    return function(n)
        for _ = 1, n do
            local sock = new(target)
            assert(sock:connect(host, port))
            sock:close()
        end
    end
end

function objects.accept(target)
    local server = new(target)
    assert(server:bind(target.path or target.host, target.port))
    assert(server:listen(4096))
    return function(n)
        for _ = 1, n do assert(server:accept()):close() end
    end
end

function objects.sendto(target)
    local sock, message = assert(socket.udp()), target.message
    local host, port = target.host, target.port
    return function(n)
        for _ = 1, n do assert(sock:sendto(message, host, port)) end
    end
end

function objects.recvfrom(target)
    local sock, request = assert(socket.udp()), target.message
    local host, port = target.host, target.port
    local batch, left = target.batch, 0
    return function(n)
        for i = 1, n do
            if left == 0 then
                assert(sock:sendto(request, host, port))
                left = batch
            end
            left = left - 1
            local data, sender = assert(sock:recvfrom())
            kept[band(i, 63)], senders[band(i, 63)] = data, sender
        end
    end
end

function objects.hold(target)
    return function(sockets)
        for i = 1, target.sockets do sockets[i] = connect(target) end
    end
end

return objects
