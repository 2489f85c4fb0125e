/* Roles about who a process is: namespace, session, owner, name, arguments, state, a dynamic program. */
#define _GNU_SOURCE
#include "gctest.h"
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The first process of a pid namespace cannot be killed by SIGABRT: its child plays the role. */
void run_namespaced(const struct role *role)
{
    if (unshare(CLONE_NEWPID))
        die("unshare");
    if (fork())
        for (;;)
            pause();
    if (fork())
        for (;;)
            pause();
    thread_start("blocked", "pause", -1, block_pause);
    main_blocks(role);
}

void run_forked(const struct role *role)
{
    if (setsid() < 0 || nice(5) == -1 || prctl(PR_SET_NAME, "odd (name) \n"))
        die("session, nice, name");
    if (setresgid(1000, 1000, 1000) || setresuid(1000, 1000, 1000) || prctl(PR_SET_DUMPABLE, 1))
        die("owner");
    fact_text("comm", "odd (name) \\n");
    fact_number("nice", 5);
    main_blocks(role);
}

void run_stopped(const struct role *role)
{
    thread_self(&threads[0], "stopped", "kill");
    prepare(&threads[0], SYS_kill, 2, (long[]){getpid(), SIGSTOP});
    facts_write(role);
    repeat(&threads[0]);
}

/* Nothing is mapped there. */
#define BAD_ADDRESS 0x5e9fa000

/* Dying of a bad access, if its tracer let it. */
void run_traced(const struct role *role)
{
    int status;
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child) {
        if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
            die("waitpid");
        for (;;)
            pause();
    }
    thread_self(&threads[0], "traced", "none");
    if (ptrace(PTRACE_TRACEME, 0, 0, 0))
        die("ptrace");
    facts_write(role);
    *(volatile int *)BAD_ADDRESS = 1;
}

/* Linked with libc and libm: NT_FILE, [heap] and a stack as other programs have them. */
void run_dynamic(const struct role *role)
{
    int ends[2];
    volatile double angle = thread_count;
    char *heap = malloc(40000);
    snprintf(heap, 40000, "cosine %f", cos(angle));
    if (pipe(ends))
        die("pipe");
    fact_region("dynamic-heap", heap, 40000, "text");
    thread_self(&threads[0], "blocked", "read");
    prepare(&threads[0], SYS_read, 3, (long[]){ends[0], (long)heap + 64, 1000});
    facts_write(role);
    repeat(&threads[0]);
}
