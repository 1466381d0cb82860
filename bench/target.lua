--- What peer.c and run.lua tell a client by its environment: where the peer
--- is, and the parameters of the workload.
local function number(name) return tonumber(os.getenv(name) or "") end

return {
    host = os.getenv("BENCH_HOST"),
    port = number("BENCH_PORT"),
    path = os.getenv("BENCH_PATH"), -- in place of host and port
    timeout = number("BENCH_TIMEOUT"), -- in ms; nil waits for ever
    sockets = number("BENCH_SOCKETS"),
    heap = number("BENCH_HEAP"), -- how many MB of Lua data are alive
    own_time = number("BENCH_OWN_TIME"),

    message = ("m"):rep(64),
    piece = ("p"):rep(65536),
    parts = { ("a"):rep(20), ("b"):rep(1000), "\r\n" },
    batch = 64, -- how many datagrams a request brings
}
