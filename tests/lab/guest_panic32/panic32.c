/* What of threads.c is another in a 32-bit process that panics the machine. */
#define _GNU_SOURCE
#include "../guest/gctest.h"
#include "../guest32/ways.h"
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Threads that sleep in a system call, by int 0x80 and by the vdso, and one that spins in user mode; the first one
   panics the machine from a system call, when /facts/go appears. */
static void pause_by_vdso(struct thread *t)
{
    go_by(t, BY_VDSO);
    block_pause(t);
}

void run_panic(const struct role *role)
{
    pin(0);
    thread_start("blocked", "pause", -1, block_pause);
    thread_start("blocked", "pause", -1, pause_by_vdso);
    thread_start("spinning", NULL, 1, spin32);
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
