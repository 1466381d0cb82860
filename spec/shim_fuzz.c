/*
 * Random bytes for what the shim makes of bytes, under libFuzzer: make
 * fuzz-shim. The first byte of an input chooses the function. The system's
 * lists of addresses and interfaces are made up of the others; messages go
 * through the kernel.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../shim/minisock.h"

/* What is left of the input. */
static const uint8_t *bytes;
static size_t left;

static uint8_t next_byte(void)
{
    if (left == 0)
        return 0;
    left--;
    return *bytes++;
}

static size_t take(void *to, size_t size)
{
    size_t n = size < left ? size : left;

    memset(to, 0, size);
    memcpy(to, bytes, n);
    bytes += n;
    left -= n;
    return n;
}

/* Memory of that size and no more, so that one byte beyond it is seen. */
static void *take_new(size_t size)
{
    void *memory = malloc(size > 0 ? size : 1);

    take(memory, size);
    return memory;
}

static char *take_string(void)
{
    size_t size = next_byte() * 2u;
    char *text = malloc(size + 1);

    text[take(text, size)] = '\0';
    return text;
}

static void made_up_freeaddrinfo(struct addrinfo *list)
{
    while (list != NULL) {
        struct addrinfo *next = list->ai_next;

        free(list->ai_addr);
        free(list->ai_canonname);
        free(list);
        list = next;
    }
}

static int made_up_getaddrinfo(const char *host, const char *service,
                               const struct addrinfo *hints,
                               struct addrinfo **list)
{
    int count = next_byte() % 8;

    (void)host, (void)service, (void)hints;
    while (count-- > 0) {
        struct addrinfo *item = calloc(1, sizeof *item);

        item->ai_family = next_byte();
        item->ai_addrlen = next_byte();
        item->ai_addr = take_new(item->ai_addrlen);
        item->ai_canonname = next_byte() % 2 ? take_string() : NULL;
        item->ai_next = *list;
        *list = item;
    }
    if (next_byte() % 8 == 0) {
        made_up_freeaddrinfo(*list);
        *list = NULL;
        return EAI_NONAME;
    }
    return 0;
}

static struct sockaddr *take_sockaddr(void)
{
    static const struct { sa_family_t family; size_t size; } kinds[] = {
        { AF_INET, sizeof(struct sockaddr_in) },
        { AF_INET6, sizeof(struct sockaddr_in6) },
        { AF_PACKET, sizeof(struct sockaddr_ll) },
        { AF_UNSPEC, sizeof(struct sockaddr) }
    };
    uint8_t kind = next_byte() % 5;
    struct sockaddr *addr;

    if (kind == 4)
        return NULL;
    addr = take_new(kinds[kind].size);
    addr->sa_family = kinds[kind].family;
    return addr;
}

static void made_up_freeifaddrs(struct ifaddrs *list)
{
    while (list != NULL) {
        struct ifaddrs *next = list->ifa_next;

        free(list->ifa_addr);
        free(list->ifa_netmask);
        free(list->ifa_name);
        free(list);
        list = next;
    }
}

static int made_up_getifaddrs(struct ifaddrs **list)
{
    int count = next_byte() % 8;

    *list = NULL;
    while (count-- > 0) {
        struct ifaddrs *item = calloc(1, sizeof *item);

        item->ifa_name = take_string();
        item->ifa_flags = next_byte();
        item->ifa_addr = take_sockaddr();
        item->ifa_netmask = take_sockaddr();
        item->ifa_next = *list;
        *list = item;
    }
    return 0;
}

#define getaddrinfo made_up_getaddrinfo
#define freeaddrinfo made_up_freeaddrinfo
#define getifaddrs made_up_getifaddrs
#define freeifaddrs made_up_freeifaddrs
#include "../shim/interfaces.c"
#include "../shim/resolve.c"

static void fuzz_constant(void)
{
    char *name = take_string();
    double value;

    minisock_constant(name, &value);
    free(name);
}

static void fuzz_error_text(void)
{
    int error;
    size_t size = 1 + next_byte();
    char *text = malloc(size);

    take(&error, sizeof error);
    minisock_error_text(error, text, size);
    assert(memchr(text, '\0', size) != NULL);
    free(text);
}

static void fuzz_resolve(void)
{
    char *host = take_string();
    struct minisock_lookup lookup;

    minisock_resolve(host, NULL, 0, 0, 0, 0, INFINITY, &lookup);
    for (struct minisock_addrinfo *item = lookup.list; item != NULL;
         item = item->next) {
        assert(item->length <= sizeof item->addr);
        assert(memchr(item->canonname, '\0', sizeof item->canonname) != NULL);
    }
    minisock_free_list(lookup.list);
    free(host);
}

static void fuzz_interfaces(void)
{
    struct minisock_interface *list;

    assert(minisock_interfaces(&list) == 0);
    for (struct minisock_interface *item = list; item != NULL;
         item = item->next) {
        assert(item->addr_length <= sizeof item->addr);
        assert(item->mask_length <= sizeof item->mask);
        assert(item->hardware_length <= sizeof item->hardware);
        assert(memchr(item->name, '\0', sizeof item->name) != NULL);
    }
    minisock_free_interfaces(list);
}

static void close_received(struct minisock_message *message)
{
    struct msghdr header = { .msg_control = message->control,
                             .msg_controllen = message->control_length };

    for (struct cmsghdr *one = CMSG_FIRSTHDR(&header); one != NULL;
         one = CMSG_NXTHDR(&header, one)) {
        size_t count = (one->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(one) + i * sizeof fd, sizeof fd);
            close(fd);
        }
    }
}

static void receive(int fd)
{
    struct minisock_message *message = calloc(1, sizeof *message);
    uint8_t size = next_byte();
    uint8_t *room = malloc(size > 0 ? size : 1);
    struct minisock_iovec piece = { room, size };
    uint32_t control_room = next_byte() * 8u;
    int n;

    message->pieces = &piece;
    message->piece_count = 1;
    message->addr_length = next_byte() % 129;
    message->control_length = control_room;
    n = minisock_recvmsg(fd, message, 0, 0);
    assert(n <= size);
    if (n >= 0) {
        assert(message->control_length <= control_room);
        close_received(message);
    }
    free(room);
    free(message);
}

static void fuzz_message(void)
{
    struct minisock_message *message = calloc(1, sizeof *message);
    int fds[2], type = next_byte() % 2 ? SOCK_DGRAM : SOCK_STREAM;
    uint8_t size = next_byte();
    uint8_t *data = take_new(size);
    struct minisock_iovec piece = { data, size };

    assert(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds)
           == 0);
    message->pieces = &piece;
    message->piece_count = 1;
    if (next_byte() % 4 == 0) {
        message->addr_length = next_byte() % 129;
        take(message->addr, message->addr_length);
    }
    if (next_byte() % 2) {
        struct cmsghdr header = { .cmsg_level = SOL_SOCKET };

        message->control_length = next_byte() * 8u;
        take(message->control, message->control_length);
        header.cmsg_type = next_byte() % 4;
        header.cmsg_len = next_byte() % 4 ? message->control_length
                                          : next_byte();
        if (message->control_length >= sizeof header)
            memcpy(message->control, &header, sizeof header);
    }
    minisock_sendmsg(fds[0], message, 0);
    receive(fds[1]);
    close(fds[0]);
    close(fds[1]);
    free(data);
    free(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const functions[])(void) = {
        fuzz_constant, fuzz_error_text, fuzz_resolve, fuzz_interfaces,
        fuzz_message
    };

    bytes = data;
    left = size;
    functions[next_byte() % (sizeof functions / sizeof functions[0])]();
    return 0;
}
