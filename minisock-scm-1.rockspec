rockspec_format = "3.0"
package = "minisock"
version = "scm-1"
source = { url = "git+file://." }
description = {
    summary = "Sockets for LuaJIT and OpenResty, by FFI and a small C shim",
    detailed = [[
TCP, UDP and Unix sockets, IPv4 and IPv6, with true timeouts and the errno of
every failure. No Lua C API: one build serves LuaJIT 2.1 and OpenResty's
luajit2, in every phase of nginx, and survives a hot reload.]],
    license = "MIT",
}
supported_platforms = { "linux" }
dependencies = { "lua == 5.1" }
build = {
    type = "make",
    build_target = "all",
    build_variables = {
        CC = "$(CC)",
        CFLAGS = "$(CFLAGS)",
    },
    install_variables = {
        LUA_LIB_DIR = "$(LUADIR)",
        LUA_C_DIR = "$(LIBDIR)",
        CFLAGS = "$(CFLAGS)",
    },
}
