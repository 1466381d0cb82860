--- Calls that libc makes by itself, in getaddrinfo(3) and getifaddrs(3), and
--- that the kernel refuses: each in a process of its own, which can't be told
--- to allow them again. Runs under interpose.c. Prints a line for each.
local ffi = require "ffi"
local ms = require "minisock"
local process = require "spec.process"

ffi.cdef [[
int faults_refuse(const char *, int);
int inner_fork(void) __asm__("fork");
int inner_waitpid(int, int *, int) __asm__("waitpid");
void inner_exit(int) __asm__("_exit");
]]

local C = ffi.C

process.alarm(120)

local function resolve(timeout)
    return function()
        return ms.getaddrinfo("nobody.invalid", 80, { timeout = timeout })
    end
end

local RESOLVER = {
    ["getaddrinfo"] = resolve(nil),
    ["getaddrinfo with a timeout"] = resolve(5000),
}
local THREAD = { ["getaddrinfo with a timeout"] = resolve(5000) }
local INTERFACES = { ["getinterfaces"] = ms.getinterfaces }

-- The system call, what it is refused with, and what makes it.
local CASES = {
    { "socket", "EACCES EMFILE ENFILE ENOBUFS ENOMEM EPERM", RESOLVER },
    { "connect", "EACCES EHOSTUNREACH ENETUNREACH EPERM", RESOLVER },
    { "clone3", "EAGAIN EPERM", THREAD },
    { "socket", "EACCES EMFILE ENFILE ENOBUFS ENOMEM EPERM", INTERFACES },
    { "bind", "EACCES EADDRINUSE EPERM", INTERFACES },
    { "sendto", "EACCES ENOBUFS ENOMEM EPERM", INTERFACES },
    { "recvmsg", "ENOBUFS ENOMEM EPERM", INTERFACES },
}

-- What is wrong, or nothing.
local function try(call, errno, act)
    local before = process.descriptors()
    if C.faults_refuse(call, ms[errno]) ~= 0 then return "not refused" end
    local found, message, code = act()
    if found then return "it succeeded" end
    if type(message) ~= "string" or type(code) ~= "number" then
        return "no code"
    end
    -- The resolver has codes of its own.
    if code > 0 and code ~= ms[errno] then return "another code: " .. code end
    if process.descriptors() ~= before then
        return "a descriptor is left open"
    end
    if not ms.getaddrinfo("127.0.0.1", 80, { timeout = 0 }) then
        return "no digits afterwards"
    end
end

for _, case in ipairs(CASES) do
    for errno in case[2]:gmatch("%S+") do
        for name, act in pairs(case[3]) do
            io.stdout:flush()
            local pid = C.inner_fork()
            if pid == 0 then
                process.alarm(20)
                local ran, problem = pcall(try, case[1], errno, act)
                if not ran or problem then
                    print(("wrong %s: %s %s: %s")
                        :format(name, case[1], errno, problem))
                else
                    print(("right %s: %s %s"):format(name, case[1], errno))
                end
                io.stdout:flush()
                C.inner_exit(0)
            end
            C.inner_waitpid(pid, nil, 0)
        end
    end
end
print("done")
