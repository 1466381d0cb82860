--- What the fuzzers share: values of every kind that a call may be given, how
--- to write them down, and who is to blame for an error.
local ffi = require "ffi"
local lfs = require "lfs"
local ms = require "minisock"
local process = require "spec.process"

local values = { has_buffers = pcall(require, "string.buffer") }

ffi.cdef [[
int spec_open(const char *, int) __asm__("open");
int spec_dup(int) __asm__("dup");
int spec_close(int) __asm__("close");
int spec_pipe(int *) __asm__("pipe");
int spec_readlink(const char *, char *, size_t) __asm__("readlink");
int spec_setsockopt(int, int, int, const void *, unsigned)
    __asm__("setsockopt");
void *spec_mmap(void *, size_t, int, int, int, int64_t) __asm__("mmap64");

struct spec_nasty { int value; };
struct spec_plain { char text[16]; };
]]
local C = ffi.C

local random = math.random

local function one_of(list) return list[random(#list)] end
values.one_of = one_of

values.THROWN = "a metamethod was called"

local function throw() error(values.THROWN) end
values.throw = throw

local THROWING = {}
for _, event in ipairs {
    "index", "newindex", "call", "tostring", "len", "eq", "lt", "le", "concat",
    "unm", "add", "sub", "mul", "div", "mod", "pow", "pairs", "ipairs",
} do
    THROWING["__" .. event] = throw
end
values.THROWING = THROWING
ffi.metatype("struct spec_nasty", THROWING)

---------------------------------------------------------------------------
-- Descriptors
---------------------------------------------------------------------------

local link = ffi.new("char[4096]")

local function target(fd)
    local n = C.spec_readlink("/proc/self/fd/" .. fd, link, 4096)
    return n > 0 and ffi.string(link, n) or "nothing"
end

--- Every open descriptor, a line each.
function values.list_descriptors()
    local list = {}
    for name in lfs.dir("/proc/self/fd") do
        local fd = tonumber(name)
        list[#list + 1] = fd and ("%d: %s"):format(fd, target(fd))
    end
    return table.concat(list, "\n")
end

--- What the standard streams are, so that it can be compared later.
function values.standard_streams()
    return ("%s, %s, %s"):format(target(0), target(1), target(2))
end

-- So that closing never waits for what nobody reads.
local NO_LINGER = ffi.new("int[2]")
local SOL_SOCKET, SO_LINGER = ms.SOL_SOCKET, ms.SO_LINGER

function values.dont_linger(fd)
    C.spec_setsockopt(fd, SOL_SOCKET, SO_LINGER, NO_LINGER,
        ffi.sizeof(NO_LINGER))
end

local threads = process.threads() -- qemu has one of its own

--- Lookups that were given up go on in threads of their own.
function values.await_threads()
    for _ = 1, 3000 do
        if process.threads() == threads then return end
        ms.msleep(10)
    end
    error("lookups went on and on")
end

---------------------------------------------------------------------------
-- Values
---------------------------------------------------------------------------

values.HUGE = ("x"):rep(2^20)

values.SCALARS = {
    true, false, 0 / 0, math.huge, -math.huge, 2^31, 2^31 - 1, -2^31, 2^32,
    2^32 + 4, 2^53, 1e300, -1, -0.5, 0.5, -0.0, 0, 1, 2, 3, 4.5, 5, 7, 8, 10,
    16, 64, 4096, 65535, 65536, 1e9,
}

-- None of the network's: nobody there should hear of this.
values.STRINGS = {
    "", "\0", "\0\0\0\0\0\0\0\0", "a\0b", "x", "hello", values.HUGE,
    "fe80::1%" .. values.HUGE, ("\255"):rep(128), "0", "7", "-1", "1e300",
    "nan", "inf", "0x10", " 5 ", "4.5", "4294967300", "99999999999999999999",
    "127.0.0.1", "127.0.0.1\0", "::1", "fe80::1%lo", "localhost", "many.test",
    "slow.test", "system.test", "none.test", "*", "lo",
}

local CDATA = {
    function() return 42LL end,
    function() return 0ULL end,
    function() return ffi.new("char[16]") end,
    function() return ffi.new("const char[5]") end,
    function() return ffi.new("uint8_t[?]", random(0, 5000)) end,
    function() return ffi.new("int[4]") end,
    function() return ffi.new("double[2][3]") end,
    function() return ffi.new("struct spec_plain") end,
    function() return ffi.new("struct spec_plain[2]") end,
    function() return ffi.new("struct spec_nasty") end,
    function() return ffi.new("struct spec_nasty[2]") end,
    function() return ffi.new("complex") end,
    function() return ffi.new("bool", true) end,
    function() return ffi.new("char *[2]") end,
    function() return ffi.typeof("char[16]") end,
    function() return ffi.typeof("uint8_t *") end,
    function() return ffi.typeof("int") end,
    function() return ffi.C end,
}

--- Of pointers only NULL: what lies behind another, the caller answers for.
function values.add_nulls()
    for _, name in ipairs {
        "char *", "uint8_t *", "void *", "const char *", "struct spec_plain *",
        "char **", "int (*)[4]", "void (*)(void)",
    } do
        local null = ffi.cast(name, nil)
        CDATA[#CDATA + 1] = function() return null end
    end
end

function values.cdata() return one_of(CDATA)() end

function values.buffer()
    return require("string.buffer").new():put(("p"):rep(random(0, 1000)))
end

local function pretender()
    local userdata = newproxy(true)
    local metatable = getmetatable(userdata)
    for event in pairs(THROWING) do metatable[event] = throw end
    metatable.__metatable = "buffer"
    return userdata
end

local OBJECTS = {
    function() return {} end,
    function() return setmetatable({}, THROWING) end,
    function() return throw end,
    function() return coroutine.create(throw) end,
    function() return io.stdout end,
    function() return values.has_buffers and values.buffer() end,
    function() return newproxy(true) end,
    pretender,
}

--- What no call expects.
function values.object() return one_of(OBJECTS)() end

---------------------------------------------------------------------------
-- Calls
---------------------------------------------------------------------------

local function describe(value)
    if type(value) == "string" then
        return ("%q"):format(value:sub(1, 30)) .. "--[[" .. #value .. "]]"
    elseif type(value) == "number" then
        return ("%.17g"):format(value)
    elseif type(value) == "cdata" then
        return tostring(ffi.typeof(value))
    elseif type(value) == "boolean" or type(value) == "nil" then
        return tostring(value)
    end
    return values.kind_of and values.kind_of(value) or type(value)
end
values.describe = describe

--- A call as text; args.n is how many arguments it has.
function values.describe_call(name, args)
    local list = {}
    for i = 1, args.n do list[i] = describe(args[i]) end
    return ("%s(%s)"):format(name, table.concat(list, ", "))
end

-- Shared with a file: what is in it survives a crash.
local RECORD_SIZE = 4096
local O_RDWR, PROT_READ_WRITE, MAP_SHARED = 2, 3, 1
local record

--- Has the file of that name say which call was the last.
function values.record_in(name)
    local file = assert(io.open(name, "w"))
    file:write(("\0"):rep(RECORD_SIZE))
    file:close()
    local fd = C.spec_open(name, O_RDWR)
    record = ffi.cast("char *", C.spec_mmap(nil, RECORD_SIZE, PROT_READ_WRITE,
        MAP_SHARED, fd, 0))
    assert(tonumber(ffi.cast("intptr_t", record)) ~= -1)
    C.spec_close(fd)
end

--- Says that this call is the last one.
function values.remember(what)
    ffi.copy(record, what:sub(1, RECORD_SIZE - 1))
end

-- Whom an error is to blame: the line in it that calls.
local caller = debug.getinfo(1, "S").short_src

local function perform(call, ...)
    local a, b, c, d = call(...)
    return a, b, c, d
end
local prefix = ("%s:%d: "):format(caller,
    debug.getinfo(perform, "S").linedefined + 1)

--- Calls as pcall does, from a line that is known.
function values.call(call, ...)
    return pcall(perform, call, ...)
end

--- What an error says behind the line that called; nothing when it blames
--- another line.
function values.blaming_caller(message)
    if type(message) == "string" and message:sub(1, #prefix) == prefix then
        return message:sub(#prefix + 1)
    end
end

return values
