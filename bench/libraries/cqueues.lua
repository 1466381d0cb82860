--- cqueues, the package lua-cqueues: coroutines of a controller.
local bit = require "bit"
local cqueues = require "cqueues"
local socket = require "cqueues.socket"
local store = require "bench.kept"

local band = bit.band
local kept = store.data

local library = {}

local function where(target)
    if target.path then return { path = target.path } end
    return { host = target.host, port = target.port, nodelay = true,
        reuseaddr = true }
end

local function connect(target)
    local sock = socket.connect(where(target))
    sock:setmode("bn", "bn")
    if target.timeout then sock:settimeout(target.timeout / 1000) end
    assert(sock:connect())
    return sock
end

-- Runs in a coroutine, until it has done it n times.
local function in_controller(work)
    return function(n)
        local controller = cqueues.new()
        controller:wrap(function() work(n) end)
        assert(controller:loop())
    end
end

function library.pingpong(target)
    local sock, message = connect(target), target.message
    return in_controller(function(n)
        for i = 1, n do
            assert(sock:write(message))
            kept[band(i, 63)] = assert(sock:read(64))
        end
    end)
end

function library.getsockname(target)
    local sock = connect(target)
    return function(n)
        for i = 1, n do
            local _, name = assert(sock:localname())
            kept[band(i, 63)] = name
        end
    end
end

function library.getpeername(target)
    local sock = connect(target)
    return function(n)
        for i = 1, n do
            local _, name = assert(sock:peername())
            kept[band(i, 63)] = name
        end
    end
end

function library.write_byte(target)
    local sock = connect(target)
    return in_controller(function(n)
        for _ = 1, n do assert(sock:write("x")) end
    end)
end

function library.read_small(target)
    local sock = connect(target)
    return in_controller(function(n)
        for i = 1, n do kept[band(i, 63)] = assert(sock:read(64)) end
    end)
end

function library.read_lines(target)
    local sock = connect(target)
    return in_controller(function(n)
        for i = 1, n do kept[band(i, 63)] = assert(sock:read("*l")) end
    end)
end

function library.receive(target)
    local sock = connect(target)
    sock:setbufsiz(65536, 65536)
    return in_controller(function(n)
        local left, i = n * 65536, 0
        while left > 0 do
            local data = assert(sock:read(-65536))
            kept[band(i, 15)] = data
            i, left = i + 1, left - #data
        end
    end)
end

function library.send(target)
    local sock, piece = connect(target), target.piece
    sock:setbufsiz(65536, 65536)
    return in_controller(function(n)
        for _ = 1, n do assert(sock:write(piece)) end
    end)
end

function library.gather(target)
    local sock, parts = connect(target), target.parts
    local a, b, c = parts[1], parts[2], parts[3]
    return in_controller(function(n)
        for _ = 1, n do assert(sock:write(a .. b .. c)) end
    end)
end

function library.connect(target)
    local options = where(target)
    return in_controller(function(n)
        for _ = 1, n do
            local sock = socket.connect(options)
            assert(sock:connect())
            sock:close()
        end
    end)
end

function library.accept(target)
    local server = socket.listen(where(target))
    return in_controller(function(n)
        for _ = 1, n do assert(server:accept()):close() end
    end)
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
    local controller = cqueues.new()
    for _, sock in ipairs(sockets) do
        controller:wrap(function()
            while true do
                assert(sock:read(1))
                assert(sock:write("x"))
                left = left - 1
            end
        end)
    end
    assert(controller:step(0)) -- starts them
    assert(sockets[1]:write("x"))
    return function(n)
        left = n
        while left > 0 do assert(controller:step()) end
    end
end

return library
