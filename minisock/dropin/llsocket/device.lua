return require "minisock.llsocket.device"
