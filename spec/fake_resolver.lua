--- A getaddrinfo(3) that does what name servers do rarely: a library to be
--- preloaded. Names that end in .test are its own:
---
---   many.test    the addresses in FAKE_ADDRESSES, after commas; by default
---                127.0.0.2 to 127.0.0.51
---   slow.test    the same, FAKE_DELAY ms later; EAI_AGAIN if a signal comes
---   system.test  EAI_SYSTEM, for ENETDOWN
---
--- and all others don't exist. Digits and other names are the real one's, but
--- with FAKE_ONLY set no name server is asked. FAKE_NO_THREADS leaves no room
--- for another thread.
local support = require "spec.support"

local SOURCE = [==[
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static atomic_int outstanding;

/* How many lists haven't been freed. */
int fake_outstanding(void)
{
    return outstanding;
}

typedef int resolve(const char *, const char *, const struct addrinfo *,
                    struct addrinfo **);
typedef int name(const struct sockaddr *, socklen_t, char *, socklen_t,
                 char *, socklen_t, int);
typedef int start(pthread_t *, const pthread_attr_t *, void *(*)(void *),
                  void *);

/* Our own copies, so that freeaddrinfo needn't ask whose they are. */
static struct addrinfo **append(struct addrinfo **end,
                                const struct addrinfo *list)
{
    for (; list != NULL; list = list->ai_next) {
        struct addrinfo *item = malloc(sizeof *item + list->ai_addrlen);

        *item = *list;
        item->ai_canonname = NULL;
        item->ai_addr = (struct sockaddr *)(item + 1);
        item->ai_next = NULL;
        memcpy(item->ai_addr, list->ai_addr, list->ai_addrlen);
        *end = item;
        end = &item->ai_next;
    }
    return end;
}

void freeaddrinfo(struct addrinfo *list)
{
    outstanding--;
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;

        free(list);
        list = next;
    }
}

/* Appends what the real one says. */
static int ask(const char *host, const char *service,
               const struct addrinfo *hints, struct addrinfo ***end)
{
    resolve *real = (resolve *)dlsym(RTLD_NEXT, "getaddrinfo");
    void (*release)(struct addrinfo *) =
        (void (*)(struct addrinfo *))dlsym(RTLD_NEXT, "freeaddrinfo");
    struct addrinfo *found;
    int error = real(host, service, hints, &found);

    if (error == 0) {
        *end = append(*end, found);
        release(found);
    }
    return error;
}

static char *addresses(void)
{
    const char *given = getenv("FAKE_ADDRESSES");
    char *list = calloc(1, 1024);

    if (given != NULL)
        strncpy(list, given, 1023);
    else
        for (int last = 2, length = 0; last <= 51; last++)
            length += sprintf(list + length, "127.0.0.%d,", last);
    return list;
}

static int ask_many(const char *service, const struct addrinfo *hints,
                    struct addrinfo ***end)
{
    struct addrinfo digits = *hints;
    char *list, *rest, *host;
    int error = EAI_NONAME;

    if (service != NULL && strspn(service, "0123456789") != strlen(service))
        return EAI_SERVICE;
    digits.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    rest = list = addresses();
    while ((host = strsep(&rest, ",")) != NULL)
        if (ask(host, service, &digits, end) == 0)
            error = 0;
    free(list);
    return error;
}

static int wait_long(void)
{
    const char *delay = getenv("FAKE_DELAY");
    long ms = delay != NULL ? atol(delay) : 60000;
    struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

    return nanosleep(&time, NULL);
}

static int is_numeric(const char *host)
{
    struct in_addr address;

    return inet_aton(host, &address) || strchr(host, ':') != NULL;
}

static int answer(const char *host, const char *service,
                  const struct addrinfo *hints, struct addrinfo ***end)
{
    size_t length = host != NULL ? strlen(host) : 0;
    int is_ours = length > 5 && strcmp(host + length - 5, ".test") == 0;

    if (host == NULL || hints->ai_flags & AI_NUMERICHOST)
        return ask(host, service, hints, end);
    if (!is_ours && getenv("FAKE_ONLY") != NULL && !is_numeric(host))
        return EAI_NONAME;
    if (!is_ours)
        return ask(host, service, hints, end);
    if (strcmp(host, "many.test") == 0)
        return ask_many(service, hints, end);
    if (strcmp(host, "slow.test") == 0)
        return wait_long() == 0 ? ask_many(service, hints, end) : EAI_AGAIN;
    if (strcmp(host, "system.test") == 0) {
        errno = ENETDOWN;
        return EAI_SYSTEM;
    }
    return EAI_NONAME;
}

int getaddrinfo(const char *host, const char *service,
                const struct addrinfo *hints, struct addrinfo **list)
{
    static const struct addrinfo none;
    struct addrinfo **end = list;
    int error;

    *list = NULL;
    error = answer(host, service, hints != NULL ? hints : &none, &end);
    if (error == 0)
        outstanding++;
    return error;
}

int getnameinfo(const struct sockaddr *addr, socklen_t length, char *host,
                socklen_t host_size, char *service, socklen_t service_size,
                int flags)
{
    name *real = (name *)dlsym(RTLD_NEXT, "getnameinfo");

    if (getenv("FAKE_ONLY") != NULL)
        flags |= NI_NUMERICHOST;
    return real(addr, length, host, host_size, service, service_size, flags);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                   void *(*run)(void *), void *argument)
{
    start *real = (start *)dlsym(RTLD_NEXT, "pthread_create");

    if (getenv("FAKE_NO_THREADS") != NULL)
        return EAGAIN;
    return real(thread, attributes, run, argument);
}
]==]

local fake_resolver = {}

--- Builds it into a directory, and returns the command line of a LuaJIT that
--- uses it.
function fake_resolver.build(dir)
    return support.preloading(
        support.build_library(dir, "fake_resolver", SOURCE, "-ldl"))
end

return fake_resolver
