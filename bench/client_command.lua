--- The shell commands that run one client and its peer.
local command = {}

local luajit = os.getenv("LUAJIT") or "luajit"
local build = os.getenv("BUILD") or "build"
local floor = build .. "/bench/floor"

-- Of a row, for the client to find.
local function environment(row)
    local words = { "env" }
    for _, name in ipairs { "timeout", "sockets", "heap", "own_time" } do
        if row[name] then
            words[#words + 1] = ("BENCH_%s=%d"):format(name:upper(), row[name])
        end
    end
    return table.concat(words, " ")
end

local function quiet_start(library)
    local code = library and ("require [[%s]]"):format(library.module) or ""
    return ("%s -e '%s'"):format(luajit, code)
end

-- A client; without a library it is the floor. The budget is a time in
-- seconds, or two counts: to warm up, and to be counted.
local function client(row, library, budget)
    if row.operation == "require" then
        return ("%s spawn %s %s"):format(floor, budget, quiet_start(library))
    end
    if library then
        return ("%s%s bench/client.lua %s %s %s"):format(luajit,
            row.interpreted and " -joff" or "", library.name, row.operation,
            budget)
    end
    return ("%s %s %s"):format(floor, row.floor or row.operation, budget)
end

local function with_peer(row, program)
    return ("%s %s/bench/peer %s %s %s"):format(environment(row), build,
        row.mode, row.family, program)
end

--- For a time.
function command.timed(row, library, seconds)
    return with_peer(row, client(row, library, seconds)) .. " 2>&1"
end

--- For a number of operations after a fixed one, under another program, on
--- one of the CPUs.
function command.counted(row, library, count, under, cpu)
    local program
    if row.operation == "require" then
        program = quiet_start(count > 0 and library or nil)
    else
        program = client(row, library, ("=%d+%d"):format(row.counted, count))
    end
    return ("BENCH_CPU=%d %s"):format(cpu,
        with_peer(row, under .. " " .. program .. " 2>&1"))
end

return command
