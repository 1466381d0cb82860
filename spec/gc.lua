--- What each module does most, while the garbage collector runs all the time:
--- luajit -joff spec/gc.lua <module>. Memory that C still uses and Lua doesn't
--- know of is collected, overwritten by what comes next, and found out by the
--- data, which is checked. A program of its own, since it's slow.
local ms = require "minisock"

local name = arg[1]

-- Of another size each time, so that freed memory is given to others at once.
local function text(size)
    return (("%d "):format(size):rep(size)):sub(1, size)
end

local function pair(socktype)
    local a, b = assert(ms.socketpair(socktype))
    return a, b
end

local CASES = {}

CASES["minisock"] = function(n)
    local listener, addr = assert(ms.bind("127.0.0.1", 0))
    local port = ms.parseaddr(addr).port
    local client = assert(ms.connect("127.0.0.1", port, 2000))
    local served, from = ms.accept(listener, 2000)
    assert(from == assert(ms.getsockname(client)))
    assert(ms.getpeername(client) == addr)
    assert(ms.write(client, text(n), 2) == n - 1)
    assert(ms.read(served, 2000) == text(n):sub(2))
    assert(ms.sendall(served, { text(n), "", text(n + 1) }, 2000) == 2 * n + 1)
    assert(ms.read(client, 2000) == text(n) .. text(n + 1))
    assert(ms.setsockopt(client, "SO_LINGER", 7))
    assert(ms.getsockopt(client, "SO_LINGER") == 7)
    assert(ms.getaddrinfo("127.0.0.1", 80)[1] == ms.inetaddr("127.0.0.1", 80))
    assert(ms.getnameinfo(ms.inetaddr("127.0.0.9", 80), true) == "127.0.0.9")
    local ready, count = ms.poll(ms.pollfd(client, ms.POLLOUT), 2000)
    assert(count == 1 and ms.unpollfd(ready) == client)
    assert(not ms.connect("127.0.0.1", 1, 2000))
    for _, fd in ipairs { listener, client, served } do ms.close(fd) end
end

CASES["minisock.buffers"] = function(n)
    local ffi = require "ffi"
    local a, b = pair()
    local array = ffi.new("char[?]", n)
    assert(ms.write(a, text(n)) == n)
    assert(ms.readinto(b, array, 2000, n) == n)
    assert(ffi.string(array, n) == text(n))
    assert(ms.sendall(b, array, 2000, n) == n)
    if pcall(require, "string.buffer") then
        local buffer = require("string.buffer").new():put("x")
        assert(ms.readinto(a, buffer, 2000) == n)
        assert(ms.sendall(b, buffer, 2000) == n + 1)
        assert(ms.read(a, 2000) == "x" .. text(n))
    end
    ms.close(a)
    ms.close(b)
end

CASES["minisock.messages"] = function(n)
    local a, b = pair()
    assert(ms.sendmsg(a, { data = { text(n), "end" }, fds = { a } }) == n + 3)
    local message = assert(ms.recvmsg(b, 2000))
    assert(message.data == text(n) .. "end" and #message.fds == 1)
    assert(ms.close(message.fds[1]))
    assert(#assert(ms.getinterfaces()) > 0)
    ms.close(a)
    ms.close(b)
end

CASES["minisock.batch"] = function(n)
    local fd = assert(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
    local addr = ms.getsockname(fd)
    local batch = require("minisock.batch").new(4, 200)
    assert(ms.sendmany(fd, { text(n), "", text(n + 1) }, { addr, addr, addr })
        == 3)
    assert(ms.recvmany(fd, batch, 2000) == 3)
    local message, from = batch:get(3)
    assert(message == text(n + 1) and from == addr and batch:get(1) == text(n))
    assert(ms.sendto(fd, addr, text(n)) == n)
    message, from = ms.recvfrom(fd, 2000)
    assert(message == text(n) and from == addr)
    ms.close(fd)
end

CASES["minisock.poller"] = function(n)
    local poller = assert(require("minisock.poller").new())
    local a, b = pair()
    assert(poller:add(b, ms.EPOLLIN, { text(n) }))
    assert(ms.write(a, "x"))
    assert(poller:wait(2000) == 1 and poller:ready(1)[1] == text(n))
    assert(poller:remove(b) and poller:close())
    ms.close(a)
    ms.close(b)
end

CASES["minisock.pollset"] = function()
    local set = require("minisock.pollset").new()
    local a, b = pair()
    for _ = 1, 20 do set:add(a, ms.POLLIN) end -- it grows
    set:add(b, ms.POLLIN)
    assert(ms.write(a, "x"))
    assert(set:wait(2000) == 1)
    for i, fd in set:ready() do assert(i == 21 and fd == b) end
    ms.close(a)
    ms.close(b)
end

CASES["minisock.socket"] = function(n)
    local socket = require "minisock.socket"
    local listener = assert(socket.tcp())
    assert(listener:bind("127.0.0.1", 0) and listener:listen(5))
    local client = assert(socket.tcp())
    client:settimeout(2)
    assert(client:connect("127.0.0.1", listener:getsockname()[2]))
    local served = assert(listener:accept())
    assert(client:write(text(n) .. "\r\n" .. text(n + 1)) == 2 * n + 3)
    assert(served:readline() == text(n))
    assert(served:readexactly(n + 1) == text(n + 1))
    assert(client:setoption("TCP_NODELAY", true))
    client:close()
    assert(select(2, served:readline()) == socket.ERROR_CLOSED)
    served:close()
    listener:close()
end

CASES["minisock.lsocket"] = function(n)
    local lsocket = require "minisock.lsocket"
    local listener = assert(lsocket.bind("127.0.0.1", 0))
    local port = listener:info("socket").port
    local client = assert(lsocket.connect("127.0.0.1", port))
    assert(lsocket.select({ listener }, 2)[1] == listener)
    local served = assert(listener:accept())
    assert(select(2, lsocket.select(nil, { client }, 2))[1] == client)
    assert(client:status())
    assert(client:send(text(n)) == n)
    assert(lsocket.select({ served }, 2)[1] == served)
    assert(served:recv() == text(n))
    assert(#assert(lsocket.resolve("127.0.0.1")) == 1)
    assert(#assert(lsocket.getinterfaces()) > 0)
    for _, sock in ipairs { listener, client, served } do sock:close() end
end

CASES["minisock.llsocket"] = function(n)
    local llsocket = require "minisock.llsocket"
    local socks = assert(llsocket.socket.pair(ms.SOCK_STREAM))
    assert(socks[1]:sendmsg({ iov = { text(n), "end" } }) == n + 3)
    assert(socks[2]:recv() == text(n) .. "end")
    assert(socks[1]:sendfd(0))
    assert(ms.close(assert(socks[2]:recvfd())))
    local ai = assert(llsocket.inet.getaddrinfo("127.0.0.1", "0",
        ms.SOCK_STREAM))[1]
    local listener = assert(llsocket.socket.new(ai))
    assert(not listener:bind() and not listener:listen())
    assert(listener:getsockname():addr()[1] == "127.0.0.1")
    assert(listener:rcvbuf(n * 1000))
    listener:close()
    for _, sock in ipairs(socks) do sock:close() end
end

CASES["minisock.luasocket"] = function(n)
    local core = require "minisock.luasocket"
    local listener = assert(core.tcp4())
    assert(listener:bind("127.0.0.1", 0) and listener:listen())
    local _, port = listener:getsockname()
    local client = assert(core.connect("127.0.0.1", port))
    client:settimeout(2)
    local served = assert(listener:accept())
    served:settimeout(2)
    assert(served:send(text(n) .. "\n" .. text(n)) == 2 * n + 1)
    assert(core.select({ client }, nil, 2)[1] == client)
    assert(client:receive() == text(n))
    assert(client:receive(n) == text(n))
    assert(client:setoption("keepalive", true))
    local udp = assert(core.udp4())
    assert(udp:setsockname("127.0.0.1", 0))
    _, port = udp:getsockname()
    assert(udp:sendto(text(n), "127.0.0.1", port))
    assert(udp:receivefrom() == text(n))
    for _, sock in ipairs { listener, client, served, udp } do sock:close() end
end

CASES["minisock.resty"] = function(n)
    local resty = require "minisock.resty"
    local listener, addr = assert(ms.bind("127.0.0.1", 0))
    local port = ms.parseaddr(addr).port
    local sock = resty.tcp()
    sock:settimeout(2000)
    assert(sock:connect("127.0.0.1", port))
    local served = assert(ms.accept(listener, 2000))
    assert(sock:send({ text(n), { n, "\r\n" } }))
    assert(ms.read(served, 2000) == text(n) .. n .. "\r\n")
    assert(ms.sendall(served, text(n) .. "--" .. text(n) .. "\r\n", 2000))
    assert(sock:receiveuntil("--")() == text(n))
    assert(sock:receive() == text(n))
    assert(sock:setkeepalive(2000, 1))
    sock = resty.tcp()
    assert(sock:connect("127.0.0.1", port) and sock:getreusedtimes() == 1)
    assert(sock:close())
    ms.close(served)
    ms.close(listener)
end

if not name then
    local names = {}
    for case in pairs(CASES) do names[#names + 1] = case end
    table.sort(names)
    print(table.concat(names, "\n"))
    return
end

local case = CASES[name]
case(30) -- loads what it needs
local collected = 0
debug.sethook(function()
    collected = collected + 1
    collectgarbage()
end, "", 3)
case(31)
case(57)
debug.sethook()
print(("%s: %d collections"):format(name, collected))
