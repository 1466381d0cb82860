-- The soak's clients: as many connections as asked for, all the time, each of
-- which sends random bytes and counts what comes back, until its fate.
--
--     luajit spec/soak_client.lua RECORDS SEED MARK CONNECTIONS SECONDS ADDR...
--
-- ADDR is HOST,PORT or a path. RECORDS and MARK are as for the server.
local bit = require "bit"
local ffi = require "ffi"
local ms = require "minisock"
local poller = require "minisock.poller"
local common = require "spec.soak_common"
local process = require "spec.process"

ms.load()
local seed = tonumber(arg[2])
common.seed(seed)

local records = assert(io.open(arg[1], "w"))
local mark = tonumber(arg[3])
local connections, seconds = tonumber(arg[4]), tonumber(arg[5])

local CONNECTS = 200 -- before the others have their turn
local SIZES = { 100, 4096, common.LONGEST }

-- How connections end, and how many of 20 do so.
local FATES = {
    w = 10, -- all is sent, and comes back, and both have closed their halves
    h = 4, -- the server closes its half early, and goes on reading
    r = 2, -- the client resets it
    l = 2, -- the client leaves, whatever there is to read
    d = 2, -- the server resets it
}
local fates = {}
for fate, share in pairs(FATES) do fates[#fates + 1] = fate:rep(share) end
table.sort(fates)
fates = table.concat(fates)

local addresses = {}
for i = 6, #arg do
    local host, port = arg[i]:match("^(.*),(%d+)$")
    addresses[#addresses + 1] = assert(
        not host and ms.unixaddr(arg[i])
        or host:find(":", 1, true) and ms.inet6addr(host, tonumber(port))
        or ms.inetaddr(host, tonumber(port)))
end

local buffer = ffi.new("uint8_t[?]", common.LONGEST)
local watched = assert(poller.new(1024))
local alarms = common.alarms()
local open = {} -- by descriptor
local count, most, ids, bytes = 0, 0, 0, 0

local function watch(c, events)
    if c.events == events then return end
    c.events = events
    assert(watched:modify(c.fd, events))
end

local function finish(c, how)
    watched:remove(c.fd)
    assert(ms.close(c.fd))
    open[c.fd], c.asleep, c.closed = nil, nil, true
    count = count - 1
    records:write(("%d %s %s %d %d %d\n"):format(c.id, how, c.fate,
        c.received, c.received_sum, c.sent))
end

local function leave(c)
    if c.fate == "r" then assert(ms.setsockopt(c.fd, "SO_LINGER", 0)) end
    finish(c, "cut")
end

-- Read while there may be more, write while there is room.
local function watch_what_matters(c)
    local more = not c.shut
        and (c.over or c.sent - c.received < c.window)
    watch(c, bit.bor(c.over and 0 or ms.EPOLLIN, more and ms.EPOLLOUT or 0))
end

local function receive(c)
    local n, _, code = ms.readinto(c.fd, buffer, 0, math.random(c.size))
    if not n then
        if code ~= ms.ETIMEDOUT then finish(c, "cut") end
    elseif n > 0 then
        c.received = c.received + n
        c.received_sum = common.sum(c.received_sum, buffer, n)
        bytes = bytes + n
    elseif c.shut then
        finish(c, "end")
    elseif c.fate == "h" then
        c.over = true
    else
        finish(c, "cut")
    end
end

local function send(c)
    local n = math.min(math.random(c.size), c.want - c.sent)
    if n > 0 then
        local done, _, code, before =
            ms.sendall(c.fd, common.bytes(c.id, c.sent), 0, n)
        if code and code ~= ms.ETIMEDOUT then return finish(c, "cut") end
        c.sent = c.sent + (done or before)
    end
    if (c.fate == "r" or c.fate == "l") and c.sent >= c.at then
        return leave(c)
    end
    if c.sent == c.want then
        c.shut = true
        -- What was reset in the meantime says so when it is read.
        ms.shutdown(c.fd, ms.SHUT_WR)
        if c.over then finish(c, "end") end
    end
end

-- What is sent first always has room.
local function begin(c)
    if ms.getsockopt(c.fd, "SO_ERROR") ~= 0 then return finish(c, "refused") end
    local header = common.header(c.id, c.fate, c.at)
    if not ms.sendall(c.fd, header, 0) then return finish(c, "cut") end
    c.begun = true
    watch_what_matters(c)
end

local READABLE = bit.bor(ms.EPOLLIN, ms.EPOLLERR, ms.EPOLLHUP)

local function serve(c, events)
    if not c.begun then return begin(c) end
    c.asleep = nil
    if not c.over and bit.band(events, READABLE) ~= 0 then receive(c) end
    if not c.closed and bit.band(events, ms.EPOLLOUT) ~= 0 and not c.shut then
        send(c)
    end
    if c.closed then return end
    watch_what_matters(c)
    if math.random(300) == 1 then
        watch(c, 0)
        common.set_alarm(alarms, c)
    end
end

-- Returns whether it came to something: a Unix server's queue may be full.
local function connect()
    local addr = addresses[ids % #addresses + 1]
    local family = ms.parseaddr(addr).family
    local fd = assert(ms.socket(ms["AF_" .. family:upper()],
        bit.bor(ms.SOCK_STREAM, ms.SOCK_NONBLOCK)))
    if math.random(3) == 1 then
        assert(ms.setsockopt(fd, "SO_RCVBUF", 4608))
    end
    local done, message, code = ms.startconnect(fd, addr)
    if not done and code ~= ms.EINPROGRESS then
        ms.close(fd)
        return assert(code == ms.EAGAIN and false, message)
    end
    local place = math.random(#fates)
    local want = math.random(math.random(1, 400000))
    local c = {
        fd = fd, id = ids, events = ms.EPOLLOUT, fate = fates:sub(place, place),
        at = math.random(want), want = want, size = SIZES[math.random(#SIZES)],
        window = math.random(131072), sent = 0, received = 0,
        received_sum = -1,
    }
    ids, count, open[fd] = ids + 1, count + 1, c
    most = math.max(most, count)
    return assert(watched:add(fd, c.events, c))
end

local function show(name)
    common.say(name, process.memory(), process.descriptors(), count, bytes)
end

local function work()
    for i = 1, assert(watched:wait(10)) do
        local c, events = watched:ready(i)
        if c then serve(c, events) end
    end
    common.ring(alarms, watch_what_matters)
end

show("start")
local start = common.now()
local next_mark = start + mark
while common.now() < start + seconds do
    for _ = 1, math.min(connections - count, CONNECTS) do
        if not connect() then break end
    end
    work()
    if common.now() >= next_mark then
        next_mark = next_mark + mark
        show("mark")
    end
end

-- Nothing more is sent; all that was has to come back.
for _, c in pairs(open) do
    c.want = math.max(c.sent, 1)
    c.at = math.min(c.at, c.want)
    if c.begun and not c.asleep then watch_what_matters(c) end
end
while count > 0 do work() end

-- The server may go.
local fd = assert(ms.connect(addresses[1], nil, 10000))
assert(ms.sendall(fd, common.header(0, "q", 0), 10000))
assert(ms.read(fd, 10000) == "")
ms.close(fd)
records:close()
records = assert(io.open(arg[1], "a")) -- as it was at the start
common.say("most", most)
show("end")
