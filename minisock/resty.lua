--- Look-alikes of OpenResty's cosockets, for where cosockets are refused: the
--- same objects, methods, results and words, over sockets that block. Stands on
--- minisock.resty.*, which stand on minisock.
local check = require "minisock.check"
local stand_in = require "minisock.resty.ngx"
local tcp = require "minisock.resty.tcp"
local udp = require "minisock.resty.udp"

local resty = {
    tcp = tcp.new,
    stream = tcp.new,
    udp = udp.new,
    connect = tcp.connect,
}

--- The file of certificates that sslhandshake trusts when it is to verify:
--- by default those of the system.
---@param path string
function resty.trust(path)
    tcp.trusted_certificate = check.string(path, 1, "trust")
end

-- Whether nginx has cosockets in a phase; nginx is asked once for each.
local has_cosockets = {}

local function in_cosocket_phase(ngx, cosockets)
    local phase = ngx.get_phase()
    local known = has_cosockets[phase]
    if known == nil then
        known = pcall(cosockets.tcp)
        has_cosockets[phase] = known
    end
    return known, phase
end

-- Where nobody's request is held up, or the only one is this thread's.
local MAY_BLOCK = { init = true, init_worker = true, exit_worker = true }

local function warn_of(ngx, phase)
    ngx.log(ngx.WARN, "minisock: a socket in the phase ", phase, " blocks: ",
        "this worker serves no other request while it waits. Say ",
        'require("minisock.resty").install({ warn = false }) if that is meant')
end

local NAMES = { "tcp", "udp", "stream", "connect" }

-- What takes the place of one function of ngx.socket's.
local function choose(ngx, cosockets, name, warning)
    return function(...)
        local usable, phase = in_cosocket_phase(ngx, cosockets)
        if usable then return cosockets[name](...) end
        if warning.wanted and not MAY_BLOCK[phase] then
            warning.wanted = false
            warn_of(ngx, phase)
        end
        return resty[name](...)
    end
end

-- ngx.socket's own functions, also when they were replaced before, by this
-- module as it was before a reload.
local function keep_cosockets(socket)
    if not socket.cosockets then
        local kept = {}
        for _, name in ipairs(NAMES) do kept[name] = socket[name] end
        socket.cosockets = kept
    end
    return socket.cosockets
end

--- Makes ngx.socket choose by phase: cosockets where nginx has them, these
--- look-alikes where it refuses them. In plain LuaJIT and in worker threads it
--- makes the part of `ngx` that clients touch when they are loaded. Comes
--- before `require` of a client, which may keep what it finds.
---@param options? table warn: false for no warning, in the log, of the first
--- socket that blocks in a phase that serves requests
function resty.install(options)
    local ngx = rawget(_G, "ngx")
    if not ngx then
        ngx = {}
        rawset(_G, "ngx", ngx)
    end
    stand_in.fill(ngx)
    ngx.socket = ngx.socket or { cosockets = {} }
    local cosockets = keep_cosockets(ngx.socket)
    local warning = { wanted = not options or options.warn ~= false }
    for _, name in ipairs(NAMES) do
        ngx.socket[name] = cosockets[name]
            and choose(ngx, cosockets, name, warning) or resty[name]
    end
end

return resty
