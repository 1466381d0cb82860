--- Finds the C shim, checks that it is this version's, and declares what it
--- offers. Everything else in minisock stands on this module.
local ffi = require "ffi"

local cdefs = { VERSION = "0.1.0" }

local function declared(struct)
    return (pcall(ffi.typeof, "struct " .. struct))
end

-- A declaration made twice costs ctype ids, of which a VM has 65536, and a
-- structure can't be made twice at all: so each group is made once for a VM.
if not declared("minisock_shim_1") then
    ffi.cdef [[
    struct minisock_shim_1 { int unused; };
    const char *minisock_version(void);
    const char *minisock_cdefs(void);
    ]]
end

local function find()
    local path, tried = package.searchpath("minisock.shim", package.cpath)
    if path then return path end
    error("minisock: its C library, minisock/shim.so, isn't in "
        .. "package.cpath (run make, or set LUA_CPATH):" .. tried, 0)
end

local function load()
    local path = find()
    local shim = ffi.load(path)
    local known, version = pcall(function()
        return ffi.string(shim.minisock_version())
    end)
    if not known then
        error("minisock: " .. path .. " isn't minisock's C library", 0)
    end
    if version ~= cdefs.VERSION then
        error(("minisock: the Lua code is version %s, but %s is version %s; "
            .. "install both anew, and restart the process")
            :format(cdefs.VERSION, path, version), 0)
    end
    return shim
end

local shim = load()

if not declared("minisock_cdefs_2") then
    local done, why = pcall(ffi.cdef, ffi.string(shim.minisock_cdefs()))
    if not done then
        error("minisock: another version of it was loaded into this Lua VM; "
            .. "restart the process (" .. why .. ")", 0)
    end
end

-- The namespace itself, for a library that nothing refers to is unloaded.
cdefs.shim = shim

local value = ffi.new("double[1]")

--- The value of a C constant, or nil where the platform doesn't have it.
---@param name string
---@return integer?
function cdefs.constant(name)
    if shim.minisock_constant(name, value) == 1 then
        return value[0]
    end
end

return cdefs
