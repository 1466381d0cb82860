local support = require "spec.support"

-- What every program below starts with. Each is a LuaJIT of its own: busted
-- stands between a spec and ffi.cdef.
local PRELUDE = [==[
local ffi = require "ffi"
local process = require "spec.process"

process.alarm(300)

-- The ids that types have taken so far. Asking takes some, too.
local function next_id()
    return tonumber(ffi.typeof("struct { char c; }"))
end

-- In bytes, of what is in use. Traces keep what they were compiled from.
local function memory()
    jit.flush()
    collectgarbage()
    collectgarbage()
    return collectgarbage("count") * 1024
end

local function forget(all)
    package.loaded.minisock = nil
    for name in pairs(package.loaded) do
        if all and name:find("^minisock%.") then package.loaded[name] = nil end
    end
end

-- One of everything that has a structure or an out-parameter behind it.
local function exercise()
    local ms = require "minisock"
    local server, addr = assert(ms.bind("127.0.0.1", 0))
    assert(ms.parseaddr(addr).addr == "127.0.0.1")
    assert(ms.getnameinfo(addr, true) == "127.0.0.1")
    local client = assert(ms.connect(addr, nil, 5000))
    local peer, from = assert(ms.accept(server, 5000))
    assert(from == ms.getsockname(client))
    assert(addr == ms.getpeername(client))

    assert(ms.write(client, "one ") == 4)
    assert(ms.sendall(client, "two") == 3)
    assert(ms.read(peer, 5000, 4) == "one ")
    local three = ffi.new("char[3]")
    assert(ms.readinto(peer, three, 5000, 3) == 3)
    assert(ffi.string(three, 3) == "two")
    assert(select(2, ms.read(peer, 1)) == "read timeout")

    assert(ms.setsockopt(client, "SO_LINGER", 7))
    assert(ms.getsockopt(client, "SO_LINGER") == 7)
    assert(ms.setsockopt(client, "SO_LINGER", false))
    assert(ms.setsockopt(client, "SO_RCVTIMEO", 2000))
    assert(ms.getsockopt(client, "SO_RCVTIMEO") == 2000)
    assert(ms.getsockopt(client, "SO_TYPE") == ms.SOCK_STREAM)

    local fds, ready = ms.poll(ms.pollfd(client, ms.POLLOUT), 5000)
    local fd, _, revents = ms.unpollfd(fds)
    assert(ready == 1 and fd == client and revents == ms.POLLOUT)

    local six = assert(ms.inet6addr("fe80::1", 80, 1))
    assert(ms.parseaddr(six).scope == 1)
    assert(ms.getaddrinfo("127.0.0.1", 80)[1] == ms.inetaddr("127.0.0.1", 80))
    local a = assert(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
    local there = ms.getsockname(a)
    assert(ms.sendto(a, there, "datagram") == 8)
    local datagram, sender = ms.recvfrom(a, 5000)
    assert(datagram == "datagram" and sender == there)
    for _, opened in ipairs { server, client, peer, a } do
        assert(ms.close(opened))
    end
    assert(select(3, ms.connect(addr, nil, 5000)) == ms.ECONNREFUSED)
end
]==]

local function run(program)
    return support.run(PRELUDE .. program)
end

local function succeeds(program)
    local output, status = run(program)
    assert.are.equal("", output)
    assert.are.equal(0, status)
end

local RELOAD = [==[
local all, times = arg[1] == "all", tonumber(arg[2])
local ms = require "minisock"
exercise()
local a, b = assert(ms.socketpair())
local u = assert(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
assert(ms.write(a, "in flight") == 9)
assert(ms.sendto(u, ms.getsockname(u), "in the queue"))
ms = nil

local probe = next_id()
probe = next_id() - probe
local ids, bytes, open = next_id(), memory(), process.descriptors()
local again
for _ = 1, times do
    forget(all)
    again = require "minisock"
end
local grown = memory() - bytes
assert(grown < 65536, "memory: " .. grown)
assert(process.descriptors() == open, "descriptors: " .. process.descriptors())
local taken = next_id() - ids - probe
assert(taken == 0, "ctype ids: " .. taken)

assert(again.read(b, 5000) == "in flight")
assert(again.recvfrom(u, 5000) == "in the queue")
assert(again.write(b, "back") == 4)
assert(again.read(a, 5000) == "back")
exercise()
print("done")
]==]

describe("requiring minisock 10,000 times", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("keeps sockets, and takes no memory, descriptors or types", function()
        local program = PRELUDE .. RELOAD
        local times = support.slow and 500 or 10000
        local all = support.spawn_lua(program, "all " .. times)
        local one = support.spawn_lua(program, "one " .. times)
        assert.are.equal("done", one:line())
        assert.are.equal("done", all:line())
        assert.is_nil(one:line())
        assert.is_nil(all:line())
    end)
end)

describe("requiring minisock", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("changes nothing but package.loaded", function()
        succeeds [==[
            local function status()
                local kept = {}
                for line in io.lines("/proc/self/status") do
                    -- SigQ is all of the user's processes'.
                    if line:find("^Sig[^Q]") or line:find("^Shd")
                            or line:find("^Threads") then
                        kept[#kept + 1] = line
                    end
                end
                return table.concat(kept, "\n")
            end
            -- Every field of every library, and what it is.
            local function libraries()
                local list = {}
                for library, fields in pairs(package.loaded) do
                    if type(fields) == "table" and fields ~= package.loaded then
                        for name, value in pairs(fields) do
                            list[#list + 1] = ("%s.%s = %s"):format(library,
                                tostring(name), tostring(value))
                        end
                    end
                end
                table.sort(list)
                return table.concat(list, "\n")
            end
            require "bit"
            pcall(require, "string.buffer")
            local before, signals = libraries(), status()
            local open = process.descriptors()
            require "minisock"
            forget(true)
            assert(libraries() == before)
            assert(status() == signals)
            assert(process.descriptors() == open)
        ]==]
    end)

    it("and letting go of it again does no harm", function()
        succeeds [==[
            for _ = 1, 20 do
                exercise()
                forget(true)
                jit.flush()
                for _ = 1, 5 do collectgarbage() end
                -- What was unloaded would be overwritten now.
                local rubbish = {}
                for i = 1, 100 do rubbish[i] = ("x"):rep(4096 + i) end
            end
            exercise()
            forget(true)
            collectgarbage()
        ]==]
    end)
end)

-- Declarations that aren't the system's: whoever took them for his own would
-- get nowhere.
local FOREIGN = [==[
local function declare()
    ffi.cdef [[
    typedef char socklen_t;
    typedef double sa_family_t;
    struct sockaddr { char wrong[3]; };
    struct sockaddr_in { double wrong[2]; };
    struct sockaddr_in6 { char wrong; };
    struct sockaddr_un { char path[7]; };
    struct sockaddr_storage { char wrong; };
    struct pollfd { double fd; double events; };
    struct timeval { char tv_usec; char tv_sec; };
    struct timespec { char tv_nsec; };
    struct linger { double l_onoff; };
    struct iovec { int iov_len; };
    struct msghdr { int wrong; };
    struct addrinfo { struct addrinfo *ai_next; };
    double socket(const char *);
    void socketpair(double);
    const char *bind(struct sockaddr *);
    void listen(const char *, double);
    int accept(struct sockaddr);
    void accept4(double, double);
    struct sockaddr *connect(double, struct sockaddr_in *);
    void shutdown(void);
    double close(const char *);
    void recv(struct iovec *);
    const char *send(struct pollfd);
    void sendto(int);
    void recvmsg(struct msghdr *);
    double poll(struct pollfd *, struct timeval);
    void getsockopt(int, int, int, void *, size_t *);
    void setsockopt(double);
    double getsockname(double);
    void getpeername(const char *);
    void getnameinfo(int);
    const char *inet_pton(int, double);
    double if_nametoindex(int);
    void getaddrinfo(struct addrinfo *);
    int gai_strerror(const char *);
    ]]
end

local function check_theirs()
    assert(ffi.sizeof("struct sockaddr") == 3)
    assert(ffi.sizeof("struct pollfd") == 16)
    assert(ffi.sizeof("struct timeval") == 2)
    assert(ffi.offsetof("struct linger", "l_onoff") == 0)
    assert(ffi.sizeof("struct addrinfo") == ffi.sizeof("void *"))
    -- A prototype that isn't theirs would take a number here.
    assert(not pcall(function() return ffi.C.close(-1) end))
    assert(ffi.sizeof("socklen_t") == 1)
end
]==]

describe("beside another library's declarations", function()
    it("works when these come first", function()
        succeeds(FOREIGN .. [==[
            declare()
            exercise()
            check_theirs()
            forget(true)
            exercise()
        ]==])
    end)

    it("works when these come later, and leaves them room", function()
        succeeds(FOREIGN .. [==[
            exercise()
            declare()
            exercise()
            check_theirs()
            forget(true)
            exercise()
        ]==])
    end)

    it("doesn't take over another version's structures", function()
        local output, status = run [==[
            ffi.cdef "struct minisock_pollfd { double fd; };"
            require "minisock"
        ]==]
        assert.matches("minisock: another version of it was loaded", output)
        assert.matches("minisock_pollfd", output)
        assert.are.equal(1, status)
    end)
end)

describe("looking for the shim", function()
    local dir

    setup(function()
        dir = support.mkdtemp()
        for _, name in ipairs({ "other", "foreign", "text" }) do
            assert(require("lfs").mkdir(dir .. "/" .. name))
            assert(require("lfs").mkdir(dir .. "/" .. name .. "/minisock"))
        end
        support.build_library(dir .. "/other/minisock", "shim", [[
            const char *minisock_version(void) { return "98.76.54"; }
            const char *minisock_cdefs(void) { return "struct wrong {};"; }
        ]])
        support.build_library(dir .. "/foreign/minisock", "shim", [[
            int luaopen_minisock_shim(void *L) { return L != 0; }
        ]])
        support.spit(dir .. "/text/minisock/shim.so", "not a library")
    end)

    teardown(function() support.rmtree(dir) end)

    -- Requires minisock with a package.cpath of directories below dir, and
    -- once more with the right one, and returns the first one's message.
    local function message_with(directories)
        local cpath = {}
        for _, name in ipairs(directories) do
            cpath[#cpath + 1] = ("%s/%s/?.so"):format(dir, name)
        end
        local output, status = run(([==[
            local right = package.cpath
            package.cpath = %q
            local loaded, message = pcall(require, "minisock")
            assert(not loaded)
            print(message)
            package.cpath = right
            forget(true)
            exercise()
        ]==]):format(table.concat(cpath, ";")))
        assert.are.equal(0, status, output)
        return output
    end

    it("lists every path that was tried", function()
        local message = message_with({ "none", "nowhere" })
        assert.matches(dir .. "/none/minisock/shim.so", message, 1, true)
        assert.matches(dir .. "/nowhere/minisock/shim.so", message, 1, true)
    end)

    it("names both versions of one that is another's", function()
        local message = message_with({ "none", "other" })
        assert.matches("98.76.54", message, 1, true)
        assert.matches(require("minisock").VERSION, message, 1, true)
        assert.matches(dir .. "/other/minisock/shim.so", message, 1, true)
    end)

    it("refuses a library that isn't minisock's", function()
        local message = message_with({ "foreign" })
        assert.matches(dir .. "/foreign/minisock/shim.so", message, 1, true)
        assert.matches("isn't minisock's", message, 1, true)
    end)

    it("names a file that isn't a library at all", function()
        local message = message_with({ "text" })
        assert.matches(dir .. "/text/minisock/shim.so", message, 1, true)
    end)
end)
