/* The other end of every workload: starts the client, which is the command
 * after its arguments, serves it until it ends, and passes on its status.
 *
 *     peer MODE tcp|unix COMMAND...
 *
 * The client finds the address in its environment. Both run on one CPU and
 * are stopped after a while, whatever happens. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LONGEST = 30, PIECE = 65536, POOL = 4 << 20, RING = 16, BATCH = 64 };
enum { MESSAGE = 64 };

static pid_t client;
static struct sockaddr_storage address;
static socklen_t address_size;
static char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
static char pool[POOL];

/* The client may be a program that runs it: all of them are a group. */
static void clean_up(void)
{
    if (path[0]) unlink(path);
    if (client > 0) kill(-client, SIGKILL);
}

static void fail(const char *what)
{
    fprintf(stderr, "peer: %s: %s\n", what, strerror(errno));
    clean_up();
    _exit(1);
}

static void when_it_took_too_long(int number)
{
    (void)number;
    fprintf(stderr, "peer: stopped\n");
    clean_up();
    _exit(1);
}

static int check(int result, const char *what)
{
    if (result < 0) fail(what);
    return result;
}

static void when_client_ends(int number)
{
    int status = 0;
    (void)number;
    if (waitpid(-1, &status, WNOHANG) <= 0) return;
    clean_up();
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* Uneven, not random: the same in every run. */
static uint32_t next_number(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static void set(int fd, int level, int name, int value)
{
    check(setsockopt(fd, level, name, &value, sizeof value), "setsockopt");
}

static void without_delay(int fd)
{
    if (address.ss_family == AF_INET) set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

/* The end of a TCP connection that leaves no TIME_WAIT behind. */
static void reset(int fd)
{
    struct linger linger = { 1, 0 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

/* An address of loopback that no other peer has: their ports can't be mixed
 * up, and a client can't be connected to itself. */
static void choose_address(int family)
{
    if (family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)&address;
        in->sin_family = AF_INET;
        in->sin_addr.s_addr =
            htonl(0x7f010000u + ((uint32_t)getpid() & 0xffffffu));
        address_size = sizeof *in;
    } else {
        struct sockaddr_un *un = (struct sockaddr_un *)&address;
        un->sun_family = AF_UNIX;
        snprintf(path, sizeof path, "/tmp/minisock-bench-%d", (int)getpid());
        strcpy(un->sun_path, path);
        address_size = sizeof *un;
    }
}

/* A socket at the address; its port is chosen now. */
static int bound(int type)
{
    int fd = check(socket(address.ss_family, type | SOCK_CLOEXEC, 0), "socket");
    check(bind(fd, (struct sockaddr *)&address, address_size), "bind");
    if (type == SOCK_STREAM) check(listen(fd, SOMAXCONN), "listen");
    address_size = sizeof address;
    check(getsockname(fd, (struct sockaddr *)&address, &address_size),
        "getsockname");
    return fd;
}

static int next_client(int listener)
{
    int fd = check(accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
    without_delay(fd);
    return fd;
}

/* Sends all of it; ends when the client is gone. */
static void send_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0) pause();
        data += sent;
        size -= (size_t)sent;
    }
}

static void receive_all(int fd, char *data, size_t size)
{
    while (size > 0) {
        ssize_t received = recv(fd, data, size, 0);
        if (received <= 0) pause();
        data += received;
        size -= (size_t)received;
    }
}

/* Every reply differs, in the bytes that LuaJIT's string hash looks at. */
static void echo(int listener)
{
    char message[MESSAGE];
    int fd = next_client(listener);
    for (;;) {
        uint32_t stamp = next_number();
        receive_all(fd, message, sizeof message);
        memcpy(message, &stamp, sizeof stamp);
        send_all(fd, message, sizeof message);
    }
}

static void sink(int listener)
{
    int fd = next_client(listener);
    while (recv(fd, pool, PIECE, 0) > 0)
        ;
}

static void fill_pool(void)
{
    for (size_t i = 0; i < POOL; i += sizeof(uint32_t)) {
        uint32_t bytes = next_number();
        memcpy(pool + i, &bytes, sizeof bytes);
    }
}

static void flood(int listener)
{
    int fd = next_client(listener);
    for (;;) {
        size_t at = next_number() % (POOL - PIECE);
        send_all(fd, pool + at, PIECE);
    }
}

static size_t lines_size;

/* Lines of 20 to 80 bytes and their LF. */
static void write_lines(void)
{
    size_t end = 0;
    for (size_t i = 0; i < POOL; i++)
        pool[i] = (char)('a' + next_number() % 26);
    for (size_t at; (at = end + 20 + next_number() % 61) < POOL; end = at + 1)
        pool[at] = '\n';
    lines_size = end;
}

static void lines(int listener)
{
    int fd = next_client(listener);
    for (;;) {
        for (size_t at = 0; at < lines_size; at += PIECE) {
            size_t left = lines_size - at;
            send_all(fd, pool + at, left < PIECE ? left : PIECE);
        }
    }
}

static void keep(int listener)
{
    for (;;) next_client(listener);
}

/* Takes connections until the client closes each. */
static void take(int listener)
{
    char byte;
    for (;;) {
        int fd = check(accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept");
        while (recv(fd, &byte, 1, 0) > 0)
            ;
        reset(fd);
    }
}

static int knock(void)
{
    int fd = check(
        socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    while (connect(fd, (struct sockaddr *)&address, address_size) < 0)
        usleep(1000);
    return fd;
}

/* Connects to the client, some times at once, and again when it has closed all
 * of these: never without end, for some accept until none waits. */
static void give(int unused)
{
    int fds[RING];
    char byte;
    (void)unused;
    for (;;) {
        for (int i = 0; i < RING; i++) fds[i] = knock();
        for (int i = 0; i < RING; i++) {
            while (recv(fds[i], &byte, 1, 0) > 0)
                ;
            reset(fds[i]);
        }
    }
}

/* Of all connections, one is active at a time: it gets a byte, and answers. */
static void wake(int listener)
{
    int count = atoi(getenv("BENCH_SOCKETS"));
    int *fds = calloc((size_t)count, sizeof *fds);
    char byte;
    for (int i = 0; i < count; i++) fds[i] = next_client(listener);
    receive_all(fds[0], &byte, 1);
    for (;;) {
        int fd = fds[next_number() % (uint32_t)count];
        send_all(fd, "x", 1);
        receive_all(fd, &byte, 1);
    }
}

/* A datagram asks for that many. */
static void supply(int fd)
{
    static char messages[BATCH][MESSAGE];
    struct iovec pieces[BATCH];
    struct mmsghdr headers[BATCH];
    struct sockaddr_storage from;
    char request[MESSAGE];
    memset(headers, 0, sizeof headers);
    for (int i = 0; i < BATCH; i++) {
        pieces[i] = (struct iovec){ messages[i], MESSAGE };
        headers[i].msg_hdr.msg_iov = &pieces[i];
        headers[i].msg_hdr.msg_iovlen = 1;
        headers[i].msg_hdr.msg_name = &from;
    }
    for (;;) {
        socklen_t size = sizeof from;
        ssize_t got = recvfrom(fd, request, sizeof request, 0,
            (struct sockaddr *)&from, &size);
        check((int)got, "recvfrom");
        for (int i = 0; i < BATCH; i++) {
            uint32_t stamp = next_number();
            memcpy(messages[i], &stamp, sizeof stamp);
            headers[i].msg_hdr.msg_namelen = size;
        }
        sendmmsg(fd, headers, BATCH, 0);
    }
}

static void silence(int fd)
{
    (void)fd;
    for (;;) pause();
}

static const struct mode {
    const char *name;
    void (*serve)(int fd);
    int type; /* 0: the client listens */
    void (*prepare)(void); /* what is there before the client starts */
} modes[] = {
    { "echo", echo, SOCK_STREAM, NULL },
    { "sink", sink, SOCK_STREAM, NULL },
    { "flood", flood, SOCK_STREAM, fill_pool },
    { "lines", lines, SOCK_STREAM, write_lines },
    { "keep", keep, SOCK_STREAM, NULL },
    { "take", take, SOCK_STREAM, NULL },
    { "give", give, 0, NULL },
    { "wake", wake, SOCK_STREAM, NULL },
    { "supply", supply, SOCK_DGRAM, NULL },
    { "silence", silence, SOCK_DGRAM, NULL },
};

static const struct mode *find_mode(const char *name)
{
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, name) == 0) return &modes[i];
    errno = EINVAL;
    fail(name);
    return NULL;
}

/* The last one that is allowed, or one before it. */
static void stay_on_one_cpu(void)
{
    cpu_set_t allowed, one;
    const char *which = getenv("BENCH_CPU");
    int left, cpu = CPU_SETSIZE;
    check(sched_getaffinity(0, sizeof allowed, &allowed), "affinity");
    left = (which ? atoi(which) : 0) % CPU_COUNT(&allowed);
    do {
        do cpu--; while (!CPU_ISSET(cpu, &allowed));
    } while (left-- > 0);
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    check(sched_setaffinity(0, sizeof one, &one), "affinity");
}

static void raise_limit(void)
{
    struct rlimit limit;
    check(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    check(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
}

/* The port of the address, or one that is free, for the client to bind. */
static void tell_address(const struct mode *mode)
{
    char port[8], host[INET_ADDRSTRLEN];
    const struct sockaddr_in *in = (const struct sockaddr_in *)&address;
    if (address.ss_family == AF_UNIX) {
        setenv("BENCH_PATH", path, 1);
        return;
    }
    if (mode->type == 0) close(bound(SOCK_STREAM));
    snprintf(port, sizeof port, "%d", ntohs(in->sin_port));
    inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
    setenv("BENCH_PORT", port, 1);
    setenv("BENCH_HOST", host, 1);
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action = { .sa_handler = handler };
    check(sigaction(number, &action, NULL), "sigaction");
}

/* A client that doesn't interrupt the peer when the first of what it asked for
 * is there. */
static void be_patient(void)
{
    struct sched_param param = { 0 };
    check(sched_setscheduler(0, SCHED_BATCH, &param), "scheduler");
}

static void start(char **command, int patient)
{
    pid_t parent = getpid();
    client = check(fork(), "fork");
    if (client > 0) return;
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    if (patient) be_patient();
    execvp(command[0], command);
    fprintf(stderr, "peer: %s: %s\n", command[0], strerror(errno));
    _exit(127);
}

int main(int argc, char **argv)
{
    const struct mode *mode;
    int fd = -1;
    if (argc < 4) {
        fprintf(stderr, "peer MODE tcp|unix COMMAND...\n");
        return 2;
    }
    mode = find_mode(argv[1]);
    choose_address(strcmp(argv[2], "unix") == 0 ? AF_UNIX : AF_INET);
    setenv("BENCH_FAMILY", argv[2], 1);
    if (mode->prepare) mode->prepare();
    stay_on_one_cpu();
    raise_limit();
    if (mode->type) fd = bound(mode->type);
    tell_address(mode);
    handle(SIGCHLD, when_client_ends);
    handle(SIGALRM, when_it_took_too_long);
    handle(SIGINT, when_it_took_too_long);
    handle(SIGTERM, when_it_took_too_long);
    alarm(LONGEST);
    start(argv + 3, mode->serve == supply);
    mode->serve(fd);
    for (;;) pause();
}
