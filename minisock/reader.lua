--- A buffered reader: takes from a stream in large pieces what is wanted in
--- small ones. Stands on minisock.
local ms = require "minisock"
local clock = require "minisock.clock"

local PIECE = 65536

---@class minisock.reader
---@field data string what has been read, as far as it has been put together
---@field at integer where in data that begins which nobody took yet
---@field tail string[] what has been read since
---@field tail_size integer
---@field tail_searched integer how many of these have no end of a line
---@field searched integer how much of data has none
---@field read function
---@field total integer how many bytes were read in all
local Reader = {}
Reader.__index = Reader

local reader = {}

---@param read? function in place of minisock.read, with its parameters and
--- results, for a stream that isn't a descriptor
---@return minisock.reader
function reader.new(read)
    return setmetatable({
        data = "", at = 1, searched = 0,
        tail = {}, tail_size = 0, tail_searched = 0,
        read = read or ms.read,
        total = 0,
    }, Reader)
end

--- How many bytes are there to take.
---@return integer
function Reader:available()
    return #self.data - self.at + 1 + self.tail_size
end

--- How many bytes were taken in all.
---@return integer
function Reader:taken()
    return self.total - self:available()
end

-- Puts the pieces together: once for what is wanted, however many they are.
local function join(self)
    if self.tail_size == 0 then return end
    local tail = self.tail
    if self.at > #self.data and #tail == 1 then
        self.data, self.searched = tail[1], 0
        tail[1] = nil
    else
        local rest = self.data:sub(self.at)
        self.searched = math.max(0, self.searched - self.at + 1)
        self.data, self.tail = rest .. table.concat(tail), {}
    end
    self.at, self.tail_size, self.tail_searched = 1, 0, 0
end

--- Takes n bytes, or all there are if these are fewer.
---@param n integer
---@return string
function Reader:take(n)
    if n > #self.data - self.at + 1 then join(self) end
    local data, at = self.data, self.at
    if at == 1 and n >= #data then -- no copy
        self.data, self.searched = "", 0
        return data
    end
    local last = math.min(at + n - 1, #data)
    self.at = last + 1
    return data:sub(at, last)
end

--- Takes all there is.
---@return string
function Reader:take_rest()
    return self:take(self:available())
end

--- Takes n bytes.
---@param n integer
---@return string? data nil when there are fewer yet
function Reader:take_exactly(n)
    if self:available() >= n then return self:take(n) end
end

--- Reads more.
---@param fd any what `read` takes first, a descriptor
---@param timeout number in ms
---@return integer? count 0 at the end of the stream
---@return string? message, integer? code
function Reader:fill(fd, timeout)
    local piece, message, code = self.read(fd, timeout, PIECE)
    if not piece then return nil, message, code end
    if piece == "" then return 0 end
    self.tail[#self.tail + 1] = piece
    self.tail_size = self.tail_size + #piece
    self.total = self.total + #piece
    return #piece
end

--- Looks for a text. Who takes what comes before it keeps the search short.
---@param text string
---@return integer before how many bytes are certain to come before it
---@return boolean found
function Reader:search(text)
    join(self)
    local data, at = self.data, self.at
    local start = data:find(text, at, true)
    if start then return start - at, true end
    -- The last bytes may be the first of it.
    local first = text:sub(1, 1)
    local i = data:find(first, math.max(at, #data - #text + 2), true)
    while i do
        if text:find(data:sub(i), 1, true) == 1 then return i - at, false end
        i = data:find(first, i + 1, true)
    end
    return #data - at + 1, false
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

-- A loop of its own: LuaJIT compiles what is outside of a loop as part of the
-- caller's, and one read is what most programs need.
local function read_on(self, fd, deadline, longest, take, wanted)
    while true do
        local count, message, code =
            self:fill(fd, math.min(longest, clock.left(deadline)))
        if not count then return nil, message, code end
        if count == 0 then return nil end
        local found = take(self, wanted)
        if found then return found end
    end
end

--- Takes what `take` finds, and reads more until it does. What came before a
--- failure stays.
---@param fd any
---@param deadline number
---@param longest number how long one wait may last, in ms
---@param take function of the reader and `wanted`; nil when it isn't there yet
---@param wanted any
---@return string? data, string? message, integer? code nil alone at the end of
--- the stream
function Reader:receive(fd, deadline, longest, take, wanted)
    local found = take(self, wanted)
    if found then return found end
    local count, message, code =
        self:fill(fd, math.min(longest, clock.left(deadline)))
    if not count then return nil, message, code end
    if count == 0 then return nil end
    found = take(self, wanted)
    if found then return found end
    return read_on(self, fd, deadline, longest, take, wanted)
end

--- What `receive` may take: a line, so many bytes, or, with nothing but the end
--- to stop it, everything.
reader.line = Reader.take_line
reader.exactly = Reader.take_exactly
function reader.everything() end

--- A text without any CR in it, which LuaSocket and cosockets drop from lines.
---@param text string
---@return string
function reader.without_cr(text)
    if not text:find("\r", 1, true) then return text end
    return (text:gsub("\r", ""))
end

return reader
