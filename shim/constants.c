/* The platform's constants by name, so that Lua code holds no numbers. */
#define _GNU_SOURCE
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "minisock.h"

static const struct {
    const char *name;
    double value;
} constants[] = {
#define CONSTANT(name) { #name, name },
#include "constants.h"
};

/* Returns whether the platform has the constant. */
int minisock_constant(const char *name, double *value)
{
    const size_t count = sizeof constants / sizeof constants[0];

    for (size_t i = 0; i < count; i++) {
        if (strcmp(constants[i].name, name) == 0) {
            *value = constants[i].value;
            return 1;
        }
    }
    return 0;
}
