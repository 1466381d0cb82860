--- LuaSocket's select, over poll(2): any number of sockets, of any number.
--- Stands on minisock.
local bit = require "bit"
local ms = require "minisock"
local check = require "minisock.check"

local band, bor = bit.band, bit.bor
local POLLIN, POLLOUT = ms.POLLIN, ms.POLLOUT
local FAILED = bor(ms.POLLERR, ms.POLLHUP, ms.POLLNVAL)

-- What a socket of anyone's has for a descriptor; nil for none.
local function descriptor_of(sock)
    local getfd = sock.getfd
    local answer = getfd and getfd(sock)
    local fd = answer and tonumber(answer)
    if fd and fd >= 0 and bit.tobit(fd) == fd then return fd end
end

local function is_dirty(sock)
    local dirty = sock.dirty
    local answer = dirty and dirty(sock)
    return answer and answer ~= 0
end

-- A list of ready sockets that tells as well where each one is.
local function add(ready, sock)
    local n = #ready + 1
    ready[n], ready[sock] = sock, n
end

-- Adds the sockets of a list to those to be polled.
local function collect(list, events, pollfds, socks)
    if not list then return end
    local i = 1
    while not check.absent(list[i]) do
        local fd = descriptor_of(list[i])
        if fd then
            local n = #pollfds + 1
            pollfds[n], socks[n] = ms.pollfd(fd, events), list[i]
        end
        i = i + 1
    end
    return #pollfds
end

-- Which of these have something buffered; they're not asked of the system.
local function take_dirty(socks, count, ready)
    local dirty = {}
    for i = 1, count do
        if is_dirty(socks[i]) then
            add(ready, socks[i])
            dirty[i] = true
        end
    end
    return dirty
end

local function check_list(list, arg)
    if check.absent(list) or type(list) == "table" then return list end
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
---@return "timeout"? reason
local function select_ready(readers, writers, timeout)
    readers = check_list(readers, 1)
    writers = check_list(writers, 2)
    if check.absent(timeout) then timeout = -1 end
    if type(timeout) == "boolean" or not tonumber(timeout) then
        error(("bad argument #3 to 'select' (number expected, got %s)")
            :format(type(timeout)), 2)
    end
    local pollfds, socks = {}, {}
    collect(readers, POLLIN, pollfds, socks)
    local count = #pollfds
    collect(writers, POLLOUT, pollfds, socks)
    local readable, writable = {}, {}
    local dirty = take_dirty(socks, count, readable)
    local limit = #readable > 0 and 0 or tonumber(timeout) * 1000
    local polled, ready = ms.poll(table.concat(pollfds), limit)
    for i = 1, ready > 0 and #socks or 0 do
        local _, events, revents = ms.unpollfd(polled, i)
        local list = i <= count and readable or writable
        if not dirty[i] and not list[socks[i]]
                and band(revents, bor(events, FAILED)) ~= 0 then
            add(list, socks[i])
        end
    end
    if #readable + #writable > 0 then return readable, writable end
    return readable, writable, "timeout"
end

return select_ready
