-- nginx as it is run: interrupted all the time, reloaded under load, without a
-- code cache, with threads. HOSTS_SCALE=10 does ten times as much of it.
local host = require "spec.nginx"
local hosted = require "spec.hosted"
local ms = require "minisock"
local process = require "spec.process"
local servers = require "spec.servers"
local support = require "spec.support"

local SCALE = tonumber(os.getenv("HOSTS_SCALE") or 1)

-- Names in capitals are filled in.
local HTTP = [==[
    lua_code_cache @CACHE@;
    init_by_lua_block {
        hosted = require "spec.hosted"
        @INIT@
    }
    init_worker_by_lua_block { @WORKER@ }
    server {
        listen 127.0.0.1:@PORT@ backlog=1024;
        keepalive_requests 1000000;
        location = /worker {
            content_by_lua_block { ngx.print(ngx.worker.pid()) }
        }
        location = /ping { return 200 "pong"; }
        location = /interrupted {
            content_by_lua_block { ngx.say(hosted.is_interrupted()) }
        }
        location = /waits {
            content_by_lua_block { ngx.print(hosted.waits(@REDIS@)) }
        }
        location = /use {
            keepalive_timeout 0;
            content_by_lua_block { ngx.print(hosted.use(@REDIS@)) }
            log_by_lua_block { hosted.use(@REDIS@) }
        }
        location = /everything {
            content_by_lua_block {
                ngx.print(hosted.everything(@REDIS@, "@PATH@"))
            }
        }
        location = /thread {
            content_by_lua_block {
                ngx.say(ngx.run_worker_thread("lua", "spec.hosted", "wait",
                    ngx.var.arg_kind, ngx.var.arg_port))
            }
        }
    }
]==]

local reason = host.missing()

describe("in nginx as it is run", function()
    if reason then
        pending("everything (" .. reason .. ")")
        return
    end

    local nginx, port

    before_each(support.setup)
    after_each(function()
        servers.stop()
        support.teardown()
    end)

    local function start(values, main, workers)
        local redis = servers.redis()
        port = host.free_port()
        local all = { PORT = port, REDIS = redis.port, PATH = redis.path,
            CACHE = "on", INIT = "", WORKER = "" }
        for name, value in pairs(values) do all[name] = value end
        local function fill_in(text)
            return (text:gsub("@(%u+)@", function(name)
                return fill_in(tostring(all[name]))
            end))
        end
        nginx = servers.nginx(fill_in(HTTP), nil, main, workers)
    end

    -- What nginx answers; what may need several requests is "[1-300]".
    local function fetch(path)
        local output, status = support.shell(
            ("curl -sS -f --max-time 60 'http://127.0.0.1:%d%s'")
                :format(port, path))
        assert.are.equal(0, status, output)
        return output
    end

    local function worker()
        return tonumber(fetch("/worker"))
    end

    -- Once what is under way is over.
    local function descriptors_of(pid)
        local open
        support.wait_for("quiet", function()
            local now = support.count_descriptors(pid)
            local same = now == open
            open = now
            return same
        end)
        return open
    end

    -- Of the master and of its workers, after some requests.
    local function descriptors_of_all()
        fetch("/use?[1-100]")
        local counts = { descriptors_of(nginx.process.pid) }
        for _, pid in ipairs(nginx:workers()) do
            counts[#counts + 1] = descriptors_of(pid)
        end
        return counts
    end

    local function end_quietly()
        nginx:quit()
        nginx:assert_quiet()
    end

    -- None may be too early or wrong; returns the lines of those that are late.
    local function late_waits(lines)
        local late, count = "", 0
        for line, least, took, right in
                lines:gmatch("((%d+) (%S+) (%S+) [^\n]+\n)") do
            assert.are.equal("right", right, lines)
            assert.is_true(tonumber(took) >= tonumber(least), lines)
            if tonumber(took) >= least + 1000 then late = late .. line end
            count = count + 1
        end
        assert.are.equal(27, count)
        return late
    end

    -- nginx asks for a signal every 50 ms, and its handler doesn't have calls
    -- restarted.
    it("timeouts are right though every wait is interrupted", function()
        start({}, "timer_resolution 50ms;")
        assert.are.equal("true\n", fetch("/interrupted"))
        local late
        for _ = 1, 2 do -- others may have the machine
            late = late_waits(fetch("/waits"))
            if late == "" then break end
        end
        assert.are.equal("", late)
        end_quietly()
    end)

    it("reloads under load lose no request and leave nothing", function()
        servers.need("wrk")
        start({ INIT = "hosted.init(@REDIS@)",
            WORKER = "hosted.open(@REDIS@)" }, nil, 2)
        local before = descriptors_of_all()
        local seconds = 3 * SCALE
        local wrk = support.spawn(
            ("wrk -t 1 -c 16 -d %ds --timeout 20s http://127.0.0.1:%d/use")
                :format(seconds, port))
        local reloads = 4 * SCALE
        for _ = 1, reloads do
            ms.msleep(500)
            assert.are.equal(0, os.execute("kill -HUP " .. nginx.process.pid))
        end
        local report = wrk.pipe:read("*a")
        assert.is_nil(report:match("Non%-2xx[^\n]*"), report)
        assert.is_nil(report:match("Socket errors[^\n]*"), report)
        assert.is_true(tonumber(report:match("(%d+) requests in")) > 100)
        support.wait_for("the old workers to end", function()
            local _, ended = nginx:log():gsub("exited with code 0", "")
            return ended == 2 * reloads
        end)
        assert.are.same(before, descriptors_of_all())
        end_quietly()
    end)

    it("a Lua VM for each request leaves nothing", function()
        start({ CACHE = "off" })
        fetch("/everything?[1-20]")
        local pid = worker()
        local open = descriptors_of(pid)
        local requests = 500 * SCALE
        fetch(("/everything?[1-%d]"):format(requests / 2))
        local memory = process.memory(pid)
        local done = fetch(("/everything?[1-%d]"):format(requests / 2))
        assert.are.equal(("done\n"):rep(requests / 2), done)
        assert.are.equal(open, descriptors_of(pid))
        local after = process.memory(pid)
        assert.is_true(after <= memory * 1.1 + 1024, memory .. " " .. after)
        assert.are.equal(pid, worker())
        end_quietly()
    end)

    -- Keeps a connection of its own, and asks over it.
    local function pinger()
        local fd = support.keep(ms.connect("127.0.0.1", port, 10000))
        return function()
            assert(ms.sendall(fd, "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"))
            local answer = ""
            repeat
                local piece = assert(ms.read(fd, 10000))
                answer = answer .. piece
            until answer:find("pong$") or piece == ""
            assert.matches("^HTTP/1.1 200 .*pong$", answer)
        end
    end

    it("threads wait in parallel, and requests go on", function()
        start({})
        local listener, addr = support.listener()
        local ping = pinger()
        local pid, open = worker()
        for round = 1, 20 * SCALE do
            local asked, waiting = {}, {}
            for i, kind in ipairs(hosted.KINDS) do
                asked[i] = support.spawn(
                    ("curl -sS --max-time 60 "
                        .. "'http://127.0.0.1:%d/thread?kind=%s&port=%d'")
                        :format(port, kind, support.port_of(addr)))
                waiting[i] = assert(ms.accept(listener, 10000))
            end
            for _ = 1, 20 do ping() end
            for i, fd in ipairs(waiting) do
                assert.is_nil((ms.read(fd, 0))) -- it's still there
                ms.sendall(fd, "line" .. i .. "\n")
            end
            for i, fd in ipairs(waiting) do
                assert.are.equal("trueline" .. i .. "\n",
                    asked[i].pipe:read("*a"))
                asked[i]:stop()
                ms.close(fd)
            end
            if round == 1 then open = descriptors_of(pid) end
        end
        assert.are.equal(open, descriptors_of(pid))
        end_quietly()
    end)
end)
