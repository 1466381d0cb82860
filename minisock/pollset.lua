--- Descriptors that are polled again and again: an array for poll(2) that is
--- kept, where `poll` of the core makes a string each time. Stands on
--- minisock.cdefs, minisock.buffers, minisock.check, minisock.clock and
--- minisock.errors.
local ffi = require "ffi"
local buffers = require "minisock.buffers"
local check = require "minisock.check"
local clock = require "minisock.clock"
local errors = require "minisock.errors"

local shim = require("minisock.cdefs").shim
local deadline = clock.deadline
local fail = errors.fail

local FOREVER = math.huge
local INT_MAX = 2^31 - 1
local SMALLEST = 16

local POLLFDS = ffi.typeof("struct minisock_pollfd[?]")
local POLLFD = ffi.typeof("struct minisock_pollfd")
local POLLFD_SIZE = ffi.sizeof(POLLFD)

-- The fields are read and written as numbers of their size, from the array's
-- first: an index of the array itself would make a cdata wherever LuaJIT
-- interprets, and so let a finaliser run, in the middle of what is done here.
local INTS, SHORTS = ffi.typeof("int32_t *"), ffi.typeof("uint16_t *")
local INT_STEP, SHORT_STEP = POLLFD_SIZE / 4, POLLFD_SIZE / 2
local FD = ffi.offsetof(POLLFD, "fd") / 4
local EVENTS = ffi.offsetof(POLLFD, "events") / 2
local REVENTS = ffi.offsetof(POLLFD, "revents") / 2

local pollset = {}

---@class minisock.pollset
---@field array ffi.cdata*
---@field ints ffi.cdata* the same memory
---@field shorts ffi.cdata* and again
---@field room integer how many descriptors there can be in it
---@field size integer how many there are
local Pollset = {}
Pollset.__index = Pollset

--- Makes an empty set. It grows with what is added.
---@return minisock.pollset
function pollset.new()
    local array = POLLFDS(SMALLEST)
    return setmetatable({
        array = array,
        ints = ffi.cast(INTS, array),
        shorts = ffi.cast(SHORTS, array),
        room = SMALLEST,
        size = 0,
    }, Pollset)
end

-- A finaliser that runs while memory is made may add to the same set: what is
-- copied is what there is afterwards.
local function grow(self)
    local room = self.room * 2
    local array = POLLFDS(room)
    local ints, shorts = ffi.cast(INTS, array), ffi.cast(SHORTS, array)
    if room <= self.room then return end
    buffers.copy(array, self.array, self.size * POLLFD_SIZE)
    self.array, self.ints, self.shorts, self.room = array, ints, shorts, room
end

local function put(self, at, fd, events)
    local shorts = self.shorts
    self.ints[at * INT_STEP + FD] = fd
    shorts[at * SHORT_STEP + EVENTS] = events
    shorts[at * SHORT_STEP + REVENTS] = 0
end

--- Adds a descriptor at the end.
---@param fd integer a negative one is passed over
---@param events integer POLLIN, POLLOUT, ...
---@return integer i its place, 1 for the first one
function Pollset:add(fd, events)
    fd = check.descriptor(fd, 1, "add")
    events = check.integer(events, 2, "add", 0, 65535)
    while self.size == self.room do grow(self) end
    local size = self.size
    put(self, size, fd, events)
    self.size = size + 1
    return size + 1
end

--- Puts a descriptor in the place of another. What the last wait has found
--- there is gone.
---@param i integer
---@param fd integer a negative one is passed over
---@param events integer
function Pollset:set(i, fd, events)
    i = check.integer(i, 1, "set", 1, self.size)
    fd = check.descriptor(fd, 2, "set")
    events = check.integer(events, 3, "set", 0, 65535)
    put(self, i - 1, fd, events)
end

--- What is in a place.
---@param i integer
---@return integer fd, integer events, integer revents the last is what the last
--- wait has found
function Pollset:get(i)
    i = check.integer(i, 1, "get", 1, self.size)
    local fd = self.ints[(i - 1) * INT_STEP + FD]
    local at = (i - 1) * SHORT_STEP
    return fd, self.shorts[at + EVENTS], self.shorts[at + REVENTS]
end

--- Takes out all of it, for other descriptors. The memory stays.
function Pollset:clear()
    self.size = 0
end

-- The system leaves what an earlier wait has found.
local function forget(self)
    for at = 0, self.size - 1 do
        self.shorts[at * SHORT_STEP + REVENTS] = 0
    end
end

--- Waits until a descriptor is ready.
---@see poll(2)
---@param timeout? number in ms, for ever by default
---@return integer? count, string? message, integer? code how many are ready: 0
--- after a timeout
function Pollset:wait(timeout)
    timeout = check.timeout(timeout, 1, "wait", FOREVER)
    local limit = deadline(timeout)
    local count = shim.minisock_poll(self.array, self.size, limit)
    if count >= 0 then return count end
    forget(self)
    return fail("wait", -count)
end

local function next_ready(self, i)
    i = check.integer(i, 2, "ready", 0, INT_MAX)
    local shorts = self.shorts
    for at = i, self.size - 1 do
        local revents = shorts[at * SHORT_STEP + REVENTS]
        if revents ~= 0 then
            return at + 1, self.ints[at * INT_STEP + FD], revents
        end
    end
end

--- Goes through those that the last wait has found ready:
--- `for i, fd, revents in set:ready() do`.
---@return fun(set: minisock.pollset, i: integer): integer?, integer?, integer?
---@return minisock.pollset set, integer i
function Pollset:ready()
    return next_ready, self, 0
end

return pollset
