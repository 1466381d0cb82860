-- A web server that greets whoever asks, one at a time.
--
--     luajit examples/hello_http.lua HOST PORT
local ms = require "minisock"

local TIMEOUT = 5000 -- ms
local LONGEST = 16384

-- The head of a request ends with an empty line. Returns its first line.
local function read_request(fd)
    local head = ""
    while not head:find("\r\n\r\n", 1, true) do
        local data = ms.read(fd, TIMEOUT)
        if not data or data == "" or #head > LONGEST then return nil end
        head = head .. data
    end
    return head:match("^[^\r]*")
end

local function answer(fd, body)
    return ms.sendall(fd, "HTTP/1.1 200 OK\r\n"
        .. "Content-Type: text/plain\r\n"
        .. "Content-Length: " .. #body .. "\r\n"
        .. "Connection: close\r\n\r\n" .. body, TIMEOUT)
end

local listener, addr = assert(ms.bind(arg[1], arg[2]))
local at = ms.parseaddr(addr)
print("listening on " .. at.addr .. " " .. at.port)
io.stdout:flush()

while true do
    local fd, from = assert(ms.accept(listener))
    local request = read_request(fd)
    if request then
        answer(fd, ("Hello %s, you asked: %s\n")
            :format(ms.getnameinfo(from, true), request))
    end
    ms.close(fd)
end
