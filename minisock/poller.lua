--- Waiting for any number of descriptors, by epoll(7): one wake-up among ten
--- thousand costs what it costs among ten. Stands on minisock.owner.
local bit = require "bit"
local ffi = require "ffi"
local ms = require "minisock"
local check = require "minisock.check"
local clock = require "minisock.clock"
local errors = require "minisock.errors"
local owner = require "minisock.owner"

local C = ffi.C
local errno = ffi.errno
local tobit = bit.tobit
local fail = errors.fail
local ceil, min = math.ceil, math.min
local FOREVER = math.huge
local INT_MAX = 2^31 - 1

if not pcall(ffi.typeof, "struct minisock_poller_1") then
    ffi.cdef [[
    struct minisock_poller_1 { int unused; };
    int minisock_epoll_create1(int) __asm__("epoll_create1");
    int minisock_epoll_ctl(int, int, int, struct minisock_epoll_event *)
        __asm__("epoll_ctl");
    int minisock_epoll_wait(int, struct minisock_epoll_event *, int, int)
        __asm__("epoll_wait");
    ]]
end

local ADD, MODIFY = ms.EPOLL_CTL_ADD, ms.EPOLL_CTL_MOD
local REMOVE = ms.EPOLL_CTL_DEL
local EINTR = ms.EINTR

local EVENTS = ffi.typeof("struct minisock_epoll_event[?]")
local event = ffi.new("struct minisock_epoll_event")

local poller = {}

---@class minisock.poller
---@field owner minisock.owner
---@field events ffi.cdata* what the last wait has told
---@field room integer how many of these there can be
---@field count integer how many there are
---@field values table<integer, any> by descriptor
---@field serials table<integer, integer> by descriptor
---@field serial integer the last one given
local Poller = {}
Poller.__index = Poller

local function create()
    local fd = C.minisock_epoll_create1(ms.EPOLL_CLOEXEC)
    if fd < 0 then return fail("new", errno()) end
    return fd
end

--- Makes a poller.
---@see epoll_create1(2)
---@param room? integer how many events one wait tells at most, 256 by default
---@return minisock.poller? poller, string? message, integer? code
function poller.new(room)
    room = check.integer(check.absent(room) and 256 or room, 1, "new", 1,
        65536)
    local fd, message, code = owner.open(create)
    if not fd then return nil, message, code end
    return setmetatable({
        owner = owner.new(fd),
        events = EVENTS(room),
        room = room,
        count = 0,
        values = {},
        serials = {},
        serial = 0,
    }, Poller)
end

-- Events come in 32 bits, of which EPOLLET is the last.
local function check_events(events)
    local number = check.number(events)
    if number and number >= -2^31 and number < 2^32 and number % 1 == 0 then
        return tobit(number)
    end
end

-- Returns 0 or an errno.
local function control(self, operation, fd, events, serial)
    event.events, event.fd, event.serial = events, fd, serial
    local done = C.minisock_epoll_ctl(self.owner.fd, operation, fd, event)
    return done < 0 and errno() or 0
end

local function set(self, operation, call, fd, events, value)
    local serial = tobit(self.serial + 1)
    local code = control(self, operation, fd, events, serial)
    if code ~= 0 then return fail(call, code) end
    self.serial, self.serials[fd] = serial, serial
    if not check.absent(value) then self.values[fd] = value end
    return true
end

local EXPECTED = "events, such as EPOLLIN"

--- Watches a descriptor.
---@see epoll_ctl(2)
---@param fd integer
---@param events integer EPOLLIN, EPOLLOUT, ..., plus EPOLLET to be told of
--- changes alone
---@param value? any what `ready` tells, the descriptor by default
---@return true? done, string? message, integer? code EEXIST when it is watched
--- already
function Poller:add(fd, events, value)
    fd = check.descriptor(fd, 1, "add")
    local wanted = check_events(events)
    if not wanted then check.fail(2, "add", EXPECTED, events) end
    if check.absent(value) then value = fd end
    return set(self, ADD, "add", fd, wanted, value)
end

--- Watches it for other events.
---@param fd integer
---@param events integer
---@param value? any the one it has, by default
---@return true? done, string? message, integer? code ENOENT when it isn't
--- watched
function Poller:modify(fd, events, value)
    fd = check.descriptor(fd, 1, "modify")
    local wanted = check_events(events)
    if not wanted then check.fail(2, "modify", EXPECTED, events) end
    return set(self, MODIFY, "modify", fd, wanted, value)
end

--- Watches it no longer. Comes before close(2), which does so too, but not
--- while another process or a dup has the same socket.
---@param fd integer
---@return true? done, string? message, integer? code
function Poller:remove(fd)
    fd = check.descriptor(fd, 1, "remove")
    self.values[fd], self.serials[fd] = nil, nil
    local code = control(self, REMOVE, fd, 0, 0)
    if code ~= 0 then return fail("remove", code) end
    return true
end

-- What epoll_wait takes for a timeout: rounded up, -1 for ever.
local function milliseconds(timeout)
    if timeout == FOREVER then return -1 end
    return min(ceil(timeout), INT_MAX)
end

-- After a signal, and for more milliseconds than an int can hold.
local function wait_on(self, deadline)
    local left, n
    repeat
        left = clock.left(deadline)
        n = C.minisock_epoll_wait(self.owner.fd, self.events, self.room,
            milliseconds(left))
        local code = n < 0 and errno() or 0
        if n < 0 and code ~= EINTR then return fail("wait", code) end
    until n > 0 or n == 0 and left <= INT_MAX
    self.count = n
    return n
end

--- Waits until a descriptor is ready.
---@see epoll_wait(2)
---@param timeout? number in ms, for ever by default
---@return integer? count, string? message, integer? code how many are ready,
--- for `ready`: 0 after a timeout
function Poller:wait(timeout)
    timeout = check.timeout(timeout, 1, "wait", FOREVER)
    self.count = 0
    local deadline = clock.deadline(timeout)
    local n = C.minisock_epoll_wait(self.owner.fd, self.events, self.room,
        milliseconds(timeout))
    if n > 0 or n == 0 and timeout <= INT_MAX then
        self.count = n
        return n
    end
    local code = n < 0 and errno() or EINTR
    if code ~= EINTR then return fail("wait", code) end
    return wait_on(self, deadline)
end

--- What the last wait has found.
---@param i integer 1 to the count it returned
---@return any value, integer events, integer fd value is nil when the
--- descriptor has been removed, or was given another value, since
function Poller:ready(i)
    i = check.integer(i, 1, "ready", 1, self.count)
    local found = self.events[i - 1]
    local fd = found.fd
    if self.serials[fd] ~= found.serial then return nil, 0, fd end
    return self.values[fd], found.events, fd
end

--- The poller's own descriptor, which can be watched itself.
---@return integer fd -1 once it is closed
function Poller:getfd()
    return self.owner.fd
end

--- Closes the poller, and none of what it watches.
---@return true? closed, string? message, integer? code
function Poller:close()
    self.count, self.values, self.serials = 0, {}, {}
    return owner.close(self.owner)
end

return poller
