local servers = require "spec.servers"
local support = require "spec.support"
local telemetry = require "spec.telemetry"

local SECONDS = 2

describe("telemetry from log_by_lua, under load", function()
    local it_all

    setup(function()
        support.setup()
        it_all = telemetry.start()
    end)

    teardown(servers.stop)

    before_each(support.setup)

    after_each(function()
        support.teardown()
        -- Nothing of it is logged: no call has failed.
        assert.is_nil(it_all.nginx:log():match("%[[weac]%l+%][^\n]*"))
    end)

    -- What was loaded is what wrk counts, and what it didn't wait for.
    local function load(path)
        local served, answered = it_all:load(path, SECONDS)
        assert.is_true(answered > 0)
        assert.is_true(served >= answered and served <= answered + 32,
            ("%d served, %d answered"):format(served, answered))
        return served
    end

    it("no datagram for statsd is lost or malformed", function()
        local served = load("/statsd")
        assert.are.same(
            { counts = served, times = served, malformed = 0, drops = 0 },
            it_all:report())
    end)

    -- The messages of these requests: one for each, and each once.
    local function assert_logged(served, path, pattern)
        local text
        local count = 0
        pcall(support.wait_for, "the messages", function()
            text = it_all.rsyslog:messages()
            count = select(2, text:gsub(path .. " [^\n]*\n", ""))
            return count >= served
        end)
        assert.are.equal(served, count)
        local seen = {}
        for line in text:gmatch("[^\n]+") do
            if line:find(path .. " ", 1, true) then
                local request = line:match(pattern)
                assert(request, line)
                assert(not seen[request], line)
                seen[request] = true
            end
        end
    end

    -- 134: local0.info.
    it("no message for syslog over UDP is lost or malformed", function()
        assert_logged(load("/syslog"), "/syslog",
            "^%d+ 134 www web %- %- %- /syslog (%d+%-%d+)$")
    end)

    it("no message for the machine's syslog is lost or malformed", function()
        assert_logged(load("/unix"), "/unix",
            "^%d+ 134 %S+ web %- %- %- +/unix (%d+%-%d+)$")
    end)

    it("what arrives is dated now, and is the text that was sent", function()
        local rsyslog = servers.rsyslog()
        local output, status = support.run([[
            package.path = "examples/?.lua;" .. package.path
            local syslog = require "syslog"
            local log = syslog.new("127.0.0.1", { port = tonumber(arg[1]),
                host = "h", facility = "auth" })
            assert(log:err("over UDP: \n\0\27 one line"))
            log:close()
            log = syslog.new(arg[2], { name = "cron", facility = "daemon" })
            assert(log:warning("over Unix"))
            log:close()
        ]], rsyslog.port .. " " .. rsyslog.path)
        assert.are.equal("", output)
        assert.are.equal(0, status)
        local text = support.wait_for("two messages", function()
            local messages = rsyslog:messages()
            return messages:match("\n.*\n") and messages
        end)
        for date in ("\n" .. text):gmatch("\n(%d+) ") do
            assert.is_near(os.time(), tonumber(date), 10)
        end
        assert.matches("35 h nginx %- %- %- over UDP:     one line\n", text)
        assert.matches("28 %S+ cron %- %- %- +over Unix\n", text)
    end)
end)
