-- Messages for a syslog server, from any phase of nginx: over the Unix socket
-- of this machine's, or in datagrams of RFC 5424 to another.
--
--     -- journal.lua
--     return require("syslog").new("/dev/log", { name = "web" })
--
--     # nginx.conf
--     log_by_lua_block {
--         require("journal"):info(ngx.var.request .. " " .. ngx.var.status)
--     }
local ms = require "minisock"

local FACILITIES = { user = 1, daemon = 3, auth = 4 }
for i = 0, 7 do FACILITIES["local" .. i] = 16 + i end

local SEVERITIES = {
    emerg = 0, alert = 1, crit = 2, err = 3, warning = 4, notice = 5, info = 6,
    debug = 7,
}

local Syslog = {}
Syslog.__index = Syslog

local syslog = {}

-- What nginx passes on may contain anything, and a line is one message.
local function clean(text)
    return (text:gsub("%c", " "))
end

-- The date, made once per second.
local function at(self, format)
    local now = os.time()
    if now ~= self.second then
        self.second, self.date = now, os.date(format, now)
    end
    return self.date
end

-- As syslog(3) of this machine would send it.
local function local_head(self)
    return at(self, "%b %e %H:%M:%S") .. " " .. self.name .. ": "
end

-- RFC 5424: no process id, no message id, no structured data.
local function rfc5424_head(self)
    return "1 " .. at(self, "!%Y-%m-%dT%H:%M:%SZ") .. " " .. self.host .. " "
        .. self.name .. " - - - "
end

local function hostname()
    local file = io.open("/proc/sys/kernel/hostname")
    local name = file and file:read("*l")
    if file then file:close() end
    return name or "-"
end

--- Opens a socket for messages.
---@param where string path of a Unix socket, as /dev/log; or an IP address
---@param opts? table port (514), name ("nginx"), facility ("user"), host,
--- timeout in ms (100): how long a message may wait for a full Unix socket
function syslog.new(where, opts)
    opts = opts or {}
    local self = setmetatable({
        name = opts.name or "nginx",
        facility = assert(FACILITIES[opts.facility or "user"]) * 8,
    }, Syslog)
    if where:sub(1, 1) == "/" then
        self.addr, self.head = assert(ms.unixaddr(where)), local_head
        self.fd = assert(ms.udpsocket("\1"))
        assert(ms.setsockopt(self.fd, "SO_SNDTIMEO", opts.timeout or 100))
    else
        local port = opts.port or 514
        self.host, self.head = opts.host or hostname(), rfc5424_head
        self.addr = ms.inetaddr(where, port)
        if self.addr then
            self.fd = assert(ms.udpsocket())
        else
            self.addr = assert(ms.inet6addr(where, port))
            self.fd = assert(ms.udpsocket("\x0a"))
        end
        assert(ms.setnonblocking(self.fd, true))
    end
    return self
end

for name, severity in pairs(SEVERITIES) do
    Syslog[name] = function(self, text)
        return ms.sendto(self.fd, self.addr, "<" .. self.facility + severity
            .. ">" .. self:head() .. clean(text))
    end
end

function Syslog:close()
    return ms.close(self.fd)
end

return syslog
