--- minisock's core, with strings.
local bit = require "bit"
local ms = require "minisock"
local store = require "bench.kept"

local band = bit.band
local kept, senders = store.data, store.senders

local minisock = {}

local function address(target)
    if target.path then return assert(ms.unixaddr(target.path)) end
    return assert(ms.inetaddr(target.host, target.port))
end

local function connect(target)
    local fd = assert(ms.connect(address(target)))
    if not target.path then assert(ms.setsockopt(fd, "TCP_NODELAY", true)) end
    return fd
end

function minisock.pingpong(target)
    local fd, message = connect(target), target.message
    local timeout = target.timeout or -1
    return function(n)
        for i = 1, n do
            assert(ms.sendall(fd, message, timeout))
            kept[band(i, 63)] = assert(ms.read(fd, timeout, 64))
        end
    end
end

function minisock.getsockname(target)
    local fd = connect(target)
    return function(n)
        for i = 1, n do kept[band(i, 63)] = assert(ms.getsockname(fd)) end
    end
end

function minisock.getpeername(target)
    local fd = connect(target)
    return function(n)
        for i = 1, n do kept[band(i, 63)] = assert(ms.getpeername(fd)) end
    end
end

function minisock.getsockopt(target)
    local fd = connect(target)
    return function(n)
        for i = 1, n do
            kept[band(i, 63)] = assert(ms.getsockopt(fd, "SO_RCVBUF"))
        end
    end
end

function minisock.write_byte(target)
    local fd = connect(target)
    return function(n)
        for _ = 1, n do assert(ms.write(fd, "x")) end
    end
end

function minisock.read_small(target)
    local fd, timeout = connect(target), target.timeout
    return function(n)
        for i = 1, n do
            kept[band(i, 63)] = assert(ms.read(fd, timeout, 64))
        end
    end
end

function minisock.receive(target)
    local fd = connect(target)
    return function(n)
        local left, i = n * 65536, 0
        while left > 0 do
            local data = assert(ms.read(fd, -1, 65536))
            kept[band(i, 15)] = data
            i, left = i + 1, left - #data
        end
    end
end

function minisock.send(target)
    local fd, piece = connect(target), target.piece
    return function(n)
        for _ = 1, n do assert(ms.sendall(fd, piece)) end
    end
end

function minisock.gather(target)
    local fd, parts = connect(target), target.parts
    if not pcall(ms.sendall, fd, parts) then return nil end
    return function(n)
        for _ = 1, n do assert(ms.sendall(fd, parts)) end
    end
end

function minisock.connect(target)
    local addr = address(target)
    return function(n)
        for _ = 1, n do ms.close(assert(ms.connect(addr))) end
    end
end

function minisock.accept(target)
    local server = assert(ms.bind(address(target)))
    return function(n)
        for _ = 1, n do ms.close(assert(ms.accept(server))) end
    end
end

function minisock.sendto(target)
    local fd, addr = assert(ms.udpsocket()), address(target)
    local message = target.message
    return function(n)
        for _ = 1, n do assert(ms.sendto(fd, addr, message)) end
    end
end

function minisock.recvfrom(target)
    local fd, addr = assert(ms.udpsocket()), address(target)
    local message, batch, left = target.message, target.batch, 0
    return function(n)
        for i = 1, n do
            if left == 0 then
                assert(ms.sendto(fd, addr, message))
                left = batch
            end
            left = left - 1
            local data, sender = assert(ms.recvfrom(fd, -1))
            kept[band(i, 63)], senders[band(i, 63)] = data, sender
        end
    end
end

function minisock.sendmany(target)
    if not ms.sendmany then return nil end
    local fd, addr, batch = assert(ms.udpsocket()), address(target), {}
    for i = 1, target.batch do batch[i] = target.message end
    return function(n)
        while n > 0 do n = n - assert(ms.sendmany(fd, batch, addr)) end
    end
end

function minisock.recvmany(target)
    if not ms.recvmany then return nil end
    local fd, addr = assert(ms.udpsocket()), address(target)
    local message, size, left = target.message, target.batch, 0
    local batch = require("minisock.batch").new(size, 2048)
    return function(n)
        while n > 0 do
            if left == 0 then
                assert(ms.sendto(fd, addr, message))
                left = size
            end
            local count = assert(ms.recvmany(fd, batch, -1))
            for i = 1, count do kept[i], senders[i] = batch:get(i) end
            n, left = n - count, left - count
        end
    end
end

local function connect_many(target, sockets)
    for i = 1, target.sockets do sockets[i] = connect(target) end
    return sockets
end

function minisock.hold(target)
    return function(sockets) connect_many(target, sockets) end
end

local function answer(fd)
    assert(ms.read(fd, -1, 1))
    assert(ms.write(fd, "x"))
end

function minisock.wait_poll(target)
    local sockets, pollfds = connect_many(target, {}), {}
    for i, fd in ipairs(sockets) do pollfds[i] = ms.pollfd(fd, ms.POLLIN) end
    pollfds = table.concat(pollfds)
    ms.write(sockets[1], "x")
    return function(n)
        for _ = 1, n do
            local ready, count = assert(ms.poll(pollfds))
            local i = 0
            while count > 0 do
                i = i + 1
                local fd, _, revents = ms.unpollfd(ready, i)
                if revents ~= 0 then
                    count = count - 1
                    answer(fd)
                end
            end
        end
    end
end

function minisock.wait_epoll(target)
    local found, module = pcall(require, "minisock.poller")
    if not found then return nil end
    local sockets, poller = connect_many(target, {}), assert(module.new())
    for _, fd in ipairs(sockets) do assert(poller:add(fd, ms.EPOLLIN, fd)) end
    ms.write(sockets[1], "x")
    return function(n)
        for _ = 1, n do
            for i = 1, assert(poller:wait(-1)) do answer((poller:ready(i))) end
        end
    end
end

return minisock
