--- receive, send and their statistics, of every kind of stream object that
--- LuaSocket has. Stands on minisock.reader, minisock.writer and
--- minisock.luasocket.object.
local check = require "minisock.check"
local clock = require "minisock.clock"
local object = require "minisock.luasocket.object"
local ms = require "minisock"
local reader = require "minisock.reader"
local writer = require "minisock.writer"

local without_cr = reader.without_cr

local stream = {}

--- Makes an object one that is connected, or tried to be.
---@param self table
---@param class string
function stream.start(self, class)
    self.class = class
    self.reader = self.reader or reader.new()
    self.received, self.sent, self.since = 0, 0, clock.now()
end

local function prefixed(prefix, text)
    if prefix == "" then return text end
    return prefix .. text
end

-- For a size of 0: waits until there is something, and leaves it.
local function take_none(buffered)
    if buffered:available() > 0 then return "" end
end

-- Returns what `take` finds; or nil, a reason, what came before it failed, and
-- whether that was the end of the stream.
local function receive(self, take, wanted)
    local buffered = self.reader
    local deadline, longest = object.limits(self)
    local taken = buffered:taken()
    local data, message, code =
        buffered:receive(self.owner.fd, deadline, longest, take, wanted)
    local rest = not data and buffered:take_rest() or nil
    self.received = self.received + buffered:taken() - taken
    if data then return data end
    if not message then return nil, "closed", rest, true end
    return nil, object.reason(message, code), rest, false
end

local function receive_size(self, size, prefix)
    if #prefix > 0 and #prefix >= size then return prefix, nil, nil end
    local take = size == 0 and take_none or reader.exactly
    local data, reason, rest = receive(self, take, size - #prefix)
    if data then return prefixed(prefix, data), nil, nil end
    return nil, reason, prefix .. rest
end

local function receive_line(self, prefix)
    local line, reason, rest = receive(self, reader.line)
    if line then return prefixed(prefix, without_cr(line)), nil, nil end
    return nil, reason, prefix .. without_cr(rest)
end

local function receive_all(self, prefix)
    local _, reason, rest, ended = receive(self, reader.everything)
    if ended and rest ~= "" then return prefix .. rest, nil, nil end
    return nil, reason, prefix .. rest
end

local NAMED = { ["*l"] = receive_line, ["*a"] = receive_all }

-- What a pattern stands for: a function of these, or how many bytes.
local function parse(pattern)
    if check.absent(pattern) then return receive_line end
    local size = check.number(pattern)
    if size then
        if size >= 0 then return nil, math.floor(size) end
    elseif type(pattern) == "string" then
        return NAMED[pattern:sub(1, 2)]
    end
end

--- Adds the methods of a stream.
---@param kind table
---@param methods table
---@param class string of an object that is connected
function stream.add_methods(kind, methods, class)
    --- Receives a line (without its end), so many bytes, or all up to the end
    --- of the stream.
    ---@param pattern? "*l"|"*a"|integer a line by default
    ---@param prefix? string what the result starts with; counts as received
    ---@return string? data, string? reason, string? partial
    function methods.receive(self, pattern, prefix)
        object.check(self, kind, "receive", class)
        prefix = check.absent(prefix) and ""
            or check.string(prefix, 2, "receive")
        local named, size = parse(pattern)
        if size then return receive_size(self, size, prefix) end
        if not named then
            error("bad argument #1 to 'receive' (invalid receive pattern)", 2)
        end
        return named(self, prefix)
    end

    --- Sends the bytes from i to j.
    ---@param data string
    ---@param i? integer 1 by default; negative from the end, as in string.sub
    ---@param j? integer -1 by default
    ---@return integer? last the last byte sent
    ---@return string? reason, integer? last_before the last one sent before it
    --- failed
    function methods.send(self, data, i, j)
        object.check(self, kind, "send", class)
        data = check.string(data, 1, "send")
        i = object.to_int(object.check_number(i, 2, "send", 1))
        j = object.to_int(object.check_number(j, 3, "send", -1))
        local size = #data
        if i < 0 then i = math.max(1, size + i + 1) end
        if j < 0 then j = size + j + 1 end
        if i < 1 then i = 1 end
        j = math.min(j, size)
        if i > j then return i - 1, nil, nil end
        local deadline, longest = object.limits(self)
        local sent, message, code, before =
            writer.send(self.owner.fd, data, i, j, deadline, longest)
        self.sent = self.sent + (sent or before)
        if sent then return j, nil, nil end
        return nil, object.reason(message, code), i - 1 + before
    end

    ---@return integer received, integer sent bytes
    ---@return number age in seconds
    function methods.getstats(self)
        object.check(self, kind, "getstats", class)
        return self.received, self.sent, (clock.now() - self.since) / 1000
    end

    ---@param received? integer
    ---@param sent? integer
    ---@param age? number in seconds
    ---@return 1
    function methods.setstats(self, received, sent, age)
        object.check(self, kind, "setstats", class)
        received = object.check_number(received, 1, "setstats", self.received)
        self.received = object.truncate(received)
        sent = object.check_number(sent, 2, "setstats", self.sent)
        self.sent = object.truncate(sent)
        if not check.absent(age) then
            self.since = clock.now()
                - object.check_number(age, 3, "setstats") * 1000
        end
        return 1
    end

    local DIRECTIONS = {
        receive = ms.SHUT_RD,
        send = ms.SHUT_WR,
        both = ms.SHUT_RDWR,
    }

    --- Ends one direction of the connection, or both.
    ---@see shutdown(2)
    ---@param how? "receive"|"send"|"both" both by default
    ---@return 1
    function methods.shutdown(self, how)
        object.check(self, kind, "shutdown", class)
        how = check.absent(how) and "both" or how
        if not DIRECTIONS[how] then
            error(("bad argument #1 to 'shutdown' (invalid option '%s')")
                :format(tostring(how)), 2)
        end
        ms.shutdown(self.owner.fd, DIRECTIONS[how])
        return 1
    end
end

return stream
