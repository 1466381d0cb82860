--- Throws random arguments at every function of minisock, in a process of its
--- own: luajit spec/fuzz.lua <seed> <calls> <directory> <record> [<noNULL>]
---
--- Fails at the first call that neither returns what a call returns nor raises
--- what a wrong argument raises, and when a descriptor is left over. The file
--- <record> says which call was the last, in case the process doesn't.
local bit = require "bit"
local ffi = require "ffi"
local lfs = require "lfs"
local ms = require "minisock"
local shim = require("minisock.cdefs").shim
local has_buffers, string_buffer = pcall(require, "string.buffer")

local SEED, CALLS = tonumber(arg[1]), tonumber(arg[2])
local DIRECTORY, RECORD, NO_NULL = arg[3], arg[4], arg[5] ~= nil

ffi.cdef [[
unsigned spec_alarm(unsigned) __asm__("alarm");
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

local function throw() error("a metamethod was called") end

local THROWING = {}
for _, event in ipairs {
    "index", "newindex", "call", "tostring", "len", "eq", "lt", "le", "concat",
    "unm", "add", "sub", "mul", "div", "mod", "pow", "pairs", "ipairs",
} do
    THROWING["__" .. event] = throw
end
ffi.metatype("struct spec_nasty", THROWING)

---------------------------------------------------------------------------
-- Descriptors
---------------------------------------------------------------------------

local function is_open(fd)
    return shim.minisock_is_nonblocking(fd) >= 0
end

-- The lowest number that is free: the next descriptor's.
local function lowest()
    local fd = C.spec_dup(0)
    C.spec_close(fd)
    return fd
end

local link = ffi.new("char[4096]")

local function target(fd)
    local n = C.spec_readlink("/proc/self/fd/" .. fd, link, 4096)
    return n > 0 and ffi.string(link, n) or "nothing"
end

local function list_descriptors()
    local list = {}
    for name in lfs.dir("/proc/self/fd") do
        local fd = tonumber(name)
        list[#list + 1] = fd and ("%d: %s"):format(fd, target(fd))
    end
    return table.concat(list, "\n")
end

-- So that closing never waits for what nobody reads.
local NO_LINGER = ffi.new("int[2]")
local SOL_SOCKET, SO_LINGER = ms.SOL_SOCKET, ms.SO_LINGER

local function dont_linger(fd)
    C.spec_setsockopt(fd, SOL_SOCKET, SO_LINGER, NO_LINGER,
        ffi.sizeof(NO_LINGER))
end

-- What the calls are given to work with: number to true.
local pool, numbers = {}, {}

local function keep(fd, ...)
    assert(fd, (...))
    pool[fd] = true
    numbers[#numbers + 1] = fd
    return fd, ...
end

local function keep_pair(socktype)
    local a, b = assert(ms.socketpair(socktype))
    keep(a)
    keep(b)
    return a, b
end

local ends = ffi.new("int[2]")

local function keep_pipe()
    assert(C.spec_pipe(ends) == 0)
    keep(ends[0])
    keep(ends[1])
end

local LOOPBACK = assert(ms.inetaddr("127.0.0.1", 0))
local sockets = 0
local addresses

-- Everything that minisock can have in its hands.
local function fill_pool()
    addresses = {}
    local _, addr = keep(ms.bind("127.0.0.1", 0))
    addresses[1] = addr
    keep(ms.connect(addr, nil, 5000))
    sockets = sockets + 1
    addresses[2] = assert(ms.unixaddr(DIRECTORY .. "/socket" .. sockets))
    local server = keep(ms.bind(addresses[2], { backlog = 3 }))
    keep(ms.connect(addresses[2], nil, 5000))
    keep(ms.accept(server, 5000))
    local a, b = keep_pair()
    assert(ms.sendall(a, ("data"):rep(100)))
    assert(ms.shutdown(b, ms.SHUT_WR))
    a = keep_pair(ms.SOCK_DGRAM)
    assert(ms.write(a, "datagram"))
    keep_pair(ms.SOCK_SEQPACKET)
    local udp = keep(ms.udpsocket(LOOPBACK))
    addresses[3] = assert(ms.getsockname(udp))
    assert(ms.sendto(udp, addresses[3], "datagram"))
    keep(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
    keep(ms.socket(ms.AF_UNIX, ms.SOCK_STREAM))
    local six = ms.udpsocket("\10")
    if six then keep(six) end
    keep_pipe()
    for i, fd in ipairs(numbers) do
        if i % 3 == 0 then assert(ms.setnonblocking(fd, true)) end
    end
end

local function empty_pool()
    for fd in pairs(pool) do
        dont_linger(fd)
        C.spec_close(fd)
    end
    pool, numbers = {}, {}
    os.remove(DIRECTORY .. "/socket" .. sockets)
end

---------------------------------------------------------------------------
-- Values
---------------------------------------------------------------------------

local random = math.random

local function one_of(list) return list[random(#list)] end

local HUGE = ("x"):rep(2^20)
local SCALARS = {
    true, false, 0 / 0, math.huge, -math.huge, 2^31, 2^31 - 1, -2^31, 2^32,
    2^32 + 4, 2^53, 1e300, -1, -0.5, 0.5, -0.0, 0, 1, 2, 3, 4.5, 5, 7, 8, 10,
    16, 64, 4096, 65535, 65536, 1e9,
}
local STRINGS = {
    "", "\0", "\0\0\0\0\0\0\0\0", "a\0b", "x", "hello", HUGE,
    "fe80::1%" .. HUGE, ("\255"):rep(128), "0", "7", "-1", "1e300", "nan",
    "0x10", " 5 ", "4.5", "4294967300", "99999999999999999999", "127.0.0.1",
    "::1", "fe80::1%lo",
    "localhost", "many.test", "slow.test", "system.test", "none.test", "*",
    "http", "@abstract", "./socket", "lo", "SO_RCVBUF", "SO_LINGER",
    "TCP_NODELAY", "SO_NOTHING", "AF_INET", "AF_INET\0", "\1", "\2", "\10",
}
-- None of the network's: nobody there should hear of this.
local IPS = { "127.0.0.1", "::1", "0.0.0.0", "::", "127.0.0.2", "1.2.3", "" }
local HOSTS = {
    "127.0.0.1", "::1", "localhost", "many.test", "slow.test", "none.test",
    "system.test", "", "*", "127.0.0.1\0",
}
local SERVICES = { 0, "0", 1, 7, "7", "http", "-1", "65536", "", "7\0" }
local OPTIONS = {
    "SO_REUSEADDR", "SO_RCVBUF", "SO_SNDBUF", "SO_LINGER", "SO_RCVTIMEO",
    "SO_SNDTIMEO", "SO_ERROR", "SO_TYPE", "TCP_NODELAY", "TCP_CONGESTION",
    "IP_TTL", "IPV6_V6ONLY", "SO_BINDTODEVICE", "SO_ACCEPTCONN", 0, 1, 6, 41,
}

local make = {}

function make.fd()
    local fd = one_of(numbers)
    local form = random(20)
    if form == 1 then return tostring(fd) end
    if form == 2 then return fd + 0.5 end
    if form == 3 then return fd + 2^32 end
    if form == 4 then return one_of { -1, 900, 2^31 - 1, -2^31 } end
    return fd
end

function make.address()
    local addr = one_of {
        addresses[1], addresses[2], addresses[3], LOOPBACK,
        ms.inet6addr("::1", random(0, 9)), ms.inetaddr("127.0.0.1", random(9)),
        ms.inet6addr("fe80::1", 1, random(0, 3)), ms.unixaddr(""),
        ms.unixaddr("@minisock-fuzz-" .. random(9)), ms.unixaddr("./none"),
        ms.unixaddr(DIRECTORY .. "/" .. ("n"):rep(random(0, 100))) or "",
        ms.unixaddr(("\0"):rep(random(108))),
    }
    local form = random(8)
    if form == 1 then return addr:sub(1, random(0, #addr)) end
    if form == 2 then return addr .. ("\0"):rep(random(200)) end
    return addr
end

function make.pollfds()
    local list = {}
    for i = 1, random(0, 5) do
        list[i] = ms.pollfd(random(3) == 1 and random(-5, 1000)
            or one_of(numbers), random(0, 65535))
    end
    local pollfds = table.concat(list)
    if random(8) == 1 then return pollfds:sub(1, random(0, #pollfds)) end
    if random(50) == 1 then return HUGE end
    return pollfds
end

function make.timeout() return one_of { 0, 0, 0, 0.25, 1, "0", "1" } end
function make.size() return random(2^random(0, 21)) end
function make.family() return one_of { ms.AF_UNIX, ms.AF_INET, ms.AF_INET6 } end
function make.socktype() return random(5) end
function make.how() return random(0, 2) end
function make.integer() return random(-2, 70) end
function make.port() return random(0, 9) end
function make.boolean() return random(2) == 1 end
function make.ip() return one_of(IPS) end
function make.host() return one_of(HOSTS) end
function make.service() return one_of(SERVICES) end
function make.service_or_none()
    return random(2) == 1 and make.service() or nil
end
function make.path() return one_of { "./path", "@name", "\0name", "" } end
function make.option() return one_of(OPTIONS) end
function make.bytes() return ("b"):rep(random(0, 2^random(0, 20))) end

local function empty_buffer()
    return string_buffer.new():put(("p"):rep(random(0, 1000)))
end

local room = ffi.new("uint8_t[?]", 2^21)

-- Of pointers only NULL and one with more behind it than any call asks for.
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
local NULLS = {
    "char *", "uint8_t *", "void *", "const char *", "struct spec_plain *",
    "char **", "int (*)[4]", "void (*)(void)",
}
if not NO_NULL then
    for _, name in ipairs(NULLS) do
        local null = ffi.cast(name, nil)
        CDATA[#CDATA + 1] = function() return null end
    end
end

function make.cdata() return one_of(CDATA)() end

function make.memory()
    local form = random(6)
    if form == 1 then return room end
    if form == 2 then return ffi.cast("char *", room) end
    if form == 3 and has_buffers then return empty_buffer() end
    if form == 4 then return make.bytes() end
    return make.cdata()
end

local KEYS = {
    backlog = "integer", reuseport = "boolean", v6only = "boolean",
    timeout = "timeout", family = "integer", socktype = "integer",
    flags = "integer", unknown = "integer",
}
local KEY_NAMES = {}
for name in pairs(KEYS) do KEY_NAMES[#KEY_NAMES + 1] = name end
table.sort(KEY_NAMES)

function make.options()
    local options = {}
    for _ = 1, random(0, 2) do
        local key = one_of(KEY_NAMES)
        local kind = random(3) == 1 and "anything" or KEYS[key]
        options[key] = make[kind]()
    end
    if random(9) == 1 then options[random(3)] = true end
    if random(9) == 1 then setmetatable(options, THROWING) end
    return options
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
    function() return has_buffers and empty_buffer() end,
    function() return newproxy(true) end,
    pretender,
}

local function object() return one_of(OBJECTS)() end
local function scalar() return one_of(SCALARS) end
local function text() return one_of(STRINGS) end
local function nothing() return nil end

local ANYTHING = {
    nothing, scalar, scalar, text, text, object, make.cdata, make.fd,
    make.address, make.pollfds, make.options, make.memory,
}

function make.anything() return one_of(ANYTHING)() end

---------------------------------------------------------------------------
-- Calls
---------------------------------------------------------------------------

-- What the functions expect, so that some calls get to the kernel. One that
-- isn't here gets anything.
local EXPECTED = {
    accept = { "fd", "timeout" },
    bind = { "host", "service", "options" },
    bindfd = { "fd", "address" },
    close = { "fd" },
    connect = { "address", "service_or_none", "timeout" },
    connectfd = { "fd", "address", "timeout" },
    getaddrinfo = { "host", "service", "options" },
    getnameinfo = { "address", "boolean" },
    getpeername = { "fd" },
    getsockname = { "fd" },
    getsockopt = { "fd", "option", "integer", "size" },
    inet6addr = { "ip", "port", "integer" },
    inetaddr = { "ip", "port" },
    listen = { "fd", "integer" },
    msleep = { "timeout" },
    parseaddr = { "address" },
    poll = { "pollfds", "timeout" },
    pollfd = { "fd", "integer" },
    read = { "fd", "timeout", "size" },
    readinto = { "fd", "memory", "timeout", "size" },
    recvfrom = { "fd", "timeout", "size" },
    sendall = { "fd", "memory", "timeout", "size" },
    sendto = { "fd", "address", "bytes" },
    setnonblocking = { "fd", "boolean" },
    setsockopt = { "fd", "option", "integer", "bytes" },
    shutdown = { "fd", "how" },
    socket = { "family", "socktype", "integer" },
    socketpair = { "socktype" },
    udpsocket = { "address" },
    unixaddr = { "path" },
    unpollfd = { "pollfds", "integer" },
    write = { "fd", "bytes", "size", "size" },
}

-- Where 0, 1 and 2 are no descriptors.
local NOT_FIRST = {}
for name, kinds in pairs(EXPECTED) do NOT_FIRST[name] = kinds[1] ~= "fd" end

-- Which argument is the timeout. All that can wait for ever are here.
local TIMEOUT = {
    accept = 2, connect = 3, connectfd = 3, poll = 2, msleep = 1, read = 2,
    readinto = 3, recvfrom = 2, sendall = 3,
}

local LONGEST = 2 -- ms

local function number(value)
    local kind = type(value)
    return (kind == "number" or kind == "string") and tonumber(value) or nil
end

local function descriptor(value)
    local fd = number(value)
    if fd and bit.tobit(fd) == fd and is_open(fd) then return fd end
end

-- Would the call wait, given all the time there is?
local function could_wait(name, args)
    if name == "msleep" then return number(args[1]) end
    if name == "poll" or name == "connect" then
        return type(args[1]) == "string" or number(args[1])
    end
    return descriptor(args[1])
end

-- NULL equals nil, so ask for the type.
local function is_long(value)
    local n = number(value)
    if n then return n < 0 or n > LONGEST end
    return type(value) == "nil" or type(value) == "cdata"
end

local function arguments(name)
    local kinds = EXPECTED[name] or {}
    local args = { n = random(0, math.max(#kinds, 4) + 1) }
    if random(4) > 1 then args.n = math.max(args.n, #kinds) end
    for i = 1, args.n do
        local kind = random(4) > 1 and kinds[i] or "anything"
        args[i] = make[kind]()
    end
    return args
end

-- Takes out what would block for good, and what is someone else's.
local function tame(name, args)
    local first = number(args[1])
    if not NOT_FIRST[name] and first and first >= 0 and first <= 2
            and first % 1 == 0 then
        args[1] = one_of(numbers)
    end
    -- A number is an address, too: of someone out there.
    if name == "connect" and first then args[1] = "127.0.0.1" end
    local at = TIMEOUT[name]
    if at and is_long(args[at]) and could_wait(name, args) then
        args[at] = one_of { 0, 0, LONGEST }
        args.n = math.max(args.n, at)
    end
    local fd = descriptor(args[1])
    if name == "close" and fd then dont_linger(fd) end
    if (name == "write" or name == "sendto") and fd then
        shim.minisock_set_nonblocking(fd, 1)
    end
    -- Beyond a pointer's memory the caller answers.
    if name == "sendall" or name == "readinto" then
        local n = number(args[4])
        if type(args[2]) == "cdata" and n and n > 2^21 then args[4] = 2^21 end
    end
end

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
    return type(value)
end

local function describe_call(name, args)
    local list = {}
    for i = 1, args.n do list[i] = describe(args[i]) end
    return ("%s(%s)"):format(name, table.concat(list, ", "))
end

-- Shared with the file: what is in it survives a crash.
local RECORD_SIZE = 4096
local O_RDWR, PROT_READ_WRITE, MAP_SHARED = 2, 3, 1
local record

do
    local file = assert(io.open(RECORD, "w"))
    file:write(("\0"):rep(RECORD_SIZE))
    file:close()
    local fd = C.spec_open(RECORD, O_RDWR)
    record = ffi.cast("char *", C.spec_mmap(nil, RECORD_SIZE, PROT_READ_WRITE,
        MAP_SHARED, fd, 0))
    assert(tonumber(ffi.cast("intptr_t", record)) ~= -1)
    C.spec_close(fd)
end

local function remember(what)
    ffi.copy(record, what:sub(1, RECORD_SIZE - 1))
end

local done = 0

local function fail(what, name, args)
    io.stdout:write(("%s\nin call %d: %s\n")
        :format(what, done, describe_call(name, args)))
    os.exit(1)
end

local function check_error(name, args, message)
    local pattern = "bad argument #[1-9] to '" .. name .. "' %("
    if type(message) ~= "string" or not message:find(pattern) then
        fail("raised " .. tostring(message), name, args)
    end
end

local function check_failure(name, args, message, code)
    local expected
    if type(message) == "string" and type(code) == "number" then
        expected = message == name .. " timeout" and code == ms.ETIMEDOUT
            or message:find(("%s error: %d "):format(name, code), 1, true) == 1
    end
    if not expected then
        fail(("failed with %s, %s"):format(tostring(message), tostring(code)),
            name, args)
    end
end

local function close_new(...)
    for i = 1, 2 do
        local fd = select(i, ...)
        if type(fd) == "number" and fd > 2 and bit.tobit(fd) == fd
                and not pool[fd] and is_open(fd) then
            dont_linger(fd)
            C.spec_close(fd)
        end
    end
end

local function forget_closed()
    for fd in pairs(pool) do
        if not is_open(fd) then pool[fd] = nil end
    end
end

local function call(name)
    local args = arguments(name)
    tame(name, args)
    remember(describe_call(name, args))
    done = done + 1
    local before = lowest()
    local function finish(returned, first, ...)
        if not returned then
            check_error(name, args, first)
        elseif type(first) == "nil" then
            check_failure(name, args, ...)
        elseif type(first) == "cdata" then
            fail("returned cdata", name, args)
        else
            close_new(first, ...)
        end
    end
    finish(pcall(ms[name], unpack(args, 1, args.n)))
    local after = lowest()
    if after > before then fail("leaked a descriptor", name, args) end
    if after < before or name == "close" then forget_closed() end
end

-- Any constant at all may be asked for.
local function index()
    local key = make.anything()
    local found, value = pcall(function() return ms[key] end)
    local kind = type(value)
    if not found or kind == "cdata" or kind == "userdata" then
        fail("indexing said " .. tostring(value), "index", { key, n = 1 })
    end
end

---------------------------------------------------------------------------
-- All of it
---------------------------------------------------------------------------

-- Most of the core is loaded when it is asked for.
for name in ("accept bind bindfd listen connect connectfd startconnect "
    .. "getaddrinfo msleep poll pollfd unpollfd getsockopt setsockopt "
    .. "recvfrom sendto recvmany sendmany"):gmatch("%S+") do
    assert(ms[name])
end

local names = {}
for name, value in pairs(ms) do
    if type(value) == "function" then names[#names + 1] = name end
end
table.sort(names)

local BATCH = 500

local function batch(standard)
    fill_pool()
    for _ = 1, BATCH do
        if done >= CALLS then break end
        call(one_of(names))
        if random(50) == 1 then index() end
    end
    empty_pool()
    for fd = 0, 2 do
        if target(fd) ~= standard[fd] then
            fail(("descriptor %d became %s"):format(fd, target(fd)),
                "one of the last", { n = 0 })
        end
    end
end

local function threads()
    local count = 0
    for name in lfs.dir("/proc/self/task") do
        if tonumber(name) then count = count + 1 end
    end
    return count
end

local function await_threads(at_first)
    for _ = 1, 3000 do
        if threads() == at_first then return end
        ms.msleep(10)
    end
    error("lookups went on and on")
end

C.spec_alarm(120)
math.randomseed(SEED)
assert(lfs.chdir(DIRECTORY))
-- What is inherited would be closed by a call that hits upon its number.
for fd = 3, 1023 do C.spec_close(fd) end
local standard = { [0] = target(0), target(1), target(2) }
local open, running = list_descriptors(), threads()
while done < CALLS do batch(standard) end
await_threads(running)
local left = list_descriptors()
assert(left == open, ("at first:\n%s\nat last:\n%s"):format(open, left))
print(("%d functions, %d calls"):format(#names, done))
