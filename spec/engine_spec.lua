--- The engine of make test-engines is what it is to be, and specs start their
--- children on it.
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
    it("is the one that was asked for", function()
        if not support.engine then return pending("this is make test") end
        assert.matches("^" .. EXPECTED[support.engine] .. "\n$",
            (support.run(TELL)))
        assert.are.equal(jit.arch, (support.run("io.write(jit.arch)")))
    end)
end)
