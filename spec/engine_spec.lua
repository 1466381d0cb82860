--- The engine that make test-engines runs on is the one that it should be, for
--- the specs' child processes too.
local support = require "spec.support"

local TELL = [[
local fork = pcall(require, "table.isarray") and "luajit2" or "luajit"
for _ = 1, 10 do fork = fork .. "" end
print(fork, jit.arch, (jit.status()) and "jit" or "interpreter",
    require("jit.util").traceinfo(1) and "hot" or "cold")
]]

-- What it tells on each of .ci/engines, as a pattern.
local EXPECTED = {
    luajit2 = "luajit2\t%w+\tjit\tcold",
    luajit = "luajit\t%w+\tjit\tcold",
    joff = "%w+\t%w+\tinterpreter\tcold",
    hot = "%w+\t%w+\tjit\thot",
    i386 = "luajit2\tx86\tjit\tcold",
    arm64 = "luajit2\tarm64\tjit\tcold",
}

describe("the engine", function()
    if support.engine then
        it("is the one that was asked for", function()
            assert.matches("^" .. EXPECTED[support.engine] .. "\n$",
                (support.run(TELL)))
        end)
    end

    it("is also what specs start", function()
        assert.are.equal(jit.arch .. jit.version,
            (support.run("io.write(jit.arch, jit.version)")))
    end)
end)
