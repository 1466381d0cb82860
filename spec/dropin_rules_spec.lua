local lfs = require "lfs"
local servers = require "spec.servers"
local support = require "spec.support"

-- The drop-ins, none of which stands on another.
local DROPINS = { "llsocket", "lsocket", "luasocket", "resty", "socket" }

-- The Lua files of a folder and of those below it.
local function files_below(folder, list)
    list = list or {}
    for name in lfs.dir(folder) do
        local path = folder .. "/" .. name
        if name:find("%.lua$") then
            list[#list + 1] = path
        elseif not name:find("^%.")
                and lfs.attributes(path, "mode") == "directory" then
            files_below(path, list)
        end
    end
    table.sort(list)
    return list
end

-- A drop-in's file and those of its folder.
local function files_of(name)
    local list = { ("minisock/%s.lua"):format(name) }
    local folder = "minisock/" .. name
    if lfs.attributes(folder) then files_below(folder, list) end
    return list
end

-- The names that are required, comments and strings of other kinds aside.
local function required(source)
    local names = {}
    for name in source:gmatch("%f[%w_]require%s*%(?%s*[\"']([^\"']+)[\"']") do
        names[#names + 1] = name
    end
    return names
end

local function without_comments(source)
    return (source:gsub("%-%-%[%[.-%]%]", ""):gsub("%-%-[^\n]*", ""))
end

-- Which drop-in a module belongs to, if any.
local function dropin_of(module)
    for _, name in ipairs(DROPINS) do
        if module == "minisock." .. name
                or module:find("^minisock%." .. name .. "%.") then
            return name
        end
    end
end

describe("the drop-ins' files", function()
    before_each(support.setup)
    after_each(support.teardown)

    for _, name in ipairs(DROPINS) do
        it("of " .. name .. " leave the FFI to the core", function()
            for _, file in ipairs(files_of(name)) do
                local source = without_comments(support.slurp(file))
                for _, module in ipairs(required(source)) do
                    assert.are_not.equal("ffi", module, file)
                    assert.is_nil(module:find("cdefs", 1, true), file)
                end
                assert.is_nil(source:find("%f[%w_]ffi%f[^%w_]"), file)
            end
        end)

        it("of " .. name .. " stand on no other drop-in", function()
            for _, file in ipairs(files_of(name)) do
                local source = without_comments(support.slurp(file))
                for _, module in ipairs(required(source)) do
                    local other = dropin_of(module)
                    assert.is_true(other == nil or other == name,
                        ("%s requires %s"):format(file, module))
                end
            end
        end)
    end

    -- So that the above can't pass for having read nothing.
    it("are found", function()
        for _, name in ipairs({ "luasocket", "resty", "llsocket" }) do
            assert.is_true(#files_of(name) > 3, name)
        end
        assert.are.same({ "a.b", "c", "ffi" }, required(
            [[local x = require "a.b"; local y = require("c").d
            pcall(f, require 'ffi')]]))
    end)

    it("keep the core away from them", function()
        local mine = {}
        for _, name in ipairs(DROPINS) do
            for _, file in ipairs(files_of(name)) do mine[file] = true end
        end
        local others = 0
        for _, file in ipairs(files_below("minisock")) do
            if not mine[file] and not file:find("^minisock/dropin/") then
                others = others + 1
                for _, module in ipairs(required(support.slurp(file))) do
                    assert.is_nil(dropin_of(module),
                        ("%s requires %s"):format(file, module))
                end
            end
        end
        assert.is_true(others > 5)
    end)

    it("have names of one line each", function()
        local count = 0
        for _, file in ipairs(files_below("minisock/dropin")) do
            local module =
                support.slurp(file):match('^return require "([%w.]+)"\n$')
            assert(module, file)
            assert.is_truthy(dropin_of(module), file)
            assert.is_truthy(package.searchpath(module, package.path), file)
            count = count + 1
        end
        assert.is_true(count >= 9, count)
    end)
end)

describe("the folder of drop-ins", function()
    local root = lfs.currentdir()
    local dropin = root .. "/minisock/dropin/?.lua"

    before_each(support.setup)
    after_each(support.teardown)

    -- What a program prints that has nothing but a path to find them by.
    local function run(path, program)
        servers.need_module("socket", "lua-socket")
        local name = support.spit(support.tmpname(), program)
        local output, status = support.shell(
            ("LUA_PATH='%s' %s %s"):format(path, support.luajit, name))
        assert.are.equal(0, status, output)
        return output
    end

    -- minisock itself isn't installed, and comes from here.
    local BEHIND = (";;%s/?.lua;%s"):format(root, dropin)
    local BEFORE = ("%s;%s/?.lua;;"):format(dropin, root)

    it("behind the path makes LuaSocket ours", function()
        assert.are.equal("true\ntrue\ntrue\ntrue\ntrue\n", run(BEHIND, [[
            local socket = require "socket"
            local core = require "minisock.luasocket"
            -- LuaSocket's own file adds this to the core.
            local file = debug.getinfo(socket.choose, "S").source
            print(file:find("minisock", 1, true) == nil)
            print(socket.tcp == core.tcp)
            print(package.loaded["socket.core"] == core)
            print(require("socket.unix") == require("minisock.luasocket.unix"))
            print(package.searchpath("socket", package.path)
                :find("/dropin/", 1, true) == nil)
        ]]))
    end)

    it("behind the path serves LuaSocket's own modules", function()
        assert.are.equal("function\n1\n", run(BEHIND, [[
            print(type(require("socket.http").request))
            local socket = require "socket"
            local server = assert(socket.bind("127.0.0.1", 0))
            local _, port = server:getsockname()
            local client = assert(socket.connect("127.0.0.1", port))
            local peer = assert(server:accept())
            client:send("x")
            print(#peer:receive(1))
        ]]))
    end)

    it("in front of the path is lua-ssocket", function()
        assert.are.equal("true\nnil\n", run(BEFORE, [[
            local socket = require "socket"
            print(socket == require "minisock.socket")
            print(package.loaded["minisock.luasocket"])
        ]]))
    end)

    it("has a socket.core and a socket.unix in front, too", function()
        assert.are.equal("true\ntrue\n", run(BEFORE, [[
            print(require "socket.core" == require "minisock.luasocket")
            print(require "socket.unix" == require "minisock.luasocket.unix")
        ]]))
    end)

    it("has lsocket and llsocket wherever it is", function()
        for _, path in ipairs({ BEFORE, BEHIND }) do
            assert.are.equal("true\ntrue\ntrue\n", run(path, [[
                print(require "lsocket" == require "minisock.lsocket")
                print(require "llsocket" == require "minisock.llsocket")
                print(require "llsocket.inet"
                    == require "minisock.llsocket.inet")
            ]]))
        end
    end)
end)
