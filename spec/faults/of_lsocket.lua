--- The operations of minisock.lsocket, for the fault matrix.
local lsocket = require "minisock.lsocket"
local ms = require "minisock"
local operations = require "spec.faults.operations"
local situations = require "spec.faults.situations"

local add = operations.of("lsocket")
local DATA, WAIT = situations.DATA, situations.WAIT / 1000

local OUT = { socket = "EMFILE ENFILE", accept4 = "EMFILE ENFILE" }

add("making", "bind", function() return lsocket.bind("127.0.0.1", 0) end,
    { forgiven = OUT, ignored = "setsockopt" })
add("making", "bind udp", function()
    return lsocket.bind("udp", "127.0.0.1", 0)
end, { forgiven = OUT })
add("connecting", "connect", function(t)
    return lsocket.connect("127.0.0.1", t.port)
end, {
    forgiven = OUT, goes_on = { connect = "EINPROGRESS" },
    -- It isn't blocking, so that no signal ends it.
    never = { connect = "EAGAIN EINTR" },
})
add("accepting", "accept", function(t) return (t.sock:accept()) end, {
    listen = function(t)
        local sock = t:hold(lsocket.bind("127.0.0.1", 0))
        return sock, sock:info("socket").port
    end,
    forgiven = OUT, ignored = "getsockopt ioctl",
    goes_on = { accept4 = "ECONNABORTED EINTR" },
    -- The error is a second value, which the act leaves out.
    done = function(results) return results[1] end,
    told = function(results) return not results[1] end,
})

local NOW = { recv = "EINTR", recvmsg = "EINTR" }

add("reading", "recv", function(t)
    lsocket.select({ t.sock }, WAIT)
    return t.sock:recv()
end, { goes_on = NOW, not_counted = "poll" })
add("reading", "recvfrom", function(t)
    lsocket.select({ t.sock }, WAIT)
    return t.sock:recvfrom()
end, { goes_on = NOW, not_counted = "poll", ignored = "getpeername" })
add("writing", "send", function(t) return t.sock:send(DATA) end,
    { goes_on = { send = "EINTR" } })
for _, what in ipairs({ "peer", "socket" }) do
    add("connected", "info about the " .. what, function(t)
        return t.sock:info(what)
    end)
end
add("connected", "status", function(t) return t.sock:status() end)
add("connected", "select", function(t)
    return lsocket.select(nil, { t.sock }, WAIT)
end)
add("closing", "close", function(t) return t.sock:close() end)
add("asking", "resolve", function() return lsocket.resolve("localhost") end)
add("asking", "getinterfaces", function() return lsocket.getinterfaces() end,
    { goes_on = { if_nametoindex = "ENODEV" } })

local function as_objects(t)
    t.object = assert(lsocket.bind("udp", "127.0.0.1", 0))
    t.open[#t.open + 1] = function() t.object:close() end
    t.port = ms.parseaddr(t.peer_addr).port
end

add("sending", "sendto", function(t)
    return t.object:sendto("data", "127.0.0.1", t.port)
end, { object = as_objects })
add("sending", "recvfrom of a datagram", function(t)
    return t.object:recvfrom()
end, {
    object = function(t)
        as_objects(t)
        local addr = ms.inetaddr("127.0.0.1", t.object:info("socket").port)
        assert(ms.sendto(t.peer, addr, "there"))
    end,
    sent = function() return "" end, goes_on = NOW,
})
