-- Sends a line to an echo server and prints what comes back.
--
--     luajit examples/echo_client.lua TEXT HOST PORT
--     luajit examples/echo_client.lua TEXT PATH
local ms = require "minisock"

local TIMEOUT = 5000 -- ms

local function connect(host, port)
    if port then return ms.connect(host, port, TIMEOUT) end
    return ms.connect(assert(ms.unixaddr(host)), nil, TIMEOUT)
end

-- A stream has no messages: read until the line is whole.
local function read_line(fd)
    local line = ""
    while not line:find("\n", 1, true) do
        local data = assert(ms.read(fd, TIMEOUT))
        if data == "" then error("the server hung up after: " .. line) end
        line = line .. data
    end
    return line
end

local text, host, port = arg[1], arg[2], arg[3]
local fd = assert(connect(host, port))
assert(ms.sendall(fd, text .. "\n", TIMEOUT))
io.write(read_line(fd))
assert(ms.close(fd))
