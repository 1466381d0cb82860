local ms = require "minisock"
local servers = require "spec.servers"
local support = require "spec.support"

local resty

-- A TLS server that does what a client's first line asks for. Every
-- connection is a thread; "count" tells how many handshakes there were.
local SERVER = [[
import ssl, struct, threading, time
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(@CERT@, @KEY@)
names = []
context.sni_callback = lambda conn, name, context: names.append(name)
shaken = 0

def line(conn):
    got = b""
    while not got.endswith(b"\n"):
        byte = conn.recv(1)
        if not byte: return None
        got += byte
    return got.decode().strip()

def serve(sock):
    global shaken
    try:
        conn = context.wrap_socket(sock, server_side=True)
        shaken += 1
        while True:
            words = line(conn)
            if words is None: break
            word, _, rest = words.partition(" ")
            if word == "say":
                conn.sendall(rest.encode().decode("unicode_escape")
                             .encode("latin-1"))
            elif word == "sleep": time.sleep(int(rest) / 1000)
            elif word == "echo":
                left = int(rest)
                while left > 0:
                    data = conn.recv(min(left, 65536))
                    if not data: return
                    left -= len(data)
                    conn.sendall(data)
            elif word == "take":
                left, total = int(rest), 0
                while left > 0:
                    data = conn.recv(min(left, 65536))
                    if not data: return
                    left -= len(data)
                    total += sum(data)
                conn.sendall(b"%d\n" % total)
            elif word == "give":
                conn.sendall(b"0123456789abcdef" * (int(rest) // 16))
            elif word == "count": conn.sendall(b"%d\n" % shaken)
            elif word == "name":
                conn.sendall(b"%s\n" % str(names[-1]).encode())
            elif word == "version":
                conn.sendall(b"%s\n" % conn.version().encode())
            elif word == "bye":
                conn.unwrap().close()
                return
            elif word == "cut":
                conn.detach and socket.socket(fileno=conn.detach()).close()
                return
            elif word == "reset":
                conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                struct.pack("ii", 1, 0))
                socket.socket(fileno=conn.detach()).close()
                return
    except OSError:
        pass # the client went first, or wanted another server
    finally:
        sock.close()

listener = socket.create_server(("127.0.0.1", 0), backlog=64)
print("port", listener.getsockname()[1])
while True:
    sock, _ = listener.accept()
    threading.Thread(target=serve, args=(sock,), daemon=True).start()
]]

local function quoted(text) return "'" .. text .. "'" end

local function start(certificate)
    return servers.python((SERVER:gsub("@(%u+)@", {
        CERT = quoted(certificate.cert), KEY = quoted(certificate.key),
    }))).port
end

-- Another certificate of the same authority, for other names.
local function certificate(authority, name, names)
    local folder = authority.ca:match("^(.*)/")
    local base = folder .. "/" .. name
    support.spit(base .. ".names", "subjectAltName = " .. names .. "\n")
    local output, status = support.shell(([[
        cd '%s' &&
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
            -subj '/CN=common.example.org' -keyout @.key -out @.csr &&
        openssl x509 -req -in @.csr -CA ca.pem -CAkey ca.key \
            -CAcreateserial -days 2 -extfile @.names -out @.pem
    ]]):gsub("@", name):format(folder))
    assert(status == 0, output)
    return { cert = base .. ".pem", key = base .. ".key" }
end

local function unload()
    resty = nil
    for name in pairs(package.loaded) do
        if name:find("^minisock%.resty") then package.loaded[name] = nil end
    end
    jit.flush()
    collectgarbage()
    collectgarbage()
end

describe("minisock.resty's TLS", function()
    local authority, stranger, port, others, numbered

    setup(function()
        support.setup()
        servers.need("openssl")
        servers.need_module("ssl", "lua-sec")
        authority, stranger =
            servers.certificates(), servers.certificates()
        port = start(authority)
        others = start(certificate(authority, "others",
            "DNS:*.example.org, DNS:Plain.Example.NET, DNS:*.com"))
        numbered = start(certificate(authority, "numbered",
            "DNS:127.0.0.1, DNS:*.0.0.1, IP:127.0.0.9, IP:::1"))
    end)

    teardown(servers.stop)

    before_each(function()
        unload()
        support.setup()
        resty = require "minisock.resty"
        resty.trust(authority.ca)
    end)

    after_each(function()
        unload()
        support.teardown()
    end)

    local function connect(to)
        local sock = resty.tcp()
        sock:settimeout(10000)
        assert.are.equal(1, sock:connect("127.0.0.1", to or port))
        return sock
    end

    local function secure(to)
        local sock = connect(to)
        assert.is_true(sock:sslhandshake())
        return sock
    end

    -- What is said of a name; whether anything is open afterwards, teardown
    -- tells.
    local function verify(to, name)
        local sock = connect(to)
        local done, reason = sock:sslhandshake(nil, name, true)
        if done then
            assert.is_true(done)
            assert.is_truthy(sock:send("count\n"))
            assert.matches("^%d+$", sock:receive())
            assert.are.equal(1, sock:close())
            return "fine"
        end
        -- It is closed at once.
        assert.are.same({ nil, "closed" }, { sock:send("x") })
        assert.are.same({ nil, "closed" }, { sock:close() })
        return reason
    end

    -----------------------------------------------------------------------
    -- Handshakes
    -----------------------------------------------------------------------

    it("is there without verifying", function()
        resty.trust(stranger.ca)
        local sock = connect()
        assert.are.same({ true }, { sock:sslhandshake() })
        assert.are.same({ true }, { sock:sslhandshake() })
        assert.are.equal(8, sock:send("version\n"))
        assert.matches("^TLSv1%.[23]$", sock:receive())
        assert.is_true(secure(others) ~= nil)
        local wrong = connect(others)
        assert.is_true(wrong:sslhandshake(nil, "wrong.test", false))
        assert.are.equal(5, wrong:send("name\n"))
        assert.are.equal("wrong.test", wrong:receive())
    end)

    it("verifies what is asked for", function()
        assert.are.equal("fine", verify(port, "localhost"))
        assert.are.equal("fine", verify(port, "LOCALHOST"))
        assert.are.equal("fine", verify(port, "127.0.0.1"))
        assert.are.equal("fine", verify(port, nil))
    end)

    it("says when the name is another", function()
        for _, name in ipairs({ "other.test", "localhost.test", "local", "",
                "127.0.0.2", "::1", "localhost.", "*", "ocalhost" }) do
            assert.are.equal("certificate host mismatch", verify(port, name),
                name)
        end
    end)

    it("says when the certificate isn't a trusted one", function()
        resty.trust(stranger.ca)
        for _, name in ipairs({ "localhost", "other.test" }) do
            assert.matches("certificate verify failed", verify(port, name))
        end
        resty.trust("/etc/ssl/certs/ca-certificates.crt")
        assert.is_string(verify(port, "localhost"))
        assert.are_not.equal("fine", verify(port, "localhost"))
    end)

    it("says when there is no file to trust", function()
        resty.trust("/nowhere/at/all.pem")
        assert.is_string(verify(port, "localhost"))
        assert.are_not.equal("fine", verify(port, "localhost"))
    end)

    it("takes a star for one label", function()
        for _, name in ipairs({ "a.example.org", "A.Example.ORG",
                "plain.example.net", "xn--a.example.org" }) do
            assert.are.equal("fine", verify(others, name), name)
        end
        for _, name in ipairs({ "example.org", "a.b.example.org",
                ".example.org", "aexample.org", "example.com", "com",
                "common.example.org.", "a.plain.example.net" }) do
            assert.are.equal("certificate host mismatch",
                verify(others, name), name)
        end
    end)

    it("takes addresses for addresses alone", function()
        assert.are.equal("fine", verify(numbered, "127.0.0.9"))
        for _, name in ipairs({ "127.0.0.1", "1.0.0.1" }) do
            assert.are.equal("certificate host mismatch",
                verify(numbered, name), name)
        end
    end)

    it("takes an address of IPv6, too", function()
        assert.are.equal("fine", verify(numbered, "::1"))
    end)

    it("tells the server the name, and no address", function()
        for name, expected in pairs({
            ["localhost"] = "localhost", ["127.0.0.1"] = "None",
            ["some.test"] = "some.test",
        }) do
            local sock = connect()
            assert.is_true(sock:sslhandshake(nil, name))
            sock:send("name\n")
            assert.are.equal(expected, sock:receive())
        end
    end)

    it("says when the peer isn't one of TLS", function()
        local server, addr = support.listener()
        local sock = connect(support.port_of(addr))
        local peer = support.keep(ms.accept(server, 5000))
        assert(ms.write(peer, "220 no TLS here\r\n220 nor here\r\n"))
        local done, reason = sock:sslhandshake()
        assert.is_nil(done)
        assert.is_string(reason)
        assert.are.same({ nil, "closed" }, { sock:close() })
    end)

    it("says when the peer ends it", function()
        local server, addr = support.listener()
        local sock = connect(support.port_of(addr))
        local peer = support.keep(ms.accept(server, 5000))
        assert(ms.shutdown(peer, ms.SHUT_WR))
        local done, reason = sock:sslhandshake()
        assert.is_nil(done)
        assert.is_string(reason)
        assert.are.same({ nil, "closed" }, { sock:close() })
    end)

    it("keeps its timeout with a silent peer", function()
        local server, addr = support.listener()
        for _, verified in ipairs({ false, true }) do
            local sock = connect(support.port_of(addr))
            support.keep(ms.accept(server, 5000))
            sock:settimeouts(100, 20000, 20000)
            local time, done, reason =
                support.timed(sock.sslhandshake, sock, nil, "x", verified)
            assert.is_nil(done)
            assert.are.equal("timeout", reason)
            assert.is_true(time >= 99 and time < 5000, time)
            assert.are.same({ nil, "closed" }, { sock:close() })
        end
    end)

    it("wants no unread data, and a connection", function()
        local sock = resty.tcp()
        assert.is_false((pcall(sock.sslhandshake, sock)))
        local server, addr = support.listener()
        sock = connect(support.port_of(addr))
        local peer = support.keep(ms.accept(server, 5000))
        assert(ms.write(peer, "line\nrest"))
        assert.are.equal("line", sock:receive())
        assert.are.same({ nil, "unread data in buffer" },
            { sock:sslhandshake() })
        assert.are.equal("rest", sock:receive(4))
        assert.are.equal(1, sock:close())
        assert.are.same({ nil, "closed" }, { sock:sslhandshake() })
    end)

    -----------------------------------------------------------------------
    -- Data
    -----------------------------------------------------------------------

    it("takes lines, sizes, texts and what there is", function()
        local sock = secure()
        sock:send("say one\\r\\ntwo\\n12345a--b--\\n--\\nany\\n\n")
        assert.are.equal("one", sock:receive())
        assert.are.equal("two", sock:receive("*l"))
        assert.are.equal("12345", sock:receive(5))
        local upto = sock:receiveuntil("--")
        assert.are.equal("a", upto())
        assert.are.equal("b", upto())
        assert.are.equal("\n", upto())
        local inclusive = sock:receiveuntil("any", { inclusive = true })
        assert.are.equal("\nany", inclusive())
        assert.are.equal("\n", sock:receiveany(100))
        sock:send({ "say ", { "x", 1 }, "\n", "say y\n" })
        assert.are.equal("x1y", sock:receive(3))
    end)

    it("takes a text that comes in pieces", function()
        local sock = secure()
        local upto = sock:receiveuntil("--end--")
        sock:send("say a--e\nsleep 20\nsay nd-\nsleep 20\nsay -b--end--\n")
        assert.are.equal("a", upto())
        assert.are.equal("b", upto())
    end)

    it("brings 1 MiB there and back", function()
        local size = 2^20
        local text = ("0123456789abcdef"):rep(size / 16)
        local sock = secure()
        assert.is_truthy(sock:send("take " .. size .. "\n"))
        assert.are.equal(size, sock:send(text))
        local sum = 0
        for i = 1, 16 do sum = sum + text:byte(i) end
        assert.are.equal(("%d"):format(sum * size / 16), sock:receive())
        assert.is_truthy(sock:send("give " .. size .. "\n"))
        assert.is_true(sock:receive(size) == text)
        assert.is_truthy(sock:send("echo 1000\n"))
        assert.are.equal(1000, sock:send(text:sub(1, 1000)))
        assert.is_true(sock:receive(1000) == text:sub(1, 1000))
    end)

    it("has what came before a timeout", function()
        local sock = secure()
        sock:send("say half\nsleep 500\nsay  of it\\nline\\n\n")
        -- Time for half of it to come, and less than for the rest.
        assert.are.equal("h", sock:receive(1))
        sock:settimeout(50)
        assert.are.same({ nil, "timeout", "alf" }, { sock:receive(100) })
        assert.are.same({ nil, "timeout", "" }, { sock:receive("*l") })
        sock:settimeout(10000)
        assert.are.equal(" of it", sock:receive())
        assert.are.equal("line", sock:receive("*l"))
    end)

    it("keeps a text's beginning after a timeout", function()
        local sock = secure()
        sock:send("say abc--\nsleep 500\nsay end--d\\n\n")
        assert.are.equal("a", sock:receive(1))
        local upto = sock:receiveuntil("--end--")
        sock:settimeout(50)
        local data, reason, partial = upto()
        assert.is_nil(data)
        assert.are.equal("timeout", reason)
        assert.are.equal("bc", partial or "bc")
        sock:settimeout(10000)
        local rest = upto()
        assert.is_true(rest == "" or rest == "bc", rest)
        assert.are.equal("d", sock:receive())
    end)

    it("says when the peer ends it in order", function()
        local sock = secure()
        sock:send("say last\nbye\n")
        assert.are.same({ nil, "closed", "last" }, { sock:receive("*l") })
        assert.are.same({ nil, "closed" }, { sock:receive("*l") })
        assert.are.same({ nil, "closed" }, { sock:setkeepalive() })
        assert.are.equal(1, sock:close())
    end)

    it("has all there was before the end", function()
        local sock = secure()
        sock:send("give 160000\nbye\n")
        local text = sock:receive("*a")
        assert.are.equal(160000, #text)
    end)

    -- In a process of its own, since a failure may be one that never ends, or
    -- a signal.
    local function succeeds(program)
        local output, status = support.run([[
            local ffi = require "ffi"
            local ms = require "minisock"
            local resty = require "minisock.resty"
            require("spec.process").alarm(10)

            local function secure()
                local sock = resty.tcp()
                sock:settimeout(10000)
                assert(sock:connect("127.0.0.1", arg[1]))
                assert(sock:sslhandshake())
                return sock
            end

            -- What ended it is LuaSec's to say, but that it did is certain.
            local function assert_ended(sock)
                local data, reason, partial = sock:receive(1)
                assert(data == nil and type(reason) == "string")
                assert(reason ~= "timeout", reason)
                assert(partial == "", partial)
                for _ = 1, 3 do
                    data, reason = sock:receive(1)
                    assert(data == nil and reason == "closed", reason)
                end
            end
        ]] .. program, port)
        assert.are.equal("", output)
        assert.are.equal(0, status)
    end

    for _, way in ipairs({ "cut", "reset" }) do
        it("says when the peer just goes: " .. way, function()
            succeeds(([[
                local sock = secure()
                sock:send("say last\nsleep 50\n%s\n")
                assert(sock:receive(4) == "last")
                assert_ended(sock)
                assert(sock:close() == 1)
            ]]):format(way))
        end)
    end

    -- Both the data and the end come out of one read.
    it("says when the peer goes right after its last word", function()
        succeeds [[
            for _ = 1, 5 do
                local sock = secure()
                sock:send("say last\ncut\n")
                ms.msleep(50)
                assert(sock:receive(4) == "last")
                assert_ended(sock)
                assert(sock:close() == 1)
            end
        ]]
    end)

    it("is closed, whether the peer has gone or not", function()
        succeeds [[
            for _, way in ipairs { "bye", "cut", "reset", "sleep 1" } do
                for _ = 1, 3 do
                    local sock = secure()
                    sock:send("say x\n" .. way .. "\n")
                    ms.msleep(30)
                    assert(sock:close() == 1)
                end
            end
        ]]
    end)

    it("is kept or not, whether the peer has gone or not", function()
        succeeds [[
            for _, way in ipairs { "bye", "cut", "reset" } do
                local sock = secure()
                sock:send("sleep 50\n" .. way .. "\n")
                assert(sock:setkeepalive() == 1)
                ms.msleep(150)
                sock = secure()
                assert(sock:getreusedtimes() == 0)
            end
        ]]
    end)

    for _, way in ipairs({ "bye", "cut", "reset" }) do
        it("says when what is sent can't go out: " .. way, function()
            succeeds(([[
                local sock = secure()
                sock:send("%s\n")
                local sent, reason
                for _ = 1, 100 do
                    sent, reason = sock:send("x")
                    if not sent then break end
                    ms.msleep(10)
                end
                assert(sent == nil and type(reason) == "string", reason)
                assert(reason ~= "timeout", reason)
                sent, reason = sock:send("x")
                assert(sent == nil and reason == "closed", reason)
                assert(sock:close() == 1)
            ]]):format(way))
        end)
    end

    it("keeps a send's timeout", function()
        local sock = secure()
        sock:send("sleep 3000\n")
        sock:settimeouts(10000, 100, 10000)
        local time, sent, reason =
            support.timed(sock.send, sock, ("x"):rep(2^25))
        assert.is_nil(sent)
        assert.are.equal("timeout", reason)
        assert.is_true(time >= 99, time)
        assert.are.same({ nil, "closed" }, { sock:send("x") })
    end)

    it("has options and their values", function()
        local sock = secure()
        assert.is_true(sock:setoption("tcp-nodelay", true))
        assert.are.equal(1, sock:getoption("tcp-nodelay"))
        assert.is_true(sock:setoption("keepalive", true))
        assert.are.equal(1, sock:getoption("keepalive"))
    end)

    -----------------------------------------------------------------------
    -- The pool
    -----------------------------------------------------------------------

    it("is used again without a new handshake", function()
        local sock = connect()
        assert.is_true(sock:sslhandshake(nil, "localhost", true))
        sock:send("count\n")
        local before = sock:receive()
        for i = 1, 3 do
            assert.are.equal(1, sock:setkeepalive())
            sock = connect()
            assert.are.equal(i, sock:getreusedtimes())
            assert.are.equal(true, sock:sslhandshake(nil, "localhost", true))
            sock:send("count\n")
            assert.are.equal(before, sock:receive())
        end
        assert.are.equal(1, sock:close())
    end)

    it("isn't used again when the peer has ended it", function()
        local sock = secure()
        sock:send("sleep 50\nbye\n")
        assert.are.equal(1, sock:setkeepalive())
        ms.msleep(200)
        sock = connect()
        assert.are.equal(0, sock:getreusedtimes())
        assert.is_true(sock:sslhandshake())
    end)

    it("isn't kept with something unread", function()
        local sock = secure()
        sock:send("say more\\nrest\n")
        assert.are.equal("more", sock:receive())
        assert.are.same({ nil, "unread data in buffer" },
            { sock:setkeepalive() })
        assert.are.equal("rest", sock:receive(4))
        sock:send("say x\n")
        ms.msleep(100)
        assert.are.same({ nil, "connection in dubious state" },
            { sock:setkeepalive() })
        assert.are.same({ nil, "closed" }, { sock:close() })
    end)

    it("is closed when it is full, or its time is up", function()
        local first, second = secure(), secure()
        assert.are.equal(1, first:setkeepalive(60000, 1))
        assert.are.equal(1, second:setkeepalive(20))
        ms.msleep(25)
        local sock = connect()
        assert.are.equal(0, sock:getreusedtimes())
    end)

    -----------------------------------------------------------------------
    -- Descriptors
    -----------------------------------------------------------------------

    it("leaves nothing open on a failing path", function()
        local server, addr = support.listener()
        local nobody = support.port_of(addr)
        local before = support.count_descriptors()
        for _ = 1, 20 do
            assert.are_not.equal("fine", verify(port, "other.test"))
            local sock = connect(nobody)
            local peer = assert(ms.accept(server, 5000))
            assert(ms.write(peer, "not TLS, as it seems"))
            assert.is_nil((sock:sslhandshake()))
            ms.close(peer)
            sock = connect(nobody)
            peer = assert(ms.accept(server, 5000))
            sock:settimeout(1)
            assert.is_nil((sock:sslhandshake()))
            ms.close(peer)
        end
        assert.are.equal(before, support.count_descriptors())
        resty.trust("/nowhere")
        for _ = 1, 20 do
            assert.are_not.equal("fine", verify(port, "localhost"))
        end
        resty.trust(stranger.ca)
        for _ = 1, 20 do
            assert.are_not.equal("fine", verify(port, "localhost"))
        end
        assert.are.equal(before, support.count_descriptors())
    end)

    it("is closed when nobody has it any more", function()
        local before = support.count_descriptors()
        for _ = 1, 10 do secure() end
        support.wait_for("them to be collected", function()
            jit.flush()
            collectgarbage()
            return support.count_descriptors() == before
        end)
    end)
end)

describe("minisock.resty without LuaSec", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("says what to install, and goes on without TLS", function()
        local output, status = support.run([[
            package.preload.ssl = function() error("none here") end
            local ms = require "minisock"
            local resty = require "minisock.resty"
            local server, addr = assert(ms.bind("127.0.0.1", 0))
            local sock = resty.tcp()
            sock:settimeout(5000)
            assert(sock:connect("127.0.0.1", ms.parseaddr(addr).port))
            local peer = assert(ms.accept(server, 5000))
            local done, reason = sock:sslhandshake(nil, "localhost", true)
            print(done, reason:find("lua-sec", 1, true) ~= nil,
                reason:find("LuaSec", 1, true) ~= nil)
            assert(ms.write(peer, "line\n"))
            print(sock:receive())
            print(sock:send("x"), sock:close())
        ]])
        assert.are.equal("nil\ttrue\ttrue\nline\n1\t1\n", output)
        assert.are.equal(0, status)
    end)
end)
