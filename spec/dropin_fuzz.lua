--- Throws random arguments at every function and method of minisock.resty and
--- minisock.luasocket, in a process of its own:
--- luajit spec/dropin_fuzz.lua <seed> <calls> <directory>
---
--- Fails at the first call that raises anything but an argument error of the
--- caller's line, and when a descriptor is left over.
local ffi = require "ffi"
local lfs = require "lfs"
local ms = require "minisock"
local resty = require "minisock.resty"
local luasocket = require "minisock.luasocket"
local unix = require "minisock.luasocket.unix"

local SEED, CALLS, DIRECTORY = tonumber(arg[1]), tonumber(arg[2]), arg[3]

ffi.cdef [[
unsigned spec_alarm(unsigned) __asm__("alarm");
int spec_close(int) __asm__("close");
int spec_dup(int) __asm__("dup");
int spec_readlink(const char *, char *, size_t) __asm__("readlink");
struct spec_nasty { int value; };
struct spec_plain { char text[16]; };
]]
local C = ffi.C

-- Nobody sets a timeout for resty.connect.
require("minisock.resty.common").TIMEOUT = 2

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

---------------------------------------------------------------------------
-- Objects
---------------------------------------------------------------------------

local random = math.random

local function one_of(list) return list[random(#list)] end

-- Each kind's methods, by the name that is told when one fails.
local METHODS = {
    tcp = getmetatable(resty.tcp()).__index,
    udp = getmetatable(resty.udp()).__index,
    luasocket_tcp = getmetatable(luasocket.tcp()).__index,
    luasocket_udp = getmetatable(luasocket.udp()).__index,
    luasocket_stream = getmetatable(assert(unix.stream())).__index,
    luasocket_dgram = getmetatable(assert(unix.dgram())).__index,
}
local KINDS = {}
for kind in pairs(METHODS) do KINDS[#KINDS + 1] = kind end
table.sort(KINDS)

local NAMES = {}
for kind, methods in pairs(METHODS) do
    NAMES[kind] = {}
    for name, value in pairs(methods) do
        if type(value) == "function" then
            NAMES[kind][#NAMES[kind] + 1] = name
        end
    end
    table.sort(NAMES[kind])
end

local function kind_of(object)
    local metatable = type(object) == "table" and getmetatable(object)
    if not metatable then return end
    for kind, methods in pairs(METHODS) do
        if rawget(metatable, "__index") == methods then return kind end
    end
end

-- No call waits for long, whatever it was told before.
local function hurry(object)
    local kind = kind_of(object)
    if not kind then return end
    if kind == "tcp" or kind == "udp" then
        METHODS[kind].settimeout(object, 1)
    else
        METHODS[kind].settimeout(object, 0.001, "b")
        METHODS[kind].settimeout(object, 0.001, "t")
    end
end

local objects, iterators, peers
local port, path, server, path_server, sockets = nil, nil, nil, nil, 0

local function keep(object, of_text)
    if kind_of(object) then
        hurry(object)
        objects[#objects + 1] = object
    elseif type(object) == "function" and of_text then
        iterators[#iterators + 1] = object
    end
    return object
end

-- The other end of what was connected, with something to read.
local function serve(listener)
    local fd = ms.accept(listener, 0)
    if not fd then return end
    peers[#peers + 1] = fd
    ms.write(fd, one_of { "line\r\nrest--", "a", "\n\n\0\n", "--x" })
    if random(8) == 1 then ms.shutdown(fd, ms.SHUT_WR) end
end

local function serve_all()
    serve(server)
    serve(path_server)
end

local function fill()
    objects, iterators, peers = {}, {}, {}
    sockets = sockets + 1
    path = DIRECTORY .. "/socket" .. sockets
    local addr
    server, addr = assert(ms.bind("127.0.0.1", 0))
    port = ms.parseaddr(addr).port
    path_server = assert(ms.bind(assert(ms.unixaddr(path))))
    for _ = 1, 3 do
        local sock = keep(resty.tcp())
        assert(sock:connect("127.0.0.1", port))
        keep(sock:receiveuntil("--"), true)
        sock = keep(resty.stream())
        assert(sock:connect("unix:" .. path))
        keep(resty.udp()):setpeername("127.0.0.1", port)
        assert(keep(assert(luasocket.connect("127.0.0.1", port))))
        assert(keep(assert(unix.stream())):connect(path))
        local master = keep(assert(luasocket.tcp4()))
        assert(master:bind("127.0.0.1", 0))
        assert(master:listen())
        local udp = keep(assert(luasocket.udp4()))
        assert(udp:setsockname("127.0.0.1", 0))
        keep(assert(unix.dgram()))
    end
    for _, make in ipairs {
        resty.tcp, resty.udp, luasocket.tcp, luasocket.udp, luasocket.tcp4,
        luasocket.udp4, unix.stream, unix.dgram,
    } do
        keep(make())
        keep(make()):close()
    end
    for _ = 1, 10 do serve_all() end
end

local function empty()
    for _, object in ipairs(objects) do
        METHODS[kind_of(object)].close(object)
    end
    for _, fd in ipairs(peers) do ms.close(fd) end
    ms.close(server)
    ms.close(path_server)
    os.remove(path)
    objects, iterators, peers = nil, nil, nil
end

---------------------------------------------------------------------------
-- Values
---------------------------------------------------------------------------

local HUGE = ("x"):rep(2^20)
local SCALARS = {
    true, false, 0 / 0, math.huge, -math.huge, 2^31, 2^31 - 1, -2^31, 2^32,
    2^32 + 4, 2^53, 1e300, -1, -0.5, 0.5, -0.0, 0, 1, 2, 3, 4.5, 7, 64, 4096,
    65535, 65536, 1e9,
}
-- None of the network's: nobody there should hear of this.
local STRINGS = {
    "", "\0", "\0\0\0\0", "a\0b", "x", "hello", HUGE, ("\255"):rep(128), "0",
    "7", "-1", "1e300", "nan", "inf", "0x10", " 5 ", "4.5", "4294967300",
    "99999999999999999999", "127.0.0.1", "127.0.0.1\0", "::1", "[::1]",
    "[", "[]", "localhost", "none.test", "*", "*l", "*a", "*x", "unix:",
    "unix:\0x", "unix:" .. ("p"):rep(200), "--", "b", "t", "r", "both",
    "receive", "send", "inet", "inet6", "unspec", "keepalive", "reuseaddr",
    "tcp-nodelay", "sndbuf", "rcvbuf", "linger", "error", "broadcast",
    "ip-multicast-if", "ip-add-membership", "ipv6-add-membership",
    "recv-buffer-size", "send-buffer-size", "tcp-keepidle", "ipv6-v6only",
}

local CDATA = {
    function() return 42LL end,
    function() return 0ULL end,
    function() return ffi.new("char[16]") end,
    function() return ffi.new("int[4]") end,
    function() return ffi.new("struct spec_plain") end,
    function() return ffi.new("struct spec_nasty") end,
    function() return ffi.new("complex") end,
    function() return ffi.new("bool", true) end,
    function() return ffi.typeof("char[16]") end,
    function() return ffi.cast("char *", nil) end,
    function() return ffi.cast("void *", nil) end,
    function() return ffi.cast("void (*)(void)", nil) end,
    function() return ffi.C end,
}

local function pretender()
    local userdata = newproxy(true)
    local metatable = getmetatable(userdata)
    for event in pairs(THROWING) do metatable[event] = throw end
    return userdata
end

local make = {}

function make.scalar() return one_of(SCALARS) end
function make.text() return one_of(STRINGS) end
function make.cdata() return one_of(CDATA)() end
function make.nothing() return nil end
function make.throwing() return setmetatable({}, THROWING) end
function make.call() return throw end
function make.userdata() return random(2) == 1 and io.stdout or pretender() end
function make.thread() return coroutine.create(throw) end
function make.object() return one_of(objects) end
function make.port() return one_of { port, tostring(port), 0, 1 } end
function make.path() return one_of { path, "unix:" .. path } end
function make.size() return random(0, 2^random(0, 18)) end

local depth = 0
function make.table()
    depth = depth + 1
    local made = {}
    if depth < 3 then
        for i = 1, random(0, 3) do made[i] = make.anything() end
        for _ = 1, random(0, 2) do
            made[one_of {
                "pool", "pool_size", "backlog", "inclusive", "warn", "on",
                "timeout", "multiaddr", "interface", "getfd", "dirty", 0, 1.5,
            }] = make.anything()
        end
    end
    depth = depth - 1
    return made
end

function make.objects()
    local list = {}
    for i = 1, random(0, 5) do list[i] = one_of(objects) end
    return list
end

local KINDS_OF_VALUES = {}
function make.anything() return make[one_of(KINDS_OF_VALUES)]() end
for name in pairs(make) do
    if name ~= "anything" then KINDS_OF_VALUES[#KINDS_OF_VALUES + 1] = name end
end
table.sort(KINDS_OF_VALUES)

-- What gets some calls past the checks; anything else gets anything.
local EXPECTED = {
    connect = { "text", "port", "table" },
    setpeername = { "text", "port" }, setsockname = { "text", "port" },
    bind = { "text", "port" }, send = { "text", "size", "size" },
    sendto = { "text", "text", "port" }, receive = { "size", "text" },
    receiveany = { "size" }, receiveuntil = { "text", "table" },
    select = { "objects", "objects", "scalar" },
    setoption = { "text", "scalar" }, getoption = { "text" },
    iterator = { "size" }, setkeepalive = { "size", "size" },
}

local function arguments(name)
    local kinds = EXPECTED[name] or {}
    local args = { n = random(0, 4) }
    if random(4) > 1 then args.n = math.max(args.n, #kinds) end
    for i = 1, args.n do
        args[i] = make[random(3) > 1 and kinds[i] or "anything"]()
    end
    if (name == "connect" or name == "setpeername") and random(2) == 1 then
        args[1] = one_of { "127.0.0.1", path, "unix:" .. path }
        args.n = math.max(args.n, 1)
    end
    return args
end

local LONGEST = 0.002 -- s

local WANTS_HOST = {
    connect = true, setpeername = true, setsockname = true, bind = true,
    sendto = true, toip = true, tohostname = true, getaddrinfo = true,
    getnameinfo = true,
}

-- Takes out what would wait for ever, and what is someone else's.
local function tame(kind, name, args)
    local at = name == "select" and 3 or name == "sleep" and 1
    if at then
        local seconds = tonumber(args[at])
        if type(args[at]) == "nil" and name == "select"
                or seconds and not (seconds >= 0 and seconds <= LONGEST) then
            args[at] = one_of { 0, LONGEST }
            args.n = math.max(args.n, at)
        end
    end
    -- Who gives a descriptor answers for it: one of its own.
    if name == "setfd" and tonumber(args[1]) then
        args[1] = C.spec_dup(peers[1])
    end
    -- Digits are an address of someone out there.
    for i = 1, args.n do
        local value = args[i]
        if WANTS_HOST[name] and (type(value) == "number"
                or type(value) == "string" and tonumber(value)) then
            args[i] = i == 1 and "127.0.0.1" or port
        end
    end
    -- Another listener's clients are nobody's.
    if name == "listen" and kind then args[1] = 5 end
end

---------------------------------------------------------------------------
-- Calls
---------------------------------------------------------------------------

local done, doing = 0, "nothing"

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
    return kind_of(value) or type(value)
end

local function describe_call(name, self, args)
    local list = { describe(self) }
    for i = 1, args.n do list[#list + 1] = describe(args[i]) end
    return ("%s(%s)"):format(name, table.concat(list, ", "))
end

local function fail(what)
    io.stdout:write(("%s\nin call %d: %s\n")
        :format(tostring(what), done, doing))
    io.stdout:flush()
    os.exit(1)
end

-- Whom an error is to blame: the line below.
local CALLER = debug.getinfo(1, "S").short_src
local caller_line

local function perform(call, ...)
    caller_line = debug.getinfo(1, "l").currentline + 1
    local a, b, c, d = call(...)
    return a, b, c, d
end

-- What isn't in an argument's place, but is said in the same way.
local ALLOWED = {
    "^bad argument #%d+ to '[%w_]+' %(.+%)$",
    "^calling '[%w_]+' on bad self %(.+ expected%)$",
    "^socket is never created nor connected$",
    "^bad \"inclusive\" option value type: %w+$",
    "^host and serv cannot be both nil$",
}

local function check_error(message)
    if type(message) ~= "string" then
        return fail("raised " .. type(message))
    end
    -- Of a value whose metamethods raise, that's what they do.
    if message:find("a metamethod was called", 1, true) then return end
    -- Nor is it select's fault when a socket's getfd or dirty isn't a method.
    if doing:find("^select%(") and (message:find("call local 'getfd'")
            or message:find("call local 'dirty'")) then
        return
    end
    local prefix = ("%s:%d: "):format(CALLER, caller_line)
    if message:sub(1, #prefix) ~= prefix then return fail(message) end
    local text = message:sub(#prefix + 1)
    for _, pattern in ipairs(ALLOWED) do
        if text:find(pattern) then return end
    end
    fail(message)
end

local function check_results(first, second)
    if doing:find("^skip%(") then return end -- its arguments are its results
    if type(first) == "cdata" then fail("returned cdata") end
    if type(first) == "nil" and type(second) ~= "nil"
            and type(second) ~= "string" then
        fail("failed with a " .. type(second))
    end
end

local function run(kind, name, call, self, args)
    tame(kind, name, args)
    doing = describe_call(kind and kind .. "." .. name or name, self, args)
    done = done + 1
    local before = kind and kind:find("luasocket") and kind_of(self) == kind
        and self:getfd()
    local ok, a, b, c
    if kind then
        ok, a, b, c = pcall(perform, call, self, unpack(args, 1, args.n))
    else
        ok, a, b, c = pcall(perform, call, unpack(args, 1, args.n))
    end
    if ok then check_results(a, b, c) else check_error(a) end
    if name == "setfd" then
        -- What it had is given up, and what it refused is still there.
        if ok and before and before >= 0 then C.spec_close(before) end
        if not ok and tonumber(args[1]) then C.spec_close(args[1]) end
    end
    hurry(self)
    if ok and #objects < 200 then
        keep(a, name == "receiveuntil")
    elseif ok and kind_of(a) then
        METHODS[kind_of(a)].close(a)
    end
    serve_all()
end

local FUNCTIONS = {}

local function add_functions(module, prefix)
    for name, value in pairs(module) do
        if type(value) == "function" and name ~= "install" then
            FUNCTIONS[#FUNCTIONS + 1] = { prefix .. name, value, name }
        end
    end
end
add_functions(resty, "resty.")
add_functions(luasocket, "luasocket.")
add_functions(luasocket.dns, "dns.")
add_functions(unix, "unix.")
table.sort(FUNCTIONS, function(a, b) return a[1] < b[1] end)

local function call_function()
    local chosen = one_of(FUNCTIONS)
    run(nil, chosen[3], chosen[2], nil, arguments(chosen[3]))
end

local function call_method()
    local self = one_of(objects)
    local kind = kind_of(self)
    -- Now and then, of an object of another kind, or of what is none: here
    -- cosockets don't ask.
    if random(10) == 1 then
        local other = one_of(KINDS)
        if other:find("luasocket") then
            kind = other
            if random(2) == 1 then self = make.anything() end
        end
    end
    local name = one_of(NAMES[kind])
    run(kind, name, METHODS[kind][name], self, arguments(name))
end

local function call_iterator()
    if #iterators == 0 then return end
    run("iterator", "iterator", function(_, ...)
        return one_of(iterators)(...)
    end, nil, arguments("iterator"))
end

---------------------------------------------------------------------------
-- All of it
---------------------------------------------------------------------------

local function collect()
    jit.flush()
    collectgarbage()
    collectgarbage()
end

local function batch(standard)
    fill()
    for _ = 1, 500 do
        if done >= CALLS then break end
        local which = random(10)
        if which <= 3 then
            call_function()
        elseif which <= 9 then
            call_method()
        else
            call_iterator()
        end
    end
    empty()
    for fd = 0, 2 do
        if target(fd) ~= standard[fd] then
            fail(("descriptor %d became %s"):format(fd, target(fd)))
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
collect()
local standard = { [0] = target(0), target(1), target(2) }
local open, running = list_descriptors(), threads()
while done < CALLS do batch(standard) end
await_threads(running)
for name in pairs(package.loaded) do
    if name:find("^minisock%.resty") then package.loaded[name] = nil end
end
resty, FUNCTIONS, METHODS, NAMES = nil, nil, nil, nil
collect()
local left = list_descriptors()
assert(left == open, ("at first:\n%s\nat last:\n%s"):format(open, left))
print(("%d calls"):format(done))
