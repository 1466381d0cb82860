--- What a process has, this one by default: descriptors, threads, memory. And
--- an end to this one, should it hang. Programs that do without busted use this
--- too, so nothing of busted's is in it.
local ffi = require "ffi"
local lfs = require "lfs"

ffi.cdef 'unsigned minisock_spec_alarm(unsigned) __asm__("alarm");'

local process = {}

local function count(pid, folder)
    local entries = 0
    for name in lfs.dir(("/proc/%s/%s"):format(pid or "self", folder)) do
        if tonumber(name) then entries = entries + 1 end
    end
    return entries
end

--- How many descriptors it has open.
function process.descriptors(pid)
    return count(pid, "fd")
end

function process.threads(pid)
    return count(pid, "task")
end

--- How many KiB of memory it takes; this one, without garbage.
function process.memory(pid)
    if not pid then
        collectgarbage()
        collectgarbage()
    end
    local file = assert(io.open(("/proc/%s/status"):format(pid or "self")))
    local size = file:read("*a"):match("\nVmRSS:%s+(%d+) kB")
    file:close()
    return tonumber(size)
end

--- Ends this process after so many seconds, unless it is called again.
function process.alarm(seconds)
    ffi.C.minisock_spec_alarm(seconds)
end

return process
