--- What spec/hosts_spec.lua runs inside nginx.
-- luacheck: read globals ngx
local ffi = require "ffi"
local batch = require "minisock.batch"
local clock = require "minisock.clock"
local luasocket = require "minisock.luasocket"
local ms = require "minisock"
local poller = require "minisock.poller"
local pollset = require "minisock.pollset"
local resty = require "minisock.resty"
local socket = require "minisock.socket"

local hosted = {}

local HOST = "127.0.0.1"

---------------------------------------------------------------------------
-- Waiting while signals come
---------------------------------------------------------------------------

ffi.cdef [[ int spec_hosted_poll(void *, long, int) __asm__("poll"); ]]

--- Whether a signal ends a wait that isn't minisock's.
function hosted.is_interrupted()
    local n = ffi.C.spec_hosted_poll(nil, 0, 5000)
    return n < 0 and ffi.errno() == ms.EINTR
end

local T = 170 -- ms
local PATIENCE = 1 -- seconds, from which on SO_RCVTIMEO waits

local function expired(_, _, code) return code == ms.ETIMEDOUT end
local function says_timeout(_, reason) return reason == "timeout" end
local function says_expired(_, reason)
    return reason == socket.ERROR_TIMEOUT
end
local function is_none(n) return n == 0 end
local function is_done(result) return result == nil or result == true end
local function is_null(answer) return answer and answer:find("^%*%-1") end

-- A listener whose queue is full: nobody is answered who connects to it.
local function full_listener(addr)
    local fd = assert(ms.bind(addr, { backlog = 0 }))
    addr = ms.getsockname(fd)
    local connected
    repeat connected = ms.connect(addr, nil, 100) until not connected
    return addr
end

-- A connection of any object's, with a timeout in its own unit.
local function connected(sock, port, timeout)
    if timeout then sock:settimeout(timeout) end
    assert(sock:connect(HOST, port))
    return sock
end

-- Redis waits for 200 ms by its own clock, then says that there was nothing.
local BLOCK, BLOCKED = "BLPOP nothing 0.2\r\n", 190

-- Where nothing happens: all that the waits below wait for.
local function scene(redis_port)
    local s = { array = ffi.new("uint8_t[100]"), batch = batch.new() }
    local addr
    s.listener, addr = assert(ms.bind(HOST, 0))
    s.port = ms.parseaddr(addr).port
    s.silent = assert(ms.connect(addr, nil, 1000))
    s.full = full_listener(ms.inetaddr(HOST, 0))
    s.full_unix = full_listener(ms.unixaddr("@" .. os.tmpname()))
    s.stuck = assert(ms.socketpair())
    repeat
        local sent = ms.sendall(s.stuck, ("x"):rep(65536), 0)
    until not sent
    s.udp = assert(ms.udpsocket(ms.inetaddr(HOST, 0)))
    s.set, s.poller = pollset.new(), assert(poller.new())
    s.set:add(s.silent, ms.POLLIN)
    assert(s.poller:add(s.silent, ms.EPOLLIN))
    s.empty = assert(ms.bind(HOST, 0))
    s.redis = assert(ms.connect(HOST, redis_port, 1000))
    return s
end

local function waits(s, redis_port)
    local full_port = ms.parseaddr(s.full).port
    local object = connected(socket.tcp(), s.port, T / 1000)
    local patient = connected(socket.tcp(), s.port, PATIENCE)
    local theirs = connected(luasocket.tcp(), s.port, T / 1000)
    local cosocket = connected(resty.tcp(), s.port, T)
    local asking = connected(socket.tcp(), redis_port)
    local they_ask = connected(luasocket.tcp(), redis_port)
    local coasking = connected(resty.tcp(), redis_port)
    local function knock(sock, timeout)
        sock:settimeout(timeout)
        return sock:connect(HOST, full_port)
    end
    return {
        { "read", T, expired, function() return ms.read(s.silent, T) end },
        { "readinto", T, expired,
            function() return ms.readinto(s.silent, s.array, T, 100) end },
        { "sendall", T, expired,
            function() return ms.sendall(s.stuck, "x", T) end },
        { "accept", T, expired, function() return ms.accept(s.empty, T) end },
        { "connect", T, expired,
            function() return ms.connect(s.full, nil, T) end },
        { "connect, Unix", T, expired,
            function() return ms.connect(s.full_unix, nil, T) end },
        { "recvfrom", T, expired, function() return ms.recvfrom(s.udp, T) end },
        { "recvmsg", T, expired, function() return ms.recvmsg(s.udp, T) end },
        { "recvmany", T, expired,
            function() return ms.recvmany(s.udp, s.batch, T) end },
        { "poll", T, is_none, function()
            return select(2, ms.poll(ms.pollfd(s.silent, ms.POLLIN), T))
        end },
        { "msleep", T, is_done, function() return ms.msleep(T) end },
        { "pollset", T, is_none, function() return s.set:wait(T) end },
        { "poller", T, is_none, function() return s.poller:wait(T) end },
        { "socket read", T, says_expired,
            function() return object:read(10) end },
        { "socket readline", T, says_expired,
            function() return object:readline() end },
        { "socket read, patient", 1000 * PATIENCE, says_expired,
            function() return patient:readexactly(1) end },
        { "socket connect", T, says_expired,
            function() return knock(socket.tcp(), T / 1000) end },
        { "luasocket receive", T, says_timeout,
            function() return theirs:receive() end },
        { "luasocket connect", T, says_timeout,
            function() return knock(luasocket.tcp(), T / 1000) end },
        { "luasocket select", T, function(_, _, r) return r == "timeout" end,
            function() return luasocket.select({ theirs }, nil, T / 1000) end },
        { "luasocket sleep", T, is_done,
            function() return luasocket.sleep(T / 1000) end },
        { "resty receive", T, says_timeout,
            function() return cosocket:receive() end },
        { "resty connect", T, says_timeout,
            function() return knock(resty.tcp(), T) end },
        { "read, for ever", BLOCKED, is_null, function()
            ms.sendall(s.redis, BLOCK)
            return ms.read(s.redis, -1)
        end },
        { "socket readline, for ever", BLOCKED, is_null, function()
            asking:write(BLOCK)
            return asking:readline()
        end },
        { "luasocket receive, for ever", BLOCKED, is_null, function()
            they_ask:send(BLOCK)
            return they_ask:receive()
        end },
        { "resty receive, for long", BLOCKED, is_null, function()
            coasking:send(BLOCK)
            return coasking:receive()
        end },
    }
end

--- Waits in every way. A line for each: how long it was to take, how long it
--- took, whether its results were right, its name.
function hosted.waits(redis_port)
    local list = waits(scene(redis_port), redis_port)
    local lines = {}
    for i, wait in ipairs(list) do
        local name, least, is_right, call = unpack(wait)
        local start = clock.now()
        local results = { call() }
        local took = clock.now() - start
        lines[i] = ("%d %.3f %s %s\n"):format(least, took,
            is_right(unpack(results, 1, 3)) and "right" or "wrong", name)
    end
    return table.concat(lines)
end

---------------------------------------------------------------------------
-- Sockets that stay open, while nginx is reloaded
---------------------------------------------------------------------------

local kept = {}

-- Redis answers with what it was sent: another answer is another's.
local count = 0
local function new_text()
    count = count + 1
    return ("%d-%d"):format(ngx.worker.pid(), count)
end

local function ping_core(fd)
    local text = new_text()
    assert(ms.sendall(fd, "PING " .. text .. "\r\n", 10000))
    assert(ms.read(fd, 10000) == ("$%d\r\n%s\r\n"):format(#text, text))
end

-- Other objects, whose methods have other names.
local function ping(sock, send, receive)
    local text = new_text()
    assert(sock[send](sock, "PING " .. text .. "\r\n"))
    assert(sock[receive](sock) == "$" .. #text)
    assert(sock[receive](sock) == text)
end

local function ping_object(sock) ping(sock, "write", "readline") end

local function ping_pooled(port)
    local sock = resty.tcp()
    sock:settimeout(10000)
    assert(sock:connect(HOST, port))
    ping(sock, "send", "receive")
    assert(sock:setkeepalive())
end

--- For init_by_lua, whose pool the workers inherit, and its socket object.
function hosted.init(port)
    ping_pooled(port)
    kept.inherited = connected(socket.tcp(), port, 10)
end

--- For init_worker_by_lua.
function hosted.open(port)
    kept.fd = assert(ms.connect(HOST, port, 10000))
    kept.object = connected(socket.tcp(), port, 10)
    ping_pooled(port)
end

--- For requests: goes once over each.
function hosted.use(port)
    ping_core(kept.fd)
    ping_object(kept.object)
    ping_pooled(port)
    return "used\n"
end

---------------------------------------------------------------------------
-- All there is, in a Lua VM of one request's
---------------------------------------------------------------------------

--- A round over sockets of each kind, of which only some are closed.
function hosted.everything(port, path)
    local fd = assert(ms.connect(ms.unixaddr(path), nil, 10000))
    ping_core(fd)
    local watched = assert(poller.new())
    assert(watched:add(fd, ms.EPOLLOUT))
    assert(watched:wait(10000) == 1)
    ms.close(fd)
    for _ = 1, 2 do ping_object(connected(socket.tcp(), port, 10)) end
    for _ = 1, 2 do ping_pooled(port) end
    local theirs = connected(luasocket.tcp(), port, 10)
    ping(theirs, "send", "receive")
    return "done\n"
end

---------------------------------------------------------------------------
-- Waiting for a peer, in a thread
---------------------------------------------------------------------------

local WAITERS = {}

function WAITERS.core(port)
    local fd = assert(ms.connect(HOST, port, 10000))
    local line = assert(ms.read(fd, 60000))
    ms.close(fd)
    return line
end

function WAITERS.socket(port)
    local sock = connected(socket.tcp(), port, 60)
    local line = assert(sock:readline())
    sock:close()
    return line
end

function WAITERS.luasocket(port)
    local sock = connected(luasocket.tcp(), port, 60)
    local line = assert(sock:receive())
    sock:close()
    return line
end

function WAITERS.resty(port)
    local sock = connected(resty.tcp(), port, 60000)
    local line = assert(sock:receive())
    sock:close()
    return line
end

hosted.KINDS = { "core", "socket", "luasocket", "resty" }

--- Connects, and waits for a line.
function hosted.wait(kind, port)
    return (WAITERS[kind](tonumber(port)):gsub("%s", ""))
end

return hosted
