local support = require "spec.support"

local function start(program, arguments)
    local process = support.spawn(("%s examples/%s %s")
        :format(support.luajit, program, arguments))
    return process, process:expect("^listening on %S+ (%d+)$")
end

local function curl(port, arguments)
    return (support.shell(("curl -sS --max-time 10 %s")
        :format(arguments:gsub("HOST", "http://127.0.0.1:" .. port))))
end

describe("the demo", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("gets everything back, over every kind of socket", function()
        local output, status = support.shell("examples/demo.sh")
        assert.are.equal(0, status, output)
        assert.matches("All of it arrived%.\n$", output)
    end)
end)

describe("the HTTP server", function()
    local port

    before_each(function()
        support.setup()
        port = select(2, start("http_server.lua", "127.0.0.1 0"))
    end)
    after_each(support.teardown)

    it("answers a GET", function()
        assert.are.equal("hello\n", curl(port, "HOST/"))
    end)

    it("keeps the connection for a second request", function()
        local used = curl(port,
            "-o /dev/null -w '%{num_connects} ' HOST/ -o /dev/null HOST/")
        assert.are.equal("1 0 ", used)
    end)

    it("closes it when asked to", function()
        local used = curl(port, "-H 'Connection: close' "
            .. "-o /dev/null -w '%{num_connects} ' HOST/ -o /dev/null HOST/")
        assert.are.equal("1 1 ", used)
    end)

    it("says 404 for what isn't there", function()
        assert.are.equal("404",
            curl(port, "-o /dev/null -w '%{http_code}' HOST/nothing"))
    end)

    it("answers a HEAD without a body, and goes on", function()
        assert.are.equal("200 0 200 6 ", curl(port, "-I -o /dev/null "
            .. "-w '%{http_code} %{size_download} ' HOST/ --next -sS "
            .. "-o /dev/null -w '%{http_code} %{size_download} ' HOST/"))
    end)

    it("says 405 for a method that it doesn't know", function()
        assert.are.equal("405",
            curl(port, "-X DELETE -o /dev/null -w '%{http_code}' HOST/"))
    end)

    it("echoes what is posted, also in many pieces", function()
        local name = support.tmpname()
        local body = {}
        for i = 1, 20000 do body[i] = ("line %d\n"):format(i) end
        support.spit(name, table.concat(body))
        assert.are.equal(table.concat(body), curl(port,
            "--data-binary @" .. name .. " HOST/echo"))
    end)

    it("refuses a body that is too long", function()
        assert.are.equal("413", curl(port, "-o /dev/null -w '%{http_code}' "
            .. "-H 'Content-Length: 99999999' -d x HOST/echo"))
    end)
end)

describe("the multicast chat", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("reaches everybody in the group", function()
        local program = ("%s examples/multicast_chat.lua %%s 239.192.7.7 %d")
            :format(support.luajit, 20000 + math.random(9999))
        local bob = support.spawn("sleep 60 | " .. program:format("bob"))
        bob:expect("bob: is here$")
        support.shell("echo hi bob | " .. program:format("ann"))
        assert.are.equal("ann: hi bob", bob:expect("(ann: hi .*)$"))
    end)
end)
