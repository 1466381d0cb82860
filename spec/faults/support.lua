--- What the specs of the case table share: each case is put to every library
--- that it is for. Stands on spec.support and spec.faults.faces.
local busted = require "busted"
local bit = require "bit"
local faces = require "spec.faults.faces"
local ms = require "minisock"
local support = require "spec.support"

local faults = { faces = faces }

local held

--- For before_each.
function faults.setup()
    support.setup()
    held = {}
end

--- For after_each.
function faults.teardown()
    for _, sock in ipairs(held) do sock:close() end
    held = {}
    support.teardown()
end

--- Keeps a socket of a library's until the end of the test.
function faults.hold(sock, why)
    assert(sock, why)
    held[#held + 1] = sock
    return sock, why
end

--- A test for each library that has the calls it needs.
---@param name string "case 29: ..."
---@param needs string the call of the library, "connect" or "listen", ...
---@param test function is called with the library
---@param except? string names of libraries that it isn't for
function faults.each(name, needs, test, except)
    local left_out, count = {}, 0
    for other in (except or ""):gmatch("%w+") do left_out[other] = true end
    for _, library in ipairs(faces.list) do
        if left_out[library.name] then
            left_out[library.name] = nil
        elseif library[needs] then
            count = count + 1
            busted.it(("%s (%s)"):format(name, library.name), function()
                test(library)
            end)
        end
    end
    local unknown = next(left_out)
    assert(not unknown, "no library is called " .. tostring(unknown))
    assert(count > 0, "no library has " .. needs)
end

--- The place of a descriptor's own address, as libraries have it.
function faults.place(fd)
    local parts = ms.parseaddr(assert(ms.getsockname(fd)))
    return { host = parts.addr, port = parts.port, path = parts.path }
end

--- A listener of the core's, and its place.
function faults.listener(host, opts)
    local fd = support.listener(host, opts)
    return fd, faults.place(fd)
end

function faults.unix_listener(opts)
    local path = support.tmpname()
    local fd = support.keep(ms.bind(ms.unixaddr(path), opts))
    return fd, { path = path }
end

--- A TCP listener whose queue is full, as a place.
function faults.full_place()
    local _, fd = support.full_listener()
    return faults.place(fd)
end

--- A port of loopback at which nobody listens.
function faults.closed_place(host)
    local fd = ms.bind(ms.inetaddr(host or "127.0.0.1", 0))
    local place = faults.place(fd)
    ms.close(fd)
    return place
end

--- A connection of the library's, and the peer's descriptor.
---@param library table
---@param is_unix? boolean over a Unix socket
function faults.connection(library, is_unix)
    local server, place
    if is_unix then
        server, place = faults.unix_listener()
    else
        server, place = faults.listener()
    end
    local here = faults.hold(library.connect(place))
    return here, support.keep(ms.accept(server, 5000))
end

--- A socket of datagrams of the library's, connected to a descriptor.
function faults.sender(library, is_unix)
    local addr = is_unix and ms.unixaddr(support.tmpname())
        or ms.inetaddr("127.0.0.1", 0)
    local fd = support.keep(ms.udpsocket(addr))
    return faults.hold(library.sender(faults.place(fd))), fd
end

--- Closes a connection so that the peer gets a reset.
function faults.reset(fd)
    ms.setsockopt(fd, "SO_LINGER", 0)
    ms.close(fd)
end

--- The names of what poll tells of a descriptor, in alphabetical order.
function faults.revents(fd, events, timeout)
    local polled = assert(ms.poll(ms.pollfd(fd, events), timeout or 2000))
    local _, _, revents = ms.unpollfd(polled)
    local names = {}
    for _, name in ipairs({ "ERR", "HUP", "IN", "NVAL", "OUT", "PRI",
        "RDHUP" }) do
        if bit.band(revents, ms["POLL" .. name]) ~= 0 then
            names[#names + 1] = name
        end
    end
    return table.concat(names, " ")
end

--- Everything that poll can tell of.
faults.ALL = bit.bor(ms.POLLIN, ms.POLLOUT, ms.POLLPRI, ms.POLLRDHUP)

--- Waits until something has come, or happened to, a descriptor.
function faults.settle(fd, events)
    local _, ready = ms.poll(ms.pollfd(fd, events or ms.POLLIN), 5000)
    assert(ready == 1, "nothing came")
end

--- All that comes up to the end, or what was there when time was up.
function faults.drain(fd, timeout)
    local pieces = {}
    repeat
        local data = ms.read(fd, timeout or 2000, 2^20)
        pieces[#pieces + 1] = data
    until not data or data == ""
    return table.concat(pieces)
end

return faults
