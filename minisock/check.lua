--- Checks of what callers pass: LuaJIT's FFI would convert nearly anything to
--- a C integer, silently. A value that won't do raises an error at the line
--- that called the public function; so each check is called by the public
--- function itself, and never as its tail call.
local bit = require "bit"
local tobit = bit.tobit

local check = {}

local INT_MAX = 2^31 - 1

-- An argument that isn't there. It isn't compared with nil: a NULL pointer
-- would equal that, and so would any cdata that says so.
local function absent(value)
    return type(value) == "nil"
end
check.absent = absent

local function describe(value)
    if type(value) == "number" then return tostring(value) end
    return type(value)
end

-- Levels: 1 is here, 2 the check, 3 the public function, 4 who called it.
local function bad(arg, call, expected, value)
    error(("bad argument #%d to '%s' (%s expected, got %s)")
        :format(arg, call, expected, describe(value)), 4)
end

--- Raises for a value that the public function itself has found wanting.
---@param arg integer
---@param call string
---@param expected string
---@param value any
function check.fail(arg, call, expected, value)
    bad(arg, call, expected, value)
end

-- Numbers may come as strings, as they may for any function of Lua's own; but
-- tonumber takes a cdata too.
local function number(value)
    if type(value) == "string" then return tonumber(value) end
    return type(value) == "number" and value or nil
end

--- The number that a value is or says; nil for others.
---@type fun(value: any): number?
check.number = number

local function slow_integer(value, arg, call, low, high, expected)
    local n = number(value)
    if n and n % 1 == 0 and n >= low and n <= high then return n end
    bad(arg, call, expected
        or ("integer from %.0f to %.0f"):format(low, high), value)
end

---@param value any
---@param arg integer the argument's position
---@param call string the public function's name
---@param low integer
---@param high integer
---@param expected? string what to ask for, in place of the range
---@return integer
function check.integer(value, arg, call, low, high, expected)
    if type(value) == "number" and tobit(value) == value
            and value >= low and value <= high then
        return value
    end
    return slow_integer(value, arg, call, low, high, expected)
end

--- Any C int: whether it is open is the kernel's to say.
---@param value any
---@param arg integer
---@param call string
---@return integer
function check.descriptor(value, arg, call)
    if type(value) == "number" and tobit(value) == value then return value end
    return slow_integer(value, arg, call, -INT_MAX - 1, INT_MAX, "descriptor")
end

--- A C int, such as a family, a level or flags.
---@param value any
---@param arg integer
---@param call string
---@param default? integer in place of nil
---@return integer
function check.int(value, arg, call, default)
    if absent(value) and default then return default end
    return check.integer(value, arg, call, -INT_MAX - 1, INT_MAX)
end

--- How many bytes: at least one.
---@param value any
---@param arg integer
---@param call string
---@param default? integer in place of nil
---@return integer
function check.size(value, arg, call, default)
    if absent(value) and default then return default end
    return check.integer(value, arg, call, 1, INT_MAX)
end

local function slow_timeout(value, arg, call)
    local n = number(value)
    if n and n == n then return n < 0 and math.huge or n end
    bad(arg, call, "timeout in milliseconds", value)
end

--- A number of milliseconds; math.huge, and any negative number, is for ever.
---@param value any
---@param arg integer
---@param call string
---@param default number
---@return number
function check.timeout(value, arg, call, default)
    if absent(value) then return default end
    if type(value) == "number" and value >= 0 then return value end
    return slow_timeout(value, arg, call)
end

local function slow_string(value, arg, call, expected)
    if type(value) == "number" then return tostring(value) end
    bad(arg, call, expected, value)
end

--- A string, or a number in its place.
---@param value any
---@param arg integer
---@param call string
---@param expected? string
---@return string
function check.string(value, arg, call, expected)
    if type(value) == "string" then return value end
    return slow_string(value, arg, call, expected or "string")
end

--- A string, a number in its place, or nothing.
---@param value any
---@param arg integer
---@param call string
---@param expected? string
---@return string?
function check.optional_string(value, arg, call, expected)
    if absent(value) then return nil end
    if type(value) == "string" then return value end
    return slow_string(value, arg, call, expected or "string")
end

--- A value of exactly one Lua type, for an API that converts nothing.
---@param wanted string the type
---@param value any
---@param arg integer
---@param call string
---@param default? any in place of nil
---@return any
function check.strict(wanted, value, arg, call, default)
    if absent(value) and default ~= nil then return default end
    if type(value) ~= wanted then bad(arg, call, wanted, value) end
    return value
end

--- Likewise, or nothing.
---@param wanted string
---@param value any
---@param arg integer
---@param call string
function check.optional_strict(wanted, value, arg, call)
    if not absent(value) and type(value) ~= wanted then
        bad(arg, call, wanted, value)
    end
end

--- A C int, likewise.
---@param value any
---@param arg integer
---@param call string
---@param default? integer in place of nil
---@return integer
function check.strict_int(value, arg, call, default)
    if absent(value) and default then return default end
    if type(value) ~= "number" then bad(arg, call, "integer", value) end
    return check.int(value, arg, call)
end

---@param value any
---@param arg integer
---@param call string
---@return boolean
function check.boolean(value, arg, call)
    if type(value) ~= "boolean" then bad(arg, call, "boolean", value) end
    return value
end

--- How many items a list has, without running any code of the caller's: where
--- there is __len for tables, there is rawlen.
---@type fun(list: table): integer
check.length = rawget(_G, "rawlen") or function(list) return #list end

--- A service: a name, or a port number.
---@param value any
---@param arg integer
---@param call string
---@return string|integer
function check.service(value, arg, call)
    if type(value) == "string" then return value end
    return slow_integer(value, arg, call, 0, 65535, "port or service")
end

--- A service, or nothing.
---@param value any
---@param arg integer
---@param call string
---@return string|integer|nil
function check.optional_service(value, arg, call)
    if absent(value) then return nil end
    return check.service(value, arg, call)
end

local NO_OPTIONS = {}

local function bad_option(arg, call, message)
    error(("bad argument #%d to '%s' (%s)"):format(arg, call, message), 4)
end

-- What an option of each kind may be: the value to use, or nil.
local OPTIONS = {
    ["boolean"] = function(value)
        if type(value) == "boolean" then return value end
    end,
    ["integer"] = function(value)
        local n = number(value)
        if n and tobit(n) == n then return n end
    end,
    ["count"] = function(value)
        local n = number(value)
        if n and tobit(n) == n and n >= 0 then return n end
    end,
    ["timeout in milliseconds"] = function(value)
        local n = number(value)
        if n and n == n then return n < 0 and math.huge or n end
    end,
}

--- A table of options, or nothing. Returns a copy: the caller's table may
--- answer otherwise when it is asked again.
---@param value any
---@param arg integer
---@param call string
---@param kinds table<string, string> the kind of each option there is
---@return table
function check.options(value, arg, call, kinds)
    if absent(value) then return NO_OPTIONS end
    if type(value) ~= "table" then bad(arg, call, "table", value) end
    local options = {}
    for name, given in next, value do
        local kind = kinds[name]
        if not kind then
            bad_option(arg, call, "unknown option "
                .. (type(name) == "string" and name or describe(name)))
        end
        options[name] = OPTIONS[kind](given)
        if options[name] == nil then
            bad_option(arg, call, ("option %s: %s expected, got %s")
                :format(name, kind, describe(given)))
        end
    end
    return options
end

return check
