--- What networks do to packets: loss, silence, slowness and refusals, in
--- network namespaces of the specs' own.
local networks = require "spec.networks"
local support = require "spec.support"

local it_can = networks.it_can

-- Servers of one connection after the other, and their ports: one sends half a
-- MiB and waits for the end, one reads and tells how much came.
local SENDER = [[
local noise = clients.noise(2^19)
local server, addr = assert(ms.bind("127.0.0.1", 0))
print("port " .. ms.parseaddr(addr).port)
io.stdout:flush()
while true do
    local fd = assert(ms.accept(server, 60000))
    ms.sendall(fd, noise, 60000)
    ms.read(fd, 60000)
    ms.close(fd)
end
]]

local COUNTER = [[
local server, addr = assert(ms.bind("127.0.0.1", 0))
print("port " .. ms.parseaddr(addr).port)
io.stdout:flush()
local fd = assert(ms.accept(server, 60000))
local total, data = 0, nil
repeat
    data = assert(ms.read(fd, 60000, 65536))
    total = total + #data
until data == ""
print("total " .. total)
ms.close(fd)
ms.close(server)
]]

local function start_server(network, program)
    local process = network:start(program)
    return process:expect("^port (%d+)"), process
end

describe("loss of every tenth packet", function()
    before_each(support.setup)
    after_each(support.teardown)

    local LOSS = "meta l4proto { tcp, udp } numgen random mod 10 < 1 drop"

    it_can("doesn't harm a stream", function()
        local network = networks.new()
        network:shell("ip route change local 127.0.0.1 dev lo table local "
            .. "src 127.0.0.1 rto_min 5ms")
        network:filter(LOSS)
        local echo = network:spawn("python3 spec/peer.py tcp echo")
        network:run_for_each([[
            local library, port = unpack(arg)
            local client = assert(clients.tcp[library].connect("127.0.0.1",
                port, 30000))
            local piece = clients.noise(2^16)
            for _ = 1, 32 do -- 2 MiB, both ways
                assert(client:send(piece))
                assert(client:receive(#piece) == piece)
            end
            client:close()
            assert(clients.retransmitted() > 0)
        ]], echo:expect("^port (%d+)"))
    end)

    it_can("is all that UDP suffers", function()
        local network = networks.new()
        network:filter(LOSS)
        network:run_for_each([[
            local library = arg[1]
            local fd = assert(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
            local send, _, close = assert(clients.udp[library]("127.0.0.1",
                ms.parseaddr(ms.getsockname(fd)).port))
            local came = 0
            for i = 1, 2000 do
                assert(send(tostring(i)))
                if ms.recvfrom(fd, 0) then came = came + 1 end
            end
            while ms.recvfrom(fd, 10) do came = came + 1 end
            close()
            ms.close(fd)
            assert(came > 1600 and came < 1990, came)
        ]])
    end)
end)

describe("case 30: a server that never answers", function()
    before_each(support.setup)
    after_each(support.teardown)

    it_can("ends connect at its deadline, with no descriptor left", function()
        local network = networks.new()
        network:filter("tcp dport 81 drop")
        network:run_for_each([[
            local library = arg[1]
            local client, problem = at_deadline(1000, function()
                return clients.tcp[library].connect("127.0.0.1", 81, 1000)
            end)
            assert.is_nil(client)
            assert.are.equal("timeout", problem)
        ]])
    end)

    it_can("has ETIMEDOUT of the core's and of the objects'", function()
        local network = networks.new()
        network:filter("tcp dport 81 drop")
        network:run([[
            local fd, message, code = ms.connect("127.0.0.1", 81, 10)
            assert.is_nil(fd)
            assert.are.equal("connect timeout", message)
            assert.are.equal(ms.ETIMEDOUT, code)
            local socket = require "minisock.socket"
            local sock = socket.tcp()
            sock:settimeout(0.01)
            local done
            done, message, code = sock:connect("127.0.0.1", 81)
            assert.is_nil(done)
            assert.are.equal(socket.ERROR_TIMEOUT, message)
            assert.are.equal(ms.ETIMEDOUT, code)
            sock:close()
        ]])
    end)
end)

describe("case 30: a system that gives up before we do", function()
    before_each(support.setup)
    after_each(support.teardown)

    it_can("is told by its errno, not as our timeout", function()
        local network = networks.new()
        network:filter("tcp dport 81 drop")
        network:shell("echo 1 >/proc/sys/net/ipv4/tcp_syn_retries")
        local program = [[
            local library = arg[1]
            local elapsed, client, problem = timed(function()
                return clients.tcp[library].connect("127.0.0.1", 81, 30000)
            end)
            assert.is_nil(client)
            -- LuaSocket has one word for both.
            assert.are.equal(library == "luasocket" and "timeout"
                or ms.ETIMEDOUT, problem)
            assert(elapsed < 20000, elapsed)
        ]]
        local processes = { network:start(program, "blocking") }
        network:start_for_each(processes, program)
        networks.finish_all(processes)
    end)
end)

describe("data that trickles, 2 Mbit a second", function()
    before_each(support.setup)
    after_each(support.teardown)

    -- A cosocket's timeout is for each wait, as the last test has it.
    local WITH_DEADLINES = { "core", "socket", "luasocket" }
    local SENDING = { "core", "pieces", "buffer", "socket", "luasocket" }

    local function slow_network()
        local network = networks.new()
        network:shell("tc qdisc add dev lo root "
            .. "tbf rate 2mbit burst 3000 latency 200ms")
        return network
    end

    it_can("doesn't move receive's deadline", function()
        local receivers = {}
        for i, library in ipairs(WITH_DEADLINES) do
            local network = slow_network()
            receivers[i] = network:start([[
                local library, port = unpack(arg)
                local whole, client = clients.noise(2^19), nil
                local data, problem, part = at_deadline(1000, function()
                    return client:receive(#whole)
                end, function()
                    if client then client:close() end
                    client = assert(clients.tcp[library].connect("127.0.0.1",
                        port, 30000))
                    assert(client:receive(1) == whole:sub(1, 1))
                    client:set_timeout(1000)
                end)
                assert.is_nil(data)
                assert.are.equal("timeout", problem)
                assert(#part > 0)
                client:set_timeout(30000)
                part = part .. assert(client:receive(#whole - 1 - #part))
                assert(part == whole:sub(2))
                client:close()
            ]], library, (start_server(network, SENDER)))
        end
        networks.finish_all(receivers)
    end)

    it_can("doesn't move send's, which tells how much was sent", function()
        local senders, counters = {}, {}
        for i, library in ipairs(SENDING) do
            local network = slow_network()
            local port, counter = start_server(network, COUNTER)
            counters[i] = counter
            senders[i] = network:start([[
                local library, port = unpack(arg)
                local client = assert(clients.tcp[library].connect(
                    "127.0.0.1", port, 1000))
                client:set_option("SO_SNDBUF", 65536)
                local total, much = 0, ("x"):rep(2^22)
                local sent, problem = at_deadline(1000, function()
                    local sent, problem, before = client:send(much)
                    total = total + (sent or before)
                    return sent, problem
                end)
                assert.is_nil(sent)
                assert.are.equal("timeout", problem)
                assert(total > 0)
                client:close()
                print("total " .. total)
            ]], library, port)
        end
        for i, process in ipairs(senders) do
            assert.are.equal(process:expect("^total (%d+)"),
                counters[i]:expect("^total (%d+)"))
            networks.finish(process)
            networks.finish(counters[i])
        end
    end)

    it_can("keeps a cosocket waiting for less than its timeout each time",
        function()
            local network = slow_network()
            network:run([[
                local client = assert(clients.tcp.resty.connect("127.0.0.1",
                    arg[1], 1000))
                local elapsed, data = timed(function()
                    return assert(client:receive(2^19))
                end)
                assert(data == clients.noise(2^19))
                assert(elapsed > 1000)
                client:close()
            ]], (start_server(network, SENDER)))
        end)
end)

describe("case 35b: refusals on the way", function()
    before_each(support.setup)
    after_each(support.teardown)

    -- What the network answers, and what TCP and UDP make of it. UDP doesn't
    -- hear of what may pass.
    local FILTERS = {
        { "icmp type host-unreachable", "EHOSTUNREACH" },
        { "icmp type net-unreachable", "ENETUNREACH" },
        { "icmp type port-unreachable", "ECONNREFUSED", "ECONNREFUSED" },
        { "icmp type host-prohibited", "EHOSTUNREACH", "EHOSTUNREACH" },
        { "icmp type admin-prohibited", "EHOSTUNREACH", "EHOSTUNREACH" },
        { "icmpv6 type no-route", "ENETUNREACH", six = true },
        { "icmpv6 type addr-unreachable", "EHOSTUNREACH", six = true },
        { "icmpv6 type port-unreachable", "ECONNREFUSED", "ECONNREFUSED",
            six = true },
        { "icmpv6 type admin-prohibited", "EACCES", "EACCES", six = true },
    }
    local ROUTES = {
        { "unreachable", "EHOSTUNREACH" },
        { "prohibit", "EACCES" },
        { "blackhole", "EINVAL" },
        { "throw", "ENETUNREACH" },
    }

    local REFUSED = [[
        local library, host, port, of_tcp, of_udp = unpack(arg)
        local elapsed, client, problem = timed(function()
            return clients.tcp[library].connect(host, port, 10000)
        end)
        assert.is_nil(client)
        assert.are.equal(ms[of_tcp], problem)
        client, problem = clients.tcp.blocking.connect(host, port)
        assert.is_nil(client)
        assert.are.equal(ms[of_tcp], problem)
        -- When it comes while connect(2) still works, only the next SYN's
        -- refusal counts.
        assert(elapsed < 5000, elapsed)
        local send, receive, close = clients.udp[library](host, port)
        if send then
            problem = select(2, send("hello")) or select(2, receive())
            close()
        else
            problem = receive
        end
        assert.are.equal(ms[of_udp] or "timeout", problem)
    ]]

    it_can("by ICMP are told with their errno", function()
        local network = networks.new()
        local rules, processes = {}, {}
        for i, row in ipairs(FILTERS) do
            rules[i] = ("ip%s daddr %s meta l4proto { tcp, udp } th dport %d "
                .. "reject with %s"):format(row.six and "6" or "",
                row.six and "::1" or "127.0.0.1", 100 + i, row[1])
        end
        network:filter(table.concat(rules, "\n"))
        for i, row in ipairs(FILTERS) do
            network:start_for_each(processes, REFUSED,
                row.six and "::1" or "127.0.0.1", 100 + i, row[2], row[3])
        end
        networks.finish_all(processes)
    end)

    it_can("by routes are told with their errno", function()
        local network = networks.new()
        local processes = {}
        for i, row in ipairs(ROUTES) do
            local kind, errno = unpack(row)
            network:shell(("ip route add %s 10.%d.0.0/16"):format(kind, i))
            network:start_for_each(processes, REFUSED,
                ("10.%d.0.1"):format(i), 80, errno, errno)
        end
        networks.finish_all(processes)
    end)

    it_can("by this machine's own filter are UDP's EPERM", function()
        local network = networks.new()
        network:filter("udp dport 81 drop", "output")
        network:run_for_each([[
            local library = arg[1]
            local send, _, close = clients.udp[library]("127.0.0.1", 81)
            local sent, problem = send("hello")
            assert.is_nil(sent)
            assert.are.equal(ms.EPERM, problem)
            close()
        ]])
    end)

    it_can("by a RST are told as such", function()
        local network = networks.new()
        network:filter("tcp dport 81 reject with tcp reset")
        network:run_for_each([[
            local library = arg[1]
            local client, problem = clients.tcp[library].connect("127.0.0.1",
                81, 10000)
            assert.is_nil(client)
            assert.are.equal(ms.ECONNREFUSED, problem)
        ]])
    end)

    it_can("by a neighbour that isn't there come when the system gives up",
        function()
            local network = networks.new()
            network:shell([[
                ip link add near type veth peer name far
                ip link set far up
                ip link set near up
                ip addr add 10.77.0.1/24 dev near
                echo 200 >/proc/sys/net/ipv4/neigh/near/retrans_time_ms
            ]])
            network:run_for_each([[
                local library = arg[1]
                local client, problem = clients.tcp[library].connect(
                    "10.77.0.2", 80, 20000)
                assert.is_nil(client)
                assert.are.equal(ms.EHOSTUNREACH, problem)
            ]])
        end)
end)

describe("a connection that goes dead", function()
    before_each(support.setup)
    after_each(support.teardown)

    -- From then on no packet of TCP arrives.
    local DEAD = "meta l4proto tcp quota over 400 kbytes drop"

    -- Runs a program for each library, in a network of its own, with a server
    -- of its own, whose port is the second argument.
    local function run_into_silence(server, program)
        local processes = {}
        for i, library in ipairs(networks.LIBRARIES) do
            local network = networks.new()
            local port = start_server(network, server)
            network:filter(DEAD)
            processes[i] = network:start([[
                local library, port = unpack(arg)
                local client = assert(clients.tcp[library].connect(
                    "127.0.0.1", port, 30000))
            ]] .. program, library, port)
        end
        networks.finish_all(processes)
    end

    it_can("ends receive at its deadline, with what came before", function()
        run_into_silence(SENDER, [[
            local whole = clients.noise(2^19)
            assert(client:receive(1) == whole:sub(1, 1))
            client:set_timeout(1000)
            local data, problem, part = client:receive(#whole)
            assert.is_nil(data)
            assert.are.equal("timeout", problem)
            assert(part == whole:sub(2, 1 + #part))
            data, problem, part = at_deadline(1000, function()
                return client:receive(#whole)
            end)
            assert.is_nil(data)
            assert.are.equal("timeout", problem)
            assert.are.equal("", part)
            client:close()
        ]])
    end)

    it_can("ends send at its deadline, which tells how much was sent",
        function()
            run_into_silence(COUNTER, [[
                client:set_timeout(1000)
                local much = ("x"):rep(2^25)
                local function send() return client:send(much) end
                -- A cosocket waits anew each time, and once only.
                local sent, problem, before
                if library == "resty" then
                    sent, problem = send()
                else
                    sent, problem, before = at_deadline(1000, send)
                    assert(before < #much)
                end
                assert.is_nil(sent)
                assert.are.equal("timeout", problem)
                client:close()
            ]])
        end)

    -- LuaSocket has one word for both.
    local GIVEN_UP = [[
        local given_up = library == "luasocket" and "timeout" or ms.ETIMEDOUT
        client:set_option("TCP_USER_TIMEOUT", 500)
        client:set_timeout(20000)
        local function is_given_up(call)
            local elapsed, done, problem = timed(call)
            assert.is_nil(done)
            assert.are.equal(given_up, problem)
            assert(elapsed < 10000, elapsed)
        end
    ]]

    it_can("is given up by TCP_USER_TIMEOUT while it receives", function()
        run_into_silence(COUNTER, GIVEN_UP .. [[
            assert(client:send(("x"):rep(500000)))
            is_given_up(function() return client:receive(1) end)
            client:close()
        ]])
    end)

    it_can("is given up by TCP_USER_TIMEOUT while it sends", function()
        run_into_silence(COUNTER, GIVEN_UP .. [[
            client:set_option("SO_SNDBUF", 65536)
            is_given_up(function() return client:send(("x"):rep(2^22)) end)
            client:close()
        ]])
    end)
end)

describe("getinterfaces", function()
    before_each(support.setup)
    after_each(support.teardown)

    -- The label is what the system gives for a name.
    it_can("tells of addresses with a label of their own", function()
        local network = networks.new()
        network:shell("ip addr add 10.9.9.1/32 dev lo label lofoo && "
            .. "ip addr add 10.9.9.2/32 dev lo label lo:bar")
        network:run([[
local found = {}
for _, one in ipairs(assert(ms.getinterfaces())) do
    if one.family == "inet" then
        found[#found + 1] = one.name .. " " .. one.addr .. " " .. one.index
    end
end
assert(table.concat(found, ", ")
    == "lo 127.0.0.1 1, lofoo 10.9.9.1 0, lo:bar 10.9.9.2 1",
    table.concat(found, ", "))
]])
    end)
end)
