local errnos = require "spec.faults.errnos"
local matrix = require "spec.faults.matrix"
local support = require "spec.support"

-- spec/faults/run.lua does the work, in one process under interpose.c, and
-- inner.lua what the kernel has to refuse; here is what came of it.
describe("a call that fails:", function()
    local dir, inner
    local outcomes, injected, last = {}, 0, "nothing was tried"
    local failed = {} -- each call that was made to fail

    local function read(output)
        for line in output:gmatch("[^\n]+") do
            local name, count, mistakes =
                line:match("^done (.+): (%d+) injected, (%d+) wrong$")
            local wrong = line:match("^wrong (.-: .-): ")
            local call = line:match("^try .-: .-: ([%w_]+): ")
            if call then failed[call] = true end
            if name then
                outcomes[name] = outcomes[name] or {}
                outcomes[name].injected = tonumber(count)
                outcomes[name].wrong = tonumber(mistakes)
                injected = injected + tonumber(count)
            elseif wrong then
                outcomes[wrong] = outcomes[wrong] or {}
                table.insert(outcomes[wrong], line)
            else
                last = line
            end
        end
    end

    setup(function()
        dir = support.mkdtemp()
        local library = support.build_library(dir, "interpose",
            support.slurp("spec/faults/interpose.c"), "-ldl")
        local luajit = support.preloading(library)
        inner = support.shell(luajit .. " spec/faults/inner.lua")
        local output, status =
            support.shell(luajit .. " spec/faults/run.lua")
        read(output)
        if status ~= 0 then last = ("%s [%d]"):format(last, status) end
    end)

    teardown(function() support.rmtree(dir) end)

    for _, op in ipairs(matrix) do
        it(op.name, function()
            local outcome = outcomes[op.name]
            assert(outcome and outcome.injected, "it ended with: " .. last)
            assert.are.same({ injected = outcome.injected, wrong = 0 }, outcome)
            assert.is_true(outcome.injected > 0)
        end)
    end

    it("is one of thousands", function()
        assert.is_true(injected > 9000, injected)
    end)

    it("may be one that libc makes by itself", function()
        local _, count = inner:gsub("right ", "")
        assert.is_true(count > 30, inner)
        assert.is_nil(inner:find("wrong "), inner)
        assert.is_truthy(inner:find("\ndone\n$"), inner)
    end)

    -- So that a new call isn't forgotten.
    it("is any of those that minisock makes", function()
        local unknown = {}
        local function look_up(name)
            if errnos.has(errnos.harmless, name) or name:find("^_ITM_")
                    or name:find("^__[gc]") then
                return
            end
            -- With large files, libc's name for it is another.
            if not errnos.of[name]
                    or not failed[name] and not failed[name .. "64"] then
                unknown[#unknown + 1] = name
            end
        end
        local shim = package.searchpath("minisock.shim", package.cpath)
        local symbols = support.shell(
            ("nm -D --undefined-only '%s'"):format(shim))
        for name in symbols:gmatch("[Uw] ([%w_]+)") do look_up(name) end
        local declared = support.shell(
            "grep -rhoE '__asm__[(]\"[a-z0-9_]+' minisock.lua minisock")
        for name in declared:gmatch('"([%w_]+)') do look_up(name) end
        assert.are.same({}, unknown)
        assert.is_truthy(symbols:find("recvmsg"))
        assert.is_truthy(declared:find("accept4"))
    end)
end)
