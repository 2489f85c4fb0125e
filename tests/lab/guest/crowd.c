/* The roles with thousands of threads, crowd-NUMBER: all in pause(2), their stacks in one mapping. */
#define _GNU_SOURCE
#include "gctest.h"
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define STACK ((size_t)PTHREAD_STACK_MIN)

static void *in_the_crowd(void *number)
{
    for (;;)
        pause();
    return number;
}

static void allow_threads(long count)
{
    FILE *out = fopen("/proc/sys/kernel/threads-max", "w");
    if (!out || fprintf(out, "%ld", count) < 0 || fclose(out))
        die("threads-max");
}

void run_crowd(const struct role *role)
{
    long count = atol(strchr(role->name, '-') + 1);
    size_t size = count * STACK;
    pthread_attr_t attributes;
    pthread_t id;
    char *stacks = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED || madvise(stacks, size, MADV_NOHUGEPAGE) || pthread_attr_init(&attributes))
        die("stacks");
    allow_threads(2 * count + 1000);
    for (long i = 1; i < count; i++)
        if (pthread_attr_setstack(&attributes, stacks + i * STACK, STACK) ||
            pthread_create(&id, &attributes, in_the_crowd, NULL))
            die("pthread_create");
    fact_number("crowd", count);
    main_blocks(role);
}
