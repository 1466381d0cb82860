--- Throws random arguments at every function and method of the modules that
--- have objects, in a process of its own:
--- luajit spec/object_fuzz.lua <seed> <calls> <directory> <record> [<noNULL>]
---
--- Fails at the first call that raises anything but an argument error of the
--- caller's line, and when a descriptor is left over. What it prints at last is
--- how many calls each module got. <record> is fuzz.lua's.
local ffi = require "ffi"
local lfs = require "lfs"
local ms = require "minisock"
local process = require "spec.process"
local values = require "spec.fuzz_values"

local SEED, CALLS, DIRECTORY = tonumber(arg[1]), tonumber(arg[2]), arg[3]
if not arg[5] then values.add_nulls() end

local C = ffi.C
local random, one_of = math.random, values.one_of
local THROWING, HUGE = values.THROWING, values.HUGE
local is_buffer = require("minisock.buffers").is_buffer

-- Nobody sets a timeout for resty.connect.
require("minisock.resty.common").TIMEOUT = 2

local shim = require("minisock.cdefs").shim

local function is_open(fd)
    return shim.minisock_is_nonblocking(fd) >= 0
end

---------------------------------------------------------------------------
-- Modules
---------------------------------------------------------------------------

local resty = require "minisock.resty"
local luasocket = require "minisock.luasocket"
local unix = require "minisock.luasocket.unix"
local socket = require "minisock.socket"
local lsocket = require "minisock.lsocket"
local llsocket = require "minisock.llsocket"

-- Their tables of functions. With `asks`, a method of theirs tells the caller
-- that it was called on something else; others take what they get, as their
-- originals do, and just mustn't crash.
local MODULES = {
    ["minisock.batch"] = { require "minisock.batch" },
    ["minisock.llsocket"] = { llsocket, llsocket.inet, llsocket.unix,
        llsocket.socket, llsocket.device },
    ["minisock.lsocket"] = { lsocket },
    ["minisock.luasocket"] = { luasocket, luasocket.dns, unix, asks = true },
    ["minisock.poller"] = { require "minisock.poller" },
    ["minisock.pollset"] = { require "minisock.pollset" },
    ["minisock.resty"] = { resty },
    ["minisock.socket"] = { socket },
}

-- Not here: it's for good.
local LEFT_OUT = { install = true }

local function add_functions(list, functions)
    for name, value in pairs(functions) do
        if type(name) == "string" and type(value) == "function"
                and not LEFT_OUT[name] then
            list[#list + 1] = { name = name, call = value }
        end
    end
    return list
end

local function by_name(a, b) return a.name < b.name end

local NAMES = {}
for name, module in pairs(MODULES) do
    NAMES[#NAMES + 1] = name
    module.name, module.functions, module.kinds = name, {}, {}
    module.calls = 0
    for _, functions in ipairs(module) do
        add_functions(module.functions, functions)
    end
    table.sort(module.functions, by_name)
end
table.sort(NAMES)

-- By metatable: one of a module's kinds of objects.
local KINDS = {}

local function add_kind(module, name, hurry, sample)
    local metatable = debug.getmetatable(assert(sample))
    local methods = { { name = "tostring", call = tostring } }
    local index = metatable.__index
    while index do
        add_functions(methods, index)
        local above = debug.getmetatable(index)
        index = above and above.__index
    end
    table.sort(methods, by_name)
    local kind = { name = name, module = MODULES[module], methods = methods,
        hurry = hurry }
    for _, method in ipairs(methods) do
        if method.name == "close" then kind.close = method.call end
    end
    KINDS[metatable] = kind
    table.insert(MODULES[module].kinds, kind)
end

local function kind_of(value)
    if type(value) ~= "table" then return end
    local metatable = debug.getmetatable(value)
    return metatable and KINDS[metatable]
end

function values.kind_of(value)
    local kind = kind_of(value)
    return kind and kind.name
end

-- No call waits for long, whatever an object was told before.
local function hurry_in_ms(object) object:settimeout(1) end

local function hurry_in_seconds(object)
    object:settimeout(0.001, "b")
    object:settimeout(0.001, "t")
end

local function hurry_system(object)
    object:rcvtimeo(0.001)
    object:sndtimeo(0.001)
    object:nonblock(random(2) == 1)
end

local function nothing() end

local LOOPBACK = assert(llsocket.inet.getaddrinfo("127.0.0.1", "0", 1))[1]

add_kind("minisock.resty", "tcp", hurry_in_ms, resty.tcp())
add_kind("minisock.resty", "udp", hurry_in_ms, resty.udp())
add_kind("minisock.luasocket", "luasocket_tcp", hurry_in_seconds,
    luasocket.tcp())
add_kind("minisock.luasocket", "luasocket_udp", hurry_in_seconds,
    luasocket.udp())
add_kind("minisock.luasocket", "luasocket_stream", hurry_in_seconds,
    unix.stream())
add_kind("minisock.luasocket", "luasocket_dgram", hurry_in_seconds,
    unix.dgram())
add_kind("minisock.socket", "socket", hurry_in_seconds, socket.udp())
add_kind("minisock.lsocket", "lsocket", nothing,
    lsocket.bind("udp", "127.0.0.1", 0))
add_kind("minisock.llsocket", "llsocket", hurry_system,
    llsocket.socket.new(LOOPBACK))
add_kind("minisock.llsocket", "addrinfo", nothing, LOOPBACK)
add_kind("minisock.batch", "batch", nothing, require("minisock.batch").new())
add_kind("minisock.pollset", "pollset", nothing,
    require("minisock.pollset").new())
add_kind("minisock.poller", "poller", nothing,
    require("minisock.poller").new())

---------------------------------------------------------------------------
-- Objects
---------------------------------------------------------------------------

-- The descriptor that an object owns; cosockets don't tell theirs.
local function descriptor_of(object)
    local owner = kind_of(object) and rawget(object, "owner")
    return owner and owner.fd or -1
end

local function hurry(object)
    local kind = kind_of(object)
    if not kind then return end
    -- Another module's method may have changed it beyond use.
    pcall(kind.hurry, object)
    local fd = descriptor_of(object)
    if fd >= 0 then values.dont_linger(fd) end
end

local MOST = 60 -- objects of a module

local objects, iterators, peers
local port, path, server, path_server, sockets = nil, nil, nil, nil, 0

local function close(object)
    hurry(object)
    local kind = kind_of(object)
    if kind.close then pcall(kind.close, object) end
end

-- Keeps an object, and those in a list, to be used by later calls.
local function keep(value)
    local kind = kind_of(value)
    if not kind then
        if type(value) == "table" and not getmetatable(value) then
            for _, object in ipairs(value) do
                if kind_of(object) then keep(object) end
            end
        end
        return value
    end
    hurry(value)
    local list = kind.module.objects
    if #list >= MOST then
        close(value)
    else
        list[#list + 1] = value
        objects[#objects + 1] = value
    end
    return value
end

local function remove(list, object)
    for i = #list, 1, -1 do
        if rawequal(list[i], object) then table.remove(list, i) end
    end
end

-- What another kind's method has written into an object is nobody's fault.
local function give_up(object)
    close(object)
    remove(objects, object)
    remove(kind_of(object).module.objects, object)
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

local function fill_resty()
    local sock = keep(resty.tcp())
    assert(sock:connect("127.0.0.1", port))
    iterators[#iterators + 1] = sock:receiveuntil("--")
    assert(keep(resty.stream()):connect("unix:" .. path))
    keep(resty.udp()):setpeername("127.0.0.1", port)
end

local function fill_luasocket()
    assert(keep(assert(luasocket.connect("127.0.0.1", port))))
    assert(keep(assert(unix.stream())):connect(path))
    local master = keep(assert(luasocket.tcp4()))
    assert(master:bind("127.0.0.1", 0))
    assert(master:listen())
    local udp = keep(assert(luasocket.udp4()))
    assert(udp:setsockname("127.0.0.1", 0))
    keep(assert(unix.dgram()))
end

local function fill_socket()
    assert(keep(socket.tcp()):connect("127.0.0.1", port))
    assert(keep(socket.socket(ms.AF_UNIX, ms.SOCK_STREAM)):connect(path))
    assert(keep(socket.udp()):bind("127.0.0.1", 0))
    local listener = keep(socket.tcp())
    assert(listener:bind("127.0.0.1", 0))
    assert(listener:listen(5))
end

local function fill_lsocket()
    keep(assert(lsocket.connect("127.0.0.1", port)))
    keep(assert(lsocket.connect(path)))
    keep(assert(lsocket.bind("127.0.0.1", 0)))
    keep(assert(lsocket.bind("udp", "127.0.0.1", 0)))
end

local function fill_llsocket()
    local ais = assert(llsocket.inet.getaddrinfo("127.0.0.1", tostring(port),
        ms.SOCK_STREAM))
    local there = assert(llsocket.unix.getaddrinfo(path, ms.SOCK_STREAM))
    keep(ais)
    keep(there)
    for _, ai in ipairs { ais[1], there } do
        assert(not keep(assert(llsocket.socket.new(ai))):connect())
    end
    local listener = keep(assert(llsocket.socket.new(LOOPBACK)))
    assert(not listener:bind())
    assert(not listener:listen())
    keep(assert(llsocket.socket.pair(ms.SOCK_STREAM)))
    keep(assert(llsocket.socket.pair(ms.SOCK_DGRAM)))
end

local function fill_waiting()
    local poller = keep(require("minisock.poller").new(random(9)))
    local set = keep(require("minisock.pollset").new())
    for _, fd in ipairs(peers) do
        assert(poller:add(fd, ms.EPOLLIN, random(2) == 1 and {} or nil))
        set:add(fd, ms.POLLIN)
    end
    iterators[#iterators + 1] = set:ready()
    local batch = keep(require("minisock.batch").new(random(9), random(99)))
    local udp = assert(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
    peers[#peers + 1] = udp
    assert(ms.sendmany(udp, { "one", "", HUGE:sub(1, 99) },
        ms.getsockname(udp)))
    assert(ms.recvmany(udp, batch, 1000))
end

local function fill()
    objects, iterators, peers = {}, {}, {}
    for _, module in pairs(MODULES) do module.objects = {} end
    sockets = sockets + 1
    path = DIRECTORY .. "/socket" .. sockets
    local addr
    server, addr = assert(ms.bind("127.0.0.1", 0))
    port = ms.parseaddr(addr).port
    path_server = assert(ms.bind(assert(ms.unixaddr(path))))
    for _ = 1, 2 do
        fill_resty()
        fill_luasocket()
        fill_socket()
        fill_lsocket()
        fill_llsocket()
    end
    for _ = 1, 20 do serve_all() end
    fill_waiting()
    fill_waiting()
    for _, make in ipairs {
        resty.tcp, resty.udp, luasocket.tcp, luasocket.udp, luasocket.tcp4,
        luasocket.udp4, unix.stream, unix.dgram, socket.tcp, socket.udp,
        require("minisock.poller").new,
        function() return llsocket.socket.new(LOOPBACK) end,
        function() return lsocket.bind("127.0.0.1", 0) end,
    } do
        keep(make())
        close(keep(make()))
    end
end

local function empty()
    for _, object in ipairs(objects) do close(object) end
    for _, fd in ipairs(peers) do ms.close(fd) end
    ms.close(server)
    ms.close(path_server)
    os.remove(path)
    objects, iterators, peers = nil, nil, nil
    for _, module in pairs(MODULES) do module.objects = nil end
end

---------------------------------------------------------------------------
-- Values
---------------------------------------------------------------------------

local STRINGS = {
    "[::1]", "[", "[]", "*l", "*a", "*x", "unix:", "unix:\0x",
    "unix:" .. ("p"):rep(200), "--", "b", "t", "r", "both", "receive", "send",
    "inet", "inet6", "unspec", "keepalive", "reuseaddr", "tcp-nodelay",
    "sndbuf", "rcvbuf", "linger", "error", "broadcast", "ip-multicast-if",
    "ip-add-membership", "ipv6-add-membership", "recv-buffer-size",
    "send-buffer-size", "tcp-keepidle", "ipv6-v6only", "tcp", "udp", "mcast",
    "peer", "socket", "SO_REUSEADDR", "SO_RCVBUF", "SO_LINGER", "SO_RCVTIMEO",
    "TCP_NODELAY", "239.1.2.3", "ff02::123",
}
for _, text in ipairs(values.STRINGS) do STRINGS[#STRINGS + 1] = text end

local make = {}

make.cdata = values.cdata
make.alien = values.object
make.nothing = nothing
function make.scalar() return one_of(values.SCALARS) end
function make.text() return one_of(STRINGS) end
function make.object() return one_of(objects) end
function make.own_port() return one_of { port, tostring(port), 0, 1 } end
function make.path() return one_of { path, "unix:" .. path } end
function make.size() return random(0, 2^random(0, 18)) end
function make.small() return random(-1, 40) end
function make.fd() return one_of(peers) end
function make.host() return one_of { "127.0.0.1", path, "unix:" .. path } end
function make.wait() return one_of { 0, 0, 0.5, 1 } end

local function of_kind(name)
    for _ = 1, 50 do
        local object = one_of(objects)
        if kind_of(object).name == name then return object end
    end
end

function make.addrinfo() return of_kind("addrinfo") end

local KEYS = {
    "pool", "pool_size", "backlog", "inclusive", "warn", "on", "timeout",
    "multiaddr", "interface", "getfd", "dirty", "iov", "name", "fds",
    "credentials", "control", "pid", "uid", "gid", "level", "type", "data", 0,
    1.5,
}

local depth = 0
function make.table()
    depth = depth + 1
    local made = {}
    if depth < 3 then
        for i = 1, random(0, 3) do made[i] = make.anything() end
        for _ = 1, random(0, 2) do made[one_of(KEYS)] = make.anything() end
    end
    depth = depth - 1
    if random(9) == 1 then setmetatable(made, THROWING) end
    return made
end

function make.objects()
    local list = {}
    for i = 1, random(0, 5) do list[i] = one_of(objects) end
    return list
end

function make.lsockets()
    local list = {}
    for i = 1, random(0, 5) do list[i] = of_kind("lsocket") end
    return list
end

function make.message()
    local message = { iov = one_of { "bytes", { "one", "two" } } }
    if random(3) == 1 then message.fds = { one_of(peers) } end
    if random(3) == 1 then message.name = make.addrinfo() end
    if random(3) == 1 then message[one_of(KEYS)] = make.anything() end
    return message
end

local KINDS_OF_VALUES = {}
function make.anything() return make[one_of(KINDS_OF_VALUES)]() end
for name in pairs(make) do
    if name ~= "anything" then KINDS_OF_VALUES[#KINDS_OF_VALUES + 1] = name end
end
table.sort(KINDS_OF_VALUES)

-- What gets some calls past the checks; anything else gets anything. Of a
-- module with another meaning, by the name of both.
local EXPECTED = {
    connect = { "host", "own_port", "table" },
    setpeername = { "text", "own_port" }, setsockname = { "text", "own_port" },
    bind = { "text", "own_port" }, send = { "text", "size", "size" },
    sendto = { "text", "text", "own_port" }, receive = { "size", "text" },
    receiveany = { "size" }, receiveuntil = { "text", "table" },
    select = { "objects", "objects", "wait" },
    setoption = { "text", "scalar" }, getoption = { "text" },
    iterator = { "size" }, setkeepalive = { "size", "size" },
    read = { "size" }, write = { "text" }, recv = { "size" },
    recvfrom = { "size" }, readexactly = { "small" }, wait = { "wait" },
    add = { "fd", "small", "anything" }, modify = { "fd", "small" },
    remove = { "fd" }, set = { "small", "fd", "small" }, get = { "small" },
    ready = { "small" }, length = { "small" }, pointer = { "small" },
    address = { "small" }, recvmany = { "fd", "object", "wait" },
    sendmany = { "fd", "table" }, sendfd = { "fd", "nothing" },
    sendfile = { "fd", "size", "size" }, recvmsg = { "size" },
    sendmsg = { "message" }, shutdown = { "small" }, fromfd = { "fd" },
    setfd = { "fd" }, resolve = { "text" },
    ["minisock.lsocket.select"] = { "lsockets", "lsockets", "wait" },
    ["minisock.lsocket.connect"] = { "text", "text", "own_port" },
    ["minisock.llsocket.new"] = { "addrinfo" },
    ["minisock.llsocket.bind"] = { "addrinfo" },
    ["minisock.llsocket.connect"] = { "addrinfo" },
    ["minisock.llsocket.sendto"] = { "text", "addrinfo" },
    ["minisock.llsocket.dup"] = { "addrinfo" },
}

local function arguments(module, name)
    local kinds = EXPECTED[module.name .. "." .. name] or EXPECTED[name] or {}
    local args = { n = random(0, 4) }
    if random(4) > 1 then args.n = math.max(args.n, #kinds) end
    for i = 1, args.n do
        args[i] = make[random(3) > 1 and kinds[i] or "anything"]()
    end
    return args
end

---------------------------------------------------------------------------
-- What mustn't be called so
---------------------------------------------------------------------------

local function is_list(value)
    return type(value) == "nil" or type(value) == "table"
end

-- Which argument is the timeout, and in what it is.
local function timeout_of(module, name, args)
    if module.name == "minisock.lsocket" and name == "select" then
        return not is_list(args[1]) and 1 or not is_list(args[2]) and 2 or 3,
            0.002
    elseif name == "select" then
        return 3, 0.002
    elseif name == "sleep" then
        return 1, 0.002
    elseif name == "wait" then
        return 1, 2
    elseif name == "recvmany" then
        return 3, 2
    end
end

local function shorten(module, name, args)
    local at, longest = timeout_of(module, name, args)
    if not at then return end
    local given = tonumber(args[at])
    if type(args[at]) == "nil" and name ~= "sleep"
            or given and not (given >= 0 and given <= longest) then
        args[at] = one_of { 0, longest }
        args.n = math.max(args.n, at)
    end
end

local WANTS_HOST = {
    connect = true, setpeername = true, setsockname = true, bind = true,
    sendto = true, toip = true, tohostname = true, getaddrinfo = true,
    getaddrinfo6 = true, getnameinfo = true, resolve = true,
}

-- Who gives a descriptor answers for it.
local OWNED = { setfd = true, fromfd = true }

-- Takes out what would wait for ever, and what is someone else's. Returns the
-- descriptor that an object gets, if any.
local function tame(module, kind, name, args)
    shorten(module, name, args)
    -- Digits are an address of someone out there.
    for i = 1, args.n do
        local value = args[i]
        if WANTS_HOST[name] and (type(value) == "number"
                or type(value) == "string" and tonumber(value)) then
            args[i] = i == 1 and "127.0.0.1" or port
        end
    end
    local first = tonumber(args[1])
    -- Another listener's clients are nobody's.
    if name == "listen" and kind then args[1] = 5 end
    -- What is read there would be lost to someone else.
    if (name == "sendfile" or name == "recvmany" or name == "sendmany")
            and first then
        args[1] = one_of(peers)
        ms.setnonblocking(args[1], true)
    end
    -- Memory: there may be many of them.
    if module.name == "minisock.batch" and name == "new" then
        local size = tonumber(args[2])
        if size and size > 4096 and size <= 2^26 then args[2] = 4096 end
    end
    if OWNED[name] and first and first >= 0 then
        args[1] = C.spec_dup(peers[1])
        return args[1]
    end
end

---------------------------------------------------------------------------
-- Calls
---------------------------------------------------------------------------

local done, doing = 0, "nothing"

local function fail(what)
    io.stdout:write(("%s\nin call %d: %s\n")
        :format(tostring(what), done, doing))
    io.stdout:flush()
    os.exit(1)
end

-- What isn't in an argument's place, but is said in the same way.
local ALLOWED = {
    "^bad argument #%d+ to '[%w_]+' %(.+%)$",
    "^bad argument to 'select' %(.+%)$",
    "^calling '[%w_]+' on bad self %(.+ expected%)$",
    "^socket is never created nor connected$",
    "^bad \"inclusive\" option value type: %w+$",
    "^host and serv cannot be both nil$",
}

local function check_error(name, message, allowed)
    if type(message) ~= "string" then
        return fail("raised " .. type(message))
    end
    -- Of a value whose metamethods raise, that's what they do.
    if message:find(values.THROWN, 1, true) or allowed then return end
    -- Nor is it select's fault when a socket's getfd or dirty isn't a method.
    if name == "select" and (message:find("call local 'getfd'")
            or message:find("call local 'dirty'")) then
        return
    end
    local text = values.blaming_caller(message)
    for _, pattern in ipairs(text and ALLOWED or {}) do
        if text:find(pattern) then return end
    end
    fail(message)
end

-- Its arguments are its results; and it has something else to tell.
local ANY_RESULT = { skip = true, ready = true, iterator = true }

local function check_results(name, first, second)
    if ANY_RESULT[name] then return end
    if type(first) == "cdata" and name ~= "pointer" then
        fail("returned cdata")
    end
    if type(first) == "nil" and type(second) ~= "nil"
            and type(second) ~= "string" then
        fail("failed with a " .. type(second))
    end
end

-- Closes what came along, and what an object gave up.
local function clean_up(name, result, self, before, given)
    local made = name == "recvfd" and result and { result }
        or name == "recvmsg" and result and result.fds or {}
    for _, fd in ipairs(made) do C.spec_close(fd) end
    local after = descriptor_of(self)
    if before >= 0 and after ~= before and is_open(before) then
        C.spec_close(before)
    end
    if given and after ~= given and descriptor_of(result) ~= given then
        C.spec_close(given)
    end
end

local MAKES_ITERATOR = { receiveuntil = true, ready = true }

-- kind is the method's, and nil for a function.
local function run(module, kind, name, call, args)
    local self = kind and args[1]
    done, module.calls = done + 1, module.calls + 1
    doing = values.describe_call(
        (kind and kind.name or module.name) .. "." .. name, args)
    values.remember(doing)
    local before = descriptor_of(self)
    local ok, a, b = values.call(call, unpack(args, 1, args.n))
    local alien = kind and kind_of(self) ~= kind
    local allowed = alien and not module.asks
    if ok then
        if not allowed then check_results(name, a, b) end
    else
        check_error(name, a, allowed)
    end
    clean_up(name, ok and a, self, before, args.given)
    if alien and kind_of(self) then give_up(self) else hurry(self) end
    if ok and not alien then
        keep(a)
        keep(b)
        if MAKES_ITERATOR[name] and type(a) == "function"
                and #iterators < MOST then
            iterators[#iterators + 1] = a
        end
    end
    serve_all()
end

local function call_function(module)
    local chosen = one_of(module.functions)
    local args = arguments(module, chosen.name)
    args.given = tame(module, nil, chosen.name, args)
    run(module, nil, chosen.name, chosen.call, args)
end

local function call_method(module)
    if #module.objects == 0 then return end
    local self = one_of(module.objects)
    local kind = kind_of(self)
    -- Now and then, of what is none, or of an object of another kind.
    local form = random(20)
    if form == 1 then self = make.anything() end
    -- LuaJIT crashes in compiled code where a buffer's field is nil.
    if is_buffer(self) then self = nil end
    if form == 2 then self = one_of(objects) end
    -- One without the fields of a timeout would wait for ever.
    if kind_of(self) and kind_of(self) ~= kind then
        for _, field in ipairs { "timeout", "read_timeout", "send_timeout",
                "connect_timeout" } do
            rawset(self, field, 0.001)
        end
    end
    local method = one_of(kind.methods)
    local args = arguments(module, method.name)
    args.given = tame(module, kind, method.name, args)
    local all = { self, n = args.n + 1, given = args.given }
    for i = 1, args.n do all[i + 1] = args[i] end
    run(module, kind, method.name, method.call, all)
end

local function call_iterator(module)
    if #iterators == 0 then return end
    local args = arguments(module, "iterator")
    run(MODULES["minisock.resty"], { name = "iterator" }, "iterator",
        one_of(iterators), args)
end

---------------------------------------------------------------------------
-- All of it
---------------------------------------------------------------------------

local function collect()
    jit.flush()
    collectgarbage()
    collectgarbage()
end

local function run_some(standard)
    fill()
    for _ = 1, 500 do
        if done >= CALLS then break end
        local module = MODULES[one_of(NAMES)]
        local which = random(20)
        if which <= 5 then
            call_function(module)
        elseif which <= 19 then
            call_method(module)
        else
            call_iterator(module)
        end
    end
    empty()
    local now = values.standard_streams()
    if now ~= standard then fail("the standard streams became " .. now) end
end

process.alarm(120)
math.randomseed(SEED)
assert(lfs.chdir(DIRECTORY))
values.record_in(arg[4])
collect()
local standard = values.standard_streams()
local open = values.list_descriptors()
while done < CALLS do run_some(standard) end
values.await_threads()
for name in pairs(package.loaded) do
    if name:find("^minisock%.resty") then package.loaded[name] = nil end
end
local report = {}
for i, name in ipairs(NAMES) do
    local module = MODULES[name]
    local count = #module.functions
    for _, kind in ipairs(module.kinds) do count = count + #kind.methods end
    report[i] = ("%s: %d functions, %d calls")
        :format(name, count, module.calls)
end
resty, MODULES, KINDS = nil, nil, nil
collect()
local left = values.list_descriptors()
assert(left == open, ("at first:\n%s\nat last:\n%s"):format(open, left))
print(table.concat(report, "\n"))
