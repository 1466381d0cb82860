local faults = require "spec.faults.support"
local ms = require "minisock"
local support = require "spec.support"

local each = faults.each

-- What a program does that sends to a peer that is gone. nginx ignores SIGPIPE;
-- here it is as in a plain program, whoever runs the specs.
local GONE = [[
    local faces = require "spec.faults.faces"
    local ms = require "minisock"
    local ffi = require "ffi"
    ffi.cdef "void *signal(int, void *);"
    ffi.C.signal(13, nil)
    local server, addr = ms.bind("127.0.0.1", 0)
    local parts = ms.parseaddr(addr)
    local place = { host = parts.addr, port = parts.port }
    local function gone(library)
        local here = assert(library.connect(place))
        local peer = ms.accept(server, 5000)
        ms.setsockopt(peer, "SO_LINGER", 0)
        ms.close(peer)
        ms.poll(ms.pollfd(here:fd(), 0), 5000)
        ms.read(here:fd(), 0) -- the reset is told
        return here
    end
]]

-- Runs a program that may be killed by SIGPIPE.
local function survive(program)
    local output, status = support.run(GONE .. program)
    assert.are.equal("EPIPE", output)
    assert.are.equal(0, status)
end

describe("SIGPIPE", function()
    before_each(faults.setup)
    after_each(faults.teardown)

    it("case 11: kills who sends without MSG_NOSIGNAL", function()
        local _, status = support.run(GONE .. [[
            ffi.cdef "long write(int, const char *, size_t);"
            ffi.C.write(gone(faces.core):fd(), "x", 1)
        ]])
        assert.are.equal(128 + 13, status)
    end)

    each("case 11: kills no sender", "connect", function(library)
        survive(([[
            local here = gone(faces[%q])
            local sent, why = here:send("x")
            io.write(why == "closed" and "EPIPE" or tostring(why))
        ]]):format(library.name))
    end)

    for name, call in pairs({
        write = "ms.write(fd, 'x')",
        ["write of a part"] = "ms.write(fd, 'xyz', 2)",
        ["sendall without waiting"] = "ms.sendall(fd, 'x', 0)",
        ["sendall of a list"] = "ms.sendall(fd, { 'x', 'y' }, 1000)",
        ["sendall of memory"] =
            "ms.sendall(fd, ffi.new('char[9]'), 1000, 9)",
        sendmsg = "ms.sendmsg(fd, { data = 'x' })",
        sendto = "ms.sendto(fd, addr, 'x')",
        sendmany = "ms.sendmany(fd, { 'x' })",
        sendfile = "(function() local file = io.open(arg[0]) "
            .. "ffi.cdef 'int fileno(void *);' "
            .. "return ms.sendfile(fd, ffi.C.fileno(file), 5) "
            .. "end)()",
    }) do
        it("case 11: kills nobody who calls " .. name, function()
            survive(([[
                local fd = gone(faces.core):fd()
                local result, message, code = %s
                io.write(code == ms.EPIPE and "EPIPE" or tostring(message))
            ]]):format(call))
        end)
    end

    it("case 12: is what it was, whatever is loaded and sent", function()
        for _, disposition in ipairs({ "", "trap '' PIPE;" }) do
            local output = support.shell(([[%s %s -e '
                local function dispositions()
                    local text = io.open("/proc/self/status"):read("*a")
                    return text:match("SigIgn:%%s*(%%x+)"),
                        text:match("SigCgt:%%s*(%%x+)")
                end
                local ignored, caught = dispositions()
                local faces = require "spec.faults.faces"
                local ms = require "minisock"
                ms.load()
                for _, name in ipairs { "batch", "poller", "pollset" } do
                    require("minisock." .. name)
                end
                local server, addr = ms.bind("127.0.0.1", 0)
                local parts = ms.parseaddr(addr)
                for _, library in ipairs(faces.list) do
                    local here = library.connect({
                        host = parts.addr, port = parts.port })
                    ms.shutdown(here:fd())
                    here:send("x")
                    here:close()
                end
                local ignored_now, caught_now = dispositions()
                print(ignored == ignored_now, caught == caught_now)
            ']]):format(disposition, support.luajit))
            assert.are.equal("true\ttrue\n", output)
        end
    end)

    each("case 13: is no more of a danger after one's own shutdown", "connect",
        function(library)
            local here, peer = faults.connection(library)
            here:finish()
            local sent, why = here:send("x")
            assert.is_nil(sent)
            local closed =
                library.name == "luasocket" or library.name == "llsocket"
            assert.are.equal(closed and "closed" or "EPIPE", why)
            ms.write(peer, "still there")
            assert.are.equal("still there", here:recv())
        end)
end)
