-- Small versions of what make soak does at length. Both are programs of their
-- own, which check what they have done and end with 0 if all was well.
local support = require "spec.support"

local function run(settings, program)
    return support.shell(("timeout 120 env LUAJIT='%s' %s %s %s"):format(
        support.luajit, settings, support.luajit, program))
end

describe("under load", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("500 connections lose no byte, no memory, no descriptor", function()
        local output, status =
            run("SECONDS=3 CONNECTIONS=500", "spec/soak.lua")
        assert.are.equal(0, status, output)
        assert.matches("losses 0\n", output)
        assert.matches("\nall well\n$", output)
        assert.is_true(tonumber(output:match("\nconnections (%d+)")) > 500,
            output)
    end)

    it("5,000 connections of each kind come and go", function()
        if support.asan then
            return pending("AddressSanitizer keeps what was freed")
        end
        local output, status = run("CYCLES=5000", "spec/cycles.lua")
        assert.are.equal(0, status, output)
        local _, kinds = output:gsub(": well\n", "")
        assert.are.equal(10, kinds, output)
    end)
end)
