return require "minisock.luasocket.unix"
