--- Runs the matrix, under interpose.c: prints a line for each operation, with
--- how many faults were injected, and one for each thing that went wrong.
local ffi = require "ffi"
local errnos = require "spec.faults.errnos"
local matrix = require "spec.faults.matrix"
local ms = require "minisock"
local process = require "spec.process"
local situations = require "spec.faults.situations"
local verdicts = require "spec.faults.verdicts"

ffi.cdef [[
void faults_reset(void);
void faults_watch(int);
void faults_cap(int);
int faults_add(const char *, int, int, int, int);
int faults_hits(int);
const char *faults_name(int);
int faults_seen(int);
int faults_bad_closes(void);
]]

local C = ffi.C
local has = errnos.has
local EVER = 2^31 - 1
local CAP = 4

io.stdout:setvbuf("line")
process.alarm(120)
ms.load()

local function code_of(name)
    return assert(ms[name], name)
end

---@class spec.faults.fault
---@field call string
---@field errno string
---@field first integer
---@field last integer

-- Injects, acts, and returns what came of it.
local function act(op, test, faults, cap)
    C.faults_reset()
    if cap then C.faults_cap(cap) end
    for _, fault in ipairs(faults) do
        local made = has(errnos.made[fault.call], fault.errno)
            and not (op.unmade and fault.call == "connect")
        C.faults_add(fault.call, made and 1 or 0, code_of(fault.errno),
            fault.first, fault.last)
    end
    C.faults_watch(1)
    local function finish(...)
        C.faults_watch(0)
        return { n = select("#", ...) - 1, select(2, ...) }, ...
    end
    return finish(pcall(op.act, test))
end

-- How often an operation made each of the calls.
local function calls_seen(op)
    local seen, i = {}, 0
    while C.faults_name(i) ~= nil do
        local name = ffi.string(C.faults_name(i))
        if C.faults_seen(i) > 0 and not has(op.not_counted, name)
                and not has(op.situation.not_counted, name) then
            seen[name] = C.faults_seen(i)
        end
        i = i + 1
    end
    return seen
end

local function is_done(op, results)
    if op.done then return op.done(results) end
    return results[1] ~= nil and results[1] ~= false
end

-- What the code of an error must be; nil for success.
local function expected_code(op, fault)
    local call, errno = fault and fault.call, fault and fault.errno
    if not fault or has(op.ignored, call)
            or has(op.goes_on and op.goes_on[call] or errnos.goes_on[call],
                errno)
            or fault.last == 1 and op.forgiven
                and has(op.forgiven[call], errno) then
        return op.fails and code_of(op.fails)
    end
    return code_of(op.means and op.means[call] or errno)
end

local function show(results)
    local texts = {}
    for i = 1, results.n do texts[i] = tostring(results[i]) end
    return "(" .. table.concat(texts, ", ") .. ")"
end

-- Raises what is wrong.
local function judge(op, test, results, code)
    local done = is_done(op, results)
    local told = op.told or verdicts[op.library].told
    if code and not told(results, code, op.call, test) then
        error(("expected the error %d, got %s"):format(code, show(results)), 0)
    elseif not code and not done then
        error("expected success, got " .. show(results), 0)
    end
    op.situation.settle(test, results, done, op)
    if op.after then op.after(results, test) end
end

-- One run. Returns what is wrong, and how often each call was made.
local function run(op, faults, cap)
    local before = process.descriptors()
    local test = situations.new(op.library)
    op.situation.prepare(test, op)
    if op.before then op.before(test) end
    local results, ran, problem = act(op, test, faults, cap)
    local seen = calls_seen(op)
    local target = faults[#faults]
    if ran then
        ran, problem = pcall(judge, op, test, results,
            expected_code(op, target))
    end
    if ran and target and C.faults_hits(#faults - 1) < 1 then
        ran, problem = false, "the fault wasn't injected"
    end
    if ran and C.faults_bad_closes() > 0 then
        ran, problem = false, "something was closed that wasn't open"
    end
    test:close_all()
    local left = process.descriptors() - before
    if ran and left ~= 0 then
        ran, problem = false, left .. " descriptors are left open"
    end
    return not ran and tostring(problem) or nil, seen
end

---------------------------------------------------------------------------
-- What is injected
---------------------------------------------------------------------------

-- An interrupted close isn't made again, also on the way out.
local CLOSE = { call = "close", errno = "EINTR", first = 1, last = EVER }

local function faults_of(op, call, errno, count)
    local swallowed = has(op.goes_on and op.goes_on[call]
        or errnos.goes_on[call], errno)
    local list, known = {}, {}
    for _, nth in ipairs({ 1, 2, count }) do
        if nth <= count and not known[nth] then
            known[nth] = true
            list[#list + 1] = { nth, nth }
        end
    end
    if not (errno == "EAGAIN" and op.situation.ends) then
        list[#list + 1] = { 1, swallowed and 3 or EVER }
    end
    for i, range in ipairs(list) do
        list[i] = {
            call = call, errno = errno, first = range[1], last = range[2],
        }
    end
    return list
end

local function describe(fault, cap, waited)
    return ("%s: %s %d-%s%s%s"):format(fault.call, fault.errno, fault.first,
        fault.last == EVER and "" or tostring(fault.last),
        cap and ", in small pieces" or "", waited and ", after waiting" or "")
end

local injected, wrong

local function try(op, fault, standing, cap, closes)
    local faults = {}
    if not closes and fault.call ~= "close" then faults[1] = CLOSE end
    faults[#faults + 1] = standing
    faults[#faults + 1] = fault
    print("try " .. op.name .. ": " .. describe(fault, cap, standing))
    local problem = run(op, faults, cap)
    injected = injected + 1
    if problem then
        wrong = wrong + 1
        print(("wrong %s: %s: %s"):format(op.name,
            describe(fault, cap, standing), problem))
    end
end

local function fault_each(op, seen, standing, cap)
    local closes = (seen.close or 0) > 0
    for call, count in pairs(seen) do
        local never = op.never and op.never[call]
        local list = op.only and (op.only[call] or "") or errnos.of[call]
        for errno in list:gmatch("%S+") do
            local faults = has(never, errno) and {}
                or faults_of(op, call, errno, count)
            for _, fault in ipairs(faults) do
                try(op, fault, standing, cap, closes)
            end
        end
    end
end

-- Those that say EAGAIN when there is nothing yet, and wait then.
local WAITS = "accept4 recv recvmmsg recvmsg send sendmsg sendto"

-- Says once that there is nothing yet, so that poll comes in.
local function fault_waiting(op, seen)
    for call in pairs(seen) do
        local list = op.goes_on and op.goes_on[call] or errnos.goes_on[call]
        if has(WAITS, call) and has(list, "EAGAIN") then
            local standing =
                { call = call, errno = "EAGAIN", first = 1, last = 1 }
            local problem, more = run(op, { standing })
            if problem then error("after waiting: " .. problem) end
            fault_each(op, { poll = more.poll }, standing)
        end
    end
end

local function examine(op)
    injected, wrong = 0, 0
    local problem, seen = run(op, {})
    if problem then error(problem) end
    fault_each(op, seen)
    fault_waiting(op, seen)
    local cap = op.cap or op.situation.stream and CAP
    if cap then
        problem, seen = run(op, {}, cap)
        if problem then error("in small pieces: " .. problem) end
        fault_each(op, seen, nil, cap)
    end
end

for _, op in ipairs(matrix) do
    if not arg[1] or op.name:find(arg[1], 1, true) then
        local ran, problem = pcall(examine, op)
        if not ran then
            wrong = wrong + 1
            print(("wrong %s: %s"):format(op.name, tostring(problem)))
        end
        print(("done %s: %d injected, %d wrong")
            :format(op.name, injected, wrong))
    end
end
