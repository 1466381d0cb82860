--- Real servers for the specs of clients that others wrote: each on a free port
--- of loopback, in a folder of its own, until servers.stop().
local lfs = require "lfs"
local host = require "spec.nginx"
local ms = require "minisock"
local support = require "spec.support"

local servers = {}

local running = {}

-- Fails rather than skips: who runs the specs should know what they need.
local function need(command)
    local status = os.execute("PATH=$PATH:/usr/sbin command -v " .. command
        .. " >/dev/null")
    if status ~= 0 then
        error("there is no " .. command .. "; make deps installs it", 3)
    end
end
servers.need = need

--- Fails when a Lua module of others isn't installed.
function servers.need_module(name, package_name)
    if not package.searchpath(name, package.path)
            and not package.searchpath(name, package.cpath) then
        error(("there is no Lua module %s; make deps installs %s, which has it")
            :format(name, package_name), 2)
    end
end

--- A folder that servers.stop removes.
function servers.folder()
    local folder = support.mkdtemp()
    running[#running + 1] = {
        stop = function() support.rmtree(folder) end,
    }
    return folder
end

--- Stops what runs, the last one first, and removes its files.
function servers.stop()
    for i = #running, 1, -1 do
        running[i]:stop()
        running[i] = nil
    end
end

-- Ends with the specs' process, even when that is killed.
local function spawn(command, options)
    local process = support.spawn(
        ("env PATH=$PATH:/usr/sbin setpriv --pdeathsig TERM %s %s")
            :format(options or "", command))
    running[#running + 1] = process
    return process
end
servers.spawn = spawn

-- For servers that would change the user by themselves when they are root's,
-- and would then be missed by the above.
local function as_nobody()
    return support.shell("id -u") == "0\n"
        and "--reuid nobody --regid nogroup --clear-groups" or ""
end

-- A server that ended instead of listening tells why in its log.
local function wait_to_connect(name, log, ...)
    local where = { ... }
    local done, problem = pcall(support.wait_for, name, function()
        local fd = ms.connect(where[1], where[2], 1000)
        return fd and ms.close(fd)
    end)
    if not done then
        local text = lfs.attributes(log) and support.slurp(log) or ""
        error(problem .. "\n" .. text)
    end
end

--- A certificate authority, and a certificate of it for localhost and
--- 127.0.0.1: the names of the files ca, cert and key.
function servers.certificates()
    need("openssl")
    local folder = servers.folder()
    support.spit(folder .. "/names", "subjectAltName = "
        .. "DNS:localhost, IP:127.0.0.1\n")
    local output, status = support.shell(([[
        cd '%s' &&
        new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
            -nodes -keyout $1.key "$@"; } &&
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
            -days 2 -subj '/CN=A private CA' -keyout ca.key -out ca.pem &&
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
            -subj /CN=localhost -keyout server.key -out server.csr &&
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key \
            -CAcreateserial -days 2 -extfile names -out server.pem
    ]]):format(folder))
    assert(status == 0, output)
    return {
        ca = folder .. "/ca.pem",
        cert = folder .. "/server.pem",
        key = folder .. "/server.key",
    }
end

--- Redis, in memory only.
---@param certificates? table for a TLS port too
---@return table server port, path of the Unix socket, tls_port
function servers.redis(certificates)
    need("redis-server")
    local folder = servers.folder()
    local server = { port = host.free_port(), path = folder .. "/redis.sock" }
    local conf = {
        "bind 127.0.0.1", "port " .. server.port,
        "unixsocket " .. server.path, "save \"\"", "appendonly no",
        "dir " .. folder, "logfile " .. folder .. "/log", "daemonize no",
    }
    if certificates then
        server.tls_port = host.free_port()
        for _, line in ipairs({
            "tls-port " .. server.tls_port, "tls-auth-clients no",
            "tls-ca-cert-file " .. certificates.ca,
            "tls-cert-file " .. certificates.cert,
            "tls-key-file " .. certificates.key,
        }) do
            conf[#conf + 1] = line
        end
    end
    support.spit(folder .. "/conf", table.concat(conf, "\n") .. "\n")
    server.process = spawn(("redis-server %s/conf"):format(folder))
    wait_to_connect("redis", folder .. "/log", ms.unixaddr(server.path))
    wait_to_connect("redis", folder .. "/log", "127.0.0.1", server.port)
    return server
end

--- Memcached, on a TCP port.
---@return table server port
function servers.memcached()
    need("memcached")
    local folder = servers.folder()
    local server = { port = host.free_port() }
    server.process = spawn(
        ("memcached -l 127.0.0.1 -p %d -U 0 -m 64 -I 4m -t 1 >%s/log")
            :format(server.port, folder), as_nobody())
    wait_to_connect("memcached", folder .. "/log", "127.0.0.1", server.port)
    return server
end

--- Dnsmasq, which knows the zone `test` and nothing else.
---@param lines string[] of its configuration: its records
---@return table server port
function servers.dnsmasq(lines)
    need("dnsmasq")
    local folder = servers.folder()
    local server = { port = host.free_port() }
    support.spit(folder .. "/conf", table.concat({
        "port=" .. server.port, "listen-address=127.0.0.1", "bind-interfaces",
        "no-resolv", "no-hosts", "no-poll", "local=/test/", "log-facility=-",
        "keep-in-foreground", "pid-file=", table.concat(lines, "\n"), "",
    }, "\n"))
    server.process = spawn(("dnsmasq --conf-file=%s/conf >%s/log")
        :format(folder, folder), as_nobody())
    wait_to_connect("dnsmasq", folder .. "/log", "127.0.0.1", server.port)
    return server
end

-- Escapes are off, so that what is in the file is what was sent.
local RSYSLOG = [[
global(workDirectory="@FOLDER@" parser.escapeControlCharactersOnReceive="off")
module(load="imudp")
module(load="imuxsock" SysSock.Use="off")
input(type="imudp" address="127.0.0.1" port="@PORT@" rcvbufSize="4m")
input(type="imuxsock" Socket="@FOLDER@/log" RateLimit.Interval="0")
template(name="parsed" type="list") {
    property(name="timereported" dateFormat="unixtimestamp") constant(value=" ")
    property(name="pri") constant(value=" ")
    property(name="hostname") constant(value=" ")
    property(name="app-name") constant(value=" ")
    property(name="procid") constant(value=" ")
    property(name="msgid") constant(value=" ")
    property(name="structured-data") constant(value=" ")
    property(name="msg" droplastlf="on") constant(value="\n")
}
action(type="omfile" file="@FOLDER@/messages" template="parsed")
]]

local Rsyslog = {}
Rsyslog.__index = Rsyslog

--- What it wrote: for each message a line of its date, priority, host,
--- application, process, message id, structured data and text.
function Rsyslog:messages()
    local name = self.folder .. "/messages"
    local text = lfs.attributes(name) and support.slurp(name) or ""
    return (text:gsub("[^\n]*probe of the spec\n", ""))
end

--- Rsyslog, which writes what it gets into a file.
---@return table server port of UDP, path of its Unix datagram socket
function servers.rsyslog()
    need("rsyslogd")
    local folder = servers.folder()
    local server = setmetatable({ folder = folder, port = host.free_port(),
        path = folder .. "/log" }, Rsyslog)
    support.spit(folder .. "/conf", (RSYSLOG:gsub("@(%u+)@",
        { FOLDER = folder, PORT = tostring(server.port) })))
    server.process = spawn(
        ("rsyslogd -n -C -f %s/conf -i %s/pid >%s/errors")
            :format(folder, folder, folder))
    local fd = assert(ms.udpsocket())
    local unix = assert(ms.udpsocket("\1"))
    local addr = ms.inetaddr("127.0.0.1", server.port)
    support.wait_for("rsyslogd", function()
        ms.sendto(fd, addr, "<13>probe udp: probe of the spec")
        ms.sendto(unix, ms.unixaddr(server.path),
            "<13>Jan  1 00:00:00 probe: probe of the spec")
        local name = folder .. "/messages"
        local text = lfs.attributes(name) and support.slurp(name) or ""
        return text:find("udp") and text:find("probe %- ")
    end)
    ms.close(fd)
    ms.close(unix)
    return server
end

-- A chunked answer has several chunks, because each print is flushed.
local HTTP = [[
    server {
        listen 127.0.0.1:@PORT@;
        listen 127.0.0.1:@TLS_PORT@ ssl;
        ssl_certificate @CERT@;
        ssl_certificate_key @KEY@;
        client_max_body_size 8m;
        client_body_buffer_size 8m;
        location = /hello { return 200 "hello\n"; }
        location = /moved { return 302 http://127.0.0.1:@PORT@/hello; }
        location = /loop { return 302 http://127.0.0.1:@PORT@/loop; }
        location = /nothing { return 404 "not here\n"; }
        location = /chunked {
            content_by_lua_block {
                for i = 1, 100 do
                    ngx.print(("%d;"):format(i):rep(100))
                    ngx.flush(true)
                end
            }
        }
        location = /echo {
            content_by_lua_block {
                ngx.req.read_body()
                ngx.header["X-Method"] = ngx.req.get_method()
                ngx.header["X-Type"] = ngx.req.get_headers()["content-type"]
                ngx.print(ngx.req.get_body_data() or "")
            }
        }
        location = /authorized {
            content_by_lua_block {
                ngx.print(ngx.var.http_authorization)
            }
        }
    }
]]

--- nginx: /hello, /moved, /loop, /nothing, /chunked, /echo; and the same over
--- TLS.
---@return table server port, tls_port, and certificates' ca, cert and key
function servers.http()
    local server = servers.certificates()
    server.port, server.tls_port = host.free_port(), host.free_port()
    server.nginx = servers.nginx((HTTP:gsub("@([%u_]+)@", {
        PORT = tostring(server.port), TLS_PORT = tostring(server.tls_port),
        CERT = server.cert, KEY = server.key,
    })))
    return server
end

--- nginx, as host.start has it, until servers.stop().
function servers.nginx(...)
    local missing = host.missing()
    if missing then error(missing, 2) end
    local nginx = host.start(...)
    running[#running + 1] = nginx
    return nginx
end

local PROLOGUE = [[
import signal, socket, sys
signal.alarm(120)
]]

--- A server that is a Python program, which prints the port that it has.
---@return table server port
function servers.python(program)
    need("python3")
    local folder = servers.folder()
    support.spit(folder .. "/server.py", PROLOGUE .. program)
    local process = spawn(("python3 -u -W ignore %s/server.py")
        :format(folder))
    return { folder = folder, process = process,
        port = tonumber(process:expect("^port (%d+)")) }
end

--- A UDP port of loopback whose server never answers.
function servers.silent()
    return servers.python([[
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
print("port", s.getsockname()[1])
while True: s.recvfrom(65536)
]])
end

--- A package.path by which LuaSocket's C modules are ours: the drop-ins come
--- after LuaSocket's own Lua files.
function servers.luasocket_path()
    return package.path .. ";" .. lfs.currentdir() .. "/minisock/dropin/?.lua"
end

return servers
