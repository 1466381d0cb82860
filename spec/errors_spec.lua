local ffi = require "ffi"
local ms = require "minisock"
local support = require "spec.support"

local keep = support.keep
local NAN = 0 / 0

-- Calls a public function; where an error should say it was, is LINE.
local LINE
local function call(name, arguments)
    LINE = debug.getinfo(1, "l").currentline + 1
    local result = { ms[name](unpack(arguments, 1, arguments.n)) }
    return result
end

local function show(value)
    if type(value) == "string" then return ("%q"):format(value) end
    return (tostring(value):gsub("0x%x+", "0x"))
end

-- What won't do for a parameter of each kind. NIL stands for nil.
local NIL = {}
local TYPES = { true, false, {}, print, io.stdout, coroutine.create(print),
    5LL, ffi.new("int[1]") }

local function values(...)
    local list = { ... }
    for _, value in ipairs(TYPES) do list[#list + 1] = value end
    return list
end

local BAD = {
    descriptor = values(NIL, "", "x", "1x", 1.5, "1.5", NAN, math.huge,
        -math.huge, 2^31, -2^31 - 1, 2^32, 2^53, 1e300),
    integer = values(NIL, "", "x", 1.5, NAN, math.huge, 2^31, -2^31 - 1, 2^32),
    optional_integer = values("", "x", 1.5, NAN, math.huge, 2^31, -2^31 - 1),
    port = values(NIL, "", "x", 1.5, NAN, -1, 65536, 2^32 + 80, "65536",
        "-1"),
    service = values(1.5, NAN, -1, 65536, 2^32 + 80, math.huge),
    -- A table in this place would be bind's options.
    bind_service = { true, false, print, 5LL, 1.5, NAN, -1, 65536 },
    string = values(NIL),
    optional_string = values(),
    timeout = values("", "soon", NAN, "nan"),
    sleep = values(NIL, "", "soon", NAN, -1, -0.5, math.huge),
    size = values("", "x", 0, -1, 1.5, NAN, 2^31, math.huge),
    flag = { NIL, 2, "yes", 1.5, NAN, {}, print, 5LL },
    boolean = { NIL, 0, 1, "", "true", {}, print, 5LL },
    pollfds = values(NIL, "1234567", "123456789"),
    whole_pollfds = values(NIL, "", "1234567", "123456789"),
    events = values(NIL, "", "x", 1.5, NAN, -1, 65536),
    memory = { NIL, true, "text", 5, {}, print, io.stdout, 5LL },
    data = { NIL, true, print, io.stdout, 5LL },
    index = values("", "x", 0, -1, 1.5, NAN, 8, 2^32 + 1),
    count = values("", "x", -1, 1.5, NAN),
    option_name = values(NIL, "", "SO_NOSUCH", 1.5, NAN, 2^31),
    which = values("", "x", 0, 2, -1, 1.5, NAN),
    scope = values(-1, 1.5, NAN, 2^32),
    bind_options = { 5LL, true, false, print, { backlog = -1 },
        { backlog = "x" }, { backlog = 2^31 }, { reuseport = 1 },
        { v6only = "yes" }, { timeout = NAN }, { timeout = {} },
        { nosuch = 1 }, { Backlog = 1 }, { 1 }, { [true] = 1 } },
    lookup_options = { 5LL, true, false, print, 5, "opts", { family = "x" },
        { family = 1.5 }, { family = 2^31 }, { socktype = true },
        { flags = NAN }, { timeout = "soon" }, { timeout = NAN },
        { nosuch = 1 }, { backlog = 1 }, { "family" } },
}

-- Every parameter of every function, and arguments that would do. FD is a
-- descriptor that is open.
local FD = {}
local ADDR = ms.inetaddr("127.0.0.1", 9)
local MEMORY = ffi.new("char[16]")

local PARAMETERS = {
    { "accept", { "descriptor", FD }, { "timeout", 0 } },
    { "bind", { "string", ADDR }, { "bind_options", {} } },
    { "bind", { "optional_string", "127.0.0.1" }, { "bind_service", 0 },
        { "bind_options", {} } },
    { "bindfd", { "descriptor", FD }, { "string", ADDR } },
    { "close", { "descriptor", FD } },
    { "connect", { "string", ADDR }, { nil, nil }, { "timeout", 0 } },
    { "connect", { "string", "127.0.0.1" }, { "service", 9 },
        { "timeout", 0 } },
    { "connectfd", { "descriptor", FD }, { "string", ADDR },
        { "timeout", 0 } },
    { "getaddrinfo", { "optional_string", "127.0.0.1" }, { "service", 0 },
        { "lookup_options", {} } },
    { "getnameinfo", { "string", ADDR } },
    { "getpeername", { "descriptor", FD } },
    { "getsockname", { "descriptor", FD } },
    { "getsockopt", { "descriptor", FD }, { "option_name", "SO_TYPE" } },
    { "getsockopt", { "descriptor", FD }, { "option_name", 1 },
        { "integer", 3 }, { "size", 4 } },
    { "inet6addr", { "string", "::1" }, { "port", 0 }, { "scope", 0 } },
    { "inetaddr", { "string", "127.0.0.1" }, { "port", 0 } },
    { "listen", { "descriptor", FD }, { "optional_integer", 5 } },
    { "msleep", { "sleep", 0 } },
    { "parseaddr", { "string", ADDR } },
    { "poll", { "pollfds", "" }, { "timeout", 0 } },
    { "pollfd", { "descriptor", 0 }, { "events", 1 } },
    { "read", { "descriptor", FD }, { "timeout", 0 }, { "size", 10 } },
    { "readinto", { "descriptor", FD }, { "memory", MEMORY },
        { "timeout", 0 }, { "size", 16 } },
    { "recvfrom", { "descriptor", FD }, { "timeout", 0 }, { "size", 10 } },
    { "sendall", { "descriptor", FD }, { "data", "abc" }, { "timeout", 0 },
        { "count", 1 } },
    { "sendto", { "descriptor", FD }, { "string", ADDR },
        { "string", "abc" } },
    { "setnonblocking", { "descriptor", FD }, { "boolean", true } },
    { "setsockopt", { "descriptor", FD }, { "option_name", "SO_KEEPALIVE" },
        { "flag", true } },
    { "setsockopt", { "descriptor", FD }, { "option_name", 1 },
        { "integer", 9 }, { "string", "\1\0\0\0" } },
    { "shutdown", { "descriptor", FD }, { "optional_integer", 0 } },
    { "socket", { "integer", 2 }, { "integer", 1 },
        { "optional_integer", 0 } },
    { "socketpair", { "optional_integer", 1 } },
    { "udpsocket", { "optional_string", "\2" } },
    { "unixaddr", { "string", "/a" } },
    { "unpollfd", { "whole_pollfds", "12345678" }, { "which", 1 } },
    { "write", { "descriptor", FD }, { "string", "abcdef" }, { "index", 1 },
        { "count", 1 } },
}
local function arguments_of(row, fd)
    local arguments = { n = #row - 1 }
    for i = 2, #row do
        local value = row[i][2]
        if value == FD then value = fd end
        arguments[i - 1] = value
    end
    return arguments
end

describe("a wrong argument", function()
    before_each(support.setup)
    after_each(support.teardown)

    local function assert_raises(row, position, value)
        local name = row[1]
        local fd = support.pair()
        local arguments = arguments_of(row, fd)
        if value == NIL then value = nil end
        arguments[position] = value
        local done, message = pcall(call, name, arguments)
        assert.is_false(done, show(value))
        local line, where, public = message:match("errors_spec%.lua:(%d+): "
            .. "bad argument #(%d+) to '(%w+)' %(.*%)$")
        assert.are.equal(name, public, message)
        assert.are.equal(position, tonumber(where), message)
        assert.are.equal(LINE, tonumber(line), message)
    end

    for _, row in ipairs(PARAMETERS) do
        for i = 2, #row do
            local kind = row[i][1]
            if kind then
                it(("raises where it was given: %s, #%d (%s)")
                    :format(row[1], i - 1, (kind:gsub("_", " "))), function()
                        for _, value in ipairs(BAD[kind]) do
                            assert_raises(row, i - 1, value)
                        end
                    end)
            end
        end
    end

    it("is told by what is expected and what came", function()
        local function message_of(name, ...)
            local _, message = pcall(ms[name], ...)
            return message
        end
        assert.are.equal("bad argument #1 to 'read' (descriptor expected, "
            .. "got nil)", message_of("read"))
        assert.are.equal("bad argument #1 to 'close' (descriptor expected, "
            .. "got 1.5)", message_of("close", 1.5))
        assert.are.equal("bad argument #2 to 'read' (timeout in "
            .. "milliseconds expected, got table)", message_of("read", 0, {}))
        assert.are.equal("bad argument #2 to 'write' (string expected, got "
            .. "boolean)", message_of("write", 0, true))
        assert.are.equal("bad argument #3 to 'write' (integer from 1 to 4 "
            .. "expected, got 0)", message_of("write", 0, "abc", 0))
        assert.are.equal("bad argument #2 to 'connect' (port or service "
            .. "expected, got 65536)", message_of("connect", "::1", 65536))
    end)

    it("is found in compiled code too", function()
        local a = support.pair()
        local raised = 0
        for i = 1, 300 do
            local fd = i % 3 == 0 and {} or a
            local done, message = pcall(ms.read, fd, 0)
            if not done then
                assert.are.equal("bad argument #1 to 'read' (descriptor "
                    .. "expected, got table)", message)
                raised = raised + 1
            end
        end
        assert.are.equal(100, raised)
    end)

    it("leaves no descriptor behind", function()
        local before = support.count_descriptors()
        pcall(ms.bind, "127.0.0.1", 0, { backlog = -1 })
        pcall(ms.bind, ADDR, { nosuch = 1 })
        pcall(ms.connect, "127.0.0.1", 9, {})
        pcall(ms.udpsocket, {})
        assert.are.equal(before, support.count_descriptors())
    end)
end)

describe("a descriptor that isn't open", function()
    before_each(support.setup)
    after_each(support.teardown)

    local LONG = 60000

    for name, arguments in pairs({
        accept = { LONG }, bindfd = { ADDR }, close = {},
        connectfd = { ADDR, LONG }, getpeername = {}, getsockname = {},
        getsockopt = { "SO_TYPE" }, listen = {}, read = { LONG },
        readinto = { MEMORY, LONG, 16 }, recvfrom = { LONG },
        sendall = { "x", LONG }, sendto = { ADDR, "x" },
        setnonblocking = { true }, setsockopt = { "SO_KEEPALIVE", true },
        shutdown = {}, write = { "x" },
    }) do
        local function assert_bad(fd)
            local took, result, message, code =
                support.timed(ms[name], fd, unpack(arguments))
            assert.is_nil(result)
            assert.are.equal(name .. " error: 9 Bad file descriptor", message)
            assert.are.equal(ms.EBADF, code)
            assert.is_true(took < LONG / 2)
        end

        it("is told at once by " .. name, function()
            for _, fd in ipairs({ -1, -2, -2^31, 2^31 - 1, "-1", 987654 }) do
                assert_bad(fd)
            end
        end)

        it(("is told at once by %s when it was closed"):format(name),
            function()
                local fd = ms.udpsocket()
                ms.close(fd)
                assert_bad(fd)
            end)
    end

    for name, arguments in pairs({
        accept = { math.huge }, connectfd = { ADDR, math.huge },
        read = { math.huge }, readinto = { MEMORY, math.huge, 16 },
        recvfrom = { math.huge }, sendall = { "x", math.huge },
    }) do
        it(("is told at once by %s that would wait for ever"):format(name),
            function()
                local result, _, code = ms[name](-1, unpack(arguments))
                assert.is_nil(result)
                assert.are.equal(ms.EBADF, code)
            end)
    end
end)

describe("a number", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("may come in digits", function()
        local a, b = support.pair()
        local fd = tostring(b)
        ms.write(tostring(a), "abcdef", "2", "3")
        assert.are.equal("b", ms.read(fd, "2000", "1"))
        assert.are.equal("c", (ms.recvfrom(fd, "2000", "1")))
        assert.are.equal(1, ms.readinto(fd, MEMORY, "2000", "16"))
        assert.is_true(ms.shutdown(tostring(a), tostring(ms.SHUT_WR)))
        assert.are.equal(ms.AF_UNIX, (ms.getsockopt(fd, "SO_DOMAIN")))
        assert.are.equal(ms.unixaddr(""), ms.getsockname(fd))
        keep(ms.socket("2", "1", "0"))
        keep(ms.udpsocket(ms.inetaddr("127.0.0.1", "0")))
    end)

    it("may be data", function()
        local a, b = support.pair()
        ms.write(a, 12)
        ms.sendall(a, 3.5)
        assert.are.equal("123.5", ms.read(b, 2000))
        local udp = keep(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
        ms.sendto(udp, ms.getsockname(udp), 678)
        assert.are.equal("678", (ms.recvfrom(udp, 2000)))
    end)
end)

describe("a host or a service", function()
    before_each(support.setup)
    after_each(support.teardown)

    for _, name in ipairs({ "bind", "connect", "getaddrinfo" }) do
        for _, host in ipairs({ "localhost\0x", "127.0.0.1\0", "\0",
                "\0localhost" }) do
            it(("isn't cut off at a NUL by %s: host %q"):format(name, host),
                function()
                    local result, message, code = ms[name](host, 80)
                    assert.is_nil(result)
                    assert.are.equal(name
                        .. " error: -2 Name or service not known", message)
                    assert.are.equal(ms.EAI_NONAME, code)
                end)
        end

        for _, service in ipairs({ "80\0", "\00080", "http\0x", "65536",
                "65616", " 65616", "+65616", "-1", "-65456",
                "99999999999999999999", "no-such-service", "80x" }) do
            it(("isn't misread by %s: service %q"):format(name, service),
                function()
                    local result, message, code =
                        ms[name]("127.0.0.1", service)
                    assert.is_nil(result)
                    assert.matches("^" .. name .. " error: %-8 ", message)
                    assert.are.equal(ms.EAI_SERVICE, code)
                end)
        end

        for _, service in ipairs({ -1, 65536, 65616, 2^32 + 80, 80.5, NAN,
                math.huge, true, print }) do
            it(("raises by %s for the service %s"):format(name,
                show(service)), function()
                    local done, message =
                        pcall(ms[name], "127.0.0.1", service)
                    assert.is_false(done)
                    assert.matches("^bad argument #2 to '" .. name
                        .. "' %(port or service expected", message)
                end)
        end
    end
end)

describe("an error", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("has the public function's name, the errno and the system's words",
        function()
            local result, message, code = ms.connect(
                ms.unixaddr("/no/such/socket"))
            assert.is_nil(result)
            assert.are.equal("connect error: 2 No such file or directory",
                message)
            assert.are.equal(ms.ENOENT, code)
        end)

    it("isn't changed by a finaliser that runs in between", function()
        local output = support.run([[
            local ffi = require "ffi"
            local ms = require "minisock"
            ffi.cdef "int minisock_spec_close(int) __asm__(\"close\");"
            local function litter()
                local closing = ffi.gc(ffi.new("int[1]"), function()
                    ffi.C.minisock_spec_close(-1)
                end)
                return closing ~= nil
            end
            local a, b = ms.socketpair()
            ms.shutdown(a, ms.SHUT_WR)
            local wrong = 0
            collectgarbage("setstepmul", 1000)
            for i = 1, 20000 do
                litter()
                local _, _, code = ms.write(a, "x")
                if code ~= ms.EPIPE then wrong = wrong + 1 end
                local _, _, why = ms.getpeername(0 - i)
                if why ~= ms.EBADF then wrong = wrong + 1 end
            end
            io.write(wrong)
        ]])
        assert.are.equal("0", output)
    end)
end)
