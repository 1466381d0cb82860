--- Reads with a long timeout, which cost one system call even when they wait:
--- the socket's own SO_RCVTIMEO ends them. Stands on minisock, minisock.buffers
--- and the shim.
local ffi = require "ffi"
local buffers = require "minisock.buffers"
local cdefs = require "minisock.cdefs"
local errors = require "minisock.errors"
local ms = require "minisock"

local shim = cdefs.shim
local ffi_string = ffi.string
local min = math.min

local patient = {
    --- From which timeout on, in ms.
    LEAST = 1000,
    --- And up to which: the system takes seconds in a long.
    MOST = 2^31,
}

-- The system's timer is late by up to an eighth of its time. So it is set to
-- end before, and what is left then is waited for by poll, which is exact.
local PART = 7 / 8

--- Prepares a blocking socket.
---@param fd integer
---@param timeout? number in ms; nil undoes it
---@return true? done, string? message, integer? code
function patient.set(fd, timeout)
    return ms.setsockopt(fd, "SO_RCVTIMEO", timeout and timeout * PART or 0)
end

--- As minisock.read, of a socket that is prepared for this timeout; arguments
--- have been checked.
---@param fd integer
---@param timeout number in ms
---@param max integer
---@return string? data, string? message, integer? code
function patient.read(fd, timeout, max)
    max = min(max, buffers.LIMIT)
    local buffer = buffers.scratch(max)
    local n = shim.minisock_read_within(fd, buffer, max, timeout)
    if n < 0 then return errors.fail("read", -n) end
    return ffi_string(buffer, n)
end

return patient
