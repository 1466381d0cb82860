-- The soak: thousands of connections at once, of random bytes in random pieces,
-- with pauses, half-closes and resets at both ends. Every byte is accounted
-- for, and neither memory nor descriptors become more.
--
--     SECONDS=60 CONNECTIONS=10000 SEED=1 luajit spec/soak.lua
--
-- A server and its clients are two processes, since a descriptor for each end
-- is more than one of them may have. Prints what it found, and fails if that
-- isn't right.
local lfs = require "lfs"
local common = require "spec.soak_common"

local SECONDS = tonumber(os.getenv("SECONDS") or 60)
local CONNECTIONS = tonumber(os.getenv("CONNECTIONS") or 10000)
local SEED = tonumber(os.getenv("SEED") or os.time())
local LUAJIT = os.getenv("LUAJIT") or "luajit"

local MARKS = 6 -- in all this time, of which the first third is for warming up
local GRACE = 120 -- seconds, for what is under way at the end

-- Compiled, 10,000 connections took 2 % more of 14 and 22 MiB from the third to
-- the end of a minute; interpreted, the first seconds of a few hundred took up
-- to 2 MiB more, and then nothing. In a minute 20,000 connections come and go:
-- 250 bytes that each left behind would be more than this.
local function memory_bound(kib) return kib * 1.1 + 2048 end

local problems = {}

local function check(condition, ...)
    if condition then return end
    problems[#problems + 1] = select("#", ...) > 1 and (...):format(
        select(2, ...)) or (...)
end

local folder = os.tmpname()
os.remove(folder)
assert(lfs.mkdir(folder))

-- Starts a program of the soak, which won't outlive this one by long. The
-- server has more connections than there are, while it hasn't looked at those
-- that are over.
local function start(name, ...)
    local words = { LUAJIT, ("spec/soak_%s.lua"):format(name),
        ("%s/%s"):format(folder, name), SEED, SECONDS / MARKS, ... }
    return io.popen(("ulimit -n %d && exec timeout %d %s 2>&1"):format(
        CONNECTIONS * 3 / 2 + 200, SECONDS + GRACE, table.concat(words, " ")))
end

-- What a process said of itself: a list of { memory, descriptors, ... }, and
-- how many connections it had at most.
local function looks(name, pipe, line)
    local list = { most = 0 }
    while line do
        local what, memory, descriptors, live, bytes =
            line:match("^(%a+)\t(%d+)\t(%d+)\t(%d+)\t(%d+)$")
        if what then
            list[#list + 1] = { what = what, memory = tonumber(memory),
                descriptors = tonumber(descriptors),
                live = tonumber(live), bytes = tonumber(bytes) }
            print(("%-7s %-5s %6d KiB, %5d descriptors, %5d connections, "
                .. "%12d bytes"):format(name, what, memory, descriptors, live,
                bytes))
            io.stdout:flush()
        elseif line:find("^most\t") then
            list.most = tonumber(line:match("%d+"))
        else
            check(false, "%s: %s", name, line)
        end
        line = pipe:read("*l")
    end
    pipe:close()
    return list
end

local function run()
    local server = start("server")
    local addresses = {}
    local line = server:read("*l")
    while line and line:find("^listening\t") do
        addresses[#addresses + 1] = line:match("\t(.*)"):gsub("\t", ",")
        line = server:read("*l")
    end
    local client = start("client", CONNECTIONS, SECONDS,
        table.concat(addresses, " "))
    local of_clients = looks("clients", client, client:read("*l"))
    return of_clients, looks("server", server, line)
end

local function check_looks(name, list)
    local first, last = list[1], list[#list]
    if not last or last.what ~= "end" then
        return check(false, "%s: it came to no end", name)
    end
    check(first.descriptors == last.descriptors,
        "%s: %d descriptors at the start, %d at the end", name,
        first.descriptors, last.descriptors)
    local warm
    for i = 1 + MARKS / 3, #list do
        warm = warm or list[i].live >= 0.9 * CONNECTIONS and list[i]
        check(not warm or list[i].memory <= memory_bound(warm.memory),
            "%s: %d KiB of memory became %d", name, warm and warm.memory or 0,
            list[i].memory)
    end
    check(warm, "%s: too slow to have as many connections", name)
end

---------------------------------------------------------------------------
-- What became of each connection
---------------------------------------------------------------------------

-- These come to an end at both ends, with nothing missing.
local COMPLETE = { w = true, h = true }
local NAMES = { w = "whole", h = "half-closed", r = "reset by the client",
    l = "left by the client", d = "reset by the server" }

local function served_ones()
    local list = {}
    for line in io.lines(folder .. "/server") do
        local id, rest = line:match("^(%d+) (.*)$")
        check(not list[id], "connection %s was served twice", id)
        list[id] = rest
    end
    return list
end

-- Returns what is wrong, or nil.
local function fault(c, s)
    if COMPLETE[c.fate] and (c.how ~= "end" or s.how ~= "end") then
        return "wasn't to be cut"
    end
    if c.received > s.sent or s.sent > s.received or s.received > c.sent then
        return "got what wasn't sent"
    end
    if c.how == "end" and s.how == "end" then
        if s.received ~= c.sent or c.received ~= s.sent then
            return "lost bytes"
        end
        if c.fate == "w" and s.sent ~= s.received then
            return "wasn't answered"
        end
    end
    local sum = {}
    for _, n in ipairs({ c.received, s.sent, s.received }) do
        sum[n] = sum[n] or common.expected_sum(c.id, n)
    end
    if c.sum ~= sum[c.received] or s.sent_sum ~= sum[s.sent]
            or s.sum ~= sum[s.received] then
        return "got other bytes"
    end
end

local NOTHING = "cut 0 -1 0 -1"

local function check_connection(line, served, found)
    local id, how, fate, received, sum, sent =
        line:match("^(%d+) (%a+) (%l) (%d+) (%-?%d+) (%d+)$")
    local c = { id = tonumber(id), how = how, fate = fate,
        received = tonumber(received), sum = tonumber(sum),
        sent = tonumber(sent) }
    -- One that the client cuts early may never be served.
    local rest = served[id] or NOTHING
    served[id] = nil
    local s = {}
    s.how, s.received, s.sum, s.sent, s.sent_sum =
        rest:match("^(%a+) (%d+) (%-?%d+) (%d+) (%-?%d+)$")
    s.received, s.sum = tonumber(s.received), tonumber(s.sum)
    s.sent, s.sent_sum = tonumber(s.sent), tonumber(s.sent_sum)
    local wrong = fault(c, s)
    if wrong then
        found.losses = found.losses + 1
        if found.losses <= 10 then -- which are enough to read
            check(false, "connection %s %s; client %s; server %s", id, wrong,
                line, rest)
        end
    end
    found.connections = found.connections + 1
    found.bytes = found.bytes + c.received + s.received
    found[fate] = (found[fate] or 0) + 1
end

local function check_connections()
    common.seed(SEED)
    local found = { connections = 0, bytes = 0, losses = 0 }
    local served = served_ones()
    for line in io.lines(folder .. "/client") do
        check_connection(line, served, found)
    end
    check(next(served) == nil, "connection %s was made by nobody",
        tostring(next(served)))
    return found
end

print(("seed %d, %d connections, %d seconds"):format(SEED, CONNECTIONS,
    SECONDS))
local of_clients, of_server = run()
check_looks("clients", of_clients)
check_looks("server", of_server)
check(of_clients.most == CONNECTIONS, "%d connections at once at most",
    of_clients.most)

local found = check_connections()
print(("connections %d, bytes checked %d, losses %d"):format(found.connections,
    found.bytes, found.losses))
for fate, name in pairs(NAMES) do
    print(("%8d %s"):format(found[fate] or 0, name))
    check(found[fate], "no connection was %s", name)
end
os.execute("rm -r " .. folder)

for _, problem in ipairs(problems) do print("PROBLEM " .. problem) end
print(#problems == 0 and "all well" or "failed")
os.exit(#problems == 0 and 0 or 1, true)
