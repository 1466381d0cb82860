--- The operations of minisock.luasocket, for the fault matrix.
local luasocket = require "minisock.luasocket"
local ms = require "minisock"
local operations = require "spec.faults.operations"
local situations = require "spec.faults.situations"
local unix = require "minisock.luasocket.unix"

local add = operations.of("luasocket")
local DATA, WAIT = situations.DATA, situations.WAIT / 1000

local OUT = { socket = "EMFILE ENFILE", accept4 = "EMFILE ENFILE" }
local IGNORED = "fcntl fcntl64 ioctl setsockopt"

local function or_close(sock, done, ...)
    if done then return sock end
    sock:close()
    return nil, ...
end

for _, name in ipairs({ "tcp4", "tcp6", "udp4", "udp6" }) do
    add("making", name, function() return luasocket[name]() end,
        { forgiven = OUT, ignored = IGNORED })
end
add("connecting", "connect", function(t)
    return luasocket.connect("127.0.0.1", t.port)
end, { forgiven = OUT, ignored = IGNORED })
add("connecting", "connect of an object with a timeout", function(t)
    local sock = luasocket.tcp()
    sock:settimeout(WAIT)
    return or_close(sock, sock:connect("127.0.0.1", t.port))
end, { forgiven = OUT, ignored = IGNORED })
add("connecting_unix", "connect to a path", function(t)
    local sock, reason = unix.stream()
    if not sock then return nil, reason end
    sock:settimeout(WAIT)
    return or_close(sock, sock:connect("\0" .. t.path:sub(2)))
end, {
    forgiven = OUT, ignored = IGNORED,
    goes_on = { connect = "EAGAIN EINTR" },
    never = { connect = "EINPROGRESS" }, unmade = true,
})

local function listen()
    local sock = luasocket.tcp()
    sock:settimeout(WAIT)
    local done, reason = sock:bind("127.0.0.1", 0)
    if done then done, reason = sock:listen(5) end
    return or_close(sock, done, reason)
end

add("making", "bind and listen", listen,
    { forgiven = OUT, ignored = IGNORED })
add("accepting", "accept", function(t) return t.sock:accept() end, {
    listen = function(t)
        local sock = t:hold(listen())
        return sock, tonumber((select(2, sock:getsockname())))
    end,
    forgiven = OUT, ignored = IGNORED .. " getsockopt",
})

for _, seconds in ipairs({ WAIT, -1 }) do
    local function set(t) t.sock:settimeout(seconds) end
    local how = (" with a timeout of %s s"):format(seconds)
    add("reading", "receive of a size" .. how, function(t)
        return t.sock:receive(#DATA)
    end, { before = set })
    add("reading_to_the_end", "receive of a line" .. how, function(t)
        return t.sock:receive("*l")
    end, { before = set, whole = DATA })
    add("reading_to_the_end", "receive of everything" .. how, function(t)
        return t.sock:receive("*a")
    end, { before = set })
    add("writing", "send" .. how, function(t) return t.sock:send(DATA) end,
        { before = set })
end

for _, name in ipairs({ "getpeername", "getsockname" }) do
    add("connected", name, function(t) return t.sock[name](t.sock) end)
end
add("connected", "getoption", function(t)
    return t.sock:getoption("tcp-nodelay")
end, {
    done = function(results) return results[1] ~= nil end,
    told = function(results) return results[2] == "getsockopt failed" end,
})
add("connected", "setoption", function(t)
    return t.sock:setoption("tcp-nodelay", true)
end, {
    told = function(results) return results[2] == "setsockopt failed" end,
})
add("connected", "select", function(t)
    local _, writable, reason = luasocket.select(nil, { t.sock }, WAIT)
    return not reason and writable or nil, reason
end)
add("closing", "shutdown", function(t) return t.sock:shutdown() end,
    { ignored = "shutdown" })
add("closing", "close", function(t) return t.sock:close() end,
    { ignored = "close" })

-- Objects for the two ends, which the situation sees by the descriptors.
local function as_objects(t)
    for _, name in ipairs({ "sock", "peer" }) do
        local object = luasocket.udp()
        object:settimeout(WAIT)
        object:setfd(ms.dup(t[name]))
        t.open[#t.open + 1] = function() object:close() end
        t[name .. "_object"] = object
    end
    t.port = ms.parseaddr(t.peer_addr).port
end

local WAITS = { sendto = "EAGAIN EINTR" }

add("receiving", "receive of a datagram", function(t)
    return t.sock_object:receive()
end, { object = as_objects })
add("receiving", "receivefrom", function(t)
    return t.sock_object:receivefrom()
end, { object = as_objects })
add("sending", "sendto", function(t)
    return t.sock_object:sendto("data", "127.0.0.1", t.port)
end, { object = as_objects, goes_on = WAITS, ignored = "poll" })
add("sending", "send of a datagram", function(t)
    assert(t.sock_object:setpeername("127.0.0.1", t.port))
    local sent, reason = t.sock_object:send("data")
    assert(t.sock_object:setpeername("*"))
    return sent, reason
end, {
    object = as_objects, not_counted = "connect fcntl fcntl64",
    goes_on = WAITS,
})
add("making", "udp with a name", function()
    local sock = luasocket.udp()
    return or_close(sock, sock:setsockname("127.0.0.1", 0))
end, { forgiven = OUT, ignored = IGNORED })

add("asking", "dns.toip", function()
    return luasocket.dns.toip("localhost")
end, { told = function(results) return type(results[2]) == "string" end })
add("asking", "dns.getaddrinfo", function()
    return luasocket.dns.getaddrinfo("localhost")
end)
