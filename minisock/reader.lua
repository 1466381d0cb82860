--- A buffered reader: takes from a descriptor in large pieces what is wanted
--- in small ones. Stands on minisock.
local ms = require "minisock"

local PIECE = 65536

---@class minisock.reader
---@field data string what has been read
---@field at integer where in data that begins which nobody took yet
local Reader = {}
Reader.__index = Reader

local reader = {}

---@return minisock.reader
function reader.new()
    return setmetatable({ data = "", at = 1 }, Reader)
end

--- How many bytes are there to take.
---@return integer
function Reader:available()
    return #self.data - self.at + 1
end

--- Takes n bytes, or all there are if these are fewer.
---@param n integer
---@return string
function Reader:take(n)
    local at = self.at
    local last = math.min(at + n - 1, #self.data)
    local taken = self.data:sub(at, last)
    self.at = last + 1
    return taken
end

--- Reads more.
---@param fd integer
---@param timeout number in ms
---@return integer? count 0 at the end of the stream
---@return string? message, integer? code
function Reader:fill(fd, timeout)
    local piece, message, code = ms.read(fd, timeout, PIECE)
    if not piece then return nil, message, code end
    if self.at > #self.data then
        self.data = piece
    else
        self.data = self.data:sub(self.at) .. piece
    end
    self.at = 1
    return #piece
end

--- Takes what comes before a separator, and the separator.
---@param separator string
---@return string? bytes without the separator; nil when it isn't there
function Reader:take_until(separator)
    local at = self.at
    local first, last = self.data:find(separator, at, true)
    if not first then return nil end
    self.at = last + 1
    return self.data:sub(at, first - 1)
end

return reader
