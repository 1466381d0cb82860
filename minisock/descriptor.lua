--- What can be asked of any descriptor, and done with it, that isn't a socket
--- call of the usual kind. Stands on minisock.cdefs, minisock.check and
--- minisock.errors.
local check = require "minisock.check"
local errors = require "minisock.errors"

local shim = require("minisock.cdefs").shim
local fail = errors.fail

local descriptor = {}

-- The results of a shim function that answers yes, no or -errno.
local function answer(call, n)
    if n < 0 then return fail(call, -n) end
    return n ~= 0
end

local function done(call, n)
    if n < 0 then return fail(call, -n) end
    return true
end

--- Sets or clears O_NONBLOCK. The calls that take a timeout keep it either
--- way; write and sendto fail with EAGAIN instead of waiting.
---@param fd integer
---@param on boolean
---@return true? done, string? message, integer? code
function descriptor.setnonblocking(fd, on)
    fd = check.descriptor(fd, 1, "setnonblocking")
    on = check.boolean(on, 2, "setnonblocking")
    return done("setnonblocking",
        shim.minisock_set_nonblocking(fd, on and 1 or 0))
end

---@param fd integer
---@return boolean? on, string? message, integer? code
function descriptor.getnonblocking(fd)
    fd = check.descriptor(fd, 1, "getnonblocking")
    return answer("getnonblocking", shim.minisock_is_nonblocking(fd))
end

--- Whether programs that this process becomes, or starts, inherit the
--- descriptor. All that minisock makes are closed there.
---@param fd integer
---@param on boolean
---@return true? done, string? message, integer? code
function descriptor.setcloexec(fd, on)
    fd = check.descriptor(fd, 1, "setcloexec")
    on = check.boolean(on, 2, "setcloexec")
    return done("setcloexec",
        shim.minisock_set_closed_on_exec(fd, on and 1 or 0))
end

---@param fd integer
---@return boolean? on, string? message, integer? code
function descriptor.getcloexec(fd)
    fd = check.descriptor(fd, 1, "getcloexec")
    return answer("getcloexec", shim.minisock_is_closed_on_exec(fd))
end

--- A second descriptor for the same socket.
---@see dup(2)
---@param fd integer
---@return integer? fd, string? message, integer? code
function descriptor.dup(fd)
    fd = check.descriptor(fd, 1, "dup")
    local copy = shim.minisock_dup(fd)
    if copy < 0 then return fail("dup", -copy) end
    return copy
end

--- Makes another descriptor one for the same socket; what it was for is closed.
---@see dup2(2)
---@param fd integer
---@param other integer open or not
---@return true? done, string? message, integer? code
function descriptor.dup2(fd, other)
    fd = check.descriptor(fd, 1, "dup2")
    other = check.descriptor(other, 2, "dup2")
    return done("dup2", shim.minisock_dup2(fd, other))
end

--- Whether what is read next is what came after urgent data.
---@see sockatmark(3)
---@param fd integer
---@return boolean? at_mark, string? message, integer? code
function descriptor.atmark(fd)
    fd = check.descriptor(fd, 1, "atmark")
    return answer("atmark", shim.minisock_atmark(fd))
end

--- Sends from a file, as much as there is room for. 0 is the end of the file.
---@see sendfile(2)
---@param fd integer a socket
---@param file integer a descriptor of a file
---@param count integer bytes at most
---@param offset? integer where in the file; by default where it is, which
--- moves on
---@return integer? sent, string? message, integer? code EAGAIN on a
--- non-blocking descriptor whose queue is full
function descriptor.sendfile(fd, file, count, offset)
    fd = check.descriptor(fd, 1, "sendfile")
    file = check.descriptor(file, 2, "sendfile")
    count = check.integer(count, 3, "sendfile", 0, 2^31 - 1)
    if not check.absent(offset) then
        offset = check.integer(offset, 4, "sendfile", 0, 2^53)
    end
    local n = shim.minisock_sendfile(fd, file, offset or -1, count)
    if n < 0 then return fail("sendfile", -n) end
    return n
end

return descriptor
