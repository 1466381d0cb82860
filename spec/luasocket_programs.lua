--- Programs for LuaSocket as Debian has it, and for what others built on it.
--- Each prints what it saw; over the drop-in it is what LuaSocket's own C
--- modules show.
local programs = {}

-- Before each: `say` prints values so that they differ when they differ, and
-- `over` tells whose sockets these are.
local PROLOGUE = [==[
io.stdout:setvbuf("no")

local function show(value)
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

function say(what, ...)
    local words = { what .. ":" }
    for i = 1, select("#", ...) do words[i + 1] = show((select(i, ...))) end
    print(table.concat(words, " "))
end

-- What is long or binary is compared here.
function same(expected, got, problem)
    if got == expected then return "the same" end
    return type(got) == "string" and #got .. " other bytes" or got, problem
end

package.preload["spec.over"] = function()
    require "socket"
    return package.loaded["minisock.luasocket"] and "minisock" or "LuaSocket"
end
]==]

--- A program's text.
function programs.text(name)
    return PROLOGUE .. programs[name]
end

-- Arguments: the server's port.
programs.http = [==[
local http = require "socket.http"
local ltn12 = require "ltn12"
local mime = require "mime"
local socket = require "socket"
local url = require "socket.url"

local base = "http://127.0.0.1:" .. arg[1]

local body, code, headers, status = http.request(base .. "/hello")
say("GET", body, code, status)
say("length", headers["content-length"])
body, code = http.request(base .. "/nothing")
say("404", body, code)
body, code = http.request(base .. "/moved")
say("redirected", body, code)
local sink = {}
local done
done, code, headers = http.request({ url = base .. "/moved",
    redirect = false, sink = ltn12.sink.table(sink) })
say("not redirected", done, code, headers.location == base .. "/hello")
done, code = http.request(base .. "/loop")
say("loop", done ~= nil, code)

local expected = {}
for i = 1, 100 do expected[i] = (i .. ";"):rep(100) end
body, code, headers = http.request(base .. "/chunked")
say("chunked", same(table.concat(expected), body), code,
    headers["transfer-encoding"])

body, code, headers = http.request(base .. "/echo", "a=1&b=2")
say("POST", body, code, headers["x-method"], headers["x-type"])
local large = ("\0\1\2\r\n\255"):rep(300000)
body, code = http.request(base .. "/echo", large)
say("large POST", same(large, body), code)
sink = {}
done, code, headers = http.request({ url = base .. "/echo", method = "PUT",
    headers = { ["content-length"] = #large, ["content-type"] = "x/y" },
    source = ltn12.source.string(large), sink = ltn12.sink.table(sink) })
say("PUT", done, code, headers["x-method"], headers["x-type"],
    same(large, table.concat(sink)))
sink = {}
done, code = http.request({ url = base .. "/echo", method = "POST",
    source = ltn12.source.string("without a length"),
    headers = { ["transfer-encoding"] = "chunked" },
    sink = ltn12.sink.table(sink) })
say("chunked POST", done, code, table.concat(sink))
done, code, headers = http.request({ url = base .. "/hello",
    method = "HEAD" })
say("HEAD", done, code, headers["content-length"])
say("authorized", (http.request("http://me:secret@127.0.0.1:" .. arg[1]
    .. "/authorized")))
sink = {}
done = http.request({ url = base .. "/hello", sink = ltn12.sink.chain(
    mime.encode("base64"), (ltn12.sink.table(sink))) })
say("base64", done, table.concat(sink))
say("proxy", (select(2, http.request({ proxy = base,
    url = "http://elsewhere.invalid/hello", sink = ltn12.sink.null() }))))
say("by name", (http.request("http://localhost:" .. arg[1] .. "/hello")))
say("nobody", http.request("http://127.0.0.1:1/"))
say("no such name", (http.request("http://nothing.invalid/")))

local parsed = url.parse(base .. "/a/b;c?d=e#f")
say("url", parsed.host, parsed.path, parsed.params, parsed.query,
    parsed.fragment)
say("absolute", url.absolute("http://h/a/b", "../c"))

-- A request by hand, through ltn12 and the sockets' own sources and sinks.
local client = assert(socket.connect("127.0.0.1", tonumber(arg[1])))
assert(ltn12.pump.all(ltn12.source.string("GET /hello HTTP/1.1\r\n"
    .. "Host: localhost\r\nConnection: close\r\n\r\n"),
    socket.sink("keep-open", client)))
sink = {}
assert(ltn12.pump.all(socket.source("until-closed", client),
    (ltn12.sink.table(sink))))
say("by hand", table.concat(sink):match("^([^\r]*).*\r\n\r\n(.*)$"))
say("closed", client:send("x"))
say("over", require "spec.over")
]==]

-- Arguments: the server's port and TLS port, and the CA's certificate.
programs.https = [==[
local https = require "ssl.https"
local ltn12 = require "ltn12"
local socket = require "socket"
local ssl = require "ssl"

local base = "https://127.0.0.1:" .. arg[2]

local body, code, headers, status = https.request(base .. "/hello")
say("GET", body, code, status)
say("length", headers["content-length"])
body, code = https.request(base .. "/echo", "a=1&b=2")
say("POST", body, code)
local sink = {}
local done
done, code = https.request({ url = base .. "/chunked", verify = "peer",
    cafile = arg[3], sink = ltn12.sink.table(sink) })
say("verified", done, code, #table.concat(sink))
local why
done, why = https.request({ url = base .. "/hello", verify = "peer",
    sink = ltn12.sink.null() })
say("not verified", done, why)
local large = ("\0\1\2\r\n\255"):rep(300000)
body, code = https.request(base .. "/echo", large)
say("large POST", same(large, body), code)
say("no TLS there", (https.request("https://127.0.0.1:" .. arg[1] .. "/")))

local client = assert(socket.connect("127.0.0.1", tonumber(arg[2])))
local fd = client:getfd()
local wrapped = assert(ssl.wrap(client, { mode = "client", protocol = "any",
    verify = "peer", cafile = arg[3] }))
say("taken", client:getfd(), wrapped:getfd() == fd)
-- What is left owns nothing.
client = nil
collectgarbage()
collectgarbage()
wrapped:settimeout(5)
say("handshake", wrapped:dohandshake())
say("protocol", wrapped:info("protocol"):match("^TLSv1%.[23]$") ~= nil)
say("send", wrapped:send("GET /hello HTTP/1.0\r\n\r\n"))
say("line", wrapped:receive("*l"))
say("rest", (wrapped:receive("*a"):match("\r\n\r\n(.*)")))
say("close", wrapped:close())
say("over", require "spec.over")
]==]

-- Both ends of TLS in one program. Arguments: certificate, key, the CA's.
programs.tls = [==[
local socket = require "socket"
local ssl = require "ssl"

local listener = assert(socket.bind("127.0.0.1", 0))
local client = assert(socket.connect("127.0.0.1",
    (select(2, listener:getsockname()))))
local served = assert(listener:accept())
client = assert(ssl.wrap(client, { mode = "client", protocol = "any",
    verify = "peer", cafile = arg[3] }))
served = assert(ssl.wrap(served, { mode = "server", protocol = "any",
    certificate = arg[1], key = arg[2] }))
client:settimeout(0)
served:settimeout(0)

-- Each waits in turn for what it says that it wants.
local function both(...)
    local threads = { ... }
    for _ = 1, 100000 do
        local waiting = {}
        for i = #threads, 1, -1 do
            local done, want, sock = coroutine.resume(threads[i])
            assert(done, want)
            if coroutine.status(threads[i]) == "dead" then
                table.remove(threads, i)
            else
                waiting[#waiting + 1] = { sock, want }
            end
        end
        if #threads == 0 then return end
        local reading, writing = {}, {}
        for _, wait in ipairs(waiting) do
            if wait[2] == "wantwrite" or wait[2] == "write" then
                writing[#writing + 1] = wait[1]
            else
                reading[#reading + 1] = wait[1]
            end
        end
        socket.select(reading, writing, 5)
    end
    error("it doesn't end")
end

local function handshake(sock)
    return coroutine.create(function()
        while true do
            local done, want = sock:dohandshake()
            if done then return end
            assert(want == "wantread" or want == "wantwrite", want)
            coroutine.yield(want, sock)
        end
    end)
end

both(handshake(client), handshake(served))
say("handshake", client:info("protocol") == served:info("protocol"))

local text = ("\0\1\2\r\n\255"):rep(500000)
local received = {}

local function sending(sock)
    return coroutine.create(function()
        local last = 0
        while last < #text do
            local sent, want, before = sock:send(text, last + 1)
            last = sent or before
            if not sent then
                if want == "timeout" then want = "write" end
                coroutine.yield(want, sock)
            end
        end
    end)
end

local function receiving(sock, name)
    return coroutine.create(function()
        local parts, count = {}, 0
        while count < #text do
            local data, want, part = sock:receive(math.min(65536,
                #text - count))
            data = data or part
            count = count + #data
            parts[#parts + 1] = data
            if want then coroutine.yield("wantread", sock) end
        end
        received[name] = table.concat(parts)
    end)
end

both(sending(client), receiving(served, "served"))
both(sending(served), receiving(client, "client"))
say("to the server", same(text, received.served))
say("to the client", same(text, received.client))
say("close", client:close())
served:settimeout(5)
say("end", (select(2, served:receive(1))))
say("close", served:close())
say("over", require "spec.over")
]==]

-- A web server over TLS, for one request. Arguments: certificate, key.
programs.https_server = [==[
local socket = require "socket"
local ssl = require "ssl"

local listener = assert(socket.bind("127.0.0.1", 0))
print("port " .. select(2, listener:getsockname()))
local client = assert(ssl.wrap(assert(listener:accept()), { mode = "server",
    protocol = "any", certificate = arg[1], key = arg[2] }))
client:settimeout(5)
assert(client:dohandshake())
local request = assert(client:receive("*l"))
repeat
    local line = assert(client:receive("*l"))
until line == ""
local body = ("%s: %s\n"):format(require "spec.over", request)
assert(client:send("HTTP/1.0 200 OK\r\nContent-Length: " .. #body
    .. "\r\n\r\n" .. body))
client:close()
]==]

-- Arguments: the port, the path of the Unix socket.
programs.redis = [==[
local redis = require "redis"

local function converse(name, client)
    say(name, client:ping())
    client:flushall()
    say("set", client:set("dog", "an animal"))
    say("get", client:get("dog"))
    say("get nothing", client:get("cat"))
    say("incrby", client:incrby("count", 5))
    say("exists", client:exists("dog"), client:exists("cat"))
    local large = ("\0\r\n$5\r\n\255"):rep(200000)
    say("set large", client:set("large", large))
    say("get large", same(large, client:get("large")))
    say("error", (pcall(client.incr, client, "dog")))
    client:hmset("hash", { color = "red", size = "big" })
    say("hgetall", client:hgetall("hash"))
    client:rpush("list", "one", "two")
    say("lrange", client:lrange("list", 0, -1))
    local replies, count = client:pipeline(function(p)
        for i = 1, 1000 do p:set("key" .. i, i) end
        for i = 1, 1000 do p:get("key" .. i) end
    end)
    say("pipeline", count, replies[1001], replies[2000])
    replies, count = client:transaction(function(t)
        t:set("a", 1)
        t:incr("a")
        t:get("a")
    end)
    say("transaction", replies, count)
end

local client = redis.connect("127.0.0.1", tonumber(arg[1]))
converse("TCP", client)
local unix = redis.connect("unix://" .. arg[2])
converse("Unix", unix)

for message, abort in unix:pubsub({ subscribe = "news" }) do
    if message.kind == "subscribe" then
        say("subscribed", message.channel)
        client:publish("news", "hello")
    else
        say(message.kind, message.channel, message.payload)
        abort()
    end
end
say("quit", (pcall(client.quit, client)))
say("nobody", (pcall(redis.connect, "127.0.0.1", 1)))
say("over", require "spec.over")
]==]

-- Arguments: the port of SMTP, the port of FTP.
programs.mail_and_files = [==[
local ftp = require "socket.ftp"
local ltn12 = require "ltn12"
local smtp = require "socket.smtp"

say("smtp", smtp.send({
    server = "127.0.0.1", port = tonumber(arg[1]),
    from = "<me@here.example>",
    rcpt = { "<you@there.example>", "<all@there.example>" },
    source = smtp.message({
        headers = { subject = "a subject" },
        body = { preamble = "two parts", { body = "first\r\n.\r\nlast" },
            { headers = { ["content-type"] = "text/plain" },
                body = ltn12.source.string("second") } },
    }),
}))
say("refused", smtp.send({ server = "127.0.0.1", port = tonumber(arg[1]),
    from = "<nobody@here.example>", rcpt = "<you@there.example>",
    source = smtp.message({ headers = {}, body = "x" }) }))

local base = "ftp://me:secret@127.0.0.1:" .. arg[2]
local large = ("\0\1\2\r\n\255"):rep(300000)
say("put", (ftp.put(base .. "/large;type=i", large)))
say("get", same(large, (ftp.get(base .. "/large;type=i"))))
say("none", ftp.get(base .. "/none;type=i"))
say("password", ftp.get("ftp://me:wrong@127.0.0.1:" .. arg[2] .. "/large"))
say("over", require "spec.over")
]==]

-- From LuaSocket's manual, where the introduction has it.
programs.echo_server = [==[
-- load namespace
local socket = require("socket")
-- create a TCP socket and bind it to the local host, at any port
local server = assert(socket.bind("*", 0))
-- find out which port the OS chose for us
local ip, port = server:getsockname()
-- print a message informing what's up
print("Please telnet to localhost on port " .. port)
print("After connecting, you have 10s to enter a line to be echoed")
-- loop forever waiting for clients
while 1 do
  -- wait for a connection from any client
  local client = server:accept()
  -- make sure we don't block waiting for this client's line
  client:settimeout(10)
  -- receive the line
  local line, err = client:receive()
  -- if there was no error, send it back to the client
  if not err then client:send(line .. "\n") end
  -- done with client, close the object
  client:close()
end
]==]

-- From the manual too. Arguments: host and port.
programs.daytime = [==[
-- change here to the host an port you want to contact
local host, port = arg[1], tonumber(arg[2])
-- load namespace
local socket = require("socket")
-- convert host name to ip address
local ip = assert(socket.dns.toip(host))
-- create a new UDP object
local udp = assert(socket.udp())
-- contact daytime host
assert(udp:sendto("anything", ip, port))
-- retrieve the answer and print results
io.write(assert(udp:receive()))
]==]

-- A dispatcher of coroutines that download at once, as in "Programming in
-- Lua". Arguments: the server's port.
programs.downloads = [==[
local socket = require "socket"

local threads, results = {}, {}

local function receive(connection)
    connection:settimeout(0)
    local s, state, partial = connection:receive(2 ^ 10)
    if state == "timeout" then coroutine.yield(connection) end
    return s or partial, state
end

local function download(name, host, port, file)
    local c = assert(socket.connect(host, port))
    local count = 0
    c:send("GET " .. file .. " HTTP/1.0\r\nHost: localhost\r\n\r\n")
    while true do
        local s, state = receive(c)
        count = count + #s
        if state == "closed" then break end
    end
    c:close()
    results[name] = count
end

for i = 1, 50 do
    threads[i] = coroutine.create(function()
        download(i, "127.0.0.1", arg[1], "/chunked")
    end)
end

while #threads > 0 do
    local connections = {}
    for i = #threads, 1, -1 do
        local status, res = coroutine.resume(threads[i])
        if not res then
            table.remove(threads, i)
        else
            assert(status, res)
            connections[#connections + 1] = res
        end
    end
    if #connections == #threads and #connections > 0 then
        socket.select(connections)
    end
end
local equal = true
for i = 2, 50 do equal = equal and results[i] == results[1] end
say("downloads", #results, equal, results[1] > 29200)
say("over", require "spec.over")
]==]

-- An echo server. Arguments: how many connections it is to hold.
programs.copas = [==[
local copas = require "copas"
local socket = require "socket"

local open, most = 0, 0
local server = assert(socket.bind("127.0.0.1", 0, 4096))
print("port " .. select(2, server:getsockname()))
print(require "spec.over")

copas.addserver(server, function(client)
    client = copas.wrap(client)
    open = open + 1
    most = math.max(most, open)
    while true do
        local line = client:receive("*l")
        if not line then break end
        if line == "how many?" then line = tostring(most) end
        client:send(line .. "\n")
    end
    open = open - 1
end)
copas.loop()
]==]

return programs
