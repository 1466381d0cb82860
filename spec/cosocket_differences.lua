--- What comes out otherwise by design, and what minisock.resty says then:
--- inputs that spec/cosocket_scenarios.lua leaves out.
local cosockets = require "spec.cosocket_support"

local connected, udp_connected = cosockets.connected, cosockets.udp_connected
local fails, try, used = cosockets.fails, cosockets.try, cosockets.used
local send_all = cosockets.send_all
local ECHO, UDP_ECHO = cosockets.ECHO, cosockets.UDP_ECHO

local differences = {}

local function differs(why, name, expected, run, ...)
    differences[#differences + 1] = {
        name = name,
        peers = { ... },
        run = run,
        differs = why,
        expected = expected,
    }
end

---------------------------------------------------------------- arguments --

local COUNT = "arguments aren't counted: a missing one is nil, one too many "
    .. "is ignored"

differs(COUNT, "one too many for a connection", {
    '"settimeout" true',
    '"settimeouts" true',
    '"receive" true "a"',
    '"receiveany" true "bc"',
    '"receiveuntil" "function"',
    '"iterator" true "d"',
    '"send" true 1',
    '"getreusedtimes" true 0',
    '"bind" true true',
    '"connect" true 1',
    '"close" true 1',
    '"setkeepalive" true 1',
}, function(socket, say, port)
    local sock = connected(socket, port)
    say("settimeout", try(sock.settimeout, sock, 2000, 1))
    say("settimeouts", try(sock.settimeouts, sock, 2000, 2000, 2000, 1))
    say("receive", try(sock.receive, sock, 1, 2))
    say("receiveany", try(sock.receiveany, sock, 2, 3))
    say("receiveuntil", type(select(2, try(sock.receiveuntil, sock, "d", {},
        1))))
    say("iterator", try(sock:receiveuntil("e"), 1, 2))
    say("send", try(sock.send, sock, "a", "b"))
    say("getreusedtimes", try(sock.getreusedtimes, sock, 1))
    say("bind", try(sock.bind, sock, "127.0.0.1", 1))
    say("connect", try(sock.connect, sock, "127.0.0.1", port, {}, 1))
    say("close", try(sock.close, sock, 1))
    sock = connected(socket, port)
    sock:receive(5)
    say("setkeepalive", try(sock.setkeepalive, sock, 1000, 10, 1))
end, { "tcp", "send:abcde", "drain" })

differs(COUNT, "one too few for a connection", {
    '"settimeout" true',
    '"settimeouts" true',
    '"settimeouts" true',
    '"settimeouts" true',
    '"send" true 3',
    '"receiveany" "raised" "bad max argument"',
    '"receiveuntil" "raised" "string expected"',
    '"bind" "raised" "string expected"',
    '"connect" "raised" "string expected"',
}, function(socket, say, port)
    local sock = connected(socket, port)
    say("settimeout", try(sock.settimeout, sock))
    say("settimeouts", try(sock.settimeouts, sock))
    say("settimeouts", try(sock.settimeouts, sock, 1))
    say("settimeouts", try(sock.settimeouts, sock, 1, 1))
    sock:settimeout(2000)
    say("send", try(sock.send, sock))
    say("receiveany", try(sock.receiveany, sock))
    say("receiveuntil", try(sock.receiveuntil, sock))
    say("bind", try(sock.bind, sock))
    say("connect", try(sock.connect, sock))
end, ECHO)

differs(COUNT, "how many arguments sslhandshake takes", {
    'true nil "closed"',
}, function(socket, say, port)
    local sock = connected(socket, port)
    sock:close()
    say(try(sock.sslhandshake, sock, nil, nil, nil, nil, 1))
end, ECHO)

differs(COUNT, "an explicit nil", {
    '"receive" true "line"',
    '"receiveuntil" true "function"',
    '"iterator" true "part"',
    '"setpeername" true 1',
}, function(socket, say, port)
    local sock = connected(socket, port)
    say("receive", try(sock.receive, sock, nil))
    local done, read = try(sock.receiveuntil, sock, "-", nil)
    say("receiveuntil", done, type(read))
    say("iterator", try(sock:receiveuntil("-"), nil))
    local udp = udp_connected(socket, port)
    say("setpeername", try(udp.setpeername, udp, "127.0.0.1", nil))
end, { "tcp", "send:line\\npart-" })

differs(COUNT, "counts of arguments before states", {
    'true nil "closed"',
    'true nil "closed"',
    'true nil "closed"',
    'true nil "closed"',
    'true nil "closed"',
    'true nil "closed"',
    'true nil "closed"',
}, function(socket, say)
    local sock = socket.tcp()
    say(try(sock.receive, sock, 1, 2))
    say(try(sock.receiveany, sock))
    say(try(sock.send, sock))
    say(try(sock.close, sock, 1))
    sock = socket.udp()
    say(try(sock.receive, sock, 1, 2))
    say(try(sock.send, sock))
    say(try(sock.close, sock, 1))
end)

differs(COUNT, "how many arguments the constructors take", {
    '"tcp" true <table>',
    '"tcp" true <table>',
    '"stream" true <table>',
    '"stream" true <table>',
    '"udp" true <table>',
    '"udp" true <table>',
    '"raised" "string expected"',
}, function(socket, say)
    for _, name in ipairs({ "tcp", "stream", "udp" }) do
        say(name, try(socket[name], 1))
        say(name, try(socket[name], nil))
    end
    say(try(socket.connect))
end)

differs(COUNT, "how many arguments udp's methods take", {
    '"setpeername" "raised" "string expected"',
    '"setpeername" true 1',
    '"send" true 1',
    '"send" true 1',
    '"receive" true "n"',
    '"settimeout" true',
    '"settimeout" true',
    '"close" true 1',
}, function(socket, say, port)
    local sock = udp_connected(socket, port)
    say("setpeername", try(sock.setpeername, sock))
    say("setpeername", try(sock.setpeername, sock, "127.0.0.1", port, 1))
    say("send", try(sock.send, sock))
    say("send", try(sock.send, sock, "a", "b"))
    say("receive", try(sock.receive, sock, 1, 2))
    say("settimeout", try(sock.settimeout, sock))
    say("settimeout", try(sock.settimeout, sock, 1, 2))
    say("close", try(sock.close, sock, 1))
end, UDP_ECHO)

differs("receiveuntil doesn't look at the object; its iterator does",
    "receiveuntil of what is no object", {
    'true false',
}, function(socket, say)
    local sock = socket.tcp()
    say(fails(function() return sock.receiveuntil(1, "x")() end),
        fails(sock.receiveuntil, 1, "x"))
end)

differs("an object is what a constructor made",
    "connect of a table that is no object", {
    'true',
}, function(socket, say, port)
    say(fails(socket.tcp().connect, {}, "127.0.0.1", port))
end, ECHO)

differs("the words of the nested ones are used for all",
    "send of what can't be sent", {
    '"raised" "bad data type function found"',
    '"raised" "bad data type thread found"',
    '"raised" "bad data type function found"',
}, function(socket, say, port)
    local sock = connected(socket, port)
    say(try(sock.send, sock, print))
    say(try(sock.send, sock, coroutine.create(function() end)))
    sock = udp_connected(socket, port)
    say(try(sock.send, sock, print))
end, ECHO)

------------------------------------------------------------- receiveuntil --

local HALF = "half of the text stays in the buffer"

differs(HALF, "half a pattern, a timeout and another read", {
    '"-"',
    '"-ab"',
}, function(socket, say, port)
    local sock = connected(socket, port, 80)
    local read = sock:receiveuntil("--ab")
    assert(not read())
    sock:settimeout(2000)
    say(sock:receive(1))
    say(read())
end, { "tcp", "send:xy--", "sleep:220", "send:ab--abz" })

differs(HALF, "half a pattern at the end", {
    '0 false nil "closed" "xyz--a"',
    '0 true nil "closed" "xyz--a"',
    '1 false nil "closed" "--a"',
    '1 true nil "closed" "--a"',
    '2 false nil "closed" "z--a"',
    '2 true nil "closed" "z--a"',
    '8 false nil "closed" "xyz--a"',
    '8 true nil "closed" "xyz--a"',
}, function(socket, say, port)
    for _, size in ipairs({ 0, 1, 2, 8 }) do
        for _, inclusive in ipairs({ false, true }) do
            local read = connected(socket, port):receiveuntil("--ab",
                { inclusive = inclusive })
            for _ = 1, size > 0 and math.floor(3 / size) or 0 do
                assert(read(size))
            end
            say(size, inclusive, read(math.max(size, 1) * 8))
        end
    end
end, { "tcp", "send:xyz--a" })

differs(HALF, "half a pattern at the end after a timeout", {
    [[nil "closed" "de\010"]],
}, function(socket, say, port)
    local sock = connected(socket, port, 80)
    local read = sock:receiveuntil("\nf")
    assert(not read())
    sock:settimeout(2000)
    say(read())
end, { "tcp", "send:abc", "sleep:220", "send:de\\n" })

differs(HALF, "setkeepalive after half a pattern", {
    'nil "unread data in buffer"',
    '"--"',
}, function(socket, say, port)
    local sock = connected(socket, port, 100)
    sock:receiveuntil("--ab")()
    say(sock:setkeepalive())
    say(sock:receive(2))
end, { "tcp", "send:xy--", "sleep:3000" })

differs("no piece is longer than its size, but for the text",
    "where pieces end that have half a pattern in them", {
    'false 1 "x - - a b c a b c "',
    'false 2 "x- -a bc ab c"',
    'false 3 "x-- abc abc "',
    'false 5 "x--ab cabc"',
    'true 1 "x - - a b c a b c --abcabd"',
    'true 2 "x- -a bc ab c--abcabd"',
    'true 3 "x-- abc abc --abcabd"',
    'true 5 "x--ab cabc--abcabd"',
}, function(socket, say, port)
    for _, inclusive in ipairs({ false, true }) do
        for _, size in ipairs({ 1, 2, 3, 5 }) do
            local read = connected(socket, port):receiveuntil("--abcabd",
                { inclusive = inclusive })
            local pieces = {}
            repeat
                local piece = read(size)
                pieces[#pieces + 1] = piece
            until not piece
            say(inclusive, size, table.concat(pieces, " "))
        end
    end
end, { "tcp", "send:x--abcabc--abcabd" })

--------------------------------------------------------------------- send --

differs("only close() and setkeepalive() end a connection",
    "close after sending has failed and reading has ended", {
    '1',
    '1',
}, function(socket, say, closed, reset)
    local sock = connected(socket, closed)
    assert(not sock:receive())
    sock:send("a")
    cosockets.sleep(50)
    assert(not sock:send("b"))
    say(sock:close())
    sock = connected(socket, reset)
    sock:send("x")
    assert(not sock:receive())
    assert(not sock:send("a"))
    say(sock:close())
end, { "tcp" }, { "tcp", "read:1", "reset" })

differs("numbers are written as LuaJIT writes them",
    "numbers that are hard to write", {
    'true 3',
    '"nan"',
    'true 19',
    '"1.2345678901235e+14"',
}, function(socket, say, port)
    send_all(socket, say, port, { 0 / 0, 123456789012345 })
end, ECHO)

------------------------------------------------------------------ connect --

local HOSTS = "libc reads addresses, and resolves names"

differs(HOSTS, "hosts that are addresses to libc", {
    '"127.1" 1',
    '"127.1" 1',
    '"0x7f.1" 1',
    '"0x7f.1" 1',
    '"::1" 1',
    '"::1" 1',
}, function(socket, say, port, port6)
    local sock, udp = socket.tcp(), socket.udp()
    for _, host in ipairs({ "127.1", "0x7f.1" }) do
        say(host, sock:connect(host, port))
        say(host, udp:setpeername(host, port))
    end
    say("::1", sock:connect("::1", port6))
    say("::1", udp:setpeername("::1", port6))
end, ECHO, { "tcp6", "drain" })

differs(HOSTS, "names that can't be resolved", {
    'nil "nobody.invalid could not be resolved (...)"',
    'nil "nobody.invalid could not be resolved (...)"',
    'nil "::1] could not be resolved (...)"',
    'nil "::1] could not be resolved (...)"',
    'nil "127.0.0.1/x could not be resolved (...)"',
    'nil "127.0.0.1/x could not be resolved (...)"',
    'nil "a:b could not be resolved (...)"',
    'nil "a:b could not be resolved (...)"',
    'nil "http://127.0.0.1 could not be resolved (...)"',
    'nil "http://127.0.0.1 could not be resolved (...)"',
}, function(socket, say, port)
    local sock, udp = socket.tcp(), socket.udp()
    sock:settimeout(5000)
    udp:settimeout(5000)
    for _, host in ipairs({ "nobody.invalid", "::1]", "127.0.0.1/x", "a:b",
            "http://127.0.0.1" }) do
        local done, why = sock:connect(host, port)
        say(done, (why:gsub("%(.*%)", "(...)")))
        done, why = udp:setpeername(host, port)
        say(done, (why:gsub("%(.*%)", "(...)")))
    end
end, ECHO)

differs("a host has no port in it", "a port in the host", {
    'nil "string"',
    'nil "string"',
}, function(socket, say, port, port6, nobody)
    local sock = socket.tcp()
    local done, why = sock:connect("127.0.0.1:" .. port, nobody)
    say(done, type(why))
    done, why = sock:connect("[::1]:" .. port6, nobody)
    say(done, type(why))
end, ECHO, { "tcp6", "echo" }, { "refused" })

differs("a number beyond all integers is a number",
    "ports beyond all integers", {
    '2147483648 nil "bad port number: 2147483648"',
    '2147483648 nil "bad port number: 2147483648"',
    '1099511627776 nil "bad port number: 1099511627776"',
    '1099511627776 nil "bad port number: 1099511627776"',
    'inf nil "bad port number: inf"',
    'inf nil "bad port number: inf"',
    'nan nil "missing the port number"',
    'nan nil "missing the port number"',
}, function(socket, say)
    local sock, udp = socket.tcp(), socket.udp()
    for _, port in ipairs({ 2 ^ 31, 2 ^ 40, 1 / 0, 0 / 0 }) do
        say(port, sock:connect("127.0.0.1", port))
        say(port, udp:setpeername("127.0.0.1", port))
    end
end)

----------------------------------------------------------------- settings --

local TIMEOUTS = "a timeout is a number that isn't negative"

differs(TIMEOUTS, "timeouts that are no numbers", {
    '"x" "raised" "bad timeout value"',
    '"x" "raised" "bad timeout value"',
    '"x" "raised" "bad timeout value"',
    '"x" "raised" "bad timeout value"',
    '"x" "raised" "bad timeout value"',
    'true "raised" "bad timeout value"',
    'true "raised" "bad timeout value"',
    'true "raised" "bad timeout value"',
    'true "raised" "bad timeout value"',
    'true "raised" "bad timeout value"',
    '<table> "raised" "bad timeout value"',
    '<table> "raised" "bad timeout value"',
    '<table> "raised" "bad timeout value"',
    '<table> "raised" "bad timeout value"',
    '<table> "raised" "bad timeout value"',
}, function(socket, say)
    local sock, udp = socket.tcp(), socket.udp()
    for _, timeout in ipairs({ "x", true, {} }) do
        say(timeout, try(sock.settimeout, sock, timeout))
        say(timeout, try(sock.settimeouts, sock, timeout, 1, 1))
        say(timeout, try(sock.settimeouts, sock, 1, timeout, 1))
        say(timeout, try(sock.settimeouts, sock, 1, 1, timeout))
        say(timeout, try(udp.settimeout, udp, timeout))
    end
end)

differs(TIMEOUTS, "negative timeouts of udp", {
    '"raised" "bad timeout value"',
    '"raised" "bad timeout value"',
}, function(socket, say)
    local udp = socket.udp()
    say(try(udp.settimeout, udp, -1))
    say(try(udp.settimeout, udp, 0 / 0))
end)

differs(TIMEOUTS, "timeouts beyond all integers", {
    '2147483648 true',
    '2147483648 true',
    '2147483648 true',
    '2147483648 true',
    '1099511627776 true',
    '1099511627776 true',
    '1099511627776 true',
    '1099511627776 true',
    'inf true',
    'inf true',
    'inf true',
    'inf true',
    '"x"',
}, function(socket, say, port)
    local sock = connected(socket, port)
    for _, timeout in ipairs({ 2 ^ 31, 2 ^ 40, 1 / 0 }) do
        say(timeout, try(sock.settimeouts, sock, timeout, 1, 1))
        say(timeout, try(sock.settimeouts, sock, 1, timeout, 1))
        say(timeout, try(sock.settimeouts, sock, 1, 1, timeout))
        say(timeout, try(sock.settimeout, sock, timeout))
    end
    -- The last one is what this waits for.
    sock:send("x")
    say(sock:receive(1))
end, ECHO)

differs("minisock.resty has functions of its own", "what there is beside", {
    '"function" "function"',
}, function(socket, say)
    say(type(socket.install), type(socket.trust))
end)

differs("only a cosocket can show a certificate", "setclientcert", {
    'nil "client certificates are for cosockets alone"',
}, function(socket, say, port)
    say(connected(socket, port):setclientcert(nil, nil))
end, ECHO)

---------------------------------------------------------------- keepalive --

differs("a bad size of a pool always raises",
    "a later setkeepalive with a bad size", {
    [["raised" "bad \034pool_size\034 option value"]],
    '"raised" "number expected"',
    '"x"',
}, function(socket, say, port)
    local a, b = used(socket, port, { 0, 0 })
    assert(a:setkeepalive())
    say(try(b.setkeepalive, b, 1000, 0))
    say(try(b.setkeepalive, b, 1000, "x"))
    b:send("x")
    say(b:receive(1))
end, ECHO)

local BACKLOG = "there is no backlog: nobody could give a connection back"

differs(BACKLOG, "a connect without a place in its pool", {
    '1',
    '1',
    '1',
}, function(socket, say, port)
    local options = { pool_size = 1, backlog = 0 }
    local first, second = socket.tcp(), socket.tcp()
    first:connect("127.0.0.1", port, options)
    say(second:connect("127.0.0.1", port, options))
    say(second:connect("127.0.0.1", port))
    say(first:setkeepalive())
end, ECHO)

differs(BACKLOG, "a connect that waits for a place in its pool", {
    '1',
}, function(socket, say, port)
    local options = { pool_size = 1, backlog = 1 }
    local first, second = socket.tcp(), socket.tcp()
    second:settimeout(50)
    first:connect("127.0.0.1", port, options)
    say(second:connect("127.0.0.1", port, options))
end, ECHO)

differs(BACKLOG, "the backlog without a pool's size", {
    '1',
}, function(socket, say, port)
    local options = { backlog = 0, pool = "backlog" .. port }
    local socks = {}
    for i = 1, 30 do
        socks[i] = socket.tcp()
        assert(socks[i]:connect("127.0.0.1", port, options))
    end
    say(socket.tcp():connect("127.0.0.1", port, options))
end, ECHO)

----------------------------------------------------------------------- udp --

differs("an object without its peer is closed",
    "udp to a missing Unix path", {
    'nil "closed"',
    'nil "closed"',
    'nil "closed"',
}, function(socket, say, missing, stream)
    local sock = socket.udp()
    assert(not sock:setpeername("unix:" .. missing))
    say(sock:send("x"))
    say(sock:close())
    sock = socket.udp()
    assert(not sock:setpeername("unix:" .. stream))
    say(sock:close())
end, { "missing" }, { "unix", "drain" })

differs("a size beyond all integers is a size",
    "udp receive of a size beyond all integers", {
    '"hello"',
}, function(socket, say, port)
    local sock = udp_connected(socket, port)
    sock:send("hello")
    say(sock:receive(1 / 0))
end, UDP_ECHO)

return differences
