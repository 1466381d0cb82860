--- The owner of a descriptor: a small cdata that closes it when nothing refers
--- to it any more. Objects hold one, and get at the descriptor through it.
--- Stands on minisock.
local ffi = require "ffi"
local ms = require "minisock"

if not pcall(ffi.typeof, "struct minisock_owner_1") then
    ffi.cdef [[
    struct minisock_owner_1 { int fd; };
    int minisock_release(int) __asm__("close");
    int minisock_getpid(void) __asm__("getpid");
    ]]
end

local C = ffi.C
local errno = ffi.errno
local OWNER = ffi.typeof("struct minisock_owner_1")
local EMFILE, ENFILE = ms.EMFILE, ms.ENFILE

local owner = {}

-- A Lua function, for one of the C library's could be called when that is
-- gone. It runs at any time, between a call and its errno too.
local function release(held)
    if held.fd < 0 then return end
    local code = errno()
    C.minisock_release(held.fd)
    errno(code)
end

---@class minisock.owner
---@field fd integer -1 when it owns none

--- Which process this is, for who keeps descriptors: after a fork another
--- one has them too.
---@see getpid(2)
---@return integer
function owner.process()
    return C.minisock_getpid()
end

--- Owns a descriptor.
---@param fd integer
---@return minisock.owner
function owner.new(fd)
    return ffi.gc(OWNER(fd), release)
end

--- Calls a function when nothing refers to what this returns any more. What the
--- function refers to lives until then. It must not fail.
---@param call function
---@return ffi.cdata*
function owner.watch(call)
    return ffi.gc(OWNER(-1), function()
        local code = errno()
        call()
        errno(code)
    end)
end

--- Closes the descriptor, if there is one: a second time does nothing.
---@param held minisock.owner
---@return true? closed, string? message, integer? code
function owner.close(held)
    local fd = held.fd
    if fd < 0 then return true end
    held.fd = -1
    return ms.close(fd)
end

--- Gives the descriptor up, open as it is, to the caller.
---@param held minisock.owner
---@return integer fd
function owner.detach(held)
    local fd = held.fd
    held.fd = -1
    return fd
end

--- Owns another descriptor from now on; the one before is closed.
---@param held minisock.owner
---@param fd integer
function owner.replace(held, fd)
    if held.fd == fd then return end
    owner.close(held)
    held.fd = fd
end

--- Calls a function that makes a descriptor. When there are no more to be had,
--- some may belong to objects that are garbage: these are collected, and the
--- function called once more.
---@param call function
---@param ... any
---@return integer? fd, any, any
function owner.open(call, ...)
    local fd, second, third = call(...)
    if fd or third ~= EMFILE and third ~= ENFILE then
        return fd, second, third
    end
    collectgarbage()
    collectgarbage() -- what the first one finalised is freed by the second
    return call(...)
end

return owner
