--- Peers whose behaviour a spec spells out, step by step; spec/peer.py has the
--- list of steps. Another program, so that nothing of ours is at both ends.
local support = require "spec.support"

local peer = {}

local function quote(text)
    return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Starts a peer, until the end of the test.
---@param kind string "tcp", "tcp6", "udp", "unix:PATH" or "unixdgram:PATH"
---@param ... string the steps that it runs for each connection or datagram
---@return table process with `port`; process:expect("^got (.*)") reads reports
function peer.start(kind, ...)
    local words = { "python3", "spec/peer.py", quote(kind) }
    for _, step in ipairs({ ... }) do words[#words + 1] = quote(step) end
    local process = support.spawn(table.concat(words, " "))
    if kind:find("^unix%w*:") then
        process:expect("^ready")
    else
        process.port = tonumber(process:expect("^port (%d+)"))
    end
    return process
end

--- Starts many peers in one process, which takes a tenth of a second less for
--- each.
---@param file string the name of a file to write, which may go at once
---@param peers string[][] the kind and the steps of each
---@return table process with `ports`, false where there is a path instead
function peer.start_all(file, peers)
    local lines = {}
    for i, words in ipairs(peers) do
        lines[i] = table.concat(words, "\t") .. "\n"
    end
    support.spit(file, table.concat(lines))
    local process = support.spawn("python3 spec/peer.py @" .. quote(file))
    process.ports = {}
    for i = 1, #peers do
        local port = process:expect("(%w+)$")
        process.ports[i] = tonumber(port) or false
    end
    return process
end

return peer
