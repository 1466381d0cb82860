-- A chat without a server: what one says goes to a multicast group, and from
-- there to everybody who has joined it.
--
--     luajit examples/multicast_chat.lua NAME [GROUP PORT]
--
-- GROUP is 239.192.7.7 by default; ff02::7777 works as well. Type lines; end
-- with Ctrl-D.
local lsocket = require "minisock.lsocket"
local ms = require "minisock"

local name = assert(arg[1], "what is your name?")
local group, port = arg[2] or "239.192.7.7", tonumber(arg[3] or 7777)

local ears = assert(lsocket.bind("mcast", group, port))
local mouth = assert(lsocket.connect("mcast", group, port))

local function say(text)
    assert(mouth:send(name .. ": " .. text))
end

local STDIN = 0
local wanted = ms.pollfd(ears:getfd(), ms.POLLIN) .. ms.pollfd(STDIN, ms.POLLIN)

local function is_ready(pollfds, i)
    local _, _, revents = ms.unpollfd(pollfds, i)
    return revents ~= 0
end

local function hear()
    local text, from = ears:recvfrom()
    if text then print(("[%s] %s"):format(from, text)) end
    io.stdout:flush()
end

-- Says the whole lines that were typed, and returns what is left of the last
-- one; nil at the end of the input.
local function speak(typed)
    local more = ms.read(STDIN)
    if not more or more == "" then return nil end
    return ((typed .. more):gsub("([^\n]*)\n", function(line)
        say(line)
        return ""
    end))
end

say("is here")
local typed = ""
while typed do
    local ready = assert(ms.poll(wanted))
    if is_ready(ready, 1) then hear() end
    if is_ready(ready, 2) then typed = speak(typed) end
end
say("has left")
