--- Many datagrams in one system call: sendmany and recvmany of the core, and
--- the memory that these receive into. Stands on minisock.cdefs,
--- minisock.address, minisock.buffers, minisock.check, minisock.clock and
--- minisock.errors.
local bit = require "bit"
local ffi = require "ffi"
local address = require "minisock.address"
local buffers = require "minisock.buffers"
local cdefs = require "minisock.cdefs"
local check = require "minisock.check"
local clock = require "minisock.clock"
local errors = require "minisock.errors"

local C = ffi.C
local shim = cdefs.shim
local constant = cdefs.constant
local band = bit.band
local deadline, errno = clock.deadline, ffi.errno
local fail = errors.fail
local family_of = address.family
local ffi_string = ffi.string
local min = math.min

if not pcall(ffi.typeof, "struct minisock_batch_1") then
    ffi.cdef [[
    struct minisock_batch_1 { int unused; };
    int minisock_recvmmsg(int, struct minisock_mmsghdr *, unsigned, int,
                          void *) __asm__("recvmmsg");
    int minisock_sendmmsg(int, struct minisock_mmsghdr *, unsigned, int)
        __asm__("sendmmsg");
    ]]
end

local AF_UNIX = constant("AF_UNIX")
local SOCK_DGRAM = constant("SOCK_DGRAM")
local UNNAMED = address.unixaddr("")

local EAGAIN = constant("EAGAIN")
local EINTR = constant("EINTR")
local EINVAL = constant("EINVAL")
local MSG_DONTWAIT = constant("MSG_DONTWAIT")
local MSG_NOSIGNAL = constant("MSG_NOSIGNAL")
local MSG_TRUNC = constant("MSG_TRUNC")

local DEFAULT_TIMEOUT = clock.DEFAULT_TIMEOUT
local LONGEST = 1024 -- messages in a call: UIO_MAXIOV
local LARGEST = 2^26 -- bytes of memory
local ADDRESS_SIZE = 128

local BYTES = ffi.typeof("uint8_t[?]")
local HEADERS = ffi.typeof("struct minisock_mmsghdr[?]")
local PIECES = ffi.typeof("struct minisock_iovec[?]")

local batch = {}

---------------------------------------------------------------------------
-- Receiving
---------------------------------------------------------------------------

---@class minisock.batch
---@field room integer how many messages
---@field size integer how many bytes of each
---@field count integer how many there are
---@field dirty integer how many headers the system has changed
---@field memory ffi.cdata*
---@field addresses ffi.cdata*
---@field pieces ffi.cdata*
---@field headers ffi.cdata*
---@field peer string the last address that was asked for
---@field nobody string in place of an address, where there is none
local Batch = {}
Batch.__index = Batch

--- Makes memory for messages, to be used again and again.
---@param room? integer how many at most, 64 by default
---@param size? integer how many bytes of each, 2048 by default
---@return minisock.batch
function batch.new(room, size)
    room = check.integer(check.absent(room) and 64 or room, 1, "new", 1,
        LONGEST)
    size = check.integer(check.absent(size) and 2048 or size, 2, "new", 1,
        LARGEST / room)
    local self = setmetatable({
        room = room, size = size, count = 0, dirty = 0, peer = "",
        nobody = "",
        memory = BYTES(room * size),
        addresses = BYTES(room * ADDRESS_SIZE),
        pieces = PIECES(room),
        headers = HEADERS(room),
    }, Batch)
    for i = 0, room - 1 do
        self.pieces[i].base = self.memory + i * size
        self.pieces[i].size = size
        local header = self.headers[i].header
        header.name = self.addresses + i * ADDRESS_SIZE
        header.name_size = ADDRESS_SIZE
        header.pieces, header.piece_count = self.pieces + i, 1
    end
    return self
end

local function is_batch(value)
    return type(value) == "table" and getmetatable(value) == Batch
end

-- The system overwrites how long an address may be with how long it is.
local function restore(self)
    for i = 0, self.dirty - 1 do
        self.headers[i].header.name_size = ADDRESS_SIZE
    end
    self.dirty, self.count = 0, 0
end

local TRANSIENT = { [EAGAIN] = true, [EINTR] = true }

-- What stands for no address: of a Unix datagram an unnamed one, as recvfrom
-- has it, and of a stream none.
local function unnamed(fd)
    local options = require "minisock.options"
    local is_unix = options.getsockopt(fd, "SO_DOMAIN") == AF_UNIX
        and options.getsockopt(fd, "SO_TYPE") == SOCK_DGRAM
    return is_unix and UNNAMED or ""
end

local function some_unnamed(self, count)
    for i = 0, count - 1 do
        if self.headers[i].header.name_size == 0 then return true end
    end
    return false
end

--- Receives datagrams: as many as there are, or waits until there is one.
---@see recvmmsg(2)
---@param fd integer
---@param into minisock.batch what `require("minisock.batch").new` has made
---@param timeout? number in ms, 10000 by default
---@return integer? count, string? message, integer? code 0 after SHUT_RD
function batch.recvmany(fd, into, timeout)
    fd = check.descriptor(fd, 1, "recvmany")
    if not is_batch(into) then check.fail(2, "recvmany", "batch", into) end
    timeout = check.timeout(timeout, 3, "recvmany", DEFAULT_TIMEOUT)
    if into.dirty > 0 then restore(into) end
    local n = C.minisock_recvmmsg(fd, into.headers, into.room, MSG_DONTWAIT,
        nil)
    if n < 0 then
        local code = errno()
        n = TRANSIENT[code] and shim.minisock_recvmmsg_wait(fd, into.headers,
            into.room, code, deadline(timeout)) or -code
    end
    if n < 0 then return fail("recvmany", -n) end
    into.count, into.dirty = n, n
    if some_unnamed(into, n) then into.nobody = unnamed(fd) end
    return n
end

local function address_of(self, i)
    local header = self.headers[i].header
    -- The system reports none for a Unix sender without a name.
    if header.name_size == 0 then return self.nobody end
    local peer = address.take_again(self.addresses + i * ADDRESS_SIZE,
        header.name_size, self.peer)
    self.peer = peer
    return peer
end

--- A message of those received last.
---@param i integer 1 to the count
---@return string data, string addr, boolean truncated
function Batch:get(i)
    i = check.integer(i, 1, "get", 1, self.count)
    local header = self.headers[i - 1]
    return ffi_string(self.memory + (i - 1) * self.size, header.size),
        address_of(self, i - 1), band(header.header.flags, MSG_TRUNC) ~= 0
end

--- Where its data is, without making a string: as many bytes as `length` tells,
--- until the next recvmany.
---@param i integer
---@return ffi.cdata* pointer uint8_t *; the batch must be kept
function Batch:pointer(i)
    i = check.integer(i, 1, "pointer", 1, self.count)
    return self.memory + (i - 1) * self.size
end

--- How many bytes it has.
---@param i integer
---@return integer bytes, boolean truncated
function Batch:length(i)
    i = check.integer(i, 1, "length", 1, self.count)
    local header = self.headers[i - 1]
    return header.size, band(header.header.flags, MSG_TRUNC) ~= 0
end

--- Whom it is from.
---@param i integer
---@return string addr
function Batch:address(i)
    i = check.integer(i, 1, "address", 1, self.count)
    return address_of(self, i - 1)
end

---------------------------------------------------------------------------
-- Sending
---------------------------------------------------------------------------

-- What a call works with. `kept` and `addresses` have the strings while they
-- are sent, since pointers don't keep them alive.
local borrow, give_back = buffers.lender(function()
    local work = {
        kept = {}, addresses = {},
        headers = HEADERS(LONGEST), pieces = PIECES(LONGEST),
    }
    for i = 0, LONGEST - 1 do
        work.headers[i].header.pieces = work.pieces + i
        work.headers[i].header.piece_count = 1
    end
    return work
end, function(work)
    local kept, addresses = work.kept, work.addresses
    for i = 1, #kept do kept[i] = nil end
    for i = 1, #addresses do addresses[i] = nil end
end)

-- Takes messages out of the caller's tables, without running any code of the
-- caller's. Returns what is wrong with them, or that an address is.
local function take(work, list, addresses, first, last)
    for i = first, last do
        local message = rawget(list, i)
        if type(message) ~= "string" then return "list of strings" end
        work.kept[i - first + 1] = message
    end
    for i = first, addresses and last or 0 do
        local addr = rawget(addresses, i)
        if type(addr) ~= "string" or not family_of(addr) then
            return nil, true
        end
        work.addresses[i - first + 1] = addr
    end
end

local function fill(work, count, addr, each)
    local headers, pieces = work.headers, work.pieces
    for i = 0, count - 1 do
        local message = work.kept[i + 1]
        local to = each and work.addresses[i + 1] or addr
        pieces[i].base, pieces[i].size = message, #message
        local header = headers[i].header
        if to then
            header.name, header.name_size = ffi.cast("char *", to), #to
        else
            header.name, header.name_size = nil, 0
        end
    end
end

-- Returns a count, or -errno. Here, too, only what is rare is in a loop.
local function send_on(fd, headers, count, code)
    while code == EINTR do
        local n = C.minisock_sendmmsg(fd, headers, count, MSG_NOSIGNAL)
        if n >= 0 then return n end
        code = errno()
    end
    return -code
end

local function send(fd, headers, count)
    local n = C.minisock_sendmmsg(fd, headers, count, MSG_NOSIGNAL)
    if n >= 0 then return n end
    return send_on(fd, headers, count, errno())
end

-- Sends those from `first` on, as many as one call takes. Returns how many it
-- took and how many were sent, or -errno; or, for wrong arguments, nil and what
-- was expected, if it wasn't the address.
local function send_some(fd, list, first, total, addr, each)
    local count = min(total - first + 1, LONGEST)
    local work = borrow()
    local wrong, bad_address =
        take(work, list, each, first, first + count - 1)
    if wrong or bad_address then
        give_back(work)
        return nil, wrong
    end
    fill(work, count, addr, each)
    local n = send(fd, work.headers, count)
    give_back(work)
    return count, n
end

-- A list that is too long for one call.
local function send_rest(fd, list, sent, total, addr, each)
    while sent < total do
        local count, n = send_some(fd, list, sent + 1, total, addr, each)
        if not count then break end -- whoever sends the rest will be told
        sent = sent + math.max(n, 0)
        if n < count then break end
    end
    return sent
end

--- Sends datagrams, each a string of a list; 1024 in a system call.
---@see sendmmsg(2)
---@param fd integer
---@param list string[]
---@param addr? string|string[] the address of all, or one for each; none on a
--- connected socket
---@return integer? count, string? message, integer? code how many were sent:
--- fewer than there are when one failed, or on a non-blocking descriptor when
--- the queue is full. A failure of the first is one of the call
function batch.sendmany(fd, list, addr)
    fd = check.descriptor(fd, 1, "sendmany")
    if type(list) ~= "table" then
        check.fail(2, "sendmany", "list of strings", list)
    end
    local each = type(addr) == "table" and addr or nil
    if not each and not check.absent(addr) then
        addr = check.string(addr, 3, "sendmany", "address")
        if not family_of(addr) then return fail("sendmany", EINVAL) end
    end
    local total = check.length(list)
    if total == 0 then return 0 end
    local count, n = send_some(fd, list, 1, total, addr, each)
    if count and n < 0 then return fail("sendmany", -n) end
    if count == LONGEST and n == count then
        return send_rest(fd, list, n, total, addr, each)
    end
    if count then return n end
    if n then check.fail(2, "sendmany", n, list) end
    return fail("sendmany", EINVAL)
end

return batch
