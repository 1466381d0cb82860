--- Datagrams: each with its address. Stands on minisock, which declares calls
--- that are for streams too, and loads this when it is asked for one of these.
local bit = require "bit"
local ffi = require "ffi"
local address = require "minisock.address"
local buffers = require "minisock.buffers"
local cdefs = require "minisock.cdefs"
local check = require "minisock.check"
local clock = require "minisock.clock"
local errors = require "minisock.errors"
require "minisock"

local C = ffi.C
local shim = cdefs.shim
local constant = cdefs.constant
local band, bor = bit.band, bit.bor
local errno = ffi.errno
local family_of, take_again = address.family, address.take_again
local min = math.min

if not pcall(ffi.typeof, "struct minisock_datagram_1") then
    ffi.cdef [[
    struct minisock_datagram_1 { int unused; };
    int minisock_sendto(int, const void *, size_t, int, const void *,
                        uint32_t) __asm__("sendto");
    int minisock_disconnect(int, const void *, uint32_t) __asm__("connect");
    ]]
end

local AF_INET = constant("AF_INET")
local AF_INET6 = constant("AF_INET6")
local AF_UNIX = constant("AF_UNIX")
local EINTR = constant("EINTR")
local EINVAL = constant("EINVAL")
local MSG_NOSIGNAL = constant("MSG_NOSIGNAL")
local MSG_TRUNC = constant("MSG_TRUNC")
local SOCK_CLOEXEC = constant("SOCK_CLOEXEC")
local SOCK_DGRAM = constant("SOCK_DGRAM")

local DEFAULT_TIMEOUT = clock.DEFAULT_TIMEOUT
local UDPMAXSIZE = buffers.UDPMAXSIZE

local MESSAGE = ffi.typeof("struct minisock_message")
local PIECE = ffi.typeof("struct minisock_iovec")
local ADDRESS_SIZE = ffi.sizeof(MESSAGE().addr)

local borrow, give_back = buffers.lender(function()
    local work = { message = MESSAGE(), piece = PIECE() }
    work.message.pieces, work.message.piece_count = work.piece, 1
    return work
end)

local peer = "" -- the last one

local datagram = {}

-- The seed's three forms: nothing, a family in one byte, an address.
local function datagram_family(addr)
    if addr == nil or addr == "" then return AF_INET end
    if #addr > 1 then return family_of(addr) end
    local family = addr:byte()
    return (family == AF_INET or family == AF_INET6 or family == AF_UNIX)
        and family
end

--- Makes a datagram socket.
---@see socket(2), udp(7)
---@param addr? string a raw address to bind it to; a family in one byte
--- ("\x0a" for IPv6) or nothing (IPv4) to leave it unbound
---@return integer? fd, string? message, integer? code
function datagram.udpsocket(addr)
    addr = check.optional_string(addr, 1, "udpsocket", "address")
    local family = datagram_family(addr)
    if not family then return errors.fail("udpsocket", EINVAL) end
    local fd = C.minisock_socket(family, bor(SOCK_DGRAM, SOCK_CLOEXEC), 0)
    if fd < 0 then return errors.fail("udpsocket", errno()) end
    if addr and #addr > 1 and C.minisock_bind(fd, addr, #addr) < 0 then
        local code = errno()
        C.minisock_close(fd)
        return errors.fail("udpsocket", code)
    end
    return fd
end

local function sendto_again(fd, addr, msg)
    local code = errno()
    while code == EINTR do
        local n = C.minisock_sendto(fd, msg, #msg, MSG_NOSIGNAL, addr, #addr)
        if n >= 0 then return n end
        code = errno()
    end
    return errors.fail("sendto", code)
end

--- Sends one datagram.
---@see sendto(2)
---@param fd integer
---@param addr string
---@param msg string
---@return integer? sent, string? message, integer? code EMSGSIZE when it is
--- larger than the protocol allows; EAGAIN on a non-blocking descriptor whose
--- queue is full
function datagram.sendto(fd, addr, msg)
    fd = check.descriptor(fd, 1, "sendto")
    addr = check.string(addr, 2, "sendto", "address")
    msg = check.string(msg, 3, "sendto")
    if not family_of(addr) then return errors.fail("sendto", EINVAL) end
    local n = C.minisock_sendto(fd, msg, #msg, MSG_NOSIGNAL, addr, #addr)
    if n < 0 then return sendto_again(fd, addr, msg) end
    return n
end

--- Receives one datagram. An empty one is "".
---@see recvfrom(2)
---@param fd integer
---@param timeout? number in ms, 10000 by default
---@param max? integer how many bytes at most, 2048 by default, 1 MiB at most
---@return string? msg, string? addr_or_message, boolean|integer cut_or_code
--- addr is "\1\0" for a Unix sender without a name, "" on a stream; truncated
--- is true when the datagram was longer
function datagram.recvfrom(fd, timeout, max)
    fd = check.descriptor(fd, 1, "recvfrom")
    timeout = check.timeout(timeout, 2, "recvfrom", DEFAULT_TIMEOUT)
    max = min(check.size(max, 3, "recvfrom", UDPMAXSIZE), buffers.LIMIT)
    local work = borrow()
    local message, piece = work.message, work.piece
    local buffer = buffers.scratch(max)
    piece.base, piece.size = buffer, max
    message.addr_length = ADDRESS_SIZE
    local n = shim.minisock_recvmsg(fd, message, 0, timeout)
    if n < 0 then
        give_back(work)
        return errors.fail("recvfrom", -n)
    end
    local data = ffi.string(buffer, n)
    local addr = take_again(message.addr, message.addr_length, peer)
    local truncated = band(message.flags, MSG_TRUNC) ~= 0
    give_back(work)
    peer = addr
    return data, addr, truncated
end

-- sa_family_t of AF_UNSPEC, in a sockaddr as long as any.
local NOBODY = ("\0"):rep(16)

--- Undoes what connectfd did to a datagram socket: it sends to nobody and
--- receives from everybody again.
---@see connect(2)
---@param fd integer
---@return true? done, string? message, integer? code
function datagram.disconnect(fd)
    fd = check.descriptor(fd, 1, "disconnect")
    if C.minisock_disconnect(fd, NOBODY, #NOBODY) < 0 then
        return errors.fail("disconnect", errno())
    end
    return true
end

return datagram
