--- What each call of libc's that minisock makes may fail with, as its man page
--- lists it, the protocols' own errors included. A new call gets a line here.

-- Of a connection, at any time: tcp(7), ip(7), udp(7).
local NETWORK = "ECONNREFUSED ECONNRESET EHOSTUNREACH ENETDOWN ENETUNREACH "
    .. "ETIMEDOUT "
-- ENOTSOCK isn't one of them: by that a pipe is told from a socket, and a real
-- pipe is what says so.
local SENDING = "EACCES EAGAIN EALREADY EBADF EDESTADDRREQ EFAULT EINTR EINVAL "
    .. "EISCONN EMSGSIZE ENOBUFS ENOMEM ENOTCONN EOPNOTSUPP EPERM "
    .. "EPIPE " .. NETWORK
local RECEIVING = "EAGAIN EBADF EFAULT EINTR EINVAL ENOMEM ENOTCONN " .. NETWORK
local FILE_FLAGS = "EBADF EFAULT EINVAL EMFILE"
local EAI = "EAI_AGAIN EAI_FAIL EAI_FAMILY EAI_MEMORY EAI_NONAME EAI_SERVICE "
    .. "EAI_SYSTEM"

local errnos = {
    accept4 = "EAGAIN EBADF ECONNABORTED EFAULT EINTR EINVAL EMFILE ENFILE "
        .. "ENOBUFS ENOMEM ENOTSOCK EOPNOTSUPP EPERM EPROTO " .. NETWORK,
    bind = "EACCES EADDRINUSE EADDRNOTAVAIL EBADF EFAULT EINVAL ELOOP "
        .. "ENAMETOOLONG ENOENT ENOMEM ENOTDIR ENOTSOCK EPERM EROFS",
    close = "EBADF EINTR EIO ENOSPC",
    connect = "EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN EALREADY "
        .. "EBADF EFAULT EINPROGRESS EINTR EISCONN ENOTSOCK EPERM EPROTOTYPE "
        .. NETWORK,
    dup3 = "EBADF EBUSY EINTR EINVAL EMFILE",
    epoll_create1 = "EINVAL EMFILE ENFILE ENOMEM",
    epoll_ctl = "EBADF EEXIST EINVAL ELOOP ENOENT ENOMEM ENOSPC EPERM",
    epoll_wait = "EBADF EFAULT EINTR EINVAL",
    fcntl = FILE_FLAGS,
    fcntl64 = FILE_FLAGS,
    getaddrinfo = EAI,
    getifaddrs = "EACCES EMFILE ENFILE ENOBUFS ENOMEM",
    getnameinfo = EAI,
    getpeername = "EBADF EFAULT EINVAL ENOBUFS ENOTCONN ENOTSOCK",
    getsockname = "EBADF EFAULT EINVAL ENOBUFS ENOTSOCK",
    getsockopt = "EBADF EFAULT EINVAL ENOPROTOOPT ENOTSOCK",
    if_nametoindex = "EMFILE ENFILE ENODEV ENOMEM",
    ioctl = "EBADF EFAULT EINVAL ENOTTY",
    listen = "EADDRINUSE EBADF ENOTSOCK EOPNOTSUPP",
    poll = "EFAULT EINTR EINVAL ENOMEM",
    pthread_create = "EAGAIN EINVAL EPERM",
    read = "EAGAIN EBADF EFAULT EINTR EINVAL EIO EISDIR",
    recv = RECEIVING,
    recvmmsg = RECEIVING,
    recvmsg = RECEIVING .. " EMFILE",
    send = SENDING,
    sendfile = "EAGAIN EBADF EFAULT EINTR EINVAL EIO ENOMEM EOVERFLOW EPIPE "
        .. "ESPIPE " .. NETWORK,
    sendmmsg = SENDING,
    sendmsg = SENDING .. " ETOOMANYREFS",
    sendto = SENDING,
    setsockopt = "EACCES EBADF EDOM EFAULT EINVAL ENODEV ENOMEM ENOPROTOOPT "
        .. "ENOTSOCK EPERM",
    shutdown = "EBADF EINVAL ENOTCONN ENOTSOCK",
    sigtimedwait = "EINTR",
    sockatmark = "EBADF EINVAL ENOTTY",
    socket = "EACCES EAFNOSUPPORT EINVAL EMFILE ENFILE ENOBUFS ENOMEM "
        .. "EPROTONOSUPPORT",
    socketpair = "EAFNOSUPPORT EFAULT EMFILE ENFILE EOPNOTSUPP "
        .. "EPROTONOSUPPORT",
    write = "EAGAIN EBADF EFAULT EINTR EINVAL EIO ENOSPC EPERM "
        .. "EPIPE",
}
errnos.sendfile64 = errnos.sendfile

--- After which of these a call is made again, or goes on in another way, so
--- that nobody notices; unless an operation says otherwise. ENOTSOCK is how a
--- pipe is told from a socket.
local goes_on = {
    accept4 = "EAGAIN ECONNABORTED EINTR",
    close = "EINTR",
    connect = "EINPROGRESS EINTR",
    dup3 = "EINTR",
    epoll_wait = "EINTR",
    poll = "EINTR",
    read = "EAGAIN EINTR",
    recv = "EAGAIN EINTR",
    recvmmsg = "EAGAIN EINTR",
    recvmsg = "EAGAIN EINTR",
    send = "EAGAIN EINTR",
    sendfile = "EINTR",
    sendfile64 = "EINTR",
    sendmmsg = "EINTR",
    sendmsg = "EINTR",
    sendto = "EINTR",
    sigtimedwait = "EINTR",
    write = "EAGAIN EINTR",
}

--- Linux has done these although it says that it hasn't, or not yet.
local made = {
    close = "EBADF EINTR EIO ENOSPC",
    connect = "EINPROGRESS EINTR",
}

--- Functions of libc's that are no system calls, or can't fail.
local harmless = "calloc clock_gettime fmod free freeaddrinfo freeifaddrs "
    .. "gai_strerror getpid gettimeofday inet_ntop "
    .. "inet_pton memcmp memcpy sigaction sigaddset "
    .. "sigemptyset sigfillset sigismember sigpending strcmp strdup strncpy "
    .. "__errno_location __xpg_strerror_r "
    .. "pthread_attr_destroy pthread_attr_init pthread_attr_setdetachstate "
    .. "pthread_cond_destroy pthread_cond_init pthread_cond_signal "
    .. "pthread_cond_timedwait pthread_condattr_destroy pthread_condattr_init "
    .. "pthread_condattr_setclock pthread_mutex_destroy pthread_mutex_init "
    .. "pthread_mutex_lock pthread_mutex_unlock pthread_sigmask"

--- Whether a list of words, or none, has a word.
local function has(list, word)
    if not list then return false end
    return (" " .. list .. " "):find(" " .. word .. " ", 1, true) ~= nil
end

return {
    of = errnos,
    goes_on = goes_on,
    made = made,
    harmless = harmless,
    has = has,
}
