/* Tells valgrind where what is to be counted begins and ends. Part of floor,
 * and a library for client.lua. */
#include <valgrind/callgrind.h>

void bench_mark(int begins)
{
    if (begins)
        CALLGRIND_START_INSTRUMENTATION;
    else
        CALLGRIND_STOP_INSTRUMENTATION;
}
