--- LuaSocket's select, over poll(2): any number of sockets, of any number.
--- Stands on minisock, minisock.buffers and minisock.pollset.
local bit = require "bit"
local ms = require "minisock"
local buffers = require "minisock.buffers"
local check = require "minisock.check"
local object = require "minisock.luasocket.object"
local pollset = require "minisock.pollset"

local band, bor = bit.band, bit.bor
local POLLIN, POLLOUT = ms.POLLIN, ms.POLLOUT
local FAILED = bor(ms.POLLERR, ms.POLLHUP, ms.POLLNVAL)
local READABLE, WRITABLE = bor(POLLIN, FAILED), bor(POLLOUT, FAILED)

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

local UNLIKE_SOCKETS = {
    number = true, boolean = true, ["function"] = true, thread = true,
}

-- What a call works with: the set, the place in it of each descriptor, and for
-- either list the sockets that have one and where in the set it is.
local borrow, give_back = buffers.lender(function()
    return {
        set = pollset.new(), place = {},
        input = {}, input_at = {}, output = {}, output_at = {},
    }
end, function(work)
    local input, output = work.input, work.output
    for i = 1, #input do input[i] = nil end
    for i = 1, #output do output[i] = nil end
    work.set:clear()
end)

-- Where a descriptor is in the set, which has it once: poll(2) refuses more
-- than a process may have. A place that was noted in an earlier call shows by
-- what is there now.
local function put(work, fd, wanted)
    local set, n = work.set, work.place[fd]
    if n and n <= set.size then
        local there, events = set:get(n)
        if there == fd then
            set:set(n, fd, bor(events, wanted))
            return n
        end
    end
    n = set:add(fd, wanted)
    work.place[fd] = n
    return n
end

-- Notes the sockets of a list that have a descriptor. Returns how many.
local function collect(list, wanted, work, socks, at, arg)
    local count, i = 0, 1
    local sock = list[1]
    while not check.absent(sock) do
        if UNLIKE_SOCKETS[type(sock)] then
            error(("bad argument #%d to 'select' (sockets expected, got %s)")
                :format(arg, type(sock)), 3)
        end
        local fd = descriptor_of(sock)
        if fd then
            count = count + 1
            socks[count], at[count] = sock, put(work, fd, wanted)
        end
        i = i + 1
        sock = list[i]
    end
    return count
end

-- A list of ready sockets that tells as well where each one is.
local function add(ready, count, sock)
    ready[count], ready[sock] = sock, count
    return count
end

-- The sockets that have something buffered, which the system doesn't know.
local function take_dirty(socks, count, ready)
    local found = 0
    for i = 1, count do
        if is_dirty(socks[i]) then found = add(ready, found + 1, socks[i]) end
    end
    return found
end

-- Those that the system knows to be ready, once each.
local function take_ready(set, socks, at, count, wanted, ready, found)
    for i = 1, count do
        local _, _, revents = set:get(at[i])
        if band(revents, wanted) ~= 0 and not ready[socks[i]] then
            found = add(ready, found + 1, socks[i])
        end
    end
    return found
end

local NONE = {}

local function check_list(list, arg)
    if type(list) == "table" then return list end
    if check.absent(list) then return NONE end
    error(("bad argument #%d to 'select' (table expected, got %s)")
        :format(arg, type(list)), 3)
end

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
    local work = borrow()
    local set = work.set
    local inputs =
        collect(readers, POLLIN, work, work.input, work.input_at, 1)
    local outputs =
        collect(writers, POLLOUT, work, work.output, work.output_at, 2)
    local readable, writable = {}, {}
    local read = take_dirty(work.input, inputs, readable)
    local written = 0
    local wait = (read > 0 or timeout ~= timeout) and 0 or timeout * 1000
    local count, _, code = set:wait(wait)
    if count and count > 0 then
        read = take_ready(set, work.input, work.input_at, inputs, READABLE,
            readable, read)
        written = take_ready(set, work.output, work.output_at, outputs,
            WRITABLE, writable, written)
    end
    give_back(work)
    if not count then return readable, writable, object.words(code) end
    if read + written > 0 then return readable, writable end
    return readable, writable, "timeout"
end

return select_ready
