local fake_resolver = require "spec.fake_resolver"
local support = require "spec.support"

-- To see a failure again: MINISOCK_FUZZ_SEED=... make test SPEC=...
local SEED = tonumber(os.getenv("MINISOCK_FUZZ_SEED") or os.time())
local CALLS = tonumber(os.getenv("MINISOCK_FUZZ_CALLS"))
    or support.slow and 2000 or 10000

describe("random arguments of the drop-ins", function()
    local dir, luajit

    setup(function()
        dir = support.mkdtemp()
        luajit = fake_resolver.build(dir)
    end)

    teardown(function() support.rmtree(dir) end)

    before_each(support.setup)
    after_each(support.teardown)

    local function start(number, flags)
        local own = ("%s/%d"):format(dir, number)
        assert(require("lfs").mkdir(own))
        local fuzzer = support.spawn(
            ("env FAKE_ONLY=1 FAKE_DELAY=2 %s %s spec/dropin_fuzz.lua %d %d %s")
                :format(luajit, flags, SEED + number, CALLS, own))
        fuzzer.what = ("MINISOCK_FUZZ_SEED=%d, process %d")
            :format(SEED, number)
        return fuzzer
    end

    local function finish(fuzzer)
        local output = fuzzer.pipe:read("*a")
        assert.are.equal(("%d calls\n"):format(CALLS), output, fuzzer.what)
    end

    it("never crash, block, leak or get through", function()
        -- Valgrind finds a mistake in the compiler of LuaJIT.
        local compiled = start(1, support.valgrind and "-joff" or "")
        local interpreted = start(2, "-joff")
        finish(compiled)
        finish(interpreted)
    end)
end)
