/*
 * Carries the text of cdefs/ to LuaJIT, and proves to the C compiler that the
 * structures in it are the system's own.
 */
#define _GNU_SOURCE
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include "minisock.h"

#define SAME_SIZE(ours, theirs)                                             \
    _Static_assert(sizeof(struct ours) == sizeof(struct theirs),            \
                   "struct " #theirs " has another size")

#define SAME_FIELD(ours, field, theirs, system_field)                       \
    _Static_assert(offsetof(struct ours, field) ==                          \
                   offsetof(struct theirs, system_field),                   \
                   #theirs "." #system_field " is elsewhere");              \
    _Static_assert(sizeof(((struct ours *)0)->field) ==                     \
                   sizeof(((struct theirs *)0)->system_field),              \
                   #theirs "." #system_field " has another size")

SAME_SIZE(minisock_pollfd, pollfd);
SAME_FIELD(minisock_pollfd, fd, pollfd, fd);
SAME_FIELD(minisock_pollfd, events, pollfd, events);
SAME_FIELD(minisock_pollfd, revents, pollfd, revents);

SAME_SIZE(minisock_sockaddr_in, sockaddr_in);
SAME_FIELD(minisock_sockaddr_in, family, sockaddr_in, sin_family);
SAME_FIELD(minisock_sockaddr_in, port, sockaddr_in, sin_port);
SAME_FIELD(minisock_sockaddr_in, addr, sockaddr_in, sin_addr);

SAME_SIZE(minisock_sockaddr_in6, sockaddr_in6);
SAME_FIELD(minisock_sockaddr_in6, family, sockaddr_in6, sin6_family);
SAME_FIELD(minisock_sockaddr_in6, port, sockaddr_in6, sin6_port);
SAME_FIELD(minisock_sockaddr_in6, flowinfo, sockaddr_in6, sin6_flowinfo);
SAME_FIELD(minisock_sockaddr_in6, addr, sockaddr_in6, sin6_addr);
SAME_FIELD(minisock_sockaddr_in6, scope, sockaddr_in6, sin6_scope_id);

SAME_SIZE(minisock_linger, linger);
SAME_FIELD(minisock_linger, on, linger, l_onoff);
SAME_FIELD(minisock_linger, seconds, linger, l_linger);

SAME_SIZE(minisock_timeval, timeval);
SAME_FIELD(minisock_timeval, seconds, timeval, tv_sec);
SAME_FIELD(minisock_timeval, microseconds, timeval, tv_usec);

SAME_SIZE(minisock_ucred, ucred);
SAME_FIELD(minisock_ucred, pid, ucred, pid);
SAME_FIELD(minisock_ucred, uid, ucred, uid);
SAME_FIELD(minisock_ucred, gid, ucred, gid);

SAME_SIZE(minisock_iovec, iovec);
SAME_FIELD(minisock_iovec, base, iovec, iov_base);
SAME_FIELD(minisock_iovec, size, iovec, iov_len);

/* cmsg_len is a size_t in glibc, and a socklen_t and padding in musl. */
SAME_SIZE(minisock_cmsghdr, cmsghdr);
SAME_FIELD(minisock_cmsghdr, level, cmsghdr, cmsg_level);
SAME_FIELD(minisock_cmsghdr, type, cmsghdr, cmsg_type);

SAME_SIZE(minisock_group_req, group_req);
SAME_FIELD(minisock_group_req, interface, group_req, gr_interface);
SAME_FIELD(minisock_group_req, group, group_req, gr_group);

SAME_SIZE(minisock_group_source_req, group_source_req);
SAME_FIELD(minisock_group_source_req, interface, group_source_req,
           gsr_interface);
SAME_FIELD(minisock_group_source_req, group, group_source_req, gsr_group);
SAME_FIELD(minisock_group_source_req, source, group_source_req, gsr_source);

/* As with cmsg_len, so with what counts here. */
SAME_SIZE(minisock_msghdr, msghdr);
SAME_FIELD(minisock_msghdr, name, msghdr, msg_name);
SAME_FIELD(minisock_msghdr, name_size, msghdr, msg_namelen);
SAME_FIELD(minisock_msghdr, pieces, msghdr, msg_iov);
SAME_FIELD(minisock_msghdr, control, msghdr, msg_control);
SAME_FIELD(minisock_msghdr, flags, msghdr, msg_flags);

SAME_SIZE(minisock_mmsghdr, mmsghdr);
SAME_FIELD(minisock_mmsghdr, header, mmsghdr, msg_hdr);
SAME_FIELD(minisock_mmsghdr, size, mmsghdr, msg_len);

SAME_SIZE(minisock_epoll_event, epoll_event);
SAME_FIELD(minisock_epoll_event, events, epoll_event, events);
_Static_assert(offsetof(struct minisock_epoll_event, fd) ==
               offsetof(struct epoll_event, data),
               "struct epoll_event.data is elsewhere");

_Static_assert(sizeof((struct minisock_interface *)0)->name == IFNAMSIZ,
               "minisock_interface cannot hold every name");
_Static_assert(sizeof((struct minisock_message *)0)->addr ==
               sizeof(struct sockaddr_storage),
               "minisock_message cannot hold every address");
_Static_assert(sizeof((struct minisock_addrinfo *)0)->addr >=
               sizeof(struct sockaddr_in6),
               "minisock_addrinfo cannot hold an IPv6 address");

#define CDEF(...) #__VA_ARGS__
static const char text[] =
#include "../cdefs/system.h"
#include "../cdefs/shim.h"
;

const char *minisock_cdefs(void)
{
    return text;
}

const char *minisock_version(void)
{
    return MINISOCK_VERSION;
}
