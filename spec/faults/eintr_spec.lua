local faults = require "spec.faults.support"
local support = require "spec.support"

local each = faults.each

-- A program under a timer that interrupts what it waits in, compiled or not.
-- The handler is abs(3), which a signal's number doesn't harm. A forked process
-- has no such timer, and ends by itself.
local SIGNALS = [[
    local ffi = require "ffi"
    ffi.cdef "int abs(int); void *signal(int, void *);"
    ffi.cdef "int siginterrupt(int, int); int fork(void); void _exit(int);"
    ffi.cdef "int setitimer(int, const long *, long *); int kill(int, int);"
    ffi.cdef "int waitpid(int, int *, int);"
    local faces = require "spec.faults.faces"
    local ms = require "minisock"
    local now = require("minisock.cdefs").shim.minisock_now
    local process = require "spec.process"
    ffi.C.signal(14, ffi.cast("void *", ffi.C.abs))
    ffi.C.siginterrupt(14, 1)
    local function interrupt()
        ffi.C.setitimer(0, ffi.new("long[4]", 0, 5000, 0, 5000), nil)
    end
    local function fork()
        local pid = ffi.C.fork()
        if pid == 0 then
            ffi.C.signal(14, nil)
            process.alarm(40)
        end
        return pid
    end
    local function listen(opts)
        local fd, addr = ms.bind("127.0.0.1", 0, opts)
        local parts = ms.parseaddr(addr)
        return fd, { host = parts.addr, port = parts.port }, addr
    end
    local server, place = listen()
    local function connection(library)
        local here = assert(library.connect(place))
        return here, assert(ms.accept(server, 5000))
    end
    local function full_place()
        local fd, place, addr = listen({ backlog = 0 })
        while ms.connect(addr, nil, 100) do end
        return place, fd
    end
    -- Whether a wait of 150 ms is that.
    local function timed(expected, call, ...)
        local start = now()
        local result, why = call(...)
        local took = now() - start
        if why ~= expected then return print(result, why) end
        print(took < 150 and "early" or took > 2000 and "late" or "in time")
    end
]]

-- A deadline that starts anew with each signal would never come.
local function run(library, program)
    local name = support.spit(support.tmpname(), SIGNALS
        .. ("local library = faces[%q]\n"):format(library.name)
        .. program)
    local output, status =
        support.shell(("timeout 60 %s %s"):format(support.luajit, name))
    assert.are.equal(0, status, output)
    return output
end

describe("EINTR:", function()
    before_each(faults.setup)
    after_each(faults.teardown)

    each("case 1: a read keeps its deadline", "connect", function(library)
        assert.are.equal("in time\n", run(library, [[
            local here = connection(library)
            here:settimeout(150)
            interrupt()
            timed("timeout", here.recv, here)
        ]]))
    end)

    for name, wait in pairs({
        poll = "ms.poll(ms.pollfd(fd, ms.POLLIN), 150)",
        pollset = "(function() local set = require('minisock.pollset').new() "
            .. "set:add(fd, ms.POLLIN) return set:wait(150) end)()",
        poller = "(function() local p = require('minisock.poller').new() "
            .. "p:add(fd, ms.EPOLLIN) return p:wait(150) end)()",
        msleep = "ms.msleep(150)",
        ["luasocket's select"] =
            "require('minisock.luasocket').select({ sock }, nil, 0.15)",
        ["luasocket's sleep"] = "require('minisock.luasocket').sleep(0.15)",
        ["lsocket's select"] =
            "require('minisock.lsocket').select({ sock }, 0.15)",
    }) do
        local library = name:find("^lsocket") and faults.faces.lsocket
            or faults.faces.luasocket
        it("case 2: deadlines don't start anew, of " .. name, function()
            assert.are.equal("in time\n", run(library, ([[
                local here = connection(library)
                local fd, sock = here:fd(), here.sock
                interrupt()
                timed(nil, function() return nil, nil, %s end)
            ]]):format(wait)))
        end)
    end

    each("case 3: an interrupted connect goes on, to its deadline", "connect",
        function(library)
            assert.are.equal("in time\n", run(library, [[
                local place = full_place()
                interrupt()
                timed("timeout", library.connect, place, 150)
            ]]))
        end)

    -- The kernel asks the full listener once more after a second. The others
    -- connect as the core does.
    each("case 3: and to its end", "connect", function(library)
        assert.are.equal("ping\n", run(library, [[
            local place, fd = full_place()
            local child = fork()
            if child == 0 then
                ms.msleep(100)
                while ms.accept(fd, 10000) do end
                ffi.C._exit(0)
            end
            interrupt()
            local here, why = library.connect(place, 8000)
            if not here then return print(why) end
            print(here:send("ping") == 4 and "ping")
            ffi.C.kill(child, 9)
            ffi.C.waitpid(child, nil, 0)
        ]]))
    end, "luasocket resty lsocket")

    each("case 4: an accept keeps its deadline", "listen", function(library)
        assert.are.equal("in time\n", run(library, [[
            local here = library.listen({ host = "127.0.0.1", port = 0 })
            here:settimeout(150)
            interrupt()
            timed("timeout", here.accept, here)
        ]]))
    end)

    -- What one call of lsocket's or llsocket's has sent, it tells.
    each("case 5: an interrupted send continues where it was", "connect",
        function(library)
            assert.are.equal("sent\tin order\n", run(library, [[
                local here, peer = connection(library)
                ms.setsockopt(here:fd(), "SO_SNDBUF", 8192)
                local pieces = {}
                for i = 1, 2^17 do pieces[i] = ("%08d"):format(i) end
                local data = table.concat(pieces)
                local reader = fork()
                if reader == 0 then
                    here:close()
                    local got = {}
                    repeat
                        ms.msleep(1)
                        local part = ms.read(peer, 10000, 16384)
                        got[#got + 1] = part
                    until not part or part == ""
                    ffi.C._exit(table.concat(got) == data and 7 or 1)
                end
                ms.close(peer)
                here:settimeout(20000)
                interrupt()
                local sent = 0
                while sent < #data do
                    local count, why = here:send(data:sub(sent + 1))
                    if count then
                        sent = sent + count
                    elseif why == "again" then
                        ms.poll(ms.pollfd(here:fd(), ms.POLLOUT), 10000)
                    else
                        return print(why)
                    end
                end
                here:close()
                local status = ffi.new("int[1]")
                repeat until ffi.C.waitpid(reader, status, 0) == reader
                print("sent", status[0] == 7 * 256 and "in order")
            ]]))
        end)

    -- Linux closes a descriptor, and then says EINTR: with a second close it
    -- would be another's that is closed.
    local CLOSE = [[
        #include <dlfcn.h>
        #include <errno.h>
        int armed = -1, closed;
        int close(int fd)
        {
            int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "close");
            if (fd != armed) return real(fd);
            closed++;
            real(fd);
            errno = EINTR;
            return -1;
        }
    ]]

    describe("close", function()
        local dir, luajit

        setup(function()
            dir = support.mkdtemp()
            luajit = support.preloading(
                support.build_library(dir, "close", CLOSE, "-ldl"))
        end)
        teardown(function() support.rmtree(dir) end)

        each("case 6: an interrupted close has closed, and isn't repeated",
            "connect", function(library)
                local name = support.spit(dir .. "/close.lua", ([[
                    local ffi = require "ffi"
                    local faces = require "spec.faults.faces"
                    local ms = require "minisock"
                    ffi.cdef "int armed, closed;"
                    local server, addr = ms.bind("127.0.0.1", 0)
                    local place = ms.parseaddr(addr)
                    place.host = place.addr
                    local here = faces[%q].connect(place)
                    local fd = here:fd()
                    local object = type(here.sock) == "table"
                    ffi.C.armed = fd
                    local done, problem
                    if object then
                        done, problem = here.sock:close()
                    else
                        done, problem = ms.close(fd)
                    end
                    print(problem, ffi.C.closed, ms.getcloexec(fd))
                    here = nil
                    collectgarbage()
                    collectgarbage()
                    print(ffi.C.closed)
                ]]):format(library.name))
                local output, status = support.shell(luajit .. " " .. name)
                assert.matches("^nil\t1\tnil\t.*\n1\n$", output)
                assert.are.equal(0, status)
            end)
    end)
end)
