--- receiveuntil's iterator: reads up to a text that ends each part of a stream.
--- Stands on minisock.check and, through the function it is given, on a
--- connection of minisock.resty.
local check = require "minisock.check"

local pattern = {}

-- Takes what comes before the text, out of the buffer as it comes, so that
-- no byte is searched twice; or the `room` that is left of a piece's size.
local function take(buffered, wanted)
    local before, found = buffered:search(wanted.text)
    local count = math.min(before, wanted.room)
    wanted.pieces[#wanted.pieces + 1] = buffered:take(count)
    wanted.room = wanted.room - count
    if wanted.room > 0 and found then
        local text = buffered:take(#wanted.text)
        if wanted.inclusive then wanted.pieces[#wanted.pieces + 1] = text end
        wanted.found = true
    end
    if wanted.room == 0 or wanted.found then
        return table.concat(wanted.pieces)
    end
end

local function check_size(size)
    local number = check.number(size)
    if not number then
        error(("bad argument #1 to 'iterator' (number expected, got %s)")
            :format(type(size)), 3)
    end
    if number < 1 or number ~= number then return math.huge end
    return math.floor(number)
end

--- Makes an iterator.
---@param read fun(take: function, wanted: table): string?, string?, string?
--- what reads from the socket: returns data; or nil, a reason and, at the end
--- of the stream, what came before it
---@param text string
---@param inclusive boolean? whether the text is part of what it ends
---@return fun(size?: integer): string?, string?, string?
function pattern.iterator(read, text, inclusive)
    local said = false -- the text was found, but not yet said in three nils
    return function(size)
        local room = check.absent(size) and math.huge or check_size(size)
        if said then
            said = false
            return nil, nil, nil
        end
        local wanted =
            { text = text, inclusive = inclusive, pieces = {}, room = room }
        local data, reason, rest = read(take, wanted)
        if data then
            said = room < math.huge and wanted.found or false
            return data
        end
        if not rest then return nil, reason end
        return nil, reason, table.concat(wanted.pieces) .. rest
    end
end

return pattern
