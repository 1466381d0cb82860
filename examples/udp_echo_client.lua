-- Sends a datagram to an echo server and prints what comes back. UDP may lose
-- either, so it asks again a few times.
--
--     luajit examples/udp_echo_client.lua TEXT IP PORT
local ms = require "minisock"

local function ipaddr(ip, port)
    return ms.inetaddr(ip, port) or ms.inet6addr(ip, port)
end

local text, ip, port = arg[1], arg[2], arg[3]
local server = assert(ipaddr(ip, port))
local fd = assert(ms.udpsocket(server:byte(1) == ms.AF_INET6 and "\x0a" or nil))

local answer, problem
for _ = 1, 5 do
    assert(ms.sendto(fd, server, text))
    answer, problem = ms.recvfrom(fd, 500)
    if answer then break end
end
assert(answer, problem)
print(answer)
assert(ms.close(fd))
