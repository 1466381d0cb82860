--- Calls of other libraries, which write without MSG_NOSIGNAL: SIGPIPE is held
--- off for this thread while they last. Stands on minisock.cdefs.
local shim = require("minisock.cdefs").shim

local sigpipe = {}

local function release(state, done, ...)
    shim.minisock_release_sigpipe(state)
    if not done then error((...), 0) end
    return ...
end

--- Calls a function, and returns what it returns.
---@param call function
---@param ... any
---@return any ...
function sigpipe.hold(call, ...)
    return release(shim.minisock_hold_sigpipe(), pcall(call, ...))
end

--- Ignores the signal from now on, in the whole process, unless it is handled.
function sigpipe.ignore()
    shim.minisock_ignore_sigpipe()
end

return sigpipe
