--- Drop-in for lua-llsocket: thin socket objects over address infos. Plain Lua
--- over minisock and minisock.owner.
local ms = require "minisock"

local llsocket = {
    device = require "minisock.llsocket.device",
    inet = require "minisock.llsocket.inet",
    socket = require "minisock.llsocket.socket",
    unix = require "minisock.llsocket.unix",
}

-- The constants come from below; those that Linux lacks are nil.
return setmetatable(llsocket, {
    __index = function(_, name)
        if type(name) ~= "string" then return nil end
        local value = ms[name]
        if type(value) == "number" then return value end
    end,
})
