--- What LuaJIT itself allows: the C calls by its FFI, memory made once, and a
--- string of what came. Checks no argument, knows no timeout and no error but
--- "failed": a library that gives strings has to do as much. Only what makes a
--- string is here; minisock opens the sockets.
local bit = require "bit"
local ffi = require "ffi"
local ms = require "minisock"
local store = require "bench.kept"

ffi.cdef [[
int bench_recv(int, void *, size_t, int) __asm__("recv");
int bench_send(int, const char *, size_t, int) __asm__("send");
int bench_sendto(int, const char *, size_t, int, const char *, uint32_t)
    __asm__("sendto");
int bench_recvfrom(int, void *, size_t, int, void *, uint32_t *)
    __asm__("recvfrom");
int bench_getsockname(int, void *, uint32_t *) __asm__("getsockname");
]]

local C, band = ffi.C, bit.band
local kept = store.data
local MSG_NOSIGNAL = ms.MSG_NOSIGNAL

local buffer = ffi.new("char __attribute__((aligned(4096)))[65536]")
local ADDRESS_SIZE = 128
local address_buffer = ffi.new("char[?]", ADDRESS_SIZE)
local address_size = ffi.new("uint32_t[1]")

local bare = {}

local function address(target)
    if target.path then return assert(ms.unixaddr(target.path)) end
    return assert(ms.inetaddr(target.host, target.port))
end

local function connect(target)
    local fd, timeout = assert(ms.connect(address(target))), target.timeout
    if not target.path then assert(ms.setsockopt(fd, "TCP_NODELAY", true)) end
    if timeout then assert(ms.setsockopt(fd, "SO_RCVTIMEO", timeout)) end
    return fd
end

local function receive(fd, size)
    local received = C.bench_recv(fd, buffer, size, 0)
    assert(received > 0)
    return ffi.string(buffer, received)
end

function bare.pingpong(target)
    local fd, message = connect(target), target.message
    return function(n)
        for i = 1, n do
            assert(C.bench_send(fd, message, #message, MSG_NOSIGNAL) > 0)
            kept[band(i, 63)] = receive(fd, 64)
        end
    end
end

function bare.getsockname(target)
    local fd = connect(target)
    return function(n)
        for i = 1, n do
            address_size[0] = ADDRESS_SIZE
            assert(C.bench_getsockname(fd, address_buffer, address_size) == 0)
            kept[band(i, 63)] = ffi.string(address_buffer, address_size[0])
        end
    end
end

function bare.read_small(target)
    local fd = connect(target)
    return function(n)
        for i = 1, n do kept[band(i, 63)] = receive(fd, 64) end
    end
end

function bare.receive(target)
    local fd = connect(target)
    return function(n)
        local left, i = n * 65536, 0
        while left > 0 do
            local data = receive(fd, 65536)
            kept[band(i, 15)] = data
            i, left = i + 1, left - #data
        end
    end
end

-- The address is asked for, as in C, and no string is made of it.
function bare.recvfrom(target)
    local fd, addr = assert(ms.udpsocket()), address(target)
    local request, batch, left = target.message, target.batch, 0
    return function(n)
        for i = 1, n do
            if left == 0 then
                assert(C.bench_sendto(fd, request, #request, MSG_NOSIGNAL,
                    addr, #addr) > 0)
                left = batch
            end
            left = left - 1
            address_size[0] = ADDRESS_SIZE
            local received = C.bench_recvfrom(fd, buffer, 2048, 0,
                address_buffer, address_size)
            assert(received > 0)
            kept[band(i, 63)] = ffi.string(buffer, received)
        end
    end
end

return bare
