-- Sends back what its clients send, to any number of them at once.
--
--     luajit examples/echo_server.lua HOST PORT
--     luajit examples/echo_server.lua PATH
--
-- PORT 0 takes a free one. The first line printed says where it listens.
local ms = require "minisock"

local function listen(host, port)
    if port then return ms.bind(host, port) end
    return ms.bind(assert(ms.unixaddr(host)))
end

local function where(fd)
    local at = ms.parseaddr(ms.getsockname(fd))
    return at.path or at.addr .. " " .. at.port
end

local clients = {}

local function forget(i)
    ms.close(clients[i])
    table.remove(clients, i)
end

-- Serves the i-th client, of which poll says that there's something to read.
local function echo(i)
    local data = ms.read(clients[i], 0)
    if not data or data == "" or not ms.sendall(clients[i], data, 5000) then
        forget(i)
    end
end

-- The listener comes first, then the clients in their order.
local function wait(listener)
    local fds = { ms.pollfd(listener, ms.POLLIN) }
    for i, fd in ipairs(clients) do
        fds[i + 1] = ms.pollfd(fd, ms.POLLIN)
    end
    return assert(ms.poll(table.concat(fds)))
end

local function is_ready(pollfds, i)
    local _, _, revents = ms.unpollfd(pollfds, i)
    return revents ~= 0
end

local listener = assert(listen(arg[1], arg[2]))
print("listening on " .. where(listener))
io.stdout:flush()

while true do
    local ready = wait(listener)
    for i = #clients, 1, -1 do
        if is_ready(ready, i + 1) then echo(i) end
    end
    if is_ready(ready, 1) then
        clients[#clients + 1] = ms.accept(listener, 0)
    end
end
