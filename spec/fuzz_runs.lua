--- Runs the fuzzers, spec/fuzz.lua and spec/object_fuzz.lua, in processes of
--- their own, several at a time.
local fake_resolver = require "spec.fake_resolver"
local lfs = require "lfs"
local support = require "spec.support"

local Runs = {}
Runs.__index = Runs

local fuzz_runs = {}

--- Readies a folder, to be cleared at the end.
function fuzz_runs.new()
    local dir = support.mkdtemp()
    return setmetatable(
        { dir = dir, luajit = fake_resolver.build(dir), count = 0 }, Runs)
end

--- Starts one of the programs, with flags for LuaJIT.
function Runs:start(program, flags, seed, calls)
    self.count = self.count + 1
    local own = ("%s/%d"):format(self.dir, self.count)
    assert(lfs.mkdir(own))
    -- Valgrind would take a NULL that the kernel refuses for a mistake.
    local fuzzer = support.spawn(
        ("env FAKE_ONLY=1 FAKE_DELAY=2 %s %s spec/%s.lua %d %d %s %s %s")
            :format(self.luajit, flags, program, seed, calls, own,
                own .. ".call", support.valgrind and "noNULL" or ""))
    fuzzer.record, fuzzer.calls = own .. ".call", calls
    fuzzer.what = ("%s %s, seed %d"):format(program, flags, seed)
    return fuzzer
end

--- Waits for its end. Returns how many functions each module has and how many
--- calls these got, or nil and what went wrong.
function Runs:finish(fuzzer) -- luacheck: no self
    local output = fuzzer.pipe:read("*a")
    local modules, sum = {}, 0
    for name, functions, calls in
            output:gmatch("([%w.]+): (%d+) functions, (%d+) calls\n") do
        modules[name] = { functions = tonumber(functions),
            calls = tonumber(calls) }
        sum = sum + calls
    end
    if sum == fuzzer.calls then return modules end
    return nil, ("%s\n%s\nThe last call was %s"):format(fuzzer.what, output,
        support.slurp(fuzzer.record):match("^%Z*"))
end

function Runs:clear()
    support.rmtree(self.dir)
end

return fuzz_runs
