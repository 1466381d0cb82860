--- What name servers do to questions: silence and lies, in network namespaces
--- of the specs' own.
local networks = require "spec.networks"
local support = require "spec.support"

local it_can = networks.it_can

describe("case 68: a name server that never answers", function()
    before_each(support.setup)
    after_each(support.teardown)

    local DEAD = "udp dport 53 counter name asked drop"

    it_can("isn't asked for digits, nor without time", function()
        local network = networks.new()
        network:filter(DEAD .. "\ntcp dport 81 reject with tcp reset")
        network:run_for_each([[
            local library = arg[1]
            for _, ip in ipairs({ "127.0.0.1", "::1" }) do
                local client, problem =
                    clients.tcp[library].connect(ip, 81, 1000)
                assert.is_nil(client)
                assert.are.equal(ms.ECONNREFUSED, problem)
            end
        ]])
        network:run([[
            for _, timeout in ipairs({ 0, 1000, math.huge }) do
                assert(ms.getaddrinfo("127.0.0.1", 80, { timeout = timeout }))
                assert(ms.getaddrinfo("::1", "80", { timeout = timeout }))
            end
            local fd, message = ms.connect("name.test", 80, 0)
            assert.is_nil(fd)
            assert.are.equal("connect timeout", message)
        ]])
        assert.are.equal(0, network:asked())
    end)

    it_can("doesn't move the deadline of those that ask", function()
        local network = networks.new()
        network:filter(DEAD)
        network:run_for_each([[
            local library = arg[1]
            local client, problem = at_deadline(800, function()
                return clients.tcp[library].connect("name.test", 80, 800)
            end)
            assert.is_nil(client)
            assert.are.equal("timeout", problem)
            assert(clients.threads() > 0) -- until libc gives up
        ]])
        assert.is_true(network:asked() >= #networks.LIBRARIES)
    end)

    it_can("doesn't move the deadlines of bind and of UDP", function()
        local network = networks.new()
        network:filter(DEAD)
        network:run([[
            local fd, message = at_deadline(500, function()
                return ms.bind("name.test", 0, { timeout = 500 })
            end)
            assert.is_nil(fd)
            assert.are.equal("bind timeout", message)
            local sock = require("minisock.socket").udp()
            sock:settimeout(0.5)
            local done, _, code = at_deadline(500, function()
                return sock:connect("name.test", 80)
            end)
            assert.is_nil(done)
            assert.are.equal(ms.ETIMEDOUT, code)
            sock:close()
            sock = require("minisock.resty").udp()
            sock:settimeout(500)
            done, message = at_deadline(500, function()
                return sock:setpeername("name.test", 80)
            end)
            assert.is_nil(done)
            assert.matches("could not be resolved %(110: ", message)
        ]])
    end)

    it_can("holds no thread longer than libc asks", function()
        local network = networks.new()
        network:filter(DEAD)
        network:run([[
            for _ = 1, 50 do
                local fd, message = ms.connect("name.test", 80, 1)
                assert.is_nil(fd)
                assert.are.equal("connect timeout", message)
            end
            assert(clients.threads() > 0)
        ]]) -- which waits for them to end
    end)

    it_can("is told apart from one that fails", function()
        local network = networks.new()
        network:filter(DEAD)
        network:run([[
            local list, message, code = at_deadline(500, function()
                return ms.getaddrinfo("name.test", 80, { timeout = 500 })
            end)
            assert.is_nil(list)
            assert.are.equal("getaddrinfo timeout", message)
            assert.are.equal(ms.ETIMEDOUT, code)
            list, _, code = ms.getaddrinfo("name.test", 80, { timeout = 9000 })
            assert.is_nil(list)
            assert.are.equal(ms.EAI_AGAIN, code)
        ]])
    end)
end)

describe("case 68b: a hostile name server", function()
    before_each(support.setup)
    after_each(support.teardown)

    -- What spec/name_server.py answers to the name, and what that may come to:
    -- how many addresses, or an EAI code. libc's versions don't agree on
    -- answers that make no sense.
    local NONSENSE = "EAI_AGAIN EAI_FAIL EAI_NODATA EAI_NONAME"
    local ANSWERS = {
        plain = 1, many = 50, large = 50, cut = 1,
        nx = "EAI_NONAME", servfail = "EAI_AGAIN", refused = "EAI_AGAIN",
        empty = "EAI_NODATA",
        silent = "EAI_AGAIN", slow = "EAI_AGAIN", garbage = "EAI_AGAIN",
        otherid = "EAI_AGAIN", othername = "EAI_AGAIN",
        short = NONSENSE, nothing = NONSENSE, stub = NONSENSE,
        beyond = NONSENSE, loop = NONSENSE, pointer = NONSENSE,
        cutempty = NONSENSE, longest = NONSENSE .. " 1",
    }

    local ASKERS = {
        "core", "core_within", "socket", "lsocket", "luasocket",
        "luasocket_toip",
    }

    -- A process for each that asks, and not for each question: libc waits for
    -- a second, in which the name server must come to answer.
    it_can("is seen through, whoever asks", function()
        local network = networks.new()
        network:serve_names()
        local questions = {}
        for label, expected in pairs(ANSWERS) do
            questions[#questions + 1] =
                ("%s=%s"):format(label, tostring(expected):gsub(" ", ","))
        end
        local askers = {}
        for i, asker in ipairs(ASKERS) do
            askers[i] = network:start([[
                local asker = arg[1]
                for i = 2, #arg do
                    local label, expected = arg[i]:match("^(%w+)=(.+)")
                    local ask = clients.names[asker]
                    local list, problem = ask(label .. ".test")
                    local as_expected = false
                    for word in expected:gmatch("[^,]+") do
                        if list then
                            as_expected = as_expected or tonumber(word) == #list
                        else
                            as_expected = as_expected or ms[word] == problem
                        end
                    end
                    assert(as_expected, arg[i] .. ": "
                        .. tostring(list and #list or problem))
                    for _, ip in ipairs(list or {}) do
                        assert.matches("^127%.0%.0%.%d+$", ip)
                    end
                end
            ]], asker, unpack(questions))
        end
        networks.finish_all(askers)
    end)

    it_can("makes connect fail as it makes the resolver", function()
        local network = networks.new()
        network:serve_names()
        network:run_for_each([[
            local library = arg[1]
            for label, expected in pairs({
                nx = ms.EAI_NONAME, servfail = ms.EAI_AGAIN,
                refused = ms.EAI_AGAIN, empty = ms.EAI_NODATA,
            }) do
                local client, problem = clients.tcp[library].connect(
                    label .. ".test", 80, 5000)
                assert.is_nil(client)
                assert.are.equal(expected, problem, label)
            end
            for _, label in ipairs({ "slow", "otherid", "garbage" }) do
                local client, problem = at_deadline(500, function()
                    return clients.tcp[library].connect(label .. ".test", 80,
                        500)
                end)
                assert.is_nil(client)
                assert.are.equal("timeout", problem, label)
            end
        ]])
    end)

    it_can("may have fifty addresses, of which the last one is served",
        function()
            local network = networks.new()
            network:serve_names()
            network:run_for_each([[
                local library = arg[1]
                -- The resolver's order is its own.
                local list = assert(ms.getaddrinfo("many.test", 80))
                assert.are.equal(50, #list)
                local last = ms.parseaddr(list[50]).addr
                local server, addr = assert(ms.bind(last, 0))
                local client = assert(clients.tcp[library].connect(
                    "many.test", ms.parseaddr(addr).port, 5000))
                ms.close(assert(ms.accept(server, 1000)))
                client:close()
                ms.close(server)
            ]])
        end)

    it_can("doesn't move the deadline by fifty addresses that are dead",
        function()
            local network = networks.new()
            network:serve_names()
            network:filter("tcp dport 81 drop")
            network:run_for_each([[
                local library = arg[1]
                local client, problem = at_deadline(1000, function()
                    return clients.tcp[library].connect("many.test", 81, 1000)
                end)
                assert.is_nil(client)
                assert.are.equal("timeout", problem)
            ]])
        end)

    for dead, host in pairs({ ipv4 = "::1", ipv6 = "127.0.0.1" }) do
        it_can("may have two families, of which " .. dead .. " is dead",
            function()
                local network = networks.new()
                network:serve_names()
                network:filter("meta nfproto " .. dead
                    .. " tcp dport 81 drop")
                network:run_for_each([[
                    local library, host = unpack(arg)
                    local make = host == "::1" and ms.inet6addr or ms.inetaddr
                    local server = assert(ms.bind(make(host, 81),
                        { reuseport = true }))
                    local client = assert(clients.tcp[library].connect(
                        "both.test", 81, 1000))
                    client:close()
                    ms.close(server)
                ]], host)
            end)
    end

    it_can("makes nothing leak", function()
        if support.asan then
            return pending("AddressSanitizer keeps what was freed")
        end
        local network = networks.new()
        network:serve_names()
        network:run([[
            local function ask(times)
                for _ = 1, times do
                    clients.names.core("large.test")
                    clients.names.core_within("large.test")
                end
            end
            ask(30)
            local before = process.memory()
            ask(200) -- 20,000 addresses
            local more = process.memory() - before
            assert(more < 400, more .. " kB more")
        ]])
    end)
end)
