--- A real nginx with the Lua module, for the specs that need that host.
local assert = require "luassert"
local lfs = require "lfs"
local ms = require "minisock"
local support = require "spec.support"

local MODULES = "/usr/lib/nginx/modules/"

local nginx = {}

--- What is missing for nginx to run here, or nil.
function nginx.missing()
    if os.execute("PATH=$PATH:/usr/sbin command -v nginx >/dev/null") ~= 0 then
        return "there is no nginx; make deps installs it"
    end
    for _, name in ipairs({ "ndk_http", "ngx_http_lua" }) do
        if not lfs.attributes(MODULES .. name .. "_module.so") then
            return "nginx has no Lua module; libnginx-mod-http-lua needs "
                .. "luajit2, which Debian's luajit keeps away"
        end
    end
end

--- A TCP port of loopback that nothing listens on.
function nginx.free_port()
    local fd, addr = assert(ms.bind("127.0.0.1", 0))
    ms.close(fd)
    return ms.parseaddr(addr).port
end

local CONF = [[
load_module %sndk_http_module.so;
load_module %sngx_http_lua_module.so;
daemon off;
worker_processes %d;
thread_pool lua threads=4;
pid nginx.pid;
error_log error.log info;
%s
%s
events { worker_connections 256; }
http {
    lua_package_path "%s";
    lua_package_cpath "%s";
    access_log off;
    client_body_temp_path tmp;
    proxy_temp_path tmp;
    fastcgi_temp_path tmp;
    uwsgi_temp_path tmp;
    scgi_temp_path tmp;
    %s
}
]]

-- nginx would look for paths relative to its own folder.
local function absolute(path)
    return (path:gsub("%f[^;%z]%./", lfs.currentdir() .. "/"))
end

local Nginx = {}
Nginx.__index = Nginx

--- Starts nginx.
---@param http string what goes into the http block
---@param files? table<string, string> Lua modules, by file name, in a folder
--- at most
---@param main? string what goes before the events block
---@param workers? integer how many, 1 by default
function nginx.start(http, files, main, workers)
    local folder = support.mkdtemp()
    for name, text in pairs(files or {}) do
        local below = name:match("^(.*)/")
        if below then lfs.mkdir(folder .. "/" .. below) end
        support.spit(folder .. "/" .. name, text)
    end
    local user = support.shell("id -u") == "0\n" and "user root;" or ""
    support.spit(folder .. "/nginx.conf", CONF:format(MODULES, MODULES,
        workers or 1, user, main or "",
        folder .. "/?.lua;" .. absolute(package.path),
        absolute(package.cpath), http))
    local process = support.spawn(
        ("env PATH=$PATH:/usr/sbin nginx -p %s -c nginx.conf -e error.log")
            :format(folder))
    local self = setmetatable({ folder = folder, process = process }, Nginx)
    support.wait_for("nginx to listen", function()
        return (lfs.attributes(folder .. "/nginx.pid", "size") or 0) > 0
    end)
    return self
end

--- What was logged.
function Nginx:log()
    local name = self.folder .. "/error.log"
    return lfs.attributes(name) and support.slurp(name) or ""
end

--- What was logged as an error or worse. nginx logs at level alert that the
--- code cache is off, and that connections were left open.
function Nginx:complaints()
    local lines = {}
    for line in self:log():gmatch("[^\n]+") do
        if (line:find("[error]", 1, true) or line:find("[alert]", 1, true)
                or line:find("[crit]", 1, true)
                or line:find("[emerg]", 1, true))
                and not line:find("lua_code_cache is off", 1, true) then
            lines[#lines + 1] = line
        end
    end
    return table.concat(lines, "\n")
end

--- Fails if there were any.
function Nginx:assert_quiet()
    assert.are.equal("", self:complaints())
    -- So that the above can't pass for a log that isn't there.
    assert.matches("%[notice%]", self:log())
end

--- The process ids of its workers.
function Nginx:workers()
    local pids = {}
    for name in lfs.dir("/proc") do
        local file = tonumber(name) and io.open(("/proc/%s/stat"):format(name))
        if file then
            -- A process that has ended in the meantime has nothing to read.
            local parent = (file:read("*a") or ""):match("%) %a (%d+)")
            file:close()
            if parent == self.process.pid then pids[#pids + 1] = name end
        end
    end
    return pids
end

--- Ends when all requests are answered, as nginx does it by SIGQUIT: it
--- complains then of what is still open.
function Nginx:quit()
    os.execute("kill -QUIT " .. self.process.pid)
    self.process.pipe:read("*a")
    self.process:stop()
end

function Nginx:stop()
    self.process:stop()
    support.rmtree(self.folder)
end

return nginx
