/* marks.c for i386: registers that spell their own name, and the three ways into the kernel. */
#define _GNU_SOURCE
#include "../guest/gctest.h"
#include "ways.h"
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

__thread uint64_t tls_mark;

/* struct marks has room for more registers than there are: the slot of r8 holds the address that marked() calls
   when all registers are loaded. */
#define WAY R8

/* marked(struct marks *). The offsets are those of struct marks: reg 4 bytes each, ymm at 60, st at 572, has_avx at
   604, spin at 608. */
_Static_assert(offsetof(struct marks, ymm) == 60 && offsetof(struct marks, st) == 572, "marks32.c: offsets");
_Static_assert(offsetof(struct marks, has_avx) == 604 && offsetof(struct marks, spin) == 608, "marks32.c: offsets");
__asm__(".text\n.globl marked\n.type marked, @function\nmarked:\n.cfi_startproc\n"
        "push %ebx\n.cfi_adjust_cfa_offset 4\n.cfi_rel_offset ebx, 0\n"
        "push %esi\n.cfi_adjust_cfa_offset 4\n.cfi_rel_offset esi, 0\n"
        "push %edi\n.cfi_adjust_cfa_offset 4\n.cfi_rel_offset edi, 0\n"
        "push %ebp\n.cfi_adjust_cfa_offset 4\n.cfi_rel_offset ebp, 0\n"
        "mov 20(%esp), %eax\n"
        "fninit\nfldl 572(%eax)\nfldl 580(%eax)\nfldl 588(%eax)\nfldl 596(%eax)\n"
        ".macro vectors instruction register\n"
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7\n"
        "\\instruction 60+32*\\n(%eax), %\\register\\n\n.endr\n.endm\n"
        "cmpl $0, 604(%eax)\njne 1f\nvectors movups xmm\njmp 2f\n1: vectors vmovups ymm\n2:\n"
        "pushl 28(%eax)\n.cfi_adjust_cfa_offset 4\n" /* the way */
        "movl 4(%eax), %ebx\nmovl 8(%eax), %ecx\nmovl 12(%eax), %edx\nmovl 16(%eax), %esi\n"
        "movl 20(%eax), %edi\nmovl 24(%eax), %ebp\nmovl 0(%eax), %eax\n"
        "call *(%esp)\n"
        "add $4, %esp\n.cfi_adjust_cfa_offset -4\nfninit\n"
        "pop %ebp\n.cfi_adjust_cfa_offset -4\n.cfi_restore ebp\npop %edi\n.cfi_adjust_cfa_offset -4\n.cfi_restore edi\n"
        "pop %esi\n.cfi_adjust_cfa_offset -4\n.cfi_restore esi\npop %ebx\n.cfi_adjust_cfa_offset -4\n.cfi_restore ebx\n"
        "ret\n.cfi_endproc\n.size marked, .-marked\n"
        ".globl by_int80\n.type by_int80, @function\nby_int80:\n.cfi_startproc\nint $0x80\nret\n.cfi_endproc\n"
        ".size by_int80, .-by_int80\n"
        ".globl spinning\n.type spinning, @function\nspinning:\n.cfi_startproc\njmp spinning\n.cfi_endproc\n"
        ".size spinning, .-spinning\n");

extern char by_int80[], spinning[];

/* "3ebx" as a number: thread 3, register ebx; the number is one digit or letter. */
static uint64_t mark(int number, const char *name)
{
    char text[8];
    uint32_t value;
    snprintf(text, sizeof text, "%c%-3s", "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-"[number % 64],
             name);
    memcpy(&value, text, sizeof value);
    return value;
}

void mark_registers(struct thread *t)
{
    static const char *const names[] = {"eax", "ebx", "ecx", "edx", "esi", "edi", "ebp"};
    for (int i = 0; i <= RBP; i++)
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
    t->marked = (1u << (RBP + 1)) - 1;
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
    tls_mark = mark(t->number, "tls");
    t->tls_address = (uint64_t)&tls_mark;
    t->tls_value = tls_mark;
    t->stack_top = (uint64_t)__builtin_frame_address(0);
    mark_registers(t);
    if (t == threads)
        fact_number("bits", 32);
}

void go_by(struct thread *t, enum way way)
{
    t->marks.reg[WAY] = way == BY_VDSO ? getauxval(AT_SYSINFO) : (uint64_t)by_int80;
}

/* Arguments go into the registers that the system call takes; the others keep their marks. */
void prepare(struct thread *t, long number, int count, const long *arguments)
{
    static const enum reg order[6] = {RBX, RCX, RDX, RSI, RDI, RBP};
    for (int i = 0; i < count; i++)
        t->marks.reg[order[i]] = arguments[i];
    t->marks.reg[RAX] = number;
    t->marked &= ~(1u << RAX);
    t->ready = 1;
}

/* Make the prepared system call, for ever; or spin on one instruction. */
void repeat(struct thread *t)
{
    if (!t->marks.reg[WAY])
        go_by(t, BY_INT80);
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

/* The mark of every register holds, eax too. */
void spin32(struct thread *t)
{
    t->marks.reg[WAY] = (uint64_t)spinning;
    t->ready = 1;
    marked(&t->marks);
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

void threads_settle(void)
{
    for (int i = 1; i < thread_count; i++)
        while (!threads[i].ready)
            usleep(1000);
    usleep(20000);
}

void main_blocks(const struct role *role)
{
    thread_self(&threads[0], "blocked", "pause");
    threads_settle();
    prepare(&threads[0], SYS_pause, 0, NULL);
    facts_write(role);
    repeat(&threads[0]);
}
