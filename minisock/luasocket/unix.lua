--- LuaSocket's socket.unix: Unix sockets, stream and datagram. Stands on
--- minisock.luasocket's object, stream and options.
local ms = require "minisock"
local check = require "minisock.check"
local errors = require "minisock.errors"
local object = require "minisock.luasocket.object"
local options = require "minisock.luasocket.options"
local stream = require "minisock.luasocket.stream"

local AF_UNIX, SOCK_DGRAM, SOCK_STREAM =
    ms.AF_UNIX, ms.SOCK_DGRAM, ms.SOCK_STREAM
local DATAGRAMSIZE = 8192

-- An abstract name may begin with its NUL; what begins with "@" is a file.
local function unix_address(path)
    if path:sub(1, 1) == "@" then path = "./" .. path end
    local addr, _, code = ms.unixaddr(path)
    if addr then return addr end
    if code == ms.ENAMETOOLONG then return nil, "path too long" end
    return nil, object.words(code)
end

-- Does something with the object's descriptor and a path. Returns what it
-- gives, or nil and a reason.
local function at_path(self, path, act)
    local addr, reason = unix_address(path)
    if not addr then return nil, reason end
    local done, message, code = act(self.owner.fd, addr)
    if done then return done end
    return nil, object.reason(message, code)
end

-- The path in a raw address; "" where a descriptor that came by setfd has
-- another kind of address.
local function path_of(addr)
    return (ms.parseaddr(addr) or {}).path or ""
end

local function add_methods(kind, methods, socktype)
    object.add_methods(kind, methods)

    ---@return string? path, string? reason
    function methods.getsockname(self)
        object.check(self, kind, "getsockname")
        local addr, _, code = ms.getsockname(self.owner.fd)
        if not addr then return nil, errors.text(code) end
        return path_of(addr)
    end

    return function(class)
        local self = object.new(kind, class, -1)
        local done, reason = object.open(self, AF_UNIX, socktype)
        if not done then return nil, reason end
        return self
    end
end

---------------------------------------------------------------------------
-- Streams
---------------------------------------------------------------------------

local MASTER, CLIENT, SERVER =
    "unixstream{master}", "unixstream{client}", "unixstream{server}"

local Stream = { any = "unixstream{any}" }
local StreamMethods = {}

local new_stream = add_methods(Stream, StreamMethods, SOCK_STREAM)
stream.add_methods(Stream, StreamMethods, CLIENT)
options.add_methods(Stream, StreamMethods, options.unix)

---@param path string
---@return 1? done, string? reason
function StreamMethods:bind(path)
    object.check(self, Stream, "bind", MASTER)
    path = check.string(path, 1, "bind")
    local done, reason = at_path(self, path, ms.bindfd)
    if done then return 1 end
    return nil, reason
end
StreamMethods.setsockname = StreamMethods.bind

---@param backlog? integer 32 by default
---@return 1? done, string? reason
function StreamMethods:listen(backlog)
    object.check(self, Stream, "listen", MASTER)
    backlog = object.to_int(object.check_number(backlog, 1, "listen", 32))
    local done, _, code = ms.listen(self.owner.fd, backlog)
    if not done then return nil, object.words(code) end
    self.class = SERVER
    return 1
end

---@return table? client, string? reason
function StreamMethods:accept()
    object.check(self, Stream, "accept", SERVER)
    local fd, reason = object.accept(self)
    if not fd then return nil, reason end
    local client = object.new(Stream, CLIENT, fd)
    stream.start(client, CLIENT)
    return client
end

---@param path string
---@return 1? done, string? reason
function StreamMethods:connect(path)
    object.check(self, Stream, "connect", MASTER)
    path = check.string(path, 1, "connect")
    local timeout = object.timeout(self)
    local done, reason = at_path(self, path, function(fd, addr)
        return ms.connectfd(fd, addr, timeout)
    end)
    if not done then return nil, reason end
    stream.start(self, CLIENT)
    return 1
end
StreamMethods.setpeername = StreamMethods.connect

---------------------------------------------------------------------------
-- Datagrams
---------------------------------------------------------------------------

local CONNECTED, UNCONNECTED = "unixdgram{connected}", "unixdgram{unconnected}"

local Dgram = { any = "unixdgram{any}" }
local DgramMethods = {}

local new_dgram = add_methods(Dgram, DgramMethods, SOCK_DGRAM)
options.add_methods(Dgram, DgramMethods,
    { reuseaddr = options.unix.reuseaddr })

---@param path string
---@return 1? done, string? reason
function DgramMethods:bind(path)
    object.check(self, Dgram, "bind", UNCONNECTED)
    path = check.string(path, 1, "bind")
    local done, reason = at_path(self, path, ms.bindfd)
    if done then return 1 end
    return nil, reason
end
DgramMethods.setsockname = DgramMethods.bind

---@param path string
---@return 1? done, string? reason
function DgramMethods:connect(path)
    object.check(self, Dgram, "connect")
    path = check.string(path, 1, "connect")
    local done, reason = at_path(self, path, ms.connectfd)
    if not done then return nil, reason end
    self.class = CONNECTED
    return 1
end
DgramMethods.setpeername = DgramMethods.connect

---@param data string
---@return integer? sent, string? reason
function DgramMethods:send(data)
    object.check(self, Dgram, "send", CONNECTED)
    data = check.string(data, 1, "send")
    local sent, reason = object.send_datagram(self, data)
    if sent then return sent end
    return nil, reason
end

---@param data string
---@param path string
---@return integer? sent, string? reason
function DgramMethods:sendto(data, path)
    object.check(self, Dgram, "sendto", UNCONNECTED)
    data = check.string(data, 1, "sendto")
    path = check.string(path, 2, "sendto")
    local addr, reason = unix_address(path)
    if not addr then return nil, reason end
    local sent
    sent, reason = object.send_datagram_to(self, addr, data)
    if sent then return sent end
    return nil, reason
end

---@param size? integer how many bytes of it, 8192 by default
---@return string? data, string? reason
function DgramMethods:receive(size)
    object.check(self, Dgram, "receive")
    size = object.check_number(size, 1, "receive", DATAGRAMSIZE)
    local data, reason = object.receive_datagram(self, size)
    if data then return data end
    return nil, reason
end

---@param size? integer
---@return string? data, string? path_or_reason
function DgramMethods:receivefrom(size)
    object.check(self, Dgram, "receivefrom", UNCONNECTED)
    size = object.check_number(size, 1, "receivefrom", DATAGRAMSIZE)
    local data, from = object.receive_datagram(self, size)
    if data then return data, path_of(from) end
    return nil, from
end

---------------------------------------------------------------------------
-- The module
---------------------------------------------------------------------------

local unix = {}

---@return table? sock, string? reason
function unix.stream()
    return new_stream(MASTER)
end
unix.tcp = unix.stream

---@return table? sock, string? reason
function unix.dgram()
    return new_dgram(UNCONNECTED)
end
unix.udp = unix.dgram

--- The module is a function as well, which makes a stream.
---@return table? sock, string? reason
function unix.__call()
    return new_stream(MASTER)
end

return setmetatable(unix, unix)
