--- For the programs that run in spec/networks.lua's namespaces: clients of the
--- four kinds of objects with the same methods and the same words, and calls
--- that are timed.
---
--- A method that fails returns nil and a problem: "timeout" for a deadline of
--- ours, otherwise an errno or an EAI code.
local address = require "minisock.address"
local clock = require "minisock.clock"
local errors = require "minisock.errors"
local lsocket = require "minisock.lsocket"
local luasocket = require "minisock.luasocket"
local ms = require "minisock"
local object = require "minisock.luasocket.object"
local process = require "spec.process"
local resty = require "minisock.resty"
local socket = require "minisock.socket"
local support = require "spec.support"

local clients = {}

---------------------------------------------------------------------------
-- Problems
---------------------------------------------------------------------------

-- The codes of LuaSocket's and of cosockets' words.
local CODES = {}
for name in ([[
    EACCES ECONNREFUSED EHOSTUNREACH EINVAL ENETUNREACH EPERM ETIMEDOUT
]]):gmatch("%S+") do
    CODES[errors.text(ms[name]):lower()] = ms[name]
end
CODES["permission denied"] = ms.EACCES
for name in ("EAI_AGAIN EAI_FAIL EAI_NODATA EAI_NONAME"):gmatch("%S+") do
    CODES[object.resolver_words(ms[name])] = ms[name]
    CODES[errors.resolver_text(ms[name])] = ms[name]
end

local function of_core(message, code)
    return errors.is_timeout(message) and "timeout" or code
end

local function of_object(message, code)
    return message == socket.ERROR_TIMEOUT and "timeout" or code
end

local function of_words(reason)
    reason = reason:match("could not be resolved %((.*)%)$") or reason
    if reason == "110: Operation timed out" then return "timeout" end
    return CODES[reason] or CODES[reason:lower()] or reason
end

---------------------------------------------------------------------------
-- Clients
---------------------------------------------------------------------------

---------------------------------------------------------------------------
-- Clients of TCP
---------------------------------------------------------------------------

local Core = {}

function Core.connect(host, port, timeout)
    local fd, message, code = ms.connect(host, port, timeout)
    if not fd then return nil, of_core(message, code) end
    return setmetatable({ fd = fd, timeout = timeout }, { __index = Core })
end

function Core:receive(size)
    local deadline, pieces = clock.deadline(self.timeout), {}
    while size > 0 do
        local data, message, code =
            ms.read(self.fd, clock.left(deadline), size)
        if not data then
            return nil, of_core(message, code), table.concat(pieces)
        end
        if data == "" then return nil, "closed", table.concat(pieces) end
        pieces[#pieces + 1] = data
        size = size - #data
    end
    return table.concat(pieces)
end

function Core:send(data)
    local sent, message, code, before =
        ms.sendall(self.fd, data, self.timeout)
    if sent then return sent end
    return nil, of_core(message, code), before
end

function Core:set_timeout(timeout) self.timeout = timeout end
function Core:set_option(name, value) ms.setsockopt(self.fd, name, value) end
function Core:close() ms.close(self.fd) end

-- A kind of the core's that sends otherwise.
local function core_sending(send)
    local kind = setmetatable({ send = send }, { __index = Core })
    function kind.connect(...)
        local client, problem = Core.connect(...)
        return client and setmetatable(client, { __index = kind }), problem
    end
    return kind
end

-- A list of strings, of different sizes.
local Pieces = core_sending(function(self, data)
    local pieces, at = {}, 1
    while at <= #data do
        pieces[#pieces + 1] = data:sub(at, at + 8000 + #pieces)
        at = at + #pieces[#pieces]
    end
    return Core.send(self, pieces)
end)

-- A string.buffer, which keeps what wasn't sent.
local Buffer = core_sending(function(self, data)
    local buffer = require("string.buffer").new():put(data)
    local sent, problem, before = Core.send(self, buffer)
    assert(#buffer == #data - (sent or before))
    return sent, problem, before
end)

-- Without a timeout, by a blocking connect(2).
local Blocking = setmetatable({}, { __index = Core })

function Blocking.connect(host, port)
    return Core.connect(host, port, math.huge)
end

local Object = {}

function Object.connect(host, port, timeout)
    local sock = socket.tcp()
    sock:settimeout(timeout / 1000)
    local done, message, code = sock:connect(host, port)
    if not done then
        sock:close()
        return nil, of_object(message, code)
    end
    return setmetatable({ sock = sock }, { __index = Object })
end

function Object:receive(size)
    local data, message, code = self.sock:readexactly(size)
    if data then return data end
    -- What came before a failure waits for another try.
    local waiting = self.sock.reader:available()
    local rest = waiting > 0 and self.sock:read(waiting) or ""
    return nil, of_object(message, code), rest
end

function Object:send(data)
    local sent, message, code, before = self.sock:write(data)
    if sent then return sent end
    return nil, of_object(message, code), before
end

function Object:set_timeout(timeout) self.sock:settimeout(timeout / 1000) end
function Object:set_option(name, value) self.sock:setoption(name, value) end
function Object:close() self.sock:close() end

local LuaSocket = {}

function LuaSocket.connect(host, port, timeout)
    local sock = luasocket.tcp()
    sock:settimeout(timeout / 1000)
    local done, reason = sock:connect(host, port)
    if not done then
        sock:close()
        return nil, of_words(reason)
    end
    return setmetatable({ sock = sock }, { __index = LuaSocket })
end

function LuaSocket:receive(size)
    local data, reason, rest = self.sock:receive(size)
    if data then return data end
    return nil, of_words(reason), rest
end

function LuaSocket:send(data)
    local sent, reason, before = self.sock:send(data)
    if sent then return sent end
    return nil, of_words(reason), before
end

function LuaSocket:set_timeout(timeout) self.sock:settimeout(timeout / 1000) end
function LuaSocket:set_option(name, value)
    ms.setsockopt(self.sock:getfd(), name, value)
end
function LuaSocket:close() self.sock:close() end

-- Cosockets don't tell how much was sent before a failure, and their timeout is
-- for each wait.
local Resty = {}

local function bracketed(host)
    return host:find(":") and "[" .. host .. "]" or host
end

function Resty.connect(host, port, timeout)
    local sock = resty.tcp()
    sock:settimeout(timeout)
    local done, reason = sock:connect(bracketed(host), port)
    if not done then return nil, of_words(reason) end
    return setmetatable({ sock = sock }, { __index = Resty })
end

function Resty:receive(size)
    local data, reason, rest = self.sock:receive(size)
    if data then return data end
    return nil, of_words(reason), rest
end

function Resty:send(data)
    local sent, reason = self.sock:send(data)
    if sent then return sent end
    return nil, of_words(reason)
end

function Resty:set_timeout(timeout) self.sock:settimeout(timeout) end
function Resty:set_option(name, value)
    ms.setsockopt(self.sock.connection:fd(), name, value)
end
function Resty:close() self.sock:close() end

--- The kinds: `connect` makes a client of one.
clients.tcp = {
    core = Core, socket = Object, luasocket = LuaSocket, resty = Resty,
    pieces = Pieces, buffer = Buffer, blocking = Blocking,
}

---------------------------------------------------------------------------
-- Clients of UDP
---------------------------------------------------------------------------

--- The four kinds: each connects a socket to an address, and returns three
--- functions: to send, to receive within 10 ms, and to close; or nil and a
--- problem.
clients.udp = {}

-- The functions, of the library's, with problems in the common words.
local function udp_client(words, close, connected, send, receive)
    local function in_words(call)
        return function(...)
            local value, message, code = call(...)
            if value then return value end
            return nil, words(message, code)
        end
    end
    local done, problem = in_words(connected)()
    if not done then
        close()
        return nil, problem
    end
    return in_words(send), in_words(receive), close
end

function clients.udp.core(host, port)
    local addr = ms.inetaddr(host, port) or ms.inet6addr(host, port)
    local fd = assert(ms.socket(address.family(addr), ms.SOCK_DGRAM))
    return udp_client(of_core,
        function() ms.close(fd) end,
        function() return ms.connectfd(fd, addr) end,
        function(data) return ms.sendall(fd, data) end,
        function() return ms.recvfrom(fd, 10) end)
end

function clients.udp.socket(host, port)
    local sock = socket.udp()
    sock:settimeout(0.01)
    return udp_client(of_object,
        function() sock:close() end,
        function() return sock:connect(host, port) end,
        function(data) return sock:write(data) end,
        function() return sock:recvfrom() end)
end

local function of_words_alone(sock, host, port)
    return udp_client(of_words,
        function() sock:close() end,
        function() return sock:setpeername(host, port) end,
        function(data) return sock:send(data) end,
        function() return sock:receive() end)
end

function clients.udp.luasocket(host, port)
    local sock = luasocket.udp()
    sock:settimeout(0.01)
    return of_words_alone(sock, host, port)
end

function clients.udp.resty(host, port)
    local sock = resty.udp()
    sock:settimeout(10)
    return of_words_alone(sock, bracketed(host), port)
end

---------------------------------------------------------------------------
-- Names
---------------------------------------------------------------------------

--- The addresses of a host, in digits, in the ways that there are to ask; nil
--- and a problem where there are none.
clients.names = {}

local function digits(list)
    for i, addr in ipairs(list) do list[i] = ms.parseaddr(addr).addr end
    return list
end

function clients.names.core(host)
    local list, message, code = ms.getaddrinfo(host, 80)
    if not list then return nil, of_core(message, code) end
    return digits(list)
end

function clients.names.core_within(host)
    local list, message, code =
        ms.getaddrinfo(host, 80, { timeout = 10000 })
    if not list then return nil, of_core(message, code) end
    return digits(list)
end

function clients.names.socket(host)
    local list, message, code =
        socket.getaddrinfo(host, 80, 0, ms.SOCK_STREAM)
    if not list then return nil, of_object(message, code) end
    for i, entry in ipairs(list) do list[i] = entry.addr end
    return list
end

function clients.names.lsocket(host)
    local list, reason = lsocket.resolve(host)
    if not list then return nil, of_words(reason) end
    for i, entry in ipairs(list) do list[i] = entry.addr end
    return list
end

function clients.names.luasocket(host)
    local list, reason = luasocket.dns.getaddrinfo(host)
    if not list then return nil, of_words(reason) end
    for i, entry in ipairs(list) do list[i] = entry.addr end
    return list
end

function clients.names.luasocket_toip(host)
    local ip, found = luasocket.dns.toip(host)
    if not ip then
        -- Its word for EAI_NONAME.
        return nil, found == "host not found" and ms.EAI_NONAME
            or of_words(found)
    end
    return found.ip
end

---------------------------------------------------------------------------
-- Time, and what is left behind
---------------------------------------------------------------------------

--- Makes a call that is to end at its deadline: never before, and at most a
--- tenth later, in the best of three tries, for others may have the machine.
--- Returns its results.
---@param timeout number in ms
---@param call function
---@param prepare? function what comes before each try; the call gets its result
function clients.at_deadline(timeout, call, prepare)
    local elapsed, results
    for _ = 1, 3 do
        local prepared = prepare and prepare()
        results = { support.timed(call, prepared) }
        elapsed = results[1]
        if elapsed < timeout then error(elapsed .. " ms are too few", 2) end
        if elapsed <= 1.1 * timeout then return unpack(results, 2, 5) end
    end
    error(elapsed .. " ms are too many", 2)
end

--- Bytes of which no part is like another.
function clients.noise(size)
    local pieces = {}
    for i = 1, size / 8 do
        pieces[i] = ("%08x"):format(i * 2654435761 % 2^32)
    end
    return table.concat(pieces)
end

--- How many segments TCP had to send again in this namespace.
function clients.retransmitted()
    -- Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens
    -- AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs
    return tonumber(support.slurp("/proc/net/snmp")
        :match("\nTcp:" .. (" %-?%d+"):rep(11) .. " (%d+)"))
end

--- How many descriptors this process has, beside those it began with.
function clients.descriptors()
    collectgarbage()
    collectgarbage()
    return process.descriptors() - clients.at_first
end

-- Qemu has one of its own.
local threads_at_first = process.threads()

--- How many threads this process has, beside those it began with.
function clients.threads()
    return process.threads() - threads_at_first
end

--- Fails when this process has more descriptors than it began with, once the
--- threads that go on asking name servers have ended by themselves.
function clients.assert_clean()
    support.wait_for("threads to end", function()
        return clients.threads() == 0
    end)
    local left = clients.descriptors()
    if left > 0 then error(left .. " descriptors are left") end
end

clients.at_first = 0
clients.at_first = clients.descriptors()

return clients
