/* Roles about threads: blocked in different calls, many, spinning, without a leader, panicking. */
#define _GNU_SOURCE
#include "gctest.h"
#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/io.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void in_nanosleep(struct thread *t)
{
    static struct timespec day = {.tv_sec = 86400};
    block(t, SYS_nanosleep, 2, (long[]){(long)&day, 0});
}

static void in_futex(struct thread *t)
{
    static int word = 1;
    block(t, SYS_futex, 4, (long[]){(long)&word, FUTEX_WAIT_PRIVATE, 1, 0});
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

static void with_gs(struct thread *t)
{
    static uint64_t area[8] = {0x7a6e6f2073672a2aULL};
    if (syscall(SYS_arch_prctl, ARCH_SET_GS, area))
        die("ARCH_SET_GS");
    t->gs_base = (uint64_t)area;
    block_pause(t);
}

/* With a bitmap of I/O ports, of which only this thread's notes tell. */
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
    } kinds[] = {{"pause", block_pause}, {"nanosleep", in_nanosleep}, {"futex", in_futex},
                 {"read", in_read},      {"ppoll", in_ppoll},         {"pause", with_gs},
                 {"pause", with_ports}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        thread_start("blocked", kinds[i].call, -1, kinds[i].body);
    main_blocks(role);
}

void run_many(const struct role *role)
{
    for (int i = 0; i < 63; i++)
        thread_start("blocked", "pause", -1, block_pause);
    main_blocks(role);
}

/* The mark of every register holds, rax, rcx and r11 too. */
static void spin(struct thread *t)
{
    t->marks.spin = 1;
    t->ready = 1;
    marked(&t->marks);
}

void run_spin(const struct role *role)
{
    extern char spinning[];
    nice(19);
    fact_number("spinning", (uint64_t)spinning);
    thread_start("spinning", NULL, 1, spin);
    main_blocks(role);
}

/* Long reads of zeros: nearly always inside the kernel, yet runnable. */
static void read_zeros(struct thread *t)
{
    static char buffer[1 << 20];
    block(t, SYS_read, 3, (long[]){open("/dev/zero", O_RDONLY), (long)buffer, sizeof buffer});
}

void run_sysspin(const struct role *role)
{
    nice(19);
    thread_start("busy", "read", 0, read_zeros);
    main_blocks(role);
}

static const struct role *orphaned;

static void outlive(struct thread *t)
{
    usleep(100000);
    threads[0].kind = "exited";
    prepare(t, SYS_pause, 0, NULL);
    facts_write(orphaned);
    repeat(t);
}

void run_zleader(const struct role *role)
{
    orphaned = role;
    thread_self(&threads[0], "blocked", NULL);
    threads[0].marked = threads[0].has_vectors = 0;
    thread_start("blocked", "pause", -1, outlive);
    syscall(SYS_exit, 0);
}

/* The process whose thread panics the machine, from a system call, when /facts/go appears. */
void run_panic(const struct role *role)
{
    pin(0);
    thread_start("blocked", "pause", -1, block_pause);
    thread_start("spinning", NULL, 1, spin);
    thread_self(&threads[0], "panics", "write");
    threads_settle();
    int trigger = open("/proc/sysrq-trigger", O_WRONLY);
    if (trigger < 0)
        die("/proc/sysrq-trigger");
    prepare(&threads[0], SYS_write, 3, (long[]){trigger, (long)"c", 1});
    facts_write(role);
    while (access("/facts/go", F_OK))
        usleep(50000);
    repeat(&threads[0]);
}
