return require "minisock.llsocket.unix"
