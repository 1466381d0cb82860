/* The network interfaces and their addresses, as a list of our own. */
#define _GNU_SOURCE
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <stdlib.h>
#include <string.h>

#include "minisock.h"

void minisock_free_interfaces(struct minisock_interface *list)
{
    while (list != NULL) {
        struct minisock_interface *next = list->next;

        free(list);
        list = next;
    }
}

static uint32_t address_length(const struct sockaddr *addr)
{
    if (addr == NULL)
        return 0;
    switch (addr->sa_family) {
    case AF_INET:
        return sizeof(struct sockaddr_in);
    case AF_INET6:
        return sizeof(struct sockaddr_in6);
    default:
        return 0;
    }
}

static void copy_hardware(struct minisock_interface *item,
                          const struct sockaddr *addr)
{
    struct sockaddr_ll link;

    if (addr == NULL || addr->sa_family != AF_PACKET)
        return;
    memcpy(&link, addr, sizeof link);
    if (link.sll_halen > sizeof item->hardware)
        return;
    item->hardware_length = link.sll_halen;
    memcpy(item->hardware, link.sll_addr, link.sll_halen);
}

static struct minisock_interface *copy_item(const struct ifaddrs *from,
                                            uint32_t index)
{
    struct minisock_interface *item = calloc(1, sizeof *item);

    if (item == NULL)
        return NULL;
    strncpy(item->name, from->ifa_name, sizeof item->name - 1);
    item->index = index;
    item->flags = from->ifa_flags;
    item->addr_length = address_length(from->ifa_addr);
    item->mask_length = address_length(from->ifa_netmask);
    if (item->addr_length > 0)
        memcpy(item->addr, from->ifa_addr, item->addr_length);
    if (item->mask_length > 0)
        memcpy(item->mask, from->ifa_netmask, item->mask_length);
    copy_hardware(item, from->ifa_addr);
    return item;
}

/*
 * The name may be a label that an address has: only what it is up to a colon
 * stands for an interface. One that stands for none has the index 0.
 */
static int copy_all(const struct ifaddrs *all,
                    struct minisock_interface **end)
{
    for (const struct ifaddrs *one = all; one != NULL; one = one->ifa_next) {
        uint32_t index = if_nametoindex(one->ifa_name);

        if (index == 0 && errno != ENODEV && errno != ENXIO)
            return -errno;
        *end = copy_item(one, index);
        if (*end == NULL)
            return -ENOMEM;
        end = &(*end)->next;
    }
    return 0;
}

int minisock_interfaces(struct minisock_interface **list)
{
    struct ifaddrs *all;
    int code;

    *list = NULL;
    if (getifaddrs(&all) != 0)
        return -errno;
    code = copy_all(all, list);
    freeifaddrs(all);
    if (code != 0) {
        minisock_free_interfaces(*list);
        *list = NULL;
    }
    return code;
}
