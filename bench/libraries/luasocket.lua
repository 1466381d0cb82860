--- LuaSocket, the package lua-socket.
return require "bench.libraries.luasocket_api" (
    require "socket", require "socket.unix")
