/*
 * The system's structures that Lua code fills or reads, under our own tags.
 * shim/minisock.h asserts that each has the system's size and offsets.
 *
 * LuaJIT keeps the first declaration it sees, for as long as the VM lives. So
 * a structure or prototype that changes also changes the number of the
 * sentinel in cdefs/shim.h, and a VM never mixes the two.
 */
CDEF(
struct minisock_pollfd {
    int fd;
    uint16_t events;
    uint16_t revents;
};

struct minisock_sockaddr_in {
    uint16_t family;
    uint8_t port[2];
    uint8_t addr[4];
    uint8_t zero[8];
};

struct minisock_sockaddr_in6 {
    uint16_t family;
    uint8_t port[2];
    uint32_t flowinfo;
    uint8_t addr[16];
    uint32_t scope;
};

struct minisock_linger {
    int on;
    int seconds;
};

struct minisock_timeval {
    long seconds;
    long microseconds;
};
)
