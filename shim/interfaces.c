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

static struct minisock_interface *copy_item(const struct ifaddrs *from)
{
    struct minisock_interface *item = calloc(1, sizeof *item);

    if (item == NULL)
        return NULL;
    strncpy(item->name, from->ifa_name, sizeof item->name - 1);
    item->index = if_nametoindex(from->ifa_name);
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

int minisock_interfaces(struct minisock_interface **list)
{
    struct minisock_interface **end = list;
    struct ifaddrs *all;

    *list = NULL;
    if (getifaddrs(&all) != 0)
        return -errno;
    for (const struct ifaddrs *one = all; one != NULL; one = one->ifa_next) {
        *end = copy_item(one);
        if (*end == NULL) {
            freeifaddrs(all);
            minisock_free_interfaces(*list);
            *list = NULL;
            return -ENOMEM;
        }
        end = &(*end)->next;
    }
    freeifaddrs(all);
    return 0;
}
