/* A process with 100,000 pages in zram, over several devices. The role ends in the name of the compressor. */
#include "../guest_swap/swap.c"

static const char *const names[] = {"first", "second", "third", "fourth", "fifth", "sixth", "seventh"};
#define DEVICES (sizeof names / sizeof *names)
#define PAGES 100800

static void run_big(const struct role *role)
{
    char device[32];
    for (size_t i = 0; i < DEVICES; i++) {
        int priority = 100 + add_zram(strchr(role->name, '-') + 1, device);
        make_swap(device);
        if (swapon(device, SWAP_FLAG_PREFER | priority))
            die(device);
        page_out(names[i], PAGES / DEVICES, MAP_PRIVATE, MADV_NOHUGEPAGE);
    }
    main_blocks(role);
}

/* Before main, which is that of swap.c; it never returns. */
__attribute__((constructor)) static void instead(int argc, char **argv)
{
    const struct role role = {argc > 1 ? argv[1] : "", "0x7f", run_big};
    set_filter(role.filter);
    run_big(&role);
}
