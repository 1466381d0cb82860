--- System calls and user instructions per operation: the difference between
--- two runs, one with more operations than the other, so that start-up and the
--- JIT compiler's work cancel out. Valgrind counts what lies between two marks,
--- and needs no second run.
local command = require "bench.client_command"

local counters = {}

local INSTRUCTIONS = "perf stat -x, -e instructions:u"
local SYSCALLS = "perf stat -x, -e raw_syscalls:sys_enter"

local function output_of(program)
    local pipe = assert(io.popen(program))
    local output = pipe:read("*a")
    pipe:close()
    return output
end

local function exists(program)
    return output_of("command -v " .. program) ~= ""
end

local function parse_strace(output)
    return tonumber(output:match("[%d.]+%s+[%d.]+%s+%d+%s+(%d+)[%s%d]*total"))
end

local function parse_perf(output)
    return tonumber(output:match("(%d+),[^\n]*raw_syscalls")
        or output:match("(%d+),[^\n]*instructions"))
end

local function perf_counts(under)
    return exists("perf") and parse_perf(output_of(under .. " true 2>&1"))
end

local function parse_callgrind(output)
    return tonumber(output:match("Collected : (%d+)"))
end

--- What counts system calls, or nil. Under strace a client is so slow that it
--- seldom has to wait for its peer; perf, where it's allowed, sees what it does
--- else.
function counters.syscalls()
    if perf_counts(SYSCALLS) then
        return { under = SYSCALLS, parse = parse_perf, name = "perf",
            alone = true }
    end
    if not exists("strace") then return nil end
    return { under = "strace -f -c", parse = parse_strace, name = "strace" }
end

--- What counts instructions: the CPU's counters, or valgrind.
function counters.instructions()
    if perf_counts(INSTRUCTIONS) then
        return { under = INSTRUCTIONS, parse = parse_perf, name = "perf" }
    end
    if not exists("valgrind") then return nil end
    local under = "valgrind --tool=callgrind --callgrind-out-file=/dev/null"
    return { under = under, marked = "--instr-atstart=no",
        parse = parse_callgrind, name = "callgrind" }
end

-- Gives a function that waits for the count of one run.
local function start_run(row, library, counter, count, cpu)
    local under = counter.under
    if counter.marked and row.operation ~= "require" then
        under = under .. " " .. counter.marked
    end
    local pipe = assert(io.popen(
        command.counted(row, library, count, under, cpu)))
    return function()
        local output = pipe:read("*a")
        pipe:close()
        if output:find("n/a", 1, true) then return nil end
        return counter.parse(output)
    end
end

-- One after the other: how often a client has to wait depends on what else
-- runs.
local function count_alone(row, library, counter)
    local n = row.counted
    local more = start_run(row, library, counter, n, 0)()
    local less = start_run(row, library, counter, 0, 0)()
    local count = more and less and (more - less) / n
    return function() return count end
end

--- Starts to count, in the background unless the counter is disturbed by that.
---@param row table of workloads
---@param library? table without it, the floor
---@param counter table
---@param cpu integer spreads many of these
---@return function gives the count for one operation; nil where there is none
function counters.start(row, library, counter, cpu)
    if counter.alone then return count_alone(row, library, counter) end
    local n = row.counted
    local longer = start_run(row, library, counter, n, cpu)
    if counter.marked and row.operation ~= "require" then
        return function()
            local count = longer()
            return count and count / n
        end
    end
    local shorter = start_run(row, library, counter, 0, cpu)
    return function()
        local more, less = longer(), shorter()
        return more and less and (more - less) / n
    end
end

return counters
