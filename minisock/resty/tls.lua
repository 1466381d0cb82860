--- TLS for the look-alikes, by LuaSec, which takes over the descriptor. Stands
--- on minisock, minisock.clock, minisock.owner and minisock.sigpipe.
local ms = require "minisock"
local clock = require "minisock.clock"
local owner = require "minisock.owner"
local sigpipe = require "minisock.sigpipe"

local POLLIN, POLLOUT = ms.POLLIN, ms.POLLOUT
local hold = sigpipe.hold

local tls = {}

---@class minisock.resty.tls
---@field held table conn, which is LuaSec's, and fd; nil once it is closed
---@field failed? string why LuaSec isn't called again: it might not return
---@field watch ffi.cdata*
local Tls = {}
Tls.__index = Tls

---------------------------------------------------------------------------
-- Closing
---------------------------------------------------------------------------

-- LuaSec doesn't close without a farewell to the peer, for which it waits and
-- risks SIGPIPE. When that must not be, it is said to a socket of our own.
local function abandon(held)
    local ours, theirs = ms.socketpair()
    if ours then
        ms.dup2(ours, held.fd)
        ms.close(ours)
    end
    hold(held.conn.close, held.conn)
    if ours then ms.close(theirs) end
end

local function new(conn, fd)
    local held = { conn = conn, fd = fd }
    return setmetatable({
        held = held,
        -- LuaSec's own finaliser would come to the same. Closed, it does
        -- nothing.
        watch = owner.watch(function()
            if held.conn then abandon(held) end
        end),
    }, Tls)
end

local function give_up(self)
    local held = self.held
    self.held = nil
    return held
end

--- Closes the descriptor and tells the peer nothing.
function Tls:abandon()
    local held = give_up(self)
    abandon(held)
    held.conn = nil
end

--- Closes the connection: with a farewell, where that can be said at once.
function Tls:close()
    local held = give_up(self)
    local _, ready = ms.poll(ms.pollfd(held.fd, POLLOUT), 0)
    if self.failed or ready ~= 1 then
        abandon(held)
    else
        hold(held.conn.close, held.conn)
    end
    held.conn = nil
end

---@return integer fd
function Tls:getfd()
    return self.held.fd
end

---------------------------------------------------------------------------
-- Certificates
---------------------------------------------------------------------------

-- "*.example.org" is for one label in place of the star.
local function matches(pattern, host)
    pattern, host = pattern:lower(), host:lower()
    local parent = pattern:match("^%*(%..+%..+)$")
    if parent then return host:match("^[^.*]+(%..*)$") == parent end
    return pattern == host and not host:find("*", 1, true)
end

-- An address in digits as bytes; nil for a name.
local function address_of(host)
    return ms.inetaddr(host, 0)
        or ms.inet6addr(host:match("^%[(.*)%]$") or host, 0)
end

local SUBJECT_ALT_NAME = "2.5.29.17"

-- Whether the certificate is one for the host.
local function is_for(certificate, host)
    local names = (certificate:extensions() or {})[SUBJECT_ALT_NAME] or {}
    local wanted = address_of(host)
    for _, name in ipairs(wanted and names.iPAddress or {}) do
        if address_of(name) == wanted then return true end
    end
    for _, name in ipairs(not wanted and names.dNSName or {}) do
        if matches(name, host) then return true end
    end
    return false
end

---------------------------------------------------------------------------
-- Reading and writing
---------------------------------------------------------------------------

-- What to wait for when LuaSec would have to.
local EVENTS = {
    wantread = POLLIN,
    timeout = POLLIN, -- what LuaSec says of reading
    wantwrite = POLLOUT,
}

-- Returns false when time is up.
local function wait(self, wants, timeout)
    local _, ready = ms.poll(ms.pollfd(self.held.fd, EVENTS[wants]), timeout)
    return ready ~= 0
end

--- As minisock.read.
---@param self minisock.resty.tls
---@param timeout number in ms
---@param size integer
---@return string? data "" at the end of the stream
---@return string? reason
function tls.read(self, timeout, size)
    local deadline = clock.deadline(timeout)
    local conn = self.held.conn
    while not self.failed do
        local data, reason, partial = hold(conn.receive, conn, size)
        if not data and not EVENTS[reason] then self.failed = reason end
        data = data or partial
        if data and data ~= "" then return data end
        if not self.failed and not wait(self, reason, clock.left(deadline))
        then
            return nil, "read timeout"
        end
    end
    if self.failed == "closed" then return "" end
    return nil, self.failed
end

--- As minisock.writer.send.
---@param self minisock.resty.tls
---@param data string
---@param first integer
---@param last integer
---@param deadline number
---@param longest number
---@return integer? sent, string? reason
function tls.send(self, data, first, last, deadline, longest)
    local conn = self.held.conn
    local at = first
    while at <= last do
        if self.failed then return nil, self.failed end
        local done, reason, partial = hold(conn.send, conn, data, at, last)
        if done then break end
        at = math.max(at, partial + 1)
        if not EVENTS[reason] then
            self.failed = reason
        elseif not wait(self, reason,
                math.min(longest, clock.left(deadline))) then
            return nil, "send timeout"
        end
    end
    return last - first + 1
end

---------------------------------------------------------------------------
-- Beginning
---------------------------------------------------------------------------

-- Who LuaSec believes to be a socket of LuaSocket's, and takes over.
local function lend(fd)
    return {
        getfd = function() return fd end,
        setfd = function() end,
    }
end

local function shake_hands(self, deadline)
    local conn = self.held.conn
    while true do
        local done, reason = hold(conn.dohandshake, conn)
        if done then return true end
        if not EVENTS[reason] then
            self.failed = reason
            return nil, reason
        end
        if not wait(self, reason, clock.left(deadline)) then
            return nil, "timeout"
        end
    end
end

--- Whether LuaSec is there.
---@return boolean
function tls.available()
    return (pcall(require, "ssl"))
end

-- Many peers end a stream without TLS's farewell; nginx takes that for an end.
local OPTIONS = {
    "all", "no_sslv2", "no_sslv3", "no_tlsv1", "no_tlsv1_1",
    "ignore_unexpected_eof",
}

-- Those that this LuaSec knows.
local function known_options(ssl)
    local options = {}
    for _, name in ipairs(OPTIONS) do
        if ssl.config.options[name] then options[#options + 1] = name end
    end
    return options
end

--- Makes a TLS connection, as the client, of a connected descriptor, which
--- LuaSec owns from now on, also when this fails.
---@param fd integer
---@param host? string the server's name: for SNI, and for `trusted`
---@param trusted? string the file of the certificates to trust; nil trusts
--- whoever answers
---@param deadline number
---@return minisock.resty.tls? connection, string? reason
function tls.handshake(fd, host, trusted, deadline)
    local ssl = require "ssl"
    local _, conn, reason = pcall(ssl.wrap, lend(fd), {
        mode = "client",
        protocol = "any",
        options = known_options(ssl),
        verify = trusted and "peer" or "none",
        cafile = trusted,
    })
    if type(conn) ~= "userdata" then
        ms.close(fd)
        return nil, reason or conn
    end
    local self = new(conn, fd)
    conn:settimeout(0)
    if host and not address_of(host) then conn:sni(host) end
    local done
    done, reason = shake_hands(self, deadline)
    if done and trusted and host
            and not is_for(conn:getpeercertificate(), host) then
        done, reason = nil, "certificate host mismatch"
    end
    if done then return self end
    self:close()
    return nil, reason
end

return tls
