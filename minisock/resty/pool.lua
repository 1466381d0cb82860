--- Connections that are kept open for the next who wants one of the same
--- place: a cosocket's pool, one of each Lua VM. Stands on
--- minisock.clock and minisock.owner.
---
--- Nothing runs by itself here, so what was idle for too long is closed when
--- any pool is used next.
local clock = require "minisock.clock"
local owner = require "minisock.owner"

-- As nginx has it: lua_socket_keepalive_timeout.
local IDLE_TIME = 60000

local pool = {
    --- How many connections a pool keeps: lua_socket_pool_size.
    SIZE = 30,
}

---@class minisock.resty.pool
---@field size integer
---@field [integer] table what is kept, the longest idle first

---@type table<string, minisock.resty.pool>
local pools = {}
local process = owner.process()

-- After a fork both processes have the same connections: they are those of the
-- one that made them. Here their descriptors are closed, and nothing is said
-- to the peer.
local function forget_inherited()
    local current = owner.process()
    if current == process then return end
    local inherited = pools
    process, pools = current, {}
    for _, kept in pairs(inherited) do
        for _, entry in ipairs(kept) do entry.connection:abandon() end
    end
end

local function close_expired()
    local now = clock.now()
    for name, kept in pairs(pools) do
        for i = #kept, 1, -1 do
            if kept[i].deadline <= now then
                table.remove(kept, i).connection:close()
            end
        end
        if #kept == 0 then pools[name] = nil end
    end
end

--- Keeps a connection. When the pool is full, the one that was idle longest is
--- closed.
---@param name string
---@param connection minisock.resty.connection
---@param idle_time? number in ms, 60000 by default; 0 is for ever
---@param size integer how many the pool keeps, when this is its first
function pool.keep(name, connection, idle_time, size)
    forget_inherited()
    close_expired()
    local kept = pools[name]
    if not kept then
        kept = { size = size }
        pools[name] = kept
    end
    if #kept >= kept.size then table.remove(kept, 1).connection:close() end
    idle_time = idle_time or IDLE_TIME
    kept[#kept + 1] = {
        connection = connection,
        deadline = clock.deadline(idle_time == 0 and math.huge or idle_time),
    }
end

--- A connection that was kept, the latest first. One that the peer has closed,
--- or sent something to that nobody asked for, is closed and passed over.
---@param name string
---@return minisock.resty.connection?
function pool.take(name)
    forget_inherited()
    close_expired()
    local kept = pools[name]
    while kept and #kept > 0 do
        local connection = table.remove(kept).connection
        if #kept == 0 then pools[name] = nil end
        if connection:state() == "idle" then return connection end
        connection:close()
    end
end

return pool
