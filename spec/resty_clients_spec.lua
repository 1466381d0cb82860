local servers = require "spec.servers"
local host = require "spec.nginx"
local support = require "spec.support"

local NAMES = { "redis", "redis over TLS", "memcached", "dns" }

local RECORDS = {
    "host-record=one.test,192.0.2.1,2001:db8::1",
    "host-record=many.test,192.0.2.2", "host-record=many.test,192.0.2.3",
    "cname=alias.test,one.test",
    "txt-record=one.test,hello,\"and more\"",
    "txt-record=long.test," .. ("t"):rep(200),
    "srv-host=_sip._udp.test,one.test,5060,1,2",
    "mx-host=one.test,many.test,10",
}
for i = 1, 100 do
    RECORDS[#RECORDS + 1] = ("host-record=big.test,198.51.100.%d"):format(i)
end

-- Where the clients' programs run. Each place leaves its report in the shared
-- memory, except the last two, which answer with it.
local HTTP = [==[
    lua_shared_dict reports 1m;
    lua_ssl_trusted_certificate @AUTHORITY@;
    init_by_lua_block {
        local clients = require "spec.resty_clients"
        local servers = @SERVERS@
        for name in pairs(servers) do
            ngx.shared.reports:set("init " .. name,
                clients.run(name, unpack(servers[name])))
        end
        -- What nginx forks must not share this connection.
        ngx.shared.reports:set("init keep", clients.run("keep", @REDIS@))
    }
    server {
        listen 127.0.0.1:@PORT@;
        location = /report {
            content_by_lua_block {
                ngx.print(ngx.shared.reports:get(ngx.unescape_uri(
                    ngx.var.args)))
            }
        }
        location = /forget {
            content_by_lua_block {
                ngx.shared.reports:delete(ngx.unescape_uri(ngx.var.args))
            }
        }
        location = /log {
            return 200;
            log_by_lua_block {
                local name = ngx.unescape_uri(ngx.var.args)
                local servers = @SERVERS@
                ngx.shared.reports:set("log " .. name,
                    require("spec.resty_clients").run(name,
                        unpack(servers[name])))
            }
        }
        location = /forked {
            return 200;
            log_by_lua_block {
                ngx.shared.reports:set("log keep",
                    require("spec.resty_clients").run("keep", @REDIS@))
            }
        }
        location = /worker {
            content_by_lua_block {
                collectgarbage()
                collectgarbage()
                ngx.print(ngx.worker.pid())
            }
        }
        location = /thread {
            content_by_lua_block {
                local name = ngx.unescape_uri(ngx.var.args)
                local servers = @SERVERS@
                local done, report = ngx.run_worker_thread("lua",
                    "spec.resty_clients", "run", name, unpack(servers[name]))
                ngx.print(report)
            }
        }
        location = /content {
            content_by_lua_block {
                local name = ngx.unescape_uri(ngx.var.args)
                local servers = @SERVERS@
                ngx.print(require("spec.resty_clients").run(name,
                    unpack(servers[name])))
            }
        }
        location = /slow {
            content_by_lua_block {
                local redis = require("nginx.redis"):new()
                assert(redis:connect("127.0.0.1", @REDIS@))
                assert(redis:blpop("nothing", 1))
                redis:set_keepalive(10000, 10)
                ngx.say("waited")
            }
        }
        location = /quick {
            content_by_lua_block {
                local redis = require("nginx.redis"):new()
                assert(redis:connect("127.0.0.1", @REDIS@))
                ngx.say(redis:ping())
            }
        }
    }
]==]

local EXPECTED = {}

EXPECTED.keep = [[
reused: 0
ping: PONG
keep: 1
done
]]

EXPECTED.redis = [[
connect: 1
flushall: OK
ping: PONG
set: OK
get: an animal
get nothing: null
incr: 1
incr error: false ERR value is not an integer or out of range
unknown: false ERR unknown command
mset: OK
mget: {1  null 3}
del: 2
set binary: OK
get binary: the same
set 1 MiB: OK
get 1 MiB: the same
set 8 MiB: OK
get 8 MiB: the same
rpush: 3
lrange: {one two three}
hmset: OK
hmset pairs: OK
hmget: {red null big}
hgetall: {color=red empty= size=big}
sadd: 2
zadd: 2
zrange: {one 1 two 2}
eval: {1 {2 v} k}
multi: OK
queued: QUEUED
queued: QUEUED
exec: {OK {false ERR value is not an integer or out of range}}
pipeline: 2001 nil
its error: {false ERR value is not an integer or out of range}
its good ones: 1000
cancelled: barks
subscriber: 1
subscribe: {subscribe news 1}
publish: 1
message: {message news hello} nil
no message: nil timeout
publish: 1
message: {message news again} nil
not kept: nil subscribed state
unsubscribe: {unsubscribe news 0} nil
usable again: barks
close: 1
closed: nil closed
blpop: nil timeout
after it: nil closed
connect: 1
reused: 0
client id: number
keep: 1
kept: nil closed
connect: 1
reused: 1
same connection: true
get: barks
keep: 1
pool: 1
reused: 0
quit: OK
ended: nil
Unix: 1
reused: 0
get: barks
keep: 1
Unix: 1
reused: 1
get: barks
close: 1
nobody: nil connection refused
no file: nil no such file or directory
flushall: OK
close: 1
done
]]

EXPECTED["redis over TLS"] = [[
connect: 1
handshake: true
set: OK
set 8 MiB: OK
get 8 MiB: the same
keep: 1
connect: 1
reused: 1
get: an animal
blpop: nil timeout
after it: nil closed
connect: 1
another's: certificate host mismatch
closed: nil closed
connect: 1
not verified: true
get: an animal
flushall: OK
close: 1
done
]]

EXPECTED.memcached = [[
connect: 1
flush_all: 1
version: N.N.N
set: 1
get: 32 0
get nothing: nil nil nil
set flags: 1
get flags: text 1234
add: nil NOT_STORED
add: 1
replace: nil NOT_STORED
replace: 1
append: 1
prepend: 1
get: one two three 0
incr: 42
decr: 40
incr error: nil CLIENT_ERROR cannot increment or decrement non-numeric value
incr nothing: nil NOT_FOUND
multi get: {dog={40 0} flagged={text 1234} new={one two three 0}}
gets: 40 0 string nil
cas: 1
cas: nil EXISTS
get: swapped 0
delete: 1
delete: nil NOT_FOUND
set binary: 1
get binary: the same
multi get binary: the same
set empty: 1
get empty:  0
set 1 MiB: 1
get 1 MiB: the same
set pieces: 1
get pieces: one two three 0
set too large: nil SERVER_ERROR object too large for cache
key too long: CLIENT_ERROR
stats: table
reused: 0
keep: 1
connect: 1
reused: true
get: one two three 0
quit: 1
ended: nil
connect: 1
flush_all: 1
close: 1
nobody: nil connection refused
done
]]

EXPECTED.dns = [[
A: {{one.test 192.0.2.1}} nil
several: 2
AAAA: {{one.test 2001:db8:0:0:0:0:0:1}} nil
CNAME: {{alias.test one.test}} nil
A of it: {{alias.test one.test} {one.test 192.0.2.1}} nil
TXT: {{one.test {hello and more}}} nil
long TXT: 200
SRV: {{_sip._udp.test one.test 5060}} nil
MX: {{one.test many.test 10}} nil
PTR: {{1.2.0.192.in-addr.arpa one.test}} nil
PTR of IPv6: one.test
NXDOMAIN: {name error} nil
refused: {refused} nil
compress: 2001:db8::1
expand: 2001:db8:0:0:0:0:0:1
over TCP: 100 198.51.100.
TCP: {{one.test 192.0.2.1}} nil
TCP again: {{one.test 192.0.2.1}} nil
silent: nil failed to receive reply from UDP server 127.0.0.1:PORT: timeout
the other: {{one.test 192.0.2.1}} nil
nobody: connection refused
done
]]

describe("OpenResty's clients", function()
    local arguments, port, nginx

    setup(function()
        support.setup()
        for _, name in ipairs({ "redis", "memcached" }) do
            servers.need_module("nginx." .. name, "lua-nginx-" .. name)
        end
        servers.need_module("nginx.dns.resolver", "lua-nginx-dns")
        servers.need_module("ssl", "lua-sec")
        servers.need_module("rex_pcre2", "lua-rex-pcre2")
        local certificates = servers.certificates()
        local redis = servers.redis(certificates)
        local dnsmasq = servers.dnsmasq(RECORDS)
        arguments = {
            redis = { redis.port, redis.path },
            ["redis over TLS"] = { redis.tls_port, certificates.ca },
            memcached = { servers.memcached().port },
            dns = { dnsmasq.port, servers.silent().port },
        }
        local quoted = {}
        for name, list in pairs(arguments) do
            local words = {}
            for i, word in ipairs(list) do
                words[i] = type(word) == "string" and ("%q"):format(word)
                    or tostring(word)
            end
            quoted[#quoted + 1] = ("[%q] = { %s }"):format(name,
                table.concat(words, ", "))
        end
        port = host.free_port()
        nginx = servers.nginx((HTTP:gsub("@(%u+)@", {
            SERVERS = "{ " .. table.concat(quoted, ", ") .. " }",
            AUTHORITY = certificates.ca, PORT = tostring(port),
            REDIS = tostring(redis.port),
        })))
    end)

    teardown(servers.stop)

    before_each(support.setup)
    after_each(support.teardown)

    local function fetch(path)
        path = path:gsub(" ", "%%20")
        local output, status = support.shell(
            ("curl -sS -f --max-time 20 'http://127.0.0.1:%d%s'")
                :format(port, path))
        assert.are.equal(0, status, output .. nginx:log())
        return output
    end

    local places = {}

    function places.init(name)
        return fetch("/report?init " .. name)
    end

    -- Asks for it, and waits for the report, which comes after the answer.
    local function run_in_log(path, report)
        report = "log " .. report
        fetch("/forget?" .. report)
        fetch(path)
        return support.wait_for("the log phase", function()
            local text = fetch("/report?" .. report)
            return text ~= "nil" and text
        end)
    end

    function places.log(name)
        return run_in_log("/log?" .. name, name)
    end

    function places.thread(name)
        return fetch("/thread?" .. name)
    end

    function places.luajit(name)
        local words = {}
        for i, word in ipairs(arguments[name]) do
            words[i] = ("'%s'"):format(word)
        end
        local output, status = support.run([[
            io.write(require("spec.resty_clients").run(unpack(arg)))
        ]], ("'%s' %s"):format(name, table.concat(words, " ")))
        assert.are.equal(0, status, output)
        return output
    end

    -- nginx's own cosockets: what is expected is what these do.
    function places.content(name)
        return fetch("/content?" .. name)
    end

    -- Answers of nginx that come at the same time.
    local function in_parallel(...)
        local commands = {}
        for i, path in ipairs({ ... }) do
            commands[i] = ("curl -sS -f --max-time 20 "
                .. "'http://127.0.0.1:%d%s' & "):format(port, path)
        end
        return support.shell(table.concat(commands) .. "wait")
    end

    for _, place in ipairs({ "content", "init", "log", "thread", "luajit" }) do
        for _, name in ipairs(NAMES) do
            it(name .. " in " .. place, function()
                assert.are.equal(EXPECTED[name], places[place](name))
            end)
        end
    end

    it("still yield where nginx has cosockets", function()
        local time, answers = support.timed(in_parallel, "/slow", "/slow",
            "/slow", "/quick")
        assert.are.equal("PONG\nwaited\nwaited\nwaited\n", answers)
        assert.is_true(time >= 950 and time < 1900, time)
    end)

    it("share no kept connection after a fork", function()
        assert.are.equal(EXPECTED.keep, places.init("keep"))
        assert.are.equal(EXPECTED.keep, run_in_log("/forked", "keep"))
    end)

    -- Garbage aside: a resolver can't be closed.
    it("leave nothing open in log_by_lua", function()
        local function count()
            local folder = ("/proc/%s/fd"):format(fetch("/worker"))
            return tonumber((support.shell("ls " .. folder .. " | wc -l")))
        end
        for _, name in ipairs(NAMES) do places.log(name) end
        local before = count()
        for _, name in ipairs(NAMES) do
            for _ = 1, 3 do places.log(name) end
        end
        support.wait_for("them to be closed", function()
            return count() <= before
        end)
    end)

    -- nginx's own cosockets log what fails in /content.
    it("log nothing", function()
        local lines = {}
        for line in nginx:log():gmatch("[^\n]+") do
            if line:find("%[[weac]%l+%]") and not line:find("GET /content") then
                lines[#lines + 1] = line
            end
        end
        assert.are.equal("", table.concat(lines, "\n"))
        assert.matches("%[notice%]", nginx:log())
    end)
end)
