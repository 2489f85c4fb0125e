/* Included before every source of gctest when it is built for i386: its 64-bit numbers are as long as a register,
   as the printf formats of gctest say. */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/types.h>
#define uint64_t unsigned long
