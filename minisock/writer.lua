--- Writes all of a string to a non-blocking descriptor, with a limit on each
--- wait as well as on them all. Stands on minisock.
local ms = require "minisock"
local clock = require "minisock.clock"

local EAGAIN, ETIMEDOUT, POLLOUT = ms.EAGAIN, ms.ETIMEDOUT, ms.POLLOUT

local writer = {}

-- Goes on where the queue was full.
local function send_rest(fd, data, first, at, last, deadline, longest)
    while at <= last do
        local timeout = math.min(longest, clock.left(deadline))
        local polled, ready, why = ms.poll(ms.pollfd(fd, POLLOUT), timeout)
        if not polled then return nil, ready, why, at - first end
        if ready == 0 then
            return nil, "send timeout", ETIMEDOUT, at - first
        end
        local count, message, code = ms.write(fd, data, at, last - at + 1)
        if not count and code ~= EAGAIN then
            return nil, message, code, at - first
        end
        at = at + (count or 0)
    end
    return last - first + 1
end

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
    local size = last - first + 1
    if size <= 0 then return 0 end
    local sent, message, code = ms.write(fd, data, first, size)
    if sent == size then return size end
    if not sent and code ~= EAGAIN then return nil, message, code, 0 end
    return send_rest(fd, data, first, first + (sent or 0), last, deadline,
        longest)
end

return writer
