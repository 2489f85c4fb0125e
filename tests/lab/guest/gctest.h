/* The test program of the lab: one role per process, and every process writes down what it is. */
#ifndef GCTEST_H
#define GCTEST_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define PAGE 4096UL
#define HUGE (2UL << 20)
#define MAX_THREADS 80

/* The general registers that marked() loads, in this order; marks.c's assembly knows the offsets. */
enum reg { RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8, R9, R10, R11, R12, R13, R14, R15, NREGS };

struct marks {
    uint64_t reg[NREGS];
    uint8_t ymm[16][32]; /* the low 16 bytes are xmm */
    double st[4];        /* pushed in this order: st[3] ends up as st0 */
    uint64_t has_avx;
    uint64_t spin; /* 1: jump on the spot; 0: make the system call in rax */
};

struct thread {
    int number; /* 0 is the main thread */
    const char *kind; /* blocked, spinning, busy, exited */
    const char *call; /* the system call it waits in, or NULL */
    struct marks marks;
    unsigned marked; /* bit set: enum reg whose value stands in a register for good */
    int has_vectors;
    pid_t tid, global_tid;
    uint64_t fs_base, gs_base, tls_address, tls_value, stack_top;
    volatile int ready;
};

struct role {
    const char *name;
    const char *filter; /* for /proc/self/coredump_filter */
    void (*run)(const struct role *role);
};

/* facts.c: what the process knows of itself, as JSON in /facts/ROLE.json */
extern struct thread threads[MAX_THREADS];
extern int thread_count; /* the main thread is one of them */
void fact_number(const char *name, uint64_t value);
void fact_text(const char *name, const char *value);
void fact_region(const char *name, const void *start, size_t size, const char *touched);
void facts_write(const struct role *role);
void die(const char *what);

/* marks.c: registers that spell their own name */
extern __thread uint64_t tls_mark;
void marked(struct marks *marks);
void mark_registers(struct thread *t);
struct thread *thread_start(const char *kind, const char *call, int cpu, void (*prepare)(struct thread *));
void thread_self(struct thread *t, const char *kind, const char *call);
void threads_settle(void);
void pin(int cpu);
void prepare(struct thread *t, long number, int count, const long *arguments);
void repeat(struct thread *t);
void block(struct thread *t, long number, int count, const long *arguments);
void block_pause(struct thread *t);
void main_blocks(const struct role *role);

/* the roles */
void run_threads(const struct role *role);
void run_many(const struct role *role);
void run_spin(const struct role *role);
void run_sysspin(const struct role *role);
void run_zleader(const struct role *role);
void run_panic(const struct role *role);
void run_memory(const struct role *role);
void run_bench(const struct role *role);
void run_dynamic(const struct role *role);
void run_namespaced(const struct role *role);
void run_forked(const struct role *role);
void run_stopped(const struct role *role);
void run_traced(const struct role *role);
void run_crowd(const struct role *role);

#endif
