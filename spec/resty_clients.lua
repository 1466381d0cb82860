--- Programs of OpenResty's clients for Redis, memcached and DNS, which are
--- Debian's, unmodified. They run in every place and tell what they saw, line
--- by line, so that one list of what is expected is good for all places.
local clients = {}

-- luacheck: read_globals ngx

-- Before the clients are loaded, which keep what ngx.socket has.
require("minisock.resty").install({ warn = false })

local function show(value)
    if value == ngx.null then return "null" end
    if type(value) == "string" then return value end
    if type(value) ~= "table" then return tostring(value) end
    local keys, parts = {}, {}
    for key in pairs(value) do keys[#keys + 1] = key end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    for i, key in ipairs(keys) do
        parts[i] = (type(key) == "number" and "" or key .. "=")
            .. show(value[key])
    end
    return "{" .. table.concat(parts, " ") .. "}"
end

-- What is long or binary is compared here.
local function same(expected, got, problem)
    if got == expected then return "the same" end
    return type(got) == "string" and #got .. " other bytes" or got, problem
end

-- Every byte there is, line ends and NUL among them.
local function all_bytes()
    local bytes = {}
    for i = 0, 255 do bytes[i] = string.char(i) end
    return table.concat(bytes, "", 0, 255)
end

local MIB = 1024 * 1024

local programs = {}

function programs.redis(say, port, path)
    local redis = require "nginx.redis"

    local red = assert(redis:new())
    red:set_timeout(5000)
    say("connect", red:connect("127.0.0.1", port))
    say("flushall", red:flushall())
    say("ping", red:ping())
    say("set", red:set("dog", "an animal"))
    say("get", red:get("dog"))
    say("get nothing", red:get("cat"))
    say("incr", red:incr("count"))
    say("incr error", red:incr("dog"))
    local answer, why = red:no_such_command("x")
    say("unknown", answer, why:match("^ERR unknown command"))
    say("mset", red:mset("a", 1, "b", "", "c", "3"))
    say("mget", red:mget("a", "b", "none", "c"))
    say("del", red:del("a", "b", "none"))

    local bytes = all_bytes()
    say("set binary", red:set(bytes, bytes .. bytes))
    say("get binary", same(bytes .. bytes, red:get(bytes)))
    local large = ("0123456789abcdef"):rep(MIB / 16)
    say("set 1 MiB", red:set("large", large))
    say("get 1 MiB", same(large, red:get("large")))
    local huge = ("\r\n$5\r\nx"):rep(MIB)
    say("set 8 MiB", red:set("huge", huge))
    say("get 8 MiB", same(huge, red:get("huge")))
    red:del("large", "huge")

    say("rpush", red:rpush("list", "one", "two", "three"))
    say("lrange", red:lrange("list", 0, -1))
    say("hmset", red:hmset("hash", { color = "red" }))
    say("hmset pairs", red:hmset("hash", "size", "big", "empty", ""))
    say("hmget", red:hmget("hash", "color", "none", "size"))
    local hash = red:array_to_hash(assert(red:hgetall("hash")))
    say("hgetall", hash)
    say("sadd", red:sadd("set", "x", "y", "x"))
    say("zadd", red:zadd("zset", 2, "two", 1, "one"))
    say("zrange", red:zrange("zset", 0, -1, "withscores"))
    say("eval", red:eval("return {1, {2, ARGV[1]}, KEYS[1]}", 1, "k", "v"))

    say("multi", red:multi())
    say("queued", red:set("dog", "barks"))
    say("queued", red:incr("dog"))
    say("exec", red:exec())

    red:init_pipeline()
    for i = 1, 1000 do red:set("key" .. i, ("v"):rep(i)) end
    red:incr("dog")
    for i = 1, 1000 do red:get("key" .. i) end
    local answers, problem = red:commit_pipeline()
    say("pipeline", answers and #answers, problem)
    say("its error", answers[1001])
    local good = 0
    for i = 1, 1000 do
        if answers[i] == "OK" and answers[1001 + i] == ("v"):rep(i) then
            good = good + 1
        end
    end
    say("its good ones", good)
    red:init_pipeline()
    red:set("dog", "never")
    red:cancel_pipeline()
    say("cancelled", red:get("dog"))

    -- A subscriber, and who publishes.
    local other = assert(redis:new())
    other:set_timeout(5000)
    say("subscriber", other:connect("127.0.0.1", port))
    say("subscribe", other:subscribe("news"))
    say("publish", red:publish("news", "hello"))
    say("message", other:read_reply())
    other:set_timeout(50)
    say("no message", other:read_reply())
    say("publish", red:publish("news", "again"))
    other:set_timeout(5000)
    say("message", other:read_reply())
    say("not kept", other:set_keepalive(10000, 10))
    say("unsubscribe", other:unsubscribe("news"))
    say("usable again", other:get("dog"))
    say("close", other:close())
    say("closed", other:get("dog"))

    -- A timeout closes, and says so.
    red:set_timeout(50)
    say("blpop", red:blpop("nothing", 1))
    say("after it", red:get("dog"))
    red:set_timeout(5000)

    say("connect", red:connect("127.0.0.1", port))
    say("reused", red:get_reused_times())
    say("client id", type(red:client("id")))
    local id = red:client("id")
    say("keep", red:set_keepalive(60000, 10))
    say("kept", red:get("dog"))
    say("connect", red:connect("127.0.0.1", port))
    say("reused", red:get_reused_times())
    say("same connection", red:client("id") == id)
    say("get", red:get("dog"))
    say("keep", red:set_keepalive(60000, 10))
    say("pool", red:connect("127.0.0.1", port, { pool = "another" }))
    say("reused", red:get_reused_times())
    say("quit", red:quit())
    say("ended", (red:get("dog")))

    say("Unix", red:connect("unix:" .. path))
    say("reused", red:get_reused_times())
    say("get", red:get("dog"))
    say("keep", red:set_keepalive(60000, 10))
    say("Unix", red:connect("unix:" .. path))
    say("reused", red:get_reused_times())
    say("get", red:get("dog"))
    say("close", red:close())

    say("nobody", red:connect("127.0.0.1", 1))
    say("no file", red:connect("unix:" .. path .. ".none"))
    say("flushall", red:connect("127.0.0.1", port) and red:flushall())
    say("close", red:close())
end

-- Leaves a connection in the pool.
function programs.keep(say, port)
    local red = assert(require("nginx.redis"):new())
    assert(red:connect("127.0.0.1", port))
    say("reused", red:get_reused_times())
    say("ping", red:ping())
    say("keep", red:set_keepalive(60000, 10))
end

-- nginx has the authority's certificate in its configuration.
programs["redis over TLS"] = function(say, port, authority)
    local redis = require "nginx.redis"
    require("minisock.resty").trust(authority)

    local function connect()
        local red = assert(redis:new())
        red:set_timeout(5000)
        say("connect", red:connect("127.0.0.1", port))
        return red, red._sock
    end

    local red, sock = connect()
    say("handshake", sock:sslhandshake(false, "localhost", true))
    say("set", red:set("dog", "an animal"))
    local large = ("\r\n$5\r\nx"):rep(MIB)
    say("set 8 MiB", red:set("huge", large))
    say("get 8 MiB", same(large, red:get("huge")))
    say("keep", red:set_keepalive(60000, 10))
    red = connect()
    say("reused", red:get_reused_times())
    say("get", red:get("dog"))
    red:set_timeout(50)
    say("blpop", red:blpop("nothing", 1))
    say("after it", red:get("dog"))

    -- A cosocket now and then says that this was done, and has closed.
    red, sock = connect()
    local _, reason = sock:sslhandshake(false, "elsewhere.example", true)
    say("another's", reason or "certificate host mismatch")
    say("closed", red:get("dog"))
    red, sock = connect()
    say("not verified", sock:sslhandshake(false, "elsewhere.example", false))
    say("get", red:get("dog"))
    say("flushall", red:flushall())
    say("close", red:close())
end

function programs.memcached(say, port)
    local memcached = require "nginx.memcached"

    local memc = assert(memcached:new())
    memc:set_timeout(5000)
    say("connect", memc:connect("127.0.0.1", port))
    say("flush_all", memc:flush_all())
    say("version", (memc:version():gsub("%d+", "N")))
    say("set", memc:set("dog", 32))
    say("get", memc:get("dog"))
    say("get nothing", memc:get("cat"))
    say("set flags", memc:set("flagged", "text", 0, 1234))
    say("get flags", memc:get("flagged"))
    say("add", memc:add("dog", "other"))
    say("add", memc:add("new", "one"))
    say("replace", memc:replace("none", "x"))
    say("replace", memc:replace("new", "two"))
    say("append", memc:append("new", " three"))
    say("prepend", memc:prepend("new", "one "))
    say("get", memc:get("new"))
    say("incr", memc:incr("dog", 10))
    say("decr", memc:decr("dog", 2))
    say("incr error", memc:incr("new", 1))
    say("incr nothing", memc:incr("none", 1))
    say("multi get", memc:get({ "dog", "cat", "flagged", "new" }))
    local value, flags, unique, problem = memc:gets("dog")
    say("gets", value, flags, type(unique), problem)
    say("cas", memc:cas("dog", "swapped", unique))
    say("cas", memc:cas("dog", "too late", unique))
    say("get", memc:get("dog"))
    say("delete", memc:delete("dog"))
    say("delete", memc:delete("dog"))

    -- Keys are escaped, values are not.
    local bytes = all_bytes()
    local key = " \r\n\0%/?&\127\255key"
    say("set binary", memc:set(key, bytes))
    say("get binary", same(bytes, (memc:get(key))))
    local several = assert(memc:get({ key, "new" }))
    say("multi get binary", same(bytes, several[key][1]))
    say("set empty", memc:set("empty", ""))
    say("get empty", memc:get("empty"))
    local large = ("END\r\n"):rep(MIB / 5)
    say("set 1 MiB", memc:set("large", large))
    say("get 1 MiB", same(large, (memc:get("large"))))
    say("set pieces", memc:set("pieces", { "one ", { "two ", "three" } }))
    say("get pieces", memc:get("pieces"))
    say("set too large", memc:set("huge", ("x"):rep(5 * MIB)))
    local _, _, why = memc:get(("k"):rep(251))
    say("key too long", why:match("^CLIENT_ERROR"))
    say("stats", type(memc:stats()))

    say("reused", memc:get_reused_times())
    say("keep", memc:set_keepalive(60000, 10))
    say("connect", memc:connect("127.0.0.1", port))
    say("reused", memc:get_reused_times() > 0)
    say("get", memc:get("new"))
    say("quit", memc:quit())
    say("ended", (memc:get("new")))
    memc:close()
    say("connect", memc:connect("127.0.0.1", port))
    say("flush_all", memc:flush_all())
    say("close", memc:close())
    say("nobody", memc:connect("127.0.0.1", 1))
end

function programs.dns(say, port, silent)
    local resolver = require "nginx.dns.resolver"

    local function new(options)
        options.nameservers = options.nameservers or { { "127.0.0.1", port } }
        options.timeout = options.timeout or 5000
        return assert(resolver:new(options))
    end
    -- The records, told in a line.
    local function records(answers, problem)
        if not answers then return answers, problem end
        local list = { answers.errstr }
        for _, answer in ipairs(answers) do
            list[#list + 1] = { answer.name, answer.address or answer.cname
                or answer.txt or answer.ptrdname or answer.target
                or answer.exchange, answer.port or answer.preference }
        end
        return list, problem
    end

    local r = new({})
    say("A", records(r:query("one.test")))
    say("several", #assert(r:query("many.test")))
    say("AAAA", records(r:query("one.test", { qtype = r.TYPE_AAAA })))
    say("CNAME", records(r:query("alias.test", { qtype = r.TYPE_CNAME })))
    say("A of it", records(r:query("alias.test")))
    say("TXT", records(r:query("one.test", { qtype = r.TYPE_TXT })))
    say("long TXT", #r:query("long.test", { qtype = r.TYPE_TXT })[1].txt)
    say("SRV", records(r:query("_sip._udp.test", { qtype = r.TYPE_SRV })))
    say("MX", records(r:query("one.test", { qtype = r.TYPE_MX })))
    say("PTR", records(r:reverse_query("192.0.2.1")))
    local six = assert(r:reverse_query("2001:db8::1"))
    say("PTR of IPv6", six[1].ptrdname)
    say("NXDOMAIN", records(r:query("nothing.test")))
    say("refused", records(r:query("elsewhere.example")))
    say("compress", r.compress_ipv6_addr("2001:db8:0:0:0:0:0:1"))
    say("expand", r.expand_ipv6_addr("2001:db8::1"))

    -- More than a datagram of 512 bytes holds: asks again over TCP.
    local big = assert(r:query("big.test"))
    say("over TCP", #big, big[100].address:match("^198%.51%.100%."))
    say("TCP", records(r:tcp_query("one.test")))
    say("TCP again", records(r:tcp_query("one.test")))

    local slow = new({ nameservers = { { "127.0.0.1", silent } },
        timeout = 50, retrans = 2 })
    local answers, problem = slow:query("one.test")
    say("silent", answers, (problem:gsub(":%d+:", ":PORT:")))
    -- The first or the second of the two servers, whichever is first.
    local either = new({ nameservers = { { "127.0.0.1", silent },
        { "127.0.0.1", port } }, timeout = 50, retrans = 2 })
    say("the other", records(either:query("one.test")))
    local nobody = new({ nameservers = { { "127.0.0.1", 1 } }, retrans = 1,
        timeout = 1000 })
    local _, reason = nobody:query("one.test")
    say("nobody", reason:match("connection refused$"))
end

--- Runs a program, and returns its report.
function clients.run(name, ...)
    local lines = {}
    local function say(what, ...)
        local words = { what .. ":" }
        for i = 1, select("#", ...) do
            words[i + 1] = show((select(i, ...)))
        end
        lines[#lines + 1] = table.concat(words, " ") .. "\n"
    end
    local done, why = pcall(programs[name], say, ...)
    lines[#lines + 1] = done and "done\n" or "failed: " .. why .. "\n"
    return table.concat(lines)
end

return clients
