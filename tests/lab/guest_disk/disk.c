/* A program that lies on a disk. Most of it is never read: pages with tables that nobody asks for, some constant,
   some writable and partly written; and a file of data, mapped private and shared. */
#define main ordinary_main
#include "../guest/main.c"
#undef main
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#define TABLE_PAGES 256
#define TABLE_SIZE (TABLE_PAGES * PAGE)

/* Each word its number times an odd one: no page is like another. */
#define TABLE(name, section) \
    __asm__(".pushsection " section "\n.balign 4096\n.globl " #name "\n" #name ":\n.set number, 0\n" \
            ".rept 256 * 512\n.quad number * 0x9e3779b97f4a7c15 + 1\n.set number, number + 1\n.endr\n.popsection"); \
    extern volatile uint64_t name[TABLE_SIZE / 8]

TABLE(constants, ".rodata");
TABLE(variables, ".data");

volatile char read_once;

static void map_data(const char *name, int flags)
{
    int fd = open("/mnt/data", O_RDONLY);
    char *at = mmap(NULL, 64 * PAGE, PROT_READ, flags, fd, 0);
    if (fd < 0 || at == MAP_FAILED)
        die("/mnt/data");
    read_once = at[5 * PAGE];
    fact_region(name, at, 64 * PAGE, "none");
    close(fd);
}

/* One signal waits for the thread, another would have to. */
static void block_signals(void)
{
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigaddset(&blocked, SIGRTMIN + 9);
    if (sigprocmask(SIG_BLOCK, &blocked, NULL) || raise(SIGUSR1))
        die("signals");
}

static void run_disk(const struct role *role)
{
    block_signals();
    for (size_t page = 0; page < TABLE_PAGES / 2; page += 40)
        variables[page * PAGE / 8] = page;
    fact_region("constants", (const void *)constants, TABLE_SIZE, "none");
    fact_region("variables", (const void *)variables, TABLE_SIZE, "none");
    map_data("data-private", MAP_PRIVATE);
    map_data("data-shared", MAP_SHARED);
    main_blocks(role);
}

int main(int argc, char **argv)
{
    const struct role role = {argv[argc - 1], "0x7f", run_disk};
    run_disk(&role);
}
