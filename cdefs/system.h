/*
 * The system's structures that Lua code fills or reads, under our own tags.
 * shim/cdefs.c asserts that each has the system's size and offsets.
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

struct minisock_ucred {
    int pid;
    uint32_t uid;
    uint32_t gid;
};

struct minisock_iovec {
    const void *base;
    size_t size;
};

struct minisock_cmsghdr {
    size_t length;
    int level;
    int type;
};

struct minisock_group_req {
    uint32_t interface;
    uint8_t group[128] __attribute__((aligned(sizeof(void *))));
};

struct minisock_group_source_req {
    uint32_t interface;
    uint8_t group[128] __attribute__((aligned(sizeof(void *))));
    uint8_t source[128];
};

struct minisock_linger {
    int on;
    int seconds;
};

struct minisock_timeval {
    long seconds;
    long microseconds;
};

struct minisock_msghdr {
    void *name;
    uint32_t name_size;
    struct minisock_iovec *pieces;
    size_t piece_count;
    void *control;
    size_t control_size;
    int flags;
};

struct minisock_mmsghdr {
    struct minisock_msghdr header;
    uint32_t size;
};
)

/* Of the 64 bits that are the caller's, the first half is a descriptor. */
#if defined(__x86_64__) || defined(__i386__)
CDEF(
struct minisock_epoll_event {
    int events;
    int fd;
    int serial;
};
)
#else
CDEF(
struct minisock_epoll_event {
    int events;
    int padding;
    int fd;
    int serial;
};
)
#endif
