--- LuaSocket's exceptions: newtry raises what protect returns. Stands on LuaJIT
--- alone.

local try = {}

-- What newtry raises, and protect tells from other errors.
local Exception = {}

function Exception:__tostring()
    return tostring(self[1])
end

local function ignore() end

--- Makes a function that passes on its arguments; but when the first is false
--- or nil, calls the finalizer and raises the second.
---@param finalizer? function
---@return fun(...: any): ...
function try.newtry(finalizer)
    finalizer = finalizer or ignore
    return function(ok, ...)
        if ok then return ok, ... end
        finalizer()
        error(setmetatable({ (...) }, Exception), 0)
    end
end

local function pass(ok, ...)
    if ok then return ... end
    local problem = ...
    if getmetatable(problem) == Exception then return nil, problem[1] end
    error(problem, 0)
end

--- Makes a function that calls another; where that raises by a function of
--- newtry's, returns nil and what was raised.
---@param call function
---@return function
function try.protect(call)
    return function(...) return pass(pcall(call, ...)) end
end

return try
