--- The benchmark: `make bench`, `make bench ONLY=pingpong ROUNDS=3`.
---
--- Each round runs the floor, every library, and the floor again, each in a
--- process of its own; a ratio is taken within a round. Runs from the root of
--- the repository, after make has built peer and floor.
local command = require "bench.client_command"
local counters = require "bench.counters"
local report = require "bench.report"
local workloads = require "bench.workloads"

local ROUNDS = tonumber(os.getenv("ROUNDS") or 5)
local ONLY = os.getenv("ONLY") or ""
local SECONDS = 0.04

local function say(...)
    io.stderr:write(table.concat({ ... }, " "), "\n")
end

-- Numbers that a client printed; nil and why where there are none.
local function run(program, what)
    local pipe = assert(io.popen(program))
    local output = pipe:read("*a")
    pipe:close()
    if output:find("^n/a") then return nil, "n/a" end
    local first, second = output:match("^([%d.e+-]+) ?([%d.e+-]*)\n$")
    if first then return tonumber(first), tonumber(second) end
    say("failed:", what, output:match("[^\n]*"))
    return nil, "failed"
end

local function can(library, row)
    return row.operation ~= "require" or library.module ~= nil
end

local function time_library(row, library)
    if library and not can(library, row) then return nil, "n/a" end
    return run(command.timed(row, library, row.seconds or SECONDS),
        row.name .. " " .. (library and library.title or "C"))
end

-- One round of a row; what a library can't do, it isn't asked again.
local function time_round(row, ratios, missing)
    local floor = assert(time_library(row))
    for _, library in ipairs(workloads.libraries) do
        local name = library.name
        if not missing[name] then
            local seconds, why = time_library(row, library)
            missing[name] = why
            ratios[name] = ratios[name] or {}
            table.insert(ratios[name], seconds and floor / seconds)
        end
    end
    table.insert(ratios.floor, floor / assert(time_library(row)))
end

-- The ratios to the floor, of each library and of the floor itself, as lists
-- over the rounds; and why there are none.
local function time_row(row)
    local ratios, missing = { floor = {} }, {}
    for _ = 1, ROUNDS do time_round(row, ratios, missing) end
    for name in pairs(missing) do ratios[name] = nil end
    return ratios, missing
end

local function count_row(row, counter, ratios)
    local pending, counts = {}, {}
    if not (counter and row.counted) then return counts end
    if row.operation ~= "require" then
        pending.floor = counters.start(row, nil, counter, 0)
    end
    for i, library in ipairs(workloads.libraries) do
        if ratios[library.name] then
            pending[library.name] = counters.start(row, library, counter, i)
        end
    end
    for name, finish in pairs(pending) do counts[name] = finish() end
    return counts
end

local function measure_row(row, syscalls, instructions)
    say(row.name)
    local ratios, missing = time_row(row)
    return {
        ratios = ratios,
        missing = missing,
        syscalls = not row.interpreted and count_row(row, syscalls, ratios),
        instructions = count_row(row, instructions, ratios),
    }
end

local function measure_memory(row)
    say(row.name)
    local results = {}
    local function one(name, library)
        local heap, resident = run(command.timed(row, library, 0), row.name)
        if not heap then return end
        results[name] = { heap = heap / row.sockets / 1024,
            resident = resident / row.sockets / 1024 }
    end
    one("floor")
    for _, library in ipairs(workloads.libraries) do
        one(library.name, library)
    end
    return results
end

local function wanted(row)
    return row.name:find(ONLY, 1, true) ~= nil
end

local function main()
    local syscalls, instructions =
        counters.syscalls(), counters.instructions()
    local results = { rows = {}, rounds = ROUNDS, by = {
        syscalls = syscalls and syscalls.name,
        instructions = instructions and instructions.name,
    } }
    for _, group in ipairs(workloads.groups) do
        for _, row in ipairs(group.rows) do
            if wanted(row) then
                results.rows[row.name] =
                    measure_row(row, syscalls, instructions)
            end
        end
    end
    if wanted(workloads.memory) then
        results.memory = measure_memory(workloads.memory)
    end
    report.print(results)
    if ONLY == "" then report.write(results, "bench/results") end
end

main()
