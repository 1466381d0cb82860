--- Waiting for descriptors, and for time to pass. Stands on minisock.cdefs,
--- minisock.buffers, minisock.check, minisock.clock and minisock.errors.
local ffi = require "ffi"
local buffers = require "minisock.buffers"
local check = require "minisock.check"
local clock = require "minisock.clock"
local errors = require "minisock.errors"

local shim = require("minisock.cdefs").shim
local deadline = clock.deadline
local fail = errors.fail

local pollfd = ffi.new("struct minisock_pollfd")
local POLLFD_SIZE = ffi.sizeof(pollfd)

local poll = {}

--- Waits until a descriptor is ready, or for the timeout alone.
---@see poll(2)
---@param pollfds string what `pollfd` returns, any number of these one after
--- the other
---@param timeout? number in ms, for ever by default
---@return string? pollfds, integer|string ready_or_message, integer? code the
--- same with their revents, and how many are ready: 0 after a timeout
function poll.poll(pollfds, timeout)
    pollfds = check.string(pollfds, 1, "poll")
    timeout = check.timeout(timeout, 2, "poll", math.huge)
    local size = #pollfds
    if size % POLLFD_SIZE ~= 0 then
        check.fail(1, "poll", "array of pollfd, of 8 bytes each", size)
    end
    local array = buffers.scratch(size)
    buffers.copy(array, pollfds, size)
    local ready =
        shim.minisock_poll(array, size / POLLFD_SIZE, deadline(timeout))
    if ready < 0 then return fail("poll", -ready) end
    return ffi.string(array, size), ready
end

--- One struct pollfd, for `poll`.
---@param fd integer a negative one is passed over
---@param events integer POLLIN, POLLOUT, ...
---@return string pollfd
function poll.pollfd(fd, events)
    pollfd.fd = check.descriptor(fd, 1, "pollfd")
    pollfd.events = check.integer(events, 2, "pollfd", 0, 65535)
    pollfd.revents = 0
    return ffi.string(pollfd, POLLFD_SIZE)
end

--- What a struct pollfd holds, after `poll`.
---@param pollfds string
---@param i? integer which one, 1 by default
---@return integer fd, integer events, integer revents
function poll.unpollfd(pollfds, i)
    pollfds = check.string(pollfds, 1, "unpollfd")
    local size = #pollfds
    if size == 0 or size % POLLFD_SIZE ~= 0 then
        check.fail(1, "unpollfd", "array of pollfd, of 8 bytes each", size)
    end
    i = check.integer(check.absent(i) and 1 or i, 2, "unpollfd", 1,
        size / POLLFD_SIZE)
    local one = pollfds:sub((i - 1) * POLLFD_SIZE + 1, i * POLLFD_SIZE)
    buffers.copy(pollfd, one, POLLFD_SIZE)
    return pollfd.fd, pollfd.events, pollfd.revents
end

--- Sleeps, all of it, whatever signals come.
---@param n number ms; a fraction is rounded up
---@return true
function poll.msleep(n)
    local timeout = check.timeout(n, 1, "msleep", math.huge)
    if timeout == math.huge then
        check.fail(1, "msleep", "number of milliseconds, 0 or more", n)
    end
    shim.minisock_poll(nil, 0, deadline(timeout))
    return true
end

return poll
