local support = require "spec.support"

-- Nearly a collection for each operation, and nothing compiled: what is kept
-- alive by chance elsewhere isn't here.
local RUN = "timeout 120 " .. support.luajit .. " -joff spec/gc.lua "

describe("while the garbage collector runs all the time,", function()
    before_each(support.setup)
    after_each(support.teardown)

    for name in support.shell(RUN):gmatch("[%w.]+") do
        it(name .. " keeps its data", function()
            local output, status = support.shell(RUN .. name)
            assert.are.equal(0, status, output)
            local count = output:match("^" .. name .. ": (%d+) collections\n$")
            assert.is_true(tonumber(count) > 300, output)
        end)
    end

    it("every public module is used", function()
        local names = support.shell(RUN)
        for module in support.slurp("README.md")
                :gmatch('require%(?%s*"(minisock[%w.]*)"') do
            assert.is_truthy(names:find(module .. "\n", 1, true), module)
        end
    end)
end)
