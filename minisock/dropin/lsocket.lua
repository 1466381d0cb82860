return require "minisock.lsocket"
