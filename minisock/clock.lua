--- Timeouts and deadlines: a timeout is a number of milliseconds from now, a
--- deadline a point on the monotonic clock. Both are math.huge for "never".
local ffi = require "ffi"

local shim = require("minisock.cdefs").shim

if not pcall(ffi.typeof, "struct minisock_clock_1") then
    ffi.cdef [[
    struct minisock_clock_1 { int unused; };
    int minisock_gettimeofday(struct minisock_timeval *, void *)
        __asm__("gettimeofday");
    ]]
end

local TIMEVAL = ffi.typeof("struct minisock_timeval")
local timeval = TIMEVAL()

local clock = {}

--- How many milliseconds a read waits when it isn't told.
clock.DEFAULT_TIMEOUT = 10000

--- The time on the monotonic clock, in ms.
---@return number
function clock.now()
    return shim.minisock_now()
end

--- The time of day.
---@see gettimeofday(2)
---@return number seconds since the epoch
function clock.time()
    ffi.C.minisock_gettimeofday(timeval, nil)
    local time = TIMEVAL(timeval) -- to read it may run a finaliser
    return tonumber(time.seconds) + tonumber(time.microseconds) / 1e6
end

--- The deadline of a call that starts now. A timeout of 0 gives 0, which is
--- long past: one try, and no need to read the clock.
---@param timeout number in ms
---@return number
function clock.deadline(timeout)
    if timeout == math.huge or timeout == 0 then return timeout end
    return shim.minisock_now() + timeout
end

--- The deadline of the next of several tries that share one: a dead first
--- address must leave time for the others.
---@param deadline number
---@param tries integer how many are left, the next one included
---@return number
function clock.share(deadline, tries)
    if deadline == math.huge or tries == 1 then return deadline end
    local now = shim.minisock_now()
    return now + math.max(0, deadline - now) / tries
end

--- How long there is until a deadline.
---@param deadline number
---@return number timeout in ms
function clock.left(deadline)
    if deadline == math.huge or deadline == 0 then return deadline end
    return math.max(0, deadline - shim.minisock_now())
end

return clock
