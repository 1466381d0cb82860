local host = require "spec.nginx"
local servers = require "spec.servers"
local support = require "spec.support"

-- Tells whose object it is that ngx.socket makes, by who wrote a method, and
-- leaves what it finds in the shared memory of nginx.
local WHOSE = [==[
local whose = {}

local function made_by(sock)
    local info = debug.getinfo(sock.receive, "S")
    if info.what == "C" then return "nginx" end
    return info.source:find("minisock/resty/", 1, true) and "minisock"
        or info.source
end

-- A client, which has the table since before install().
whose.kept = ngx and ngx.socket

function whose.socket(socket)
    local answers = {}
    for i, name in ipairs { "tcp", "udp", "stream" } do
        -- nginx itself has the last one where its stream module is.
        answers[i] = socket[name] and made_by(socket[name]()) or "none"
    end
    -- Nobody listens there, so there is only an error, or a broken call.
    local sock, reason = socket.connect("127.0.0.1", 0)
    answers[4] = sock and "connected" or type(reason)
    return table.concat(answers, " ")
end

function whose.thread()
    require("minisock.resty").install()
    require("minisock.resty").install()
    return whose.socket(ngx.socket)
end

function whose.note(phase)
    local done, answer = pcall(function()
        local seen = whose.socket(ngx.socket)
        local kept = whose.socket(whose.kept)
        assert(seen == kept, kept)
        return seen
    end)
    ngx.shared.whose:set(phase, answer)
end

-- How many Lua functions are called for one socket: every nesting adds some.
function whose.depth()
    local least = math.huge
    -- The first of a phase asks nginx, and warns; and the collector's calls
    -- come when they come. Compiled calls would not be seen.
    jit.off()
    jit.flush()
    for _ = 1, 10 do
        local calls = 0
        debug.sethook(function() calls = calls + 1 end, "c")
        ngx.socket.tcp()
        debug.sethook()
        least = math.min(least, calls)
    end
    jit.on()
    return least
end

-- As after a hot reload: all modules are loaded anew.
function whose.reinstall(options)
    for name in pairs(package.loaded) do
        if name:find("^minisock") then package.loaded[name] = nil end
    end
    require("minisock.resty").install(options)
end

return whose
]==]

local HTTP = [==[
    lua_shared_dict whose 1m;
    init_by_lua_block {
        ngx.shared.whose:set("null", tostring(ngx.null))
        local real = { log = ngx.log, sub = ngx.re.sub,
            escape_uri = ngx.escape_uri }
        require "whose"
        require("minisock.resty").install()
        require("whose").note("init")
        ngx.shared.whose:set("kept", tostring(real.log == ngx.log
            and real.sub == ngx.re.sub and real.escape_uri == ngx.escape_uri
            and tostring(ngx.null) == ngx.shared.whose:get("null")))
    }
    init_worker_by_lua_block {
        require("whose").note("init_worker")
        ngx.timer.at(0, function() require("whose").note("timer") end)
    }
    exit_worker_by_lua_block {
        require("whose").note("exit_worker")
        ngx.log(ngx.NOTICE, "whose exit_worker: ",
            ngx.shared.whose:get("exit_worker"))
    }
    upstream balanced {
        server 127.0.0.1:@PORT@;
        balancer_by_lua_block { require("whose").note("balancer") }
    }
    server {
        listen 127.0.0.1:@PORT@;
        location = /report {
            content_by_lua_block {
                ngx.print(ngx.shared.whose:get(ngx.var.args))
            }
        }
        location = /forget {
            content_by_lua_block { ngx.shared.whose:delete(ngx.var.args) }
        }
        location = /set {
            set_by_lua_block $set { require("whose").note("set") }
            return 200;
        }
        location = /rewrite {
            rewrite_by_lua_block { require("whose").note("rewrite") }
            content_by_lua_block { ngx.exit(200) }
        }
        location = /access {
            access_by_lua_block { require("whose").note("access") }
            content_by_lua_block { ngx.exit(200) }
        }
        location = /content {
            content_by_lua_block { require("whose").note("content") }
        }
        location = /header_filter {
            return 200;
            header_filter_by_lua_block {
                require("whose").note("header_filter")
            }
        }
        location = /body_filter {
            return 200 "body";
            body_filter_by_lua_block { require("whose").note("body_filter") }
        }
        location = /log {
            return 200;
            log_by_lua_block { require("whose").note("log") }
        }
        location = /balancer { proxy_pass http://balanced/none; }
        location = /none { return 200; }
        location = /thread {
            content_by_lua_block {
                local _, answer = ngx.run_worker_thread("lua", "whose",
                    "thread")
                ngx.print(answer)
            }
        }
        location = /install {
            content_by_lua_block {
                require("minisock.resty").install()
                require("minisock.resty").install()
            }
        }
        location = /reinstall {
            content_by_lua_block { require("whose").reinstall() }
        }
        location = /silence {
            content_by_lua_block {
                require("whose").reinstall({ warn = false })
            }
        }
        location = /depth {
            content_by_lua_block { ngx.print(require("whose").depth()) }
        }
        location = /deep {
            return 200 "body";
            log_by_lua_block {
                ngx.shared.whose:set("deep", require("whose").depth())
            }
        }
        location = /texts {
            content_by_lua_block {
                local texts = require "texts"
                ngx.print(texts.all(ngx))
            }
        }
    }
]==]

-- What the stand-in has to do as nginx does.
local TEXTS = [==[
local texts = {}

local function line(list, name, call, ...)
    local done, result, second = pcall(call, ...)
    list[#list + 1] = ("%s %s %q %s"):format(name, tostring(done),
        done and tostring(result) or "", done and tostring(second) or "")
end

-- As nginx has it: a text of what is replaced once.
texts.REPLACED = {
    { "hello, 1234", "([0-9])[0-9]", "[$0][$1]" },
    { "hello, 1234", "[0-9]", "${0}x" },
    { "hello", "l+", "" },
    { "hello", "z", "y" },
    { "", "^", "start" },
    { "a.b", ".", "%1 100%" },
    { "HELLO", "hello", "x", "i" },
    { "HELLO", "hello", "x", "ijo" },
    { "a\nb", "^b", "c", "m" },
    { "one two", "(\\w+) (\\w+)", "$2 $1", "jo" },
    { "one two", "(\\w+) (\\w+)", "${2}1$1", "jo" },
    { "x\0y", "\\x00", "NUL" },
    { "price", "price", "$$1" },
}

function texts.all(ngx)
    local list = {}
    local every = {}
    for byte = 0, 255 do
        local char = string.char(byte)
        every[#every + 1] = char
        line(list, "escape", ngx.escape_uri, char)
        line(list, "unescape", ngx.unescape_uri, char)
        line(list, "unescape", ngx.unescape_uri, ("%%%02X"):format(byte))
        line(list, "unescape", ngx.unescape_uri, ("%%%02x"):format(byte))
        line(list, "unescape", ngx.unescape_uri, "%" .. char)
        line(list, "unescape", ngx.unescape_uri, "%4" .. char)
        line(list, "unescape", ngx.unescape_uri, "%" .. char .. "4")
    end
    every = table.concat(every)
    line(list, "escape", ngx.escape_uri, every)
    line(list, "unescape", ngx.unescape_uri, every)
    line(list, "both", ngx.unescape_uri, ngx.escape_uri(every))
    for _, text in ipairs { "", "a b+c", "%", "%%", "%4", "%41%", "%%41",
            "%u0041", "a%2Bb+c%20d", "100%", "%E4%F6%FC", 12, 1.5 } do
        line(list, "escape", ngx.escape_uri, text)
        line(list, "unescape", ngx.unescape_uri, text)
    end
    for _, replaced in ipairs(texts.REPLACED) do
        line(list, "sub", ngx.re.sub, unpack(replaced))
    end
    for _, level in ipairs { "STDERR", "EMERG", "ALERT", "CRIT", "ERR", "WARN",
            "NOTICE", "INFO", "DEBUG" } do
        list[#list + 1] = level .. " " .. tostring(ngx[level])
    end
    return table.concat(list, "\n") .. "\n"
end

return texts
]==]

local OURS = "minisock minisock minisock string"
local THEIRS = "nginx nginx nginx string"

local PER_REQUEST = {
    set = OURS, header_filter = OURS, body_filter = OURS, log = OURS,
    balancer = OURS, rewrite = THEIRS, access = THEIRS, content = THEIRS,
}

-- Those of a request where the sockets block, and this is said.
local WARNED = { "set", "header_filter", "body_filter", "log", "balancer" }

describe("minisock.resty.install in nginx:", function()
    local nginx, port

    setup(function()
        support.setup()
        port = host.free_port()
        nginx = servers.nginx((HTTP:gsub("@PORT@", tostring(port))),
            { ["whose.lua"] = WHOSE, ["texts.lua"] = TEXTS })
    end)

    teardown(servers.stop)

    before_each(support.setup)
    after_each(support.teardown)

    local function fetch(path)
        local output, status = support.shell(
            ("curl -sS --max-time 20 'http://127.0.0.1:%d%s'")
                :format(port, path))
        assert.are.equal(0, status, output .. nginx:log())
        return output
    end

    -- Some phases come after the answer.
    local function report(phase)
        return support.wait_for(phase, function()
            local answer = fetch("/report?" .. phase)
            return answer ~= "nil" and answer
        end)
    end

    -- Asks for a phase anew, and tells whose sockets it had.
    local function visit(phase)
        fetch("/forget?" .. phase)
        fetch("/" .. phase)
        return report(phase)
    end

    local function warnings()
        local lines = {}
        for line in nginx:log():gmatch("[^\n]+") do
            if line:find("[warn]", 1, true) then lines[#lines + 1] = line end
        end
        return lines
    end

    -- What was said since `before`, and of which phase.
    local function warned_of(before)
        local phases = {}
        local lines = warnings()
        for i = #before + 1, #lines do
            phases[#phases + 1] = lines[i]:match(
                "minisock: a socket in the phase ([%w_]+) blocks") or lines[i]
        end
        return phases
    end

    local function assert_choice()
        for phase, expected in pairs(PER_REQUEST) do
            assert.are.equal(expected, visit(phase), phase)
        end
        assert.are.equal(OURS, fetch("/thread"))
    end

    -- First of all, before any phase that serves requests.
    it("nothing is said of what may block", function()
        assert.are.equal(OURS, report("init"))
        assert.are.equal(OURS, report("init_worker"))
        assert.are.equal(THEIRS, report("timer"))
        assert.are.equal(OURS, fetch("/thread"))
        for _, phase in ipairs({ "rewrite", "access", "content" }) do
            assert.are.equal(THEIRS, visit(phase), phase)
        end
        assert.are.same({}, warnings())
    end)

    it("what nginx has of ngx stays", function()
        assert.are.equal("true", report("kept"))
    end)

    it("each phase has what nginx allows, and one warning", function()
        local before = warnings()
        assert_choice()
        assert_choice()
        assert.are.equal(1, #warned_of(before))
    end)

    it("the warning names the phase", function()
        for _, phase in ipairs(WARNED) do
            fetch("/install")
            local before = warnings()
            assert.are.equal(OURS, visit(phase))
            assert.are.equal(OURS, visit(phase))
            assert.are.same({ phase }, warned_of(before))
        end
    end)

    it("there is no warning when it isn't wanted", function()
        fetch("/silence")
        local before = warnings()
        assert_choice()
        assert.are.same({}, warned_of(before))
    end)

    it("installed again and after a reload, nothing nests", function()
        local shallow = tonumber(fetch("/depth"))
        local deep = tonumber(visit("deep"))
        for _ = 1, 5 do
            fetch("/install")
            fetch("/reinstall")
        end
        assert_choice()
        assert.are.equal(shallow, tonumber(fetch("/depth")))
        assert.are.equal(deep, tonumber(visit("deep")))
    end)

    it("its stand-in writes what nginx writes", function()
        servers.need_module("rex_pcre2", "lua-rex-pcre2")
        local output, status = support.run(([[
            package.path = %q .. "/?.lua;" .. package.path
            require("minisock.resty").install()
            io.write(require("texts").all(ngx))
        ]]):format(nginx.folder))
        assert.are.equal(0, status, output)
        local theirs, different = fetch("/texts"):gmatch("[^\n]+"), {}
        for line in output:gmatch("[^\n]+") do
            local expected = theirs()
            if line ~= expected then
                different[#different + 1] =
                    ("nginx: %s\nours:  %s"):format(expected, line)
            end
        end
        assert.are.equal("", table.concat(different, "\n"))
        assert.is_nil(theirs())
    end)

    -- The last one, for there is no worker after it.
    it("the last of a worker's phases has ours", function()
        os.execute("kill " .. nginx.process.pid)
        local found = support.wait_for("the worker's end", function()
            return nginx:log():match("whose exit_worker: ([%w ]+)")
        end)
        assert.are.equal(OURS, found)
        for _, line in ipairs(warnings()) do
            assert.is_nil(line:find("exit_worker", 1, true))
        end
    end)
end)

describe("minisock.resty.install in plain LuaJIT:", function()
    before_each(support.setup)
    after_each(support.teardown)

    local function prints(expected, program)
        local output, status = support.run(program)
        assert.are.equal(expected, output)
        assert.are.equal(0, status)
    end

    it("without it no global changes", function()
        prints("nil\n", [[
            local names = { names = true }
            for name in pairs(_G) do names[name] = true end
            local resty = require "minisock.resty"
            resty.tcp()
            resty.udp()
            resty.stream()
            resty.connect("127.0.0.1", 0)
            resty.trust("/nowhere")
            for name in pairs(_G) do
                if not names[name] then print(name) end
            end
            print(ngx)
        ]])
    end)

    it("only ngx is made", function()
        prints("ngx\n", [[
            local names = { names = true }
            for name in pairs(_G) do names[name] = true end
            require("minisock.resty").install()
            for name in pairs(_G) do
                if not names[name] then print(name) end
            end
        ]])
    end)

    it("ngx.socket has its four functions, and no others call them",
        function()
            prints("true\ntrue\ntrue\ntrue\n", [[
                local resty = require "minisock.resty"
                resty.install()
                print(ngx.socket.tcp().receiveuntil
                    == resty.tcp().receiveuntil)
                print(ngx.socket.stream().receiveuntil
                    == resty.tcp().receiveuntil)
                print(ngx.socket.udp().setpeername
                    == resty.udp().setpeername)
                local sock, reason = ngx.socket.connect("127.0.0.1", 65536)
                print(sock == nil and reason == "bad port number: 65536")
            ]])
        end)

    it("ngx.null is one value that is nothing else", function()
        prints("userdata\ntrue\ntrue\nfalse\n", [[
            require("minisock.resty").install()
            local null = ngx.null
            require("minisock.resty").install()
            print(type(null))
            print(null == ngx.null)
            print(not not null)
            print(null == nil)
        ]])
    end)

    it("warnings and worse go to standard error", function()
        local output, status = support.run([[
            io.stdout:close()
            require("minisock.resty").install()
            for _, name in ipairs { "STDERR", "EMERG", "ALERT", "CRIT", "ERR",
                    "WARN", "NOTICE", "INFO", "DEBUG" } do
                ngx.log(ngx[name], name, " ", 1, nil, true, " ", "end")
            end
            ngx.log(ngx.ERR)
        ]])
        assert.are.equal(0, status)
        assert.are.equal("STDERR 1niltrue end\nEMERG 1niltrue end\n"
            .. "ALERT 1niltrue end\nCRIT 1niltrue end\nERR 1niltrue end\n"
            .. "WARN 1niltrue end\n\n", output)
    end)

    it("ngx.re.sub without lrexlib says what to install", function()
        prints("function\nfalse\ntrue\ntrue\n", [[
            package.preload["rex_pcre2"] = function() error("none here") end
            require("minisock.resty").install()
            print(type(ngx.re.sub))
            local done, message = pcall(ngx.re.sub, "a", "b", "c")
            print(done)
            print(message:find("lua-rex-pcre2", 1, true) ~= nil)
            print(message:find("lrexlib-pcre2", 1, true) ~= nil)
        ]])
    end)

    it("ngx.re.sub with it replaces one match", function()
        servers.need_module("rex_pcre2", "lua-rex-pcre2")
        prints("a[b]cb\t1\nabc\t0\n", [[
            require("minisock.resty").install()
            print(ngx.re.sub("abcb", "b", "[$0]", "jo"))
            print(ngx.re.sub("abc", "x", "y"))
        ]])
    end)

    it("an ngx that is there is filled", function()
        prints("true\ntrue\nmine\nmine\nfunction\nfunction\ntrue\n", [[
            local mine = { null = "mine", socket = { other = "mine" } }
            local socket = mine.socket
            ngx = mine
            require("minisock.resty").install()
            print(ngx == mine)
            print(ngx.socket == socket)
            print(ngx.null)
            print(ngx.socket.other)
            print(type(ngx.escape_uri))
            print(type(ngx.socket.tcp))
            print(ngx.socket.tcp().receiveuntil
                == require("minisock.resty").tcp().receiveuntil)
        ]])
    end)

    it("again and after a reload, it is the newest one's", function()
        prints("true\ntrue\ntrue\n", [[
            require("minisock.resty").install()
            local socket = ngx.socket
            require("minisock.resty").install()
            for name in pairs(package.loaded) do
                if name:find("^minisock") then package.loaded[name] = nil end
            end
            local resty = require "minisock.resty"
            resty.install()
            resty.install()
            print(ngx.socket == socket)
            print(socket.tcp().receiveuntil == resty.tcp().receiveuntil)
            print(socket.udp == resty.udp)
        ]])
    end)
end)
