--- Each of the libraries that minisock is: how its objects are made, talk and
--- are closed, and how it tells of a failure.
local clock = require "minisock.clock"
local errors = require "minisock.errors"
local llsocket = require "minisock.llsocket"
local lsocket = require "minisock.lsocket"
local luasocket = require "minisock.luasocket"
local ms = require "minisock"
local resty = require "minisock.resty"
local socket = require "minisock.socket"

local WAIT = 2000 -- ms

-- The system's words for an errno, or the resolver's for an EAI code.
local function text(code)
    if code < 0 then return errors.resolver_text(code, ms.EMFILE) end
    return errors.text(code)
end

---@class spec.faults.library
---@field connect function a client, of a port of loopback
---@field send function all of a string
---@field receive function some bytes
---@field close function
---@field told function whether results say that there was such an error
---@field partial? function what a failed call has read before
---@field sent? function how many bytes a failed call has sent before
---@field fatal? boolean after a failure a connection is of no more use
local libraries = {}

libraries.core = {
    connect = function(port) return ms.connect("127.0.0.1", port, WAIT) end,
    send = function(fd, data) return ms.sendall(fd, data, WAIT) end,
    receive = function(fd) return ms.read(fd, WAIT) end,
    close = ms.close,
    told = function(results, code, call)
        local start = ("%s error: %d "):format(call, code)
        return results[1] == nil and results[3] == code
            and results[2]:sub(1, #start) == start
    end,
    sent = function(results) return results[4] end,
}

libraries.socket = {
    connect = function(port)
        local sock = assert(socket.tcp())
        sock:settimeout(WAIT / 1000)
        assert(sock:connect("127.0.0.1", port))
        return sock
    end,
    send = function(sock, data) return sock:write(data) end,
    receive = function(sock) return sock:read(4096) end,
    close = function(sock) sock:close() end,
    told = function(results, code, call)
        local words = text(code)
        if call == "write" and (code == ms.EPIPE or code == ms.ECONNRESET) then
            words = socket.ERROR_CLOSED
        end
        return (results[1] == nil or results[1] == "")
            and results[2] == words and results[3] == code
    end,
    sent = function(results) return results[4] end,
}

-- As LuaSocket's documentation and sources have them.
local LUASOCKET_WORDS = {
    [ms.EACCES] = "permission denied",
    [ms.EADDRINUSE] = "address already in use",
    [ms.ECONNABORTED] = "closed",
    [ms.ECONNREFUSED] = "connection refused",
    [ms.ECONNRESET] = "closed",
    [ms.EISCONN] = "already connected",
    [ms.EPIPE] = "closed",
    [ms.ETIMEDOUT] = "timeout",
    [ms.EAI_AGAIN] = "temporary failure in name resolution",
    [ms.EAI_FAIL] = "non-recoverable failure in name resolution",
    [ms.EAI_FAMILY] = "ai_family not supported",
    [ms.EAI_MEMORY] = "memory allocation failure",
    [ms.EAI_NONAME] = "host or service not provided, or not known",
    [ms.EAI_SERVICE] = "service not supported for socket type",
}

libraries.luasocket = {
    connect = function(port)
        local sock = luasocket.tcp()
        sock:settimeout(WAIT / 1000)
        assert(sock:connect("127.0.0.1", port))
        return sock
    end,
    send = function(sock, data) return sock:send(data) end,
    receive = function(sock) return sock:receive(1) end,
    close = function(sock) sock:close() end,
    told = function(results, code)
        return results[1] == nil
            and (results[2] == (LUASOCKET_WORDS[code] or text(code))
                or results[2] == "closed" and code == ms.EBADF)
    end,
    partial = function(results) return results[3] end,
    sent = function(results) return results[3] end,
}

libraries.resty = {
    connect = function(port)
        local sock = resty.tcp()
        sock:settimeout(WAIT)
        assert(sock:connect("127.0.0.1", port))
        return sock
    end,
    send = function(sock, data) return sock:send(data) end,
    receive = function(sock) return sock:receiveany(4096) end,
    close = function(sock) sock:close() end,
    told = function(results, code)
        local words = text(code)
        if code < 0 then
            -- Behind EAI_SYSTEM there is an errno.
            words = "could not be resolved (" .. words:match("^[^(]+")
            return results[1] == nil and results[2]:find(words, 1, true)
                and (code ~= ms.EAI_SYSTEM or results[2]:find(" %(%d+ "))
        end
        return results[1] == nil
            and (results[2] == words:lower() or results[2] == words)
    end,
    partial = function(results) return results[3] end,
    fatal = true,
}

libraries.lsocket = {
    connect = function(port)
        return lsocket.connect("tcp", "127.0.0.1", port)
    end,
    send = function(sock, data)
        lsocket.select(nil, { sock }, WAIT / 1000)
        return sock:send(data)
    end,
    receive = function(sock)
        lsocket.select({ sock }, WAIT / 1000)
        return sock:recv()
    end,
    close = function(sock) sock:close() end,
    told = function(results, code)
        if code == ms.EAGAIN then return results[1] == false end
        return results[1] == nil and results[2] == text(code)
    end,
}

libraries.llsocket = {
    connect = function(port)
        local ai = assert(llsocket.inet.getaddrinfo("127.0.0.1",
            tostring(port), ms.SOCK_STREAM, nil, ms.AI_NUMERICHOST))[1]
        local sock = assert(llsocket.socket.new(ai))
        assert(sock:connect() == nil)
        return sock
    end,
    send = function(sock, data) return sock:send(data) end,
    receive = function(sock) return sock:recv() end,
    close = function(sock) sock:close() end,
    -- The message is the last value, or the only one. "again" stands for
    -- EAGAIN; no values at all for a peer that has closed.
    told = function(results, code)
        local last = results[results.n]
        if code == ms.EAGAIN and last == true then return true end
        if results.n == 0 then
            return code == ms.EPIPE or code == ms.ECONNRESET
        end
        return last == text(code)
            and (results.n == 1 or results[1] == nil)
    end,
}

libraries.WAIT = WAIT
libraries.now = clock.now

return libraries
