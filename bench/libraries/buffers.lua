--- minisock's core, with memory that is used again in place of strings.
local ffi = require "ffi"
local ms = require "minisock"

local buffers = {}

local function address(target)
    if target.path then return assert(ms.unixaddr(target.path)) end
    return assert(ms.inetaddr(target.host, target.port))
end

local function connect(target)
    local fd = assert(ms.connect(address(target)))
    if not target.path then assert(ms.setsockopt(fd, "TCP_NODELAY", true)) end
    return fd
end

function buffers.pingpong(target)
    local fd, message = connect(target), ffi.new("char[64]")
    local timeout = target.timeout or -1
    return function(n)
        for _ = 1, n do
            assert(ms.sendall(fd, message, timeout, 64))
            assert(ms.readinto(fd, message, timeout, 64))
        end
    end
end

function buffers.read_small(target)
    local fd, message = connect(target), ffi.new("char[64]")
    local timeout = target.timeout
    return function(n)
        for _ = 1, n do assert(ms.readinto(fd, message, timeout, 64)) end
    end
end

-- From the start of a page on, as memory of this size is in C.
local PIECE = ffi.typeof("char __attribute__((aligned(4096)))[65536]")

function buffers.receive(target)
    local fd, piece = connect(target), PIECE()
    return function(n)
        local left = n * 65536
        while left > 0 do
            left = left - assert(ms.readinto(fd, piece, -1, 65536))
        end
    end
end

function buffers.send(target)
    local fd, piece = connect(target), ffi.new("char[65536]")
    return function(n)
        for _ = 1, n do assert(ms.sendall(fd, piece, -1, 65536)) end
    end
end

function buffers.recvfrom(target)
    local fd, addr = assert(ms.udpsocket()), address(target)
    local request, batch, left = target.message, target.batch, 0
    local message = ffi.new("char[2048]")
    return function(n)
        for _ = 1, n do
            if left == 0 then
                assert(ms.sendto(fd, addr, request))
                left = batch
            end
            left = left - 1
            assert(ms.readinto(fd, message, -1, 2048))
        end
    end
end

function buffers.recvmany(target)
    if not ms.recvmany then return nil end
    local fd, addr = assert(ms.udpsocket()), address(target)
    local request, size, left = target.message, target.batch, 0
    local batch = require("minisock.batch").new(size, 2048)
    return function(n)
        while n > 0 do
            if left == 0 then
                assert(ms.sendto(fd, addr, request))
                left = size
            end
            local count = assert(ms.recvmany(fd, batch, -1))
            for i = 1, count do
                assert(batch:pointer(i) ~= nil and batch:length(i) == 64)
            end
            n, left = n - count, left - count
        end
    end
end

function buffers.wait_poll(target)
    local set, first = require("minisock.pollset").new(), nil
    for i = 1, target.sockets do
        local fd = connect(target)
        if i == 1 then first = fd end
        set:add(fd, ms.POLLIN)
    end
    ms.write(first, "x")
    local byte = ffi.new("char[1]")
    return function(n)
        for _ = 1, n do
            local left = assert(set:wait())
            for _, fd in set:ready() do
                assert(ms.readinto(fd, byte, -1, 1))
                assert(ms.write(fd, "x"))
                left = left - 1
                if left == 0 then break end
            end
        end
    end
end

return buffers
