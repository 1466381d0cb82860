--- What the specs share: descriptors that are closed and counted, processes
--- that are stopped, programs of others at the other end.
if not jit then error("these specs are for LuaJIT: busted --lua=luajit") end

local assert = require "luassert"
local bit = require "bit"
local lfs = require "lfs"
local ms = require "minisock"
local proc = require "spec.process"

local support = { luajit = os.getenv("LUAJIT") or "luajit" }

--- Valgrind answers for the system where descriptors run out, and counts a
--- NULL that the system refuses as an error.
support.valgrind = support.luajit:find("valgrind", 1, true) ~= nil

--- AddressSanitizer keeps what was freed.
support.asan = support.luajit:find("libasan", 1, true) ~= nil

--- What make test-engines runs the specs on, when it does.
support.engine = os.getenv("ENGINE")

--- Another processor's LuaJIT: what is preloaded isn't for the programs that
--- start it.
support.foreign = support.engine == "i386" or support.engine == "arm64"

--- Qemu stands between the system's calls and the kernel.
support.emulated = support.engine == "arm64"

--- What takes seconds of work takes minutes: do less of it.
support.slow = support.valgrind or support.emulated

local kept, processes, files
local before

--- How many descriptors a process has open, this one by default.
support.count_descriptors = proc.descriptors

--- For before_each. Garbage of an earlier test may hold descriptors, and must
--- not give them up in the middle of this one.
function support.setup()
    kept, processes, files = {}, {}, {}
    if package.loaded["minisock.owner"] then
        collectgarbage()
        collectgarbage()
    end
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

--- A file that is removed after the test, if it is there then.
function support.remove(name)
    files[#files + 1] = name
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

local ffi = require "ffi"

ffi.cdef [[
int minisock_spec_pipe2(int *, int) __asm__("pipe2");
int minisock_spec_unsetenv(const char *) __asm__("unsetenv");
int minisock_spec_dup2(int, int) __asm__("dup2");
]]

-- ASan's library is for LuaJIT, whose command line asks for it; curl, for one,
-- hangs in setlocale with it.
if support.luajit:find("LD_PRELOAD", 1, true) then
    ffi.C.minisock_spec_unsetenv("LD_PRELOAD")
end

--- The two ends of a pipe: for reading, for writing.
function support.pipe()
    local ends = ffi.new("int[2]")
    assert.are.equal(0,
        ffi.C.minisock_spec_pipe2(ends, ms.SOCK_CLOEXEC))
    return support.keep(ends[0]), support.keep(ends[1])
end

--- A copy of a descriptor, with the number that is asked for.
function support.dup2(fd, number)
    return support.keep(ffi.C.minisock_spec_dup2(fd, number))
end

--- The flags of an open descriptor of this process, as open(2) has them.
function support.descriptor_flags(fd)
    local file = assert(io.open("/proc/self/fdinfo/" .. fd))
    local flags = file:read("*a"):match("flags:%s+(%d+)\n")
    file:close()
    return tonumber(flags, 8)
end

--- Sends until the queue is full, and leaves the descriptor as it was.
function support.fill(fd)
    repeat
        local sent = ms.sendall(fd, ("x"):rep(65536), 0)
    until not sent
end

--- The address of a TCP listener whose queue is full: the kernel doesn't
--- answer who would connect to it.
function support.full_listener(host)
    local server, addr = support.listener(host, { backlog = 0 })
    local client
    repeat
        client = ms.connect(addr, nil, 100)
        if client then support.keep(client) end
    until not client
    return addr, server
end

--- A Unix address whose path fills all of sun_path, removed after the test.
function support.longest_unixaddr()
    local path = support.tmpname()
    path = path .. ("x"):rep(108 - #path)
    files[#files + 1] = path
    return ms.unixaddr(path)
end

function support.port_of(addr)
    return ms.parseaddr(addr).port
end

function support.is_blocking(fd)
    return bit.band(support.descriptor_flags(fd), ms.SOCK_NONBLOCK) == 0
end

--- Bytes go both ways between the two ends of a connection.
function support.assert_talks(client, served)
    ms.write(client, "ping")
    assert.are.equal("ping", ms.read(served, 2000))
    ms.write(served, "pong")
    assert.are.equal("pong", ms.read(client, 2000))
end

--- Starts a Lua program in a LuaJIT of its own, in the background until the
--- end of the test.
function support.spawn_lua(program, arguments)
    local name = support.tmpname()
    local file = assert(io.open(name, "w"))
    file:write(program)
    file:close()
    return support.spawn(("%s %s %s")
        :format(support.luajit, name, arguments or ""))
end

--- Runs a shell command, and returns what it printed, standard error included,
--- and its exit status.
function support.shell(command)
    local pipe = io.popen("{ " .. command .. "\n} 2>&1; echo \"[$?]\"")
    local output, status = pipe:read("*a"):match("^(.*)%[(%d+)%]\n$")
    pipe:close()
    return output, tonumber(status)
end

local SAME_CALLS = {
    ppoll = "poll", ppoll_time64 = "poll", recv = "recvfrom", send = "sendto",
    recvmmsg_time64 = "recvmmsg",
}

--- The name of a system call in strace's output, whatever processor it is for:
--- one without poll, say, has ppoll.
function support.call_name(line)
    local name = line:match("^%d*%s*([%w_]+)%(")
    return SAME_CALLS[name] or name
end

-- The handler is abs(3), which a signal's number doesn't harm.
local UNDER_SIGNALS = [[
    local ffi, ms = require "ffi", require "minisock"
    local set = require("minisock.MODULE").new()
    ffi.cdef "int abs(int); void *signal(int, void *);"
    ffi.cdef "int setitimer(int, const long *, long *);"
    ffi.cdef "int fork(void); void _exit(int);"
    ffi.C.signal(14, ffi.cast("void *", ffi.C.abs))
    local now = require("minisock.cdefs").shim.minisock_now
    local a, b = ms.socketpair()
    set:add(b, ms.EVENTS)
    if ffi.C.fork() == 0 then
        ms.close(1) -- nobody waits for this process
        ms.close(2)
        ms.msleep(WRITE_AFTER)
        ms.write(a, "x")
        ffi.C._exit(0)
    end
    ffi.C.setitimer(0, ffi.new("long[4]", 0, 2000, 0, 2000), nil)
    local start = now()
    local count = set:wait(TIMEOUT)
    local took = now() - start
    io.write(tostring(count), " ", took < AT_LEAST and "early"
        or took > 4000 and "late" or "in time")
]]

--- What a poller or a pollset waits for among signals: how many are ready, and
--- whether that was in time.
function support.wait_under_signals(module, events, write_after, timeout,
                                    at_least)
    return (support.run((UNDER_SIGNALS:gsub("MODULE", module)
        :gsub("EVENTS", events):gsub("WRITE_AFTER", write_after)
        :gsub("TIMEOUT", timeout):gsub("AT_LEAST", at_least))))
end

--- The system calls of a Lua program, but for its memory's, between one
--- close(-77) that it makes and the next: a list of their names.
function support.marked_calls(program)
    local name, trace = support.spit(support.tmpname(), program),
        support.tmpname()
    local output, status = support.shell(("strace -f -qq -o %s "
        .. "-e trace='!brk,mmap,munmap,mremap,madvise,mprotect' %s %s")
        :format(trace, support.luajit, name))
    assert.are.equal("", output)
    assert.are.equal(0, status)
    local names, counting = {}, false
    for line in io.lines(trace) do
        if line:find("close(-77)", 1, true) then
            counting = not counting
        elseif counting then
            names[#names + 1] = support.call_name(line)
        end
    end
    return names
end

--- What is in a file.
function support.slurp(name)
    local file = assert(io.open(name, "rb"))
    local text = file:read("*a")
    file:close()
    return text
end

--- Writes a file, and returns its name.
function support.spit(name, text)
    local file = assert(io.open(name, "wb"))
    file:write(text)
    file:close()
    return name
end

--- A new, empty directory, for setup; rmtree is for teardown.
function support.mkdtemp()
    local name = os.tmpname()
    os.remove(name)
    assert(lfs.mkdir(name))
    return name
end

function support.rmtree(dir)
    os.execute("rm -rf '" .. dir .. "'")
end

--- Asks again and again until there is an answer, and returns it.
function support.wait_for(what, question)
    for _ = 1, 1000 do
        local answer = question()
        if answer then return answer end
        ms.msleep(10)
    end
    error("waited in vain for " .. what)
end

--- Builds a shared library from C source, into a directory.
function support.build_library(dir, name, source, flags)
    local path = ("%s/%s.so"):format(dir, name)
    local c = support.spit(("%s/%s.c"):format(dir, name), source)
    local output, status = support.shell(
        ("%s -D_GNU_SOURCE -fPIC -shared -o '%s' '%s' %s")
            :format(os.getenv("CC") or "gcc", path, c, flags or ""))
    assert.are.equal(0, status, output)
    return path
end

--- The command line of a LuaJIT with a library preloaded, after any that is
--- preloaded already.
function support.preloading(path)
    local luajit, replaced =
        support.luajit:gsub("LD_PRELOAD=%S+", "%0:" .. path, 1)
    if replaced == 1 then return luajit end
    if support.foreign then
        return "env ENGINE_PRELOAD=" .. path .. " " .. luajit
    end
    return "env LD_PRELOAD=" .. path .. " " .. luajit
end

return support
