--- Networks for specs: namespaces of their own, with a network that loses,
--- refuses or forgets what it is told to, and name servers of their own. A
--- namespace is there as long as the process that holds it, which ends with the
--- test, with the specs' process, and after two minutes anyway. So nothing
--- needs to be removed.
local busted = require "busted"
local servers = require "spec.servers"
local support = require "spec.support"

local networks = {
    --- Whose clients spec/network_clients.lua has.
    LIBRARIES = { "core", "socket", "luasocket", "resty" },
}

local LONGEST = 120 -- s
local COMMANDS = { "ip", "tc", "nft", "nsenter", "unshare", "setpriv" }

local function shell(command)
    return support.shell("PATH=$PATH:/usr/sbin:/sbin; " .. command)
end

-- Why no namespace can be made here, or nil.
local function find_obstacle()
    if shell("id -u") ~= "0\n" then
        return "network namespaces need root"
    end
    local output, status =
        shell("unshare -n -m mount --bind /etc/resolv.conf /etc/resolv.conf")
    if status ~= 0 then
        return "no network namespace can be made here: " .. output
    end
end

local obstacle = find_obstacle()

--- As `it`, where namespaces can be made.
function networks.it_can(what, test)
    local function try()
        if obstacle then return pending(obstacle) end
        test()
    end
    -- Only in a spec file's globals is `pending` that of the test.
    busted.it(what, setfenv(try, getfenv(test)))
end

local Network = {}
Network.__index = Network

-- The command line that runs another inside.
function Network:inside(command)
    return table.concat({
        "env PATH=$PATH:/usr/sbin:/sbin timeout", LONGEST,
        "nsenter -t", self.holder.pid, "-n -m --wd=.", command,
    }, " ")
end

--- Runs shell commands inside. They must succeed.
---@return string output
function Network:shell(commands)
    local name = support.spit(support.tmpname(), commands)
    local output, status = support.shell(self:inside("sh -e " .. name))
    if status ~= 0 then error(commands .. ":\n" .. output, 2) end
    return output
end

--- Adds nft rules.
---@param rules string
---@param hook? string for which packets: those that come in, by default
function Network:filter(rules, hook)
    local name = support.spit(support.tmpname(), ([[
        table inet spec {
            counter asked {}
            chain spec {
                type filter hook %s priority 0;
                %s
            }
        }
    ]]):format(hook or "input", rules))
    self:shell("nft -f " .. name)
end

--- How many packets came by the counter `asked`.
---@return integer
function Network:asked()
    return tonumber(self:shell("nft list counter inet spec asked")
        :match("packets (%d+)"))
end

-- What each program inside begins with.
local PROLOGUE = [[
local assert = require "luassert"
local clients = require "spec.network_clients"
local ms = require "minisock"
local process = require "spec.process"
local at_deadline = clients.at_deadline
local timed = require("spec.support").timed
]]

local EPILOGUE = [[

clients.assert_clean()
print("done")
]]

--- Starts a program inside, until the end of the test.
function Network:spawn(command)
    return support.spawn(self:inside(command))
end

--- Starts a Lua program inside. Its assertions are the test's, and it must get
--- to its end, with no descriptor left open: networks.finish waits for that.
---@param program string
---@param ... string|number its arguments
---@return table process
function Network:start(program, ...)
    local name = support.spit(support.tmpname(),
        PROLOGUE .. program .. EPILOGUE)
    return self:spawn(table.concat({ support.luajit, name, ... }, " "))
end

--- Waits for the end of a program.
function networks.finish(process)
    process:expect("^done$")
end

--- Runs a Lua program likewise, to its end.
function Network:run(program, ...)
    networks.finish(self:start(program, ...))
end

function networks.finish_all(processes)
    for _, process in ipairs(processes) do networks.finish(process) end
end

--- Starts a program for a client of each library, whose name is its first
--- argument, and adds the processes to a list.
function Network:start_for_each(processes, program, ...)
    for _, library in ipairs(networks.LIBRARIES) do
        processes[#processes + 1] = self:start(program, library, ...)
    end
end

--- Runs a program likewise, all at the same time: most of it is waiting.
function Network:run_for_each(program, ...)
    local processes = {}
    self:start_for_each(processes, program, ...)
    networks.finish_all(processes)
end

-- Asks once, and gives up after a second.
local RESOLVER = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"

local HOLD = [[
mount --bind %s /etc/resolv.conf
mount --bind %s /etc/nsswitch.conf
ip link set lo up
ip link set lo mtu 1500 gso_max_segs 1
echo ready
exec sleep %d
]]

--- Makes a network: loopback, where packets have the size of ethernet's.
---@return table network
function networks.new()
    for _, command in ipairs(COMMANDS) do servers.need(command) end
    local hold = support.spit(support.tmpname(), HOLD:format(
        support.spit(support.tmpname(), RESOLVER),
        support.spit(support.tmpname(), "hosts: files dns\n"), LONGEST))
    local holder = support.spawn(("env PATH=$PATH:/usr/sbin:/sbin "
        .. "setpriv --pdeathsig KILL unshare -n -m sh -e %s"):format(hold))
    holder:expect("^ready")
    return setmetatable({ holder = holder }, Network)
end

--- Starts the hostile name server inside.
function Network:serve_names()
    self:spawn("python3 spec/name_server.py"):expect("^ready")
end

return networks
