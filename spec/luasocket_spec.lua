--- The drop-in for LuaSocket against LuaSocket itself: what Debian's package
--- does in a scenario of spec/luasocket_scenarios.lua, the drop-in does too;
--- where it is to differ, the scenario tells what it does instead, and why.
local lfs = require "lfs"
local peer = require "spec.peer"
local scenarios = require "spec.luasocket_scenarios"
local support = require "spec.support"

-- Runs the scenarios from a number on, in one of the two worlds, and prints
-- where it is, for the case that it doesn't get to the end.
local CHILD = [[
local root, world, first, ports_name = unpack(arg)
package.path = root .. "/?.lua;" .. package.path
local drop_in = world == "minisock"
if drop_in then
    -- Debian's socket.lua, over this core.
    for _, name in ipairs({ "core", "unix" }) do
        package.preload["socket." .. name] = function()
            return dofile(root .. "/minisock/dropin/socket/" .. name .. ".lua")
        end
    end
end

local ports = {}
for line in io.lines(ports_name) do
    local number, port = line:match("(%d+) (%d+)")
    ports[tonumber(number)] = tonumber(port)
end

local socket, unix = require "socket", require "socket.unix"
local process = require "spec.process"
local scenarios = require "spec.luasocket_scenarios"
for number = tonumber(first), #scenarios do
    local scenario = scenarios[number]
    if drop_in or not scenario.unasked then
        print("begin " .. number)
        io.stdout:flush()
        process.alarm(10)
        local fine, problem = xpcall(function()
            scenario.run(socket, unix, function(...)
                print("say " .. scenarios.serialise(...))
            end, ports[number])
        end, debug.traceback)
        if not fine then print("raised " .. problem) end
        -- What it left behind is no business of the next.
        collectgarbage()
        collectgarbage()
    end
end
print("done")
os.exit(0, true)
]]

-- The worlds, and the LuaJITs that they run in: the memory checkers, which
-- stand before it, have no use for the original.
local LUAJITS = {
    luasocket = support.luajit:match("%S+$"), minisock = support.luajit,
}

-- Starts the scenarios in a world from a number on. The output goes to a file:
-- the two worlds run side by side, and neither must wait for its reader.
local function start(setting, world, first)
    local output = setting.dir .. "/" .. world
    -- The directory is where relative paths of Unix sockets are.
    lfs.mkdir(output .. ".cwd")
    local pipe = io.popen(([[
        ulimit -n 4096
        cd '%s.cwd' && %s '%s' '%s' %s %d '%s' >'%s' 2>&1; echo "[$?]" ]])
        :format(output, LUAJITS[world], setting.child, setting.root, world,
            first, setting.ports, output))
    return { world = world, output = output, pipe = pipe }
end

-- Waits for it, adds what was said to `said`, by scenario, and returns the
-- number of the scenario that it died of.
local function finish(run, said)
    local status = run.pipe:read("*a")
    run.pipe:close()
    local current, done
    for line in io.lines(run.output) do
        local number = line:match("^begin (%d+)$")
        if number then
            current = tonumber(number)
            said[current] = {}
        elseif line == "done" then
            done = true
        else
            local lines = said[current or 0]
            lines[#lines + 1] = line:match("^say (.*)") or line
        end
    end
    if done and status == "[0]\n" then return nil end
    local lines = said[current or 0]
    lines[#lines + 1] = "ended here, with status " .. status:gsub("\n", "")
    return current or #scenarios
end

-- Runs all the scenarios in both worlds, and returns what each said.
local function run_all(setting)
    local said, runs = {}, {}
    for world in pairs(LUAJITS) do
        said[world] = { [0] = {} }
        runs[#runs + 1] = start(setting, world, 1)
    end
    for _, run in ipairs(runs) do
        local world = run.world
        for _ = 1, #scenarios do
            local died = finish(run, said[world])
            if not died or died == #scenarios then break end
            run = start(setting, world, died + 1)
        end
    end
    return said
end

describe("socket.core and socket.unix", function()
    local dir, said

    lazy_setup(function()
        support.setup()
        dir = support.mkdtemp()
        local setting = { dir = dir, root = lfs.currentdir(),
            child = dir .. "/child.lua", ports = dir .. "/ports" }
        support.spit(setting.child, CHILD)
        -- One peer for all that want the same steps.
        local ports, lines = {}, {}
        for number, scenario in ipairs(scenarios) do
            if scenario.peer then
                local steps = table.concat(scenario.peer, "\0")
                ports[steps] = ports[steps]
                    or peer.start(unpack(scenario.peer)).port
                lines[#lines + 1] = number .. " " .. ports[steps] .. "\n"
            end
        end
        support.spit(setting.ports, table.concat(lines))
        said = run_all(setting)
    end)

    lazy_teardown(function()
        support.rmtree(dir)
        support.teardown()
    end)

    for number, scenario in ipairs(scenarios) do
        it(scenario.name .. (scenario.differs and ", unlike LuaSocket" or ""),
            function()
                local original = said.luasocket[number]
                local expected = scenario.expected or original
                -- What doesn't differ is no difference.
                if scenario.differs and not scenario.unasked then
                    assert.are_not.same(expected, original)
                end
                local got = said.minisock[number] or said.minisock[0]
                -- A scenario that says nothing, or ends early, proves nothing.
                assert.is_truthy(expected and expected[1])
                for _, line in ipairs(expected) do
                    assert.not_matches("^raised ", line)
                    assert.not_matches("^ended here", line)
                end
                -- The first line that differs says more than all of them.
                for i = 1, math.max(#expected, #got) do
                    assert.are.equal(expected[i], got[i], i)
                end
            end)
    end
end)
