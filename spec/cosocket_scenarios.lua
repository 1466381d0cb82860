--- What is done to nginx's cosockets and to minisock.resty alike, and has to
--- come out the same. spec/cosocket_differences.lua has what doesn't.
local cosockets = require "spec.cosocket_support"

local connected, udp_connected = cosockets.connected, cosockets.udp_connected
local fails, try, used = cosockets.fails, cosockets.try, cosockets.used
local serialise, send_all = cosockets.serialise, cosockets.send_all
local ECHO, UDP_ECHO = cosockets.ECHO, cosockets.UDP_ECHO

local scenarios = {}

local function scenario(name, run, ...)
    scenarios[#scenarios + 1] = { name = name, peers = { ... }, run = run }
end

----------------------------------------------------------------- timeouts --

local DRIP = { "tcp" }
for i = 1, 10 do
    DRIP[#DRIP + 1] = "send:" .. i % 10
    DRIP[#DRIP + 1] = "sleep:30"
end
DRIP[#DRIP + 1] = "send:\\nab"

scenario("the read timeout is for a wait: receive(10)",
    function(socket, say, port)
        local sock = connected(socket, port, 200)
        say(sock:receive(10))
    end, DRIP)

scenario("the read timeout is for a wait: a line",
    function(socket, say, port)
        local sock = connected(socket, port, 200)
        say(sock:receive())
    end, DRIP)

scenario("the read timeout is for a wait: all",
    function(socket, say, port)
        local sock = connected(socket, port, 200)
        say(sock:receive("*a"))
    end, DRIP)

scenario("the read timeout is for a wait: receiveuntil",
    function(socket, say, port)
        local sock = connected(socket, port, 200)
        say(sock:receiveuntil("\nab")())
    end, DRIP)

local SLOW = { "tcp", "send:abc", "sleep:220", "send:de\\nfg\\n" }

for _, pattern in ipairs({ 6, "*l", "*a" }) do
    scenario(("after a timeout of receive(%s)"):format(pattern),
        function(socket, say, port)
            local sock = connected(socket, port, 80)
            say(sock:receive(pattern))
            sock:settimeout(2000)
            say(sock:receive())
            say(sock:receive())
            say(sock:receive())
        end, SLOW)
end

-- Ends without half of the text that is looked for.
local SLOW_PARTS = { "tcp", "send:abc", "sleep:220", "send:de\\nfg" }

scenario("after a timeout of receiveuntil", function(socket, say, port)
    local sock = connected(socket, port, 80)
    local read = sock:receiveuntil("\nf")
    say(read())
    sock:settimeout(2000)
    say(read())
    say(read())
    say(read())
end, SLOW_PARTS)

scenario("after a timeout of receiveuntil with a size",
    function(socket, say, port)
        local sock = connected(socket, port, 80)
        local read = sock:receiveuntil("\nf")
        say(read(2))
        say(read(2))
        sock:settimeout(2000)
        say(read(2))
        say(read(2))
        say(read(2))
        say(read(2))
        say(read(2))
    end, SLOW_PARTS)

scenario("after a timeout of receiveany", function(socket, say, port)
    local sock = connected(socket, port, 80)
    say(sock:receiveany(10))
    say(sock:receiveany(10))
    say(sock:receiveany(10))
    sock:settimeout(2000)
    say(sock:receiveany(4))
    say(sock:receiveany(10))
    say(sock:receiveany(10))
    say(sock:receiveany(10))
end, SLOW)

local SILENT = { "tcp", "sleep:3000" }

for _, pattern in ipairs({ 5, "*l", "*a" }) do
    scenario(("receive(%s) of nothing"):format(pattern),
        function(socket, say, port)
            local sock = connected(socket, port, 50)
            say(sock:receive(pattern))
            say(sock:receive(pattern))
            say(sock:send("x"))
            say(sock:close())
        end, SILENT)
end

------------------------------------------------------------------- receive --

local CLOSES = { "tcp", "send:ab\\ncd" }

for _, pattern in ipairs({ 3, 6, 0, "*l", "*a" }) do
    scenario(("receive(%s) up to the close"):format(pattern),
        function(socket, say, port)
            local sock = connected(socket, port)
            for _ = 1, 5 do say(sock:receive(pattern)) end
            say(sock:send("x"))
            say(sock:close())
        end, CLOSES)
end

scenario("receiveuntil up to the close", function(socket, say, port)
    local sock = connected(socket, port)
    local read = sock:receiveuntil("\n")
    for _ = 1, 4 do say(read()) end
    say(sock:receive())
    say(sock:close())
end, CLOSES)

scenario("receiveuntil with sizes up to the close", function(socket, say, port)
    local sock = connected(socket, port)
    local read = sock:receiveuntil("\n")
    for _ = 1, 7 do say(read(1)) end
    say(read())
    say(sock:close())
end, CLOSES)

scenario("receiveany up to the close", function(socket, say, port)
    local sock = connected(socket, port)
    say(sock:receive())
    for _ = 1, 4 do say(sock:receiveany(100)) end
    say(sock:receive())
    say(sock:close())
end, CLOSES)

scenario("patterns of receive", function(socket, say, port)
    local sock = connected(socket, port)
    for _, pattern in ipairs({ "*l", "l", "l*", "*L", "*line", "*n", "", "*",
            "a", "**l", "*ll", "3", "3.5", " 3", "0x3", "1e0", 3.5, 0, -1,
            "-1", "0", true, false, {}, 2 ^ 40, 2 ^ 31, 2 ^ 32 + 1, 1 / 0,
            0 / 0, -1 / 0, "nan", "*all", "abc" }) do
        if type(pattern) == "number" and pattern > 2 ^ 30 then
            sock:settimeout(30)
        else
            sock:settimeout(2000)
        end
        say(pattern, "is", try(sock.receive, sock, pattern))
    end
end, { "tcp", "send:" .. ("1234567890\\n"):rep(40), "sleep:3000" })

scenario("receive without a pattern", function(socket, say, port)
    local sock = connected(socket, port)
    say(sock:receive())
    say("table as self", try(sock.receive, {}))
    say("none", fails(sock.receive))
    say("number as self", fails(sock.receive, 1))
end, { "tcp", "send:a\\nb\\n", "sleep:100" })

scenario("lines and their CR", function(socket, say, port)
    local sock = connected(socket, port)
    for _ = 1, 8 do say(sock:receive("*l")) end
end, { "tcp", "send:a\\rb\\r\\n\\r\\n\\n\\r\\r\\nx\\ry\\n\\x00\\xff\\n\\r" })

scenario("a CR and its LF in two packets", function(socket, say, port)
    local sock = connected(socket, port)
    for _ = 1, 3 do say(sock:receive("*l")) end
end, { "tcp", "send:ab\\r", "sleep:30", "send:\\ncd", "sleep:30", "send:\\n" })

scenario("partial lines and their CR", function(socket, say, port)
    local sock = connected(socket, port, 80)
    say(sock:receive("*l"))
    sock:settimeout(2000)
    say(sock:receive("*l"))
    say(sock:receive("*l"))
end, { "tcp", "send:ab\\r", "sleep:220", "send:\\ncd\\r" })

-- Around the sizes that buffers may have.
local SIZES = { 4095, 4096, 4097, 8192, 65535, 65536, 65537, 300000 }

scenario("long lines", function(socket, say, port)
    local sock = connected(socket, port)
    for _, size in ipairs(SIZES) do
        sock:send(("y"):rep(size - 1) .. "z\nnext\r\n")
        say(sock:receive())
        say(sock:receive())
    end
end, { "tcp", "echo" })

scenario("large sizes", function(socket, say, port)
    local sock = connected(socket, port)
    for _, size in ipairs(SIZES) do
        sock:send(("y"):rep(size - 1) .. "z\nnext\r\n")
        say(sock:receive(size))
        say(sock:receive("*l"))
        say(sock:receive(6))
    end
end, { "tcp", "echo" })

scenario("far patterns", function(socket, say, port)
    local sock = connected(socket, port)
    local read = sock:receiveuntil("\n\n")
    for _, size in ipairs(SIZES) do
        sock:send(("y"):rep(size - 1) .. "z\n\nnext\r\n")
        say(read())
        say(sock:receive("*l"))
    end
end, { "tcp", "echo" })

scenario("far patterns in pieces", function(socket, say, port)
    local sock = connected(socket, port)
    local read = sock:receiveuntil("\n\n")
    for _, size in ipairs(SIZES) do
        sock:send(("y"):rep(size - 1) .. "z\n\nnext\r\n")
        for _ = 1, 200 do
            local piece = read(4096)
            if not piece then break end
            say(#piece)
        end
        say(sock:receive("*l"))
    end
end, { "tcp", "echo" })

scenario("reads of every kind in turn", function(socket, say, port)
    local sock = connected(socket, port)
    say(sock:receive(2))
    say(sock:receive())
    say(sock:receiveuntil("--")())
    say(sock:receiveany(3))
    say(sock:receive("3"))
    say(sock:receive(0))
    say(sock:receiveuntil("34", { inclusive = true })())
    say(sock:receive("*a"))
end, { "tcp", "send:abcd\\nef--ghijklmn1234 and\\nthe rest\\n" })

scenario("who is reset while it reads", function(socket, say, port)
    local sock = connected(socket, port)
    say(sock:receive())
    say(sock:receive())
    say(sock:receive())
    say(sock:receive("*a"))
    say(sock:send("x"))
end, { "tcp", "send:a\\nbc", "sleep:50", "reset" })

scenario("who is reset while it reads all", function(socket, say, port)
    local sock = connected(socket, port)
    say(sock:receive("*a"))
    say(sock:receive("*a"))
    say(sock:send("x"))
end, { "tcp", "send:a\\nbc", "sleep:50", "reset" })

scenario("who is reset while it reads any", function(socket, say, port)
    local sock = connected(socket, port)
    say(sock:receiveany(10))
    say(sock:receiveany(10))
    say(sock:receiveany(10))
end, { "tcp", "send:a\\nbc", "sleep:50", "reset" })

scenario("who is reset while it reads until", function(socket, say, port)
    local sock = connected(socket, port)
    local read = sock:receiveuntil("\n")
    say(read())
    say(read())
    say(read())
    say(sock:receive())
end, { "tcp", "send:a\\nbc", "sleep:50", "reset" })

-- Ways to read until there is no more, each with the same data before.
local READS = {
    { "a line", function(sock) return sock:receive("*l") end },
    { "a size", function(sock) return sock:receive(9) end },
    { "nothing", function(sock) return sock:receive(0) end },
    { "all", function(sock) return sock:receive("*a") end },
    { "any", function(sock) return sock:receiveany(9) end },
    { "until", function(sock) return sock:receiveuntil("#")() end },
    { "pieces", function(sock) return sock:receiveuntil("#")(9) end },
}

for _, first in ipairs(READS) do
    local function read_twice(socket, say, port)
        for _, second in ipairs(READS) do
            local sock = connected(socket, port)
            sock:send("x")
            say(first[2](sock))
            -- What there is comes first then, and the end by itself.
            if first[1] == "any" then say(first[2](sock)) end
            say(second[1], second[2](sock))
            say(second[1], second[2](sock))
            sock:close()
        end
    end

    scenario("at the end: a read of " .. first[1] .. ", and others",
        read_twice, { "tcp", "send:ab", "read:1" })

    scenario("at a reset: a read of " .. first[1] .. ", and others",
        read_twice, { "tcp", "send:ab", "read:1", "sleep:4", "reset" })
end

-------------------------------------------------------------- receiveany --

scenario("arguments of receiveany", function(socket, say, port)
    local sock = connected(socket, port)
    say(sock:receive(1))
    for _, max in ipairs({ 1, 2.9, "3", "x", "", 0, -1, true, false, {},
            0.5, "0x2", 1 / 0, 0 / 0, 2 ^ 31, 2 ^ 40, 100 }) do
        sock:settimeout(30)
        say(max, "is", try(sock.receiveany, sock, max))
    end
    say("nil is", try(sock.receiveany, sock, nil))
    say("none", fails(sock.receiveany))
    say("table", try(sock.receiveany, {}, 1))
    say("number", fails(sock.receiveany, 1, 1))
end, { "tcp", "send:abcdefghijklmnopqrstuvwxyz", "sleep:3000" })

scenario("receiveany takes what is there", function(socket, say, port)
    local sock = connected(socket, port)
    cosockets.sleep(100)
    say(sock:receiveany(2))
    say(sock:receiveany(100))
    say(sock:receiveany(100))
end, { "tcp", "send:abc", "sleep:20", "send:def", "sleep:200", "send:ghi" })

scenario("receiveany of much", function(socket, say, port)
    local sock = connected(socket, port)
    local count, most = 0, 0
    for _ = 1, 10000 do
        local piece, why, partial = sock:receiveany(5000)
        if not piece then
            say(why, partial)
            break
        end
        count, most = count + #piece, math.max(most, #piece)
    end
    say(count, most <= 5000)
end, { "tcp", "send:" .. ("0123456789"):rep(5000) })

------------------------------------------------------------ receiveuntil --

scenario("arguments of receiveuntil", function(socket, say, port)
    local sock = connected(socket, port)
    local function made(...)
        local done, read = try(sock.receiveuntil, sock, ...)
        if type(read) ~= "function" then return done, read end
        return "gives", try(read)
    end
    say("text", made("1"))
    say("number", made(2))
    say("float", made(3.5))
    say("empty", made(""))
    say("nil", made(nil))
    say("boolean", made(true))
    say("table", made({}))
    say("options empty", made("4", {}))
    say("options number", made("5", 1))
    say("options string", made("5", "inclusive"))
    say("options boolean", made("5", true))
    say("inclusive true", made("6", { inclusive = true }))
    say("inclusive false", made("7", { inclusive = false }))
    say("inclusive nil", made("8", { inclusive = nil }))
    say("inclusive number", made("9", { inclusive = 1 }))
    say("inclusive string", made("9", { inclusive = "true" }))
    say("other option", made("a", { foo = 1 }))
    say("the rest", sock:receive("*a"))
    say("no self", fails(sock.receiveuntil))
    say("table as self", try(sock.receiveuntil, {}, "x"))
end, { "tcp", "send:-1-2-3.5-4-5-5-6-7-8-9-a-b-c" })

scenario("sizes of receiveuntil", function(socket, say, port)
    local sock = connected(socket, port)
    local read = sock:receiveuntil("#")
    for _, size in ipairs({ 1, 2.9, "3", 0, -1, "x", "", true, {}, 4 }) do
        say(size, "is", try(read, size))
    end
    say("one", try(read, 1))
    say("the rest", sock:receive("*a"))
end, { "tcp", "send:abcdefghijk#lmno#pqrs#tuvw#xyz" })

-- Says each piece up to the end.
local function read_pieces(say, read, ...)
    for _ = 1, 40 do
        local piece, why, partial = read(...)
        say(piece, why, partial)
        if why then return end
    end
end

-- Says what the pieces make up between their nils: where a piece ends that has
-- half of the text in it is each one's own.
local function read_parts(say, read, size)
    local pieces = {}
    for _ = 1, 80 do
        local piece, why, partial = read(size)
        pieces[#pieces + 1] = piece or partial
        if not piece then
            say(table.concat(pieces), why)
            pieces = {}
        end
        if why then return end
    end
end

-- A text to look for and what it is looked for in, for each byte of it and for
-- all at once: 0 is for no size.
local function scenario_until(name, text, stream, read)
    local pattern = text:gsub("\\x(%x%x)", function(digits)
        return string.char(tonumber(digits, 16))
    end):gsub("\\n", "\n"):gsub("\\r", "\r")

    local function read_all(sizes, socket, say, port)
        for _, inclusive in ipairs({ false, true }) do
            for _, size in ipairs(sizes) do
                local sock = connected(socket, port)
                local iterator =
                    sock:receiveuntil(pattern, { inclusive = inclusive })
                say("inclusive", inclusive, size)
                if size == 0 then
                    read_pieces(say, iterator)
                else
                    read(say, iterator, size)
                end
                sock:close()
            end
        end
    end

    scenario(name, function(...)
        read_all({ 0, 1, 2, 3, 5 }, ...)
    end, { "tcp", "send:" .. stream })

    local steps, rest = { "tcp" }, stream
    while rest ~= "" do
        local byte = rest:match("^\\x%x%x") or rest:match("^\\?.")
        steps[#steps + 1] = "send:" .. byte
        steps[#steps + 1] = "sleep:1"
        rest = rest:sub(#byte + 1)
    end
    scenario(name .. ", byte by byte", function(...)
        read_all({ 0, 2 }, ...)
    end, steps)
end

-- None ends in half of its text.
for _, case in ipairs({
    { "aab", "aaab-aabaab-aaaab--ab" },
    { "--abcabd", "x--abcabc--abcabd----abcabcabd--abcabdy" },
    { "aaa", "aaaaaaa-aa-aaaa-" },
    { "abab", "aababab-abab-babab" },
    { "abacabab", "abacababacabab-abacabacabab-abacaba-" },
    { "\\x00\\xff\\n", "a\\x00\\xff\\nb\\x00\\x00\\xff\\xff\\n"
        .. "\\x00\\x00\\xff\\nc" },
    { "\\r\\n\\r\\n", "a\\r\\n\\r\\r\\n\\r\\nb\\r\\n"
        .. "\\r\\n\\r\\nc" },
}) do
    scenario_until("receiveuntil " .. case[1], case[1], case[2], read_parts)
end

-- None has half of its text anywhere.
for _, case in ipairs({
    { "a", "aabacad" },
    { "%d+", "1%d+22%%d+x" },
    { "#+!", "abcde#+!f#+!#+!ghijklmn#+!opq" },
}) do
    scenario_until("pieces of receiveuntil " .. case[1], case[1], case[2],
        read_pieces)
end

scenario("receive between the pieces of receiveuntil",
    function(socket, say, port)
        local sock = connected(socket, port)
        local read = sock:receiveuntil("--")
        say(read(2))
        say(sock:receive(3))
        say(read(2))
        say(read())
        say(read(2))
        say(sock:receive())
        say(read())
        say(read())
    end, { "tcp", "send:abcdefghij--klmno\\npq--rs" })

scenario("receive between a pattern and its nils", function(socket, say, port)
    local sock = connected(socket, port)
    local read = sock:receiveuntil("--")
    say(read(3))
    say(read(3))
    say(sock:receive(2))
    say(read(3))
    say(read(3))
    say(read(3))
end, { "tcp", "send:abcd--efgh--ij" })

scenario("a size once and none then", function(socket, say, port)
    local sock = connected(socket, port)
    local read = sock:receiveuntil("--")
    say(read(3))
    say(read())
    say(read(3))
    say(read())
    say(read(2))
    say(read(2))
    say(read())
    say(read())
    say(read())
end, { "tcp", "send:abcd--efgh--ij--kl--mn" })

scenario("two iterators", function(socket, say, port)
    local sock = connected(socket, port)
    local dashes, bars = sock:receiveuntil("--"), sock:receiveuntil("||")
    say(dashes(1))
    say(bars(1))
    say(dashes(1))
    say(bars())
    say(dashes())
    say(dashes())
    say(bars())
end, { "tcp", "send:a-|b--c||d--e||f" })

scenario("half a pattern and a timeout", function(socket, say, port)
    local sock = connected(socket, port, 80)
    local read = sock:receiveuntil("--ab")
    say(read())
    sock:settimeout(2000)
    say(read())
    say(read())
    say(read())
end, { "tcp", "send:xy--", "sleep:220", "send:ab--abz" })

scenario("half a pattern, a size and a timeout", function(socket, say, port)
    local sock = connected(socket, port, 80)
    local read = sock:receiveuntil("--ab")
    say(read(8))
    sock:settimeout(2000)
    say(read(8))
    say(read(8))
    say(read(8))
    say(read(8))
end, { "tcp", "send:xy--", "sleep:220", "send:ab--abz" })

scenario("an iterator after close", function(socket, say, port)
    local sock = connected(socket, port)
    local read = sock:receiveuntil("b")
    say(read())
    say(sock:close())
    say(read())
    say(read(1))
end, { "tcp", "send:abcb", "sleep:50" })

scenario("an iterator of the next connection", function(socket, say, port)
    local sock = connected(socket, port)
    local read = sock:receiveuntil("b")
    say(read())
    say(sock:connect("127.0.0.1", port))
    say(read())
    say(read())
    say(read())
end, { "tcp", "send:abcb" })

scenario("an iterator before connect", function(socket, say)
    local sock = socket.tcp()
    say(try(sock.receiveuntil, sock, "b"))
    say(try(sock.receiveuntil, sock, ""))
end)

scenario("an iterator on a closed socket", function(socket, say, port)
    local sock = connected(socket, port)
    sock:close()
    local done, read = try(sock.receiveuntil, sock, "b")
    say(done, read)
    if type(read) == "function" then say(try(read)) end
end, { "tcp", "send:abcb" })

--------------------------------------------------------------------- send --

scenario("send of strings and numbers", function(socket, say, port)
    send_all(socket, say, port, {
        "a", "a\0b", "\255", 1, -1, 0, 1.5, 1e15, 2 ^ 53, 1e14, 1e100, 1 / 3,
        0.1, 1 / 0, -1 / 0, -0.0, 1234567890123, 2 ^ 31, 100, 1e16,
        0.1 + 0.2, -2 ^ 31, 1e-5, 12345.678, 1234567890123456,
    })
end, ECHO)

scenario("send of tables", function(socket, say, port)
    send_all(socket, say, port, {
        { "a", "b" }, { "a", { 1, { "b", 2.5 } }, "c" }, { 1, 2, 3 },
        { { { { "deep" } } } }, { "a", {}, "b" }, { {}, "a" }, { 1 / 3 },
        { 2 ^ 53, 1e100, -0.0 }, { "", "x" },
    })
end, ECHO)

scenario("send of tables that have others in them",
    function(socket, say, port)
        send_all(socket, say, port, {
            { "a", true }, { "a", false, "b" }, { true }, { nil, "b" },
            { "a", nil, "c" }, { [1] = "a", [3] = "c" }, { a = "b" },
            { "a", x = "y" }, { [0] = "z", "a" }, { [1.5] = "z" },
            { [-1] = "z" }, { { a = 1 } }, { print }, { "a", { nil, "b" } },
            { [2] = "b" }, { [5] = "e" }, { "a", { true } },
        })
    end, ECHO)

scenario("send of others", function(socket, say, port)
    send_all(socket, say, port, { true, false })
    local sock = connected(socket, port)
    say("function", fails(sock.send, sock, print))
    say("thread", fails(sock.send, sock, coroutine.create(function() end)))
    say("nil", try(sock.send, sock, nil))
    say("none", fails(sock.send))
    say("table as self", try(sock.send, {}, "x"))
    say("number as self", fails(sock.send, 1, "x"))
    say("and still", sock:send("x"))
    say(sock:receive(4))
end, ECHO)

scenario("send of nothing", function(socket, say, port)
    local sock = connected(socket, port)
    say(try(sock.send, sock, ""))
    say(try(sock.send, sock, {}))
    say(try(sock.send, sock, { "" }))
    say(try(sock.send, sock, { {}, { {} } }))
    say(sock:send("x"))
    say(sock:receiveany(10))
end, ECHO)

scenario("send of much", function(socket, say, port)
    local sock = connected(socket, port, 1000)
    say(sock:send(("x"):rep(1000000)))
    say(sock:send({ ("y"):rep(100000), { ("z"):rep(99999), 1 } }))
    say(sock:send("\n"))
    say(sock:receive())
end, { "tcp", "read:1200001", "send:done\\n" })

scenario("send before connect", function(socket, say)
    local sock = socket.tcp()
    say(try(sock.send, sock, "x"))
    say(try(sock.send, sock, ""))
    say(try(sock.send, sock, {}))
    say(try(sock.send, sock, true))
    say(try(sock.send, sock, nil))
    say(try(sock.send, sock, { true }))
end)

scenario("send after close", function(socket, say, port)
    local sock = connected(socket, port)
    say(sock:close())
    say(try(sock.send, sock, "x"))
    say(try(sock.send, sock, ""))
    say(try(sock.send, sock, true))
end, ECHO)

scenario("send to who has closed", function(socket, say, port)
    local sock = connected(socket, port)
    cosockets.sleep(60)
    say(sock:send("a"))
    cosockets.sleep(60)
    say(sock:send("b"))
    say(sock:send("c"))
    say(sock:receive())
end, { "tcp" })

scenario("send to who has closed, and receive", function(socket, say, port)
    local sock = connected(socket, port)
    cosockets.sleep(60)
    say(sock:send("a"))
    cosockets.sleep(60)
    say(sock:receive())
    say(sock:receive())
    say(sock:send("b"))
end, { "tcp", "send:x" })

scenario("send to who has reset", function(socket, say, port)
    local sock = connected(socket, port)
    say(sock:send("x"))
    cosockets.sleep(60)
    say(sock:send("a"))
    say(sock:send("b"))
    say(sock:receive())
end, { "tcp", "read:1", "reset" })

scenario("send to who doesn't read", function(socket, say, port)
    local sock = connected(socket, port, 80)
    say(sock:send(("x"):rep(20000000)))
    say(sock:send("x"))
    say(sock:receive())
    say(sock:close())
end, { "tcp", "sleep:3000" })

for _, case in ipairs({
    { "the peer has closed", { "tcp", "send:a\\nb\\nc" } },
    { "the peer has closed on unread bytes",
        { "tcp", "send:a\\nb\\nc", "read:1" } },
    { "the peer has reset",
        { "tcp", "send:a\\nb\\nc", "read:2", "reset" } },
}) do
    scenario("receive after sending has failed: " .. case[1],
        function(socket, say, port)
            for lines = 0, 2 do
                local sock = connected(socket, port)
                for _ = 1, lines do sock:receive() end
                for _ = 1, 2 do
                    cosockets.sleep(200)
                    say(lines, sock:send("xx"))
                end
                cosockets.sleep(200)
                say(sock:send("x"))
                say(sock:send("x"))
                for _ = 1, 4 - lines do say(sock:receive()) end
            end
        end, case[2])
end

-- nginx sets its timers anew no sooner than 300 ms after the last time.
scenario("the send timeout is for a wait", function(socket, say, port)
    local sock = connected(socket, port, 600)
    say(sock:setoption("sndbuf", 65536))
    say(sock:send(("x"):rep(10000000)))
    sock:settimeout(5000)
    say(sock:receive())
end, (function()
    local steps = { "tcp" }
    for _ = 1, 20 do
        steps[#steps + 1] = "read:300000"
        steps[#steps + 1] = "sleep:50"
    end
    steps[#steps + 1] = "read:4000000"
    steps[#steps + 1] = "send:all\\n"
    return steps
end)())

------------------------------------------------------------------ connect --

scenario("connect", function(socket, say, port)
    local sock = socket.tcp()
    say(sock:connect("127.0.0.1", port))
    say(sock:receive())
    say(sock:getreusedtimes())
    say(sock:close())
end, { "tcp", "send:hello\\n" })

scenario("connect with the port in a string", function(socket, say, port)
    local sock = socket.tcp()
    say(sock:connect("127.0.0.1", tostring(port)))
    say(sock:receive())
end, { "tcp", "send:hello\\n" })

scenario("connect to nobody", function(socket, say, port)
    local sock = socket.tcp()
    say(sock:connect("127.0.0.1", port))
    say(sock:connect("127.0.0.1", port))
    say(sock:send("x"))
    say(sock:receive())
    say(sock:close())
end, { "refused" })

scenario("connect after nobody was there", function(socket, say, nobody, port)
    local sock = socket.tcp()
    say(sock:connect("127.0.0.1", nobody))
    say(sock:connect("127.0.0.1", port))
    say(sock:receive())
    say(sock:connect("127.0.0.1", nobody))
    say(sock:receive())
    say(sock:close())
end, { "refused" }, { "tcp", "send:hello\\n" })

scenario("connect in vain", function(socket, say, port)
    local sock = socket.tcp()
    sock:settimeout(60)
    say(sock:connect("127.0.0.1", port))
    say(sock:send("x"))
    say(sock:receive())
    say(sock:close())
end, { "full" })

scenario("connect in vain, by settimeouts", function(socket, say, port)
    local sock = socket.tcp()
    sock:settimeouts(60, 5000, 5000)
    say(sock:connect("127.0.0.1", port))
end, { "full" })

scenario("connect twice", function(socket, say, port)
    local sock = connected(socket, port)
    say(sock:receive(2))
    say(sock:connect("127.0.0.1", port))
    say(sock:receive())
    say(sock:getreusedtimes())
    say(sock:close())
    say(sock:connect("127.0.0.1", port))
    say(sock:receive())
    say(sock:close())
end, { "tcp", "send:hello\\nmore\\n", "drain" })

scenario("connect to a Unix path", function(socket, say, path)
    local sock = socket.tcp()
    say(sock:connect("unix:" .. path))
    say(sock:receive())
    say(sock:getreusedtimes())
    say(sock:setkeepalive())
    say(sock:connect("unix:" .. path))
    say(sock:getreusedtimes())
    say(sock:close())
    say(sock:connect("unix:" .. path, { pool = "mine" }))
    say(sock:receive())
    say(sock:close())
end, { "unix", "send:hello\\n", "drain" })

scenario("connect to a Unix path and a port", function(socket, say, path)
    local sock = socket.tcp()
    say(try(sock.connect, sock, "unix:" .. path, 80))
    say(sock:receive())
    say(sock:close())
end, { "unix", "send:hello\\n", "drain" })

scenario("connect to a missing Unix path", function(socket, say, path)
    local sock = socket.tcp()
    say(sock:connect("unix:" .. path))
    say(sock:close())
    say(sock:connect("unix:"))
    say(sock:connect("unix:/" .. ("x"):rep(200)))
    say(sock:connect("unix:relative"))
    say(sock:connect("unix:/etc/passwd"))
    say(sock:connect("unix:/etc/passwd/x"))
end, { "missing" })

scenario("connect over IPv6", function(socket, say, port)
    local sock = socket.tcp()
    say(sock:connect("[::1]", port))
    say(sock:receive())
    say(sock:close())
end, { "tcp6", "send:hello\\n" })

scenario("hosts that can't be", function(socket, say, port)
    local sock = socket.tcp()
    sock:settimeout(100)
    for _, host in ipairs({ "[::1", "[]", "[::g]", "[127.0.0.1]", "" }) do
        say(host, try(sock.connect, sock, host, port))
    end
end, { "tcp" })

-- Who resolves names is each one's own affair, and so are the reasons; nginx
-- has nobody here.
scenario("hosts that are taken for names", function(socket, say, port)
    local sock = socket.tcp()
    sock:settimeout(100)
    for _, host in ipairs({ "nobody.invalid", "127.0.0.1 ", " 127.0.0.1",
            "127.0.0.256", "1.2.3.4.5", "a b", "-", ".", "127.0.0.1\0x", 1,
            "::1]", "127.0.0.1/x", "127.0.0.1?x", "127.0.0.1:1/x",
            "http://127.0.0.1", "a:b", "127.0.0.1:", "127.0.0.1:0",
            "127.0.0.1:70000" }) do
        local sent, why = sock:connect(host, port)
        say(host, sent, type(why))
    end
    say(sock:close())
end, { "tcp" })

scenario("a host that is an asterisk", function(socket, say, port)
    local sock, udp = socket.tcp(), socket.udp()
    local done, why = sock:connect("*", port)
    say(done, type(why))
    done, why = udp:setpeername("*", port)
    say(done, type(why))
end, { "tcp" })

scenario("hosts of other types", function(socket, say, port)
    local sock = socket.tcp()
    sock:settimeout(100)
    say("nil", try(sock.connect, sock, nil, port))
    say("boolean", try(sock.connect, sock, true, port))
    say("table", try(sock.connect, sock, {}, port))
    say("no port", try(sock.connect, sock, "127.0.0.1"))
    say("none", fails(sock.connect))
    say("number as self", fails(sock.connect, 1, "127.0.0.1", port))
end, { "tcp" })

scenario("ports of connect", function(socket, say)
    local sock = socket.tcp()
    sock:settimeout(100)
    for _, port in ipairs({ 0, -1, 65536, 70000, 1.5, "", "x", "1x", "0x1",
            " 1", "1 ", "-1", "65536", "1.5", "1e0", true, false, {},
            print }) do
        say(port, try(sock.connect, sock, "127.0.0.1", port))
    end
    say("nil", try(sock.connect, sock, "127.0.0.1", nil))
    say("nil and options", try(sock.connect, sock, "127.0.0.1", nil, {}))
end)

scenario("options of connect", function(socket, say, port)
    local function options(what, value)
        local sock = socket.tcp()
        sock:settimeout(100)
        say(what, try(sock.connect, sock, "127.0.0.1", port, value))
        sock:close()
    end
    options("nil", nil)
    options("number", 1)
    options("boolean", true)
    options("string", "x")
    options("empty", {})
    options("unknown", { foo = 1 })
    for _, name in ipairs({ "pool", "pool_size", "backlog" }) do
        for _, value in ipairs({ "x", "", "2", 2, 1.5, 0, -1, true, false, {},
                print }) do
            options(name .. " of " .. serialise(value), { [name] = value })
        end
    end
    options("backlog without size", { backlog = 1 })
    options("both", { backlog = 1, pool_size = 1, pool = "both" })
end, { "tcp", "drain" })

scenario("bind", function(socket, say, port)
    local function bound(what, ...)
        local sock = socket.tcp()
        say(what, try(sock.bind, sock, ...))
        say(sock:connect("127.0.0.1", port))
        say(sock:close())
        say(sock:connect("127.0.0.1", port))
    end
    bound("127.0.0.1", "127.0.0.1")
    bound("127.0.0.2", "127.0.0.2")
    bound("192.0.2.1", "192.0.2.1")
    bound("x", "x")
    bound("empty", "")
    bound("nil", nil)
    bound("number", 1)
    bound("::1", "::1")
    bound("[::1]", "[::1]")
    bound("boolean", true)
    bound("with a port", "127.0.0.1:0")
    bound("unix", "unix:/x")
    bound("name", "localhost")
    local sock = socket.tcp()
    say(try(sock.bind, {}, "127.0.0.1"))
    say("none", fails(sock.bind))
    say("number as self", fails(sock.bind, 1, "127.0.0.1"))
end, { "tcp" })

scenario("bind, and whom the peer sees", function(socket, say, port)
    local sock = socket.tcp()
    say(sock:bind("127.0.0.5"))
    say(sock:connect("127.0.0.1", port))
    say(sock:setkeepalive())
    say(sock:connect("127.0.0.1", port))
    say(sock:getreusedtimes())
    say(sock:bind("127.0.0.6"))
    say(sock:send("x"))
    say(sock:close())
    say(sock:bind("127.0.0.1"))
end, { "tcp", "drain" })

scenario("ngx.socket.connect", function(socket, say, port)
    local sock, why = socket.connect("127.0.0.1", port)
    say(sock, why)
    say(sock:receive())
    say(sock:close())
end, { "tcp", "send:hello\\n" })

scenario("ngx.socket.connect to nobody", function(socket, say, port, path)
    say(try(socket.connect, "127.0.0.1", port))
    say(try(socket.connect, "unix:" .. path))
    say(try(socket.connect, "127.0.0.1"))
    say(try(socket.connect, "127.0.0.1", "x"))
    say(try(socket.connect, "127.0.0.1", 70000))
    say(try(socket.connect, nil, port))
    say(try(socket.connect, {}, port))
    say(try(socket.connect, "127.0.0.1", port, {}))
    say(try(socket.connect, "127.0.0.1", port, 1))
end, { "refused" }, { "missing" })

scenario("ngx.socket.connect to a Unix path", function(socket, say, path)
    local sock, why = socket.connect("unix:" .. path)
    say(sock, why)
    say(sock:receive())
    say(sock:close())
end, { "unix", "send:hello\\n" })

----------------------------------------------------------------- settings --

-- A number as self makes nginx crash here.
scenario("settimeout", function(socket, say, port)
    local sock = connected(socket, port)
    for _, timeout in ipairs({ 100, 1.5, "50", 0, -1, -1000, 2 ^ 31 - 1,
            0 / 0 }) do
        say(timeout, try(sock.settimeout, sock, timeout))
    end
    say("nil", try(sock.settimeout, sock, nil))
    say("none", fails(sock.settimeout))
    say("table as self", try(sock.settimeout, {}, 1))
    say(select("#", sock:settimeout(1)))
end, { "tcp", "sleep:3000" })

scenario("settimeouts", function(socket, say, port)
    local sock = connected(socket, port)
    for _, timeout in ipairs({ 100, 1.5, "50", 0, -1, 2 ^ 31 - 1, 0 / 0 }) do
        say(timeout, try(sock.settimeouts, sock, timeout, 1, 1))
        say(timeout, try(sock.settimeouts, sock, 1, timeout, 1))
        say(timeout, try(sock.settimeouts, sock, 1, 1, timeout))
    end
    say("nils", try(sock.settimeouts, sock, nil, nil, nil))
    say(select("#", sock:settimeouts(1, 1, 1)))
end, { "tcp", "sleep:3000" })

for _, timeout in ipairs({ "50", 50.9, 1.5 }) do
    scenario(("settimeout(%q) counts"):format(timeout),
        function(socket, say, port)
            local sock = connected(socket, port)
            sock:settimeout(timeout)
            say(sock:receive())
            sock:settimeout(2000)
            say(sock:receive())
        end, { "tcp", "sleep:150", "send:late\\n" })
end

scenario("a bad timeout changes nothing", function(socket, say, port)
    local sock = connected(socket, port, 40)
    say(try(sock.settimeout, sock, -1))
    say(try(sock.settimeouts, sock, 5000, 5000, -1))
    say(sock:receive())
end, { "tcp", "sleep:1000", "send:late\\n" })

scenario("settimeouts has the one of reading last", function(socket, say, port)
    local sock = socket.tcp()
    sock:settimeouts(5000, 5000, 40)
    say(sock:connect("127.0.0.1", port))
    say(sock:receive())
end, { "tcp", "sleep:1000", "send:late\\n" })

scenario("settimeouts has the one of sending in the middle",
    function(socket, say, port)
        local sock = socket.tcp()
        sock:settimeouts(5000, 40, 5000)
        say(sock:connect("127.0.0.1", port))
        say(sock:send(("x"):rep(20000000)))
        say(sock:receive())
    end, { "tcp", "sleep:250", "send:x\\n", "sleep:1000" })

scenario("settimeout changes an iterator's", function(socket, say, port)
    local sock = connected(socket, port, 5000)
    local read = sock:receiveuntil("x")
    sock:settimeout(40)
    say(read())
    sock:settimeout(5000)
    say(read())
end, { "tcp", "sleep:150", "send:yx", "sleep:100" })

scenario("settimeout before connect stays after it",
    function(socket, say, port)
        local sock = socket.tcp()
        sock:settimeout(40)
        say(sock:connect("127.0.0.1", port))
        say(sock:receive())
        say(sock:close())
        say(sock:connect("127.0.0.1", port))
        say(sock:receive())
        say(sock:setkeepalive())
        say(sock:connect("127.0.0.1", port))
        say(sock:receive())
    end, { "tcp", "sleep:1000", "send:late\\n" })

for _, timeout in ipairs({ 0, -1 }) do
    scenario(("settimeout(%d) is no timeout of 0"):format(timeout),
        function(socket, say, port)
            local sock = connected(socket, port)
            say(try(sock.settimeout, sock, timeout))
            say(sock:receive())
        end, { "tcp", "sleep:60", "send:late\\n" })
end

scenario("settimeouts of 0", function(socket, say, port)
    local sock = connected(socket, port)
    say(try(sock.settimeouts, sock, 0, 0, 0))
    say(sock:receive())
end, { "tcp", "sleep:60", "send:late\\n" })

scenario("settimeouts of nils", function(socket, say, port)
    local sock = socket.tcp()
    sock:settimeout(40)
    say(try(sock.settimeouts, sock, nil, nil, nil))
    say(sock:connect("127.0.0.1", port))
    say(sock:receive())
end, { "tcp", "sleep:90", "send:late\\n" })

local OPTIONS = {
    "keepalive", "reuseaddr", "tcp-nodelay", "sndbuf", "rcvbuf",
}

scenario("setoption", function(socket, say, port)
    local sock = connected(socket, port)
    for _, name in ipairs(OPTIONS) do
        for _, value in ipairs({ true, false, 1, 0, 4096, -1, 1.5 }) do
            say(name, value, try(sock.setoption, sock, name, value))
        end
        for _, value in ipairs({ "x", "1", {} }) do
            say(name, value, fails(sock.setoption, sock, name, value))
        end
        say(name, "nil", try(sock.setoption, sock, name, nil))
        say(name, "missing", try(sock.setoption, sock, name))
    end
end, { "tcp", "drain" })

scenario("getoption after setoption", function(socket, say, port)
    local sock = connected(socket, port)
    for _, name in ipairs(OPTIONS) do
        if name:find("buf") then
            say(sock:setoption(name, 8192))
            local done, value = pcall(sock.getoption, sock, name)
            say(name, done, type(value), done and value >= 8192)
        else
            say(name, try(sock.getoption, sock, name))
            say(sock:setoption(name, true))
            say(name, try(sock.getoption, sock, name))
            say(sock:setoption(name, false))
            say(name, try(sock.getoption, sock, name))
            say(sock:setoption(name, 1))
            say(name, try(sock.getoption, sock, name))
            say(sock:setoption(name, 0))
            say(name, try(sock.getoption, sock, name))
        end
    end
end, { "tcp", "drain" })

scenario("options that aren't", function(socket, say, port)
    local sock = connected(socket, port)
    for _, name in ipairs({ "foo", "", "KEEPALIVE", "tcp_nodelay", "linger",
            1, true, "keepalive\0" }) do
        say(name, "set", try(sock.setoption, sock, name, 1))
        say(name, "get", try(sock.getoption, sock, name))
    end
    say("nil", try(sock.setoption, sock, nil, 1))
    say("nil", try(sock.getoption, sock, nil))
    say("missing", try(sock.setoption, sock))
    say("missing", try(sock.getoption, sock))
    say("three", try(sock.setoption, sock, "keepalive", true, 1))
    say("two", try(sock.getoption, sock, "keepalive", 1))
    say("none", fails(sock.setoption))
    say("none", fails(sock.getoption))
    say("table as self", try(sock.setoption, {}, "keepalive", 1))
    say("table as self", try(sock.getoption, {}, "keepalive"))
    say("number as self", fails(sock.setoption, 1, "keepalive", 1))
    say("number as self", fails(sock.getoption, 1, "keepalive"))
end, { "tcp", "drain" })

scenario("options before connect and after close",
    function(socket, say, port)
        local sock = socket.tcp()
        say(try(sock.setoption, sock, "keepalive", true))
        say(try(sock.getoption, sock, "keepalive"))
        say(try(sock.setoption, sock, "foo", true))
        say(try(sock.setoption, sock, "keepalive"))
        say(try(sock.getoption, sock, "foo"))
        sock = connected(socket, port)
        sock:close()
        say(try(sock.setoption, sock, "keepalive", true))
        say(try(sock.getoption, sock, "keepalive"))
        say(try(sock.setoption, sock, "foo", true))
        say(try(sock.getoption, sock, "foo"))
    end, { "tcp", "drain" })

scenario("options of a Unix socket", function(socket, say, path)
    local sock = socket.tcp()
    say(sock:connect("unix:" .. path))
    say(try(sock.setoption, sock, "tcp-nodelay", true))
    say(try(sock.getoption, sock, "tcp-nodelay"))
    say(try(sock.setoption, sock, "keepalive", true))
    say(try(sock.getoption, sock, "keepalive"))
end, { "unix", "drain" })

---------------------------------------------------------------- the object --

local function methods(object)
    local names, seen = {}, {}
    local function add(from)
        if type(from) ~= "table" or seen[from] then return end
        seen[from] = true
        for name, value in pairs(from) do
            if type(name) == "string" and type(value) == "function"
                    and not name:find("^_") then
                names[name] = true
            end
        end
    end
    add(object)
    add(getmetatable(object))
    add((getmetatable(object) or {}).__index)
    local sorted = {}
    for name in pairs(names) do sorted[#sorted + 1] = name end
    table.sort(sorted)
    return table.concat(sorted, " ")
end

scenario("what there is", function(socket, say)
    for _, name in ipairs({ "connect", "stream", "tcp", "udp" }) do
        say(name, type(socket[name]))
    end
    for _, name in ipairs({ "tcp", "stream", "udp" }) do
        local sock = socket[name]()
        say(name, type(sock), (tostring(sock):gsub("0x%x+", "")))
        say(name, methods(sock))
        say(name, sock.nothing, select("#", socket[name]()))
    end
    say(socket.tcp() == socket.tcp())
end)

scenario("stream", function(socket, say, port)
    local sock = socket.stream()
    say(sock:connect("127.0.0.1", port))
    say(sock:receive())
    say(sock:close())
end, { "tcp", "send:hello\\n" })

scenario("the fields of an object", function(socket, say, port)
    local sock = connected(socket, port)
    sock.mine = "value"
    say(sock.mine)
    sock:close()
    say(sock.mine)
end, { "tcp" })

scenario("before connect", function(socket, say)
    local sock = socket.tcp()
    say("receive", sock:receive())
    say("receive", sock:receive("*a"))
    say("receive", sock:receive(0))
    say("receive", sock:receive(3))
    say("receive", try(sock.receive, sock, "bad"))
    say("receive", try(sock.receive, sock, true))
    say("receiveany", sock:receiveany(3))
    say("receiveany", try(sock.receiveany, sock, 0))
    say("receiveany", try(sock.receiveany, sock, "x"))
    say("iterator", try(sock:receiveuntil("x")))
    say("iterator", try(sock:receiveuntil("x"), "y"))
    say("close", sock:close())
    say("setkeepalive", sock:setkeepalive())
    say("setkeepalive", try(sock.setkeepalive, sock, "x"))
    say("getreusedtimes", sock:getreusedtimes())
    say("settimeout", sock:settimeout(10))
end)

scenario("after close", function(socket, say, port)
    local sock = connected(socket, port)
    say("close", sock:close())
    say("close", sock:close())
    say("receive", sock:receive())
    say("receive", sock:receive("*a"))
    say("receive", sock:receive(0))
    say("receive", sock:receive(3))
    say("receive", try(sock.receive, sock, "bad"))
    say("receiveany", sock:receiveany(3))
    say("receiveany", try(sock.receiveany, sock, 0))
    say("setkeepalive", sock:setkeepalive())
    say("getreusedtimes", sock:getreusedtimes())
    say("settimeout", sock:settimeout(10))
end, { "tcp", "send:hello\\n", "drain" })

scenario("close and getreusedtimes without a socket",
    function(socket, say, port)
        local sock = connected(socket, port)
        for _, name in ipairs({ "close", "getreusedtimes" }) do
            say("none", fails(sock[name]))
            say("table as self", try(sock[name], {}))
            say("number as self", fails(sock[name], 1))
        end
    end, { "tcp", "drain" })

scenario("sslhandshake of the unconnected", function(socket, say, port)
    local sock = socket.tcp()
    say(try(sock.sslhandshake, sock))
    say(try(sock.sslhandshake, sock, nil, "example.com", true))
    say(try(sock.sslhandshake, sock, false))
    sock = connected(socket, port)
    sock:close()
    say(try(sock.sslhandshake, sock))
    say(try(sock.sslhandshake, {}))
    say("none", fails(sock.sslhandshake))
    say("number as self", fails(sock.sslhandshake, 1))
end, { "tcp" })

----------------------------------------------------------------- keepalive --

scenario("a connection is used again", function(socket, say, port)
    local sock = socket.tcp()
    for i = 1, 4 do
        say(sock:connect("127.0.0.1", port))
        say(sock:getreusedtimes())
        say(sock:send(i .. "\n"))
        say(sock:receive())
        say(sock:setkeepalive())
    end
    say(sock:getreusedtimes())
end, ECHO)

scenario("a connection is used again by another object",
    function(socket, say, port)
        local first = connected(socket, port)
        say(first:setkeepalive(1000, 10))
        local second = connected(socket, port)
        say(second:getreusedtimes())
        local third = connected(socket, port)
        say(third:getreusedtimes())
        say(second:setkeepalive())
        say(third:setkeepalive())
        local fourth = connected(socket, port)
        local fifth = connected(socket, port)
        say(fourth:getreusedtimes(), fifth:getreusedtimes())
        say(fourth:close())
        say(fifth:setkeepalive())
        say(fifth:close())
    end, ECHO)

scenario("the last kept comes first", function(socket, say, port)
    local a, b, c = used(socket, port, { 1, 5, 3 })
    say(b:setkeepalive())
    say(c:setkeepalive())
    say(a:setkeepalive())
    for _ = 1, 4 do
        say(connected(socket, port):getreusedtimes())
    end
end, ECHO)

scenario("who has to go for another to be kept", function(socket, say, port)
    local a, b, c, d =
        used(socket, port, { 1, 5, 3, 7 }, { pool_size = 2 })
    say(c:setkeepalive())
    say(b:setkeepalive())
    say(a:setkeepalive())
    say(d:setkeepalive())
    for _ = 1, 4 do
        say(connected(socket, port):getreusedtimes())
    end
end, ECHO)

scenario("after setkeepalive", function(socket, say, port)
    local sock = connected(socket, port)
    local read = sock:receiveuntil("x")
    say(sock:setkeepalive())
    say("send", sock:send("x"))
    say("receive", sock:receive())
    say("receive", sock:receive(0))
    say("receiveany", sock:receiveany(1))
    say("iterator", read())
    say("setkeepalive", sock:setkeepalive())
    say("getreusedtimes", sock:getreusedtimes())
    say("setoption", sock:setoption("keepalive", true))
    say("close", sock:close())
    say("connect", sock:connect("127.0.0.1", port))
    say("getreusedtimes", sock:getreusedtimes())
end, ECHO)

scenario("pools of other names", function(socket, say, port)
    local function use(host, options)
        local sock = socket.tcp()
        say(sock:connect(host, port, options))
        say(sock:getreusedtimes())
        say(sock:setkeepalive())
    end
    use("127.0.0.1", { pool = "a" .. port })
    use("127.0.0.1", { pool = "a" .. port })
    use("127.0.0.1", { pool = "b" .. port })
    use("127.0.0.1")
    use("127.0.0.1", { pool = "127.0.0.1:" .. port })
    use("127.0.0.1", {})
    use("127.0.0.1", { pool = port })
    use("127.0.0.1", { pool = tostring(port) })
end, ECHO)

scenario("a pool of two addresses", function(socket, say, one, two)
    local sock = socket.tcp()
    say(sock:connect("127.0.0.1", one, { pool = "shared" .. one }))
    say(sock:setkeepalive())
    say(sock:connect("127.0.0.1", two, { pool = "shared" .. one }))
    say(sock:getreusedtimes())
    say(sock:send("x\n"))
    say(sock:receive())
end, { "tcp", "line", "send:one\\n", "drain" },
    { "tcp", "line", "send:two\\n", "drain" })

scenario("pools are by the host as written", function(socket, say, port)
    local sock = socket.tcp()
    say(sock:connect("127.0.0.1", port))
    say(sock:setkeepalive())
    say(sock:connect("127.0.0.1", tostring(port)))
    say(sock:getreusedtimes())
    say(sock:setkeepalive())
    say(sock:connect("127.0.0.1", " 0" .. port))
    say(sock:getreusedtimes())
end, ECHO)

scenario("pools and failing names", function(socket, say, port)
    local sock = socket.tcp()
    say(sock:connect("127.0.0.1", port, { pool = "f" .. port }))
    say(sock:setkeepalive())
    say(sock:connect("", port, { pool = "f" .. port }))
    say(sock:getreusedtimes())
    say(sock:setkeepalive())
    say(sock:connect("127.0.0.1", 0, { pool = "f" .. port }))
    say(sock:getreusedtimes())
end, ECHO)

-- How many of several kept connections are there afterwards.
local function count_kept(socket, say, port, connects, keeps)
    local socks = {}
    for i = 1, 4 do
        socks[i] = socket.tcp()
        socks[i]:settimeout(2000)
        say(socks[i]:connect("127.0.0.1", port, connects))
    end
    for i = 1, 4 do say(try(socks[i].setkeepalive, socks[i], unpack(keeps))) end
    local times = {}
    for i = 1, 4 do
        say(socks[i]:connect("127.0.0.1", port, connects))
        times[i] = socks[i]:getreusedtimes()
    end
    say(unpack(times))
    for i = 1, 4 do socks[i]:close() end
end

scenario("the pool's size by setkeepalive", function(socket, say, port)
    count_kept(socket, say, port, nil, { 1000, 2 })
end, ECHO)

scenario("the pool's size by connect", function(socket, say, port)
    count_kept(socket, say, port, { pool_size = 3 }, {})
end, ECHO)

scenario("the pool's size by both", function(socket, say, port)
    count_kept(socket, say, port, { pool_size = 1 }, { 1000, 3 })
end, ECHO)

scenario("the pool's size by the first", function(socket, say, port)
    local function keep(size)
        local socks = {}
        for i = 1, 3 do socks[i] = connected(socket, port) end
        for i = 1, 3 do say(socks[i]:setkeepalive(1000, size)) end
        local times = {}
        for i = 1, 3 do
            socks[i] = connected(socket, port)
            times[i] = socks[i]:getreusedtimes()
        end
        say(unpack(times))
        for i = 1, 3 do socks[i]:close() end
    end
    keep(1)
    keep(3)
    keep(2)
end, ECHO)

scenario("arguments of setkeepalive", function(socket, say, port)
    local function keep(what, ...)
        local sock = connected(socket, port)
        say(what, try(sock.setkeepalive, sock, ...))
        sock = connected(socket, port)
        say("reused", sock:getreusedtimes() > 0)
        sock:close()
    end
    keep("nothing")
    keep("nil", nil)
    keep("nils", nil, nil)
    keep("1000", 1000)
    keep("0", 0)
    keep("-1", -1)
    keep("text", "1000")
    keep("float", 1000.5)
    keep("size 1.5", 1000, 1.5)
    keep("size text", 1000, "2")
    keep("inf", 1 / 0)
    keep("2^31", 2 ^ 31)
    keep("nil, size", nil, 2)
end, ECHO)

scenario("bad arguments of setkeepalive", function(socket, say, port)
    local function keep(what, ...)
        local sock = connected(socket, port)
        say(what, try(sock.setkeepalive, sock, ...))
        sock:close()
    end
    keep("word", "x")
    keep("true", true)
    keep("table", {})
    local sock = connected(socket, port)
    say("none", fails(sock.setkeepalive))
    say("table as self", try(sock.setkeepalive, {}))
    say("number as self", fails(sock.setkeepalive, 1))
end, ECHO)

for _, size in ipairs({ 0, -1, "x", true }) do
    scenario(("a first setkeepalive with a size of %s")
            :format(tostring(size)),
        function(socket, say, port)
            local sock = connected(socket, port)
            say(try(sock.setkeepalive, sock, 1000, size))
            say(sock:send("x"))
            sock = connected(socket, port)
            say(sock:getreusedtimes())
        end, ECHO)
end

scenario("the time a connection is kept", function(socket, say, port)
    local sock = connected(socket, port)
    say(sock:setkeepalive(5000))
    sock = connected(socket, port)
    say(sock:getreusedtimes())
    say(sock:setkeepalive(50))
    cosockets.sleep(100)
    sock = connected(socket, port)
    say(sock:getreusedtimes())
    say(sock:setkeepalive(0))
    cosockets.sleep(30)
    sock = connected(socket, port)
    say(sock:getreusedtimes())
end, ECHO)

scenario("the peer closes what is kept", function(socket, say, port)
    local sock = connected(socket, port)
    say(sock:setkeepalive())
    cosockets.sleep(150)
    sock = connected(socket, port)
    say(sock:getreusedtimes())
    say(sock:receive())
end, { "tcp", "sleep:80", "close" })

scenario("the peer sends to what is kept", function(socket, say, port)
    local sock = connected(socket, port)
    say(sock:setkeepalive())
    cosockets.sleep(150)
    sock = connected(socket, port)
    say(sock:getreusedtimes())
    say(sock:receive())
end, { "tcp", "sleep:80", "send:x\\n", "sleep:100" })

scenario("the peer resets what is kept", function(socket, say, port)
    local sock = connected(socket, port)
    say(sock:setkeepalive())
    cosockets.sleep(150)
    sock = connected(socket, port)
    say(sock:getreusedtimes())
    say(sock:receive())
end, { "tcp", "sleep:80", "reset" })

scenario("setkeepalive with bytes in the buffer", function(socket, say, port)
    local sock = connected(socket, port)
    say(sock:receive(2))
    say(sock:setkeepalive())
    say(sock:receive())
    say(sock:close())
    say(sock:setkeepalive())
end, { "tcp", "send:hello\\n", "drain" })

scenario("setkeepalive with bytes at the socket", function(socket, say, port)
    local sock = connected(socket, port)
    cosockets.sleep(80)
    say(sock:setkeepalive())
    say(sock:receive())
    say(sock:close())
end, { "tcp", "send:hello\\n", "drain" })

scenario("setkeepalive of what the peer has closed",
    function(socket, say, port)
        local sock = connected(socket, port)
        cosockets.sleep(80)
        say(sock:setkeepalive())
        say(sock:receive())
        say(sock:close())
    end, { "tcp" })

scenario("setkeepalive after the end was read", function(socket, say, port)
    local sock = connected(socket, port)
    say(sock:receive("*a"))
    say(sock:setkeepalive())
    say(sock:close())
    sock = connected(socket, port)
    say(sock:receive())
    say(sock:receive())
    say(sock:setkeepalive())
    say(sock:close())
end, { "tcp", "send:hello\\n" })

scenario("setkeepalive of what the peer has reset",
    function(socket, say, port)
        local sock = connected(socket, port)
        say(sock:send("x"))
        cosockets.sleep(80)
        say(sock:setkeepalive())
        say(sock:close())
    end, { "tcp", "read:1", "reset" })

scenario("setkeepalive after a timeout", function(socket, say, port)
    local sock = connected(socket, port, 40)
    say(sock:receive())
    say(sock:setkeepalive())
    say(sock:close())
    sock = connected(socket, port, 40)
    say(sock:getreusedtimes())
end, { "tcp", "sleep:3000" })

scenario("setkeepalive after a partial line", function(socket, say, port)
    local sock = connected(socket, port, 100)
    say(sock:receive())
    say(sock:setkeepalive())
    sock = connected(socket, port, 100)
    say(sock:getreusedtimes())
end, { "tcp", "send:abc", "sleep:3000" })

scenario("setkeepalive after a failed send", function(socket, say, port)
    local sock = connected(socket, port, 40)
    say(sock:send(("x"):rep(20000000)))
    say(sock:setkeepalive())
    say(sock:close())
end, { "tcp", "sleep:3000" })

----------------------------------------------------------------------- udp --

scenario("udp", function(socket, say, port)
    local sock = socket.udp()
    say(sock:settimeout(2000))
    say(sock:setpeername("127.0.0.1", port))
    say(sock:send("hello"))
    say(sock:receive())
    say(sock:send("more"))
    say(sock:receive())
    say(sock:close())
    say(sock:close())
end, UDP_ECHO)

scenario("udp sends", function(socket, say, port)
    local sock = udp_connected(socket, port)
    local function got()
        sock:send("end")
        repeat
            local data, why = sock:receive()
            say(data, why)
        until data == "end" or why
    end
    for _, value in ipairs({ "a", "a\0b", 1, 1.5, 2 ^ 53, -0.0, { "a", "b" },
            { "a", { 1, { "b", 2.5 } }, "c" }, { "a", {}, "b" }, true, false,
            { true }, { "a", nil, "c" }, { a = 1 }, { [5] = "x" } }) do
        say(value, try(sock.send, sock, value))
        got()
    end
    say("function", fails(sock.send, sock, print))
    got()
    say("nil", try(sock.send, sock, nil))
    got()
    say("none", fails(sock.send))
    say("table as self", try(sock.send, {}, "x"))
    say("number as self", fails(sock.send, 1, "x"))
end, UDP_ECHO)

scenario("empty datagrams", function(socket, say, port)
    local sock = udp_connected(socket, port)
    say(sock:send(""))
    say(sock:receive())
    say(sock:send({}))
    say(sock:receive())
    say(sock:send("x"))
    say(sock:receive())
end, UDP_ECHO)

scenario("large datagrams", function(socket, say, port)
    local sock = udp_connected(socket, port)
    for _, size in ipairs({ 8191, 8192, 8193, 20000, 65507, 65508 }) do
        say(size, sock:send(("x"):rep(size - 1) .. "y"))
        if size == 65508 then sock:settimeout(40) end
        say(sock:receive())
    end
    sock:settimeout(2000)
    say(sock:send("next"))
    say(sock:receive())
end, UDP_ECHO)

scenario("udp receive with a size", function(socket, say, port)
    local sock = udp_connected(socket, port)
    for _, size in ipairs({ 5, 10, 1, 2.9, "3", 0, -1, 8192, 8193, 70000,
            "x", "*l", true, {}, 0.5 }) do
        sock:send("hello")
        say(size, try(sock.receive, sock, size))
    end
    sock = udp_connected(socket, port)
    sock:send("hello")
    say("nil", try(sock.receive, sock, nil))
    sock:send("hello")
    say("none", fails(sock.receive))
    say("table as self", try(sock.receive, {}))
    say("number as self", fails(sock.receive, 1))
end, UDP_ECHO)

scenario("udp receive of a long datagram with a size",
    function(socket, say, port)
        local sock = udp_connected(socket, port)
        sock:send(("x"):rep(10000) .. "y")
        say(sock:receive(8192))
        sock:send(("x"):rep(10000) .. "y")
        say(sock:receive(9000))
        sock:send(("x"):rep(10000) .. "y")
        say(sock:receive(65536))
        sock:settimeout(40)
        say(sock:receive())
    end, UDP_ECHO)

scenario("udp receive in vain", function(socket, say, port)
    local sock = udp_connected(socket, port, 40)
    say(sock:receive())
    say(sock:receive(10))
    sock:settimeout(2000)
    say(sock:send("x"))
    say(sock:receive())
    say(sock:close())
end, UDP_ECHO)

scenario("udp refused", function(socket, say, port)
    local sock = udp_connected(socket, port, 100)
    say(sock:send("x"))
    say(sock:receive())
    say(sock:receive())
    say(sock:send("x"))
    cosockets.sleep(20)
    say(sock:send("x"))
    say(sock:send("x"))
    say(sock:receive())
    say(sock:close())
end, { "refused", "udp" })

scenario("udp before setpeername", function(socket, say)
    local sock = socket.udp()
    say(try(sock.send, sock, "x"))
    say(try(sock.send, sock, true))
    say(try(sock.receive, sock))
    say(try(sock.receive, sock, 10))
    say(try(sock.receive, sock, 0))
    say(try(sock.receive, sock, "x"))
    say(try(sock.close, sock))
    say(try(sock.settimeout, sock, 10))
end)

scenario("udp after close", function(socket, say, port)
    local sock = udp_connected(socket, port)
    say(sock:close())
    say(try(sock.send, sock, "x"))
    say(try(sock.send, sock, true))
    say(try(sock.receive, sock))
    say(try(sock.receive, sock, 0))
    say(try(sock.close, sock))
    say(sock:setpeername("127.0.0.1", port))
    say(sock:send("x"))
    say(sock:receive())
end, UDP_ECHO)

scenario("setpeername twice", function(socket, say, one, two)
    local sock = udp_connected(socket, one)
    say(sock:send("x"))
    say(sock:setpeername("127.0.0.1", two))
    say(sock:send("x"))
    say(sock:receive())
    say(sock:setpeername("127.0.0.1", 70000))
    say(sock:send("x"))
    say(sock:receive())
    say(sock:close())
end, { "udp", "send:one" }, { "udp", "send:two" })

scenario("udp to a Unix path", function(socket, say, path)
    local sock = socket.udp()
    sock:settimeout(2000)
    say(sock:setpeername("unix:" .. path))
    say(sock:send("hello"))
    say(sock:receive())
    say(sock:close())
    say(try(sock.setpeername, sock, "unix:" .. path, 1))
end, { "unixdgram", "echo" })

scenario("udp to a missing Unix path", function(socket, say, missing, stream)
    local sock = socket.udp()
    say(sock:setpeername("unix:" .. missing))
    say(sock:setpeername("unix:"))
    say(sock:setpeername("unix:/" .. ("x"):rep(200)))
    say(sock:setpeername("unix:" .. stream))
end, { "missing" }, { "unix" })

scenario("udp over IPv6", function(socket, say)
    local sock = socket.udp()
    sock:settimeout(100)
    say(sock:setpeername("[::1]", 9))
end)

scenario("arguments of setpeername", function(socket, say, port)
    local sock = socket.udp()
    sock:settimeout(100)
    for _, value in ipairs({ 0, -1, 65536, 70000, 1.5, "", "x", "1x", "0x1",
            tostring(port), "-1", true, {} }) do
        say(try(sock.setpeername, sock, "127.0.0.1", value))
    end
    for _, host in ipairs({ "", "[]", "[::1" }) do
        say(host, try(sock.setpeername, sock, host, port))
    end
    say("nil", try(sock.setpeername, sock, nil, port))
    say("boolean", try(sock.setpeername, sock, true, port))
    say("table", try(sock.setpeername, sock, {}, port))
    say("no port", try(sock.setpeername, sock, "127.0.0.1"))
    say("none", fails(sock.setpeername))
    say("table as self", try(sock.setpeername, {}, "127.0.0.1", port))
    say("number as self", fails(sock.setpeername, 1, "127.0.0.1", port))
end, UDP_ECHO)

scenario("udp settimeout", function(socket, say, port)
    local sock = udp_connected(socket, port)
    for _, timeout in ipairs({ 100, 1.5, "50", 0, 2 ^ 31 - 1, 2 ^ 31, 2 ^ 40,
            1 / 0 }) do
        say(timeout, try(sock.settimeout, sock, timeout))
    end
    say("nil", try(sock.settimeout, sock, nil))
end, UDP_ECHO)

scenario("udp close", function(socket, say, port)
    local sock = udp_connected(socket, port)
    say("none", fails(sock.close))
    say("table as self", try(sock.close, {}))
    say("number as self", fails(sock.close, 1))
    say(try(sock.close, sock))
    say(try(sock.close, sock))
end, UDP_ECHO)

scenario("two datagrams at once", function(socket, say, port)
    local sock = udp_connected(socket, port)
    sock:send("a")
    sock:send("bc")
    cosockets.sleep(20)
    say(sock:receive())
    say(sock:receive())
end, UDP_ECHO)

scenario("sizes beyond all integers", function(socket, say, port, datagrams)
    for _, size in ipairs({ 2 ^ 31, 2 ^ 40, 1 / 0 }) do
        local read = connected(socket, port):receiveuntil("#")
        say(size, try(read, size))
        say(size, try(read))
        if size < 1 / 0 then
            local udp = udp_connected(socket, datagrams)
            udp:send("hello")
            say(size, try(udp.receive, udp, size))
        end
    end
end, { "tcp", "send:abc#def#" }, UDP_ECHO)

return scenarios
