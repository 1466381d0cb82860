--- The small part of OpenResty's `ngx` that clients touch when they are loaded,
--- for plain LuaJIT and for worker threads, which lack it. Stands on LuaJIT
--- alone; re.sub, on lrexlib.

local stand_in = {}

local LEVELS = {
    STDERR = 0, EMERG = 1, ALERT = 2, CRIT = 3, ERR = 4,
    WARN = 5, NOTICE = 6, INFO = 7, DEBUG = 8,
}

-- Standard error is nginx's first log, and the only one in plain LuaJIT.
local function log(level, ...)
    if level > LEVELS.WARN then return end
    local words = {}
    for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
    io.stderr:write(table.concat(words), "\n")
end

local function escape_uri(text)
    return (tostring(text):gsub("[^%w%-._~!'()*]", function(char)
        return ("%%%02X"):format(char:byte())
    end))
end

local function unescape_uri(text)
    return (tostring(text):gsub("%+", " "):gsub("%%(%x%x)", function(digits)
        return string.char(tonumber(digits, 16))
    end))
end

-- nginx writes "$1", "${1}" and "$$" for what lrexlib writes as "%1" and "$".
local function replacement(text)
    return (text:gsub("%%", "%%%%"):gsub("%$(%$?)({?%d*}?)",
        function(dollar, group)
            local number = dollar == "" and group:match("%d+")
            return number and "%" .. number or "$" .. group
        end))
end

local function regex_sub(subject, regex, replace, options)
    local found, rex = pcall(require, "rex_pcre2")
    if not found then
        error("ngx.re.sub needs lrexlib, which isn't installed "
            .. "(lua-rex-pcre2 in Debian, lrexlib-pcre2 in LuaRocks)", 2)
    end
    local flags = (options or ""):gsub("[jo]", "") -- these are for speed
    local done, result, _, count =
        pcall(rex.gsub, subject, regex, replacement(replace), 1, flags)
    if not done then return nil, nil, result end
    return result, count
end

local PARTS = {
    null = newproxy(false),
    log = log,
    escape_uri = escape_uri,
    unescape_uri = unescape_uri,
    re = { sub = regex_sub },
}
for name, level in pairs(LEVELS) do PARTS[name] = level end

--- Adds what a table lacks of these.
---@param ngx table
function stand_in.fill(ngx)
    for name, part in pairs(PARTS) do
        if ngx[name] == nil then ngx[name] = part end
    end
end

return stand_in
