--- The network interfaces of this machine. Stands on minisock.cdefs,
--- minisock.errors and minisock.names.
local ffi = require "ffi"
local errors = require "minisock.errors"
local names = require "minisock.names"

local shim = require("minisock.cdefs").shim

local interfaces = {}

local function text(bytes, size)
    if size == 0 then return nil end
    return names.parseaddr(ffi.string(bytes, size)).addr
end

local function hardware(item)
    local digits = {}
    for i = 0, item.hardware_length - 1 do
        digits[#digits + 1] = ("%02x"):format(item.hardware[i])
    end
    return #digits > 0 and table.concat(digits, ":") or nil
end

-- Where in a list it is. Not a local: see minisock.resolver.
local CURSOR = ffi.typeof("struct minisock_interface *[1]")

local function collect(first)
    local list = {}
    local cursor = CURSOR(first)
    while cursor[0] ~= nil do
        local item = cursor[0]
        local addr = ffi.string(item.addr, item.addr_length)
        local parts = addr ~= "" and names.parseaddr(addr) or {}
        list[#list + 1] = {
            name = ffi.string(item.name),
            index = item.index,
            flags = item.flags,
            family = parts.family,
            addr = parts.addr,
            scope = parts.scope,
            mask = text(item.mask, item.mask_length),
            hardware = hardware(item),
        }
        cursor[0] = item.next
    end
    return list
end

---@class minisock.interface
---@field name string
---@field index integer 0 for an address whose label isn't an interface's name
---@field flags integer IFF_UP, IFF_LOOPBACK, ...
---@field family? "inet"|"inet6" nil for an entry without an IP address
---@field addr? string
---@field scope? integer
---@field mask? string
---@field hardware? string "00:11:22:33:44:55"

local list = ffi.new("struct minisock_interface *[1]")

--- The interfaces, one entry for each address.
---@see getifaddrs(3)
---@return minisock.interface[]? interfaces, string? message, integer? code
function interfaces.getinterfaces()
    local code = shim.minisock_interfaces(list)
    if code < 0 then return errors.fail("getinterfaces", -code) end
    local first = list[0]
    local found = collect(first)
    shim.minisock_free_interfaces(first)
    return found
end

return interfaces
