--- What the specs share: descriptors that are closed and counted, processes
--- that are stopped, programs of others at the other end.
if not jit then error("these specs are for LuaJIT: busted --lua=luajit") end

local assert = require "luassert"
local lfs = require "lfs"
local ms = require "minisock"

local support = { luajit = os.getenv("LUAJIT") or "luajit" }

local kept, processes, files
local before

--- How many descriptors this process has open.
function support.count_descriptors()
    local count = 0
    for name in lfs.dir("/proc/self/fd") do
        if tonumber(name) then count = count + 1 end
    end
    return count
end

--- For before_each.
function support.setup()
    kept, processes, files = {}, {}, {}
    before = support.count_descriptors()
end

--- For after_each: closes and stops what the test kept, and fails the test
--- when a descriptor is left over.
function support.teardown()
    for _, fd in ipairs(kept) do ms.close(fd) end
    for _, process in ipairs(processes) do process:stop() end
    for _, name in ipairs(files) do os.remove(name) end
    assert.are.equal(before, support.count_descriptors())
end

--- Keeps descriptors until the end of the test, and passes on all it got, so
--- that it can stand around a call. Fails when the call failed.
function support.keep(fd, ...)
    assert(fd, (...))
    kept[#kept + 1] = fd
    return fd, ...
end

--- The name of a file that doesn't exist, and is removed after the test.
function support.tmpname()
    local name = os.tmpname()
    os.remove(name)
    files[#files + 1] = name
    return name
end

--- Two connected Unix stream sockets.
function support.pair(socktype)
    local a, b = ms.socketpair(socktype)
    return support.keep(a), support.keep(b)
end

--- A TCP listener on loopback, and its address.
function support.listener(host, opts)
    return support.keep(ms.bind(host or "127.0.0.1", 0, opts))
end

--- A client and the server's end of its connection, over TCP.
function support.connection(host)
    local server, addr = support.listener(host)
    local client = support.keep(ms.connect(addr, nil, 2000))
    return client, support.keep(ms.accept(server, 2000))
end

--- How long a call takes, in ms, and then its results.
function support.timed(call, ...)
    local shim = require("minisock.cdefs").shim
    local start = shim.minisock_now()
    local results = { n = select("#", ...), call(...) }
    return shim.minisock_now() - start, unpack(results, 1, 4)
end

local Process = {}
Process.__index = Process

--- The next line that the process prints, standard error included.
function Process:line()
    return self.pipe:read("*l")
end

--- Reads lines up to one that matches, and returns its captures.
function Process:expect(pattern)
    local seen = {}
    for line in self.pipe:lines() do
        if line:find(pattern) then return line:match(pattern) end
        seen[#seen + 1] = line
    end
    error(("no line like %q from %s:\n%s"):format(pattern, self.command,
        table.concat(seen, "\n")))
end

function Process:stop()
    if not self.pipe then return end
    os.execute("kill " .. self.pid .. " 2>/dev/null")
    self.pipe:close()
    self.pipe = nil
end

--- Starts a program in the background until the end of the test.
function support.spawn(command)
    local pipe = io.popen("echo $$; exec 2>&1 " .. command)
    local process = setmetatable(
        { command = command, pipe = pipe, pid = pipe:read("*l") }, Process)
    processes[#processes + 1] = process
    return process
end

--- Runs a Lua program in a LuaJIT of its own, with the command line's
--- arguments after it, and returns what it printed and its exit status: busted
--- stands between a spec and the FFI, and a crash should be seen.
function support.run(program, arguments)
    local name = os.tmpname()
    local file = assert(io.open(name, "w"))
    file:write(program)
    file:close()
    local pipe = io.popen(("%s %s %s 2>&1; echo \"[$?]\"")
        :format(support.luajit, name, arguments or ""))
    local output, status = pipe:read("*a"):match("^(.*)%[(%d+)%]\n$")
    pipe:close()
    os.remove(name)
    return output, tonumber(status)
end

return support
