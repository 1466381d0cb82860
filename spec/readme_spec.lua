local ms = require "minisock"
local nginx = require "spec.nginx"
local servers = require "spec.servers"
local support = require "spec.support"

-- The fenced blocks of Lua code in a page that say what they print.
local function examples(page)
    local found = {}
    for block in support.slurp(page):gmatch("\n```lua\n(.-)\n```\n") do
        if block:find("-->", 1, true) then found[#found + 1] = block end
    end
    return found
end

-- What the comments say that the block prints.
local function promised(block)
    local lines = {}
    for line in block:gmatch("%-%-> ?([^\n]*)") do
        lines[#lines + 1] = line .. "\n"
    end
    return table.concat(lines)
end

-- How often each name is followed by a parenthesis, in the left column of the
-- page's tables and in its lists.
local function documented(page, pattern)
    local names = {}
    for name in support.slurp(page):gmatch(pattern) do names[name] = true end
    return names
end

local EXAMPLES = {
    ["README.md"] = 6,
    ["docs/socket.md"] = 1,
    ["docs/lsocket.md"] = 1,
    ["docs/llsocket.md"] = 1,
    ["docs/luasocket.md"] = 1,
    ["docs/resty.md"] = 1,
}

describe("the pages", function()
    before_each(support.setup)
    after_each(support.teardown)

    for page, count in pairs(EXAMPLES) do
        it("of " .. page .. " have examples that print what they say",
            function()
                local found = examples(page)
                assert.are.equal(count, #found)
                for _, block in ipairs(found) do
                    local output, status = support.run(block)
                    assert.are.equal(promised(block), output)
                    assert.are.equal(0, status)
                end
            end)
    end
end)

describe("the README's examples for nginx", function()
    before_each(support.setup)

    after_each(function()
        servers.stop()
        support.teardown()
    end)

    local page = support.slurp("README.md")
    local confs = {}
    for conf in page:gmatch("\n```nginx\n(.-)\n```\n") do
        confs[#confs + 1] = conf
    end

    -- What nginx answers, with an example's configuration.
    local function answer_of(conf, files)
        local port = nginx.free_port()
        servers.nginx(conf:gsub("8080", port), files)
        return support.shell(
            "curl -sS --max-time 10 http://127.0.0.1:" .. port .. "/")
    end

    it("are all run here", function()
        assert.are.equal(2, #confs)
    end)

    it("asks Redis in init_by_lua", function()
        local redis = servers.redis()
        support.shell(("redis-cli -p %d set greeting hello")
            :format(redis.port))
        -- Debian has lua-resty-redis under another name.
        local files =
            { ["resty/redis.lua"] = 'return require "nginx.redis"\n' }
        local answer = answer_of(confs[1]:gsub("6379", redis.port), files)
        assert.are.equal("hello\n", answer)
    end)

    it("counts requests from log_by_lua", function()
        local collector =
            support.keep(ms.udpsocket(ms.inetaddr("127.0.0.1", 0)))
        local addr = ms.parseaddr(ms.getsockname(collector))
        local module =
            page:match("\n```lua\n(%-%- hits.lua\n.-)\n```\n")
                :gsub("8125", addr.port)
        assert.are.equal("hello\n",
            answer_of(confs[2], { ["hits.lua"] = module }))
        assert.are.equal("requests:1|c", (ms.recvfrom(collector, 5000)))
    end)
end)

-- The functions of a table that a page doesn't name, and the names on the page
-- that the table doesn't have.
local function compare(names, actual)
    local problems = {}
    for name in pairs(names) do
        if type(actual[name]) ~= "function" then
            problems[#problems + 1] = name .. " isn't there"
        end
    end
    for name, value in pairs(actual) do
        if type(value) == "function" and not name:find("^__")
                and not names[name] then
            problems[#problems + 1] = name .. " isn't documented"
        end
    end
    return problems
end

describe("documentation and code name the same functions:", function()
    it("the core", function()
        local names = documented("README.md", "%f[%w_]ms%.([%l%d]+)%(")
        for row in support.slurp("README.md"):gmatch("\n| (`[^|]*)|") do
            for name in row:gmatch("`([%l%d]+)%(") do names[name] = true end
        end
        assert.are.same({}, compare(names, ms))
    end)

    it("minisock.socket", function()
        local socket = require "minisock.socket"
        assert.are.same({}, compare(
            documented("docs/socket.md", "`socket%.([%l%d]+)%("), socket))
        local sock = assert(socket.tcp())
        assert.are.same({}, compare(
            documented("docs/socket.md", "`sock:([%l%d]+)%("),
            getmetatable(sock)))
        sock:close()
    end)

    -- The names before a parenthesis anywhere in the left column.
    local function in_left_column(page, prefix)
        local names = {}
        for row in support.slurp(page):gmatch("\n| (`[^|]*)|") do
            for name in row:gmatch("[`]" .. prefix .. "([%l%d]+)%(") do
                names[name] = true
            end
        end
        return names
    end

    it("minisock.resty", function()
        local resty = require "minisock.resty"
        local page = "docs/resty.md"
        assert.are.same({}, compare(in_left_column(page, ""), resty))
        local names = in_left_column(page, "sock:")
        names.setclientcert = true -- among what differs
        local methods = getmetatable(resty.tcp()).__index
        local udp = getmetatable(resty.udp()).__index
        assert.are.same({}, compare(names,
            setmetatable({ setpeername = udp.setpeername },
                { __index = methods })))
        for name in pairs(udp) do
            if not name:find("^__") then assert.is_true(names[name]) end
        end
        for name in pairs(methods) do
            if not name:find("^__") then assert.is_true(names[name]) end
        end
    end)

    it("minisock.luasocket", function()
        local core = require "minisock.luasocket"
        local unix = require "minisock.luasocket.unix"
        local page = support.slurp("docs/luasocket.md")
        for name, value in pairs(core) do
            if type(value) == "function" and not name:find("^__") then
                assert.is_truthy(page:find("`" .. name .. "`", 1, true), name)
            end
        end
        for name in pairs(core.dns) do
            assert.is_truthy(page:find("`dns." .. name .. "`", 1, true), name)
        end
        local options = require "minisock.luasocket.options"
        for kind, title in pairs({ tcp = "TCP", udp = "UDP", unix = "Unix" })
        do
            local row = page:match("\n| " .. title .. " | ([^\n]*) |\n")
            local names = {}
            for name in row:gmatch("`([^`]*)`") do names[name] = true end
            for name in pairs(options[kind]) do
                assert.is_true(names[name], name)
                names[name] = nil
            end
            assert.are.same({}, names)
        end
        assert.is_function(unix.stream)
        assert.is_function(unix.dgram)
    end)

    it("minisock.lsocket", function()
        local lsocket = require "minisock.lsocket"
        assert.are.same({}, compare(
            documented("docs/lsocket.md", "`lsocket%.([%l%d]+)%("), lsocket))
        local sock = assert(lsocket.bind("127.0.0.1", 0))
        assert.are.same({}, compare(
            documented("docs/lsocket.md", "`sock:([%l%d]+)%("),
            getmetatable(sock).__index))
        sock:close()
    end)

    it("minisock.llsocket", function()
        local llsocket = require "minisock.llsocket"
        local page = "docs/llsocket.md"
        for _, module in ipairs({ "inet", "unix", "socket", "device" }) do
            assert.are.same({}, compare(
                documented(page, "`" .. module .. "%.([%l%d]+)%("),
                llsocket[module]))
        end
        local names = documented(page, "`sock:([%l%d]+)%(")
        for row in support.slurp(page):gmatch("\n| [%l ]+ | (`[^\n]*)") do
            for words in row:gmatch("`([%l%d ]+)`") do
                for name in words:gmatch("%S+") do names[name] = true end
            end
        end
        local sock = assert(llsocket.socket.pair(llsocket.SOCK_STREAM))[1]
        for name in pairs(names) do
            assert.is_function(sock[name], name)
        end
        assert.is_true(names.mcastif and names.tcpnodelay and names.rcvtimeo)
    end)
end)
