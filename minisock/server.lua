--- Sockets that listen. Stands on minisock, which declares the calls and loads
--- this when it is asked for one of them.
local bit = require "bit"
local ffi = require "ffi"
local address = require "minisock.address"
local cdefs = require "minisock.cdefs"
local check = require "minisock.check"
local clock = require "minisock.clock"
local errors = require "minisock.errors"
local ms = require "minisock"

local C = ffi.C
local shim = cdefs.shim
local constant = cdefs.constant
local deadline = clock.deadline
local bor = bit.bor
local errno = ffi.errno
local fail = errors.fail
local absent = check.absent
local family_of, take = address.family, address.take
local FOREVER = math.huge

local AF_UNIX = constant("AF_UNIX")
local AF_INET = constant("AF_INET")
local AF_INET6 = constant("AF_INET6")
local AI_PASSIVE = constant("AI_PASSIVE")
local SOCK_CLOEXEC = constant("SOCK_CLOEXEC")
local SOCK_STREAM = constant("SOCK_STREAM")
local SOMAXCONN = constant("SOMAXCONN")

local EADDRNOTAVAIL = constant("EADDRNOTAVAIL")
local EAFNOSUPPORT = constant("EAFNOSUPPORT")
local EAGAIN = constant("EAGAIN")
local ECONNABORTED = constant("ECONNABORTED")
local EINTR = constant("EINTR")
local EINVAL = constant("EINVAL")

-- Out-parameters, used again by every call.
local ADDRESS_SIZE = 128
local peer = ffi.new("uint8_t[?]", ADDRESS_SIZE)
local length = ffi.new("uint32_t[1]")

local server = {}

local BIND_OPTIONS = {
    backlog = "count",
    reuseport = "boolean",
    v6only = "boolean",
    timeout = "timeout in milliseconds",
}

local function set_listener_options(fd, family, opts, v6only)
    local options = require "minisock.options"
    local code = 0
    if family ~= AF_UNIX then code = options.put(fd, "SO_REUSEADDR", 1) end
    if code == 0 and opts.reuseport then
        code = options.put(fd, "SO_REUSEPORT", 1)
    end
    if code == 0 and family == AF_INET6 and v6only ~= nil then
        code = options.put(fd, "IPV6_V6ONLY", v6only and 1 or 0)
    end
    return code
end

local function bind_and_listen(fd, addr, backlog)
    if C.minisock_bind(fd, addr, #addr) < 0 then return errno() end
    if C.minisock_listen(fd, backlog or SOMAXCONN) < 0 then return errno() end
    return 0
end

-- Returns a listener, or nil and an errno.
local function listener(addr, opts, v6only)
    local family = family_of(addr)
    if not family then return nil, EINVAL end
    local fd = C.minisock_socket(family, bor(SOCK_STREAM, SOCK_CLOEXEC), 0)
    if fd < 0 then return nil, errno() end
    local code = set_listener_options(fd, family, opts, v6only)
    if code == 0 then code = bind_and_listen(fd, addr, opts.backlog) end
    if code == 0 then return fd end
    C.minisock_close(fd)
    return nil, code
end

-- The wildcard address of IPv6 serves IPv4 too. IPv4's own is for machines
-- without IPv6; were it taken because a port is busy, the server would listen
-- on half of what was asked for.
local function bind_wildcard(service, opts)
    local resolver = require "minisock.resolver"
    local v6only = opts.v6only or false
    local code
    for _, family in ipairs({ AF_INET6, AF_INET }) do
        local hints =
            { family = family, socktype = SOCK_STREAM, flags = AI_PASSIVE }
        local list, eai, system =
            resolver.lookup(nil, service, hints, FOREVER)
        if not list then return resolver.fail("bind", eai, system) end
        local fd
        fd, code = listener(list[1], opts, v6only)
        if fd then return fd, ms.getsockname(fd) end
        if v6only or code ~= EAFNOSUPPORT and code ~= EADDRNOTAVAIL then
            break
        end
    end
    return fail("bind", code)
end

local PASSIVE = { socktype = SOCK_STREAM, flags = AI_PASSIVE }

local function bind_host(host, service, opts)
    local resolver = require "minisock.resolver"
    local list, eai, system = resolver.lookup(host, service, PASSIVE,
        deadline(opts.timeout or FOREVER))
    if not list then return resolver.fail("bind", eai, system) end
    local code
    for _, addr in ipairs(list) do
        local fd
        fd, code = listener(addr, opts, opts.v6only)
        if fd then return fd, ms.getsockname(fd) end
    end
    return fail("bind", code)
end

---@class minisock.bind_options
---@field backlog? integer SOMAXCONN by default
---@field reuseport? boolean SO_REUSEPORT
---@field v6only? boolean IPV6_V6ONLY; by default false for every address of
--- this machine, else what the system has as its default
---@field timeout? number in ms, for the resolver; for ever by default

--- Makes a stream socket that listens: on a raw address, `bind(addr, opts)`,
--- or on a host and a service, `bind(host, service, opts)`.
---@see bind(2), listen(2)
---@overload fun(addr: string, opts?: table): integer?, string?, integer?
---@param host? string nil, "" or "*" for every address of this machine, by
--- IPv6 and IPv4 where there are both
---@param service string|integer 0 for a free port
---@param opts? minisock.bind_options
---@return integer? fd, string? addr_or_message, integer? code addr is what the
--- socket is bound to, and comes with the host form only
function server.bind(host, service, opts)
    if absent(service) or type(service) == "table" then
        local addr = check.string(host, 1, "bind", "address")
        local given, position = service, 2
        if absent(given) then given, position = opts, 3 end
        opts = check.options(given, position, "bind", BIND_OPTIONS)
        local fd, code = listener(addr, opts, opts.v6only)
        if not fd then return fail("bind", code) end
        return fd
    end
    host = check.optional_string(host, 1, "bind", "host")
    service = check.service(service, 2, "bind")
    opts = check.options(opts, 3, "bind", BIND_OPTIONS)
    if host == nil or host == "" or host == "*" then
        return bind_wildcard(service, opts)
    end
    return bind_host(host, service, opts)
end

--- Binds a socket to a raw address.
---@see bind(2)
---@param fd integer
---@param addr string
---@return true? done, string? message, integer? code
function server.bindfd(fd, addr)
    fd = check.descriptor(fd, 1, "bindfd")
    addr = check.string(addr, 2, "bindfd", "address")
    if not family_of(addr) then return fail("bindfd", EINVAL) end
    if C.minisock_bind(fd, addr, #addr) < 0 then
        return fail("bindfd", errno())
    end
    return true
end

--- Makes a bound socket listen.
---@see listen(2)
---@param fd integer
---@param backlog? integer SOMAXCONN by default
---@return true? done, string? message, integer? code
function server.listen(fd, backlog)
    fd = check.descriptor(fd, 1, "listen")
    backlog = check.int(backlog, 2, "listen", SOMAXCONN)
    if C.minisock_listen(fd, backlog) < 0 then
        return fail("listen", errno())
    end
    return true
end

-- What accept and its like say of a connection that came to nothing, or of
-- none yet; the shim goes on from there.
local TRY_AGAIN = { [EAGAIN] = true, [EINTR] = true, [ECONNABORTED] = true }

-- Without a timeout one call does both, to wait and to accept.
local function accept_any(fd)
    length[0] = ADDRESS_SIZE
    local client = C.minisock_accept4(fd, peer, length, SOCK_CLOEXEC)
    if client >= 0 then return client end
    local code = errno()
    if not TRY_AGAIN[code] then return -code end
    length[0] = ADDRESS_SIZE
    return shim.minisock_accept_wait(fd, peer, length, FOREVER)
end

--- Accepts a connection; the descriptor is a blocking one. A timeout makes the
--- listener non-blocking and leaves it so, since nothing else keeps a deadline
--- when several processes accept from one listener.
---@see accept(2)
---@param fd integer
---@param timeout? number in ms, for ever by default
---@return integer? fd, string? addr_or_message, integer? code
function server.accept(fd, timeout)
    fd = check.descriptor(fd, 1, "accept")
    timeout = check.timeout(timeout, 2, "accept", FOREVER)
    local client
    if timeout == FOREVER then
        client = accept_any(fd)
    else
        length[0] = ADDRESS_SIZE
        client =
            shim.minisock_accept_wait(fd, peer, length, deadline(timeout))
    end
    if client < 0 then return fail("accept", -client) end
    return client, take(peer, length[0])
end

return server
