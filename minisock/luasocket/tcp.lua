--- LuaSocket's TCP objects: masters, which become servers or clients. Stands on
--- minisock.resolver and minisock.luasocket's object, stream and options.
local ms = require "minisock"
local check = require "minisock.check"
local clock = require "minisock.clock"
local object = require "minisock.luasocket.object"
local options = require "minisock.luasocket.options"
local owner = require "minisock.owner"
local resolver = require "minisock.resolver"
local stream = require "minisock.luasocket.stream"

local AI_PASSIVE, SOCK_STREAM = ms.AI_PASSIVE, ms.SOCK_STREAM
local EINPROGRESS = ms.EINPROGRESS
local FOREVER = math.huge
local MASTER, CLIENT, SERVER = "tcp{master}", "tcp{client}", "tcp{server}"

local Tcp = { any = "tcp{any}" }
local Methods = {}

object.add_methods(Tcp, Methods)
object.add_name_methods(Tcp, Methods)
stream.add_methods(Tcp, Methods, CLIENT)
options.add_methods(Tcp, Methods, options.tcp)

local tcp = {}

--- Makes a master. Without a family, it has no descriptor until it is bound
--- or connected.
---@param family? integer
---@return minisock.luasocket.object? sock, string? reason
function tcp.new(family)
    local self = object.new(Tcp, MASTER, -1)
    self.wanted_family = family
    if family then
        local done, reason = object.open(self, family, SOCK_STREAM)
        if not done then return nil, reason end
    end
    return self
end

-- What a host and a port stand for, as resolver.entries has it; or nil and a
-- reason.
local function entries_of(self, host, port, flags, deadline)
    local hints = {
        family = self.wanted_family,
        socktype = SOCK_STREAM,
        flags = flags,
    }
    local list, code, system =
        resolver.entries(host ~= "*" and host or nil, port, hints, deadline)
    if not list then return nil, object.resolver_words(code, system) end
    local preferred = self.preferred_family
    if not preferred then return list end
    table.sort(list, function(a, b)
        return a.family == preferred and b.family ~= preferred
    end)
    return list
end

---------------------------------------------------------------------------
-- Servers
---------------------------------------------------------------------------

--- Binds to a host ("*" for every address of IPv4) and a port (0 for a free
--- one).
---@param host string
---@param port string|integer
---@return 1? done, string? reason
function Methods:bind(host, port)
    object.check(self, Tcp, "bind", MASTER)
    host = check.string(host, 1, "bind")
    port = check.string(port, 2, "bind")
    local entries, reason = entries_of(self, host, port, AI_PASSIVE, FOREVER)
    for _, entry in ipairs(entries or {}) do
        local done, _, code
        done, reason = object.prepare(self, entry.family, SOCK_STREAM)
        if done then
            done, _, code = ms.bindfd(self.owner.fd, entry.addr)
            if done then
                self.wanted_family = entry.family
                return 1
            end
            reason = object.words(code)
        end
    end
    return nil, reason
end
Methods.setsockname = Methods.bind

--- Makes it a server.
---@param backlog? integer 32 by default
---@return 1? done, string? reason
function Methods:listen(backlog)
    object.check(self, Tcp, "listen", MASTER)
    backlog = object.to_int(object.check_number(backlog, 1, "listen", 32))
    local done, _, code = ms.listen(self.owner.fd, backlog)
    if not done then return nil, object.words(code) end
    self.class = SERVER
    return 1
end

--- Accepts a connection.
---@return minisock.luasocket.object? client, string? reason
function Methods:accept()
    object.check(self, Tcp, "accept", SERVER)
    local fd, reason = object.accept(self)
    if not fd then return nil, reason end
    local client = object.new(Tcp, CLIENT, fd)
    client.family = self.family
    stream.start(client, CLIENT)
    return client
end

---------------------------------------------------------------------------
-- Clients
---------------------------------------------------------------------------

-- One attempt. Returns true, or nil and a reason.
local function attempt(self, entry, timeout)
    local done, reason = object.prepare(self, entry.family, SOCK_STREAM)
    if not done then return nil, reason end
    local message, code
    if timeout == 0 then
        done, message, code = ms.startconnect(self.owner.fd, entry.addr)
    else
        done, message, code =
            ms.connectfd(self.owner.fd, entry.addr, timeout)
    end
    if done then return true end
    if code == EINPROGRESS then return nil, "timeout" end
    return nil, object.reason(message, code)
end

local function connect(self, host, port, deadline)
    -- A name can't be looked up without waiting.
    local entries, reason = entries_of(self, host, port, 0,
        deadline == 0 and FOREVER or deadline)
    for i, entry in ipairs(entries or {}) do
        local limit = clock.share(deadline, #entries - i + 1)
        local done
        done, reason = attempt(self, entry, clock.left(limit))
        if done then
            self.wanted_family = entry.family
            return true
        end
        if reason == "timeout" and deadline == 0 then break end -- under way
        -- Another attempt wants another descriptor, if that's for us to make.
        if not self.wanted_family then self.family = nil end
    end
    return nil, reason
end

--- Connects: to the first address of the host's that answers. With a timeout of
--- 0 the connection is under way when this says "timeout".
---@param host string "*" for this machine
---@param port string|integer
---@return 1? done, string? reason
function Methods:connect(host, port)
    object.check(self, Tcp, "connect")
    host = check.string(host, 1, "connect")
    port = check.string(port, 2, "connect")
    local done, reason = connect(self, host, port,
        clock.deadline(object.timeout(self)))
    if self.class ~= CLIENT then stream.start(self, CLIENT) end
    if done then return 1 end
    return nil, reason
end
Methods.setpeername = Methods.connect

---------------------------------------------------------------------------
-- socket.connect
---------------------------------------------------------------------------

local FAMILIES = { inet = ms.AF_INET, inet6 = ms.AF_INET6, unspec = false }

--- Makes a client: connects to an address, from one of this machine's own where
--- that is given.
---@param host string
---@param port string|integer
---@param own_host? string
---@param own_port? string|integer
---@param family? "inet"|"inet6"|"unspec" which addresses are tried first
---@return minisock.luasocket.object? client, string? reason
function tcp.connect(host, port, own_host, own_port, family)
    host = check.string(host, 1, "connect")
    port = check.string(port, 2, "connect")
    local self = tcp.new()
    if not check.absent(family) then
        if FAMILIES[family] == nil then
            error(("bad argument #5 to 'connect' (invalid option '%s')")
                :format(tostring(family)), 2)
        end
        self.preferred_family = FAMILIES[family]
    end
    if not check.absent(own_host) then
        own_host = check.string(own_host, 3, "connect")
        own_port = check.absent(own_port) and "0"
            or check.string(own_port, 4, "connect")
        local bound, reason = self:bind(own_host, own_port)
        if not bound then return nil, reason end
    end
    local done, reason = self:connect(host, port)
    if done then return self end
    owner.close(self.owner)
    return nil, reason
end

return tcp
