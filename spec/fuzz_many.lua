--- Calls with random arguments, from seeds that are random too, a few processes
--- at a time: make fuzz. Says at last how many calls each module got.
local fuzz_runs = require "spec.fuzz_runs"
local support = require "spec.support"

local CALLS = tonumber(os.getenv("MINISOCK_FUZZ_CALLS") or 1000000)
local JOBS = tonumber(os.getenv("MINISOCK_FUZZ_JOBS") or 2)
local IN_A_RUN = 20000

-- The core is one module of nine; objects have more to do between two calls.
local PROGRAMS = { "fuzz", "object_fuzz", "object_fuzz" }
local FLAGS = { "", "-joff", "-Ohotloop=1 -Ohotexit=1", "" }

local function random_seed()
    local file = assert(io.open("/dev/urandom", "rb"))
    local a, b, c = file:read(3):byte(1, 3)
    file:close()
    return a * 65536 + b * 256 + c
end

local totals, failures = {}, 0

local function finish(runs, fuzzer)
    local modules, problem = runs:finish(fuzzer)
    print(fuzzer.what .. (modules and "" or " FAILED"))
    if problem then
        print(problem)
        failures = failures + 1
    end
    for name, module in pairs(modules or {}) do
        totals[name] = (totals[name] or 0) + module.calls
    end
end

local function run_all(runs)
    local running = {}
    for i = 1, math.ceil(CALLS / IN_A_RUN) do
        if #running == JOBS then finish(runs, table.remove(running, 1)) end
        running[#running + 1] = runs:start(PROGRAMS[i % #PROGRAMS + 1],
            FLAGS[i % #FLAGS + 1], random_seed(), IN_A_RUN)
    end
    for _, fuzzer in ipairs(running) do finish(runs, fuzzer) end
end

local function print_totals()
    local names, sum = {}, 0
    for name in pairs(totals) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do
        print(("%-20s %8d calls"):format(name, totals[name]))
        sum = sum + totals[name]
    end
    print(("%-20s %8d calls"):format("all", sum))
end

support.setup()
local runs = fuzz_runs.new()
io.stdout:setvbuf("line")
local fine, why = xpcall(run_all, debug.traceback, runs)
support.teardown()
runs:clear()
if not fine then error(why, 0) end
print_totals()
if failures > 0 then os.exit(1) end
