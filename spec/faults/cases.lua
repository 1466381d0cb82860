--- The table of cases: what the kernel does to sockets, row by row, and the
--- spec that shows what minisock gives there. A row has the files that show it,
--- or why there is nothing to show.
local HERE = "spec/faults/"

-- Row by row, as the page on reliability numbers them.
local cases = {
    -- EINTR
    ["1"] = HERE .. "eintr_spec.lua",
    ["2"] = HERE .. "eintr_spec.lua",
    ["3"] = HERE .. "eintr_spec.lua",
    ["4"] = HERE .. "eintr_spec.lua",
    ["5"] = HERE .. "eintr_spec.lua",
    ["6"] = HERE .. "eintr_spec.lua",
    -- Partial I/O
    ["7"] = HERE .. "partial_spec.lua",
    ["8"] = HERE .. "partial_spec.lua",
    ["9"] = HERE .. "partial_spec.lua",
    ["10"] = HERE .. "partial_spec.lua",
    -- SIGPIPE
    ["11"] = HERE .. "sigpipe_spec.lua",
    ["12"] = HERE .. "sigpipe_spec.lua",
    ["13"] = HERE .. "sigpipe_spec.lua",
    -- Ends of connections
    ["14"] = HERE .. "ending_spec.lua",
    ["15"] = HERE .. "ending_spec.lua",
    ["16"] = HERE .. "ending_spec.lua",
    ["17"] = HERE .. "ending_spec.lua",
    ["18"] = HERE .. "ending_spec.lua",
    ["19"] = HERE .. "ending_spec.lua",
    ["20"] = HERE .. "ending_spec.lua",
    ["21"] = HERE .. "ending_spec.lua",
    ["22"] = HERE .. "ending_spec.lua",
    -- poll
    ["23"] = HERE .. "poll_spec.lua",
    ["24"] = HERE .. "poll_spec.lua",
    ["25"] = HERE .. "poll_spec.lua",
    ["26"] = HERE .. "poll_spec.lua",
    ["27"] = HERE .. "poll_spec.lua",
    ["28"] = HERE .. "poll_spec.lua",
    -- Connecting
    ["29"] = HERE .. "connect_spec.lua",
    ["30"] = HERE .. "connect_spec.lua",
    ["31"] = HERE .. "connect_spec.lua",
    ["32"] = HERE .. "connect_spec.lua",
    ["33"] = HERE .. "connect_spec.lua",
    ["34"] = HERE .. "connect_spec.lua",
    ["35"] = HERE .. "connect_spec.lua",
    ["35b"] = "spec/networks_spec.lua",
    -- Accepting
    ["36"] = HERE .. "accept_spec.lua",
    ["37"] = HERE .. "accept_spec.lua",
    ["38"] = HERE .. "accept_spec.lua",
    ["39"] = HERE .. "accept_spec.lua",
    ["40"] = HERE .. "accept_spec.lua",
    -- UDP
    ["41"] = HERE .. "udp_spec.lua",
    ["42"] = HERE .. "udp_spec.lua",
    ["43"] = HERE .. "udp_spec.lua",
    ["44"] = HERE .. "udp_spec.lua",
    ["45"] = HERE .. "udp_spec.lua",
    ["46"] = HERE .. "udp_spec.lua",
    -- Ancillary data
    ["47"] = HERE .. "ancillary_spec.lua",
    ["48"] = HERE .. "ancillary_spec.lua",
    ["49"] = HERE .. "ancillary_spec.lua",
    ["50"] = { nothing = "the room for control messages is minisock's own, "
        .. "and takes the most that a message can carry" },
    ["51"] = HERE .. "ancillary_spec.lua",
    ["52"] = HERE .. "ancillary_spec.lua",
    ["53"] = HERE .. "ancillary_spec.lua",
    -- Unix sockets
    ["54"] = HERE .. "unix_spec.lua",
    ["55"] = HERE .. "unix_spec.lua",
    ["56"] = HERE .. "unix_spec.lua",
    ["57"] = HERE .. "unix_spec.lua",
    ["58"] = HERE .. "unix_spec.lua",
    ["59"] = HERE .. "unix_spec.lua",
    ["60"] = HERE .. "unix_spec.lua",
    ["61"] = HERE .. "unix_spec.lua",
    ["62"] = HERE .. "unix_spec.lua",
    -- IPv6 and names
    ["63"] = HERE .. "names_spec.lua",
    ["64"] = HERE .. "names_spec.lua",
    ["65"] = HERE .. "names_spec.lua",
    ["66"] = HERE .. "names_spec.lua",
    ["67"] = HERE .. "names_spec.lua",
    ["68"] = "spec/name_servers_spec.lua",
    ["68b"] = "spec/name_servers_spec.lua",
    -- Binding, closing and what is left
    ["69"] = HERE .. "binding_spec.lua",
    ["70"] = HERE .. "binding_spec.lua",
    ["71"] = HERE .. "binding_spec.lua",
    ["72"] = HERE .. "binding_spec.lua",
    ["73"] = { nothing = "there is no FIONREAD: what is there is read "
        .. "without waiting, with a timeout of 0" },
    ["74"] = HERE .. "binding_spec.lua",
    ["75"] = HERE .. "binding_spec.lua",
    ["76"] = HERE .. "binding_spec.lua",
    ["77"] = HERE .. "binding_spec.lua",
    ["78"] = HERE .. "binding_spec.lua",
    ["79"] = HERE .. "binding_spec.lua",
    ["80"] = HERE .. "binding_spec.lua",
}

return cases
