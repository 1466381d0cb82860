/*
 * Waiting against a deadline, and the tails of the calls that wait: what is
 * left to do when the first try, which Lua makes by itself, found nothing
 * ready. A signal never ends, shortens or lengthens a wait.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "minisock.h"

/* Milliseconds on the monotonic clock. */
double minisock_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* What poll(2) may wait for at most: rounded up, -1 for ever. */
static int remaining(double deadline)
{
    double left;

    if (isinf(deadline))
        return -1;
    if (deadline <= 0)
        return 0;
    left = ceil(deadline - minisock_now());
    if (left <= 0)
        return 0;
    return left < INT_MAX ? (int)left : INT_MAX;
}

/* poll(2). Returns how many are ready, 0 when the deadline has passed. */
int minisock_poll(void *fds, uint32_t count, double deadline)
{
    for (;;) {
        int timeout = remaining(deadline);
        int ready = poll(fds, count, timeout);

        if (ready > 0 || (ready == 0 && timeout == 0))
            return ready;
        if (ready < 0 && errno != EINTR)
            return -errno;
    }
}

/* Waits for events on one descriptor and returns those that came. */
int minisock_wait(int fd, int events, double deadline)
{
    struct pollfd one = { .fd = fd, .events = (short)events };
    int ready;

    if (fd < 0) /* poll would ignore it */
        return -EBADF;
    ready = minisock_poll(&one, 1, deadline);
    if (ready < 0)
        return ready;
    if (ready == 0)
        return -ETIME;
    return one.revents & POLLNVAL ? -EBADF : one.revents;
}

static int is_transient(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/* A deadline of 0 allows one try, which has been made. */
static int is_over(int error, double deadline)
{
    return deadline <= 0 && error == EAGAIN;
}

static int pause_until(double pause, double deadline)
{
    double until = minisock_now() + pause;

    if (deadline < until)
        until = deadline;
    minisock_poll(NULL, 0, until);
    return remaining(deadline) == 0 ? -ETIME : 0;
}

/*
 * Waits between two tries of a call. When poll said "ready" and the call found
 * nothing, it waits longer each time: another process may have been faster,
 * but the readiness may also be of a kind that this call doesn't take away, as
 * an error queue's. *pause is 0 before the first try, and after a success.
 */
static int wait_again(int fd, int events, double deadline, double *pause)
{
    const double first = 0.01, longest = 16;

    if (*pause > 0 && pause_until(*pause, deadline) < 0)
        return -ETIME;
    *pause = *pause == 0 ? first : *pause < longest ? *pause * 2 : longest;
    return minisock_wait(fd, events, deadline);
}

/*
 * Whether there is nothing to wait for after a receive that failed. A signal
 * tells nothing: what is there is still there, and is tried for at once. EAGAIN
 * after POLLRDHUP is final for a datagram socket after SHUT_RD.
 */
static int is_final(int error, int ready)
{
    return !is_transient(error) || (error != EINTR && ready & POLLRDHUP);
}

static int final_result(int error)
{
    return error == EAGAIN ? 0 : -error;
}

/*
 * Goes on after a recv(2) that ended with error. read(2) can't be told not to
 * block, so a pipe or a tty is polled first, as everything is here.
 */
int minisock_read_wait(int fd, void *buffer, size_t size, int error,
                       double deadline)
{
    const int is_socket = error != ENOTSOCK;
    double pause = 0;

    if (is_over(error, deadline))
        return -ETIME;
    for (;;) {
        int ready = wait_again(fd, POLLIN | POLLRDHUP, deadline, &pause);
        ssize_t n;

        if (ready < 0)
            return ready;
        n = is_socket ? recv(fd, buffer, size, MSG_DONTWAIT)
                      : read(fd, buffer, size);
        if (n >= 0)
            return (int)n;
        if (is_final(errno, ready))
            return final_result(errno);
        if (errno == EINTR)
            pause = 0;
    }
}

/*
 * One recv(2), on a blocking socket whose SO_RCVTIMEO is the timeout. A signal
 * ends that; what is left of the timeout is waited for as elsewhere.
 */
int minisock_read_within(int fd, void *buffer, size_t size, double timeout)
{
    const double deadline = minisock_now() + timeout;
    ssize_t n = recv(fd, buffer, size, 0);

    if (n >= 0)
        return (int)n;
    if (errno == EAGAIN && minisock_now() >= deadline)
        return -ETIME;
    if (errno != EINTR && errno != EAGAIN && errno != ENOTSOCK)
        return -errno;
    return minisock_read_wait(fd, buffer, size, errno, deadline);
}

/*
 * The kernel reports no address both for a stream and for a Unix datagram
 * whose sender has no name; the latter is an address, an unnamed one.
 */
static void name_unnamed(int fd, struct minisock_message *message)
{
    int domain = 0, type = 0;
    socklen_t size = sizeof domain;
    sa_family_t family = AF_UNIX;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0)
        return;
    if (domain == AF_UNIX && type == SOCK_DGRAM) {
        memcpy(message->addr, &family, sizeof family);
        message->addr_length = sizeof family;
    }
}

static struct msghdr as_msghdr(struct minisock_message *message)
{
    struct msghdr header = {
        .msg_name = message->addr_length > 0 ? message->addr : NULL,
        .msg_namelen = message->addr_length,
        .msg_iov = (struct iovec *)(void *)message->pieces,
        .msg_iovlen = message->piece_count,
        .msg_control = message->control_length > 0 ? message->control : NULL,
        .msg_controllen = message->control_length
    };

    return header;
}

static int take_message(int fd, struct minisock_message *message, int flags)
{
    struct msghdr header = as_msghdr(message);
    ssize_t n = recvmsg(fd, &header, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n < 0)
        return -errno;
    message->addr_length = header.msg_namelen;
    message->control_length = (uint32_t)header.msg_controllen;
    message->flags = header.msg_flags;
    if (header.msg_namelen == 0)
        name_unnamed(fd, message);
    return (int)n;
}

/* The lengths in message say how much there is room for, then how much came. */
int minisock_recvmsg(int fd, struct minisock_message *message, int flags,
                     double timeout)
{
    double deadline = 0, pause = 0;
    int ready = 0;

    for (;;) {
        int n = take_message(fd, message, flags);

        if (n >= 0 || !is_transient(-n))
            return n;
        if (deadline == 0 && timeout > 0) /* what is there needs no clock */
            deadline = minisock_now() + timeout;
        if (is_over(-n, deadline))
            return -ETIME;
        if (is_final(-n, ready)) {
            message->addr_length = message->control_length = 0;
            message->flags = 0;
            return 0;
        }
        if (n == -EINTR)
            pause = 0;
        ready = wait_again(fd, POLLIN | POLLRDHUP, deadline, &pause);
        if (ready < 0)
            return ready;
    }
}

/* Goes on after a recvmmsg(2) that ended with error. */
int minisock_recvmmsg_wait(int fd, struct minisock_mmsghdr *headers,
                           uint32_t count, int error, double deadline)
{
    double pause = 0;

    if (is_over(error, deadline))
        return -ETIME;
    for (;;) {
        int ready = wait_again(fd, POLLIN | POLLRDHUP, deadline, &pause);
        int n;

        if (ready < 0)
            return ready;
        n = recvmmsg(fd, (struct mmsghdr *)(void *)headers, count,
                     MSG_DONTWAIT, NULL);
        if (n >= 0)
            return n;
        if (is_final(errno, ready))
            return final_result(errno);
        if (errno == EINTR)
            pause = 0;
    }
}

/* In milliseconds; 0 for none. */
static double send_timeout(int fd)
{
    struct timeval timeout = { 0, 0 };
    socklen_t size = sizeof timeout;

    if (getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, &size) != 0)
        return 0;
    return (double)timeout.tv_sec * 1e3 + (double)timeout.tv_usec / 1e3;
}

static int sendmsg_until(int fd, const struct msghdr *header, int flags,
                         double deadline)
{
    double pause = 0;

    for (;;) {
        ssize_t n = sendmsg(fd, header, flags | MSG_NOSIGNAL | MSG_DONTWAIT);
        int ready;

        if (n >= 0)
            return (int)n;
        if (!is_transient(errno))
            return -errno;
        ready = wait_again(fd, POLLOUT, deadline, &pause);
        if (ready < 0)
            return ready == -ETIME ? -EAGAIN : ready;
    }
}

/* A signal doesn't start the socket's own SO_SNDTIMEO again. */
int minisock_sendmsg(int fd, struct minisock_message *message, int flags)
{
    const double start = minisock_now();
    struct msghdr header = as_msghdr(message);

    for (;;) {
        ssize_t n = sendmsg(fd, &header, flags | MSG_NOSIGNAL);
        double timeout;

        if (n >= 0)
            return (int)n;
        if (errno != EINTR)
            return -errno;
        timeout = send_timeout(fd);
        if (timeout > 0)
            return sendmsg_until(fd, &header, flags, start + timeout);
    }
}

/*
 * SIGPIPE, for the calls that have no MSG_NOSIGNAL: it is held off for this
 * thread alone, and one that the call raised is taken back, be it that nothing
 * or only a part was written. The process's disposition stays as it is.
 */
enum { WAS_HELD = 1, WAS_PENDING = 2 };

static void only_sigpipe(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGPIPE);
}

/* Returns what minisock_release_sigpipe needs to know. */
int minisock_hold_sigpipe(void)
{
    sigset_t sigpipe, pending, before;

    sigpending(&pending);
    only_sigpipe(&sigpipe);
    pthread_sigmask(SIG_BLOCK, &sigpipe, &before);
    return (sigismember(&before, SIGPIPE) ? WAS_HELD : 0) |
           (sigismember(&pending, SIGPIPE) ? WAS_PENDING : 0);
}

static void take_sigpipe(void)
{
    const struct timespec at_once = { 0, 0 };
    sigset_t sigpipe;

    only_sigpipe(&sigpipe);
    while (sigtimedwait(&sigpipe, NULL, &at_once) < 0 && errno == EINTR)
        ;
}

/* Leaves errno as it was. */
static void release_sigpipe(int state, int raised)
{
    sigset_t sigpipe;
    int error = errno;

    if (raised && !(state & WAS_PENDING))
        take_sigpipe();
    if (!(state & WAS_HELD)) {
        only_sigpipe(&sigpipe);
        pthread_sigmask(SIG_UNBLOCK, &sigpipe, NULL);
    }
    errno = error;
}

void minisock_release_sigpipe(int state)
{
    release_sigpipe(state, 1);
}

/* For the process, and for good; but not where somebody handles it. */
void minisock_ignore_sigpipe(void)
{
    struct sigaction action;

    if (sigaction(SIGPIPE, NULL, &action) == 0 &&
        !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &action, NULL);
    }
}

static ssize_t write_quietly(int fd, const void *data, size_t size)
{
    int state = minisock_hold_sigpipe();
    ssize_t n = write(fd, data, size);

    release_sigpipe(state, n < (ssize_t)size);
    return n;
}

int minisock_write_file(int fd, const void *data, size_t size)
{
    for (;;) {
        ssize_t n = write_quietly(fd, data, size);

        if (n >= 0)
            return (int)n;
        if (errno != EINTR)
            return -errno;
    }
}

/*
 * Against a deadline, a blocking pipe takes PIPE_BUF bytes at a time: so much
 * it takes without waiting once poll has said that there is room.
 */
static int send_file(int fd, const char *data, int size, double deadline,
                     int *sent)
{
    double pause = 0;
    int blocked = !isinf(deadline);

    while (*sent < size) {
        int piece = size - *sent;
        int n;

        if (blocked) {
            n = wait_again(fd, POLLOUT, deadline, &pause);
            if (n < 0)
                return n;
        }
        if (!isinf(deadline) && piece > PIPE_BUF)
            piece = PIPE_BUF;
        n = minisock_write_file(fd, data + *sent, (size_t)piece);
        if (n >= 0) {
            *sent += n;
            pause = 0;
        } else if (n == -EAGAIN) {
            blocked = 1;
        } else {
            return n;
        }
    }
    return 0;
}

/*
 * Goes on after a send(2) that ended with error, or 0: sends the bytes from
 * *sent to size and counts them in *sent as they go.
 */
int minisock_send_wait(int fd, const void *data, int size, int error,
                       double deadline, int *sent)
{
    const char *bytes = data;
    double pause = 0;

    if (error == ENOTSOCK)
        return send_file(fd, bytes, size, deadline, sent);
    while (*sent < size) {
        ssize_t n;

        if (is_over(error, deadline))
            return -ETIME;
        if (is_transient(error)) {
            int ready = wait_again(fd, POLLOUT, deadline, &pause);

            if (ready < 0)
                return ready;
        } else if (error != 0) {
            return -error;
        }
        n = send(fd, bytes + *sent, (size_t)(size - *sent),
                 MSG_NOSIGNAL | MSG_DONTWAIT);
        error = n < 0 ? errno : 0;
        if (n > 0)
            *sent += (int)n;
        if (n > 0 || error == EINTR)
            pause = 0;
    }
    return 0;
}

static ssize_t sendfile_quietly(int fd, int file, double offset, size_t size)
{
    off_t from = (off_t)offset;
    int state = minisock_hold_sigpipe();
    ssize_t n = sendfile(fd, file, offset < 0 ? NULL : &from, size);

    release_sigpipe(state, n < (ssize_t)size);
    return n;
}

/* Negative offsets go on from where the file is, and move it. After a signal,
   what is left of SO_SNDTIMEO is waited for room. */
int minisock_sendfile(int fd, int file, double offset, size_t size)
{
    const double start = minisock_now();

    for (;;) {
        ssize_t n = sendfile_quietly(fd, file, offset, size);
        double timeout;

        if (n >= 0)
            return (int)n;
        if (errno != EINTR)
            return -errno;
        timeout = send_timeout(fd);
        if (timeout > 0) {
            int ready = minisock_wait(fd, POLLOUT, start + timeout);

            if (ready < 0)
                return ready == -ETIME ? -EAGAIN : ready;
        }
    }
}

static int is_listener(int fd)
{
    int listening = 0;
    socklen_t size = sizeof listening;

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 &&
           listening;
}

/*
 * accept(2) has no MSG_DONTWAIT: of two processes that poll one listener, the
 * one that loses the race would block in accept past its deadline. So a
 * deadline makes the listener non-blocking, and leaves it so. What isn't a
 * listener is left alone; accept tells what it is.
 */
int minisock_accept_wait(int fd, void *addr, uint32_t *length,
                         double deadline)
{
    socklen_t room = *length;
    double pause = 0;

    if (!isinf(deadline) && is_listener(fd))
        minisock_set_nonblocking(fd, 1);
    for (;;) {
        int client;

        *length = room;
        client = accept4(fd, addr, length, SOCK_CLOEXEC);
        if (client >= 0)
            return client;
        if (is_over(errno, deadline))
            return -ETIME;
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            int ready = wait_again(fd, POLLIN, deadline, &pause);

            if (ready < 0)
                return ready;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return -errno;
        }
    }
}

static int connect_result(int fd, double deadline)
{
    int ready = minisock_wait(fd, POLLOUT, deadline);
    int error = 0;
    socklen_t size = sizeof error;

    if (ready < 0)
        return ready;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return -errno;
    return -error;
}

/*
 * What follows a connect(2) that ended with error. TCP goes on by itself and
 * must not be asked again; a Unix socket has given up, when interrupted or
 * when the server's queue is full, and must be. poll can't tell when there is
 * room in that queue, so it is tried at growing intervals.
 */
int minisock_connect_wait(int fd, const void *addr, uint32_t length,
                          int error, double deadline)
{
    sa_family_t family;
    double pause = 0.5;

    memcpy(&family, addr, sizeof family);
    while (family == AF_UNIX && is_transient(error)) {
        if (error != EINTR) {
            int expired = pause_until(pause, deadline);

            if (expired < 0)
                return expired;
            pause = pause < 16 ? pause * 2 : pause;
        }
        if (connect(fd, addr, length) == 0)
            return 0;
        error = errno;
    }
    if (error == EINPROGRESS || error == EINTR)
        return connect_result(fd, deadline);
    return -error;
}

int minisock_is_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags < 0 ? -errno : (flags & O_NONBLOCK) != 0;
}

int minisock_set_nonblocking(int fd, int on)
{
    return ioctl(fd, FIONBIO, &on) < 0 ? -errno : 0;
}

int minisock_is_closed_on_exec(int fd)
{
    int flags = fcntl(fd, F_GETFD);

    return flags < 0 ? -errno : (flags & FD_CLOEXEC) != 0;
}

int minisock_set_closed_on_exec(int fd, int on)
{
    return ioctl(fd, on ? FIOCLEX : FIONCLEX) < 0 ? -errno : 0;
}

int minisock_dup(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    return copy < 0 ? -errno : copy;
}

int minisock_dup2(int fd, int other)
{
    while (dup3(fd, other, O_CLOEXEC) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

int minisock_atmark(int fd)
{
    int at = sockatmark(fd);

    return at < 0 ? -errno : at;
}
