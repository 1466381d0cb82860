local ms = require "minisock"
local programs = require "spec.luasocket_programs"
local servers = require "spec.servers"
local support = require "spec.support"

local PACKAGES = {
    ["socket"] = "lua-socket", ["ssl"] = "lua-sec", ["copas"] = "lua-copas",
    ["redis"] = "lua-redis",
}

-- Takes what LuaSocket's clients say, and tells what it got at the end.
local SMTP = [[
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1])
while True:
    peer, _ = listener.accept()
    lines = peer.makefile("rwb", buffering=0)
    def answer(text): lines.write(text.encode() + b"\r\n")
    answer("220 ready")
    while True:
        line = lines.readline().decode().strip()
        word = line[:4].upper()
        if word == "EHLO": answer("250-hello"); answer("250 8BITMIME")
        elif word == "MAIL" and "nobody@" in line: answer("550 not you")
        elif word in ("MAIL", "RCPT"): print(line); answer("250 fine")
        elif word == "DATA":
            answer("354 go on")
            text = []
            while True:
                part = lines.readline().decode()
                if part == ".\r\n": break
                text.append(part[1:] if part.startswith(".") else part)
            for part in text:
                if part.strip() in ("first", ".", "last", "second") \
                        or part.lower().startswith("subject"):
                    print("text", part.strip())
            print("end of text")
            answer("250 taken")
        elif word == "QUIT": answer("221 bye"); break
        elif word == "": break
        else: answer("502 what?")
    lines.close(); peer.close()
]]

local FTP = [[
files = {}
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1])
while True:
    peer, _ = listener.accept()
    lines = peer.makefile("rwb", buffering=0)
    def answer(text): lines.write(text.encode() + b"\r\n")
    answer("220 ready")
    data = None
    while True:
        line = lines.readline().decode().strip()
        word, _, rest = line.partition(" ")
        if word.upper() == "USER": answer("331 password?")
        elif word.upper() == "PASS":
            answer("230 in" if rest == "secret" else "530 no")
        elif word.upper() in ("TYPE", "CWD"): answer("200 fine")
        elif word.upper() in ("PASV", "EPSV"):
            data = socket.create_server(("127.0.0.1", 0))
            port = data.getsockname()[1]
            if word.upper() == "EPSV": answer("229 here (|||%d|)" % port)
            else: answer("227 here (127,0,0,1,%d,%d)"
                         % (port >> 8, port & 255))
        elif word.upper() in ("RETR", "STOR"):
            name = rest.lstrip("/")
            if word.upper() == "RETR" and name not in files:
                answer("550 no such file")
                data.close()
                continue
            answer("150 go on")
            stream, _ = data.accept()
            if word.upper() == "RETR": stream.sendall(files[name])
            else: files[name] = stream.makefile("rb").read()
            stream.close(); data.close()
            answer("226 done")
        elif word.upper() == "QUIT": answer("221 bye"); break
        elif word == "": break
        else: answer("502 what?")
    lines.close(); peer.close()
]]

-- Opens the connections a few hundred at a time, so that the server's queue is
-- never full; when all of them are open, each sends what no other does.
local CROWD = [[
import resource
port, count = int(sys.argv[1]), int(sys.argv[2])
def line(peer):
    data = b""
    while not data.endswith(b"\n"):
        part = peer.recv(4096)
        if not part: raise EOFError("the server closed a connection")
        data += part
    return data
peers = []
while len(peers) < count:
    more = [socket.create_connection(("127.0.0.1", port), 30)
            for _ in range(min(500, count - len(peers)))]
    for peer in more: peer.sendall(b"hello\n")
    for peer in more: assert line(peer) == b"hello\n"
    peers += more
for i, peer in enumerate(peers): peer.sendall(b"message %d\n" % i)
for i, peer in enumerate(peers): assert line(peer) == b"message %d\n" % i
peers[0].sendall(b"how many?\n")
print(len(peers), "were answered,", int(line(peers[0])), "were open")
]]

local EXPECTED = {}

EXPECTED.http = [[
GET: hello
 200 HTTP/1.1 200 OK
length: 6
404: not here
 404
redirected: hello
 200
not redirected: 1 302 true
loop: true 302
chunked: the same 200 chunked
POST: a=1&b=2 200 POST application/x-www-form-urlencoded
large POST: the same 200
PUT: 1 200 PUT x/y the same
chunked POST: 1 200 without a length
HEAD: 1 200 6
authorized: Basic bWU6c2VjcmV0
base64: 1 aGVsbG8K
proxy: 200
by name: hello

nobody: nil connection refused
no such name: nil
url: 127.0.0.1 /a/b c d=e f
absolute: http://h/c
by hand: HTTP/1.1 200 OK hello

closed: nil closed 0
]]

EXPECTED.https = [[
GET: hello
 200 HTTP/1.1 200 OK
length: 6
POST: a=1&b=2 200
verified: 1 200 29200
not verified: nil certificate verify failed
large POST: the same 200
no TLS there: nil
taken: -1 true
handshake: true
protocol: true
send: 23 nil nil
line: HTTP/1.1 200 OK nil nil
rest: hello

close:
]]

EXPECTED.tls = [[
handshake: true
to the server: the same
to the client: the same
close:
end: closed
close:
]]

EXPECTED.redis = [[
TCP: true
set: true
get: an animal
get nothing: nil
incrby: 5
exists: true false
set large: true
get large: the same
error: false
hgetall: {color=red size=big}
lrange: {one two}
pipeline: 2000 1 1000
transaction: {true 2 2} 3
Unix: true
set: true
get: an animal
get nothing: nil
incrby: 5
exists: true false
set large: true
get large: the same
error: false
hgetall: {color=red size=big}
lrange: {one two}
pipeline: 2000 1 1000
transaction: {true 2 2} 3
subscribed: news
message: news hello
quit: true
nobody: false
]]

EXPECTED.mail_and_files = [[
smtp: 1
refused: nil 550 not you
put: 1800000
get: the same
none: nil 550 no such file
password: nil 530 no
]]

EXPECTED.downloads = [[
downloads: 50 true true
]]

EXPECTED.mail = table.concat({
    "MAIL FROM:<me@here.example>", "RCPT TO:<you@there.example>",
    "RCPT TO:<all@there.example>", "text Subject: a subject", "text first",
    "text .", "text last", "text second", "end of text",
}, "\n")

local PLACES = { "LuaSocket", "minisock" }

describe("of what is built on LuaSocket", function()
    local http, redis, paths

    -- Where the drop-in is, before the path of LuaSocket's own.
    setup(function()
        support.setup()
        for name, package_name in pairs(PACKAGES) do
            servers.need_module(name, package_name)
        end
        http = servers.http()
        redis = servers.redis()
        paths = {
            LuaSocket = package.path,
            minisock = servers.luasocket_path(),
        }
    end)

    teardown(servers.stop)

    before_each(support.setup)
    after_each(support.teardown)

    local function command(place, name, ...)
        local file = support.spit(support.tmpname(), programs.text(name))
        return ("env LUA_PATH='%s' %s %s %s"):format(paths[place],
            support.luajit, file, table.concat({ ... }, " "))
    end

    local function run(place, name, ...)
        return (support.shell(command(place, name, ...)))
    end

    for _, place in ipairs(PLACES) do
        local function expected(name)
            return EXPECTED[name] .. "over: " .. place .. "\n"
        end

        describe("over " .. place .. ",", function()
            it("socket.http", function()
                assert.are.equal(expected("http"),
                    run(place, "http", http.port))
            end)

            it("ssl.https and ssl.wrap", function()
                assert.are.equal(expected("https"), run(place, "https",
                    http.port, http.tls_port, http.ca))
            end)

            it("TLS of both ends", function()
                assert.are.equal(expected("tls"),
                    run(place, "tls", http.cert, http.key, http.ca))
            end)

            it("curl at a server of LuaSec", function()
                local server = support.spawn(command(place, "https_server",
                    http.cert, http.key))
                local port = server:expect("^port (%d+)")
                assert.are.equal(place .. ": GET /x HTTP/1.1\n",
                    (support.shell(("curl -sS --cacert %s --max-time 10 "
                        .. "https://localhost:%s/x"):format(http.ca, port))))
            end)

            it("redis-lua, over TCP and Unix", function()
                assert.are.equal(expected("redis"),
                    run(place, "redis", redis.port, redis.path))
            end)

            it("socket.smtp and socket.ftp", function()
                local smtp, ftp = servers.python(SMTP), servers.python(FTP)
                assert.are.equal(expected("mail_and_files"),
                    run(place, "mail_and_files", smtp.port, ftp.port))
                local got = {}
                repeat
                    got[#got + 1] = smtp.process:line()
                until got[#got] == "end of text"
                assert.are.equal(EXPECTED.mail, table.concat(got, "\n"))
            end)

            it("the manual's echo server", function()
                local server = support.spawn(command(place, "echo_server"))
                local port = server:expect("on port (%d+)$")
                for i = 1, 3 do
                    local fd = support.keep(ms.connect("127.0.0.1", port,
                        2000))
                    assert(ms.sendall(fd, "hello " .. i .. "\r\n"))
                    assert.are.equal("hello " .. i .. "\n", ms.read(fd, 2000))
                    assert.are.equal("", ms.read(fd, 2000))
                end
            end)

            it("the manual's daytime client", function()
                local server = servers.python([[
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
print("port", s.getsockname()[1])
while True:
    data, peer = s.recvfrom(100)
    s.sendto(b"a date for " + data + b"\n", peer)
]])
                assert.are.equal("a date for anything\n",
                    run(place, "daytime", "localhost", server.port))
            end)

            it("fifty downloads at once", function()
                assert.are.equal(expected("downloads"),
                    run(place, "downloads", http.port))
            end)
        end)
    end

    -- What python3 says that it saw, and the server.
    local function crowd(place, count)
        local script = support.spit(support.tmpname(),
            ("ulimit -n %d && exec %s\n")
                :format(count + 100, command(place, "copas")))
        local server = support.spawn("sh " .. script)
        local port = server:expect("^port (%d+)")
        assert.are.equal(place, server:line())
        local file = support.spit(support.tmpname(), "import socket, sys\n"
            .. CROWD)
        local output = support.shell(
            ("ulimit -n %d && timeout 60 python3 %s %s %d")
                :format(count + 100, file, port, count))
        return output, server
    end

    it("Copas over LuaSocket stops at 1,024 descriptors", function()
        local output, server = crowd("LuaSocket", 1500)
        assert.is_nil(output:match("were answered"), output)
        server:expect("too large")
    end)

    it("Copas over minisock holds thousands of connections", function()
        local count = support.emulated and 1500 or 5000
        assert.are.equal(("%d were answered, %d were open\n")
            :format(count, count), (crowd("minisock", count)))
    end)
end)
