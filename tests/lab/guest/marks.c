/* Registers that spell their own name: general ones, x87, SSE and AVX, TLS. */
#define _GNU_SOURCE
#include "gctest.h"
#include <asm/prctl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

__thread uint64_t tls_mark;

/* marked(rdi = struct marks *): load everything, then wait in the system call or spin on one instruction.
   The offsets are those of struct marks: reg 8 bytes each, ymm at 120, st at 632, has_avx at 664, spin at 672. */
_Static_assert(offsetof(struct marks, ymm) == 120 && offsetof(struct marks, st) == 632, "marks.c: offsets");
_Static_assert(offsetof(struct marks, has_avx) == 664 && offsetof(struct marks, spin) == 672, "marks.c: offsets");
__asm__(".text\n.globl marked\n.type marked, @function\nmarked:\n.cfi_startproc\n"
        "push %rbx\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset rbx, 0\n"
        "push %rbp\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset rbp, 0\n"
        "push %r12\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset r12, 0\n"
        "push %r13\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset r13, 0\n"
        "push %r14\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset r14, 0\n"
        "push %r15\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset r15, 0\n"
        "fninit\nfldl 632(%rdi)\nfldl 640(%rdi)\nfldl 648(%rdi)\nfldl 656(%rdi)\n"
        ".macro vectors instruction register step\n"
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
        "\\instruction 120+32*\\n(%rdi), %\\register\\n\n.endr\n.endm\n"
        "cmpq $0, 664(%rdi)\njne 1f\nvectors movups xmm\njmp 2f\n1: vectors vmovups ymm\n2:\n"
        "cmpq $0, 672(%rdi)\n" /* the moves below leave the flags alone */
        "movq 0(%rdi), %rax\nmovq 8(%rdi), %rbx\nmovq 16(%rdi), %rcx\nmovq 24(%rdi), %rdx\n"
        "movq 32(%rdi), %rsi\nmovq 48(%rdi), %rbp\nmovq 56(%rdi), %r8\nmovq 64(%rdi), %r9\n"
        "movq 72(%rdi), %r10\nmovq 80(%rdi), %r11\nmovq 88(%rdi), %r12\nmovq 96(%rdi), %r13\n"
        "movq 104(%rdi), %r14\nmovq 112(%rdi), %r15\nmovq 40(%rdi), %rdi\n"
        "je 3f\n.globl spinning\nspinning: jmp spinning\n3: syscall\n"
        "fninit\n"
        "pop %r15\n.cfi_adjust_cfa_offset -8\n.cfi_restore r15\npop %r14\n.cfi_adjust_cfa_offset -8\n.cfi_restore r14\n"
        "pop %r13\n.cfi_adjust_cfa_offset -8\n.cfi_restore r13\npop %r12\n.cfi_adjust_cfa_offset -8\n.cfi_restore r12\n"
        "pop %rbp\n.cfi_adjust_cfa_offset -8\n.cfi_restore rbp\npop %rbx\n.cfi_adjust_cfa_offset -8\n.cfi_restore rbx\n"
        "ret\n.cfi_endproc\n.size marked, .-marked\n");

/* "t03.r12 " as a number: thread 3, register r12. */
static uint64_t mark(int number, const char *name)
{
    char text[16];
    uint64_t value;
    snprintf(text, sizeof text, "t%02d.%-4s", number, name);
    memcpy(&value, text, sizeof value);
    return value;
}

void mark_registers(struct thread *t)
{
    static const char *const names[NREGS] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8",
                                             "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    for (int i = 0; i < NREGS; i++)
        t->marks.reg[i] = mark(t->number, names[i]);
    for (int i = 0; i < 16; i++) {
        char text[40];
        snprintf(text, sizeof text, "thread %02d xmm%02d  upper ymm%02d....", t->number, i, i);
        memcpy(t->marks.ymm[i], text, 32);
    }
    for (int i = 0; i < 4; i++)
        t->marks.st[i] = t->number + (i + 1) / 8.0;
    __builtin_cpu_init();
    t->marks.has_avx = __builtin_cpu_supports("avx") ? 1 : 0;
    t->marked = (1u << NREGS) - 1;
    t->has_vectors = 1;
}

void thread_self(struct thread *t, const char *kind, const char *call)
{
    char link[64] = "";
    t->number = t - threads;
    t->kind = kind;
    t->call = call;
    t->tid = syscall(SYS_gettid);
    if (readlink("/proc/thread-self", link, sizeof link - 1) < 0)
        die("/proc/thread-self");
    t->global_tid = atoi(strrchr(link, '/') + 1);
    syscall(SYS_arch_prctl, ARCH_GET_FS, &t->fs_base);
    syscall(SYS_arch_prctl, ARCH_GET_GS, &t->gs_base);
    tls_mark = mark(t->number, "tls");
    t->tls_address = (uint64_t)&tls_mark;
    t->tls_value = tls_mark;
    t->stack_top = (uint64_t)__builtin_frame_address(0);
    mark_registers(t);
}

/* Arguments go into the registers that the system call takes; the others keep their marks. */
void prepare(struct thread *t, long number, int count, const long *arguments)
{
    static const enum reg order[6] = {RDI, RSI, RDX, R10, R8, R9};
    for (int i = 0; i < count; i++)
        t->marks.reg[order[i]] = arguments[i];
    t->marks.reg[RAX] = number;
    t->marked &= ~(1u << RAX | 1u << RCX | 1u << R11); /* rcx and r11 are the instruction's own */
    t->ready = 1;
}

/* Make the prepared system call, for ever. */
void repeat(struct thread *t)
{
    for (;;)
        marked(&t->marks);
}

void block(struct thread *t, long number, int count, const long *arguments)
{
    prepare(t, number, count, arguments);
    repeat(t);
}

void block_pause(struct thread *t)
{
    block(t, SYS_pause, 0, NULL);
}

struct start {
    struct thread *thread;
    const char *kind, *call;
    int cpu;
    void (*body)(struct thread *);
};

void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        die("sched_setaffinity");
}

static void *thread_main(void *argument)
{
    struct start *start = argument;
    if (start->cpu >= 0)
        pin(start->cpu);
    thread_self(start->thread, start->kind, start->call);
    start->body(start->thread);
    return NULL;
}

struct thread *thread_start(const char *kind, const char *call, int cpu, void (*body)(struct thread *))
{
    static struct start starts[MAX_THREADS];
    pthread_attr_t attributes;
    pthread_t id;
    int number = thread_count++;
    starts[number] = (struct start){&threads[number], kind, call, cpu, body};
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    if (pthread_create(&id, &attributes, thread_main, &starts[number]))
        die("pthread_create");
    return &threads[number];
}

/* Until every thread but the main one has said who it is and is about to wait or spin. */
void threads_settle(void)
{
    for (int i = 1; i < thread_count; i++)
        while (!threads[i].ready)
            usleep(1000);
    usleep(20000);
}

/* The main thread writes the facts of all and waits in pause(2). */
void main_blocks(const struct role *role)
{
    thread_self(&threads[0], "blocked", "pause");
    threads_settle();
    prepare(&threads[0], SYS_pause, 0, NULL);
    facts_write(role);
    repeat(&threads[0]);
}
