/* The first process of the example's guest: opens three order desks, says so, and waits for them to close. */
#include "raw.h"

static char *const east[] = {"orderdesk", "east", "--till", 0};
static char *const west[] = {"orderdesk", "west", 0};
static char *const night[] = {"orderdesk", "night", 0};
static char *const environment[] = {"MENU=/srv/menu.txt", 0};

static const struct desk {
    int pid; /* chosen, so that the examples can name it */
    char *const *arguments;
} desks[] = {{100, east}, {200, west}, {300, night}};

enum { DESKS = sizeof desks / sizeof *desks };

/* It hands VMCOREINFO to QEMU. */
static void load_module(const char *path)
{
    long fd = must(call(SYS_open, (long)path, O_RDONLY, 0, 0, 0, 0), path);
    must(call(SYS_finit_module, fd, (long)"", 0, 0, 0, 0), "finit_module");
}

static void open_desk(const struct desk *desk)
{
    struct clone_args how = {.exit_signal = SIGCHLD, .set_tid = (u64)&desk->pid, .set_tid_size = 1};
    if (must(call(SYS_clone3, (long)&how, sizeof how, 0, 0, 0, 0), "clone3"))
        return;
    call(SYS_execve, (long)"/bin/orderdesk", (long)desk->arguments, (long)environment, 0, 0, 0);
    must(-1, "/bin/orderdesk");
}

/* Each desk writes a byte when its workers have settled. */
static void await_desks(int fd)
{
    char ready;
    for (int i = 0; i < DESKS; i++)
        if (call(SYS_read, fd, (long)&ready, 1, 0, 0, 0) != 1)
            must(-1, "a desk");
}

static _Noreturn void wait_for_closing(void)
{
    for (;;)
        call(SYS_wait4, -1, 0, 0, 0, 0, 0);
}

_Noreturn void init(void)
{
    int ends[2];
    must(call(SYS_pipe, (long)ends, 0, 0, 0, 0, 0), "pipe");
    if (ends[1] != READY_FD)
        must(-1, "/dev/console");
    load_module("/qemu_fw_cfg.ko");
    for (int i = 0; i < DESKS; i++)
        open_desk(&desks[i]);
    await_desks(ends[0]);
    say(1, "EXAMPLE READY\n");
    wait_for_closing();
}

BEGIN(init);
