/* gctest ROLE: play the role by the program of that name on the disk; drop: empty the page cache, and wait. */
#define main ordinary_main
#include "../guest/main.c"
#undef main
#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>

static void run_drop(const struct role *role)
{
    FILE *out = fopen("/proc/sys/vm/drop_caches", "w");
    if (!out || fputs("3", out) < 0 || fclose(out))
        die("drop_caches");
    main_blocks(role);
}

int main(int argc, char **argv)
{
    const struct role drop = {"drop", "0x7f", run_drop};
    const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    char path[64];
    if (argc < 2)
        return 2;
    if (setrlimit(RLIMIT_CORE, &unlimited))
        die("RLIMIT_CORE");
    set_filter(drop.filter);
    if (!strcmp(argv[1], drop.name))
        run_drop(&drop);
    mkdir("/mnt", 0755);
    if (mount("/dev/vdb", "/mnt", "ext4", MS_RDONLY, "") && errno != EBUSY)
        die("/mnt");
    snprintf(path, sizeof path, "/mnt/bin/%s", argv[1]);
    execv(path, argv + 1);
    die(path);
}
