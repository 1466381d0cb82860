--- A client of peer.c: one operation of one library, again and again, as
--- floor.c does it in C.
---
---     luajit bench/client.lua LIBRARY OPERATION SECONDS|=COUNT+COUNT
---
--- Prints how long one operation took, in seconds; with counts, it does so many
--- to warm up and so many to be counted.
local ffi = require "ffi"
local target = require "bench.target"

ffi.cdef [[
struct bench_timespec { long seconds, nanoseconds; };
void bench_mark(int);
int bench_clock_gettime(int, struct bench_timespec *)
    __asm__("clock_gettime");
]]

local CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID = 1, 2
local PAGE = 4096
local ENOUGH = 0.7 -- of the time that was wanted

local clock = target.own_time and CLOCK_PROCESS_CPUTIME_ID or CLOCK_MONOTONIC
local time = ffi.new("struct bench_timespec")

local function now()
    ffi.C.bench_clock_gettime(clock, time)
    return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

local function timed(run, n)
    local start = now()
    run(n)
    return now() - start
end

-- The first operation waits until the peer is ready. Doubles the count until it
-- takes a quarter of the time, which warms up too, and then does what takes all
-- of it; again, when a pause made that too few.
local function measure(run, seconds)
    run(1)
    local n = 16
    local taken = timed(run, n)
    while taken < seconds * ENOUGH do
        local more = taken < seconds / 4 and 2 or seconds / taken
        n = math.ceil(n * more)
        taken = timed(run, n)
    end
    return taken / n
end

local function be_counted(run, warm_up, count)
    local build = os.getenv("BUILD") or "build"
    local marks = ffi.load(build .. "/bench/mark.so")
    run(warm_up)
    marks.bench_mark(1)
    if count > 0 then run(count) end
    marks.bench_mark(0)
end

local function live_data(megabytes)
    local data = {}
    for i = 1, megabytes * 2^20 / 64 do data[i] = { i } end
    return data
end

local function resident()
    local file = assert(io.open("/proc/self/statm"))
    local pages = file:read("*a"):match("^%d+ (%d+)")
    file:close()
    return pages * PAGE
end

local function heap_size()
    collectgarbage()
    collectgarbage()
    return collectgarbage("count") * 1024
end

-- Prints two numbers: bytes of the Lua heap, bytes that are resident.
local function hold(open)
    local sockets = {}
    for i = 1, target.sockets do sockets[i] = false end
    local heap, pages = heap_size(), resident()
    open(sockets)
    print(("%d %d"):format(heap_size() - heap, resident() - pages))
    return sockets
end

local function main(library, operation, budget)
    local start = require("bench.libraries." .. library)[operation]
    if operation == "hold" and start then return hold(start(target)) end
    local run = start and start(target)
    if not run then return print("n/a") end
    local data = target.heap and live_data(target.heap)
    local warm_up, count = budget:match("^=(%d+)%+(%d+)$")
    if count then
        be_counted(run, tonumber(warm_up), tonumber(count))
    else
        print(("%.9g"):format(measure(run, tonumber(budget))))
    end
    return data
end

main(...)
