--- What the specs of llsocket share: socket objects, closed after each test.
local assert = require "luassert"
local ffi = require "ffi"
local llsocket = require "minisock.llsocket"
local support = require "spec.support"

local inet, socket, unix = llsocket.inet, llsocket.socket, llsocket.unix
local SOCK_STREAM = llsocket.SOCK_STREAM

local objects = {}

local held

--- For before_each.
function objects.setup()
    support.setup()
    held = {}
end

--- For after_each.
function objects.teardown()
    for _, sock in ipairs(held) do sock:close() end
    held = {}
    support.teardown()
end

--- Keeps a socket object until the end of the test.
function objects.hold(sock, problem)
    assert(sock, problem)
    held[#held + 1] = sock
    return sock
end

local hold = objects.hold

--- All results of a call, and how many there are.
function objects.results(...)
    return { n = select("#", ...), ... }
end

--- No results at all.
objects.NOTHING = { n = 0 }

local results, NOTHING = objects.results, objects.NOTHING

--- Fails unless the call raises an error, which is said to be at the line of
--- the spec that made it.
function objects.raises(pattern, call)
    local raised, message = pcall(call)
    assert.is_false(raised == true, "nothing was raised")
    assert.matches("_spec%.lua:%d+: .*" .. pattern, message)
end

--- An address info of digits.
function objects.address(host, port, socktype)
    return assert(inet.getaddrinfo(host or "127.0.0.1", port or "0",
        socktype or SOCK_STREAM, nil, llsocket.AI_NUMERICHOST))[1]
end

function objects.path_address(path, socktype)
    return assert(unix.getaddrinfo(path, socktype or SOCK_STREAM))
end

--- Two connected Unix sockets.
function objects.pair(socktype, nonblock)
    local socks = assert(socket.pair(socktype or SOCK_STREAM, nonblock))
    return hold(socks[1]), hold(socks[2])
end

function objects.bound(ai, nonblock)
    local sock = hold(socket.new(ai, nonblock))
    assert.are.same(NOTHING, results(sock:bind()))
    return sock
end

function objects.listener(ai, nonblock)
    local sock = objects.bound(ai or objects.address(), nonblock)
    assert.are.same(NOTHING, results(sock:listen()))
    return sock
end

--- A client, and the server's end of its connection.
function objects.connection(host)
    local server = objects.listener(objects.address(host))
    local client = hold(socket.new(server:getsockname()))
    assert.are.same(NOTHING, results(client:connect()))
    return client, hold(server:accept())
end

--- Sends until there is no more room, and gives the last results.
function objects.fill(sock)
    local last
    repeat
        last = results(sock:send(("x"):rep(65536), llsocket.MSG_DONTWAIT))
    until last[1] ~= 65536
    if last[1] ~= 0 then
        last = results(sock:send("x", llsocket.MSG_DONTWAIT))
    end
    return last
end

ffi.cdef "int minisock_spec_open(const char *, int) __asm__(\"open\");"

--- The descriptor of a file with a text in it.
function objects.text_file(text)
    local name = support.spit(support.tmpname(), text)
    return support.keep(ffi.C.minisock_spec_open(name, 0))
end

return objects
