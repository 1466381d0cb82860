local support = require "spec.support"

local function readme()
    local file = assert(io.open("README.md"))
    local text = file:read("*a")
    file:close()
    return text
end

-- The fenced blocks of a language, in their order.
local function blocks(language)
    local found = {}
    for block in readme():gmatch("\n```" .. language .. "\n(.-)\n```\n") do
        found[#found + 1] = block
    end
    return found
end

-- What the comments say that the block prints.
local function promised(block)
    local lines = {}
    for line in block:gmatch("%-%->%s([^\n]*)") do
        lines[#lines + 1] = line .. "\n"
    end
    return table.concat(lines)
end

describe("the README", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("has examples that print what they say", function()
        local ran = 0
        for _, block in ipairs(blocks("lua")) do
            local expected = promised(block)
            if expected ~= "" then
                local output, status = support.run(block)
                assert.are.equal(expected, output)
                assert.are.equal(0, status)
                ran = ran + 1
            end
        end
        assert.are.equal(3, ran)
    end)

    it("names every function, and none that isn't there", function()
        local ms = require "minisock"
        local documented = {}
        for row in readme():gmatch("\n| (`[^\n]*)") do
            for name in row:match("^[^|]*"):gmatch("`([%w_]+)%(") do
                documented[name] = true
                assert.is_function(ms[name], name)
            end
        end
        for name, value in pairs(ms) do
            if type(value) == "function" then
                assert.is_true(documented[name], name)
            end
        end
    end)
end)
