/* Processes whose memory is swapped out. The role says where to: zram-ALGORITHM is a zram device of its own, disk-NAME
   the disk /dev/NAME, zswap-NAME that with zswap before it. Each takes over from the ones before it, by the higher
   priority of its device. */
#define _GNU_SOURCE
#define main ordinary_main
#include "../guest/main.c"
#undef main
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/wait.h>

#define DEVICE_SIZE (64UL << 20)
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

static uint64_t noise = 88172645463325252;

static uint64_t random_word(void)
{
    noise ^= noise << 13;
    noise ^= noise >> 7;
    return noise ^= noise << 17;
}

static void put(const char *path, const char *words)
{
    FILE *out = fopen(path, "w");
    if (!out || fputs(words, out) < 0 || fclose(out))
        die(path);
}

static void random_bytes(char *at, size_t size)
{
    for (size_t i = 0; i < size; i += 8)
        *(uint64_t *)(at + i) = random_word();
}

/* Lines of 32 characters that differ in some. */
static void text(char *at, size_t size, size_t number)
{
    char line[40];
    for (size_t i = 0; i < size; i += 32) {
        snprintf(line, sizeof line, "page %06lx word %04lx of %06lx\n", number, i * 37 & 0xfff, number ^ i << 4);
        memcpy(at + i, line, 32);
    }
}

/* Runs of one byte, of all lengths, zeros among them. */
static void runs(char *at, size_t size)
{
    for (size_t i = 0, run; i < size; i += run) {
        run = random_word() % 300 + 1;
        run = run < size - i ? run : size - i;
        memset(at + i, random_word() & 3 ? (int)random_word() : 0, run);
    }
}

/* What zram treats in different ways: compressible and not, objects of all sizes, same-filled and zero pages. */
static void fill(char *page, size_t number)
{
    switch (number % 8) {
    case 0: text(page, PAGE, number); break;
    case 1: random_bytes(page, PAGE); break;
    case 2:
        text(page, PAGE, number);
        random_bytes(page, number * 8 % PAGE);
        break;
    case 3:
        for (size_t i = 0; i < PAGE; i += 8)
            *(uint64_t *)(page + i) = number * 0x0101010101010101 + 7;
        break;
    case 4: memset(page, 0, PAGE); break;
    case 5:
        memset(page, 0, PAGE);
        for (size_t i = number % 61; i < PAGE; i += 200 + number % 997)
            page[i] = (char)number | 1;
        break;
    case 6:
        random_bytes(page, 512);
        for (size_t i = 512; i < PAGE; i += 512) {
            memcpy(page + i, page, 512);
            page[i + random_word() % 512] ^= 1;
        }
        break;
    default: runs(page, PAGE);
    }
}

static int add_zram(const char *algorithm, char *device)
{
    char path[80], words[32];
    int number = -1;
    FILE *in = fopen("/sys/class/zram-control/hot_add", "r");
    if (!in || fscanf(in, "%d", &number) != 1 || fclose(in))
        die("zram-control");
    snprintf(path, sizeof path, "/sys/block/zram%d/comp_algorithm", number);
    put(path, algorithm);
    snprintf(path, sizeof path, "/sys/block/zram%d/disksize", number);
    snprintf(words, sizeof words, "%lu", DEVICE_SIZE);
    put(path, words);
    sprintf(device, "/dev/zram%d", number);
    return number;
}

/* The header that mkswap(8) writes. */
static void make_swap(const char *device)
{
    static uint32_t header[PAGE / 4];
    int fd = open(device, O_RDWR);
    header[256] = 1;
    header[257] = DEVICE_SIZE / PAGE - 1;
    memcpy(&header[259], "gcoretools-swap!", 16);
    memcpy(&header[263], "gc-swap", 8);
    memcpy((char *)header + PAGE - 10, "SWAPSPACE2", 10);
    if (fd < 0 || pwrite(fd, header, PAGE, 0) != (ssize_t)PAGE || fsync(fd) || close(fd))
        die(device);
}

static size_t swapped(const char *at, size_t size)
{
    size_t count = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY);
    for (size_t i = 0; i < size / PAGE; i++) {
        uint64_t entry = 0;
        if (pread(fd, &entry, 8, ((uint64_t)at / PAGE + i) * 8) != 8)
            die("/proc/self/pagemap");
        count += entry >> 62 & 1;
    }
    close(fd);
    return count;
}

static char *page_out(const char *name, size_t pages, int flags, int advice)
{
    size_t size = pages * PAGE, before = 0, count = 0;
    char *room = mmap(NULL, size + 2 * HUGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        die(name);
    char *at = (char *)(((uint64_t)room + 2 * HUGE - 1) / HUGE * HUGE);
    munmap(room, at - room);
    munmap(at + size, room + 2 * HUGE - at);
    madvise(at, size, advice);
    for (size_t i = 0; i < pages; i++)
        fill(at + i * PAGE, i);
    for (int tries = 0; tries < 40 && (tries < 4 || count > before); tries++) {
        before = count;
        if (madvise(at, size, MADV_PAGEOUT))
            die("MADV_PAGEOUT");
        usleep(50000);
        count = swapped(at, size);
    }
    fact_region(name, at, size, "filled");
    fact_number(name, count);
    return at;
}

/* Written pages stay in the swap cache until their frames are wanted: a child wants more than there are. */
static void squeeze(void)
{
    unsigned long free_kib = 0;
    int status;
    FILE *in = fopen("/proc/meminfo", "r");
    while (in && !free_kib && fscanf(in, "MemFree: %lu kB", &free_kib) != EOF)
        if (fscanf(in, "%*[^\n]\n") == EOF)
            break;
    if (!in || !free_kib || fclose(in))
        die("/proc/meminfo");
    if (!fork()) {
        put("/proc/self/oom_score_adj", "1000");
        size_t size = (free_kib << 10) + (24UL << 20);
        char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        for (size_t i = 0; at != MAP_FAILED && i < size; i += PAGE)
            at[i] = 1;
        _exit(0);
    }
    if (wait(&status) < 0)
        die("wait");
}

/* A child reads some of the pages that it shares with its parent: these are in the swap cache then. */
static void share(const char *at, size_t pages)
{
    static volatile char sink;
    int ready[2];
    if (pipe(ready))
        die("pipe");
    if (!fork()) {
        for (size_t i = 0; i < pages; i++)
            sink = at[i * PAGE];
        if (write(ready[1], "", 1) != 1)
            die("write");
        for (;;)
            pause();
    }
    if (read(ready[0], (char *)&sink, 1) != 1)
        die("read");
}

static void run_swap(const struct role *role)
{
    char device[32];
    const char *where = strchr(role->name, '-');
    int priority = 100;
    if (!where)
        die(role->name);
    if (!strncmp(role->name, "zram", 4))
        priority += add_zram(where + 1, device);
    else
        snprintf(device, sizeof device, "/dev/%s", where + 1);
    if (!strncmp(role->name, "zswap", 5))
        put("/sys/module/zswap/parameters/enabled", "Y");
    make_swap(device);
    if (swapon(device, SWAP_FLAG_PREFER | priority))
        die(device);
    fact_text("device", device);
    char *at = page_out("private", 1536, MAP_PRIVATE, MADV_NOHUGEPAGE);
    page_out("shared", 768, MAP_SHARED, MADV_NOHUGEPAGE);
    page_out("thp", HUGE / PAGE, MAP_PRIVATE, MADV_HUGEPAGE);
    if (strncmp(role->name, "zram", 4))
        squeeze();
    share(at + 1024 * PAGE, 128);
    main_blocks(role);
}

int main(int argc, char **argv)
{
    const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    const struct role role = {argc > 1 ? argv[1] : "", "0x7f", run_swap};
    set_filter(role.filter);
    if (setrlimit(RLIMIT_CORE, &unlimited))
        die("RLIMIT_CORE");
    run_swap(&role);
}
