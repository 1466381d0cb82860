--- minisock's libraries behind one face: the core, the socket objects and the
--- drop-ins make connections, send and receive by the same calls, and give the
--- same answers. So one case can be put to all of them. Child programs load
--- this too, so nothing of busted's is in it.
---
--- What fails gives nil and a word: "end" of the stream, "timeout", "again",
--- "closed" (LuaSocket's word for several things), or an errno's name. A place
--- is { host =, port = } or { path = }. `of` gives this face to a socket of the
--- library's own, which is its field `sock`.
local ms = require "minisock"
local errors = require "minisock.errors"
local llsocket = require "minisock.llsocket"
local lsocket = require "minisock.lsocket"
local luasocket = require "minisock.luasocket"
local luaunix = require "minisock.luasocket.unix"
local resty = require "minisock.resty"
local socket = require "minisock.socket"

local SHUT_WR = ms.SHUT_WR

local faces = {}

-- Names of errnos, by number and by the system's words: drop-ins have words
-- alone, some in small letters.
local NAMES = {}
for name in ([[ EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EALREADY EBADF
    ECONNABORTED ECONNREFUSED ECONNRESET EINPROGRESS EINVAL EISCONN EMFILE
    EMSGSIZE ENAMETOOLONG ENOENT ENETUNREACH ENOTCONN ENOTSOCK EOPNOTSUPP EPIPE
    EPROTOTYPE ]]):gmatch("%u+") do
    local code = ms[name]
    NAMES[code] = name
    NAMES[errors.text(code)] = name
    NAMES[errors.text(code):lower()] = name
end
NAMES[ms.EAGAIN] = "again"
NAMES[errors.text(ms.EAGAIN)] = "again"
NAMES[socket.ERROR_TIMEOUT] = "timeout"
NAMES["address already in use"] = "EADDRINUSE" -- LuaSocket's own words
NAMES["already connected"] = "EISCONN"
NAMES["path too long"] = "ENAMETOOLONG"
NAMES["unix domain path too long"] = "ENAMETOOLONG"

local function word(message, code)
    if errors.is_timeout(message or "") then return "timeout" end
    return message == socket.ERROR_TIMEOUT and "timeout"
        or code and NAMES[code] or NAMES[message] or message
end
faces.word = word

--- The raw address of a place.
local function raw(place)
    if place.path then return assert(ms.unixaddr(place.path)) end
    return ms.inetaddr(place.host, place.port)
        or assert(ms.inet6addr(place.host, place.port))
end
faces.raw = raw

local function seconds(timeout)
    return timeout and timeout / 1000
end

-- A class of sockets, over what the library itself calls a socket.
local function class(methods)
    methods.__index = methods
    return function(sock, timeout, ...)
        local self = setmetatable({ sock = sock, extra = ... }, methods)
        if timeout then self:settimeout(timeout) end
        return self
    end
end

local function close(self) self.sock:close() end

---------------------------------------------------------------------------
-- The core
---------------------------------------------------------------------------

local core = { name = "core" }
local Core = { timeout = 5000 }
local core_socket = class(Core)
core.of = core_socket

function Core:settimeout(timeout) self.timeout = timeout end
function Core:fd() return self.sock end
function Core:finish() return ms.shutdown(self.sock, SHUT_WR) end
function Core:close() ms.close(self.sock) end

function Core:send(data)
    local count, message, code, sent =
        ms.sendall(self.sock, data, self.timeout)
    if count then return count end
    return nil, word(message, code), sent
end

function Core:recv(max)
    local data, message, code = ms.read(self.sock, self.timeout, max)
    if not data then return nil, word(message, code) end
    if data == "" and not self.datagrams then return nil, "end" end
    return data
end

function Core:accept()
    local fd, message, code = ms.accept(self.sock, self.timeout)
    if fd then return core_socket(fd) end
    return nil, word(message, code)
end

function core.connect(place, timeout)
    local fd, message, code = ms.connect(raw(place), nil, timeout or 5000)
    if fd then return core_socket(fd) end
    return nil, word(message, code)
end

function core.listen(place)
    local fd, message, code = ms.bind(raw(place))
    if fd then return core_socket(fd) end
    return nil, word(message, code)
end

local function core_datagrams(call, place)
    local fd = ms.socket(
        place.path and ms.AF_UNIX or place.host:find(":") and ms.AF_INET6
            or ms.AF_INET, ms.SOCK_DGRAM)
    local done, message, code = call(fd, raw(place))
    if not done then
        ms.close(fd)
        return nil, word(message, code)
    end
    local self = core_socket(fd)
    self.datagrams = true
    return self
end

function core.sender(place) return core_datagrams(ms.connectfd, place) end
function core.receiver(place) return core_datagrams(ms.bindfd, place) end

---------------------------------------------------------------------------
-- Socket objects
---------------------------------------------------------------------------

local objects = { name = "socket" }
local Object = { close = close }
local object_socket = class(Object)
objects.of = object_socket

function Object:settimeout(timeout)
    self.sock:settimeout(seconds(timeout))
end

function Object:fd() return self.sock:fileno() end
function Object:finish() return self.sock:shutdown(SHUT_WR) end

function Object:send(data)
    local count, message, code, sent = self.sock:write(data)
    if count then return count end
    return nil, word(message, code), sent
end

function Object:recv(max)
    local data, message, code = self.sock:read(max or 4096)
    if not message then return data end
    return nil, message == socket.ERROR_CLOSED and "end" or word(message, code)
end

function Object:accept()
    local sock, message, code = self.sock:accept()
    if sock then return object_socket(sock, 5000) end
    return nil, word(message, code)
end

local function object(kind, place)
    local family = place.path and socket.AF_UNIX
        or place.host:find(":") and socket.AF_INET6 or socket.AF_INET
    return assert(socket.socket(family, kind))
end

-- Makes a socket, and connects or binds it.
local function object_at(kind, call, place, timeout)
    local sock = object(kind, place)
    sock:settimeout(seconds(timeout or 5000))
    local done, message, code
    if place.path then
        done, message, code = sock[call](sock, (place.path:gsub("^%z", "@")))
    else
        done, message, code = sock[call](sock, place.host, place.port)
    end
    if done then return object_socket(sock) end
    sock:close()
    return nil, word(message, code)
end

function objects.connect(place, timeout)
    return object_at(socket.SOCK_STREAM, "connect", place, timeout)
end

function objects.listen(place)
    local self, why = object_at(socket.SOCK_STREAM, "bind", place)
    if self then assert(self.sock:listen(5)) end
    return self, why
end

function objects.sender(place)
    return object_at(socket.SOCK_DGRAM, "connect", place)
end

function objects.receiver(place)
    return object_at(socket.SOCK_DGRAM, "bind", place)
end

---------------------------------------------------------------------------
-- LuaSocket
---------------------------------------------------------------------------

local luasockets = { name = "luasocket" }
local LuaSocket = { close = close }
local luasocket_socket = class(LuaSocket)
luasockets.of = luasocket_socket

function LuaSocket:settimeout(timeout)
    self.sock:settimeout(seconds(timeout))
end

function LuaSocket:fd() return self.sock:getfd() end
function LuaSocket:finish() return self.sock:shutdown("send") end

function LuaSocket:send(data)
    local last, reason, sent = self.sock:send(data)
    if last then return last end
    return nil, word(reason), sent
end

-- A stream has no call for what is there: one byte more than comes times out.
function LuaSocket:recv(max)
    if self.datagrams then
        local data, reason = self.sock:receive(max)
        if data then return data end
        return nil, word(reason)
    end
    local first, reason = self.sock:receive(1)
    if not first then
        return nil, reason == "closed" and "closed" or word(reason)
    end
    local size = math.min(self.sock.reader:available(), (max or 4096) - 1)
    return first .. (size > 0 and self.sock:receive(size) or "")
end

function LuaSocket:accept()
    local sock, reason = self.sock:accept()
    if sock then return luasocket_socket(sock, 5000) end
    return nil, word(reason)
end

local function luasocket_at(sock, call, place, timeout)
    sock:settimeout(seconds(timeout or 5000))
    local done, reason
    if place.path then
        done, reason = sock[call](sock, place.path)
    else
        done, reason = sock[call](sock, place.host, place.port)
    end
    if done then return luasocket_socket(sock) end
    sock:close()
    return nil, word(reason)
end

function luasockets.connect(place, timeout)
    return luasocket_at(place.path and luaunix.stream() or luasocket.tcp(),
        "connect", place, timeout)
end

function luasockets.listen(place)
    local self, why = luasocket_at(
        place.path and luaunix.stream() or luasocket.tcp(), "bind", place)
    if self then assert(self.sock:listen(5)) end
    return self, why
end

local function luasocket_datagrams(call, place)
    local self, why = luasocket_at(
        place.path and luaunix.dgram() or luasocket.udp(), call, place)
    if self then self.datagrams = true end
    return self, why
end

function luasockets.sender(place)
    return luasocket_datagrams("setpeername", place)
end

function luasockets.receiver(place)
    return luasocket_datagrams("setsockname", place)
end

---------------------------------------------------------------------------
-- Look-alikes of cosockets
---------------------------------------------------------------------------

local cosockets = { name = "resty" }
local Cosocket = { close = close }
local cosocket = class(Cosocket)
cosockets.of = cosocket

-- These can't try only once: 0 is for the default.
function Cosocket:settimeout(timeout)
    self.sock:settimeout(math.max(timeout, 1))
end

function Cosocket:fd()
    return (self.sock.owner or self.sock.connection.owner).fd
end

function Cosocket:finish() return ms.shutdown(self:fd(), SHUT_WR) end

function Cosocket:send(data)
    local count, reason = self.sock:send(data)
    if count then return count end
    return nil, word(reason)
end

function Cosocket:recv(max)
    local data, reason
    if self.datagrams then
        data, reason = self.sock:receive(max)
    else
        data, reason = self.sock:receiveany(max or 4096)
    end
    if data then return data end
    return nil, reason == "closed" and "end" or word(reason)
end

local function cosocket_at(sock, call, place, timeout)
    sock:settimeout(timeout or 5000)
    local host = place.path and "unix:" .. place.path or place.host
    if host:find(":.*:") and not place.path then host = "[" .. host .. "]" end
    local done, reason = sock[call](sock, host, place.port)
    if done then return cosocket(sock) end
    return nil, reason:find("too long path") and "ENAMETOOLONG"
        or word(reason)
end

function cosockets.connect(place, timeout)
    return cosocket_at(resty.tcp(), "connect", place, timeout)
end

function cosockets.sender(place)
    local self, why = cosocket_at(resty.udp(), "setpeername", place)
    if self then self.datagrams = true end
    return self, why
end

---------------------------------------------------------------------------
-- lsocket
---------------------------------------------------------------------------

local lsockets = { name = "lsocket" }
local Lsocket = { close = close, timeout = 5000 }
local lsocket_socket = class(Lsocket)
lsockets.of = lsocket_socket

function Lsocket:settimeout(timeout) self.timeout = timeout end
function Lsocket:fd() return self.sock:info().fd end
function Lsocket:finish() return ms.shutdown(self:fd(), SHUT_WR) end

function Lsocket:send(data)
    local count, message = self.sock:send(data)
    if count then return count end
    return nil, count == false and "again" or word(message)
end

-- It never waits: that is for select.
function Lsocket:wait()
    return lsocket.select({ self.sock }, seconds(self.timeout))
end

function Lsocket:recv(max)
    if not self:wait() then return nil, "timeout" end
    local data, message = self.sock:recv(max)
    if data then return data end
    if data == false then return nil, "again" end
    return nil, message and word(message) or "end"
end

function Lsocket:accept()
    if not self:wait() then return nil, "timeout" end
    local sock, message = self.sock:accept()
    if sock then return lsocket_socket(sock) end
    return nil, sock == false and "again" or word(message)
end

local function lsocket_at(call, kind, place)
    local path = place.path
    if path then
        path = path:gsub("^%z", "@")
        if not path:find("^[@/]") then path = "./" .. path end
    end
    local sock, message = lsocket[call](kind, path or place.host, place.port)
    if sock then return lsocket_socket(sock) end
    return nil, word(message)
end

function lsockets.connect(place, timeout)
    local self, why = lsocket_at("connect", "tcp", place)
    if not self then return nil, why end
    local _, ready = lsocket.select({}, { self.sock },
        seconds(timeout or 5000))
    local done, message = self.sock:status()
    if ready and done then return self end
    self:close()
    return nil, ready and word(message) or "timeout"
end

function lsockets.listen(place) return lsocket_at("bind", "tcp", place) end
function lsockets.sender(place) return lsocket_at("connect", "udp", place) end
function lsockets.receiver(place) return lsocket_at("bind", "udp", place) end

---------------------------------------------------------------------------
-- llsocket
---------------------------------------------------------------------------

local llsockets = { name = "llsocket" }
local Llsocket = { close = close }
local llsocket_socket = class(Llsocket)
llsockets.of = llsocket_socket

function Llsocket:settimeout(timeout)
    self.sock:nonblock(timeout == 0)
    if timeout > 0 then
        self.sock:rcvtimeo(seconds(timeout))
        self.sock:sndtimeo(seconds(timeout))
    end
    self.waits = timeout > 0
end

function Llsocket:fd() return self.sock:fd() end

function Llsocket:finish()
    local problem = self.sock:shutdown(SHUT_WR)
    if problem then return nil, problem end
    return true
end

-- Its word where a call would have to wait.
function Llsocket:again() return self.waits and "timeout" or "again" end

function Llsocket:send(data)
    local count, message, again = self.sock:send(data)
    if count and (count > 0 or not again) then return count end
    return nil, again and self:again() or message and word(message)
        or "closed"
end

function Llsocket:recv(max)
    local data, message, again = self.sock:recv(max)
    if data then return data end
    return nil, again and self:again() or message and word(message) or "end"
end

function Llsocket:accept()
    local sock, message, again = self.sock:accept()
    if sock then return llsocket_socket(sock, 5000) end
    return nil, again and self:again() or word(message)
end

--- The address info of a place.
function llsockets.address(place, socktype)
    if place.path then
        return llsocket.unix.getaddrinfo(place.path, socktype)
    end
    return assert(llsocket.inet.getaddrinfo(place.host, tostring(place.port),
        socktype, nil, llsocket.AI_NUMERICHOST))[1]
end

local function llsocket_at(socktype, call, place, timeout)
    local ai, message = llsockets.address(place, socktype)
    if not ai then return nil, word(message) end
    local sock = assert(llsocket.socket.new(ai))
    local self = llsocket_socket(sock, timeout or 5000)
    local problem = sock[call](sock)
    if not problem then return self end
    sock:close()
    return nil, word(problem)
end

function llsockets.connect(place, timeout)
    local self, why = llsocket_at(ms.SOCK_STREAM, "connect", place, timeout)
    if not self then return nil, why end
    -- That it timed out isn't said, as if it were under way.
    if self.sock:getpeername() then return self end
    self:close()
    return nil, "timeout"
end

function llsockets.listen(place)
    local self, why = llsocket_at(ms.SOCK_STREAM, "bind", place)
    if self then assert(not self.sock:listen()) end
    return self, why
end

function llsockets.sender(place)
    return llsocket_at(ms.SOCK_DGRAM, "connect", place)
end

function llsockets.receiver(place)
    return llsocket_at(ms.SOCK_DGRAM, "bind", place)
end

---------------------------------------------------------------------------
-- All of them
---------------------------------------------------------------------------

faces.list =
    { core, objects, luasockets, cosockets, lsockets, llsockets }
for _, library in ipairs(faces.list) do
    faces[library.name] = library
end

return faces
