--- Counts the lines of minisock that a process comes to: for LUA_INIT, so that
--- the children of a spec count too, and before anything else is loaded. What
--- it finds goes into the folder MINISOCK_COVERAGE when the process ends, for
--- spec/coverage_report.lua.
---
--- Compiled code has no lines, so nothing is compiled.
if not jit then return end -- a program for PUC Lua

local dir = os.getenv("MINISOCK_COVERAGE")
local getinfo = debug.getinfo

jit.off()
jit.off(true, true)

-- By the source's name: false for what isn't ours.
local files = {}

local function file_of(source)
    local name = source:match("^@.-(minisock[/%w_]*%.lua)$")
    files[source] = name and { name = name } or false
    return files[source]
end

local function count(_, line)
    local source = getinfo(2, "S").source
    local file = files[source]
    if file == nil then file = file_of(source) end
    if file then file[line] = true end
end

local function write()
    debug.sethook()
    local lines = {}
    for _, file in pairs(files) do
        for line in pairs(file or {}) do
            if line ~= "name" then
                lines[#lines + 1] = file.name .. " " .. line
            end
        end
    end
    if #lines == 0 then return end
    -- A name of its own for each process, or each state in one.
    local name = os.tmpname():match("[^/]+$")
    os.remove("/tmp/" .. name)
    local out = io.open(dir .. "/" .. name, "w")
    if not out then return end -- out of descriptors, or in a chroot
    out:write(table.concat(lines, "\n"), "\n")
    out:close()
end

-- At the end of the state; os.exit doesn't come to that.
local last = newproxy(true)
getmetatable(last).__gc = write
debug.getregistry().minisock_coverage = last

local exit = os.exit
function os.exit(...) -- luacheck: globals os.exit
    write()
    exit(...)
end

debug.sethook(count, "l")
