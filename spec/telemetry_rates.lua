--- How many requests per second nginx serves with and without telemetry, of
--- the same nginx in the same run, in turns: make telemetry.
local servers = require "spec.servers"
local support = require "spec.support"
local telemetry = require "spec.telemetry"

local ROUNDS, SECONDS = 5, 1

local PLACES = {
    { "/nothing", "nothing" },
    { "/lua", "log_by_lua, nothing sent" },
    { "/statsd", "statsd, two datagrams" },
    { "/timer", "the same by ngx.timer" },
    { "/syslog", "syslog over UDP" },
    { "/nginx", "the same by access_log" },
    { "/unix", "syslog over Unix" },
}

local function median(list)
    table.sort(list)
    return list[math.floor(#list / 2) + 1]
end

support.setup()
local done, why = xpcall(function()
    local running = telemetry.start()
    local rates = {}
    for _, place in ipairs(PLACES) do
        rates[place] = {}
        running:load(place[1], 1)
    end
    for _ = 1, ROUNDS do
        for _, place in ipairs(PLACES) do
            local _, _, rate = running:load(place[1], SECONDS)
            table.insert(rates[place], rate)
        end
    end
    local plain = median(rates[PLACES[1]])
    print(("%-26s %12s %8s"):format("", "requests/s", "ratio"))
    for _, place in ipairs(PLACES) do
        local rate = median(rates[place])
        print(("%-26s %12.0f %8.2f"):format(place[2], rate, rate / plain))
    end
end, debug.traceback)
servers.stop()
if not done then error(why, 0) end
