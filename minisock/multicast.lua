--- Membership in multicast groups, of IPv4 and IPv6 alike. Stands on
--- minisock.cdefs, minisock.address, minisock.check, minisock.errors and
--- minisock.options.
local ffi = require "ffi"
local address = require "minisock.address"
local cdefs = require "minisock.cdefs"
local check = require "minisock.check"
local errors = require "minisock.errors"
local options = require "minisock.options"

local constant = cdefs.constant
local EINVAL = constant("EINVAL")
local ENODEV = constant("ENODEV")

local LEVEL = {
    [constant("AF_INET")] = constant("IPPROTO_IP"),
    [constant("AF_INET6")] = constant("IPPROTO_IPV6"),
}

local JOIN = constant("MCAST_JOIN_GROUP")
local LEAVE = constant("MCAST_LEAVE_GROUP")
local JOIN_SOURCE = constant("MCAST_JOIN_SOURCE_GROUP")
local LEAVE_SOURCE = constant("MCAST_LEAVE_SOURCE_GROUP")
local BLOCK = constant("MCAST_BLOCK_SOURCE")
local UNBLOCK = constant("MCAST_UNBLOCK_SOURCE")

local REQUEST = ffi.typeof("struct minisock_group_req")
local SOURCE_REQUEST = ffi.typeof("struct minisock_group_source_req")

local multicast = {}

-- Sets an option for a group and perhaps a source. Returns nil and an errno
-- when one of the addresses isn't any.
local function apply(fd, option, group, index, source)
    local addr = address.of_digits(group, 0)
    local from = source and address.of_digits(source, 0)
    if not addr or source and not from then return nil, EINVAL end
    local memory = source and SOURCE_REQUEST() or REQUEST()
    memory.interface = index
    ffi.copy(memory.group, addr, #addr)
    if source then ffi.copy(memory.source, from, #from) end
    local level = LEVEL[address.family(addr)]
    return options.put_raw(fd, level, option,
        ffi.string(memory, ffi.sizeof(memory)))
end

local function index_of(interface, arg, call)
    if check.absent(interface) then return 0 end
    if type(interface) == "string" and not tonumber(interface) then
        return address.interface_index(interface)
    end
    return check.integer(interface, arg, call, 0, 2^32 - 1,
        "interface name or index")
end

local function perform(call, fd, option, group, index, source)
    if not index then return errors.fail(call, ENODEV) end
    local code, why = apply(fd, option, group, index, source)
    if not code then return errors.fail(call, why) end
    if code ~= 0 then return errors.fail(call, code) end
    return true
end

--- Joins a multicast group, of which the socket then gets what any source
--- sends, or one source only.
---@see ip(7), ipv6(7)
---@param fd integer
---@param group string the group's address, in digits
---@param interface? string|integer a name or an index; the kernel's choice by
--- default
---@param source? string the only address to get from
---@return true? done, string? message, integer? code
function multicast.joingroup(fd, group, interface, source)
    fd = check.descriptor(fd, 1, "joingroup")
    group = check.string(group, 2, "joingroup")
    local index = index_of(interface, 3, "joingroup")
    source = check.optional_string(source, 4, "joingroup")
    return perform("joingroup", fd, source and JOIN_SOURCE or JOIN, group,
        index, source)
end

--- Leaves a group again, with what it was joined with.
---@param fd integer
---@param group string
---@param interface? string|integer
---@param source? string
---@return true? done, string? message, integer? code
function multicast.leavegroup(fd, group, interface, source)
    fd = check.descriptor(fd, 1, "leavegroup")
    group = check.string(group, 2, "leavegroup")
    local index = index_of(interface, 3, "leavegroup")
    source = check.optional_string(source, 4, "leavegroup")
    return perform("leavegroup", fd, source and LEAVE_SOURCE or LEAVE, group,
        index, source)
end

--- Stops getting what one source sends to a group that was joined for any.
---@param fd integer
---@param group string
---@param source string
---@param interface? string|integer
---@return true? done, string? message, integer? code
function multicast.blocksource(fd, group, source, interface)
    fd = check.descriptor(fd, 1, "blocksource")
    group = check.string(group, 2, "blocksource")
    source = check.string(source, 3, "blocksource")
    local index = index_of(interface, 4, "blocksource")
    return perform("blocksource", fd, BLOCK, group, index, source)
end

--- Gets from a blocked source again.
---@param fd integer
---@param group string
---@param source string
---@param interface? string|integer
---@return true? done, string? message, integer? code
function multicast.unblocksource(fd, group, source, interface)
    fd = check.descriptor(fd, 1, "unblocksource")
    group = check.string(group, 2, "unblocksource")
    source = check.string(source, 3, "unblocksource")
    local index = index_of(interface, 4, "unblocksource")
    return perform("unblocksource", fd, UNBLOCK, group, index, source)
end

return multicast
