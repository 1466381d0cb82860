--- The memory that calls read into and send from: one scratch buffer of our
--- own, and the buffers that callers pass. Stands on LuaJIT alone.
local ffi = require "ffi"

local buffers = {}

local istype = ffi.istype
local getmetatable, type = getmetatable, type

--- How many bytes a read returns at most when it isn't told: of a stream, and
--- of a datagram.
buffers.BUFSIZE = 4096
buffers.UDPMAXSIZE = 2048

--- What one call takes at most through a Lua string or a string.buffer.
local LIMIT = 2^20
buffers.LIMIT = LIMIT

if not pcall(ffi.typeof, "struct minisock_page_1") then
    ffi.cdef [[
    struct minisock_page_1 { uint8_t bytes[4096]; }
        __attribute__((aligned(4096)));
    ]]
end

-- Whole pages, since the kernel fills these faster than what lies across them.
local PAGES = ffi.typeof("struct minisock_page_1[?]")
local PAGE = ffi.sizeof("struct minisock_page_1")
local SMALLEST = 65536

local scratch, capacity = nil, 0

local function grow(size)
    size = math.max(size, SMALLEST)
    local larger = PAGES(math.ceil(size / PAGE))
    if size <= LIMIT then scratch, capacity = larger, size end
    return larger
end

--- The scratch buffer, with room for size bytes; above LIMIT, memory that
--- isn't kept. What is in it lasts until the next call that uses it.
---@param size integer
---@return ffi.cdata*
function buffers.scratch(size)
    if size <= capacity then return scratch end
    return grow(size)
end

local barrier = ffi.new("int[1]")

--- ffi.copy, and ffi.fill with zeros, for memory that is used again and again.
--- LuaJIT takes no snapshot for them: a trace that is left soon after would go
--- back to before an earlier read of that memory, and read what is there now.
--- A plain store makes it take one.
---@param target ffi.cdata*
---@param source any
---@param size integer
function buffers.copy(target, source, size)
    barrier[0] = 0
    ffi.copy(target, source, size)
end

---@param target ffi.cdata*
---@param size integer
function buffers.clear(target, size)
    barrier[0] = 0
    ffi.fill(target, size)
end

--- Work memory that is used again, but by one call at a time: a finaliser may
--- run in the middle of any call, and make one itself. Then the spare one isn't
--- there, and it gets its own. What isn't given back, because something raised,
--- isn't missed.
---@generic T
---@param make fun(): T
---@param clear? fun(work: T) forgets what a call has left in it
---@return fun(): T borrow, fun(work: T) give_back
function buffers.lender(make, clear)
    local spare
    local function borrow()
        local work = spare
        spare = nil
        return work or make()
    end
    local function give_back(work)
        if clear then clear(work) end
        spare = work
    end
    return borrow, give_back
end

-- string.buffer came to LuaJIT 2.1 in 2021; without it, nobody can pass one.
local known, module = pcall(require, "string.buffer")
local methods = known and module.new() or {}

local string_buffers = setmetatable({}, { __mode = "k" })

-- LuaJIT doesn't compile getmetatable of a userdata, so each is asked once.
-- Another userdata may pretend to be a buffer; the methods know.
local function learn(value)
    local is_buffer = getmetatable(value) == "buffer"
        and pcall(methods.ref, value)
    string_buffers[value] = is_buffer
    return is_buffer
end

--- Is it a LuaJIT string.buffer?
---@param value any
---@return boolean
function buffers.is_buffer(value)
    return type(value) == "userdata" and (string_buffers[value] or learn(value))
end

buffers.ref, buffers.skip = methods.ref, methods.skip
buffers.reserve, buffers.commit = methods.reserve, methods.commit

local CHAR_POINTER = ffi.typeof("char *")
local BYTE_POINTER = ffi.typeof("uint8_t *")
local UNBOUNDED = math.huge

if not pcall(ffi.typeof, "struct minisock_buffers_1") then
    ffi.cdef [[
    struct minisock_buffers_1 { const void *source; void *target; };
    ]]
end

local pointers = ffi.new("struct minisock_buffers_1")
local function read_from(value) pointers.source = value end
local function write_to(value) pointers.target = value end

-- Whether a C call would take it: ffi.istype doesn't look at const.
local function converts(value, writing)
    return (pcall(writing and write_to or read_from, value))
end

-- An array's size is looked up once, for LuaJIT doesn't compile ffi.sizeof of
-- a variable-length array.
local sizes = setmetatable({}, { __mode = "k" })
local writable_sizes = setmetatable({}, { __mode = "k" })

-- LuaJIT reveals what a type is only through its name.
local function measure(value, writing)
    if not converts(value, writing) then return nil end
    local name = tostring(ffi.typeof(value)):match("^ctype<(.*)>$")
    if writing and name:find("^const ") then return nil end
    if name:find("%*$") then return UNBOUNDED end
    if not name:find("%]$") or name:find("(*", 1, true) then return nil end
    local known_size, size = pcall(ffi.sizeof, value)
    if not known_size then return nil end
    if writing then
        writable_sizes[value] = size
    else
        sizes[value] = size
    end
    return size
end

local function is_bytes(value)
    return istype(BYTE_POINTER, value) or istype(CHAR_POINTER, value)
end

--- How many bytes can be read from a cdata array; math.huge for a pointer, for
--- which the caller answers; nil for what is neither.
---@param value any
---@return number?
function buffers.readable(value)
    if type(value) ~= "cdata" then return nil end
    if is_bytes(value) and converts(value, false) then return UNBOUNDED end
    return sizes[value] or measure(value, false)
end

--- The same, for memory that can be written to.
---@param value any
---@return number?
function buffers.writable(value)
    if type(value) ~= "cdata" then return nil end
    if is_bytes(value) and converts(value, true) then return UNBOUNDED end
    return writable_sizes[value] or measure(value, true)
end

return buffers
