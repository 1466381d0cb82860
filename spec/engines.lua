--- Runs busted on an engine of .ci/engines, with the spec files that are named,
--- and tells what is left out there, and why.
local lfs = require "lfs"
local run_busted = require "busted.runner"

local engine = assert(os.getenv("ENGINE"), "make test-engines runs this")

-- It runs itself so, for the names of specs.
if arg[1] == "--list" then
    run_busted({ standalone = false })
    os.exit(0)
end

local FOREIGN = { i386 = true, arm64 = true }
local INTERPRETED = { joff = true }
local EMULATED = { arm64 = true }

local NGINX = "nginx is this machine's, and can't load another's shim"
local GROUPS = "qemu doesn't know the options to join and leave groups"
local OPTION = "qemu doesn't know the option"
local MEMORY = "qemu keeps what it translates in the process's memory"
local NO_PIECES = "qemu sends no message without a piece of data"

-- What is left out, where, and why: files of specs, and specs by patterns of
-- their names.
local FILES = {
    { "hosts_spec", FOREIGN, NGINX },
    { "nginx_spec", FOREIGN, NGINX },
    { "readme_spec", FOREIGN, NGINX },
    { "resty_clients_spec", FOREIGN, NGINX },
    { "resty_install_spec", FOREIGN, NGINX },
    { "resty_spec", FOREIGN, NGINX },
    { "telemetry_spec", FOREIGN, NGINX },
    { "install_spec", FOREIGN, "it's about what make builds here" },
}
local SPECS = {
    { "^a call that fails: may be one that libc makes", FOREIGN,
        "libc makes them by socketcall on i386, and qemu has no seccomp" },
    { "^a call that fails: core: joingroup", EMULATED, GROUPS },
    { "^a call that fails: core: leavegroup", EMULATED, GROUPS },
    { "^once warmed up, ", INTERPRETED, "nothing is compiled" },
    { "^a poller's memory isn't needed for a wait", INTERPRETED,
        "only compiled code makes no garbage" },
    { "^a multicast group of ", EMULATED, GROUPS },
    { "^multicast has sources of the group's family", EMULATED, GROUPS },
    { "^the multicast chat reaches everybody", EMULATED, GROUPS },
    { "^a finaliser .* leaves what others give", EMULATED, GROUPS },
    { "^mcast gets what ", EMULATED, GROUPS },
    { "^mcast gets and sends to ", EMULATED, GROUPS },
    { "^mcast lets several get", EMULATED, GROUPS },
    { "^mcast works on a machine without", EMULATED, GROUPS },
    { "^mcast is what info says", EMULATED, GROUPS },
    { "^llsocket's groups are joined and left", EMULATED, GROUPS },
    { "^llsocket's groups lack the source", EMULATED, GROUPS },
    { "^llsocket's groups of .* give the error alone", EMULATED, GROUPS },
    { "^llsocket's groups of .* have sources", EMULATED, GROUPS },
    { "gives one error from mcast", EMULATED, GROUPS },
    { "options: multicast over IPv6", EMULATED, GROUPS },
    { "options: multicast by an interface below 0", EMULATED, OPTION },
    { "option mcastif is unset", EMULATED, OPTION },
    { "gives nil and an error from mcastif", EMULATED, OPTION },
    { "^an option IP_TRANSPARENT ", EMULATED, OPTION },
    { "^an option IP_MTU ", EMULATED, OPTION },
    { "^an option SO_RXQ_OVFL ", EMULATED, OPTION },
    { "^an option IP_RECVTTL ", EMULATED, OPTION },
    { "^an option IP_MULTICAST_ALL ", EMULATED, OPTION },
    { "^an option SO_ZEROCOPY ", EMULATED, OPTION },
    { "^an option IP_BIND_ADDRESS_NO_PORT ", EMULATED, OPTION },
    { "^an option SO_PEEK_OFF ", EMULATED, OPTION },
    { "^an option SO_BINDTODEVICE of a tcp socket can", EMULATED, OPTION },
    { "^an option IPV6_MULTICAST_IF ", EMULATED, OPTION },
    { "^an option can be negative", EMULATED, OPTION },
    { "^getsockopt gives as many bytes as there are", EMULATED, OPTION },
    { "^getsockopt fails for an option of a connection", EMULATED, OPTION },
    { "^recvmsg that peeks beyond the data waits", EMULATED, OPTION },
    { "^bind takes a backlog", EMULATED, OPTION },
    { "^listen takes a backlog", EMULATED, OPTION },
    { "^bind has the system's largest backlog", EMULATED, OPTION },
    { "^a message's descriptors come in their order", EMULATED, NO_PIECES },
    { "^sendmsg sends an empty datagram of no ", EMULATED, NO_PIECES },
    { "^llsocket's sendmsg and recvmsg carry empty", EMULATED, NO_PIECES },
    { "^sendall of a list fails for what isn't open", EMULATED, NO_PIECES },
    { "^sendall of a list is one datagram, with ", EMULATED, NO_PIECES },
    { "^under load ", EMULATED, MEMORY },
    { "^case 68b: a hostile name server makes nothing leak", EMULATED, MEMORY },
    { "the thread of a lookup takes no signals", EMULATED,
        "qemu takes some for itself" },
    { "^system calls of sendmany and recvmany ", EMULATED,
        "qemu makes them of sendmsg and recvmsg" },
}

-- Whether a row of these is about the engine; tells it, if so.
local function leaves_out(row)
    if not row[2][engine] then return false end
    print(("left out: %s: %s"):format(row[1], row[3]))
    return true
end

-- The spec files of a folder and those in it, or the one file that this is.
local function spec_files(name, files)
    if lfs.attributes(name, "mode") ~= "directory" then
        files[#files + 1] = name
        return files
    end
    for entry in lfs.dir(name) do
        local path = name .. "/" .. entry
        if entry:find("_spec%.lua$") or not entry:find(".", 1, true) then
            spec_files(path, files)
        end
    end
    table.sort(files)
    return files
end

-- The full names of all specs of files.
local function list_specs(files)
    local pipe = io.popen(("%s spec/engines.lua --list %s"):format(
        os.getenv("LUAJIT"), table.concat(files, " ")))
    local names = {}
    for line in pipe:lines() do
        names[#names + 1] = line:gsub("^[^:]+:%d+: ", "")
    end
    pipe:close()
    return names
end

local function is_any(names, pattern)
    for _, name in ipairs(names) do
        if name:find(pattern) then return true end
    end
    return false
end

-- A spec that has another name by now would be run, and fail for a reason that
-- is known.
local function check_patterns(patterns, files)
    local names = list_specs(files)
    for _, pattern in ipairs(patterns) do
        if not is_any(names, pattern) then
            error(("no spec is called %q"):format(pattern))
        end
    end
end

local without = {}
for _, row in ipairs(FILES) do
    assert(lfs.attributes(("spec/%s.lua"):format(row[1])), row[1])
    without[row[1]] = leaves_out(row)
end

local patterns, files = {}, {}
for _, row in ipairs(SPECS) do
    if leaves_out(row) then patterns[#patterns + 1] = row[1] end
end
for _, name in ipairs(arg) do
    for _, file in ipairs(spec_files(name, {})) do
        if not without[file:match("([%w_]+)%.lua$")] then
            files[#files + 1] = file
        end
    end
end
if #files == 0 then error("no file is left to run on " .. engine) end
if arg[1] == "spec" and #patterns > 0 then check_patterns(patterns, files) end

local arguments = { [0] = "busted" }
for _, pattern in ipairs(patterns) do
    arguments[#arguments + 1] = "--filter-out=" .. pattern
end
for _, file in ipairs(files) do arguments[#arguments + 1] = file end
arg = arguments -- luacheck: ignore
run_busted({ standalone = false })
