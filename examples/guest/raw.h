/* What a program without a C library needs: system calls, text, and the way in. */
#ifndef RAW_H
#define RAW_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

/* arch/x86/entry/syscalls/syscall_64.tbl */
enum {
    SYS_read = 0, SYS_write = 1, SYS_open = 2, SYS_mmap = 9, SYS_brk = 12, SYS_pipe = 22, SYS_madvise = 28,
    SYS_nanosleep = 35, SYS_getpid = 39, SYS_execve = 59, SYS_exit = 60, SYS_wait4 = 61, SYS_prctl = 157,
    SYS_arch_prctl = 158, SYS_futex = 202, SYS_ppoll = 271, SYS_finit_module = 313, SYS_clone3 = 435,
};

enum {
    O_RDONLY = 0, O_RDWR = 2, SIGCHLD = 17,
    READY_FD = 4, /* a desk that is ready writes a byte to it; init's first pipe stands behind the console */
};

/* struct clone_args of include/uapi/linux/sched.h */
struct clone_args {
    u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size;
};

struct timespec {
    long seconds, nanoseconds;
};

static inline long call(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static inline u64 length_of(const char *text)
{
    u64 n = 0;
    while (text[n])
        n++;
    return n;
}

/* Text into a field of `size` bytes; zeros behind it. */
static inline void put(char *field, u64 size, const char *text)
{
    for (u64 i = 0; i < size; i++)
        field[i] = *text ? *text++ : 0;
}

static inline void say(int fd, const char *text)
{
    call(SYS_write, fd, (long)text, length_of(text), 0, 0, 0);
}

static inline _Noreturn void leave(int status)
{
    for (;;)
        call(SYS_exit, status, 0, 0, 0, 0, 0);
}

/* What must not fail; the guest's console shows the word when it does. */
static inline long must(long result, const char *word)
{
    if (result < 0) {
        say(2, "FAILED ");
        say(2, word);
        say(2, "\n");
        leave(1);
    }
    return result;
}

/* A program begins here: the stack holds argc, argv, NULL, envp, NULL, auxv. */
#define BEGIN(main)                                                                                          \
    __asm__(".text\n.globl _start\n.type _start, @function\n_start:\n.cfi_startproc\n.cfi_undefined rip\n"   \
            "xor %ebp, %ebp\nmov (%rsp), %rdi\nlea 8(%rsp), %rsi\nand $-16, %rsp\ncall " #main "\nhlt\n"      \
            ".cfi_endproc\n.size _start, .-_start\n")

#endif
