local fake_resolver = require "spec.fake_resolver"
local peer = require "spec.peer"
local support = require "spec.support"

local LIBRARIES = {
    "core", "pollset", "poller", "socket", "luasocket", "resty", "lsocket",
    "llsocket",
}

-- spec/faults/storm.lua has the calls.
describe("with a signal every millisecond,", function()
    local dir, output
    local right, wrong = {}, {}

    setup(function()
        support.setup()
        dir = support.mkdtemp()
        local tcp, udp = peer.start("tcp", "echo"), peer.start("udp", "echo")
        output = support.shell(("timeout 100 %s spec/faults/storm.lua %d %d")
            :format(fake_resolver.build(dir), tcp.port, udp.port))
        for verdict, library in output:gmatch("(%l+) (%l+): [^\n]+") do
            local counts = verdict == "right" and right or wrong
            counts[library] = (counts[library] or 0) + 1
        end
    end)

    teardown(function()
        support.rmtree(dir)
        support.teardown()
    end)

    for _, library in ipairs(LIBRARIES) do
        it("each call keeps its timeout, and all data: " .. library, function()
            assert.is_nil(wrong[library], output)
            assert.is_true((right[library] or 0) > 0, output)
        end)
    end

    it("each was tried to the end", function()
        assert.is_truthy(output:find("\nthe storm is over\n$"), output)
        for line in output:gmatch("[^\n]+") do
            assert.is_nil(line:match("^wrong"), line)
        end
    end)
end)
