--- Sockets that connect. Stands on minisock, which declares the calls and loads
--- this when it is asked for one of them.
local bit = require "bit"
local ffi = require "ffi"
local address = require "minisock.address"
local cdefs = require "minisock.cdefs"
local check = require "minisock.check"
local clock = require "minisock.clock"
local errors = require "minisock.errors"
require "minisock"

local C = ffi.C
local shim = cdefs.shim
local constant = cdefs.constant
local deadline = clock.deadline
local bor = bit.bor
local errno = ffi.errno
local fail = errors.fail
local absent = check.absent
local family_of = address.family
local FOREVER = math.huge

local SOCK_CLOEXEC = constant("SOCK_CLOEXEC")
local SOCK_NONBLOCK = constant("SOCK_NONBLOCK")
local SOCK_STREAM = constant("SOCK_STREAM")

local EAGAIN = constant("EAGAIN")
local ECONNABORTED = constant("ECONNABORTED")
local EINPROGRESS = constant("EINPROGRESS")
local EINTR = constant("EINTR")
local EINVAL = constant("EINVAL")

local client = {}

-- A connection that isn't there yet. Of EAGAIN the shim knows which it is: a
-- Unix server's queue is full, or something is really missing.
local UNDER_WAY = { [EINPROGRESS] = true, [EINTR] = true, [EAGAIN] = true }

-- Returns 0 or an errno. ECONNABORTED is all that is left of an attempt before,
-- of whose failure SO_ERROR has told: the next call begins a new one.
local function begin(fd, addr)
    if C.minisock_connect(fd, addr, #addr) == 0 then return 0 end
    local code = errno()
    if code ~= ECONNABORTED then return code end
    if C.minisock_connect(fd, addr, #addr) == 0 then return 0 end
    return errno()
end

-- Returns 0 or -errno.
local function connect_by(fd, addr, limit)
    local code = begin(fd, addr)
    if code == 0 then return 0 end
    if not UNDER_WAY[code] then return -code end
    return shim.minisock_connect_wait(fd, addr, #addr, code, limit)
end

-- Only a non-blocking socket lets a connection be given up at a deadline.
-- Returns a blocking descriptor, or nil and an errno.
local function open_connection(addr, limit)
    local family = family_of(addr)
    if not family then return nil, EINVAL end
    local mode = limit == FOREVER and SOCK_CLOEXEC
        or bor(SOCK_CLOEXEC, SOCK_NONBLOCK)
    local fd = C.minisock_socket(family, bor(SOCK_STREAM, mode), 0)
    if fd < 0 then return nil, errno() end
    local code = connect_by(fd, addr, limit)
    if code == 0 and limit ~= FOREVER then
        code = shim.minisock_set_nonblocking(fd, 0)
    end
    if code == 0 then return fd end
    C.minisock_close(fd)
    return nil, -code
end

local STREAM = { socktype = SOCK_STREAM }

local function connect_host(host, service, timeout)
    local limit = deadline(timeout)
    local resolver = require "minisock.resolver"
    local list, eai, system = resolver.lookup(host, service, STREAM, limit)
    if not list then return resolver.fail("connect", eai, system) end
    local code
    for i, addr in ipairs(list) do
        local fd
        fd, code = open_connection(addr, clock.share(limit, #list - i + 1))
        if fd then return fd, addr end
    end
    return fail("connect", code)
end

--- Connects a stream socket: to a raw address, `connect(addr, nil, timeout)`,
--- or to a host and a service, trying every address of the host's. The
--- descriptor is a blocking one.
---@see connect(2)
---@overload fun(addr: string, service: nil, timeout?: number): integer?
---@param host string
---@param service string|integer
---@param timeout? number in ms, for the resolver and every address together;
--- for ever by default
---@return integer? fd, string? addr_or_message, integer? code addr is the one
--- that answered, and comes with the host form only; the code is an errno, or
--- an EAI code
function client.connect(host, service, timeout)
    timeout = check.timeout(timeout, 3, "connect", FOREVER)
    if absent(service) then
        local addr = check.string(host, 1, "connect", "address")
        local fd, code = open_connection(addr, deadline(timeout))
        if not fd then return fail("connect", code) end
        return fd
    end
    host = check.string(host, 1, "connect", "host")
    service = check.service(service, 2, "connect")
    return connect_host(host, service, timeout)
end

--- Connects a socket to a raw address. After a timeout the attempt goes on:
--- poll for POLLOUT and ask for SO_ERROR, or close the descriptor.
---@see connect(2)
---@param fd integer
---@param addr string
---@param timeout? number in ms, for ever by default
---@return true? done, string? message, integer? code
function client.connectfd(fd, addr, timeout)
    fd = check.descriptor(fd, 1, "connectfd")
    addr = check.string(addr, 2, "connectfd", "address")
    timeout = check.timeout(timeout, 3, "connectfd", FOREVER)
    if not family_of(addr) then return fail("connectfd", EINVAL) end
    local blocking = timeout ~= FOREVER
        and shim.minisock_is_nonblocking(fd) == 0
    if blocking then shim.minisock_set_nonblocking(fd, 1) end
    local code = connect_by(fd, addr, deadline(timeout))
    if blocking then shim.minisock_set_nonblocking(fd, 0) end
    if code < 0 then return fail("connectfd", -code) end
    return true
end

--- Begins to connect a non-blocking socket, and looks no further: poll for
--- POLLOUT, then ask for SO_ERROR.
---@see connect(2)
---@param fd integer
---@param addr string
---@return true? done, string? message, integer? code EINPROGRESS while it is
--- under way
function client.startconnect(fd, addr)
    fd = check.descriptor(fd, 1, "startconnect")
    addr = check.string(addr, 2, "startconnect", "address")
    if not family_of(addr) then return fail("startconnect", EINVAL) end
    local code = begin(fd, addr)
    if code ~= 0 then return fail("startconnect", code) end
    return true
end

return client
