local lfs = require "lfs"
local support = require "spec.support"

local FILES = { "minisock.lua" }
local function list_files(folder)
    for name in lfs.dir(folder) do
        local path = folder .. "/" .. name
        if name:find("%.lua$") then
            FILES[#FILES + 1] = path
        elseif not name:find("^%.") then
            list_files(path)
        end
    end
end
list_files("minisock")

local BUILD = package.searchpath("minisock.shim", package.cpath)
    :match("^(.*)/minisock/shim%.so$")

-- What make was told above isn't meant for the makes below.
local CLEAN = "env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u MAKEOVERRIDES "
    .. "-u DESTDIR -u PREFIX -u LUA_LIB_DIR -u LUA_C_DIR -u LUA_PATH "
    .. "-u LUA_CPATH "

local INSTALL = CLEAN .. "make install BUILD='" .. BUILD .. "' "

local function is_file(name)
    return lfs.attributes(name, "mode") == "file"
end

local function sh(command, ...)
    local output, status = support.shell(command:format(...))
    assert.are.equal(0, status, output)
    return output
end

-- All files below a directory, in order.
local function tree(dir)
    return sh("cd '%s' && find . -type f | LC_ALL=C sort", dir)
end

local function expected_tree(lua, c)
    local list = { ("./%s/minisock/shim.so\n"):format(c) }
    for _, name in ipairs(FILES) do
        list[#list + 1] = ("./%s/%s\n"):format(lua, name)
    end
    table.sort(list)
    return table.concat(list)
end

-- Where everything is found, and that it works there.
local PROGRAM = [==[
local ms = require "minisock"
local server, addr = assert(ms.bind("127.0.0.1", 0))
local client = assert(ms.connect(addr, nil, 5000))
local peer = assert(ms.accept(server, 5000))
assert(ms.write(client, "installed"))
print(ms.read(peer, 5000), ms.getaddrinfo("127.0.0.1")[1] ~= nil)
for name in pairs(package.loaded) do
    if name:find("^minisock") then
        local path = assert(package.searchpath(name, package.path))
        assert(path:sub(1, #arg[1]) == arg[1], path)
    end
end
local shim = package.searchpath("minisock.shim", package.cpath)
assert(shim:sub(1, #arg[2]) == arg[2], shim)
for line in io.lines("/proc/self/maps") do
    local path = line:match("%S*/minisock/shim%.so$")
    assert(not path or path == shim, path)
end
]==]

local _, no_luarocks = support.shell("command -v luarocks")

describe("make install", function()
    local dir, made

    local function built()
        return sh("find '%s' -type f -exec ls -l --full-time {} +", BUILD)
    end

    setup(function() dir = support.mkdtemp() end)
    teardown(function() support.rmtree(dir) end)

    before_each(function()
        support.setup()
        made = built()
    end)

    after_each(function()
        support.teardown()
        assert.are.equal(made, built())
    end)

    local function works(lua, c)
        local program = support.spit(dir .. "/program.lua", PROGRAM)
        assert.are.equal("installed\ttrue\n", sh(CLEAN .. "-C / "
            .. "LUA_PATH='%s/?.lua' LUA_CPATH='%s/?.so' %s %s %s %s",
            lua, c, support.luajit, program, lua, c))
    end

    it("puts the Lua files and the shim below PREFIX", function()
        local root = dir .. "/root"
        sh(INSTALL .. "DESTDIR=%s PREFIX=/opt/x", root)
        assert.are.equal(
            expected_tree("opt/x/share/lua/5.1", "opt/x/lib/lua/5.1"),
            tree(root))
        works(root .. "/opt/x/share/lua/5.1", root .. "/opt/x/lib/lua/5.1")
    end)

    it("takes /usr/local when nothing is said", function()
        local root = dir .. "/default"
        sh(INSTALL .. "DESTDIR=%s", root)
        assert.are.equal(
            expected_tree("usr/local/share/lua/5.1", "usr/local/lib/lua/5.1"),
            tree(root))
    end)

    it("lets LUA_LIB_DIR and LUA_C_DIR decide", function()
        local root = dir .. "/override"
        sh(INSTALL .. "PREFIX=/none LUA_LIB_DIR=%s/lualib "
            .. "LUA_C_DIR=%s/c/5.1", root, root)
        assert.are.equal(expected_tree("lualib", "c/5.1"), tree(root))
        works(root .. "/lualib", root .. "/c/5.1")
    end)

    it("makes files that everyone can read", function()
        local root = dir .. "/modes"
        sh("umask 077 && " .. INSTALL .. "DESTDIR=%s PREFIX=/", root)
        assert.are.equal("", sh("find %s/share %s/lib -type f ! -perm -444",
            root, root))
    end)

    it("builds what isn't there, in a copy of the sources", function()
        local copy, root = dir .. "/copy", dir .. "/fresh"
        assert(lfs.mkdir(copy))
        sh("tar -c --exclude=./build --exclude=./.git . | tar -x -C %s", copy)
        sh("cd %s && " .. CLEAN .. "make install DESTDIR=%s PREFIX=/usr",
            copy, root)
        sh("rm -r %s", copy)
        works(root .. "/usr/share/lua/5.1", root .. "/usr/lib/lua/5.1")
    end)

    if no_luarocks ~= 0 or not is_file("minisock-scm-1.rockspec") then
        pending("luarocks make (there is no luarocks here)")
        return
    end

    it("luarocks make does it too, without a network", function()
        local copy, rocks = dir .. "/rock", dir .. "/rocks"
        assert(lfs.mkdir(copy))
        sh("tar -c --exclude=./build --exclude=./.git . | tar -x -C %s", copy)
        sh("cd %s && " .. CLEAN .. "HOME=%s http_proxy=http://127.0.0.1:1 "
            .. "https_proxy=http://127.0.0.1:1 luarocks make --tree %s "
            .. "--lua-version 5.1 minisock-scm-1.rockspec", copy, dir, rocks)
        sh("rm -r %s", copy)
        works(rocks .. "/share/lua/5.1", rocks .. "/lib/lua/5.1")
    end)
end)
