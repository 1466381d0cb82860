--- Writes all of a string to a non-blocking descriptor, with a limit on each
--- wait as well as on them all. Stands on minisock.
local ms = require "minisock"
local clock = require "minisock.clock"

local EAGAIN, POLLOUT = ms.EAGAIN, ms.POLLOUT

local writer = {}

--- Sends the bytes from `first` to `last`.
---@param fd integer non-blocking
---@param data string
---@param first integer
---@param last integer
---@param deadline number
---@param longest number how long one wait may last, in ms
---@return integer? sent, string? message, integer? code
---@return integer? sent_before after a failure, how many bytes
function writer.send(fd, data, first, last, deadline, longest)
    local at = first
    while at <= last do
        local count, message, code = ms.write(fd, data, at, last - at + 1)
        if count then
            at = at + count
        elseif code ~= EAGAIN then
            return nil, message, code, at - first
        else
            local timeout = math.min(longest, clock.left(deadline))
            local _, ready = ms.poll(ms.pollfd(fd, POLLOUT), timeout)
            if ready == 0 then
                return nil, "send timeout", ms.ETIMEDOUT, at - first
            end
        end
    end
    return last - first + 1
end

return writer
