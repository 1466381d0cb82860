--- luaposix, the package lua-posix: descriptors, as in C.
local bit = require "bit"
local posix = require "posix"
local store = require "bench.kept"

local band = bit.band
local kept, senders = store.data, store.senders

local library = {}

local function address(target)
    if target.path then
        return { family = posix.AF_UNIX, path = target.path }
    end
    return { family = posix.AF_INET, addr = target.host, port = target.port }
end

local function new(target)
    local family = target.path and posix.AF_UNIX or posix.AF_INET
    return assert(posix.socket(family, posix.SOCK_STREAM, 0))
end

local function connect(target)
    local fd, timeout = new(target), target.timeout
    assert(posix.connect(fd, address(target)))
    if not target.path then
        assert(posix.setsockopt(fd, posix.IPPROTO_TCP, posix.TCP_NODELAY, 1))
    end
    if timeout then
        assert(posix.setsockopt(fd, posix.SOL_SOCKET, posix.SO_RCVTIMEO,
            math.floor(timeout / 1000), timeout % 1000 * 1000))
    end
    return fd
end

function library.pingpong(target)
    local fd, message = connect(target), target.message
    return function(n)
        for i = 1, n do
            assert(posix.send(fd, message))
            kept[band(i, 63)] = assert(posix.recv(fd, 64))
        end
    end
end

function library.getsockname(target)
    local fd = connect(target)
    return function(n)
        for i = 1, n do kept[band(i, 63)] = assert(posix.getsockname(fd)) end
    end
end

function library.write_byte(target)
    local fd = connect(target)
    return function(n)
        for _ = 1, n do assert(posix.send(fd, "x")) end
    end
end

function library.read_small(target)
    local fd = connect(target)
    return function(n)
        for i = 1, n do kept[band(i, 63)] = assert(posix.recv(fd, 64)) end
    end
end

function library.receive(target)
    local fd = connect(target)
    return function(n)
        local left, i = n * 65536, 0
        while left > 0 do
            local data = assert(posix.recv(fd, 65536))
            kept[band(i, 15)] = data
            i, left = i + 1, left - #data
        end
    end
end

function library.send(target)
    local fd, piece = connect(target), target.piece
    return function(n)
        for _ = 1, n do
            local sent = assert(posix.send(fd, piece))
            while sent < #piece do
                sent = sent + assert(posix.send(fd, piece:sub(sent + 1)))
            end
        end
    end
end

function library.gather(target)
    local fd, parts = connect(target), target.parts
    local a, b, c = parts[1], parts[2], parts[3]
    return function(n)
        for _ = 1, n do assert(posix.send(fd, a .. b .. c)) end
    end
end

function library.connect(target)
    local where = address(target)
    return function(n)
        for _ = 1, n do
            local fd = new(target)
            assert(posix.connect(fd, where))
            posix.close(fd)
        end
    end
end

function library.accept(target)
    local server = new(target)
    if not target.path then
        assert(posix.setsockopt(server, posix.SOL_SOCKET,
            posix.SO_REUSEADDR, 1))
    end
    assert(posix.bind(server, address(target)))
    assert(posix.listen(server, 4096))
    return function(n)
        for _ = 1, n do posix.close((assert(posix.accept(server)))) end
    end
end

local function udp()
    return assert(posix.socket(posix.AF_INET, posix.SOCK_DGRAM, 0))
end

function library.sendto(target)
    local fd, where, message = udp(), address(target), target.message
    return function(n)
        for _ = 1, n do assert(posix.sendto(fd, message, where)) end
    end
end

function library.recvfrom(target)
    local fd, where, request = udp(), address(target), target.message
    local batch, left = target.batch, 0
    return function(n)
        for i = 1, n do
            if left == 0 then
                assert(posix.sendto(fd, request, where))
                left = batch
            end
            left = left - 1
            local data, sender = assert(posix.recvfrom(fd, 2048))
            kept[band(i, 63)], senders[band(i, 63)] = data, sender
        end
    end
end

local function connect_many(target, sockets)
    for i = 1, target.sockets do sockets[i] = connect(target) end
    return sockets
end

function library.hold(target)
    return function(sockets) connect_many(target, sockets) end
end

function library.wait_poll(target)
    local fds, sockets = {}, connect_many(target, {})
    for _, fd in ipairs(sockets) do fds[fd] = { events = { IN = true } } end
    assert(posix.send(sockets[1], "x"))
    return function(n)
        for _ = 1, n do
            local count = assert(posix.poll(fds, -1))
            for fd, entry in pairs(fds) do
                if entry.revents.IN then
                    assert(posix.recv(fd, 1))
                    assert(posix.send(fd, "x"))
                    count = count - 1
                    if count == 0 then break end
                end
            end
        end
    end
end

return library
