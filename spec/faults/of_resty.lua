--- The operations of minisock.resty, for the fault matrix.
local ms = require "minisock"
local operations = require "spec.faults.operations"
local resty = require "minisock.resty"
local situations = require "spec.faults.situations"

local add = operations.of("resty")
local DATA, WAIT = situations.DATA, situations.WAIT

local OUT = { socket = "EMFILE ENFILE" }
local IGNORED = "fcntl fcntl64 ioctl"

add("connecting", "connect", function(t)
    return resty.connect("127.0.0.1", t.port)
end, { forgiven = OUT, ignored = IGNORED })
add("connecting", "connect from an address", function(t)
    local sock = resty.tcp()
    assert(sock:bind("127.0.0.1"))
    local done, reason = sock:connect("127.0.0.1", t.port)
    return done and sock, reason
end, {
    forgiven = OUT, ignored = IGNORED,
    done = function(results) return results[1] end,
})
add("connecting", "connect to a name", function(t)
    return resty.connect("localhost", t.port)
end, {
    forgiven = { socket = "EMFILE ENFILE", getaddrinfo = "EAI_NONAME" },
    ignored = IGNORED, means = { pthread_create = "EAI_SYSTEM" },
})
add("connecting_unix", "connect to a path", function(t)
    return resty.connect("unix:" .. t.path)
end, {
    forgiven = OUT, ignored = IGNORED,
    goes_on = { connect = "EAGAIN EINTR" },
    never = { connect = "EINPROGRESS" }, unmade = true,
})

add("reading", "receive of a size", function(t)
    return t.sock:receive(#DATA)
end)
add("reading", "receiveany", function(t) return t.sock:receiveany(4096) end)
add("reading", "receiveuntil", function(t)
    return assert(t.sock:receiveuntil("789", { inclusive = true }))()
end)
add("reading_to_the_end", "receive of a line", function(t)
    return t.sock:receive()
end, { whole = DATA })
add("reading_to_the_end", "receive of everything", function(t)
    return t.sock:receive("*a")
end)
add("writing", "send", function(t) return t.sock:send(DATA) end)
add("writing", "send of a table", function(t)
    return t.sock:send({ "0", { 1, 23 }, "456789" })
end)
add("connected", "setoption", function(t)
    return t.sock:setoption("tcp-nodelay", true)
end)
add("connected", "getoption", function(t)
    return t.sock:getoption("tcp-nodelay")
end)
add("closing", "close", function(t) return t.sock:close() end,
    { ignored = "close" })

-- A connection that can't be asked whether it is idle isn't kept.
add("closing", "setkeepalive", function(t) return t.sock:setkeepalive() end, {
    told = function(results) return results[2] == "closed" end,
    after = function(results, t)
        if not results[1] then return end
        assert(t.sock:connect("127.0.0.1", t.port))
        assert(t.sock:getreusedtimes() == 1)
        t.sock:close()
    end,
})

local function as_objects(t)
    local object = resty.udp()
    object:settimeout(WAIT)
    assert(object:setpeername("127.0.0.1", ms.parseaddr(t.peer_addr).port))
    t.object = object
    t.open[#t.open + 1] = function() object:close() end
end

add("sending", "send of a datagram", function(t)
    return t.object:send("data")
end, { object = as_objects })
add("sending", "receive of a datagram", function(t)
    return t.object:receive()
end, {
    object = function(t)
        as_objects(t)
        assert(t.object:send("from here"))
        local _, from = ms.recvfrom(t.peer, WAIT)
        assert(ms.sendto(t.peer, from, "there"))
    end,
    sent = function() return "" end,
})
add("asking", "setpeername", function()
    local object = resty.udp()
    local done, reason = object:setpeername("127.0.0.1", 9)
    object:close()
    return done, reason
end, { forgiven = OUT, ignored = IGNORED .. " close" })
