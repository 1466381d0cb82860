-- Sends each datagram back to where it came from.
--
--     luajit examples/udp_echo_server.lua IP PORT
local ms = require "minisock"

local function ipaddr(ip, port)
    return ms.inetaddr(ip, port) or ms.inet6addr(ip, port)
end

local fd = assert(ms.udpsocket(assert(ipaddr(arg[1], arg[2]))))
local at = ms.parseaddr(ms.getsockname(fd))
print("listening on " .. at.addr .. " " .. at.port)
io.stdout:flush()

while true do
    local message, from = ms.recvfrom(fd, -1, 65535)
    if message then
        ms.sendto(fd, from, message)
    else
        io.stderr:write(from, "\n") -- an error of one peer's is no reason to go
    end
end
