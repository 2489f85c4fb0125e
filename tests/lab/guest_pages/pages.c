/* Roles about where pages are when they are not in the page table: `cached` has them in the caches of files, huge1g in
   a page of 1 GiB; filter-BITS runs `memory` with a filter of its own. */
#define _GNU_SOURCE
#define main ordinary_main
#include "../guest/main.c"
#undef main
#include "../guest/memory.c"
#include <linux/memfd.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#define GIGANTIC (1UL << 30)

/* Spell the pages of a list such as "0,1,777", by another mapping of the file than the one that is looked at. */
static void spell_file(const char *name, int fd, size_t size, const char *list)
{
    char *at = map(size, MAP_SHARED, fd);
    for (char *end; *list >= '0' && *list <= '9'; list = end + (*end == ',')) {
        size_t page = strtoul(list, &end, 10);
        spell(at + page * PAGE, name, page);
    }
    munmap(at, size);
}

static const struct cached {
    const char *name, *folder, *written;
    size_t size;      /* of the file */
    int flags, prot;  /* of the mapping, which is not touched */
    size_t left;      /* of the file, once it is mapped: it is cut to so many bytes; 0: it stays */
    int allocated;    /* with fallocate(2), before anything is written */
} cached[] = {
    {"ramfs-private", "/files", "0,1,5", 8 * PAGE, MAP_PRIVATE, PROT_READ, 0, 0},
    {"ramfs-shared", "/files", "0,1,5", 8 * PAGE, MAP_SHARED, PROT_READ | PROT_WRITE, 0, 0},
    {"ramfs-cut", "/files", "0,1", 6 * PAGE, MAP_PRIVATE, PROT_READ, 5 * PAGE / 2, 0},
    {"tmpfs-private", "/tmp", "2,3,7", 8 * PAGE, MAP_PRIVATE, PROT_READ, 0, 0},
    {"tmpfs-shared", "/tmp", "2,3,7", 8 * PAGE, MAP_SHARED, PROT_READ | PROT_WRITE, 0, 0},
    {"tmpfs-none", "/tmp", "0,1,2", 4 * PAGE, MAP_SHARED, PROT_NONE, 0, 0},
    {"tmpfs-write-only", "/tmp", "0,1,2", 4 * PAGE, MAP_SHARED, PROT_WRITE, 0, 0},
    {"tmpfs-cut", "/tmp", "0,1", 6 * PAGE, MAP_SHARED, PROT_READ, 5 * PAGE / 2, 0},
    {"tmpfs-allocated", "/tmp", "4", 8 * PAGE, MAP_SHARED, PROT_READ, 0, 1},
    {"large-private", "/large", "0,1,511,512,700,1030", 2 * HUGE + 9 * PAGE, MAP_PRIVATE, PROT_READ, 0, 0},
    {"large-shared", "/large", "3,511,513", 2 * HUGE, MAP_SHARED, PROT_READ, 0, 0},
    {"memfd-private", NULL, "0,9", 10 * PAGE, MAP_PRIVATE, PROT_READ, 0, 0},
    {"many-leaves", NULL, "0,63,64,4095,4096,5000", 6000 * PAGE, MAP_SHARED, PROT_READ, 0, 0},
    {"hugetlb-file-shared", "", "0,1,511,1024,1535", 3 * HUGE, MAP_SHARED, PROT_READ, 0, 0},
    {"hugetlb-file-private", "", "0,513", 2 * HUGE, MAP_PRIVATE | MAP_NORESERVE, PROT_READ, 0, 0},
};

/* NULL: a file without a name; "": one of huge pages. */
static int open_cached(const struct cached *c)
{
    char path[128];
    int fd;
    if (!c->folder || !*c->folder)
        fd = memfd_create(c->name, c->folder ? MFD_HUGETLB : 0);
    else {
        snprintf(path, sizeof path, "%s/cached-%s", c->folder, c->name);
        fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    }
    if (fd < 0 || (c->allocated && fallocate(fd, 0, 0, c->size)) || ftruncate(fd, c->size))
        die(c->name);
    return fd;
}

static void make_cached(const struct cached *c)
{
    int fd = open_cached(c);
    spell_file(c->name, fd, c->size, c->written);
    char *at = mmap(NULL, c->size, c->prot, c->flags, fd, 0);
    if (at == MAP_FAILED || (c->left && ftruncate(fd, c->left)))
        die(c->name);
    fact_region(c->name, at, c->size, c->written);
    close(fd);
}

/* What another process has written into memory that both share. */
static void make_anothers(void)
{
    char *shared = map(6 * PAGE, MAP_SHARED | MAP_ANONYMOUS, -1);
    int id = shmget(IPC_PRIVATE, 6 * PAGE, IPC_CREAT | 0600);
    char *sysv = shmat(id, NULL, 0);
    if (sysv == (void *)-1)
        die("shmat");
    pid_t child = fork();
    if (!child) {
        spell(shared + PAGE, "anothers-anonymous", 1);
        spell(shared + 4 * PAGE, "anothers-anonymous", 4);
        spell(sysv + 5 * PAGE, "anothers-sysv", 5);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    fact_region("anothers-anonymous", shared, 6 * PAGE, "1,4");
    fact_region("anothers-sysv", sysv, 6 * PAGE, "5");
}

/* Shared pages that were dropped from the page table while userfaultfd protects them: markers stand there (5.19). */
static void make_protected(void)
{
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP};
    char *at = map(6 * PAGE, MAP_SHARED | MAP_ANONYMOUS, -1);
    struct uffdio_register range = {.range = {(uint64_t)at, 6 * PAGE}, .mode = UFFDIO_REGISTER_MODE_WP};
    struct uffdio_writeprotect protect = {.range = range.range, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
    int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
    spell(at + PAGE, "uffd-protected", 1);
    spell(at + 3 * PAGE, "uffd-protected", 3);
    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range) ||
        ioctl(fd, UFFDIO_WRITEPROTECT, &protect) || madvise(at, 6 * PAGE, MADV_DONTNEED))
        return; /* this kernel cannot: of file memory not before 5.19 */
    fact_region("uffd-protected", at, 6 * PAGE, "1,3");
}

/* Guard pages between pages (6.13). */
static void make_guarded(void)
{
    char *at = map(6 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    for (size_t page = 0; page < 6; page += 5)
        spell(at + page * PAGE, "guarded", page);
    if (!madvise(at + 2 * PAGE, 2 * PAGE, MADV_GUARD_INSTALL))
        fact_region("guarded", at, 6 * PAGE, "0,5");
}

/* Mappings whose file is the kernel's own: the ring of an aio context. */
static void make_rings(void)
{
    uint64_t context = 0;
    if (!syscall(SYS_io_setup, 64, &context))
        fact_region("aio-ring", (void *)context, PAGE, "none");
}

static void run_cached(const struct role *role)
{
    if (mkdir("/large", 0777) || mount("tmpfs", "/large", "tmpfs", 0, "huge=always"))
        die("/large");
    for (size_t i = 0; i < sizeof cached / sizeof *cached; i++)
        make_cached(&cached[i]);
    make_anothers();
    make_protected();
    make_guarded();
    make_rings();
    main_blocks(role);
}

/* One page of 1 GiB, mapped twice: touched by the one mapping, and only in the cache for the other. */
static void run_huge1g(const struct role *role)
{
    const char *list = "0,1,511,512,131072,262143";
    int fd = memfd_create("huge1g", MFD_HUGETLB | MFD_HUGE_1GB);
    if (fd < 0 || ftruncate(fd, GIGANTIC))
        die("huge1g");
    spell_file("huge1g", fd, GIGANTIC, list);
    char *mapped = map(GIGANTIC, MAP_SHARED, fd), *untouched = map(GIGANTIC, MAP_PRIVATE | MAP_NORESERVE, fd);
    sink = *mapped;
    fact_region("huge1g", mapped, GIGANTIC, list);
    fact_region("huge1g-untouched", untouched, GIGANTIC, "none");
    main_blocks(role);
}

/* many.c */
void run_sparse(const struct role *role);
void run_sparse_file(const struct role *role);
void run_mappings(const struct role *role);

static const struct role own_roles[] = {
    {"filter-01", "0x01", run_memory}, {"filter-02", "0x02", run_memory}, {"filter-04", "0x04", run_memory},
    {"filter-08", "0x08", run_memory}, {"filter-10", "0x10", run_memory}, {"filter-20", "0x20", run_memory},
    {"filter-40", "0x40", run_memory}, {"filter-00", "0x00", run_memory}, {"cached", "0x7f", run_cached},
    {"huge1g", "0x7f", run_huge1g},        {"dynamic", "0x10", run_dynamic},
    {"sparse", "0x7f", run_sparse},        {"sparse-file", "0x7f", run_sparse_file},
    {"mappings-10000", "0x7f", run_mappings}, {"mappings-100000", "0x7f", run_mappings},
};

int main(int argc, char **argv)
{
    const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    FILE *pool = fopen("/proc/sys/vm/nr_hugepages", "w");
    if (!pool || fputs("48", pool) < 0 || fclose(pool))
        die("/proc/sys/vm/nr_hugepages");
    for (size_t i = 0; argc > 1 && i < sizeof own_roles / sizeof *own_roles; i++)
        if (!strcmp(argv[1], own_roles[i].name)) {
            set_filter(own_roles[i].filter);
            if (setrlimit(RLIMIT_CORE, &unlimited))
                die("RLIMIT_CORE");
            own_roles[i].run(&own_roles[i]);
        }
    return 2;
}
