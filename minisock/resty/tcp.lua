--- The look-alike of ngx.socket.tcp's objects. Stands on minisock.reader, and
--- on minisock.resty's connection, pool, pattern and common, which hold what an
--- object isn't.
---
--- A method that fails returns nil and a reason, in a cosocket's words.
local ms = require "minisock"
local check = require "minisock.check"
local clock = require "minisock.clock"
local common = require "minisock.resty.common"
local connection = require "minisock.resty.connection"
local errors = require "minisock.errors"
local pattern = require "minisock.resty.pattern"
local pool = require "minisock.resty.pool"
local reader = require "minisock.reader"

local SOCK_STREAM = ms.SOCK_STREAM
local without_cr = reader.without_cr

local tcp = {
    --- The file of the certificates that sslhandshake trusts when it is to
    --- verify; nginx's lua_ssl_trusted_certificate can't be asked for.
    trusted_certificate = "/etc/ssl/certs/ca-certificates.crt",
}

---@class minisock.resty.tcp
---@field connection? minisock.resty.connection
---@field connected_once? boolean
---@field pool_name? string
---@field pool_size? integer
---@field source? string the raw address to connect from
---@field connect_timeout number in ms
---@field send_timeout number
---@field read_timeout number
local Tcp = {}
Tcp.__index = Tcp

--- As ngx.socket.tcp().
---@return minisock.resty.tcp
function tcp.new()
    return setmetatable({
        connect_timeout = common.TIMEOUT,
        send_timeout = common.TIMEOUT,
        read_timeout = common.TIMEOUT,
    }, Tcp)
end

---------------------------------------------------------------------------
-- Connecting
---------------------------------------------------------------------------

-- What is wrong with an option, for an error.
local function wrong(name, what, value)
    return ('bad "%s" option %s: %s'):format(name, what, tostring(value))
end

local function check_pool_size(size)
    if check.absent(size) then return nil end
    local number = check.number(size)
    if not number then return wrong("pool_size", "type", type(size)) end
    if number < 1 or number ~= number then
        return wrong("pool_size", "value", size)
    end
end

-- What is wrong with the options, or nil.
local function check_options(options)
    local name, backlog = options.pool, check.number(options.backlog)
    if not check.absent(name) and type(name) ~= "string"
            and type(name) ~= "number" then
        return wrong("pool", "type", type(name))
    end
    if backlog and backlog < 0 then
        return wrong("backlog", "value", backlog)
    end
    return check_pool_size(options.pool_size)
end

local function bad(arg, problem)
    error(("bad argument #%d to 'connect' (%s)"):format(arg, problem), 4)
end

-- What connect was given, checked. An error is at who called the public
-- function that called this.
local function connect_arguments(host, port, options)
    if type(host) == "number" then host = tostring(host) end
    if type(host) ~= "string" then
        bad(1, "string expected, got " .. type(host))
    end
    if type(port) == "table" and host:sub(1, 5) == "unix:" then
        port, options = nil, port
    end
    options = type(options) == "table" and options or {}
    local problem = check_options(options)
    if problem then bad(3, problem) end
    return host, port, options
end

local function open(self, host, port)
    local deadline = clock.deadline(self.connect_timeout)
    local addresses, reason =
        common.addresses(host, port, SOCK_STREAM, self.connect_timeout)
    if not addresses then return nil, reason end
    local conn, message, code =
        connection.open(addresses, self.source, deadline)
    if conn then return conn end
    return nil, common.reason(message, code)
end

local function connect(self, host, port, options)
    local is_path = host:sub(1, 5) == "unix:"
    local number, reason
    if not is_path then
        number, reason = common.port(port)
        if not number then return nil, reason end
    end
    if self.connection then self:close() end
    self.connected_once = true
    self.pool_name = tostring(options.pool
        or (is_path and host or host .. ":" .. tostring(port)))
    self.pool_size = check.number(options.pool_size)
    local conn = pool.take(self.pool_name)
    if conn then
        conn.reused = conn.reused + 1
    else
        conn, reason = open(self, host, number)
        if not conn then return nil, reason end
    end
    self.connection = conn
    return 1
end

--- Connects, or takes a connection of the same place from the pool.
---@param host string a name, an IPv4 address, an IPv6 address in brackets, or
--- "unix:/path"
---@param port? integer|string what a path doesn't need
---@param options? table pool (name), pool_size
---@return 1? done, string? reason
function Tcp:connect(host, port, options)
    host, port, options = connect_arguments(host, port, options)
    return connect(self, host, port, options)
end

--- As ngx.socket.connect: makes an object and connects it.
---@param host string
---@param port? integer|string
---@param options? table
---@return minisock.resty.tcp? sock, string? reason
function tcp.connect(host, port, options)
    host, port, options = connect_arguments(host, port, options)
    local self = tcp.new()
    local done, reason = connect(self, host, port, options)
    if done then return self end
    return nil, reason
end

--- The address that later connections come from.
---@param ip string
---@return true? done, string? reason
function Tcp:bind(ip)
    ip = check.string(ip, 1, "bind")
    local addr = ms.inetaddr(ip, 0) or ms.inet6addr(ip, 0)
    if not addr then return nil, "bad address" end
    self.source = addr
    return true
end

--- How often the connection came out of the pool.
---@return integer? times, string? reason
function Tcp:getreusedtimes()
    local conn = self.connection
    if not conn then return nil, "closed" end
    return conn.reused
end

--- Closes the connection.
---@return 1? done, string? reason
function Tcp:close()
    local conn = self.connection
    if not conn then return nil, "closed" end
    self.connection = nil
    conn:close()
    return 1
end

local function check_number(value, arg)
    if check.absent(value) then return nil end
    local number = check.number(value)
    if number then return number end
    error(("bad argument #%d to 'setkeepalive' (number expected, got %s)")
        :format(arg, type(value)), 3)
end

--- Gives the connection to the pool, for others: this object is closed.
---@param idle_time? number how long it may wait there, in ms: 60000 by default,
--- 0 is for ever
---@param size? integer of the pool, when this makes it: 30 by default
---@return 1? done, string? reason
function Tcp:setkeepalive(idle_time, size)
    local conn = self.connection
    if not conn then return nil, "closed" end
    idle_time = check_number(idle_time, 1)
    size = check_number(size, 2)
    if size and (size < 1 or size ~= size) then
        error(("bad argument #2 to 'setkeepalive' (bad \"pool_size\" option "
            .. "value: %s)"):format(size), 2)
    end
    if conn.ended or conn.unwritable then return nil, "closed" end
    if conn.reader:available() > 0 then
        return nil, "unread data in buffer"
    end
    local state = conn:state()
    if state == "closed" then return nil, "closed" end
    if state == "data" then
        self:close()
        return nil, "connection in dubious state"
    end
    self.connection = nil
    pool.keep(self.pool_name, conn, idle_time and math.max(0, idle_time),
        math.floor(self.pool_size or size or pool.SIZE))
    return 1
end

---------------------------------------------------------------------------
-- Sending and receiving
---------------------------------------------------------------------------

--- Sends all of it. After a failure nothing more can be sent.
---@param data string|number|boolean|nil|table nested tables of strings and
--- numbers; nil and booleans as words
---@return integer? bytes, string? reason
function Tcp:send(data)
    local conn = self.connection
    if not conn or conn.unwritable then return nil, "closed" end
    data = common.join(data)
    local sent, message, code = conn:send(data, self.send_timeout)
    if sent then return sent end
    conn.unwritable = true
    return nil, common.reason(message, code)
end

-- Returns what `take` finds, or nil and a reason.
local function read(self, take, wanted)
    local conn = self.connection
    if conn.ended then return nil, "closed" end
    local data, message, code = conn:receive(self.read_timeout, take, wanted)
    if data then return data end
    if not message then
        conn.ended = true
        return nil, "closed"
    end
    local reason = common.reason(message, code)
    if reason ~= "timeout" then conn.ended = true end
    return nil, reason
end

-- Reads likewise; what came before a failure is its third value, but once.
local function receive(self, take, wanted)
    local conn = self.connection
    local ended = conn.ended
    local data, reason = read(self, take, wanted)
    if data then return data end
    if ended then return nil, reason end
    return nil, reason, conn.reader:take_rest()
end

local function receive_line(self)
    local line, reason, rest = receive(self, reader.line)
    if line then return without_cr(line) end
    if rest then return nil, reason, without_cr(rest) end
    return nil, reason
end

-- The end of the stream is what this one waits for, so that it doesn't end
-- reading.
local function receive_all(self)
    local conn = self.connection
    local _, reason, rest = receive(self, reader.everything)
    if not rest then return nil, reason end
    if reason ~= "closed" then return nil, reason, rest end
    conn.ended = false
    return rest
end

local NAMED = { ["*l"] = receive_line, ["*a"] = receive_all }

-- How many bytes a pattern wants; nil when it isn't a number of them.
local function size_of(value)
    local size = check.number(value)
    if size and size >= 0 and size < math.huge then return math.floor(size) end
end

--- Receives a line (without its end), so many bytes, or all up to the end of
--- the stream.
---@param what? "*l"|"*a"|integer a line by default
---@return string? data, string? reason
---@return string? partial what came before the failure; it won't come again
function Tcp:receive(what)
    if not self.connection then return nil, "closed" end
    if check.absent(what) then return receive_line(self) end
    if NAMED[what] then return NAMED[what](self) end
    local size = size_of(what)
    if not size then
        error(("bad argument #1 to 'receive' (bad pattern argument%s)")
            :format(type(what) == "string" and ": " .. what or ""), 2)
    end
    if size == 0 and not self.connection.ended then return "" end
    return receive(self, reader.exactly, size)
end

local function take_any(buffered, max)
    if buffered:available() > 0 then return buffered:take(max) end
end

--- Receives what there is, or waits until there is something.
---@param max integer how many bytes at most
---@return string? data, string? reason, string? partial
function Tcp:receiveany(max)
    if not self.connection then return nil, "closed" end
    local size = size_of(max)
    if not size or size < 1 then
        error("bad argument #1 to 'receiveany' (bad max argument)", 2)
    end
    return receive(self, take_any, size)
end

--- Makes an iterator: each call receives up to a text; or with a size, a piece
--- of that, and after the last piece three nils.
---@param text string
---@param options? table inclusive: whether the text is returned as well
---@return function? iterator, string? reason
function Tcp:receiveuntil(text, options)
    text = check.string(text, 1, "receiveuntil")
    options = check.strict("table", options, 2, "receiveuntil", {})
    if text == "" then return nil, "pattern is empty" end
    local inclusive = options.inclusive
    if not check.absent(inclusive) and type(inclusive) ~= "boolean" then
        error(('bad "inclusive" option value type: %s')
            :format(type(inclusive)), 2)
    end
    local function read_piece(take, wanted)
        local conn = self.connection
        if not conn or conn.ended then return nil, "closed" end
        local data, reason = read(self, take, wanted)
        if data then return data end
        -- After a timeout, the text's beginning waits for its end.
        return nil, reason, conn.ended and conn.reader:take_rest() or ""
    end
    return pattern.iterator(read_piece, text, inclusive)
end

---------------------------------------------------------------------------
-- Timeouts and options
---------------------------------------------------------------------------

--- Sets how long to wait: for a connection, and each time for something to be
--- taken or sent by the peer.
---@param timeout number in ms
function Tcp:settimeout(timeout)
    timeout = common.timeout(timeout, 1, "settimeout")
    self.connect_timeout = timeout
    self.send_timeout = timeout
    self.read_timeout = timeout
end

--- Sets each of these by itself.
---@param connect_timeout? number in ms
---@param send_timeout? number
---@param read_timeout? number
function Tcp:settimeouts(connect_timeout, send_timeout, read_timeout)
    connect_timeout = common.timeout(connect_timeout, 1, "settimeouts")
    send_timeout = common.timeout(send_timeout, 2, "settimeouts")
    read_timeout = common.timeout(read_timeout, 3, "settimeouts")
    self.connect_timeout = connect_timeout
    self.send_timeout = send_timeout
    self.read_timeout = read_timeout
end

local OPTIONS = {
    ["keepalive"] = "SO_KEEPALIVE",
    ["reuseaddr"] = "SO_REUSEADDR",
    ["tcp-nodelay"] = "TCP_NODELAY",
    ["sndbuf"] = "SO_SNDBUF",
    ["rcvbuf"] = "SO_RCVBUF",
}
local IS_SIZE = { SO_SNDBUF = true, SO_RCVBUF = true }

local function descriptor_of(self)
    if not self.connected_once then
        error("socket is never created nor connected", 3)
    end
    return self.connection and self.connection:fd()
end

--- Sets an option.
---@param option "keepalive"|"reuseaddr"|"tcp-nodelay"|"sndbuf"|"rcvbuf"
---@param value boolean|integer
---@return true? done, string? reason
function Tcp:setoption(option, value)
    local fd = descriptor_of(self)
    if check.absent(option) then
        return nil, 'missing the "option" argument'
    end
    if check.absent(value) then return nil, 'missing the "value" argument' end
    local name = OPTIONS[option]
    if not name then return nil, "unsupported option " .. tostring(option) end
    if not fd then return nil, "closed" end
    if type(value) == "boolean" then value = value and 1 or 0 end
    value = check.integer(math.floor(check.strict("number", value, 2,
        "setoption")), 2, "setoption", -2^31, 2^31 - 1)
    if not IS_SIZE[name] then value = value ~= 0 end
    local done, _, code = ms.setsockopt(fd, name, value)
    if done then return true end
    return nil, errors.text(code)
end

--- Reads an option.
---@param option string
---@return integer? value, string? reason
function Tcp:getoption(option)
    local fd = descriptor_of(self)
    if check.absent(option) then
        return nil, 'missing the "option" argument'
    end
    local name = OPTIONS[option]
    if not name then return nil, "unsupported option " .. tostring(option) end
    if not fd then return nil, "closed" end
    local value, _, code = ms.getsockopt(fd, name)
    if value == nil then return nil, errors.text(code) end
    if type(value) == "boolean" then value = value and 1 or 0 end
    return value
end

---------------------------------------------------------------------------
-- TLS
---------------------------------------------------------------------------

--- Begins TLS, by LuaSec. On a connection that has it already, nothing is
--- done.
---@param _ any a session to use again, which LuaSec can't
---@param server_name? string for SNI and for `verify`
---@param verify? boolean whether the certificate must be a trusted one, and the
--- server's; not by default
---@return true? session, string? reason
function Tcp:sslhandshake(_, server_name, verify)
    local fd = descriptor_of(self)
    server_name = check.optional_string(server_name, 2, "sslhandshake")
    if not fd then return nil, "closed" end
    local conn = self.connection
    if conn.tls then return true end
    if conn.reader:available() > 0 then
        return nil, "unread data in buffer"
    end
    if not require("minisock.resty.tls").available() then
        return nil, "sslhandshake needs LuaSec, which isn't installed "
            .. "(lua-sec in Debian, luasec in LuaRocks)"
    end
    local done, reason = conn:start_tls(server_name,
        verify and tcp.trusted_certificate or nil,
        clock.deadline(self.connect_timeout))
    if done then return true end
    self:close()
    return nil, reason
end

--- Only a real cosocket can show a certificate of the client's.
---@return nil, string reason
function Tcp.setclientcert()
    return nil, "client certificates are for cosockets alone"
end

return tcp
