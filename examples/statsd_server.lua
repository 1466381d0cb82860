-- Adds up what statsd clients send, such as statsd.lua here, and prints the
-- totals every so often.
--
--     luajit examples/statsd_server.lua HOST PORT [MS]
--
-- PORT 0 takes a free one. The first line printed says where it listens. Then
-- come, every MS milliseconds (10000), a line for each name and one for all:
--
--     counter requests 1207
--     gauge workers 4
--     timing request 1207 15.2     (how many, their mean)
--     packets 2414
--
-- The packets that are there come in one system call, up to 512 of them.
local batch = require "minisock.batch"
local ms = require "minisock"

local INTERVAL = tonumber(arg[3]) or 10000

local fd, addr
do
    local list = assert(ms.getaddrinfo(arg[1], arg[2],
        { socktype = ms.SOCK_DGRAM }))
    fd = assert(ms.udpsocket(list[1]))
    addr = ms.parseaddr(ms.getsockname(fd))
end
-- For when they come faster than we count; the system may give less.
assert(ms.setsockopt(fd, "SO_RCVBUF", 4 * 2^20))

local counters, gauges, timings = {}, {}, {}
local packets, wrong = 0, 0

local KINDS = {}

function KINDS.c(name, value, rate)
    counters[name] = (counters[name] or 0) + value / rate
end

function KINDS.g(name, value)
    gauges[name] = value
end

function KINDS.ms(name, value, rate)
    local timing = timings[name] or { count = 0, sum = 0 }
    timings[name] = timing
    timing.count = timing.count + 1 / rate
    timing.sum = timing.sum + value / rate
end

local function count(line)
    local name, number, kind, options =
        line:match("^([^:|]+):([^:|]+)|(%a+)(.*)$")
    local value, add = tonumber(number), KINDS[kind]
    local rate = options and tonumber(options:match("^|@([%d.]+)$") or 1)
    if value and add and rate and rate > 0 then
        add(name, value, rate)
    else
        wrong = wrong + 1
    end
end

local function print_all(kind, totals, show)
    local names = {}
    for name in pairs(totals) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do
        print(kind, name, show(totals[name]))
    end
end

local function print_totals()
    print_all("counter", counters, tostring)
    print_all("gauge", gauges, tostring)
    print_all("timing", timings, function(timing)
        return ("%.10g\t%.10g"):format(timing.count, timing.sum / timing.count)
    end)
    if wrong > 0 then print("wrong", wrong) end
    print("packets", packets)
    io.stdout:flush()
end

print("listening on " .. addr.addr .. " " .. addr.port)
io.stdout:flush()

local clock = require "minisock.clock"
local received = batch.new(512, 2048)
local next_print = clock.now() + INTERVAL

while true do
    local n, message, code = ms.recvmany(fd, received,
        math.max(0, next_print - clock.now()))
    if not n and code ~= ms.ETIMEDOUT then error(message) end
    packets = packets + (n or 0)
    for i = 1, n or 0 do
        for line in received:get(i):gmatch("[^\n]+") do count(line) end
    end
    if clock.now() >= next_print then
        print_totals()
        next_print = clock.now() + INTERVAL
    end
end
