/*
 * Preloaded, this stands between minisock and libc: it counts the calls that
 * minisock makes, and makes chosen ones fail. What it says is never untrue: a
 * call that is refused isn't made, a short one is made for fewer bytes, and
 * one that "fails" although it was made is what Linux does to an interrupted
 * connect or close. libc's own inner calls don't come by here; for those there
 * is faults_refuse, which has the kernel refuse a system call.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALLS(X)                                                             \
    X(accept4) X(bind) X(close) X(connect) X(dup3) X(epoll_create1)          \
    X(epoll_ctl) X(epoll_wait) X(fcntl) X(fcntl64) X(getaddrinfo)            \
    X(getifaddrs) X(getnameinfo) X(getpeername) X(getsockname)               \
    X(getsockopt) X(if_nametoindex) X(ioctl) X(listen) X(poll)               \
    X(pthread_create) X(read) X(recv) X(recvmmsg) X(recvmsg) X(send)         \
    X(sendfile) X(sendfile64) X(sendmmsg) X(sendmsg) X(sendto)               \
    X(setsockopt) X(shutdown) X(sigtimedwait) X(sockatmark) X(socket)        \
    X(socketpair) X(write)

#define AS_ENUM(name) CALL_##name,
#define AS_NAME(name) #name,
enum { CALLS(AS_ENUM) CALL_COUNT };
static const char *const names[] = { CALLS(AS_NAME) NULL };

enum verdict { PASS, REFUSE, MAKE_AND_REFUSE };
enum { FAULTS = 4, PIECES = 16 };

static struct fault {
    int call, value, first, last, hits;
    enum verdict verdict;
} faults[FAULTS];
static int fault_count, watching, bad_closes;
static int seen[CALL_COUNT];
static size_t cap;

void faults_reset(void)
{
    watching = fault_count = bad_closes = 0;
    cap = 0;
    memset(seen, 0, sizeof seen);
}

void faults_watch(int on)
{
    watching = on;
}

/* Streams then take and give no more than this at once. */
void faults_cap(int bytes)
{
    cap = (size_t)bytes;
}

/* The calls of that name from the first to the last will end with value. */
int faults_add(const char *name, int made, int value, int first, int last)
{
    for (int call = 0; call < CALL_COUNT; call++) {
        if (strcmp(names[call], name) != 0 || fault_count == FAULTS)
            continue;
        faults[fault_count] = (struct fault){
            .call = call, .value = value, .first = first, .last = last,
            .verdict = made ? MAKE_AND_REFUSE : REFUSE
        };
        return fault_count++;
    }
    return -1;
}

int faults_hits(int fault)
{
    return faults[fault].hits;
}

const char *faults_name(int call)
{
    return names[call];
}

int faults_seen(int call)
{
    return seen[call];
}

int faults_bad_closes(void)
{
    return bad_closes;
}

static enum verdict judge(int call, int *value)
{
    int nth;

    if (!watching)
        return PASS;
    nth = __atomic_add_fetch(&seen[call], 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < fault_count; i++) {
        struct fault *one = &faults[i];

        if (one->call == call && nth >= one->first && nth <= one->last) {
            one->hits++;
            *value = one->value;
            return one->verdict;
        }
    }
    return PASS;
}

static size_t capped(size_t size)
{
    return watching && cap > 0 && size > cap ? cap : size;
}

#define REAL(name) ((__typeof__(&wrap_##name))dlsym(RTLD_NEXT, #name))

/* `how` is what the call gives when it fails with a value. */
#define WRAP_AS(result, name, parameters, arguments, how)                    \
    result wrap_##name parameters __asm__(#name);                            \
    result wrap_##name parameters                                            \
    {                                                                        \
        static __typeof__(&wrap_##name) real;                                \
        int value = 0;                                                       \
        enum verdict verdict = judge(CALL_##name, &value);                   \
                                                                             \
        if (real == NULL)                                                    \
            real = REAL(name);                                               \
        if (verdict == PASS)                                                 \
            return real arguments;                                           \
        if (verdict == MAKE_AND_REFUSE)                                      \
            real arguments;                                                  \
        how;                                                                 \
    }

#define WRAP(result, name, parameters, arguments)                            \
    WRAP_AS(result, name, parameters, arguments, errno = value; return -1)

WRAP(int, accept4, (int fd, void *addr, void *size, int flags),
     (fd, addr, size, flags))
WRAP(int, bind, (int fd, const void *addr, socklen_t size), (fd, addr, size))
WRAP(int, connect, (int fd, const void *addr, socklen_t size),
     (fd, addr, size))
WRAP(int, dup3, (int fd, int other, int flags), (fd, other, flags))
WRAP(int, epoll_create1, (int flags), (flags))
WRAP(int, epoll_ctl, (int fd, int what, int other, void *event),
     (fd, what, other, event))
WRAP(int, epoll_wait, (int fd, void *events, int room, int timeout),
     (fd, events, room, timeout))
WRAP(int, fcntl, (int fd, int what, void *value_), (fd, what, value_))
WRAP(int, fcntl64, (int fd, int what, void *value_), (fd, what, value_))
WRAP(int, getifaddrs, (void *list), (list))
WRAP(int, getpeername, (int fd, void *addr, void *size), (fd, addr, size))
WRAP(int, getsockname, (int fd, void *addr, void *size), (fd, addr, size))
WRAP(int, getsockopt, (int fd, int level, int name, void *data, void *size),
     (fd, level, name, data, size))
WRAP(int, ioctl, (int fd, unsigned long what, void *value_),
     (fd, what, value_))
WRAP(int, listen, (int fd, int backlog), (fd, backlog))
WRAP(int, poll, (void *fds, nfds_t count, int timeout),
     (fds, count, timeout))
WRAP(int, setsockopt, (int fd, int level, int name, const void *data,
     socklen_t size), (fd, level, name, data, size))
WRAP(int, shutdown, (int fd, int how_), (fd, how_))
WRAP(int, sigtimedwait, (const void *set, void *info, const void *time),
     (set, info, time))
WRAP(int, sockatmark, (int fd), (fd))
WRAP(int, socket, (int family, int type, int protocol),
     (family, type, protocol))
WRAP(int, socketpair, (int family, int type, int protocol, int *pair),
     (family, type, protocol, pair))

WRAP(int, recvmmsg, (int fd, void *list, unsigned count, int flags,
     void *time), (fd, list, capped(count), flags, time))
WRAP(int, sendmmsg, (int fd, void *list, unsigned count, int flags),
     (fd, list, capped(count), flags))
WRAP(ssize_t, read, (int fd, void *data, size_t size),
     (fd, data, capped(size)))
WRAP(ssize_t, recv, (int fd, void *data, size_t size, int flags),
     (fd, data, capped(size), flags))
WRAP(ssize_t, send, (int fd, const void *data, size_t size, int flags),
     (fd, data, capped(size), flags))
WRAP(ssize_t, sendfile, (int fd, int file, void *offset, size_t size),
     (fd, file, offset, capped(size)))
WRAP(ssize_t, sendfile64, (int fd, int file, void *offset, size_t size),
     (fd, file, offset, capped(size)))
WRAP(ssize_t, sendto, (int fd, const void *data, size_t size, int flags,
     const void *addr, socklen_t length),
     (fd, data, size, flags, addr, length))
WRAP(ssize_t, write, (int fd, const void *data, size_t size),
     (fd, data, capped(size)))

/* The same message with the first bytes only. */
static struct msghdr *shorten(const struct msghdr *from, struct msghdr *to,
                              struct iovec *pieces)
{
    size_t left = cap, count = 0;

    *to = *from;
    if (!watching || cap == 0)
        return to;
    while (count < from->msg_iovlen && count < PIECES && left > 0) {
        pieces[count] = from->msg_iov[count];
        if (pieces[count].iov_len > left)
            pieces[count].iov_len = left;
        left -= pieces[count++].iov_len;
    }
    to->msg_iov = pieces;
    to->msg_iovlen = count;
    return to;
}

static ssize_t real_recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t (*real)(int, struct msghdr *, int) = dlsym(RTLD_NEXT, "recvmsg");
    struct iovec pieces[PIECES];
    struct msghdr copy;
    ssize_t n = real(fd, shorten(message, &copy, pieces), flags);

    copy.msg_iov = message->msg_iov;
    copy.msg_iovlen = message->msg_iovlen;
    *message = copy;
    return n;
}

static ssize_t real_sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t (*real)(int, const struct msghdr *, int) =
        dlsym(RTLD_NEXT, "sendmsg");
    struct iovec pieces[PIECES];
    struct msghdr copy;

    return real(fd, shorten(message, &copy, pieces), flags);
}

ssize_t wrap_recvmsg(int, struct msghdr *, int) __asm__("recvmsg");
ssize_t wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
    if (judge(CALL_recvmsg, &errno) != PASS)
        return -1;
    return real_recvmsg(fd, message, flags);
}

ssize_t wrap_sendmsg(int, const struct msghdr *, int) __asm__("sendmsg");
ssize_t wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (judge(CALL_sendmsg, &errno) != PASS)
        return -1;
    return real_sendmsg(fd, message, flags);
}

/* A close of what isn't open may have hit another thread's descriptor. */
int wrap_close(int) __asm__("close");
int wrap_close(int fd)
{
    static int (*real)(int);
    int value = 0, done;
    enum verdict verdict = judge(CALL_close, &value);

    if (real == NULL)
        real = (int (*)(int))dlsym(RTLD_NEXT, "close");
    done = real(fd);
    if (done < 0 && watching)
        bad_closes++;
    if (verdict == PASS)
        return done;
    errno = value;
    return -1;
}

/* These don't tell by errno. */
WRAP_AS(int, getaddrinfo, (const char *host, const char *service,
        const void *hints, void *list), (host, service, hints, list),
        errno = EMFILE; return value)
WRAP_AS(int, getnameinfo, (const void *addr, socklen_t size, char *host,
        socklen_t host_size, char *service, socklen_t service_size,
        int flags), (addr, size, host, host_size, service, service_size,
        flags), errno = EMFILE; return value)
WRAP_AS(int, pthread_create, (void *thread, const void *attributes,
        void *start, void *argument), (thread, attributes, start, argument),
        return value)
WRAP_AS(unsigned, if_nametoindex, (const char *name), (name),
        errno = value; return 0)

/* From now on the kernel refuses a system call to this process, whoever makes
   it. Returns -1 for one that this machine doesn't have. */
int faults_refuse(const char *name, int error)
{
    static const struct { const char *name; int number; } numbers[] = {
        { "socket", SYS_socket }, { "connect", SYS_connect },
        { "bind", SYS_bind }, { "sendto", SYS_sendto },
        { "recvmsg", SYS_recvmsg }, { "getsockname", SYS_getsockname },
        { "openat", SYS_openat }, { "mmap", SYS_mmap },
        { "clone3", SYS_clone3 }, { "close", SYS_close },
    };
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
        BPF_STMT(BPF_RET | BPF_K,
                 SECCOMP_RET_ERRNO | ((unsigned)error & SECCOMP_RET_DATA)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { .len = 4, .filter = code };

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(numbers[i].name, name) != 0)
            continue;
        code[1].k = (unsigned)numbers[i].number;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
            return -1;
        return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
    }
    return -1;
}
