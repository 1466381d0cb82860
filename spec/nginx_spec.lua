local lfs = require "lfs"
local ms = require "minisock"
local host = require "spec.nginx"
local support = require "spec.support"

-- Phases run this: a round trip to each server, with all that they said in
-- the shared memory of nginx.
local PHASES = [==[
local ms = require "minisock"

local phases = {}

local TCP, UNIX = @TCP@, @UNIX@

local function exchange(fd, text)
    assert(ms.sendall(fd, text, 10000))
    local answer = ""
    while #answer < #text do
        local piece = assert(ms.read(fd, 10000))
        assert(piece ~= "", "the server closed the connection")
        answer = answer .. piece
    end
    assert(ms.close(fd))
    assert(answer == text, answer)
end

function phases.trip(text)
    exchange(assert(ms.connect("127.0.0.1", TCP, 10000)), "tcp " .. text)
    exchange(assert(ms.connect(ms.unixaddr(UNIX), nil, 10000)),
        "unix " .. text)
    return "done"
end

function phases.count(phase)
    local done, why = pcall(phases.trip, phase)
    ngx.shared.phases:incr(done and phase or phase .. ": " .. why, 1, 0)
end

return phases
]==]

local HTTP = [==[
    lua_code_cache @CACHE@;
    lua_shared_dict phases 1m;
    init_by_lua_block { require("phases").count("init") }
    init_worker_by_lua_block {
        require("phases").count("init_worker")
        ngx.timer.at(0, function() require("phases").count("timer") end)
    }
    exit_worker_by_lua_block { require("phases").count("exit_worker") }
    server {
        listen 127.0.0.1:@PORT@;
        location /phases {
            set_by_lua_block $set { require("phases").count("set") }
            rewrite_by_lua_block { require("phases").count("rewrite") }
            access_by_lua_block { require("phases").count("access") }
            content_by_lua_block {
                require("phases").count("content")
                ngx.say(ngx.worker.pid())
            }
            header_filter_by_lua_block {
                require("phases").count("header_filter")
            }
            body_filter_by_lua_block {
                if ngx.arg[2] then require("phases").count("body_filter") end
            }
            log_by_lua_block { require("phases").count("log") }
        }
        location /thread {
            content_by_lua_block {
                ngx.say(ngx.run_worker_thread("lua", "phases", "trip",
                    "thread"))
            }
        }
        location /worker {
            content_by_lua_block { ngx.print(ngx.worker.pid()) }
        }
        location /counts {
            content_by_lua_block {
                local phases = ngx.shared.phases
                local names = phases:get_keys(0)
                table.sort(names)
                for _, name in ipairs(names) do
                    ngx.say(name, " = ", phases:get(name))
                end
            }
        }
    }
]==]

local PER_REQUEST = {
    "set", "rewrite", "access", "content", "header_filter", "body_filter",
    "log",
}

local reason = host.missing()

describe("in nginx", function()
    if reason then
        pending("every phase (" .. reason .. ")")
        return
    end

    local dir, tcp, nginx, port

    before_each(function()
        support.setup()
        dir = support.mkdtemp()
    end)

    after_each(function()
        support.teardown()
        support.rmtree(dir)
        support.rmtree(nginx.folder)
    end)

    -- socat, which sends everything back.
    local function start_echo()
        local log = dir .. "/socat.log"
        support.spawn(("socat -d -d -lf %s "
            .. "TCP-LISTEN:0,bind=127.0.0.1,fork,backlog=64 PIPE"):format(log))
        support.spawn(("socat UNIX-LISTEN:%s/echo,fork,backlog=64 PIPE")
            :format(dir))
        tcp = support.wait_for("socat to listen", function()
            return lfs.attributes(log) and support.slurp(log)
                :match("listening on AF=2 127%.0%.0%.1:(%d+)")
        end)
        support.wait_for("socat's socket", function()
            local fd = ms.connect(ms.unixaddr(dir .. "/echo"), nil, 1000)
            return fd and ms.close(fd)
        end)
    end

    local function fill_in(template, values)
        return (template:gsub("@(%u+)@", values))
    end

    local function start_nginx(cache)
        start_echo()
        port = host.free_port()
        local phases = fill_in(PHASES, {
            TCP = tcp, UNIX = ("%q"):format(dir .. "/echo"),
        })
        nginx = host.start(fill_in(HTTP, { CACHE = cache, PORT = port }),
            { ["phases.lua"] = phases })
    end

    local function curl(path)
        return support.shell(
            ("curl -sS -f --max-time 60 'http://127.0.0.1:%d%s'")
                :format(port, path))
    end

    -- What nginx answers; what may need several requests is "[1-300]".
    local function fetch(path)
        local output, status = curl(path)
        assert.are.equal(0, status, output)
        return output
    end

    -- The worker that answers when another has been asked for. One that ends
    -- closes connections from which it hasn't read yet.
    local function next_worker(before)
        return support.wait_for("a new worker", function()
            local now, status = curl("/worker")
            return status == 0 and now ~= before and now
        end)
    end

    local function counts()
        local found = {}
        for name, count in fetch("/counts"):gmatch("([^\n]-) = (%d+)\n") do
            found[name] = tonumber(count)
        end
        return found
    end

    -- The last phases come after the answer.
    local function wait_for_counts(expected)
        local got
        support.wait_for("all phases", function()
            got = counts()
            for name, count in pairs(expected) do
                if (got[name] or 0) < count then
                    for other in pairs(got) do
                        if other:find(":", 1, true) then error(other) end
                    end
                    return false
                end
            end
            return true
        end)
        for name in pairs(got) do
            assert.is_nil(name:match(": .*"))
        end
        return got
    end

    local function requests(count)
        local expected = {}
        for _, phase in ipairs(PER_REQUEST) do expected[phase] = count end
        return expected
    end

    local function stop_quietly()
        nginx.process:stop()
        nginx:assert_quiet()
    end

    for _, cache in ipairs({ "on", "off" }) do
        it("every phase has its round trips, code cache " .. cache, function()
            start_nginx(cache)
            fetch("/phases")
            local expected = requests(1)
            expected.init, expected.init_worker, expected.timer = 1, 1, 1
            wait_for_counts(expected)
            assert.are.equal("truedone\n", fetch("/thread"))
            stop_quietly()
        end)
    end

    it("a reload by HUP changes nothing", function()
        start_nginx("on")
        local before = fetch("/worker")
        for round = 2, 3 do
            os.execute("kill -HUP " .. nginx.process.pid)
            before = next_worker(before)
            fetch("/phases")
            assert.are.equal("truedone\n", fetch("/thread"))
            local expected = requests(round - 1)
            expected.init, expected.init_worker = round, round
            expected.timer, expected.exit_worker = round, round - 1
            wait_for_counts(expected)
        end
        stop_quietly()
    end)

    it("hundreds of requests leave nothing open, code cache off", function()
        start_nginx("off")
        fetch("/phases?[1-5]")
        fetch("/thread?[1-5]")
        local worker = tonumber(fetch("/worker"))
        local open
        support.wait_for("quiet", function()
            local now = support.count_descriptors(worker)
            local same = now == open
            open = now
            return same
        end)
        fetch("/phases?[1-300]")
        fetch("/thread?[1-20]")
        wait_for_counts(requests(305))
        support.wait_for("the descriptors to be closed", function()
            return support.count_descriptors(worker) <= open
        end)
        assert.are.equal(worker, tonumber(fetch("/worker")))
        stop_quietly()
    end)
end)
