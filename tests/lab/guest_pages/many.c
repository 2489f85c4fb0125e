/* Roles that are much of one thing: a mapping of 1 TiB with little in it, and very many mappings. */
#define _GNU_SOURCE
#include "../guest/gctest.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TERA (1UL << 40)
#define TOUCHED 100

static char *region(const char *name, size_t size, int flags, int fd)
{
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0);
    if (at == MAP_FAILED)
        die(name);
    madvise(at, size, MADV_NOHUGEPAGE);
    return at;
}

static void touch_some(char *at)
{
    for (size_t i = 0; i < TOUCHED; i++)
        *(uint64_t *)(at + i * (TERA / TOUCHED / PAGE) * PAGE) = i + 1;
}

void run_sparse(const struct role *role)
{
    char *at = region("sparse", TERA, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    touch_some(at);
    fact_region("sparse", at, TERA, "words");
    main_blocks(role);
}

/* Likewise of a file, whose pages are only in its cache. */
void run_sparse_file(const struct role *role)
{
    int fd = memfd_create("sparse", 0);
    if (fd < 0 || ftruncate(fd, TERA))
        die("sparse");
    char *writing = region("sparse", TERA, MAP_SHARED, fd);
    touch_some(writing);
    munmap(writing, TERA);
    fact_region("sparse-file", region("sparse", TERA, MAP_SHARED, fd), TERA, "words");
    main_blocks(role);
}

/* As many mappings as the role's name says: pages of a region that may be written and not, in turn. */
void run_mappings(const struct role *role)
{
    size_t count = strtoul(strchr(role->name, '-') + 1, NULL, 10);
    FILE *limit = fopen("/proc/sys/vm/max_map_count", "w");
    if (!limit || fputs("1000000", limit) < 0 || fclose(limit))
        die("/proc/sys/vm/max_map_count");
    char *at = region("mappings", count * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    for (size_t i = 0; i < count; i += 10)
        *(uint64_t *)(at + i * PAGE) = i + 1;
    for (size_t i = 1; i < count; i += 2)
        if (mprotect(at + i * PAGE, PAGE, PROT_READ))
            die("mprotect");
    fact_region("mappings", at, count * PAGE, "words");
    main_blocks(role);
}
