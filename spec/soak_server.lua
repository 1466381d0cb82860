-- The soak's server: sends back what it gets, pauses now and then, and ends a
-- connection in the way that its first bytes ask for.
--
--     luajit spec/soak_server.lua RECORDS SEED MARK
--
-- RECORDS is the file for what became of each connection, MARK how many seconds
-- are between two looks at memory. It ends when a connection says so.
local ffi = require "ffi"
local ms = require "minisock"
local poller = require "minisock.poller"
local common = require "spec.soak_common"
local process = require "spec.process"

ms.load()
math.randomseed(tonumber(arg[2]) + 1)

local ADDRESSES = 8 -- each has ephemeral ports of its own
local ACCEPTS = 100

local records = assert(io.open(arg[1], "w"))
local mark = tonumber(arg[3])
local bytes_of = ffi.typeof("const uint8_t *")

local watched = assert(poller.new(1024))
local alarms = common.alarms()
local listeners = {}
local count, bytes, leaving = 0, 0, false

-- Small queues on every other one, so that there's often no room.
local function listen(i, ...)
    local fd = assert(ms.bind(...))
    if i % 2 == 0 then assert(ms.setsockopt(fd, "SO_SNDBUF", 4608)) end
    assert(watched:add(fd, ms.EPOLLIN, { listens = true, fd = fd }))
    listeners[#listeners + 1] = fd
    return assert(ms.getsockname(fd))
end

local function watch(c, events)
    if c.events == events then return end
    c.events = events
    assert(watched:modify(c.fd, events))
end

-- how: "end" after the end of what the client sends, otherwise "cut".
local function finish(c, how)
    watched:remove(c.fd)
    assert(ms.close(c.fd))
    count, c.asleep = count - 1, nil
    if c.id then
        records:write(("%d %s %d %d %d %d\n"):format(c.id, how, c.received,
            c.received_sum, c.sent, c.sent_sum))
    end
end

local function reset(c)
    assert(ms.setsockopt(c.fd, "SO_LINGER", 0))
    finish(c, "cut")
end

-- Returns whether all of it went out.
local function send(c)
    local n, _, code, before = ms.sendall(c.fd, c.output, 0)
    n = n or before
    c.sent = c.sent + n
    c.sent_sum = common.sum(c.sent_sum, ffi.cast(bytes_of, c.output), n)
    if not code then
        c.output = nil
        if c.fate == "h" and c.sent == c.at then
            ms.shutdown(c.fd, ms.SHUT_WR)
        end
        return true
    end
    if code ~= ms.ETIMEDOUT then
        finish(c, "cut")
        return false
    end
    c.output = c.output:sub(n + 1)
    watch(c, ms.EPOLLOUT)
    return false
end

local function take(c, data)
    c.received = c.received + #data
    c.received_sum = common.sum(c.received_sum, ffi.cast(bytes_of, data),
        #data)
    bytes = bytes + #data
    if c.fate == "d" and c.received >= c.at then return reset(c) end
    if c.fate == "h" then data = data:sub(1, c.at - c.sent) end
    if data ~= "" then
        c.output = data
        if not send(c) then return end
    end
    watch(c, ms.EPOLLIN)
    if math.random(300) == 1 then
        watch(c, 0)
        common.set_alarm(alarms, c)
    end
end

local function take_header(c, data)
    c.header = c.header .. data
    if #c.header < common.HEADER then return end
    c.id, c.fate, c.at = common.parse_header(c.header)
    if c.fate == "q" then
        c.id, leaving = nil, true
        finish(c, "end")
    end
end

local function serve(c)
    c.asleep = nil
    if c.output and not send(c) then return end
    local room = c.id and math.random(16384) or common.HEADER - #c.header
    local data, _, code = ms.read(c.fd, 0, room)
    if data == "" then
        finish(c, "end")
    elseif data then
        return (c.id and take or take_header)(c, data)
    elseif code ~= ms.ETIMEDOUT then
        finish(c, "cut")
    else
        watch(c, ms.EPOLLIN)
    end
end

local function accept(listener)
    for _ = 1, ACCEPTS do
        local fd, message, code = ms.accept(listener, 0)
        if not fd then
            -- Out of descriptors: of those that are ready, some will close.
            return assert(code == ms.ETIMEDOUT or code == ms.EMFILE, message)
        end
        assert(watched:add(fd, ms.EPOLLIN, { fd = fd, events = ms.EPOLLIN,
            header = "", received = 0, received_sum = -1, sent = 0,
            sent_sum = -1 }))
        count = count + 1
    end
end

local function show(name)
    common.say(name, process.memory(), process.descriptors(), count, bytes)
end

for i = 1, ADDRESSES do
    local at = ms.parseaddr(listen(i, "127.0.0." .. i, 0))
    common.say("listening", at.addr, at.port)
end
local v6 = ms.inet6addr("::1", 0)
if ms.close(ms.socket(ms.AF_INET6, ms.SOCK_STREAM)) then
    local at = ms.parseaddr(listen(0, v6))
    common.say("listening", at.addr, at.port)
end
for i = 1, 2 do
    local path = arg[1] .. "." .. i
    listen(i, ms.unixaddr(path))
    common.say("listening", path)
end
show("start")

local next_mark = common.now() + mark
while not leaving or count > 0 do
    for i = 1, assert(watched:wait(10)) do
        local value = watched:ready(i)
        if value and value.listens then
            accept(value.fd)
        elseif value then
            serve(value)
        end
    end
    common.ring(alarms, serve)
    if common.now() >= next_mark then
        next_mark = next_mark + mark
        show("mark")
    end
end
records:close()
records = assert(io.open(arg[1], "a")) -- as it was at the start
show("end")
