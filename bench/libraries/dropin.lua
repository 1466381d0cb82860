--- minisock.luasocket, in LuaSocket's place.
return require "bench.libraries.luasocket_api" (
    require "minisock.luasocket", require "minisock.luasocket.unix")
