/* What the shim's files share: the declarations in cdefs/, as C sees them. */
#ifndef MINISOCK_H
#define MINISOCK_H

#include <stddef.h>
#include <stdint.h>

#define CDEF(...) __VA_ARGS__
#include "../cdefs/system.h"
#include "../cdefs/shim.h"
#undef CDEF

/* The two that Lua declares by hand, to get at the rest. */
const char *minisock_version(void);
const char *minisock_cdefs(void);

#endif
