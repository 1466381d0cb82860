--- sendmsg and recvmsg: several pieces of data at once, and beside them
--- descriptors, credentials and other control messages. Stands on
--- minisock.cdefs, minisock.address, minisock.buffers, minisock.check,
--- minisock.clock and minisock.errors.
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

local EINVAL = constant("EINVAL")
local EMSGSIZE = constant("EMSGSIZE")
local MSG_CTRUNC = constant("MSG_CTRUNC")
local MSG_DONTWAIT = constant("MSG_DONTWAIT")
local MSG_ERRQUEUE = constant("MSG_ERRQUEUE")
local MSG_OOB = constant("MSG_OOB")
local MSG_TRUNC = constant("MSG_TRUNC")
local SCM_CREDENTIALS = constant("SCM_CREDENTIALS")
local SCM_RIGHTS = constant("SCM_RIGHTS")
local SOL_SOCKET = constant("SOL_SOCKET")

if not pcall(ffi.typeof, "struct minisock_messages_1") then
    ffi.cdef [[
    struct minisock_messages_1 { int unused; };
    int minisock_close_received(int) __asm__("close");
    ]]
end

local UDPMAXSIZE = buffers.UDPMAXSIZE
local DEFAULT_TIMEOUT = clock.DEFAULT_TIMEOUT
local LONGEST = 1024 -- pieces in a message: IOV_MAX

local MESSAGE = ffi.typeof("struct minisock_message")
local PIECE = ffi.typeof("struct minisock_iovec")
local PIECES = ffi.typeof("struct minisock_iovec[?]")
local borrow, give_back = buffers.lender(MESSAGE)
local example = MESSAGE()
local CONTROL_SIZE = ffi.sizeof(example.control)
local ADDRESS_SIZE = ffi.sizeof(example.addr)
local HEADER_SIZE = ffi.sizeof("struct minisock_cmsghdr")
local WORD = ffi.sizeof("size_t")
local INT = ffi.sizeof("int")
local header = ffi.new("struct minisock_cmsghdr")
local credentials = ffi.new("struct minisock_ucred")
local CREDENTIALS_SIZE = ffi.sizeof(credentials)

local messages = {}

-- A control message is followed by the next at a multiple of a word.
local function padded(size)
    return math.ceil(size / WORD) * WORD
end

---------------------------------------------------------------------------
-- Sending
---------------------------------------------------------------------------

-- One control message in a string.
local function encode(level, kind, data)
    header.length = HEADER_SIZE + #data
    header.level, header.type = level, kind
    return ffi.string(header, HEADER_SIZE) .. data
        .. ("\0"):rep(padded(#data) - #data)
end

local function is_int(value)
    return type(value) == "number" and bit.tobit(value) == value
end

-- These take each value once, check it, and encode what they have checked: a
-- table may answer otherwise when it is asked again. Nil for what won't do.

local function encode_descriptors(fds)
    if type(fds) ~= "table" then return nil end
    local count = #fds
    if count == 0 then return "" end
    local array = ffi.new("int[?]", count)
    for i = 1, count do
        local fd = fds[i]
        if not is_int(fd) then return nil end
        array[i - 1] = fd
    end
    return encode(SOL_SOCKET, SCM_RIGHTS, ffi.string(array, count * INT))
end

local function encode_credentials(given)
    if type(given) ~= "table" then return nil end
    local pid, uid, gid = given.pid, given.uid, given.gid
    if not (is_int(pid) and is_int(uid) and is_int(gid)) then return nil end
    credentials.pid, credentials.uid, credentials.gid = pid, uid, gid
    return encode(SOL_SOCKET, SCM_CREDENTIALS,
        ffi.string(credentials, CREDENTIALS_SIZE))
end

local function encode_one(control)
    if type(control) ~= "table" then return nil end
    local level, kind, data = control.level, control.type, control.data
    if not is_int(level) or not is_int(kind) or type(data) ~= "string" then
        return nil
    end
    return encode(level, kind, data)
end

local function encode_list(list)
    if type(list) ~= "table" then return nil end
    local encoded = {}
    for i = 1, #list do
        encoded[i] = encode_one(list[i])
        if not encoded[i] then return nil end
    end
    return table.concat(encoded)
end

local CONTROL = {
    { "fds", encode_descriptors, "a list of descriptors" },
    { "credentials", encode_credentials, "a table of pid, uid and gid" },
    { "control", encode_list, "a list of { level=, type=, data= }" },
}

-- All that goes beside the data, or nil and what is wrong with it.
local function encode_control(message)
    local encoded = ""
    for _, part in ipairs(CONTROL) do
        local name, encode_part, expected = unpack(part)
        local value = message[name]
        if not check.absent(value) then
            local bytes = encode_part(value)
            if not bytes then return nil, name .. ": " .. expected end
            encoded = encoded .. bytes
        end
    end
    return encoded
end

-- A message's data as a list of strings, or nil.
local function as_pieces(data)
    if check.absent(data) then return {} end
    if type(data) == "string" then return { data } end
    if type(data) ~= "table" or #data > LONGEST then return nil end
    local pieces = {}
    for i = 1, #data do
        local piece = data[i]
        if type(piece) ~= "string" then return nil end
        pieces[i] = piece
    end
    return pieces
end

-- The strings stay alive in pieces for as long as the call lasts.
local function point_at(pieces)
    local array = PIECES(math.max(#pieces, 1))
    for i, piece in ipairs(pieces) do
        array[i - 1].base, array[i - 1].size = piece, #piece
    end
    return array
end

---@class minisock.outgoing_message
---@field data? string|string[]
---@field addr? string a raw address, for a datagram
---@field fds? integer[] descriptors to pass on, over a Unix socket
---@field credentials? { pid: integer, uid: integer, gid: integer }
---@field control? { level: integer, type: integer, data: string }[]

---@class minisock.encoded_message
---@field pieces string[]
---@field control string
---@field addr string

--- Takes a message apart, once. Of a wrong one it tells what would be right,
--- for calls that raise errors of their own.
---@param message minisock.outgoing_message
---@return minisock.encoded_message? encoded, string? expected
function messages.encode(message)
    local pieces = as_pieces(message.data)
    if not pieces then return nil, "data: a string or a list of strings" end
    local control, expected = encode_control(message)
    if not control then return nil, expected end
    local addr = message.addr
    if check.absent(addr) then addr = "" end
    if type(addr) ~= "string" then return nil, "addr: an address" end
    return { pieces = pieces, control = control, addr = addr }
end

--- Sends what `encode` has made.
---@param fd integer
---@param encoded minisock.encoded_message
---@param flags integer
---@return integer? sent, string? message, integer? code
function messages.send(fd, encoded, flags)
    local control, addr = encoded.control, encoded.addr
    if addr ~= "" and not address.family(addr) or #addr > ADDRESS_SIZE then
        return errors.fail("sendmsg", EINVAL)
    end
    if #control > CONTROL_SIZE then return errors.fail("sendmsg", EMSGSIZE) end
    local array = point_at(encoded.pieces)
    local outgoing = borrow()
    outgoing.pieces, outgoing.piece_count = array, #encoded.pieces
    buffers.copy(outgoing.addr, addr, #addr)
    buffers.copy(outgoing.control, control, #control)
    outgoing.addr_length, outgoing.control_length = #addr, #control
    local n = shim.minisock_sendmsg(fd, outgoing, flags)
    give_back(outgoing)
    if n < 0 then return errors.fail("sendmsg", -n) end
    return n
end

--- Sends a message. Descriptors stay open here, too.
---@see sendmsg(2), cmsg(3), unix(7)
---@param fd integer
---@param message minisock.outgoing_message
---@param flags? integer MSG_OOB, ...
---@return integer? sent, string? message, integer? code EMSGSIZE when the
--- control messages are more than 2048 bytes
function messages.sendmsg(fd, message, flags)
    fd = check.descriptor(fd, 1, "sendmsg")
    if type(message) ~= "table" then
        check.fail(2, "sendmsg", "table", message)
    end
    flags = check.int(flags, 3, "sendmsg", 0)
    local encoded, expected = messages.encode(message)
    if not encoded then check.fail(2, "sendmsg", expected, message) end
    return messages.send(fd, encoded, flags)
end

---------------------------------------------------------------------------
-- Receiving
---------------------------------------------------------------------------

local function decode_descriptors(data, fds)
    local count = math.floor(#data / INT)
    local array = ffi.new("int[?]", count)
    buffers.copy(array, data, count * INT)
    for i = 0, count - 1 do fds[#fds + 1] = array[i] end
end

local function decode_credentials(data)
    buffers.copy(credentials, data, CREDENTIALS_SIZE)
    local pid, uid, gid = credentials.pid, credentials.uid, credentials.gid
    return { pid = pid, uid = uid, gid = gid }
end

local function decode(message, level, kind, data)
    if level == SOL_SOCKET and kind == SCM_RIGHTS then
        message.fds = message.fds or {}
        decode_descriptors(data, message.fds)
    elseif level == SOL_SOCKET and kind == SCM_CREDENTIALS
            and #data >= CREDENTIALS_SIZE then
        message.credentials = decode_credentials(data)
    else
        message.control = message.control or {}
        table.insert(message.control,
            { level = level, type = kind, data = data })
    end
end

local function decode_control(message, control)
    local at = 1
    while #control - at + 1 >= HEADER_SIZE do
        local start = control:sub(at, at + HEADER_SIZE - 1)
        buffers.copy(header, start, HEADER_SIZE)
        local level, kind = header.level, header.type
        local size = tonumber(header.length)
        if size < HEADER_SIZE then break end
        decode(message, level, kind,
            control:sub(at + HEADER_SIZE, at + size - 1))
        at = at + padded(size)
    end
end

-- Some descriptors of several are of no use to anyone.
local function drop_descriptors(message)
    for _, fd in ipairs(message.fds or {}) do C.minisock_close_received(fd) end
    message.fds = nil
end

-- The system doesn't wait for these either. poll couldn't: it tells of the
-- ordinary data that is there.
local NEVER_WAITING = bit.bor(MSG_DONTWAIT, MSG_ERRQUEUE, MSG_OOB)

---@class minisock.incoming_message
---@field data string
---@field addr string as recvfrom gives it
---@field flags integer
---@field truncated boolean the datagram was longer
---@field control_truncated boolean control messages were lost; descriptors
--- that came all the same have been closed
---@field fds? integer[] received descriptors; yours to close
---@field credentials? { pid: integer, uid: integer, gid: integer }
---@field control? { level: integer, type: integer, data: string }[]

--- Receives a message and what came beside it. Received descriptors are closed
--- on exec.
---@see recvmsg(2), cmsg(3), unix(7)
---@param fd integer
---@param timeout? number in ms, 10000 by default
---@param max? integer how many bytes of data at most, 2048 by default
---@param flags? integer MSG_PEEK, ...; with MSG_DONTWAIT, MSG_ERRQUEUE or
--- MSG_OOB the timeout is 0
---@return minisock.incoming_message? message, string? problem, integer? code
function messages.recvmsg(fd, timeout, max, flags)
    fd = check.descriptor(fd, 1, "recvmsg")
    timeout = check.timeout(timeout, 2, "recvmsg", DEFAULT_TIMEOUT)
    max = math.min(check.size(max, 3, "recvmsg", UDPMAXSIZE), buffers.LIMIT)
    flags = check.int(flags, 4, "recvmsg", 0)
    if bit.band(flags, NEVER_WAITING) ~= 0 then timeout = 0 end
    local incoming, piece = borrow(), PIECE()
    local buffer = buffers.scratch(max)
    piece.base, piece.size = buffer, max
    incoming.pieces, incoming.piece_count = piece, 1
    incoming.addr_length = ADDRESS_SIZE
    incoming.control_length = CONTROL_SIZE
    local n = shim.minisock_recvmsg(fd, incoming, flags, timeout)
    if n < 0 then
        give_back(incoming)
        return errors.fail("recvmsg", -n)
    end
    -- Before anything else is made: the buffer isn't borrowed.
    local data = ffi.string(buffer, math.min(n, max))
    local message = {
        data = data,
        addr = address.take(incoming.addr, incoming.addr_length),
        flags = incoming.flags,
        truncated = bit.band(incoming.flags, MSG_TRUNC) ~= 0,
        control_truncated = bit.band(incoming.flags, MSG_CTRUNC) ~= 0,
    }
    local control = ffi.string(incoming.control, incoming.control_length)
    give_back(incoming)
    decode_control(message, control)
    if message.control_truncated then drop_descriptors(message) end
    return message
end

return messages
