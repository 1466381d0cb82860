/* The platform's constants by name, so that Lua code holds no numbers. */
#define _GNU_SOURCE
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "minisock.h"

struct constant {
    const char *name;
    double value;
};

/* In the order of strcmp(3), in which the Makefile has sorted the list. */
static const struct constant constants[] = {
#define CONSTANT(name) { #name, name },
#include "constants.h"
};

static int compare(const void *name, const void *constant)
{
    return strcmp(name, ((const struct constant *)constant)->name);
}

/* Returns whether the platform has the constant. */
int minisock_constant(const char *name, double *value)
{
    const struct constant *found =
        bsearch(name, constants, sizeof constants / sizeof constants[0],
                sizeof constants[0], compare);

    if (found == NULL)
        return 0;
    *value = found->value;
    return 1;
}
