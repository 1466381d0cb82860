--- LuaSocket's select, over poll(2): any number of sockets, of any number.
--- Stands on minisock.
local bit = require "bit"
local ms = require "minisock"
local check = require "minisock.check"
local object = require "minisock.luasocket.object"

local band, bor = bit.band, bit.bor
local POLLIN, POLLOUT = ms.POLLIN, ms.POLLOUT
local FAILED = bor(ms.POLLERR, ms.POLLHUP, ms.POLLNVAL)

local function index(sock, name)
    return sock[name]
end

-- A method of anyone's socket, or nil; what isn't a table may raise when it is
-- asked for a field that it lacks, as cdata and C libraries do.
local function method(sock, name)
    if type(sock) == "table" then return sock[name] end
    local known, value = pcall(index, sock, name)
    return known and value or nil
end

-- What a socket has for a descriptor; nil for none.
local function descriptor_of(sock)
    local getfd = method(sock, "getfd")
    local answer = getfd and getfd(sock)
    local fd = check.number(answer)
    if fd and fd >= 0 and bit.tobit(fd) == fd then return fd end
end

local function is_dirty(sock)
    local dirty = method(sock, "dirty")
    local answer = dirty and dirty(sock)
    return answer and answer ~= 0
end

-- A list of ready sockets that tells as well where each one is.
local function add(ready, sock)
    local n = #ready + 1
    ready[n], ready[sock] = sock, n
end

local UNLIKE_SOCKETS = {
    number = true, boolean = true, ["function"] = true, thread = true,
}

-- The sockets of a list that have a descriptor, and which of the descriptors
-- to be polled that is. Each of these is polled once: poll(2) refuses more
-- than a process may have.
local function collect(list, wanted, polled, arg)
    local socks, at = {}, {}
    local i = 1
    while list and not check.absent(list[i]) do
        if UNLIKE_SOCKETS[type(list[i])] then
            error(("bad argument #%d to 'select' (sockets expected, got %s)")
                :format(arg, type(list[i])), 3)
        end
        local fd = descriptor_of(list[i])
        if fd then
            local n = polled.index[fd]
            if not n then
                n = #polled.fds + 1
                polled.index[fd], polled.fds[n], polled.events[n] = n, fd, 0
            end
            polled.events[n] = bor(polled.events[n], wanted)
            socks[#socks + 1], at[#at + 1] = list[i], n
        end
        i = i + 1
    end
    return socks, at
end

-- What each descriptor is ready for; or nil and an errno.
local function poll(polled, timeout)
    local pollfds = {}
    for n, fd in ipairs(polled.fds) do
        pollfds[n] = ms.pollfd(fd, polled.events[n])
    end
    local answer, ready, code = ms.poll(table.concat(pollfds), timeout)
    if not answer then return nil, code end
    local found = {}
    for n = 1, ready > 0 and #pollfds or 0 do
        local _, _, revents = ms.unpollfd(answer, n)
        found[n] = revents
    end
    return found
end

-- The sockets that have something buffered, which the system doesn't know.
local function take_dirty(socks, ready)
    local dirty = {}
    for i, sock in ipairs(socks) do
        if is_dirty(sock) then
            add(ready, sock)
            dirty[i] = true
        end
    end
    return dirty
end

local function take_ready(socks, at, found, wanted, ready, dirty)
    for i, sock in ipairs(socks) do
        local revents = found[at[i]] or 0
        if band(revents, bor(wanted, FAILED)) ~= 0 and not ready[sock]
                and not dirty[i] then
            add(ready, sock)
        end
    end
end

local function check_list(list, arg)
    if check.absent(list) or type(list) == "table" then return list end
    error(("bad argument #%d to 'select' (table expected, got %s)")
        :format(arg, type(list)), 3)
end

local NONE = {}

--- Waits until one of several sockets is ready.
---@see poll(2)
---@param readers? table[] sockets, and whatever else has getfd(): what it has
--- buffered is ready as well
---@param writers? table[]
---@param timeout? number in seconds; nil and negative ones are for ever
---@return table readable, table writable lists that also have each socket's
--- index by the socket
---@return string? reason "timeout" when none is ready
local function select_ready(readers, writers, timeout)
    readers = check_list(readers, 1)
    writers = check_list(writers, 2)
    timeout = object.check_number(timeout, 3, "select", -1)
    local polled = { fds = {}, events = {}, index = {} }
    local input, input_at = collect(readers, POLLIN, polled, 1)
    local output, output_at = collect(writers, POLLOUT, polled, 2)
    local readable, writable = {}, {}
    local dirty = take_dirty(input, readable)
    local wait = timeout ~= timeout and 0 or timeout * 1000
    local found, code = poll(polled, #readable > 0 and 0 or wait)
    if not found then return readable, writable, object.words(code) end
    take_ready(input, input_at, found, POLLIN, readable, dirty)
    take_ready(output, output_at, found, POLLOUT, writable, NONE)
    if #readable + #writable > 0 then return readable, writable end
    return readable, writable, "timeout"
end

return select_ready
