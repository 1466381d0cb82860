-- The examples for many: clients of a line server, packets for statsd.
local memory_of = require("spec.process").memory
local ms = require "minisock"
local support = require "spec.support"

local keep = support.keep

-- Starts an example, with room for as many descriptors, and returns it, its
-- address and its port.
local function start(program, arguments)
    local name = support.spit(support.tmpname(), ([[
        ulimit -n 10200 || exit
        exec %s examples/%s %s
    ]]):format(support.luajit, program, arguments))
    local process = support.spawn("sh " .. name)
    local port = tonumber((select(2,
        process:expect("^listening on (%S+) (%d+)$"))))
    return process, ms.inetaddr("127.0.0.1", port), port
end

local function ask(fd, text)
    assert(ms.sendall(fd, text, 10000))
    return assert(ms.read(fd, 10000))
end

describe("the line server", function()
    local server, addr, port

    before_each(function()
        support.setup()
        server, addr, port = start("line_server.lua", "127.0.0.1 0")
    end)
    after_each(support.teardown)

    local function client()
        return keep(ms.connect(addr, nil, 10000))
    end

    it("keeps values", function()
        local a, b = client(), client()
        assert.are.equal("NONE\n", ask(a, "GET key\n"))
        assert.are.equal("OK\n", ask(a, "SET key a value\r\n"))
        assert.are.equal("VALUE a value\n", ask(b, "GET key\n"))
        assert.are.equal("OK\n", ask(b, "SET key\n"))
        assert.are.equal("VALUE \n", ask(a, "GET key\r\n"))
        assert.are.equal("CLIENTS 2\n", ask(a, "CLIENTS\n"))
    end)

    it("says what it doesn't know", function()
        local fd = client()
        for _, line in ipairs({ "", "get key", "NOSUCH", " GET key" }) do
            assert.are.equal("ERROR no such command\n", ask(fd, line .. "\n"))
        end
        assert.are.equal("ERROR no key\n", ask(fd, "SET\n"))
    end)

    it("closes after QUIT, and after the client has closed", function()
        local a, b, c = client(), client(), client()
        assert.are.equal("BYE\n", ask(a, "QUIT\nGET key\n"))
        -- What came after it may have cut the connection.
        assert.is_true((ms.read(a, 10000) or "") == "")
        ms.shutdown(b, ms.SHUT_WR)
        assert.are.equal("", ms.read(b, 10000))
        assert.are.equal("CLIENTS 1\n", ask(c, "CLIENTS\n"))
    end)

    it("takes lines in pieces, and many in one", function()
        local fd = client()
        for piece in ("SET key value\nGET k"):gmatch(".") do
            ms.sendall(fd, piece, 10000)
        end
        assert.are.equal("OK\n", ms.read(fd, 10000))
        assert.are.equal("VALUE value\n", ask(fd, "ey\n"))
        local wanted = ("VALUE value\n"):rep(1000)
        ms.sendall(fd, ("GET key\n"):rep(1000), 10000)
        local got = ""
        while #got < #wanted do
            got = got .. assert(ms.read(fd, 10000))
        end
        assert.are.equal(wanted, got)
    end)

    it("refuses a line without an end", function()
        local fd = client()
        ms.sendall(fd, ("x"):rep(4097), 10000)
        assert.are.equal("ERROR line too long\n", ms.read(fd, 10000))
        assert.are.equal("", ms.read(fd, 10000))
    end)

    it("keeps little for one who doesn't read", function()
        local slow, other = client(), client()
        local requests = ("GET key\n"):rep(50000)
        local value = ("v"):rep(2000)
        local line = "VALUE " .. value .. "\n"
        ask(other, "SET key " .. value .. "\n")
        local before = memory_of(server.pid)
        -- A hundred megabytes of answers.
        local sent = select(4, ms.sendall(slow, requests, 300)) or #requests
        for _ = 1, 100 do assert.are.equal(line, ask(other, "GET key\n")) end
        local more = memory_of(server.pid) - before
        assert.is_true(more < 20000, more)
        -- It gets all of them once it does read.
        local size, wanted = 0, #line * 50000
        while size < wanted do
            if sent < #requests then
                local part = requests:sub(sent + 1)
                sent = sent + (select(4, ms.sendall(slow, part, 0)) or #part)
            end
            local data = assert(ms.read(slow, 10000, 2^20))
            assert(data ~= "", "it was closed")
            local from = size % #line
            assert.is_true(data == line:rep(#data / #line + 2)
                :sub(from + 1, from + #data))
            size = size + #data
        end
        assert.are.equal(wanted, size)
    end)

    it("lets others wait when it has no descriptors left", function()
        assert.are.equal(0, os.execute(("prlimit --nofile=16 --pid %s")
            :format(server.pid)))
        local clients = {}
        for i = 1, 30 do clients[i] = client() end
        local served, waiting = {}, {}
        for _, fd in ipairs(clients) do ms.write(fd, "GET x\n") end
        for _, fd in ipairs(clients) do
            local list = ms.read(fd, 500) == "NONE\n" and served or waiting
            list[#list + 1] = fd
            if #waiting > 0 then break end
        end
        assert.is_true(#served > 0 and #waiting > 0,
            ("%d served, %d waiting"):format(#served, #waiting))
        ms.close(served[1])
        assert.are.equal("NONE\n", ms.read(waiting[1], 10000))
        -- It waits; it doesn't try again and again.
        local stat = ("/proc/%s/stat"):format(server.pid)
        local function ticks()
            local user, system = support.slurp(stat)
                :match("^%d+ %b() %S" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
            return user + system
        end
        local start_ticks = ticks()
        ms.msleep(500)
        assert.is_true(ticks() - start_ticks < 25)
    end)

    local CLIENTS = [[
import socket, sys
port, count = int(sys.argv[1]), int(sys.argv[2])

def answer(s):
    data = b""
    while not data.endswith(b"\n"):
        more = s.recv(4096)
        if not more:
            raise Exception("closed")
        data += more
    return data

def expect(wanted, got):
    if wanted != got:
        raise Exception("%r, not %r" % (got, wanted))

socks = []
for i in range(count):
    s = socket.create_connection(("127.0.0.1", port), 60)
    s.sendall(b"SET key%d value %d\nGE" % (i, i))
    socks.append(s)
for s in socks:
    expect(b"OK\n", answer(s))
for i, s in enumerate(socks):
    s.sendall(b"T key%d\n" % i)
for i, s in enumerate(socks):
    expect(b"VALUE value %d\n" % i, answer(s))
for i in (0, count // 2, count - 1):
    socks[i].sendall(b"CLIENTS\n")
    expect(b"CLIENTS %d\n" % count, answer(socks[i]))
print("all", flush=True)
sys.stdin.readline()
for i, s in enumerate(socks[1:]):
    if i % 2:
        s.sendall(b"QUIT\n")
for i, s in enumerate(socks[1:]):
    if i % 2:
        expect(b"BYE\n", answer(s))
        expect(b"", s.recv(1))
    s.close()
for attempt in range(1000):
    socks[0].sendall(b"CLIENTS\n")
    left = answer(socks[0])
    if left == b"CLIENTS 1\n":
        break
print("left", left.decode(), flush=True)
]]

    it("holds 10,000 clients, each of which gets its answer", function()
        local program = support.spit(support.tmpname(), CLIENTS)
        local go = support.tmpname()
        assert.are.equal(0, os.execute("mkfifo " .. go))
        local run = support.spit(support.tmpname(), ([[
            ulimit -n 10200 || exit
            exec python3 %s %d 10000 < %s
        ]]):format(program, port, go))
        local clients = support.spawn("sh " .. run)
        -- Opened for writing too, so that neither end waits for the other.
        local fifo = assert(io.open(go, "r+"))
        clients:expect("^all$")
        -- All are open, and idle: that takes no time, and not much memory.
        assert.is_true(memory_of(server.pid) < 200000)
        fifo:write("go\n")
        fifo:close()
        assert.are.equal("CLIENTS 1", clients:expect("^left (.*)$"))
    end)
end)

describe("the statsd server", function()
    before_each(support.setup)
    after_each(support.teardown)

    -- The totals that it prints once there have been so many packets.
    local function totals(server, packets)
        local found = {}
        for _ = 1, 10000 do
            local line = assert(server:line(), "it has ended")
            local kind, rest = line:match("^(%a+)\t(.*)$")
            assert(kind, line)
            if kind == "packets" then
                if tonumber(rest) >= packets then
                    assert.are.equal(packets, tonumber(rest))
                    return found
                end
                found = {}
            else
                found[#found + 1] = kind .. " " .. rest:gsub("\t", " ")
            end
        end
        error("too many lines")
    end

    it("knows counters, gauges, timings, rates, and what is wrong", function()
        local server, addr = start("statsd_server.lua", "127.0.0.1 0 50")
        local fd = keep(ms.udpsocket())
        local list = { "hits:1|c", "hits:3|c|@0.5\nwork:10|ms", "work:20|ms",
            "level:5|g\nlevel:7|g", "nonsense", "hits:x|c", "hits:1|zz", "",
            "hits:1|c|@0" }
        assert.are.equal(#list, ms.sendmany(fd, list, addr))
        assert.are.same({ "counter hits 7", "gauge level 7",
            "timing work 2 15", "wrong 4" }, totals(server, #list))
    end)

    it("counts what examples/statsd.lua sends", function()
        local server, addr = start("statsd_server.lua", "127.0.0.1 0 50")
        local statsd = dofile("examples/statsd.lua")
        local stats = statsd.new("127.0.0.1", support.port_of(addr), "web.")
        for _ = 1, 3 do stats:count("requests") end
        stats:timing("request", 2.5)
        stats:gauge("workers", 4)
        stats:close()
        assert.are.same({ "counter web.requests 3", "gauge web.workers 4",
            "timing web.request 1 2.5" }, totals(server, 5))
    end)

    -- How many bytes wait in a UDP socket's queue, and how many packets were
    -- dropped for want of room, by its port.
    local function queue_of(port)
        for line in support.slurp("/proc/net/udp"):gmatch("[^\n]+") do
            local local_port, waiting, drops = line:match("^%s*%d+: %x+:(%x+) "
                .. "%x+:%x+ %x+ %x+:(%x+) .* (%d+)%s*$")
            if local_port and tonumber(local_port, 16) == port then
                return tonumber(waiting, 16), tonumber(drops)
            end
        end
        error("no such socket")
    end

    it("loses none of 100,000 packets", function()
        local server, addr, port = start("statsd_server.lua",
            "127.0.0.1 0 100")
        local fd = keep(ms.udpsocket())
        local expected, sent = {}, 0
        while sent < 100000 do
            local list = {}
            for i = 1, 200 do
                local name = "name" .. math.random(9)
                local value = math.random(0, 1000)
                expected[name] = (expected[name] or 0) + value
                list[i] = ("%s:%d|c"):format(name, value)
            end
            assert.are.equal(200, ms.sendmany(fd, list, addr))
            sent = sent + 200
            -- Small packets take most of a KiB each. However small the queue
            -- may be, there is room for 200 of them beside as many.
            for _ = 1, 100000 do
                if queue_of(port) < 150000 then break end
                ms.msleep(0.2)
            end
        end
        local lines = totals(server, 100000)
        local names = {}
        for name in pairs(expected) do names[#names + 1] = name end
        table.sort(names)
        for i, name in ipairs(names) do
            names[i] = ("counter %s %d"):format(name, expected[name])
        end
        assert.are.same(names, lines)
        assert.are.equal(0, (select(2, queue_of(port))))
    end)
end)
