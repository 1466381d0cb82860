return require "minisock.llsocket"
