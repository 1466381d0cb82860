/*
 * The text of an errno. A file of its own, without _GNU_SOURCE, since that
 * would replace POSIX's strerror_r by another of the same name.
 */
#define _POSIX_C_SOURCE 200809L
#include <string.h>

#include "minisock.h"

void minisock_error_text(int error, char *buffer, size_t size)
{
    buffer[0] = '\0';
    strerror_r(error, buffer, size);
}
