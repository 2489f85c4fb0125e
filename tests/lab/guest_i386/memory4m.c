/* The roles about memory, with regions of 4 MiB for what large pages hold: so large they are without PAE. */
#define _GNU_SOURCE
#include "../guest/gctest.h"
#undef HUGE
#define HUGE (4UL << 20)
#include "../guest/memory.c"
