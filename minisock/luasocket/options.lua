--- setoption and getoption of LuaSocket's objects. Stands on minisock and
--- minisock.luasocket.object.
local ms = require "minisock"
local check = require "minisock.check"
local object = require "minisock.luasocket.object"

local options = {}

local IPPROTO_IP = ms.IPPROTO_IP

---@class minisock.luasocket.option
---@field convert? function of a value: returns what is wrong with it, or nil
--- and what `set` takes
---@field set? fun(fd: integer, value: any): any true when it is set
---@field get? fun(fd: integer): any, string? a message after nil when it failed

---------------------------------------------------------------------------
-- Kinds of options
---------------------------------------------------------------------------

local function setter(name)
    return function(fd, value) return ms.setsockopt(fd, name, value) end
end

local function getter(name)
    return function(fd) return ms.getsockopt(fd, name) end
end

local function expected(wanted, value)
    return ("%s expected, got %s"):format(wanted, type(value))
end

local function convert_boolean(value)
    if type(value) ~= "boolean" then return expected("boolean", value) end
    return nil, value
end

local function convert_integer(value)
    local number = check.number(value)
    if not number then return expected("number", value) end
    return nil, object.to_int(number)
end

local function boolean(name)
    return {
        convert = convert_boolean, set = setter(name), get = getter(name),
    }
end

local function integer(name)
    return {
        convert = convert_integer, set = setter(name), get = getter(name),
    }
end

-- One that can be set only.
local function unreadable(option)
    option.get = nil
    return option
end

local linger = {
    convert = function(value)
        if type(value) ~= "table" then return expected("table", value) end
        if type(value.on) ~= "boolean" then
            return "boolean 'on' field expected"
        end
        local seconds = check.number(value.timeout)
        if not seconds then return "number 'timeout' field expected" end
        seconds = math.max(0, math.min(object.to_int(seconds), 65535))
        return nil, value.on and seconds
    end,
    set = setter("SO_LINGER"),
    get = function(fd)
        local seconds, message = ms.getsockopt(fd, "SO_LINGER")
        if seconds == nil then return nil, message end
        return { on = seconds ~= false, timeout = seconds or 0 }
    end,
}

-- What went wrong with a connect that was under way, in words; it is cleared.
local pending_error = {
    get = function(fd)
        local code, message = ms.getsockopt(fd, "SO_ERROR")
        if not code then return nil, message end
        return code ~= 0 and object.words(code) or nil
    end,
}

-- The four bytes of an IPv4 address; "*" is any.
local function ipv4(ip)
    local addr = ms.inetaddr(ip == "*" and "0.0.0.0" or ip, 0)
    return addr and addr:sub(5, 8)
end

local multicast_interface = {
    convert = function(value)
        if type(value) ~= "string" then return expected("string", value) end
        local bytes = ipv4(value)
        if not bytes then return "ip expected" end
        return nil, bytes
    end,
    set = function(fd, bytes)
        return ms.setsockopt(fd, IPPROTO_IP, ms.IP_MULTICAST_IF, bytes)
    end,
    get = function(fd)
        local bytes, message =
            ms.getsockopt(fd, IPPROTO_IP, ms.IP_MULTICAST_IF, 4)
        if not bytes then return nil, message end
        return ("%d.%d.%d.%d"):format(bytes:byte(1, 4))
    end,
}

-- A field that is an IPv4 address, as bytes; or nil and what is wrong with it.
local function ipv4_field(value, name)
    local ip = value[name]
    if type(ip) ~= "string" then
        return nil, ("string '%s' field expected"):format(name)
    end
    local bytes = ipv4(ip)
    if bytes then return bytes end
    return nil, ("invalid '%s' ip address"):format(name)
end

local function membership(optname)
    return {
        convert = function(value)
            if type(value) ~= "table" then return expected("table", value) end
            local group, why = ipv4_field(value, "multiaddr")
            if not group then return why end
            local interface
            interface, why = ipv4_field(value, "interface")
            if not interface then return why end
            return nil, group .. interface
        end,
        set = function(fd, bytes)
            return ms.setsockopt(fd, IPPROTO_IP, optname, bytes)
        end,
    }
end

local function convert_membership6(value)
    if type(value) ~= "table" then return expected("table", value) end
    local group = value.multiaddr
    if type(group) ~= "string" then
        return "string 'multiaddr' field expected"
    end
    if not ms.inet6addr(group, 0) then
        return "invalid 'multiaddr' ip address"
    end
    local why, interface = convert_integer(value.interface or 0)
    if why then return "number 'interface' field expected" end
    return nil, { group = group, interface = interface }
end

local function membership6(change)
    return {
        convert = convert_membership6,
        set = function(fd, value)
            return value.interface >= 0
                and ms[change](fd, value.group, value.interface)
        end,
    }
end

---------------------------------------------------------------------------
-- The options
---------------------------------------------------------------------------

local COMMON = {
    ["reuseaddr"] = boolean("SO_REUSEADDR"),
    ["reuseport"] = boolean("SO_REUSEPORT"),
    ["recv-buffer-size"] = integer("SO_RCVBUF"),
    ["send-buffer-size"] = integer("SO_SNDBUF"),
    ["error"] = pending_error,
}

local function with_common(own)
    for name, option in pairs(COMMON) do own[name] = option end
    return own
end

options.tcp = with_common {
    ["keepalive"] = boolean("SO_KEEPALIVE"),
    ["linger"] = linger,
    ["tcp-nodelay"] = boolean("TCP_NODELAY"),
    ["tcp-keepidle"] = integer("TCP_KEEPIDLE"),
    ["tcp-keepcnt"] = integer("TCP_KEEPCNT"),
    ["tcp-keepintvl"] = integer("TCP_KEEPINTVL"),
    ["tcp-defer-accept"] = unreadable(integer("TCP_DEFER_ACCEPT")),
    ["tcp-fastopen"] = unreadable(integer("TCP_FASTOPEN")),
    ["tcp-fastopen-connect"] = {
        convert = convert_integer,
        set = function(fd, value)
            return ms.setsockopt(fd, "TCP_FASTOPEN_CONNECT", value ~= 0)
        end,
    },
    ["ipv6-v6only"] = unreadable(boolean("IPV6_V6ONLY")),
}

options.udp = with_common {
    ["broadcast"] = boolean("SO_BROADCAST"),
    ["dontroute"] = boolean("SO_DONTROUTE"),
    ["ip-multicast-if"] = multicast_interface,
    ["ip-multicast-ttl"] = unreadable(integer("IP_MULTICAST_TTL")),
    ["ip-multicast-loop"] = boolean("IP_MULTICAST_LOOP"),
    ["ip-add-membership"] = membership(ms.IP_ADD_MEMBERSHIP),
    ["ip-drop-membership"] = membership(ms.IP_DROP_MEMBERSHIP),
    ["ipv6-v6only"] = boolean("IPV6_V6ONLY"),
    ["ipv6-unicast-hops"] = integer("IPV6_UNICAST_HOPS"),
    ["ipv6-multicast-hops"] = integer("IPV6_MULTICAST_HOPS"),
    ["ipv6-multicast-loop"] = boolean("IPV6_MULTICAST_LOOP"),
    ["ipv6-add-membership"] = membership6("joingroup"),
    ["ipv6-drop-membership"] = membership6("leavegroup"),
}

options.unix = {
    ["keepalive"] = boolean("SO_KEEPALIVE"),
    ["linger"] = linger,
    ["reuseaddr"] = boolean("SO_REUSEADDR"),
}

local function find(known, name, access, call)
    local option = known[name]
    if option and option[access] then return option end
    error(("bad argument #1 to '%s' (unsupported option `%.35s')")
        :format(call, name), 3)
end

--- Adds the methods.
---@param kind table
---@param methods table
---@param known table<string, minisock.luasocket.option>
function options.add_methods(kind, methods, known)
    --- Sets an option.
    ---@param name string
    ---@param value any
    ---@return 1? done, string? reason
    function methods.setoption(self, name, value)
        object.check(self, kind, "setoption")
        name = check.string(name, 1, "setoption")
        local option = find(known, name, "set", "setoption")
        local why, converted = option.convert(value)
        if why then
            error(("bad argument #2 to 'setoption' (%s)"):format(why), 2)
        end
        if option.set(self.owner.fd, converted) then return 1 end
        return nil, "setsockopt failed"
    end

    --- Reads an option.
    ---@param name string
    ---@return any value, string? reason
    function methods.getoption(self, name)
        object.check(self, kind, "getoption")
        name = check.string(name, 1, "getoption")
        local option = find(known, name, "get", "getoption")
        local value, message = option.get(self.owner.fd)
        if value == nil and message then return nil, "getsockopt failed" end
        return value
    end
end

return options
