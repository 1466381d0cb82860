local cases = require "spec.faults.cases"
local support = require "spec.support"

-- Every row there is: 1 to 80, and two that came between.
local ROWS = { "35b", "68b" }
for row = 1, 80 do ROWS[#ROWS + 1] = tostring(row) end

-- Whether a spec has a test with the row's number at the start of its name:
-- `it("case 7: ...` or `each("case 7: ...`, or in a table of names.
local function shows(text, row)
    for name in text:gmatch("[%(%[]%(*\n?%s*\"case (%w+): ") do
        if name == row then return true end
    end
    return false
end

describe("the table of cases", function()
    it("has every row, and no other", function()
        for _, row in ipairs(ROWS) do
            assert.is_truthy(cases[row], "no row " .. row)
        end
        local count = 0
        for _ in pairs(cases) do count = count + 1 end
        assert.are.equal(#ROWS, count)
    end)

    for _, row in ipairs(ROWS) do
        local shown = cases[row]
        if type(shown) == "string" then
            it(("has a spec for row %s"):format(row), function()
                assert.is_true(shows(support.slurp(shown), row),
                    ("%s has no test named \"case %s: ...\"")
                        :format(shown, row))
            end)
        else
            it(("has a reason for not showing row %s"):format(row),
                function()
                    assert.are.equal("string", type(shown.nothing))
                end)
        end
    end

    it("knows a name that isn't there", function()
        assert.is_true(shows('    it("case 7: sends"', "7"))
        assert.is_true(shows('  each(("case 7: %s"):format(x)', "7"))
        assert.is_true(shows('  each(\n    "case 7: sends"', "7"))
        assert.is_false(shows('    it("case 77: sends"', "7"))
        assert.is_false(shows('    -- case 7: see there', "7"))
    end)
end)
