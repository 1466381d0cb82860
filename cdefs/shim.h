/*
 * What the shim offers. Its functions return a count or zero, or -errno;
 * -ETIME, which no socket call uses, says that the deadline has passed.
 * A deadline is a point on minisock_now()'s clock, INFINITY for never.
 */
CDEF(
struct minisock_cdefs_1 { int unused; };

struct minisock_sender {
    int truncated;
    uint32_t length;
    uint8_t addr[128];
};

struct minisock_addrinfo {
    struct minisock_addrinfo *next;
    uint32_t length;
    uint8_t addr[28];
};

struct minisock_lookup {
    struct minisock_addrinfo *list;
    int error;
    int system_error;
};

double minisock_now(void);
int minisock_poll(void *fds, uint32_t count, double deadline);
int minisock_wait(int fd, int events, double deadline);

int minisock_read_wait(int fd, void *buffer, size_t size, double deadline);
int minisock_recvfrom_wait(int fd, void *buffer, size_t size,
                           struct minisock_sender *sender, double deadline);
int minisock_send_wait(int fd, const void *data, int size, double deadline,
                       int *sent);
int minisock_write_file(int fd, const void *data, size_t size);
int minisock_accept_wait(int fd, void *addr, uint32_t *length,
                         double deadline);
int minisock_connect_wait(int fd, const void *addr, uint32_t length,
                          int error, double deadline);
int minisock_is_nonblocking(int fd);
int minisock_set_nonblocking(int fd, int on);

int minisock_resolve(const char *host, const char *service, int family,
                     int socktype, int flags, double deadline,
                     struct minisock_lookup *lookup);
void minisock_free_list(struct minisock_addrinfo *list);

int minisock_constant(const char *name, double *value);
void minisock_error_text(int error, char *buffer, size_t size);
)
