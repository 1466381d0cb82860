--- A buffered reader: takes from a descriptor in large pieces what is wanted
--- in small ones. Stands on minisock.
local ms = require "minisock"

local PIECE = 65536

---@class minisock.reader
---@field data string what has been read, as far as it has been put together
---@field at integer where in data that begins which nobody took yet
---@field tail string[] what has been read since
---@field tail_size integer
---@field tail_searched integer how many of these have no end of a line
---@field searched integer how much of data has none
local Reader = {}
Reader.__index = Reader

local reader = {}

---@return minisock.reader
function reader.new()
    return setmetatable({
        data = "", at = 1, searched = 0,
        tail = {}, tail_size = 0, tail_searched = 0,
    }, Reader)
end

--- How many bytes are there to take.
---@return integer
function Reader:available()
    return #self.data - self.at + 1 + self.tail_size
end

-- Puts the pieces together: once for what is wanted, however many they are.
local function join(self)
    if self.tail_size == 0 then return end
    local rest = self.data:sub(self.at)
    self.searched = math.max(0, self.searched - self.at + 1)
    self.data, self.at = rest .. table.concat(self.tail), 1
    self.tail, self.tail_size, self.tail_searched = {}, 0, 0
end

--- Takes n bytes, or all there are if these are fewer.
---@param n integer
---@return string
function Reader:take(n)
    if n > #self.data - self.at + 1 then join(self) end
    local at = self.at
    local last = math.min(at + n - 1, #self.data)
    self.at = last + 1
    return self.data:sub(at, last)
end

--- Reads more.
---@param fd integer
---@param timeout number in ms
---@return integer? count 0 at the end of the stream
---@return string? message, integer? code
function Reader:fill(fd, timeout)
    local piece, message, code = ms.read(fd, timeout, PIECE)
    if not piece then return nil, message, code end
    self.tail[#self.tail + 1] = piece
    self.tail_size = self.tail_size + #piece
    return #piece
end

-- Whether a line ends in the pieces; each is searched once.
local function ends_in_tail(self)
    for i = self.tail_searched + 1, #self.tail do
        self.tail_searched = i
        if self.tail[i]:find("\n", 1, true) then return true end
    end
    return false
end

--- Takes a line.
---@return string? line without its LF; nil when its end isn't there yet
function Reader:take_line()
    local from = math.max(self.at, self.searched + 1)
    local stop = self.data:find("\n", from, true)
    if not stop and ends_in_tail(self) then
        join(self)
        stop = self.data:find("\n", math.max(self.at, self.searched + 1), true)
    end
    if not stop then
        self.searched = #self.data
        return nil
    end
    local line = self.data:sub(self.at, stop - 1)
    self.at = stop + 1
    return line
end

return reader
