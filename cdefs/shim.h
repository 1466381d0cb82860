/*
 * What the shim offers. Its functions return a count or zero, or -errno;
 * -ETIME, which no socket call uses, says that the deadline has passed.
 * A deadline is a point on minisock_now()'s clock, INFINITY for never.
 */
CDEF(
struct minisock_cdefs_2 { int unused; };

struct minisock_message {
    struct minisock_iovec *pieces;
    uint32_t piece_count;
    uint32_t addr_length;
    uint32_t control_length;
    int flags;
    uint8_t addr[128];
    uint8_t control[2048] __attribute__((aligned(8)));
};

struct minisock_addrinfo {
    struct minisock_addrinfo *next;
    int family;
    int socktype;
    int protocol;
    uint32_t length;
    uint8_t addr[28];
    char canonname[256];
};

struct minisock_lookup {
    struct minisock_addrinfo *list;
    int error;
    int system_error;
};

struct minisock_interface {
    struct minisock_interface *next;
    char name[16];
    uint32_t index;
    uint32_t flags;
    uint32_t addr_length;
    uint32_t mask_length;
    uint32_t hardware_length;
    uint8_t addr[28];
    uint8_t mask[28];
    uint8_t hardware[8];
};

double minisock_now(void);
int minisock_poll(void *fds, uint32_t count, double deadline);
int minisock_wait(int fd, int events, double deadline);

int minisock_read_wait(int fd, void *buffer, size_t size, int error,
                       double deadline);
int minisock_read_within(int fd, void *buffer, size_t size, double timeout);
int minisock_recvmsg(int fd, struct minisock_message *message, int flags,
                     double timeout);
int minisock_recvmmsg_wait(int fd, struct minisock_mmsghdr *headers,
                           uint32_t count, int error, double deadline);
int minisock_sendmsg(int fd, struct minisock_message *message, int flags);
int minisock_send_wait(int fd, const void *data, int size, int error,
                       double deadline, int *sent);
int minisock_write_file(int fd, const void *data, size_t size);
int minisock_hold_sigpipe(void);
void minisock_release_sigpipe(int state);
void minisock_ignore_sigpipe(void);
int minisock_accept_wait(int fd, void *addr, uint32_t *length,
                         double deadline);
int minisock_connect_wait(int fd, const void *addr, uint32_t length,
                          int error, double deadline);
int minisock_sendfile(int fd, int file, double offset, size_t size);
int minisock_atmark(int fd);
int minisock_dup(int fd);
int minisock_dup2(int fd, int other);
int minisock_is_closed_on_exec(int fd);
int minisock_set_closed_on_exec(int fd, int on);
int minisock_is_nonblocking(int fd);
int minisock_set_nonblocking(int fd, int on);

int minisock_resolve(const char *host, const char *service, int family,
                     int socktype, int protocol, int flags, double deadline,
                     struct minisock_lookup *lookup);
void minisock_free_list(struct minisock_addrinfo *list);

int minisock_interfaces(struct minisock_interface **list);
void minisock_free_interfaces(struct minisock_interface *list);

int minisock_constant(const char *name, double *value);
void minisock_error_text(int error, char *buffer, size_t size);
)
