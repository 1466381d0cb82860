--- How each of minisock's libraries tells of a failure in the fault matrix.
local errors = require "minisock.errors"
local ms = require "minisock"
local socket = require "minisock.socket"

-- The system's words for an errno, or the resolver's for an EAI code.
local function text(code)
    if code < 0 then return errors.resolver_text(code, ms.EMFILE) end
    return errors.text(code)
end

---@class spec.faults.verdict
---@field told function whether results say that there was such an error
---@field partial? function what a failed call has read before
---@field sent? function how many bytes a failed call has sent before
---@field fatal? boolean after a failure a connection is of no more use
local verdicts = {}

verdicts.core = {
    told = function(results, code, call)
        local start = ("%s error: %d "):format(call, code)
        return results[1] == nil and results[3] == code
            and results[2]:sub(1, #start) == start
    end,
    sent = function(results) return results[4] end,
}

verdicts.socket = {
    told = function(results, code, call)
        local words = text(code)
        if call == "write" and (code == ms.EPIPE or code == ms.ECONNRESET) then
            words = socket.ERROR_CLOSED
        end
        return (results[1] == nil or results[1] == "")
            and results[2] == words and results[3] == code
    end,
    sent = function(results) return results[4] end,
}

-- As LuaSocket's documentation and sources have them.
local LUASOCKET_WORDS = {
    [ms.EACCES] = "permission denied",
    [ms.EADDRINUSE] = "address already in use",
    [ms.ECONNABORTED] = "closed",
    [ms.ECONNREFUSED] = "connection refused",
    [ms.ECONNRESET] = "closed",
    [ms.EISCONN] = "already connected",
    [ms.EPIPE] = "closed",
    [ms.ETIMEDOUT] = "timeout",
    [ms.EAI_AGAIN] = "temporary failure in name resolution",
    [ms.EAI_FAIL] = "non-recoverable failure in name resolution",
    [ms.EAI_FAMILY] = "ai_family not supported",
    [ms.EAI_MEMORY] = "memory allocation failure",
    [ms.EAI_NONAME] = "host or service not provided, or not known",
    [ms.EAI_SERVICE] = "service not supported for socket type",
}

verdicts.luasocket = {
    told = function(results, code)
        return results[1] == nil
            and (results[2] == (LUASOCKET_WORDS[code] or text(code))
                or results[2] == "closed" and code == ms.EBADF)
    end,
    partial = function(results) return results[3] end,
    sent = function(results) return results[3] end,
}

verdicts.resty = {
    told = function(results, code)
        local words = text(code)
        if code < 0 then
            -- Behind EAI_SYSTEM there is an errno.
            words = "could not be resolved (" .. words:match("^[^(]+")
            return results[1] == nil and results[2]:find(words, 1, true)
                and (code ~= ms.EAI_SYSTEM or results[2]:find(" %(%d+ "))
        end
        return results[1] == nil
            and (results[2] == words:lower() or results[2] == words)
    end,
    partial = function(results) return results[3] end,
    fatal = true,
}

verdicts.lsocket = {
    told = function(results, code)
        if code == ms.EAGAIN then return results[1] == false end
        return results[1] == nil and results[2] == text(code)
    end,
}

verdicts.llsocket = {
    -- The message is the last value, or the only one. "again" stands for
    -- EAGAIN; no values at all for a peer that has closed.
    told = function(results, code)
        local last = results[results.n]
        if code == ms.EAGAIN and last == true then return true end
        if results.n == 0 then
            return code == ms.EPIPE or code == ms.ECONNRESET
        end
        return last == text(code)
            and (results.n == 1 or results[1] == nil)
    end,
}

return verdicts
