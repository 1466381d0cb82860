--- The fault matrix: what minisock does, an operation a line. Each is run once
--- to see which of libc's calls it makes, and then again and again, each time
--- with one of these calls failing in one of the ways that its man page lists,
--- the first time, the second or the last, or from then on.
---
--- After most errors the operation must fail, say so in its library's way, and
--- leave nothing open or half done. After those that errnos.lua has under
--- `goes_on` it must succeed as if nothing had been. What differs is said here:
---
--- goes_on: by call, in place of errnos.lua's
--- forgiven: by call, an error that does no harm unless it comes again
--- ignored: calls whose failure doesn't matter
--- fails: the errno that it has when nothing is injected
--- means: by call, the code that it fails with whatever the error
--- only: by call, all that is injected
--- never: by call, what it doesn't say here
--- unmade: an interrupted connect has done nothing, as a Unix socket's
--- not_counted: calls that nothing is injected into
--- cap: how many datagrams a call takes at most in one of the runs
--- done, got, count, sent: what of its results says that it succeeded, what it
--- received, how many bytes it sent, which datagrams
--- told: in place of the library's
--- before, after: what else is prepared, and put away
local situations = require "spec.faults.situations"
local verdicts = require "spec.faults.verdicts"

local operations = {}

--- Makes the function that adds an operation of a library's: the situation, a
--- name that begins with the function's, the act, and what differs.
---@param library string
---@return function add
function operations.of(library)
    assert(verdicts[library], library)
    return function(situation, name, act, options)
        local op = options or {}
        op.library, op.situation = library, situations[situation]
        op.name = ("%s: %s"):format(library, name)
        op.call, op.act = name:match("^[%w_]+"), act
        assert(op.situation, situation)
        operations[#operations + 1] = op
    end
end

return operations
