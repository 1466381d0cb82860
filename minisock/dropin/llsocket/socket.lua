return require "minisock.llsocket.socket"
