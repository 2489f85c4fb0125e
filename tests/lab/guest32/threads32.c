/* What of threads.c is another on i386: these stand for its functions of the same name. */
#define _GNU_SOURCE
#include "../guest/gctest.h"
#include "ways.h"
#include <asm/ldt.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/io.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void pause_by_vdso(struct thread *t)
{
    go_by(t, BY_VDSO);
    block_pause(t);
}

static void nanosleep_by_vdso(struct thread *t)
{
    static struct timespec day = {.tv_sec = 86400};
    go_by(t, BY_VDSO);
    block(t, SYS_nanosleep, 2, (long[]){(long)&day, 0});
}

/* Six arguments: the last one goes by way of the stack. */
static void futex_by_vdso(struct thread *t)
{
    static int word = 1;
    go_by(t, BY_VDSO);
    block(t, SYS_futex, 6, (long[]){(long)&word, FUTEX_WAIT_BITSET_PRIVATE, 1, 0, 0, 0x70626531});
}

static void in_read(struct thread *t)
{
    static char buffer[64];
    int ends[2];
    if (pipe(ends))
        die("pipe");
    block(t, SYS_read, 3, (long[]){ends[0], (long)buffer, sizeof buffer});
}

static void in_ppoll(struct thread *t)
{
    static struct pollfd nothing;
    block(t, SYS_ppoll, 5, (long[]){(long)&nothing, 0, 0, 0, 8});
}

/* A second descriptor of its own, in fs; gs has glibc's. */
static void with_fs(struct thread *t)
{
    static uint32_t area[8] = {0x65726568};
    struct user_desc desc = {.entry_number = -1, .base_addr = (unsigned)area, .limit = sizeof area - 1, .seg_32bit = 1};
    if (syscall(SYS_set_thread_area, &desc))
        die("set_thread_area");
    __asm__ volatile("mov %0, %%fs" ::"r"(desc.entry_number << 3 | 3));
    block_pause(t);
}

/* A descriptor of the local table (LDT), in fs, where the kernel has such tables. */
static void with_ldt(struct thread *t)
{
    static uint32_t area[8] = {0x65726568};
    struct user_desc desc = {.base_addr = (unsigned)area, .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1};
    if (!syscall(SYS_modify_ldt, 1, &desc, sizeof desc))
        __asm__ volatile("mov %0, %%fs" ::"r"(7));
    block_pause(t);
}

/* With a bitmap of I/O ports. */
static void with_ports(struct thread *t)
{
    if (ioperm(0x80, 16, 1))
        die("ioperm");
    block_pause(t);
}

void run_threads(const struct role *role)
{
    static const struct {
        const char *call;
        void (*body)(struct thread *);
    } kinds[] = {{"pause", block_pause},         {"pause", pause_by_vdso}, {"nanosleep", nanosleep_by_vdso},
                 {"futex", futex_by_vdso},       {"read", in_read},        {"ppoll", in_ppoll},
                 {"pause", with_fs},             {"pause", with_ldt},      {"pause", with_ports}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        thread_start("blocked", kinds[i].call, -1, kinds[i].body);
    main_blocks(role);
}

void run_spin(const struct role *role)
{
    extern char spinning[];
    nice(19);
    fact_number("spinning", (uint64_t)spinning);
    thread_start("spinning", NULL, 1, spin32);
    main_blocks(role);
}
