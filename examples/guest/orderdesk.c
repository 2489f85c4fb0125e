/* An order desk: a small service of several threads, each waiting in its own way, with memory of every kind.

   orderdesk NAME [--till]

   Every thread wears a badge: its name stands in the registers that its system call leaves alone. */
#include "raw.h"

enum { PAGE = 4096, WORKERS = 4, TABLES = 8, STACK = 4 * PAGE };

/* include/uapi: asm-generic/mman-common.h, linux/prctl.h, linux/sched.h, asm/prctl.h, linux/futex.h, linux/poll.h */
enum {
    PROT_READ = 1, PROT_WRITE = 2, MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_ANONYMOUS = 0x20, MADV_DONTDUMP = 16,
    PR_SET_NAME = 15, ARCH_SET_FS = 0x1002, FUTEX_WAIT_PRIVATE = 128, POLLIN = 1,
    /* CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM | SETTLS */
    CLONE_THREAD_FLAGS = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x80000,
};

/* What a worker's registers hold while it waits. wear_badge's assembly knows the offsets. */
struct badge {
    char rbx[8], r12[8], r13[8], r14[8], r15[8];
    double price; /* in st0 */
    char xmm[4][16];
};

struct locker { /* fs_base points here */
    struct locker *self;
    char owner[24];
};

struct worker {
    const char *name;
    void (*work)(struct worker *);
    volatile int ready;
    struct badge badge;
    struct locker locker;
};

struct order {
    int number, table, cents;
    char dish[20];
};

struct greeting {
    char text[96];
    int tables;
};

struct greeting greeting = {"Welcome to the order desk. Today we have soup, and memory that outlives the kernel.", TABLES};
struct order book[TABLES]; /* .bss */
struct order *pinned;      /* the heap */
char *kitchen;             /* private anonymous memory; its last page is never touched */
char *counter;             /* shared anonymous memory */
char *menu;                /* a private file mapping, written to */
const char *posted_menu;   /* the same file, shared */
char *safe;                /* private memory that is not to be dumped */
extern const char __ehdr_start[]; /* the program's own ELF header, by the linker */
static int closing;
static int slips[2], door[2]; /* pipes that nobody writes to */

static void wait_at_tables(struct worker *me);
static void cook_orders(struct worker *me);
static void mind_the_door(struct worker *me);
static void close_the_day(struct worker *me);

static struct worker host = {.name = "host"};
static struct worker workers[WORKERS] = {
    {.name = "waiter", .work = wait_at_tables},
    {.name = "cook", .work = cook_orders},
    {.name = "porter", .work = mind_the_door},
    {.name = "till", .work = close_the_day},
};

/* "cook.r12": at most four letters of the name, so that it fits into a register. */
static void write_badge(struct worker *worker)
{
    static const char *const registers[] = {"rbx", "r12", "r13", "r14", "r15"};
    char *field = worker->badge.rbx;
    for (int i = 0; i < 5; i++, field += 8) {
        put(field, 4, worker->name);
        field[4] = '.';
        put(field + 5, 3, registers[i]);
        for (int at = 0; at < 4; at++)
            field[at] = field[at] ? field[at] : ' ';
    }
    for (int i = 0; i < 4; i++) {
        put(worker->badge.xmm[i], 16, "       in xmm"); /* "cook   in xmm2" */
        put(worker->badge.xmm[i], length_of(worker->name), worker->name);
        worker->badge.xmm[i][13] = '0' + i;
    }
    worker->badge.price = 4.25;
    worker->locker.self = &worker->locker;
    put(worker->locker.owner, sizeof worker->locker.owner, worker->name);
}

#define WEAR_BADGE                                                                                             \
    "fninit\nfldl 40(%%r9)\nmovups 48(%%r9), %%xmm0\nmovups 64(%%r9), %%xmm1\nmovups 80(%%r9), %%xmm2\n"      \
    "movups 96(%%r9), %%xmm3\nmovq (%%r9), %%rbx\nmovq 8(%%r9), %%r12\nmovq 16(%%r9), %%r13\n"                 \
    "movq 24(%%r9), %%r14\nmovq 32(%%r9), %%r15\n"
#define WORN "rbx", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3", "memory", "cc"

/* A system call with the badge on. */
static long call_with_badge(struct worker *me, long number, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e;
    register struct badge *badge __asm__("r9") = &me->badge;
    long result;
    me->ready = 1;
    __asm__ volatile(WEAR_BADGE "syscall\nfninit"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(badge)
                     : "rcx", "r11", WORN);
    return result;
}

/* No system call: counts in rax, for ever, with the badge on. */
static void count_the_till(struct worker *me, long from)
{
    register struct badge *badge __asm__("r9") = &me->badge;
    me->ready = 1;
    __asm__ volatile(WEAR_BADGE "1: inc %%rax\njmp 1b" : "+a"(from) : "r"(badge) : WORN);
}

static int take_order(struct worker *me, int table)
{
    char slip[16];
    long size = call_with_badge(me, SYS_read, slips[0], (long)slip, sizeof slip, 0, 0);
    return size > 0 ? table : 0;
}

static void wait_at_tables(struct worker *me)
{
    for (int table = 7;;)
        table = take_order(me, table);
}

static void simmer(struct worker *me, const char *dish, long seconds)
{
    struct timespec time = {seconds, 0};
    if (*dish)
        call_with_badge(me, SYS_nanosleep, (long)&time, 0, 0, 0, 0);
}

static void cook_orders(struct worker *me)
{
    for (;;)
        simmer(me, "soup", 86400);
}

static int listen_for_the_bell(struct worker *me, int guests)
{
    struct {
        int fd;
        short events, found;
    } bell = {door[0], POLLIN, 0};
    return guests + call_with_badge(me, SYS_ppoll, (long)&bell, 1, 0, 0, 8);
}

static void mind_the_door(struct worker *me)
{
    for (int guests = 3;;)
        guests = listen_for_the_bell(me, guests);
}

static void close_the_day(struct worker *me)
{
    for (;;)
        count_the_till(me, 0);
}

void run_worker(struct worker *me)
{
    call(SYS_prctl, PR_SET_NAME, (long)me->name, 0, 0, 0, 0);
    me->work(me);
}

/* start_thread(&clone_args, worker): the new thread runs run_worker(worker) on its own stack. */
long start_thread(struct clone_args *how, struct worker *worker);
__asm__(".text\n.globl start_thread\n.type start_thread, @function\nstart_thread:\n.cfi_startproc\n"
        "mov %rsi, %rdx\nmov $80, %esi\nmov $435, %eax\nsyscall\ntest %rax, %rax\njz 1f\nret\n"
        "1: .cfi_undefined rip\nxor %ebp, %ebp\nmov %rdx, %rdi\ncall run_worker\nhlt\n"
        ".cfi_endproc\n.size start_thread, .-start_thread\n");

static char *map(u64 size, int flags, int fd)
{
    int access = fd >= 0 && flags == MAP_SHARED ? PROT_READ : PROT_READ | PROT_WRITE;
    return (char *)must(call(SYS_mmap, 0, size, access, flags, fd, 0), "mmap");
}

static void hire(struct worker *worker, int tid)
{
    char *stack = map(STACK, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    struct clone_args how = {
        .flags = CLONE_THREAD_FLAGS, .stack = (u64)stack, .stack_size = STACK,
        .tls = (u64)&worker->locker, .set_tid = (u64)&tid, .set_tid_size = 1,
    };
    write_badge(worker);
    must(start_thread(&how, worker), "clone3");
}

static void pause_briefly(long milliseconds)
{
    struct timespec time = {0, milliseconds * 1000000};
    call(SYS_nanosleep, (long)&time, 0, 0, 0, 0, 0);
}

static void write_book(void)
{
    static const char *const dishes[] = {"soup of the day", "bread", "omelette", "plum cake"};
    for (int i = 0; i < TABLES; i++) {
        book[i] = (struct order){.number = 1000 + i, .table = i + 1, .cents = 425 + 50 * i};
        put(book[i].dish, sizeof book[i].dish, dishes[i % 4]);
    }
}

/* Each kind of memory says what it is. */
static void furnish(const char *name)
{
    int fd = must(call(SYS_open, (long)"/srv/menu.txt", O_RDWR, 0, 0, 0, 0), "/srv/menu.txt");
    pinned = (struct order *)call(SYS_brk, 0, 0, 0, 0, 0, 0);
    must(call(SYS_brk, (long)pinned + 2 * PAGE, 0, 0, 0, 0, 0) == (long)pinned + 2 * PAGE ? 0 : -1, "brk");
    kitchen = map(3 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    counter = map(2 * PAGE, MAP_SHARED | MAP_ANONYMOUS, -1);
    menu = map(PAGE, MAP_PRIVATE, fd);
    posted_menu = map(PAGE, MAP_SHARED, fd);
    safe = map(PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    write_book();
    for (int i = 0; i < 2 * PAGE / (int)sizeof *pinned; i++)
        pinned[i] = book[i % TABLES];
    put(kitchen, 64, "kitchen: private memory, page 1 of 3");
    put(kitchen + PAGE, 64, "kitchen: private memory, page 2 of 3; the third was never touched");
    put(counter, 64, "counter: shared memory, page 1 of 2, of desk ");
    put(counter + 45, 19, name);
    put(counter + PAGE, 64, "counter: shared memory, page 2 of 2");
    put(menu, 16, "TODAY'S SPECIAL\n");
    closing = !*posted_menu || !*__ehdr_start; /* touches both pages */
    put(safe, 64, "safe: MADV_DONTDUMP, so only -f 128 shows this");
    must(call(SYS_madvise, (long)safe, PAGE, MADV_DONTDUMP, 0, 0, 0), "madvise");
}

static void open_desk(int pid, int staff)
{
    for (int i = 0; i < staff; i++)
        hire(&workers[i], pid + 1 + i);
    for (int i = 0; i < staff; i++)
        while (!workers[i].ready)
            pause_briefly(1);
    pause_briefly(50);
    write_badge(&host);
    call(SYS_arch_prctl, ARCH_SET_FS, (long)&host.locker, 0, 0, 0, 0);
}

static _Noreturn void wait_for_closing(const char *name)
{
    say(READY_FD, "r");
    while (*name)
        call_with_badge(&host, SYS_futex, (long)&closing, FUTEX_WAIT_PRIVATE, 0, 0, 0);
    leave(0);
}

_Noreturn void desk(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "nameless";
    int pid = call(SYS_getpid, 0, 0, 0, 0, 0, 0);
    if (*name == 'n')
        call(SYS_prctl, PR_SET_NAME, (long)"night-desk", 0, 0, 0, 0);
    must(call(SYS_pipe, (long)slips, 0, 0, 0, 0, 0), "pipe");
    must(call(SYS_pipe, (long)door, 0, 0, 0, 0, 0), "pipe");
    furnish(name);
    open_desk(pid, argc > 2 ? WORKERS : WORKERS - 2);
    wait_for_closing(name);
}

BEGIN(desk);
