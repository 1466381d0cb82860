--- What is compared: who with whom, and at what.

--- The columns. The module is what a program requires.
local libraries = {
    { name = "bare", title = "bare FFI" },
    { name = "minisock", title = "minisock", module = "minisock" },
    { name = "buffers", title = "minisock, buffers" },
    { name = "socket", title = "minisock.socket", module = "minisock.socket" },
    { name = "dropin", title = "minisock.luasocket",
        module = "minisock.luasocket" },
    { name = "luasocket", title = "LuaSocket", module = "socket" },
    { name = "posix", title = "luaposix", module = "posix" },
    { name = "luv", title = "luv", module = "luv" },
    { name = "cqueues", title = "cqueues", module = "cqueues.socket" },
}

--- The rows. An operation is one of the libraries'; mode is the peer's; floor
--- is the C program's, where it differs. Calls and instructions are counted
--- over that many operations, where a row has the field `counted`; of the two
--- families mostly in one, for they differ in the kernel alone. What makes
--- strings takes some thousands, for the collector to have its share. A row
--- with `seconds` needs longer: TCP has to find its window, or the collector to
--- go through the heap some times.
local function group(title, rows)
    return { title = title, rows = rows }
end

local row_of = {}

local function row(name, mode, family, operation, more)
    local result = { name = name, mode = mode, family = family,
        operation = operation }
    for key, value in pairs(more or {}) do result[key] = value end
    row_of[name] = result
    return result
end

local groups = {
    group("Ping-pong, 64 bytes", {
        row("pingpong-tcp", "echo", "tcp", "pingpong", { counted = 6000 }),
        row("pingpong-unix", "echo", "unix", "pingpong"),
        row("pingpong-tcp-timeout", "echo", "tcp", "pingpong",
            { timeout = 5000, counted = 6000 }),
        row("pingpong-unix-timeout", "echo", "unix", "pingpong",
            { timeout = 5000, counted = 6000 }),
    }),
    group("Cheap calls", {
        row("getsockname", "keep", "tcp", "getsockname", { counted = 2000 }),
        row("getpeername", "keep", "tcp", "getpeername"),
        row("getsockopt", "keep", "tcp", "getsockopt", { counted = 2000 }),
        row("write-1-tcp", "sink", "tcp", "write_byte"),
        row("write-1-unix", "sink", "unix", "write_byte", { counted = 2000 }),
        row("read-64-tcp", "flood", "tcp", "read_small", { timeout = 5000 }),
        row("read-64-unix", "flood", "unix", "read_small",
            { timeout = 5000, counted = 16000 }),
    }),
    group("Bulk, 64 KiB pieces", {
        row("receive-tcp", "flood", "tcp", "receive", { seconds = 0.12 }),
        row("receive-unix", "flood", "unix", "receive", { counted = 200 }),
        row("receive-unix-heap", "flood", "unix", "receive",
            { heap = 50, seconds = 0.2 }),
        row("send-tcp", "sink", "tcp", "send", { seconds = 0.12 }),
        row("send-unix", "sink", "unix", "send", { counted = 200 }),
        row("send-3-parts", "sink", "unix", "gather", { counted = 2000 }),
    }),
    group("Connections", {
        row("connect-tcp", "take", "tcp", "connect", { counted = 500 }),
        row("connect-unix", "take", "unix", "connect"),
        row("accept-tcp", "give", "tcp", "accept", { counted = 500 }),
        row("accept-unix", "give", "unix", "accept"),
    }),
    group("UDP, 64 bytes", {
        row("sendto", "silence", "tcp", "sendto", { counted = 2000 }),
        row("recvfrom", "supply", "tcp", "recvfrom",
            { own_time = 1, counted = 9600 }),
        row("send-batch", "silence", "tcp", "sendmany", { counted = 1920 }),
        row("receive-batch", "supply", "tcp", "recvmany",
            { own_time = 1, counted = 9600 }),
        row("send-batch-1-by-1", "silence", "tcp", "sendmany",
            { floor = "sendto" }),
        row("receive-batch-1-by-1", "supply", "tcp", "recvmany",
            { floor = "recvfrom", own_time = 1 }),
    }),
    group("Lines of 20 to 80 bytes", {
        row("lines", "lines", "tcp", "read_lines",
            { floor = "read_small", counted = 16000 }),
        row("lines-buffered-C", "lines", "tcp", "read_lines"),
    }),
    group("One active socket among many", {
        row("poll-10", "wake", "unix", "wait_poll", { sockets = 10 }),
        row("poll-100", "wake", "unix", "wait_poll",
            { sockets = 100, counted = 500 }),
        row("poll-1000", "wake", "unix", "wait_poll", { sockets = 1000 }),
        row("poll-10000", "wake", "unix", "wait_poll",
            { sockets = 10000, seconds = 0.12 }),
        row("epoll-10", "wake", "unix", "wait_epoll", { sockets = 10 }),
        row("epoll-100", "wake", "unix", "wait_epoll",
            { sockets = 100, counted = 500 }),
        row("epoll-1000", "wake", "unix", "wait_epoll", { sockets = 1000 }),
        row("epoll-10000", "wake", "unix", "wait_epoll", { sockets = 10000 }),
    }),
    group("Start-up", {
        row("require", "silence", "tcp", "require", { counted = 1 }),
    }),
}

-- Some again, by the interpreter alone: much of what runs in nginx never gets
-- hot enough to be compiled.
local function interpreted(names)
    local rows = {}
    for i, name in ipairs(names) do
        rows[i] = setmetatable({ name = name .. "-joff", interpreted = true,
            counted = 2000 }, { __index = row_of[name] })
    end
    return rows
end

groups[#groups + 1] = group("Interpreter (luajit -joff)", interpreted {
    "pingpong-tcp", "pingpong-tcp-timeout", "getsockname", "write-1-unix",
    "read-64-unix", "sendto", "recvfrom", "lines", "epoll-100",
})

local memory = row("memory", "keep", "unix", "hold", { sockets = 5000 })

return { libraries = libraries, groups = groups, memory = memory }
