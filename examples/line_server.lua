-- Keeps values for its clients, of which there may be ten thousand at once:
-- one process, one poller, no threads.
--
--     luajit examples/line_server.lua HOST PORT
--
-- PORT 0 takes a free one. The first line printed says where it listens. Each
-- client is a descriptor: mind `ulimit -n`.
--
--     SET key value   OK
--     GET key         VALUE value, or NONE
--     CLIENTS         CLIENTS count
--     QUIT            BYE, and the connection is closed
local ms = require "minisock"
local poller = require "minisock.poller"

ms.load() -- without descriptors left, nothing more could be

local LONGEST = 4096 -- bytes of a line
local ENOUGH = 65536 -- bytes of answers, before more lines are looked at
local ACCEPTS = 100 -- in a row, before the clients have their turn

local watched = assert(poller.new(1024))
local listener -- { fd, open: whether new clients are taken }
local values = {}
local count = 0 -- of clients

---------------------------------------------------------------------------
-- Commands
---------------------------------------------------------------------------

local COMMANDS = {}

function COMMANDS.SET(_, key, value)
    if key == "" then return "ERROR no key" end
    values[key] = value
    return "OK"
end

function COMMANDS.GET(_, key)
    return values[key] and "VALUE " .. values[key] or "NONE"
end

function COMMANDS.CLIENTS()
    return "CLIENTS " .. count
end

function COMMANDS.QUIT(client)
    client.leaving = true
    return "BYE"
end

local function obey(client, line)
    local name, key, value = line:match("^(%S*) ?(%S*) ?(.-)\r?$")
    local command = COMMANDS[name]
    if not command then return "ERROR no such command" end
    return command(client, key, value)
end

---------------------------------------------------------------------------
-- Clients: { fd, events, input, output, leaving }
---------------------------------------------------------------------------

local function watch(client, events)
    if client.events == events then return end
    client.events = events
    assert(watched:modify(client.fd, events))
end

local function listen_again()
    if listener.open then return end
    listener.open = true
    assert(watched:modify(listener.fd, ms.EPOLLIN))
end

local function forget(client)
    watched:remove(client.fd)
    ms.close(client.fd)
    count = count - 1
    listen_again()
end

-- Answers to the lines that have come, as a list: enough of them, not more.
local function answers_to(client)
    local list, size, at = {}, 0, 1
    while size < ENOUGH and not client.leaving do
        local stop = client.input:find("\n", at, true)
        if not stop then break end
        local answer = obey(client, client.input:sub(at, stop - 1)) .. "\n"
        list[#list + 1], size, at = answer, size + #answer, stop + 1
    end
    client.input = client.input:sub(at)
    if #list == 0 and #client.input > LONGEST then
        client.leaving = true
        list[1] = "ERROR line too long\n"
    end
    return list
end

-- Returns whether all of it went out. What didn't waits until there is room;
-- until then nothing is read from this client, so that it can't make us keep
-- more and more for it.
local function send(client, list)
    local sent, _, code, before = ms.sendall(client.fd, list, 0)
    if sent then
        client.output = nil
        if client.leaving then forget(client) end
        return not client.leaving
    end
    if code == ms.ETIMEDOUT then
        client.output = { table.concat(list):sub(before + 1) }
        watch(client, ms.EPOLLOUT)
    else
        forget(client)
    end
    return false
end

local function answer(client)
    local list = answers_to(client)
    while #list > 0 do
        if not send(client, list) then return end
        list = answers_to(client)
    end
    watch(client, ms.EPOLLIN)
end

local function serve(client)
    if client.output then
        if send(client, client.output) then answer(client) end
        return
    end
    local data, _, code = ms.read(client.fd, 0, LONGEST)
    if data == "" or not data and code ~= ms.ETIMEDOUT then
        forget(client)
    elseif data then
        client.input = client.input .. data
        answer(client)
    end
end

-- Out of descriptors: who knocks has to wait until somebody leaves.
local function stop_listening()
    listener.open = false
    assert(watched:modify(listener.fd, 0))
end

local function accept()
    for _ = 1, ACCEPTS do
        local fd, _, code = ms.accept(listener.fd, 0)
        if code == ms.EMFILE or code == ms.ENFILE then
            return stop_listening()
        end
        if not fd then return end
        local client = { fd = fd, events = ms.EPOLLIN, input = "" }
        assert(watched:add(fd, client.events, client))
        count = count + 1
    end
end

listener = { open = true }
listener.fd = assert(ms.bind(arg[1], arg[2]))
assert(watched:add(listener.fd, ms.EPOLLIN, listener))

local at = ms.parseaddr(ms.getsockname(listener.fd))
print("listening on " .. at.addr .. " " .. at.port)
io.stdout:flush()

while true do
    for i = 1, assert(watched:wait()) do
        local value = watched:ready(i)
        if value == listener then
            accept()
        elseif value then -- nil for one that has gone in the meantime
            serve(value)
        end
    end
end
