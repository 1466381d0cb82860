local host = require "spec.nginx"
local ms = require "minisock"
local cosockets = require "spec.cosocket_support"
local peer = require "spec.peer"
local support = require "spec.support"

local LISTS = { "cosocket_scenarios", "cosocket_differences" }

-- Runs the scenario of a number in a list, with where its peers are, for a
-- request.
local HTTP = [==[
    lua_socket_log_errors off;
    server {
        listen 127.0.0.1:@PORT@;
        location /scenario {
            content_by_lua_block {
                local cosockets = require "spec.cosocket_support"
                function cosockets.sleep(ms) ngx.sleep(ms / 1000) end
                local ends = {}
                for word in ngx.var.arg_ends:gmatch("[^,]+") do
                    ends[#ends + 1] = tonumber(word) or word
                end
                local scenarios = require("spec." .. ngx.var.arg_list)
                local scenario = scenarios[tonumber(ngx.var.arg_index)]
                ngx.print(table.concat(cosockets.perform(scenario,
                    ngx.socket, unpack(ends)), "\n"))
            }
        }
    }
]==]

-- What is at the other end and is no program, by the first word of its
-- description; each returns what a scenario needs to get there.
local ends = {}

function ends.refused(socktype)
    local fd, addr
    if socktype == "udp" then
        fd = assert(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
        addr = assert(ms.getsockname(fd))
        ms.close(fd)
        return support.port_of(addr)
    end
    return host.free_port()
end

function ends.full()
    return support.port_of((support.full_listener()))
end

function ends.missing()
    return support.tmpname()
end

-- Forgets the look-alikes and all that they keep.
local function unload()
    for name in pairs(package.loaded) do
        if name:find("^minisock%.resty") then package.loaded[name] = nil end
    end
    -- Compiled code may hold a socket of the scenario that it was made in.
    jit.flush()
    collectgarbage()
    collectgarbage()
end

local reason = host.missing()

describe("minisock.resty", function()
    if reason then
        pending("does what cosockets do (" .. reason .. ")")
        return
    end

    local lists = {}
    for _, name in ipairs(LISTS) do lists[name] = require("spec." .. name) end

    local nginx, port, folder, peers
    -- The peers that are programs: by their scenario, then by their number.
    local places = {}

    local function each_program(what)
        for _, name in ipairs(LISTS) do
            for _, scenario in ipairs(lists[name]) do
                for i, words in ipairs(scenario.peers) do
                    if not ends[words[1]] then what(scenario, i, words) end
                end
            end
        end
    end

    -- They are started all at once: Python takes its time.
    local function start_peers()
        local started, paths = {}, {}
        each_program(function(_, _, words)
            local number = #started + 1
            local copy = { unpack(words) }
            if words[1]:find("^unix") then
                paths[number] = folder .. "/" .. number
                copy[1] = words[1] .. ":" .. paths[number]
            end
            started[number] = copy
        end)
        peers = peer.start_all(folder .. "/peers", started)
        local number = 0
        each_program(function(scenario, i)
            number = number + 1
            places[scenario] = places[scenario] or {}
            places[scenario][i] = paths[number] or peers.ports[number]
        end)
    end

    setup(function()
        support.setup()
        cosockets.sleep = ms.msleep
        port = host.free_port()
        nginx = host.start((HTTP:gsub("@PORT@", port)))
        folder = support.mkdtemp()
        start_peers()
    end)

    teardown(function()
        nginx:stop()
        peers:stop()
        support.rmtree(folder)
    end)

    before_each(support.setup)

    after_each(function()
        unload()
        support.teardown()
    end)

    local function lines_of(text)
        local lines = {}
        for line in (text .. "\n"):gmatch("(.-)\n") do
            lines[#lines + 1] = line
        end
        return lines
    end

    -- Has nginx begin a scenario.
    local function ask_nginx(list, index, others)
        local fd = assert(ms.connect("127.0.0.1", port, 2000))
        local request =
            "GET /scenario?list=%s&index=%d&ends=%s HTTP/1.0\r\n\r\n"
        assert(ms.sendall(fd,
            request:format(list, index, table.concat(others, ",")), 2000))
        return fd
    end

    -- What nginx's own cosockets said.
    local function answer_of(fd)
        local answer = {}
        repeat
            local piece = ms.read(fd, 20000)
            answer[#answer + 1] = piece
        until not piece or piece == ""
        ms.close(fd)
        local status, body =
            table.concat(answer):match("^HTTP/%S+ (%d+).-\r\n\r\n(.*)$")
        assert.are.equal("200", status, nginx:log())
        return lines_of(body)
    end

    -- Both have the same peers, so that ports are the same in what they say;
    -- every connection is a new one. Both run at the same time.
    local function perform(list, index, scenario, others)
        local fd = ask_nginx(list, index, others)
        local ours = cosockets.perform(scenario,
            require "minisock.resty", unpack(others))
        local real = answer_of(fd)
        return table.concat(real, "\n"), table.concat(ours, "\n")
    end

    for _, list in ipairs(LISTS) do
        for index, scenario in ipairs(lists[list]) do
            it(scenario.name, function()
                local others = {}
                for i, words in ipairs(scenario.peers) do
                    local other = ends[words[1]]
                    others[i] = other and other(unpack(words, 2))
                        or places[scenario][i]
                end
                -- Peers that are late on a busy machine make either of them
                -- say something else, but not time and again.
                local wanted, ours
                for _ = 1, 3 do
                    local real
                    real, ours = perform(list, index, scenario, others)
                    if scenario.differs then
                        assert.are_not.equal(real, ours)
                        real = table.concat(scenario.expected, "\n")
                    end
                    wanted = real
                    if wanted == ours then break end
                end
                assert.are.equal(wanted, ours)
            end)
        end
    end
end)
