--- TLS for the look-alikes, by LuaSec, which takes over the descriptor. The
--- functions have the parameters and results of those for a plain one, but for
--- LuaSec's words, which come without a code. Stands on minisock
--- and minisock.clock.
local ms = require "minisock"
local clock = require "minisock.clock"

local POLLIN, POLLOUT = ms.POLLIN, ms.POLLOUT

local tls = {}

local EVENTS = {
    wantread = POLLIN,
    timeout = POLLIN, -- what LuaSec says of reading
    wantwrite = POLLOUT,
}

-- Waits for what LuaSec says it wants. Returns false when time is up.
local function wait(conn, wants, timeout)
    local _, ready = ms.poll(ms.pollfd(conn:getfd(), EVENTS[wants]), timeout)
    return ready ~= 0
end

-- Who LuaSec believes to be a socket of LuaSocket's, and takes over.
local function lend(fd)
    return {
        getfd = function() return fd end,
        setfd = function() end,
    }
end

-- "*.example.org" is for one label in place of the star.
local function matches(pattern, host)
    pattern, host = pattern:lower(), host:lower()
    if pattern == host then return true end
    local parent = pattern:match("^%*(%..+%..+)$")
    return parent ~= nil and host:match("^[^.]+(%..*)$") == parent
end

local SUBJECT_ALT_NAME = "2.5.29.17"

-- Whether the certificate is one for the host.
local function is_for(certificate, host)
    local names = (certificate:extensions() or {})[SUBJECT_ALT_NAME] or {}
    local kind = ms.inetaddr(host, 0) and "iPAddress" or "dNSName"
    for _, name in ipairs(names[kind] or {}) do
        if kind == "dNSName" and matches(name, host) or name == host then
            return true
        end
    end
    return false
end

local function shake_hands(conn, deadline)
    while true do
        local done, reason = conn:dohandshake()
        if done then return true end
        if not EVENTS[reason] then return nil, reason end
        if not wait(conn, reason, clock.left(deadline)) then
            return nil, "timeout"
        end
    end
end

--- Makes a TLS connection, as the client, of a connected descriptor, which
--- LuaSec owns from now on, also when this fails.
---@param fd integer
---@param host? string the server's name: for SNI, and for `trusted`
---@param trusted? string the file of the certificates to trust; nil trusts
--- whoever answers
---@param deadline number
---@return table? conn, string? reason
function tls.handshake(fd, host, trusted, deadline)
    local ssl = require "ssl"
    local conn, reason = ssl.wrap(lend(fd), {
        mode = "client",
        protocol = "any",
        options = { "all", "no_sslv2", "no_sslv3", "no_tlsv1", "no_tlsv1_1" },
        verify = trusted and "peer" or "none",
        cafile = trusted,
    })
    if not conn then
        ms.close(fd)
        return nil, reason
    end
    conn:settimeout(0)
    if host and not ms.inetaddr(host, 0) then conn:sni(host) end
    local done
    done, reason = shake_hands(conn, deadline)
    if done and trusted and host
            and not is_for(conn:getpeercertificate(), host) then
        done, reason = nil, "certificate host mismatch"
    end
    if done then return conn end
    conn:close()
    return nil, reason
end

--- Whether LuaSec is there.
---@return boolean
function tls.available()
    return (pcall(require, "ssl"))
end

--- As minisock.read.
---@param conn table
---@param timeout number in ms
---@param size integer
---@return string? data "" at the end of the stream
---@return string? reason
function tls.read(conn, timeout, size)
    local deadline = clock.deadline(timeout)
    while true do
        local data, reason, partial = conn:receive(size)
        data = data or partial
        if data and data ~= "" then return data end
        if reason == "closed" then return "" end
        if not EVENTS[reason] then return nil, reason end
        if not wait(conn, reason, clock.left(deadline)) then
            return nil, "read timeout"
        end
    end
end

--- As minisock.writer.send.
---@param conn table
---@param data string
---@param first integer
---@param last integer
---@param deadline number
---@param longest number
---@return integer? sent, string? reason
function tls.send(conn, data, first, last, deadline, longest)
    local at = first
    while at <= last do
        local done, reason, partial = conn:send(data, at, last)
        if done then break end
        at = math.max(at, partial + 1)
        if not EVENTS[reason] then return nil, reason end
        local timeout = math.min(longest, clock.left(deadline))
        if not wait(conn, reason, timeout) then return nil, "send timeout" end
    end
    return last - first + 1
end

--- Closes the descriptor and tells the peer nothing.
---@param conn table
function tls.abandon(conn)
    local fd = conn:getfd()
    conn:setfd(-1)
    ms.close(fd)
end

return tls
