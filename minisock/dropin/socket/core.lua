return require "minisock.luasocket"
