--- Every call that waits, while a signal comes each millisecond and ends
--- whatever system call there is: run by storm_spec.lua, with the port of an
--- echo server for TCP and of one for UDP. Prints a line for each call.
---
--- A call that has nothing to wait for but its timeout of 300 ms must take as
--- long as that, and at most 40 ms more; other work may keep the machine busy,
--- so that one of three tries is enough. What moves data must move it all.
local bit = require "bit"
local ffi = require "ffi"
local batch = require "minisock.batch"
local llsocket = require "minisock.llsocket"
local lsocket = require "minisock.lsocket"
local luasocket = require "minisock.luasocket"
local ms = require "minisock"
local poller = require "minisock.poller"
local pollset = require "minisock.pollset"
local resty = require "minisock.resty"
local socket = require "minisock.socket"
local unix = require "minisock.luasocket.unix"

local now = require("minisock.clock").now

ffi.cdef [[
struct storm_timer { long interval[2]; long value[2]; };
int storm_abs(int) __asm__("abs");
int storm_signal(int, void *) __asm__("signal");
int storm_siginterrupt(int, int) __asm__("siginterrupt");
int storm_setitimer(int, const struct storm_timer *, void *)
    __asm__("setitimer");
int storm_poll(void *, unsigned long, int) __asm__("poll");
int storm_pipe2(int *, int) __asm__("pipe2");
int storm_fileno(void *) __asm__("fileno");
]]

local C = ffi.C
local SIGALRM, ITIMER_REAL, EINTR = 14, 0, ms.EINTR
local TIMEOUT, LATE = 300, 40 -- ms
local SECONDS = TIMEOUT / 1000
local PATIENT = 1000 -- ms, from which on socket objects wait by SO_RCVTIMEO
local TCP, UDP = tonumber(arg[1]), tonumber(arg[2])
local ONLY = arg[3]

io.stdout:setvbuf("line")
ms.load()

-- abs is as good a handler as any: it does nothing.
local function storm(microseconds)
    C.storm_signal(SIGALRM, ffi.cast("void *", C.storm_abs))
    C.storm_siginterrupt(SIGALRM, 1)
    local every = { 0, microseconds }
    C.storm_setitimer(ITIMER_REAL,
        ffi.new("struct storm_timer", { every, every }), nil)
end

local function is_raging()
    return C.storm_poll(nil, 0, 500) < 0 and ffi.errno() == EINTR
end

---------------------------------------------------------------------------
-- Where there is nothing, and where there is no room
---------------------------------------------------------------------------

local quiet, quiet_addr = assert(ms.bind("127.0.0.1", 0))
local quiet_port = ms.parseaddr(quiet_addr).port

local function silent_pair()
    local client = assert(ms.connect(quiet_addr))
    return client, assert(ms.accept(quiet))
end

-- A Unix socket's queue stays full; TCP would find room by and by.
local function fill(fd)
    repeat until not ms.sendall(fd, ("x"):rep(65536), 0)
    repeat until not ms.sendall(fd, "x", 0)
end

local stuffed = ms.socketpair()
fill(stuffed)

local storm_path = ("@storm_%d"):format(require("minisock.owner").process())
assert(ms.bind(ms.unixaddr(storm_path .. "_quiet")))

-- Of a listener whose queue is full.
local full = assert(ms.bind("127.0.0.1", 0, { backlog = 0 }))
local full_addr = ms.getsockname(full)
local full_port = ms.parseaddr(full_addr).port
repeat until not ms.connect(full_addr, nil, 100)

local full_unix = ms.unixaddr(storm_path .. "_full")
assert(ms.bind(full_unix, { backlog = 0 }))
repeat until not ms.connect(full_unix, nil, 10)

local nobody = assert(ms.bind("127.0.0.1", 0)) -- connects to it
local client = silent_pair()
local udp = assert(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))

local function pipe()
    local ends = ffi.new("int[2]")
    assert(C.storm_pipe2(ends, ms.SOCK_CLOEXEC) == 0)
    return ends[0], ends[1]
end

local empty_pipe = pipe()
local _, full_pipe = pipe()
repeat until not ms.sendall(full_pipe, ("x"):rep(65536), 0)

-- A Unix receiver that takes no more datagrams.
local dgram_path = storm_path .. "_dgram"
local dgram_addr = ms.unixaddr(dgram_path)
local dgram_server = assert(ms.udpsocket(dgram_addr))
local dgram = assert(ms.udpsocket("\1"))
ms.setnonblocking(dgram, true)
repeat until not ms.sendto(dgram, dgram_addr, "x")

local function object(kind, ...)
    local sock = assert(kind)
    sock:settimeout(...)
    return sock
end

local function connected(sock, ...)
    assert(sock:connect("127.0.0.1", quiet_port))
    sock:settimeout(...)
    return sock
end

local objects = {
    client = connected(object(socket.tcp(), 5), SECONDS),
    stuffed = object(socket.fromfd(ms.dup(stuffed)), SECONDS),
    patient = connected(object(socket.tcp(), 5), PATIENT / 1000),
    listener = object(socket.tcp(), SECONDS),
    udp = object(socket.udp(), SECONDS),
    dgram = object(socket.socket(ms.AF_UNIX, ms.SOCK_DGRAM), SECONDS),
}
assert(objects.listener:bind("127.0.0.1", 0))
assert(objects.listener:listen(5))
assert(objects.udp:bind("127.0.0.1", 0))

local stuffed_master = object(unix.stream(), SECONDS)
assert(stuffed_master:connect("\0" .. storm_path:sub(2) .. "_quiet"))
fill(stuffed_master:getfd())

local masters = {
    client = connected(object(luasocket.tcp(), 5), SECONDS),
    total = connected(object(luasocket.tcp(), 5), SECONDS, "t"),
    listener = object(luasocket.tcp(), SECONDS),
    udp = object(luasocket.udp4(), SECONDS),
    dgram = object(unix.dgram(), SECONDS),
}
assert(masters.listener:bind("127.0.0.1", 0))
assert(masters.listener:listen())
assert(masters.udp:setsockname("127.0.0.1", 0))

-- After a timeout a cosocket sends no more, so that each try has its own.
local function stuffed_cosocket()
    local sock = object(resty.tcp(), TIMEOUT)
    assert(sock:connect("unix:" .. storm_path .. "_quiet"))
    fill(sock.connection:fd())
    return sock
end

local cosockets = {
    client = connected(object(resty.tcp(), 5000), TIMEOUT),
    stuffed = { stuffed_cosocket(), stuffed_cosocket(), stuffed_cosocket() },
    udp = object(resty.udp(), TIMEOUT),
}
assert(cosockets.udp:setpeername("127.0.0.1", ms.parseaddr(
    ms.getsockname(udp)).port))

local lazy = assert(lsocket.connect("127.0.0.1", quiet_port))

local function llsocket_object(port)
    local ai = llsocket.inet.getaddrinfo("127.0.0.1", tostring(port),
        ms.SOCK_STREAM, nil, ms.AI_NUMERICHOST)[1]
    local sock = assert(llsocket.socket.new(ai))
    sock:rcvtimeo(SECONDS)
    sock:sndtimeo(SECONDS)
    return sock
end

local thin = llsocket_object(quiet_port)
assert(thin:connect() == nil)
local thin_stuffed = llsocket.socket.pair(ms.SOCK_STREAM)
fill(thin_stuffed[1]:fd())
thin_stuffed[1]:sndtimeo(SECONDS)
local open_file = assert(io.open(arg[0]))
local file = C.storm_fileno(open_file)
local thin_listener = llsocket_object(0)
assert(thin_listener:bind() == nil)
assert(thin_listener:listen() == nil)

---------------------------------------------------------------------------
-- What waits
---------------------------------------------------------------------------

local function times_out(_, message, code)
    return code == ms.ETIMEDOUT and message:find(" timeout$") ~= nil
end

local function object_times_out(_, message)
    return message == socket.ERROR_TIMEOUT
end

local function says_timeout(_, reason)
    return reason == "timeout"
end

local function says_again(...)
    return select(select("#", ...), ...) == true
end

local set = pollset.new()
set:add(client, ms.POLLIN)
local watching = assert(poller.new())
assert(watching:add(client, ms.EPOLLIN))
local messages = batch.new(4, 100)
local array = ffi.new("char[16]")

-- The name, what it does, and whether its results are a timeout's.
local WAITING = {
    { "core: read", function() return ms.read(client, TIMEOUT) end },
    { "core: read a pipe", function()
        return ms.read(empty_pipe, TIMEOUT)
    end },
    { "core: readinto", function()
        return ms.readinto(client, array, TIMEOUT, 16)
    end },
    { "core: recvfrom", function() return ms.recvfrom(udp, TIMEOUT) end },
    { "core: recvmsg", function() return ms.recvmsg(udp, TIMEOUT) end },
    { "core: recvmany", function()
        return ms.recvmany(udp, messages, TIMEOUT)
    end },
    { "core: accept", function() return ms.accept(nobody, TIMEOUT) end },
    { "core: connect", function()
        return ms.connect(full_addr, nil, TIMEOUT)
    end },
    { "core: connect to a host", function()
        return ms.connect("127.0.0.1", full_port, TIMEOUT)
    end },
    { "core: connect to a path", function()
        return ms.connect(full_unix, nil, TIMEOUT)
    end },
    { "core: connectfd", function()
        local fd = assert(ms.socket(ms.AF_INET, ms.SOCK_STREAM))
        local done, message, code = ms.connectfd(fd, full_addr, TIMEOUT)
        ms.close(fd)
        return done, message, code
    end },
    { "core: sendall", function()
        return ms.sendall(stuffed, "x", TIMEOUT)
    end },
    { "core: sendall of a list", function()
        return ms.sendall(stuffed, { "x", "y" }, TIMEOUT)
    end },
    { "core: sendall to a pipe", function()
        return ms.sendall(full_pipe, "x", TIMEOUT)
    end },
    { "core: poll", function()
        local _, count = ms.poll(ms.pollfd(client, ms.POLLIN), TIMEOUT)
        return count
    end, function(count) return count == 0 end },
    { "core: msleep", function() return ms.msleep(TIMEOUT) end,
        function(done) return done end },
    { "core: getaddrinfo", function()
        return ms.getaddrinfo("slow.test", 80, { timeout = TIMEOUT })
    end },
    { "pollset: wait", function() return set:wait(TIMEOUT) end,
        function(count) return count == 0 end },
    { "poller: wait", function() return watching:wait(TIMEOUT) end,
        function(count) return count == 0 end },

    { "socket: read", function() return objects.client:read(10) end,
        object_times_out },
    { "socket: read by SO_RCVTIMEO", function()
        return objects.patient:read(10)
    end, object_times_out, PATIENT },
    { "socket: readline by SO_RCVTIMEO", function()
        return objects.patient:readline()
    end, object_times_out, PATIENT },
    { "socket: readline", function() return objects.client:readline() end,
        object_times_out },
    { "socket: readexactly", function()
        return objects.client:readexactly(10)
    end, object_times_out },
    { "socket: write", function() return objects.stuffed:write("x") end,
        object_times_out },
    { "socket: accept", function() return objects.listener:accept() end,
        object_times_out },
    { "socket: connect", function()
        local sock = object(socket.tcp(), SECONDS)
        local done, message = sock:connect("127.0.0.1", full_port)
        sock:close()
        return done, message
    end, object_times_out },
    { "socket: connect to a name", function()
        local sock = object(socket.tcp(), SECONDS)
        local done, message = sock:connect("slow.test", 80)
        sock:close()
        return done, message
    end, object_times_out },
    { "socket: recvfrom", function() return objects.udp:recvfrom() end,
        object_times_out },
    { "socket: sendto a path", function()
        return objects.dgram:sendto("x", dgram_path)
    end, object_times_out },

    { "luasocket: receive", function() return masters.client:receive() end,
        says_timeout },
    { "luasocket: receive, in total", function()
        return masters.total:receive(10)
    end, says_timeout },
    { "luasocket: send", function() return stuffed_master:send("x") end,
        says_timeout },
    { "luasocket: accept", function() return masters.listener:accept() end,
        says_timeout },
    { "luasocket: connect", function()
        local sock = object(luasocket.tcp(), SECONDS)
        local done, reason = sock:connect("127.0.0.1", full_port)
        sock:close()
        return done, reason
    end, says_timeout },
    { "luasocket: receivefrom", function()
        return masters.udp:receivefrom()
    end, says_timeout },
    { "luasocket: sendto a path", function()
        return masters.dgram:sendto("x", "\0" .. dgram_path:sub(2))
    end, says_timeout },
    { "luasocket: select", function()
        local _, _, reason =
            luasocket.select({ masters.client }, nil, SECONDS)
        return nil, reason
    end, says_timeout },
    { "luasocket: sleep", function() luasocket.sleep(SECONDS) end,
        function() return true end },

    { "resty: receive", function() return cosockets.client:receive() end,
        says_timeout },
    { "resty: receiveany", function()
        return cosockets.client:receiveany(10)
    end, says_timeout },
    { "resty: receiveuntil", function()
        return cosockets.client:receiveuntil("x")()
    end, says_timeout },
    { "resty: send", function()
        return table.remove(cosockets.stuffed):send("x")
    end, says_timeout },
    { "resty: connect", function()
        return object(resty.tcp(), TIMEOUT):connect("127.0.0.1", full_port)
    end, says_timeout },
    { "resty: receive of a datagram", function()
        return cosockets.udp:receive()
    end, says_timeout },

    { "lsocket: select", function()
        return lsocket.select({ lazy }, SECONDS)
    end, function(ready) return ready == false end },

    { "llsocket: recv", function() return thin:recv() end, says_again },
    { "llsocket: recvmsg", function() return thin:recvmsg() end, says_again },
    { "llsocket: recv with a flag", function()
        return thin:recv(10, ms.MSG_WAITALL)
    end, says_again },
    { "llsocket: accept", function() return thin_listener:accept() end,
        says_again },
    { "llsocket: send", function() return thin_stuffed[1]:send("x") end,
        says_again },
    { "llsocket: sendfile", function()
        return thin_stuffed[1]:sendfile(file, 10)
    end, says_again },
    { "llsocket: connect", function()
        local sock = llsocket_object(full_port)
        local problem = sock:connect()
        sock:close()
        return problem
    end, function(problem) return problem == nil end },
}

---------------------------------------------------------------------------
-- What moves data
---------------------------------------------------------------------------

local PIECE = {}
for i = 1, 65536 do PIECE[i] = string.char(bit.band(i * 7 + i / 256, 255)) end
PIECE = table.concat(PIECE)

-- A megabyte goes to the server and comes back, a piece at a time.
local function echo(send, receive)
    for i = 1, 16 do
        local piece = i .. PIECE:sub(#tostring(i) + 1)
        assert(send(piece))
        local heard, size = {}, 0
        while size < #piece do
            local part = assert(receive(#piece - size))
            heard[#heard + 1], size = part, size + #part
        end
        if table.concat(heard) ~= piece then return false end
    end
    return true
end

local function echo_datagrams(send, receive)
    for i = 1, 300 do
        assert(send("datagram " .. i))
        if receive() ~= "datagram " .. i then return false end
    end
    return true
end

local udp_addr = ms.inetaddr("127.0.0.1", UDP)

local MOVING = {
    { "core: sendall and read", function()
        local fd = assert(ms.connect("127.0.0.1", TCP, 5000))
        return echo(function(data) return ms.sendall(fd, data, 5000) end,
            function(size) return ms.read(fd, 5000, size) end)
    end },
    { "core: sendall and read, for ever", function()
        local fd = assert(ms.connect("127.0.0.1", TCP))
        return echo(function(data) return ms.sendall(fd, data) end,
            function(size) return ms.read(fd, math.huge, size) end)
    end },
    { "core: a list, and recvmsg", function()
        local fd = assert(ms.connect("127.0.0.1", TCP))
        return echo(function(data)
            return ms.sendall(fd, { data:sub(1, 9), data:sub(10) }, 5000)
        end, function(size) return ms.recvmsg(fd, 5000, size).data end)
    end },
    { "core: datagrams", function()
        local fd = assert(ms.udpsocket())
        return echo_datagrams(
            function(data) return ms.sendto(fd, udp_addr, data) end,
            function() return (ms.recvfrom(fd, 5000)) end)
    end },
    { "core: batches", function()
        local fd = assert(ms.udpsocket())
        return echo_datagrams(
            function(data) return ms.sendmany(fd, { data }, udp_addr) end,
            function()
                assert(ms.recvmany(fd, messages, 5000) == 1)
                return (messages:get(1))
            end)
    end },
    { "core: connect and accept", function()
        local server, addr = assert(ms.bind("127.0.0.1", 0))
        for _ = 1, 200 do
            local one = assert(ms.connect(addr, nil, 5000))
            local other = assert(ms.accept(server, 5000))
            assert(ms.getsockname(one) == ms.getpeername(other))
            assert(ms.close(one) and ms.close(other))
        end
        return true
    end },
    { "socket: write and readexactly", function()
        local sock = object(socket.tcp(), 5)
        assert(sock:connect("127.0.0.1", TCP))
        return echo(function(data) return sock:write(data) end,
            function(size) return sock:readexactly(size) end)
    end },
    { "luasocket: send and receive", function()
        local sock = assert(luasocket.connect("127.0.0.1", TCP))
        return echo(function(data) return sock:send(data) end,
            function(size) return sock:receive(size) end)
    end },
    { "luasocket: datagrams", function()
        local sock = object(luasocket.udp(), 5)
        assert(sock:setpeername("127.0.0.1", UDP))
        return echo_datagrams(function(data) return sock:send(data) end,
            function() return sock:receive() end)
    end },
    { "resty: send and receive", function()
        local sock = object(resty.tcp(), 5000)
        assert(sock:connect("127.0.0.1", TCP))
        return echo(function(data) return sock:send(data) end,
            function(size) return sock:receive(size) end)
    end },
    { "lsocket: send and recv", function()
        local sock = assert(lsocket.connect("127.0.0.1", TCP))
        return echo(function(data)
            local sent = 0
            while sent < #data do
                lsocket.select(nil, { sock }, 5)
                sent = sent + assert(sock:send(data:sub(sent + 1)))
            end
            return true
        end, function(size)
            lsocket.select({ sock }, 5)
            return sock:recv(size)
        end)
    end },
    { "llsocket: send and recv", function()
        local sock = llsocket_object(TCP)
        assert(sock:connect() == nil)
        return echo(function(data)
            local sent = 0
            while sent < #data do
                sent = sent + assert(sock:send(data:sub(sent + 1)))
            end
            return true
        end, function(size) return sock:recv(size, ms.MSG_WAITALL) end)
    end },
}

---------------------------------------------------------------------------

-- How long each try took, and what is wrong with them.
local function try_waiting(act, is_timeout, timeout)
    local tries, problem = {}, nil
    repeat
        local start = now()
        local ended = is_timeout(act())
        local took = now() - start
        tries[#tries + 1] = ("%.1f"):format(took)
        if not ended then problem = "it wasn't a timeout" end
        if took < timeout then problem = "too early" end
    until problem or took <= timeout + LATE or #tries == 3
    local last = tonumber(tries[#tries])
    if not problem and last > timeout + LATE then problem = "too late" end
    return problem, table.concat(tries, " ") .. " ms"
end

local function report(name, ...)
    local ran, problem, tries = pcall(...)
    if not ran or not is_raging() then
        problem, tries = problem or "there was no storm", ""
    end
    print(("%s %s: %s"):format(problem and "wrong" or "right", name,
        problem and problem .. " " .. (tries or "") or tries or "all there"))
end

storm(1000)
for _, row in ipairs(WAITING) do
    if not ONLY or row[1]:find(ONLY, 1, true) then
        report(row[1], try_waiting, row[2], row[3] or times_out,
            row[4] or TIMEOUT)
    end
end
for _, row in ipairs(MOVING) do
    if not ONLY or row[1]:find(ONLY, 1, true) then
        report(row[1], function()
            if not row[2]() then return "it isn't what was sent" end
        end)
    end
end
storm(0)
ms.close(dgram_server)
open_file:close()
print("the storm is over")
