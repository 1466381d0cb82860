return require "minisock.socket"
