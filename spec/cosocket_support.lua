--- What the scenarios of cosockets share; nginx loads this too, so it needs
--- nothing but Lua.
---
--- A scenario is { name, peers, run }: run(socket, say, ...) is given
--- ngx.socket or minisock.resty and where its peers are, and says what happens.
--- One that comes out otherwise by design has the reason in `differs`, and in
--- `expected` what minisock.resty says.
local cosockets = {
    --- Waits, in ms; who runs scenarios sets it.
    sleep = nil,
    --- A peer that sends back all it gets.
    ECHO = { "tcp", "echo" },
    UDP_ECHO = { "udp", "echo" },
}

local function quote(text)
    return '"' .. text:gsub('[%c"\\\128-\255]', function(char)
        return ("\\%03d"):format(char:byte())
    end) .. '"'
end

--- Long texts are told by their length and their ends.
function cosockets.serialise(value)
    if type(value) == "string" then
        if #value <= 200 then return quote(value) end
        return ("%s...%s of %d"):format(quote(value:sub(1, 20)),
            quote(value:sub(-20)), #value)
    elseif type(value) == "number" then
        return ("%.14g"):format(value)
    elseif type(value) == "boolean" or value == nil then
        return tostring(value)
    end
    return "<" .. type(value) .. ">"
end

--- Runs a scenario, and returns the lines that it said.
function cosockets.perform(scenario, socket, ...)
    local lines = {}
    local function say(...)
        local words = {}
        for i = 1, select("#", ...) do
            words[i] = cosockets.serialise((select(i, ...)))
        end
        lines[#lines + 1] = table.concat(words, " ")
    end
    local done, why = pcall(scenario.run, socket, say, ...)
    if not done then lines[#lines + 1] = "raised: " .. tostring(why) end
    return lines
end

-- What a call raised: up to what it says of the value, without the position
-- before it, and without how the argument is counted and the function called,
-- which depends on the way of the call.
local function raised(...)
    local done, why = ...
    if done then return ... end
    why = tostring(why):gsub("^%S*:%d+: ", "")
        :gsub("^bad argument #%d+ to '[^']*' %((.*)%)$", "%1")
        :gsub(", got .*", ""):gsub(":.*", "")
    return "raised", why
end

--- As pcall, for what is said.
function cosockets.try(call, ...)
    return raised(pcall(call, ...))
end

--- Whether a call raises, where the words are of no account.
function cosockets.fails(call, ...)
    return not pcall(call, ...)
end

--- A TCP object that is connected to a port. A timeout that isn't waited for is
--- a long one: the peer may be slow.
function cosockets.connected(socket, port, timeout)
    local sock = socket.tcp()
    sock:settimeout(timeout or 2000)
    assert(sock:connect("127.0.0.1", port))
    return sock
end

--- A UDP object likewise.
function cosockets.udp_connected(socket, port, timeout)
    local sock = socket.udp()
    sock:settimeout(timeout or 2000)
    assert(sock:setpeername("127.0.0.1", port))
    return sock
end

--- Connections that have been used this many times each, and are in use now.
function cosockets.used(socket, port, counts, options)
    local socks = {}
    for i = 1, #counts do
        local sock = socket.tcp()
        assert(sock:connect("127.0.0.1", port, options))
        for _ = 1, counts[i] do
            assert(sock:setkeepalive())
            assert(sock:connect("127.0.0.1", port, options))
        end
        assert(sock:getreusedtimes() == counts[i])
        socks[i] = sock
    end
    return unpack(socks)
end

--- Sends each of these, and says what the peer, which echoes, got of it.
function cosockets.send_all(socket, say, port, values)
    local sock = cosockets.connected(socket, port)
    for _, value in ipairs(values) do
        say(cosockets.try(sock.send, sock, value))
        sock:send("\n")
        say(sock:receive())
    end
end

return cosockets
