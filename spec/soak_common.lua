--- What the soak's server and its clients have in common: what the bytes of a
--- connection are, their sums, and pauses.
local bit = require "bit"
local ffi = require "ffi"
local luasocket = require "minisock.luasocket"

local bxor, band, rshift = bit.bxor, bit.band, bit.rshift

local common = {}

---------------------------------------------------------------------------
-- The bytes of a connection: random ones, from a place that its id tells
---------------------------------------------------------------------------

--- How many bytes lie in one piece, wherever a connection is.
common.LONGEST = 65536

local SIZE = 2^20 - 3 -- not a multiple of what is sent or read at once
local block = ffi.new("uint8_t[?]", SIZE + common.LONGEST)

--- Fills the block. The same seed gives the same bytes.
function common.seed(seed)
    math.randomseed(seed)
    for i = 0, SIZE - 1 do block[i] = math.random(0, 255) end
    ffi.copy(block + SIZE, block, common.LONGEST)
end

--- Where in memory a connection's bytes are, after so many of them.
function common.bytes(id, count)
    return block + (id * 7919 + count) % SIZE
end

---------------------------------------------------------------------------
-- Sums: CRC-32
---------------------------------------------------------------------------

local crc = ffi.new("int32_t[256]")
for i = 0, 255 do
    local c = i
    for _ = 1, 8 do
        c = bxor(rshift(c, 1), band(c, 1) == 1 and 0xedb88320 or 0)
    end
    crc[i] = c
end

--- Goes on summing, from 0, with n bytes of memory.
function common.sum(sum, bytes, n)
    for i = 0, n - 1 do
        sum = bxor(rshift(sum, 8), crc[band(bxor(sum, bytes[i]), 255)])
    end
    return sum
end

--- The sum of a connection's first so many bytes.
function common.expected_sum(id, count)
    local sum, done = -1, 0
    while done < count do
        local n = math.min(count - done, common.LONGEST)
        sum = common.sum(sum, common.bytes(id, done), n)
        done = done + n
    end
    return sum
end

---------------------------------------------------------------------------
-- What a connection begins with: its id, its fate, and when that comes
---------------------------------------------------------------------------

common.HEADER = 16

function common.header(id, fate, at)
    return ("%08x%s%07x"):format(id, fate, at)
end

function common.parse_header(text)
    local id, fate, at = text:match("^(%x%x%x%x%x%x%x%x)(%l)(%x+)$")
    return tonumber(id, 16), fate, tonumber(at, 16)
end

---------------------------------------------------------------------------
-- Pauses
---------------------------------------------------------------------------

common.now = luasocket.gettime

local TICK = 0.01

--- A list of what is to go on later: alarms[tick] = { connections }.
function common.alarms()
    return { tick = math.floor(common.now() / TICK) }
end

--- Makes a connection wait for a random time, up to half a second.
function common.set_alarm(alarms, connection)
    local tick = alarms.tick + math.random(1, 50)
    local list = alarms[tick] or {}
    list[#list + 1], alarms[tick] = connection, list
    connection.asleep = tick
end

--- Calls for each connection that has waited long enough, unless it was woken
--- before.
function common.ring(alarms, call)
    local now = math.floor(common.now() / TICK)
    while alarms.tick < now do
        alarms.tick = alarms.tick + 1
        local list = alarms[alarms.tick]
        alarms[alarms.tick] = nil
        for _, connection in ipairs(list or {}) do
            if connection.asleep == alarms.tick then
                connection.asleep = nil
                call(connection)
            end
        end
    end
end

--- Says something to who has started this.
function common.say(...)
    print(...)
    io.stdout:flush()
end

return common
