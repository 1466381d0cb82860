-- A web server for many clients at once, on lsocket's API: keep-alive, POST,
-- and 404 for what isn't there.
--
--     luajit examples/http_server.lua HOST PORT
local lsocket = require "minisock.lsocket"

local LONGEST_HEAD, LONGEST_BODY = 16384, 2^20
local IDLE = 30 -- seconds

local pages = {}

function pages.GET(path)
    if path ~= "/" then return 404, "nothing here\n" end
    return 200, "hello\n"
end

function pages.POST(path, body)
    if path ~= "/echo" then return 404, "nothing here\n" end
    return 200, body
end

local REASON = {
    [200] = "OK",
    [400] = "Bad Request",
    [404] = "Not Found",
    [405] = "Method Not Allowed",
    [413] = "Content Too Large",
    [501] = "Not Implemented",
}

local function response(status, body, keep, without_body)
    return ("HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\n"
        .. "Content-Length: %d\r\nConnection: %s\r\n\r\n%s")
        :format(status, REASON[status], #body,
            keep and "keep-alive" or "close", without_body and "" or body)
end

-- Takes a whole request off the front of the text. Returns it, or nil and
-- what is wrong with it, if anything is yet.
local function parse(text)
    local head, rest = text:match("^(.-\r\n)\r\n(.*)$")
    if not head then return nil, #text > LONGEST_HEAD and 400 or nil end
    local method, path, version = head:match("^(%u+) (%S+) HTTP/(1%.%d)\r\n")
    if not method then return nil, 400 end
    local lower = head:lower()
    local size = tonumber(lower:match("\ncontent%-length:%s*(%d+)")) or 0
    if size > LONGEST_BODY then return nil, 413 end
    if lower:find("\ntransfer%-encoding:") then return nil, 501 end
    local continue = lower:find("\nexpect:%s*100%-continue") ~= nil
    if #rest < size then return nil, nil, continue end
    local asked = lower:match("\nconnection:%s*([%a-]+)")
    return {
        method = method,
        path = path,
        body = rest:sub(1, size),
        keep = version == "1.1" and asked ~= "close" or asked == "keep-alive",
        rest = rest:sub(size + 1),
    }
end

local clients = {}
local full = false -- no descriptor is left for another client

local function drop(sock)
    clients[sock] = nil
    full = false
    sock:close()
end

local function answer(client, request)
    local head = request.method == "HEAD"
    local page = pages[head and "GET" or request.method]
    local status, body = 405, "not that way\n"
    if page then status, body = page(request.path, request.body) end
    client.out = client.out .. response(status, body, request.keep, head)
    client.close = not request.keep
end

-- Answers all the requests that have come whole.
local function serve(client)
    while not client.close do
        local request, problem, continue = parse(client.text)
        if problem then
            client.out = client.out .. response(problem, "", false)
            client.close = true
        elseif not request then
            if continue and not client.continued then
                client.out = client.out .. "HTTP/1.1 100 Continue\r\n\r\n"
                client.continued = true
            end
            return
        else
            client.text, client.continued = request.rest, false
            answer(client, request)
        end
    end
end

local function on_readable(sock)
    local client = clients[sock]
    local data = sock:recv()
    if data then
        client.text, client.last = client.text .. data, os.time()
        serve(client)
    elseif data == nil then -- false would mean: nothing yet
        drop(sock)
    end
end

local function on_writable(sock)
    local client = clients[sock]
    local sent = sock:send(client.out)
    if sent == nil then return drop(sock) end
    client.out, client.last = client.out:sub((sent or 0) + 1), os.time()
    if client.out == "" and client.close then drop(sock) end
end

local function on_connection(server)
    local sock = server:accept()
    if sock then
        clients[sock] = { text = "", out = "", last = os.time() }
    else
        full = sock == nil
    end
end

local function drop_idle()
    local now = os.time()
    for sock, client in pairs(clients) do
        if now - client.last > IDLE then drop(sock) end
    end
end

local server = assert(lsocket.bind("tcp", arg[1], arg[2], 128))
local at = server:info("socket")
print("listening on " .. at.addr .. " " .. at.port)
io.stdout:flush()

while true do
    local reading, writing = {}, {}
    if not full then reading[1] = server end
    for sock, client in pairs(clients) do
        local list = client.out ~= "" and writing or reading
        list[#list + 1] = sock
    end
    local readable, writable = lsocket.select(reading, writing, 1)
    for _, sock in ipairs(readable or {}) do
        if sock == server then on_connection(server) else on_readable(sock) end
    end
    for _, sock in ipairs(writable or {}) do
        if clients[sock] then on_writable(sock) end
    end
    drop_idle()
end
