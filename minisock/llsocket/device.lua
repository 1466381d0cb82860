--- llsocket.device: what the network interfaces are. Stands on minisock.
local ms = require "minisock"
local errors = require "minisock.errors"

local band = bit.band
local IFF_LOOPBACK, IFF_RUNNING = ms.IFF_LOOPBACK, ms.IFF_RUNNING

local device = {}

--- The hardware addresses of the running interfaces that have an IPv4 address,
--- by name.
---@return table<string, string>? addresses, string? message
function device.macaddrs()
    local all, _, code = ms.getinterfaces()
    if not all then return nil, errors.text(code) end
    local hardware, addresses = {}, {}
    for _, interface in ipairs(all) do
        if interface.hardware then
            hardware[interface.name] = interface.hardware
        end
    end
    for _, interface in ipairs(all) do
        if interface.family == "inet"
                and band(interface.flags, IFF_RUNNING) ~= 0
                and band(interface.flags, IFF_LOOPBACK) == 0 then
            addresses[interface.name] = hardware[interface.name]
        end
    end
    return addresses
end

return device
