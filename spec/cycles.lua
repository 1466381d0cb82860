-- Connections that come and go, a hundred thousand of each kind: afterwards
-- there are as many descriptors as before, and not much more memory than after
-- a third of them.
--
--     CYCLES=100000 luajit spec/cycles.lua
local luasocket = require "minisock.luasocket"
local ms = require "minisock"
local socket = require "minisock.socket"
local unix_socket = require "minisock.luasocket.unix"
local process = require "spec.process"

local CYCLES = tonumber(os.getenv("CYCLES") or 100000)

-- LuaJIT compiles up to half a MiB of machine code, and keeps as much to tell
-- what it stands for. If each of 100,000 connections left 16 bytes behind, that
-- would be more.
local MORE = 1024 -- KiB

-- Each makes a listener, at a path or on loopback, and returns what closes it,
-- what connects to it and what accepts.
local LIBRARIES = {}

function LIBRARIES.core(path)
    local listener = assert(path and ms.bind(ms.unixaddr(path))
        or ms.bind("127.0.0.1", 0))
    local addr = ms.getsockname(listener)
    local ends = {
        close = ms.close,
        write = ms.write,
        read = function(fd) return ms.read(fd, 10000) end,
    }
    return ends, listener, function() return ms.connect(addr, nil, 10000) end,
        function() return ms.accept(listener, 10000) end
end

-- Objects have the same names for what is done with both kinds.
local function objects(new, host, port, methods)
    local listener = new()
    assert(listener:bind(host, port))
    assert(listener:listen(16))
    if host ~= nil and port then port = methods.port(listener) end
    local function connect()
        local client = new()
        client:settimeout(10)
        assert(client:connect(host, port))
        return client
    end
    return methods, listener, connect, function() return listener:accept() end
end

LIBRARIES["minisock.socket"] = function(path)
    local methods = {
        close = function(s) s:close() end,
        write = function(s, data) return s:write(data) end,
        read = function(s) return s:read(100) end,
        port = function(s) return s:getsockname()[2] end,
    }
    local function new()
        return socket.socket(path and ms.AF_UNIX or ms.AF_INET,
            ms.SOCK_STREAM)
    end
    return objects(new, path or "127.0.0.1", not path and 0 or nil, methods)
end

LIBRARIES["minisock.luasocket"] = function(path)
    local methods = {
        close = function(s) s:close() end,
        write = function(s, data) return s:send(data) end,
        read = function(s) return s:receive(1) end,
        port = function(s) return select(2, s:getsockname()) end,
    }
    return objects(path and unix_socket.stream or luasocket.tcp,
        path or "127.0.0.1", not path and 0 or nil, methods)
end

-- The accepted end is closed first: what TCP remembers of a connection then is
-- on the listener's port, and takes nobody else's.
local function cycle(ends, connect, accept, dropped)
    local client = assert(connect())
    local peer = assert(accept())
    assert(ends.write(client, "x"))
    assert(ends.read(peer) == "x")
    ends.close(peer)
    if not dropped then ends.close(client) end
end

local function run(name, kind, dropped)
    local path = kind == "Unix" and os.tmpname() or nil
    if path then os.remove(path) end
    local before = process.descriptors()
    local ends, listener, connect, accept = LIBRARIES[name](path)
    local warm
    for i = 1, CYCLES do
        cycle(ends, connect, accept, dropped)
        if i == math.ceil(CYCLES / 3) then warm = process.memory() end
    end
    local memory = process.memory()
    ends.close(listener)
    if path then os.remove(path) end
    local after = process.descriptors()
    local well = after == before and memory <= warm + MORE
    print(("%-18s %-4s %-9s %7d cycles, %2d descriptors became %2d, "
        .. "%5d KiB of memory %5d: %s"):format(name, kind,
        dropped and "collected" or "closed", CYCLES, before, after, warm,
        memory, well and "well" or "PROBLEM"))
    io.stdout:flush()
    return well
end

ms.load()
local KINDS = {
    { "core" }, { "minisock.socket" }, { "minisock.luasocket" },
    { "minisock.socket", true }, { "minisock.luasocket", true },
}
local all_well = true
for _, row in ipairs(KINDS) do
    for _, kind in ipairs({ "TCP", "Unix" }) do
        all_well = run(row[1], kind, row[2]) and all_well
    end
end
print(all_well and "all well" or "failed")
os.exit(all_well and 0 or 1, true)
