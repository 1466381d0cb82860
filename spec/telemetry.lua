--- What telemetry's spec and its measurement share: an nginx that sends from
--- log_by_lua, a sink that counts, and load from wrk.
local host = require "spec.nginx"
local ms = require "minisock"
local servers = require "spec.servers"
local support = require "spec.support"

local telemetry = {}

-- Each location has its own sender, so that what arrives is by one of them. The
-- first four are what the others are compared with: nothing, a log phase that
-- sends nothing, nginx's own syslog, and cosockets, which need a timer.
local HTTP = [==[
    init_worker_by_lua_block {
        local path = package.path
        package.path = "examples/?.lua;" .. path
        stats = require("statsd").new("127.0.0.1", @SINK@, "web.")
        log = require("syslog").new("127.0.0.1", { port = @SYSLOG@,
            name = "web", facility = "local0", host = "www" })
        -- All that is written must arrive, so it may take its time.
        machine_log = require("syslog").new("@UNIX@", { name = "web",
            facility = "local0", timeout = 10000 })
        package.path = path
    }
    log_format requests
        "$request_uri $connection-$connection_requests";
    server {
        listen 127.0.0.1:@PORT@ backlog=1024;
        keepalive_requests 1000000000;
        location = /status { stub_status; }
        location = /nothing { return 200 "hello\n"; }
        location = /lua {
            return 200 "hello\n";
            log_by_lua_block { local _ = ngx.var.request_time * 1000 }
        }
        location = /nginx {
            return 200 "hello\n";
            access_log syslog:server=127.0.0.1:@SYSLOG@,tag=web requests;
        }
        location = /timer {
            return 200 "hello\n";
            log_by_lua_block {
                assert(ngx.timer.at(0, function()
                    local sock = ngx.socket.udp()
                    assert(sock:setpeername("127.0.0.1", @SINK@))
                    assert(sock:send("web.requests:1|c"))
                    assert(sock:send("web.request:0|ms"))
                    sock:close()
                end))
            }
        }
        location = /statsd {
            return 200 "hello\n";
            log_by_lua_block {
                assert(stats:count("requests"))
                assert(stats:timing("request", ngx.var.request_time * 1000))
            }
        }
        location = /syslog {
            return 200 "hello\n";
            log_by_lua_block {
                assert(log:info(ngx.var.request_uri .. " "
                    .. ngx.var.connection .. "-"
                    .. ngx.var.connection_requests))
            }
        }
        location = /unix {
            return 200 "hello\n";
            log_by_lua_block {
                assert(machine_log:info(ngx.var.request_uri .. " "
                    .. ngx.var.connection .. "-"
                    .. ngx.var.connection_requests))
            }
        }
    }
]==]

-- Counts datagrams until one says "report".
local SINK = [==[
local ms = require "minisock"

local fd = assert(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
local size = 64 * 1024 * 1024
if not ms.setsockopt(fd, "SO_RCVBUFFORCE", size) then
    assert(ms.setsockopt(fd, "SO_RCVBUF", size))
end
local port = ms.parseaddr(ms.getsockname(fd)).port
print("port " .. port)
io.stdout:flush()

-- What the kernel had no room for.
local function drops()
    local pattern = ("^ *%%d+: 0100007F:%04X .* (%%d+) *$"):format(port)
    for line in io.lines("/proc/net/udp") do
        local count = line:match(pattern)
        if count then return count end
    end
    return "?"
end

local counts, times, malformed = 0, 0, 0
while true do
    local text = assert(ms.recvfrom(fd, 60000))
    if text == "web.requests:1|c" then
        counts = counts + 1
    elseif text:find("^web%.request:%d+%.?%d*|ms$") then
        times = times + 1
    elseif text == "report" then
        print(("counts %d times %d malformed %d drops %s")
            :format(counts, times, malformed, drops()))
        io.stdout:flush()
        counts, times, malformed = 0, 0, 0
    else
        malformed = malformed + 1
    end
end
]==]

local Telemetry = {}
Telemetry.__index = Telemetry

--- Starts nginx, a sink and rsyslogd, until servers.stop().
function telemetry.start()
    servers.need("wrk")
    local self = setmetatable({ port = host.free_port() }, Telemetry)
    local sink = servers.folder() .. "/sink.lua"
    self.sink = servers.spawn(support.luajit .. " "
        .. support.spit(sink, SINK))
    self.sink_port = tonumber(self.sink:expect("^port (%d+)"))
    self.rsyslog = servers.rsyslog()
    self.nginx = servers.nginx((HTTP:gsub("@(%u+)@", {
        PORT = tostring(self.port), SINK = tostring(self.sink_port),
        SYSLOG = tostring(self.rsyslog.port), UNIX = self.rsyslog.path,
    })))
    return self
end

--- What the sink got since the last report.
---@return table counts, times, malformed, drops
function Telemetry:report()
    local fd = assert(ms.udpsocket())
    assert(ms.sendto(fd, ms.inetaddr("127.0.0.1", self.sink_port), "report"))
    ms.close(fd)
    local line = self.sink:expect("^(counts .*)")
    local report = {}
    for name, n in line:gmatch("(%l+) (%S+)") do
        report[name] = tonumber(n) or n
    end
    return report
end

--- How many requests nginx has had, this one included, and how many of its
--- connections are open.
function Telemetry:requests()
    local page, status = support.shell(
        ("curl -sS -f --max-time 10 http://127.0.0.1:%d/status")
            :format(self.port))
    assert(status == 0, page)
    return tonumber(page:match("\n %d+ %d+ (%d+)")),
        tonumber(page:match("^Active connections: (%d+)"))
end

--- Loads a location.
---@param path string
---@param seconds integer
---@return number served, as nginx counts, number answered and number rate, as
---wrk does
function Telemetry:load(path, seconds)
    local before = self:requests()
    local output, status = support.shell(
        ("wrk -t 1 -c 32 -d %ds http://127.0.0.1:%d%s")
            :format(seconds, self.port, path))
    assert(status == 0, output)
    assert(not output:find("Non-2xx") and not output:find("Socket errors"),
        output)
    local served, polls = nil, 0
    support.wait_for("the last request", function()
        local connections
        served, connections = self:requests()
        polls = polls + 1
        return connections == 1
    end)
    return served - before - polls,
        tonumber(output:match("(%d+) requests in")),
        tonumber(output:match("Requests/sec:%s*([%d.]+)"))
end

return telemetry
