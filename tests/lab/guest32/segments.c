/* A 64-bit process whose threads reach memory through fs and gs by selectors of descriptors; its run_threads stands
   for that of threads.c. Such descriptors lie below 4 GiB, as a program without PIE does. */
#define _GNU_SOURCE
#include "../guest/gctest.h"
#include <asm/ldt.h>
#include <asm/prctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint32_t area[64] __attribute__((aligned(4096))) = {0x67657320};

static long int80(long number, long argument)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(number), "b"(argument) : "memory", "r8", "r9", "r10", "r11");
    return result;
}

/* A selector of a new descriptor of the thread's own (set_thread_area, which only the 32-bit table of calls has). */
static unsigned thread_selector(unsigned base)
{
    struct user_desc *desc = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    *desc = (struct user_desc){.entry_number = -1, .base_addr = base, .limit = 0xfffff, .seg_32bit = 1,
                               .limit_in_pages = 1};
    if (int80(243, (long)desc))
        die("set_thread_area");
    return desc->entry_number << 3 | 3;
}

/* A selector of the process's own table; 0 where the kernel has no such tables. */
static unsigned process_selector(unsigned base)
{
    struct user_desc desc = {.entry_number = 5, .base_addr = base, .limit = 0xfffff, .seg_32bit = 1,
                             .limit_in_pages = 1};
    return syscall(SYS_modify_ldt, 1, &desc, sizeof desc) ? 0 : 5 << 3 | 7;
}

static void gs_of_thread(struct thread *t)
{
    t->gs_base = (uint64_t)area + 16;
    __asm__ volatile("mov %0, %%gs" ::"r"(thread_selector(t->gs_base)));
    block_pause(t);
}

static void gs_of_process(struct thread *t)
{
    unsigned selector = process_selector((uint64_t)area + 32);
    if (selector) {
        t->gs_base = (uint64_t)area + 32;
        __asm__ volatile("mov %0, %%gs" ::"r"(selector));
    }
    block_pause(t);
}

/* glibc's thread pointer is lost with fs: nothing of it may be called from there on. */
static void fs_of_thread(struct thread *t)
{
    unsigned selector = thread_selector((uint64_t)area + 48);
    prepare(t, SYS_pause, 0, NULL);
    t->fs_base = (uint64_t)area + 48;
    __asm__ volatile("mov %0, %%fs" ::"r"(selector));
    for (;;)
        marked(&t->marks);
}

/* The null selector with a base of its own, beside them. */
static void gs_without_selector(struct thread *t)
{
    if (syscall(SYS_arch_prctl, ARCH_SET_GS, (uint64_t)area + 1))
        die("ARCH_SET_GS");
    t->gs_base = (uint64_t)area + 1;
    block_pause(t);
}

void run_threads(const struct role *role)
{
    thread_start("blocked", "pause", -1, gs_of_thread);
    thread_start("blocked", "pause", -1, gs_of_process);
    thread_start("blocked", "pause", -1, fs_of_thread);
    thread_start("blocked", "pause", -1, gs_without_selector);
    main_blocks(role);
}
