return require "minisock.llsocket.inet"
