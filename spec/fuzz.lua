--- Throws random arguments at every function of minisock, in a process of its
--- own: luajit spec/fuzz.lua <seed> <calls> <directory> <record> [<noNULL>]
--- The modules of objects have object_fuzz.lua.
---
--- Fails at the first call that neither returns what a call returns nor raises
--- what a wrong argument raises, and when a descriptor is left over. The file
--- <record> says which call was the last, in case the process doesn't.
local bit = require "bit"
local ffi = require "ffi"
local lfs = require "lfs"
local ms = require "minisock"
local process = require "spec.process"
local values = require "spec.fuzz_values"
local shim = require("minisock.cdefs").shim
local batch = require "minisock.batch"
local has_buffers = values.has_buffers

local SEED, CALLS = tonumber(arg[1]), tonumber(arg[2])
local DIRECTORY, RECORD, NO_NULL = arg[3], arg[4], arg[5] ~= nil

local C = ffi.C
local random, one_of = math.random, values.one_of
local THROWING, HUGE = values.THROWING, values.HUGE
local dont_linger, describe_call = values.dont_linger, values.describe_call

if not NO_NULL then values.add_nulls() end

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

-- What the calls are given to work with: number to true.
local pool, numbers = {}, {}
local files -- of these, those to send from

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
    files = { keep(C.spec_open("/proc/self/exe", 0)),
        keep(C.spec_open("/dev/null", 0)) }
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

local STRINGS = {
    "http", "@abstract", "./socket", "SO_RCVBUF", "SO_LINGER", "TCP_NODELAY",
    "SO_NOTHING", "AF_INET", "AF_INET\0", "\1", "\2", "\10",
}
for _, text in ipairs(values.STRINGS) do STRINGS[#STRINGS + 1] = text end

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

local room = ffi.new("uint8_t[?]", 2^21)

make.cdata = values.cdata

local batches = { batch.new(), batch.new(1, 1), batch.new(7, 300) }

function make.batch() return one_of(batches) end
function make.flags() return one_of { 0, 0, ms.MSG_PEEK, ms.MSG_DONTWAIT } end
function make.file() return one_of(files) end
function make.group() return one_of { "239.1.2.3", "ff02::123", "::1" } end
function make.interface() return one_of { "lo", 1, 0, "none" } end

function make.list()
    local list = {}
    for i = 1, random(0, 2^random(0, 11)) do list[i] = "message" end
    if random(4) == 1 then list[random(0, 5)] = make.anything() end
    if random(9) == 1 then setmetatable(list, THROWING) end
    return list
end

function make.address_or_list()
    local form = random(3)
    if form == 1 then return nil end
    local addr = make.address()
    if form == 2 then return addr end
    local list = {}
    for i = 1, random(0, 2^random(0, 11)) do list[i] = addr end
    return list
end

-- What sendmsg takes; a metamethod of such a table may be called.
function make.message()
    local message = { data = make.bytes() }
    if random(2) == 1 then message.data = make.list() end
    if random(3) == 1 then message.addr = make.address() end
    if random(3) == 1 then
        message.fds = {}
        for i = 1, random(0, 300) do message.fds[i] = one_of(numbers) end
    end
    if random(9) == 1 then
        message.credentials = { pid = random(9), uid = 0, gid = 0 }
    end
    if random(9) == 1 then
        message.control = { { level = random(0, 2), type = random(0, 9),
            data = ("\0"):rep(random(0, 100)) } }
    end
    if random(4) == 1 then
        local key = one_of { "data", "addr", "fds", "credentials", "control" }
        message[key] = make.anything()
    end
    return message
end

function make.memory()
    local form = random(7)
    if form == 1 then return room end
    if form == 2 then return ffi.cast("char *", room) end
    if form == 3 and has_buffers then return values.buffer() end
    if form == 4 then return make.bytes() end
    if form == 5 then return make.list() end
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

local object = values.object
local function scalar() return one_of(values.SCALARS) end
local function text() return one_of(STRINGS) end
local function nothing() return nil end

local ANYTHING = {
    nothing, scalar, scalar, text, text, object, make.cdata, make.fd,
    make.address, make.pollfds, make.options, make.memory, make.batch,
    make.list, make.message,
}

function make.anything() return one_of(ANYTHING)() end

---------------------------------------------------------------------------
-- Calls
---------------------------------------------------------------------------

-- What the functions expect, so that some calls get to the kernel. One that
-- isn't here gets anything.
local EXPECTED = {
    accept = { "fd", "timeout" },
    atmark = { "fd" },
    bind = { "host", "service", "options" },
    bindfd = { "fd", "address" },
    blocksource = { "fd", "group", "ip", "interface" },
    close = { "fd" },
    connect = { "address", "service_or_none", "timeout" },
    connectfd = { "fd", "address", "timeout" },
    disconnect = { "fd" },
    dup = { "fd" },
    dup2 = { "fd", "fd" },
    getaddrinfo = { "host", "service", "options" },
    getcloexec = { "fd" },
    getnameinfo = { "address", "boolean" },
    getnonblocking = { "fd" },
    getpeername = { "fd" },
    getsockname = { "fd" },
    getsockopt = { "fd", "option", "integer", "size" },
    inet6addr = { "ip", "port", "integer" },
    inetaddr = { "ip", "port" },
    joingroup = { "fd", "group", "interface", "ip" },
    leavegroup = { "fd", "group", "interface", "ip" },
    listen = { "fd", "integer" },
    msleep = { "timeout" },
    parseaddr = { "address" },
    poll = { "pollfds", "timeout" },
    pollfd = { "fd", "integer" },
    read = { "fd", "timeout", "size" },
    readinto = { "fd", "memory", "timeout", "size" },
    recvfrom = { "fd", "timeout", "size" },
    recvmany = { "fd", "batch", "timeout" },
    recvmsg = { "fd", "timeout", "size", "flags" },
    sendall = { "fd", "memory", "timeout", "size" },
    sendfile = { "fd", "file", "size", "integer" },
    sendmany = { "fd", "list", "address_or_list" },
    sendmsg = { "fd", "message", "flags" },
    sendto = { "fd", "address", "bytes" },
    setcloexec = { "fd", "boolean" },
    setnonblocking = { "fd", "boolean" },
    setsockopt = { "fd", "option", "integer", "bytes" },
    shutdown = { "fd", "how" },
    socket = { "family", "socktype", "integer" },
    socketpair = { "socktype" },
    startconnect = { "fd", "address" },
    udpsocket = { "address" },
    unblocksource = { "fd", "group", "ip", "interface" },
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
    readinto = 3, recvfrom = 2, recvmany = 3, recvmsg = 2, sendall = 3,
}

-- These wait for ever on a descriptor that blocks.
local BLOCKS = {
    write = true, sendto = true, sendmany = true, sendmsg = true,
    sendfile = true, startconnect = true,
}

-- Of these the second is a descriptor, too.
local TWO = { dup2 = true, sendfile = true }

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

local function is_standard(value)
    local fd = number(value)
    return fd and fd >= 0 and fd <= 2 and fd % 1 == 0
end

-- Takes out what would block for good, and what is someone else's.
local function tame(name, args)
    local first = number(args[1])
    if not NOT_FIRST[name] and is_standard(first) then
        args[1] = one_of(numbers)
    end
    if TWO[name] and is_standard(args[2]) then args[2] = one_of(numbers) end
    -- A number is an address, too: of someone out there.
    if name == "connect" and first then args[1] = "127.0.0.1" end
    local at = TIMEOUT[name]
    if at and is_long(args[at]) and could_wait(name, args) then
        args[at] = one_of { 0, 0, LONGEST }
        args.n = math.max(args.n, at)
    end
    local fd = descriptor(args[1])
    if name == "close" and fd then dont_linger(fd) end
    if BLOCKS[name] and fd then shim.minisock_set_nonblocking(fd, 1) end
    -- Beyond a pointer's memory the caller answers.
    if name == "sendall" or name == "readinto" then
        local n = number(args[4])
        if type(args[2]) == "cdata" and n and n > 2^21 then args[4] = 2^21 end
    end
end

local done = 0

local function fail(what, name, args)
    io.stdout:write(("%s\nin call %d: %s\n")
        :format(what, done, describe_call(name, args)))
    os.exit(1)
end

local function check_error(name, args, message)
    local blame = values.blaming_caller(message)
    if blame and blame:find("^bad argument #[1-9] to '" .. name .. "' %(") then
        return
    end
    -- sendmsg reads its table as Lua does.
    if name == "sendmsg" and tostring(message):find(values.THROWN, 1, true) then
        return
    end
    fail("raised " .. tostring(message), name, args)
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

local function close_new(fd)
    if type(fd) == "number" and fd > 2 and bit.tobit(fd) == fd
            and not pool[fd] and is_open(fd) then
        dont_linger(fd)
        C.spec_close(fd)
    end
end

-- What a call may have made: its results, or descriptors in a message.
local function close_results(name, args, first, second)
    close_new(first)
    close_new(second)
    if name == "recvmsg" then
        for _, fd in ipairs(first.fds or {}) do close_new(fd) end
    elseif name == "dup2" then
        close_new(number(args[2]))
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
    values.remember(describe_call(name, args))
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
            close_results(name, args, first, ...)
        end
    end
    finish(values.call(ms[name], unpack(args, 1, args.n)))
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

assert(ms.load())

local names = {}
for name, value in pairs(ms) do
    if type(value) == "function" then names[#names + 1] = name end
end
table.sort(names)

local BATCH = 500

local function run_batch(standard)
    fill_pool()
    for _ = 1, BATCH do
        if done >= CALLS then break end
        call(one_of(names))
        if random(50) == 1 then index() end
    end
    empty_pool()
    local now = values.standard_streams()
    if now ~= standard then
        fail("the standard streams became " .. now, "one of the last",
            { n = 0 })
    end
end

process.alarm(120)
math.randomseed(SEED)
assert(lfs.chdir(DIRECTORY))
values.record_in(RECORD)
-- What is inherited would be closed by a call that hits upon its number.
for fd = 3, 1023 do C.spec_close(fd) end
local standard = values.standard_streams()
local open = values.list_descriptors()
while done < CALLS do run_batch(standard) end
values.await_threads()
local left = values.list_descriptors()
assert(left == open, ("at first:\n%s\nat last:\n%s"):format(open, left))
print(("minisock: %d functions, %d calls"):format(#names, done))
