/* The floor: each workload by the same system calls in C, into buffers that
 * are there. Runs as a client of peer.c, like the libraries' client.lua.
 *
 *     floor OPERATION SECONDS|=COUNT+COUNT [COMMAND...]
 *
 * Prints how long one operation took, in seconds; with counts, it does so many
 * to warm up and so many to be counted. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void bench_mark(int begins);

enum { MESSAGE = 64, PIECE = 65536, BATCH = 64, ARENA = 16 * PIECE };

static const double ENOUGH = 0.7; /* of the time that was wanted */

static struct sockaddr_storage address;
static socklen_t address_size;
static int fd;
static char buffer[ARENA];
static char **command;

static void fail(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int check(long result, const char *what)
{
    if (result < 0) fail(what);
    return (int)result;
}

static int number(const char *name)
{
    const char *value = getenv(name);
    return value ? atoi(value) : 0;
}

static void find_address(void)
{
    const char *path = getenv("BENCH_PATH");
    if (path) {
        struct sockaddr_un *un = (struct sockaddr_un *)&address;
        un->sun_family = AF_UNIX;
        snprintf(un->sun_path, sizeof un->sun_path, "%s", path);
        address_size = sizeof *un;
    } else {
        struct sockaddr_in *in = (struct sockaddr_in *)&address;
        in->sin_family = AF_INET;
        inet_pton(AF_INET, getenv("BENCH_HOST"), &in->sin_addr);
        in->sin_port = htons((in_port_t)number("BENCH_PORT"));
        address_size = sizeof *in;
    }
}

static int connected(int type)
{
    int sock = check(socket(address.ss_family, type | SOCK_CLOEXEC, 0),
        "socket");
    check(connect(sock, (struct sockaddr *)&address, address_size),
        "connect");
    return sock;
}

static void open_stream(void)
{
    int on = 1, timeout = number("BENCH_TIMEOUT");
    fd = connected(SOCK_STREAM);
    if (address.ss_family == AF_INET)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (timeout > 0) {
        struct timeval limit = { timeout / 1000, timeout % 1000 * 1000 };
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    }
}

static void open_datagram(void)
{
    fd = check(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
}

static void open_listener(void)
{
    int on = 1;
    fd = check(socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0),
        "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    check(bind(fd, (struct sockaddr *)&address, address_size), "bind");
    check(listen(fd, SOMAXCONN), "listen");
}

static void open_nothing(void)
{
}

static void pingpong(long n)
{
    while (n-- > 0) {
        check(send(fd, buffer, MESSAGE, MSG_NOSIGNAL), "send");
        for (long left = MESSAGE; left > 0;)
            left -= check(recv(fd, buffer, (size_t)left, 0), "recv");
    }
}

static void ask_sockname(long n)
{
    struct sockaddr_storage name;
    while (n-- > 0) {
        socklen_t size = sizeof name;
        check(getsockname(fd, (struct sockaddr *)&name, &size), "getsockname");
    }
}

static void ask_peername(long n)
{
    struct sockaddr_storage name;
    while (n-- > 0) {
        socklen_t size = sizeof name;
        check(getpeername(fd, (struct sockaddr *)&name, &size), "getpeername");
    }
}

static void ask_option(long n)
{
    while (n-- > 0) {
        int value;
        socklen_t size = sizeof value;
        check(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, &size),
            "getsockopt");
    }
}

static void write_byte(long n)
{
    while (n-- > 0) check(send(fd, "x", 1, MSG_NOSIGNAL), "send");
}

static void read_small(long n)
{
    while (n-- > 0) check(recv(fd, buffer, MESSAGE, 0), "recv");
}

/* Lines out of a buffer, as a careful C program would. */
static void read_lines(long n)
{
    static char *at = buffer, *end = buffer;
    while (n > 0) {
        char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop) {
            at = stop + 1;
            n--;
            continue;
        }
        memmove(buffer, at, (size_t)(end - at));
        end = buffer + (end - at);
        at = buffer;
        end += check(recv(fd, end, PIECE, 0), "recv");
    }
}

static void receive(long n)
{
    for (long left = n * PIECE; left > 0;)
        left -= check(recv(fd, buffer, PIECE, 0), "recv");
}

static void send_pieces(long n)
{
    while (n-- > 0) {
        for (long left = PIECE; left > 0;)
            left -= check(send(fd, buffer, (size_t)left, MSG_NOSIGNAL),
                "send");
    }
}

static void gather(long n)
{
    struct iovec pieces[] = { { buffer, 20 }, { buffer, 1000 }, { buffer, 2 } };
    struct msghdr message = { .msg_iov = pieces, .msg_iovlen = 3 };
    while (n-- > 0) check(sendmsg(fd, &message, MSG_NOSIGNAL), "sendmsg");
}

static void make_connections(long n)
{
    while (n-- > 0) close(connected(SOCK_STREAM));
}

static void accept_connections(long n)
{
    while (n-- > 0)
        close(check(accept4(fd, NULL, NULL, SOCK_CLOEXEC), "accept"));
}

static void send_datagrams(long n)
{
    while (n-- > 0)
        check(sendto(fd, buffer, MESSAGE, MSG_NOSIGNAL,
            (struct sockaddr *)&address, address_size), "sendto");
}

static void ask_for_datagrams(void)
{
    check(sendto(fd, buffer, MESSAGE, MSG_NOSIGNAL,
        (struct sockaddr *)&address, address_size), "sendto");
}

static void receive_datagrams(long n)
{
    static int left;
    struct sockaddr_storage from;
    while (n-- > 0) {
        socklen_t size = sizeof from;
        if (left == 0) {
            ask_for_datagrams();
            left = BATCH;
        }
        left--;
        check(recvfrom(fd, buffer, 2048, 0, (struct sockaddr *)&from, &size),
            "recvfrom");
    }
}

static struct mmsghdr headers[BATCH];
static struct iovec pieces[BATCH];
static struct sockaddr_storage names[BATCH];

static void open_batch(void)
{
    open_datagram();
    for (int i = 0; i < BATCH; i++) {
        pieces[i] = (struct iovec){ buffer + i * 2048, MESSAGE };
        headers[i].msg_hdr.msg_iov = &pieces[i];
        headers[i].msg_hdr.msg_iovlen = 1;
        headers[i].msg_hdr.msg_name = &address;
        headers[i].msg_hdr.msg_namelen = address_size;
    }
}

static void send_batches(long n)
{
    for (; n > 0; n -= BATCH)
        check(sendmmsg(fd, headers, BATCH, MSG_NOSIGNAL), "sendmmsg");
}

static void receive_batches(long n)
{
    static int left;
    while (n > 0) {
        int got;
        if (left == 0) {
            ask_for_datagrams();
            left = BATCH;
        }
        for (int i = 0; i < BATCH; i++) {
            headers[i].msg_hdr.msg_name = &names[i];
            headers[i].msg_hdr.msg_namelen = sizeof *names;
        }
        got = check(recvmmsg(fd, headers, BATCH, MSG_WAITFORONE, NULL),
            "recvmmsg");
        left -= got;
        n -= got;
    }
}

/* Many connections, of which the peer wakes one at a time. */
static int count, epoll;
static struct pollfd *polled;

static void open_many(void)
{
    count = number("BENCH_SOCKETS");
    polled = calloc((size_t)count, sizeof *polled);
    for (int i = 0; i < count; i++)
        polled[i] = (struct pollfd){ connected(SOCK_STREAM), POLLIN, 0 };
}

static void answer(int sock)
{
    check(recv(sock, buffer, 1, 0), "recv");
    check(send(sock, "x", 1, MSG_NOSIGNAL), "send");
}

static void open_polled(void)
{
    open_many();
    check(send(polled[0].fd, "x", 1, MSG_NOSIGNAL), "send");
}

static void open_epoll(void)
{
    open_many();
    epoll = check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    for (int i = 0; i < count; i++) {
        struct epoll_event event = { .events = EPOLLIN };
        event.data.fd = polled[i].fd;
        check(epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event),
            "epoll_ctl");
    }
    check(send(polled[0].fd, "x", 1, MSG_NOSIGNAL), "send");
}

static void wait_by_poll(long n)
{
    while (n-- > 0) {
        int ready = check(poll(polled, (nfds_t)count, -1), "poll");
        for (int i = 0; ready > 0; i++) {
            if (!polled[i].revents) continue;
            ready--;
            answer(polled[i].fd);
        }
    }
}

static void wait_by_epoll(long n)
{
    struct epoll_event events[64];
    while (n-- > 0) {
        int ready = check(epoll_wait(epoll, events, 64, -1), "epoll_wait");
        for (int i = 0; i < ready; i++) answer(events[i].data.fd);
    }
}

/* Starts the command, one process after the other. */
static void spawn(long n)
{
    while (n-- > 0) {
        int status;
        pid_t child = check(fork(), "fork");
        if (child == 0) {
            execvp(command[0], command);
            _exit(127);
        }
        check(waitpid(child, &status, 0), "waitpid");
        if (status != 0) exit(3);
    }
}

static long resident(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%*d %ld", &pages) != 1) fail("statm");
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Prints two numbers: bytes of the Lua heap, bytes that are resident. */
static int hold(void)
{
    long before = resident();
    open_many();
    printf("0 %ld\n", resident() - before);
    return 0;
}

static const struct operation {
    const char *name;
    void (*open)(void);
    void (*run)(long n);
} operations[] = {
    { "pingpong", open_stream, pingpong },
    { "getsockname", open_stream, ask_sockname },
    { "getpeername", open_stream, ask_peername },
    { "getsockopt", open_stream, ask_option },
    { "write_byte", open_stream, write_byte },
    { "read_small", open_stream, read_small },
    { "read_lines", open_stream, read_lines },
    { "receive", open_stream, receive },
    { "send", open_stream, send_pieces },
    { "gather", open_stream, gather },
    { "connect", open_nothing, make_connections },
    { "accept", open_listener, accept_connections },
    { "sendto", open_datagram, send_datagrams },
    { "recvfrom", open_datagram, receive_datagrams },
    { "sendmany", open_batch, send_batches },
    { "recvmany", open_batch, receive_batches },
    { "wait_poll", open_polled, wait_by_poll },
    { "wait_epoll", open_epoll, wait_by_epoll },
    { "spawn", open_nothing, spawn },
};

/* Where only the client's share is of interest, its own time. */
static double now(void)
{
    struct timespec time;
    clock_gettime(number("BENCH_OWN_TIME") ? CLOCK_PROCESS_CPUTIME_ID
                                           : CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double timed(const struct operation *operation, long n)
{
    double start = now();
    operation->run(n);
    return now() - start;
}

/* The first operation waits until the peer is ready. Doubles the count until it
 * takes a quarter of the time, which warms up too, and then does what takes all
 * of it; again, when a pause made that too few. */
static double measure(const struct operation *operation, double seconds)
{
    long n = 16;
    double taken;
    operation->run(1);
    taken = timed(operation, n);
    while (taken < seconds * ENOUGH) {
        double more = taken < seconds / 4 ? 2 : seconds / taken;
        n = (long)((double)n * more) + 1;
        taken = timed(operation, n);
    }
    return taken / (double)n;
}

static void be_counted(const struct operation *operation, char *counts)
{
    char *count;
    operation->run(strtol(counts, &count, 10));
    bench_mark(1);
    operation->run(atol(count + 1));
    bench_mark(0);
}

int main(int argc, char **argv)
{
    if (argc < 3) return 2;
    find_address();
    command = argv + 3;
    if (strcmp(argv[1], "hold") == 0) return hold();
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        const struct operation *operation = &operations[i];
        if (strcmp(operation->name, argv[1]) != 0) continue;
        operation->open();
        if (argv[2][0] == '=')
            be_counted(operation, argv[2] + 1);
        else
            printf("%.9g\n", measure(operation, atof(argv[2])));
        return 0;
    }
    puts("n/a");
    return 0;
}
