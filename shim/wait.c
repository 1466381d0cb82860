/*
 * Waiting against a deadline, and the tails of the calls that wait: what is
 * left to do when the first try, which Lua makes by itself, found nothing
 * ready. A signal never ends, shortens or lengthens a wait.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
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

/* read(2) can't be told not to block, so a pipe or a tty is polled first. */
static int read_file(int fd, void *buffer, size_t size, double deadline)
{
    for (;;) {
        int ready = minisock_wait(fd, POLLIN, deadline);
        ssize_t n;

        if (ready < 0)
            return ready;
        n = read(fd, buffer, size);
        if (n >= 0)
            return (int)n;
        if (!is_transient(errno))
            return -errno;
    }
}

int minisock_read_wait(int fd, void *buffer, size_t size, double deadline)
{
    for (;;) {
        ssize_t n = recv(fd, buffer, size, MSG_DONTWAIT);
        int ready;

        if (n >= 0)
            return (int)n;
        if (errno == ENOTSOCK)
            return read_file(fd, buffer, size, deadline);
        if (!is_transient(errno))
            return -errno;
        ready = minisock_wait(fd, POLLIN, deadline);
        if (ready < 0)
            return ready;
    }
}

/*
 * The kernel reports no address both for a stream and for a Unix datagram
 * whose sender has no name; the latter is an address, an unnamed one.
 */
static void name_unnamed(int fd, struct minisock_sender *sender)
{
    int domain = 0, type = 0;
    socklen_t size = sizeof domain;
    sa_family_t family = AF_UNIX;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0)
        return;
    if (domain == AF_UNIX && type == SOCK_DGRAM) {
        memcpy(sender->addr, &family, sizeof family);
        sender->length = sizeof family;
    }
}

int minisock_recvfrom_wait(int fd, void *buffer, size_t size,
                           struct minisock_sender *sender, double deadline)
{
    for (;;) {
        struct iovec piece = { .iov_base = buffer, .iov_len = size };
        struct msghdr message = {
            .msg_name = sender->addr,
            .msg_namelen = sizeof sender->addr,
            .msg_iov = &piece,
            .msg_iovlen = 1
        };
        ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT);
        int ready;

        if (n >= 0) {
            sender->length = message.msg_namelen;
            sender->truncated = (message.msg_flags & MSG_TRUNC) != 0;
            if (sender->length == 0)
                name_unnamed(fd, sender);
            return (int)n;
        }
        if (!is_transient(errno))
            return -errno;
        ready = minisock_wait(fd, POLLIN, deadline);
        if (ready < 0)
            return ready;
    }
}

/*
 * write(2) for what isn't a socket, where there is no MSG_NOSIGNAL: SIGPIPE
 * is held off for this thread alone, and one that this write raised is taken
 * back. The process's disposition stays as it is.
 */
static ssize_t write_quietly(int fd, const void *data, size_t size)
{
    const struct timespec at_once = { 0, 0 };
    sigset_t sigpipe, pending, before;
    ssize_t n;
    int error;

    sigemptyset(&sigpipe);
    sigaddset(&sigpipe, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &sigpipe, &before);
    n = write(fd, data, size);
    error = errno;
    if (n < 0 && error == EPIPE && !sigismember(&pending, SIGPIPE))
        while (sigtimedwait(&sigpipe, NULL, &at_once) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
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
    while (*sent < size) {
        int piece = size - *sent;
        int n;

        if (!isinf(deadline)) {
            n = minisock_wait(fd, POLLOUT, deadline);
            if (n < 0)
                return n;
            if (piece > PIPE_BUF)
                piece = PIPE_BUF;
        }
        n = minisock_write_file(fd, data + *sent, (size_t)piece);
        if (n >= 0)
            *sent += n;
        else if (n != -EAGAIN)
            return n;
        else if ((n = minisock_wait(fd, POLLOUT, deadline)) < 0)
            return n;
    }
    return 0;
}

/* Sends the bytes from *sent to size and counts them in *sent as they go. */
int minisock_send_wait(int fd, const void *data, int size, double deadline,
                       int *sent)
{
    const char *bytes = data;

    while (*sent < size) {
        ssize_t n = send(fd, bytes + *sent, (size_t)(size - *sent),
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0) {
            *sent += (int)n;
        } else if (errno == ENOTSOCK) {
            return send_file(fd, bytes, size, deadline, sent);
        } else if (is_transient(errno)) {
            int ready = minisock_wait(fd, POLLOUT, deadline);

            if (ready < 0)
                return ready;
        } else {
            return -errno;
        }
    }
    return 0;
}

/*
 * accept(2) has no MSG_DONTWAIT: of two processes that poll one listener, the
 * one that loses the race would block in accept past its deadline. So a
 * deadline makes the listener non-blocking, and leaves it so.
 */
int minisock_accept_wait(int fd, void *addr, uint32_t *length,
                         double deadline)
{
    socklen_t room = *length;

    if (!isinf(deadline)) {
        int error = minisock_set_nonblocking(fd, 1);

        if (error < 0)
            return error;
    }
    for (;;) {
        int client;

        *length = room;
        client = accept4(fd, addr, length, SOCK_CLOEXEC);
        if (client >= 0)
            return client;
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            int ready = minisock_wait(fd, POLLIN, deadline);

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

static int pause_until(double pause, double deadline)
{
    double until = minisock_now() + pause;

    if (deadline < until)
        until = deadline;
    minisock_poll(NULL, 0, until);
    return remaining(deadline) == 0 ? -ETIME : 0;
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
