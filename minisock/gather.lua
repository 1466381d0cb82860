--- Many strings as if they were one, in one system call and without a copy.
--- Stands on minisock.buffers, minisock.cdefs, minisock.check and
--- minisock.clock.
local ffi = require "ffi"
local buffers = require "minisock.buffers"
local cdefs = require "minisock.cdefs"
local check = require "minisock.check"
local clock = require "minisock.clock"

local C = ffi.C
local bor = require("bit").bor
local errno = ffi.errno
local constant = cdefs.constant
local FOREVER = math.huge

if not pcall(ffi.typeof, "struct minisock_gather_1") then
    ffi.cdef [[
    struct minisock_gather_1 { int unused; };
    int minisock_gather(int, const struct minisock_msghdr *, int)
        __asm__("sendmsg");
    ]]
end

local MSG_DONTWAIT = constant("MSG_DONTWAIT")
local MSG_NOSIGNAL = constant("MSG_NOSIGNAL")
local LONGEST = 1024 -- pieces in a call: IOV_MAX
local GROUP = 2^20 -- bytes

-- What one call leaves over, and whom it isn't for: sendall knows what to do.
local SEND_ON = {
    [constant("EAGAIN")] = true,
    [constant("EINTR")] = true,
    [constant("ENOTSOCK")] = true,
}

local HEADER = ffi.typeof("struct minisock_msghdr")
local PIECES = ffi.typeof("struct minisock_iovec[?]")

local gather = {}

-- What a call works with. `kept` has the strings while they are sent, since
-- pointers don't keep them alive.
local borrow, give_back = buffers.lender(function()
    local work = { kept = {}, header = HEADER(), pieces = PIECES(LONGEST) }
    work.header.pieces = work.pieces
    return work
end, function(work)
    local kept = work.kept
    for i = 1, #kept do kept[i] = nil end
end)

-- Returns how many pieces and bytes there are; nil when one is no string.
local function take(list, kept)
    local count, size = check.length(list), 0
    for i = 1, count do
        local piece = rawget(list, i)
        if type(piece) ~= "string" then return nil end
        kept[i] = piece
        size = size + #piece
    end
    return count, size
end

local function send_pieces(fd, work, count, timeout)
    local kept, pieces, header = work.kept, work.pieces, work.header
    for i = 1, count do
        local piece = kept[i]
        pieces[i - 1].base, pieces[i - 1].size = piece, #piece
    end
    header.piece_count = count
    local flags = timeout == FOREVER and MSG_NOSIGNAL
        or bor(MSG_NOSIGNAL, MSG_DONTWAIT)
    local n = C.minisock_gather(fd, header, flags)
    if n < 0 then return -errno() end
    return n
end

-- Sends what one call has left over: in strings of some size, since all of it
-- may be much. No datagram is as large as one of these.
local function send_rest(fd, kept, count, sent, limit, send_all)
    local i, offset = 1, sent
    while i <= count and offset >= #kept[i] do
        i, offset = i + 1, offset - #kept[i]
    end
    repeat
        local group, size = {}, 0
        while i <= count and size < GROUP do
            local piece = kept[i]:sub(offset + 1)
            group[#group + 1] = piece
            i, offset, size = i + 1, 0, size + #piece
        end
        local code, more =
            send_all(fd, table.concat(group), size, clock.left(limit))
        sent = sent + more
        if code ~= 0 then return code, sent end
    until i > count
    return 0, sent
end

--- Sends the pieces of a list.
---@param fd integer
---@param list string[]
---@param timeout number
---@param send_all function sends the rest of a string, as sendall does
---@return integer? code 0 or -errno; nil when the list has something else in it
---@return integer? sent how many bytes
function gather.send(fd, list, timeout, send_all)
    local limit = clock.deadline(timeout)
    local work = borrow()
    local count, size = take(list, work.kept)
    if not count then
        give_back(work)
        return nil
    end
    local sent = 0
    if count <= LONGEST then
        local n = send_pieces(fd, work, count, timeout)
        if n == size or n < 0 and not SEND_ON[-n] then
            give_back(work)
            return math.min(n, 0), math.max(n, 0)
        end
        sent = math.max(n, 0)
    end
    local code
    code, sent = send_rest(fd, work.kept, count, sent, limit, send_all)
    give_back(work)
    return code, sent
end

return gather
