--- What a call returns when it fails: nil, a message and a code. Stands on
--- minisock.cdefs.
local ffi = require "ffi"
local cdefs = require "minisock.cdefs"

local shim = cdefs.shim
local ETIME = cdefs.constant("ETIME")
local ETIMEDOUT = cdefs.constant("ETIMEDOUT")
local EAI_SYSTEM = cdefs.constant("EAI_SYSTEM")

if not pcall(ffi.typeof, "struct minisock_errors_1") then
    ffi.cdef [[
    struct minisock_errors_1 { int unused; };
    const char *minisock_gai_strerror(int) __asm__("gai_strerror");
    ]]
end

local errors = {}

local SIZE = 256
local buffer = ffi.new("char[?]", SIZE)
local texts = {}

--- The system's words for an errno.
---@param code integer
---@return string
function errors.text(code)
    local text = texts[code]
    if not text then
        shim.minisock_error_text(code, buffer, SIZE)
        text = ffi.string(buffer)
        texts[code] = text
    end
    return text
end

--- The results of a call that failed with an errno, or with ETIME, which is
--- how the shim says that the deadline has passed.
---@param call string the public function that was called
---@param code integer
---@return nil, string, integer
function errors.fail(call, code)
    if code == ETIME then
        return nil, call .. " timeout", ETIMEDOUT
    end
    return nil, ("%s error: %d %s"):format(call, code, errors.text(code)), code
end

--- The resolver's words for an EAI code.
---@param code integer
---@param system integer? the errno behind EAI_SYSTEM
---@return string
function errors.resolver_text(code, system)
    local text = ffi.string(ffi.C.minisock_gai_strerror(code))
    if code == EAI_SYSTEM and system then
        text = ("%s (%d %s)"):format(text, system, errors.text(system))
    end
    return text
end

--- The results of a call whose name or address the resolver refused.
---@param call string
---@param code integer an EAI code
---@param system integer? the errno behind EAI_SYSTEM
---@return nil, string, integer
function errors.fail_resolve(call, code, system)
    return nil, ("%s error: %d %s"):format(call, code,
        errors.resolver_text(code, system)), code
end

--- Whether a call that failed with this message ran out of time. (A code of
--- ETIMEDOUT can also be TCP's, which has given up.)
---@param message string
---@return boolean
function errors.is_timeout(message)
    return message:sub(-8) == " timeout"
end

return errors
