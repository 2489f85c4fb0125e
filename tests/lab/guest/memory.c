/* Roles about memory: every kind of mapping, each page spelling its region and number. */
#define _GNU_SOURCE
#include "gctest.h"
#include <alloca.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

static char in_data[4 * PAGE] __attribute__((aligned(4096))) = {1};
static char in_bss[4 * PAGE] __attribute__((aligned(4096)));
static volatile char sink;

/* 128 times the same 32 characters: "anon-private            00000003\n" */
static void spell(char *page, const char *region, size_t number)
{
    char cell[40];
    snprintf(cell, sizeof cell, "%-22.22s %08lx\n", region, number);
    for (size_t i = 0; i < PAGE; i += 32)
        memcpy(page + i, cell, 32);
}

/* Touch the pages that the words name (see fact_region) and write the region down. */
static void touch(const char *name, char *start, size_t size, const char *touched)
{
    size_t pages = size / PAGE;
    int all = !strcmp(touched, "all"), even = !strcmp(touched, "even"), reading = !strcmp(touched, "read");
    for (size_t i = 0; (all || even || reading) && i < pages; i += even ? 2 : 1)
        if (reading)
            sink = start[i * PAGE];
        else
            spell(start + i * PAGE, name, i);
    for (const char *at = touched; *at >= '0' && *at <= '9'; at += *at == ',') {
        size_t page = strtoul(at, (char **)&at, 10);
        spell(start + page * PAGE, name, page);
    }
    fact_region(name, start, size, touched);
}

static char *map(size_t size, int flags, int fd)
{
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (at == MAP_FAILED)
        die("mmap");
    return at;
}

enum what { NOTHING, NOHUGE = 1, NODUMP = 2, LOCK = 4, NONE = 8, READONLY = 16, HUGEPAGES = 32, HALFNONE = 64, ALIGNED = 128 };

static const struct anonymous {
    const char *name, *touched;
    size_t size;
    int flags;
    enum what what;
} anonymous[] = {
    {"anon-private", "all", 16 * PAGE, MAP_PRIVATE, NOHUGE},
    {"anon-even", "even", 16 * PAGE, MAP_PRIVATE, NOHUGE},
    {"anon-shared", "even", 16 * PAGE, MAP_SHARED, NOTHING},
    {"anon-shared-untouched", "none", 4 * PAGE, MAP_SHARED, NOTHING},
    {"anon-read", "read", 8 * PAGE, MAP_PRIVATE, NOHUGE},
    {"anon-untouched", "none", 8 * PAGE, MAP_PRIVATE, NOHUGE},
    {"anon-locked", "all", 4 * PAGE, MAP_PRIVATE, LOCK},
    {"anon-readonly", "all", 4 * PAGE, MAP_PRIVATE, READONLY},
    {"prot-none", "all", 8 * PAGE, MAP_PRIVATE, NONE},
    {"prot-none-shared", "all", 4 * PAGE, MAP_SHARED, NONE},
    {"dontdump", "all", 4 * PAGE, MAP_PRIVATE, NODUMP},
    {"sparse", "0,1,777,131072,262143", 1UL << 30, MAP_PRIVATE | MAP_NORESERVE, NOHUGE},
    {"hugetlb-private", "0,1,511", 2 * HUGE, MAP_PRIVATE | MAP_HUGETLB, NOTHING},
    {"hugetlb-shared", "all", HUGE, MAP_SHARED | MAP_HUGETLB, NOTHING},
    {"hugetlb-none", "all", HUGE, MAP_PRIVATE | MAP_HUGETLB, NONE},
    {"thp", "all", HUGE, MAP_PRIVATE, HUGEPAGES | ALIGNED},
    {"thp-none", "all", HUGE, MAP_PRIVATE, HUGEPAGES | NONE | ALIGNED},
    {"thp-half-none", "all", HUGE, MAP_PRIVATE, HUGEPAGES | HALFNONE | ALIGNED},
    {"thp-read", "read", HUGE, MAP_PRIVATE, HUGEPAGES | ALIGNED},
};

/* Unmapped room on either side keeps neighbours from being merged into one VMA. */
static char *alone(const struct anonymous *a)
{
    size_t margin = a->flags & MAP_HUGETLB || a->what & ALIGNED ? HUGE : PAGE;
    char *room = mmap(NULL, a->size + 2 * margin, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *at = (char *)(((uint64_t)room + margin) / margin * margin);
    munmap(room, a->size + 2 * margin);
    at = mmap(at, a->size, PROT_READ | PROT_WRITE, a->flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (at == MAP_FAILED)
        die(a->name);
    return at;
}

static void make_anonymous(const struct anonymous *a)
{
    char *at = alone(a);
    if (a->what & NOHUGE)
        madvise(at, a->size, MADV_NOHUGEPAGE);
    if (a->what & HUGEPAGES)
        madvise(at, a->size, MADV_HUGEPAGE);
    touch(a->name, at, a->size, a->touched);
    if (a->what & NODUMP && madvise(at, a->size, MADV_DONTDUMP))
        die("MADV_DONTDUMP");
    if (a->what & LOCK && mlock(at, a->size))
        die("mlock");
    if (a->what & READONLY)
        mprotect(at, a->size, PROT_READ);
    if (a->what & NONE && mprotect(at, a->size, PROT_NONE))
        die("PROT_NONE");
    if (a->what & HALFNONE && mprotect(at + a->size / 2, a->size / 2, PROT_NONE))
        die("PROT_NONE");
}

enum content { SPELLED, ELF };

static const struct file {
    const char *name, *folder, *touched;
    int flags, deleted;
    size_t first, pages; /* of the mapping, in the file of FILE_PAGES */
    int mode;
    enum content content;
} files[] = {
    {"file-private", "/files", "0,1,2,3", MAP_PRIVATE, 0, 0, 12, 0600, SPELLED},
    {"file-private-untouched", "/files", "none", MAP_PRIVATE, 0, 0, 12, 0600, SPELLED},
    {"file-shared", "/files", "0,2", MAP_SHARED, 0, 0, 12, 0600, SPELLED},
    {"file-private-deleted", "/files", "1", MAP_PRIVATE, 1, 0, 12, 0600, SPELLED},
    {"file-shared-deleted", "/files", "1", MAP_SHARED, 1, 0, 12, 0600, SPELLED},
    {"file-private-offset", "/files", "0", MAP_PRIVATE, 0, 3, 9, 0600, SPELLED},
    {"file-shared-offset", "/files", "0", MAP_SHARED, 0, 5, 7, 0600, SPELLED},
    {"file-private-beyond", "/files", "0", MAP_PRIVATE, 0, 4, 16, 0600, SPELLED},
    {"file-shared-beyond", "/files", "0", MAP_SHARED, 0, 4, 16, 0600, SPELLED},
    {"file-executable", "/files", "none", MAP_PRIVATE, 0, 0, 12, 0700, SPELLED},
    {"file-elf", "/files", "none", MAP_PRIVATE, 0, 0, 12, 0600, ELF},
    {"file-elf-offset", "/files", "none", MAP_PRIVATE, 0, 1, 11, 0600, ELF},
    {"tmpfs-private", "/tmp", "0,3", MAP_PRIVATE, 0, 0, 12, 0600, SPELLED},
    {"tmpfs-shared", "/tmp", "0", MAP_SHARED, 0, 0, 12, 0600, SPELLED},
    {"tmpfs-shared-deleted", "/tmp", "0", MAP_SHARED, 1, 0, 12, 0600, SPELLED},
    {"tmpfs-private-offset", "/tmp", "0", MAP_PRIVATE, 0, 3, 9, 0600, SPELLED},
};
#define FILE_PAGES 12

/* A file whose pages spell "NAME-file"; root is ramfs, /tmp is tmpfs. The last page is cut in its middle. */
static int make_file(const struct file *file, const char *path)
{
    char page[PAGE], region[64];
    snprintf(region, sizeof region, "%.16s:file", file->name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        die(path);
    for (size_t i = 0; i < FILE_PAGES; i++) {
        size_t size = i == FILE_PAGES - 1 ? PAGE / 2 : PAGE;
        spell(page, region, i);
        if (!i && file->content == ELF)
            memcpy(page, "\177ELF", 4);
        if (write(fd, page, size) != (ssize_t)size)
            die(path);
    }
    if (fchmod(fd, file->mode))
        die(path);
    return fd;
}

static void make_mapped_file(const struct role *role, const struct file *file)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s-%s", file->folder, role->name, file->name);
    int fd = make_file(file, path);
    char *at = mmap(NULL, file->pages * PAGE, PROT_READ | PROT_WRITE, file->flags, fd, file->first * PAGE);
    if (at == MAP_FAILED)
        die(path);
    if (file->flags == MAP_PRIVATE && *file->touched != 'n')
        sink = at[4 * PAGE] + at[5 * PAGE]; /* read only: the page cache's own pages */
    touch(file->name, at, file->pages * PAGE, file->touched);
    if (file->deleted)
        unlink(path);
    close(fd);
}

/* Device memory: VM_IO, which no core holds. Kernels may forbid it. */
static void make_device(void)
{
    int fd = open("/dev/mem", O_RDONLY);
    char *at = fd < 0 ? MAP_FAILED : mmap(NULL, 16 * PAGE, PROT_READ, MAP_SHARED, fd, 0xf0000);
    if (at != MAP_FAILED)
        fact_region("device", at, 16 * PAGE, "none");
}

static void make_shared_objects(const struct role *role)
{
    char name[64];
    int id = shmget(IPC_PRIVATE, 6 * PAGE, IPC_CREAT | 0600);
    char *at = shmat(id, NULL, 0);
    if (at == (void *)-1)
        die("shmat");
    touch("sysv", at, 6 * PAGE, "even");
    snprintf(name, sizeof name, "/gc-%s", role->name);
    int fd = shm_open(name, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, 6 * PAGE))
        die("shm_open");
    touch("posix-shm", map(6 * PAGE, MAP_SHARED, fd), 6 * PAGE, "even");
    fd = memfd_create("gc-memfd", 0);
    if (fd < 0 || ftruncate(fd, 6 * PAGE))
        die("memfd_create");
    touch("memfd", map(6 * PAGE, MAP_SHARED, fd), 6 * PAGE, "even");
    fd = open("/dev/zero", O_RDWR);
    touch("devzero-private", map(6 * PAGE, MAP_PRIVATE, fd), 6 * PAGE, "even");
    touch("devzero-shared", map(6 * PAGE, MAP_SHARED, fd), 6 * PAGE, "even");
}

void run_memory(const struct role *role)
{
    char *heap = malloc(96 << 10), *stack = alloca(64 * PAGE);
    heap = (char *)(((uint64_t)heap + PAGE - 1) & ~(PAGE - 1));
    stack = (char *)(((uint64_t)stack + PAGE - 1) & ~(PAGE - 1));
    touch("data", in_data, sizeof in_data, "all");
    touch("bss", in_bss, sizeof in_bss, "even");
    touch("heap", heap, 20 * PAGE, "all");
    touch("stack", stack, 63 * PAGE, "all");
    for (size_t i = 0; i < sizeof anonymous / sizeof *anonymous; i++)
        make_anonymous(&anonymous[i]);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        make_mapped_file(role, &files[i]);
    make_shared_objects(role);
    make_device();
    main_blocks(role);
}

/* 1.5 GiB of resident small pages, none of them zero. */
void run_bench(const struct role *role)
{
    const struct anonymous big = {"bench", "words", 1536UL << 20, MAP_PRIVATE | MAP_NORESERVE, NOHUGE};
    char *at = alone(&big);
    if (madvise(at, big.size, MADV_NOHUGEPAGE))
        die("MADV_NOHUGEPAGE");
    for (size_t page = 0; page < big.size / PAGE; page++)
        for (size_t word = 0; word < PAGE / 8; word += 8) /* one word per cache line, the rest stays zero */
            ((uint64_t *)(at + page * PAGE))[word] = (page << 12) + word + 1;
    fact_region(big.name, at, big.size, big.touched);
    main_blocks(role);
}
