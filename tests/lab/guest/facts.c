/* Facts about the own process, written as one JSON file that appears when it is whole. */
#include "gctest.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct thread threads[MAX_THREADS];
int thread_count = 1;

static const char *const reg_names[NREGS] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8",
                                             "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
static char facts[16384], regions[16384];

void die(const char *what)
{
    fprintf(stderr, "gctest: pid %d: %s: %s\n", getpid(), what, strerror(errno));
    exit(1);
}

static void append(char *buffer, size_t size, const char *format, ...)
{
    size_t used = strlen(buffer);
    va_list arguments;
    va_start(arguments, format);
    if ((size_t)vsnprintf(buffer + used, size - used, format, arguments) >= size - used)
        die("too many facts");
    va_end(arguments);
}

void fact_number(const char *name, uint64_t value)
{
    append(facts, sizeof facts, ", \"%s\": %lu", name, value);
}

void fact_text(const char *name, const char *value)
{
    append(facts, sizeof facts, ", \"%s\": \"%s\"", name, value);
}

/* touched: all, none, read (all pages, read only), even, or a list of page numbers such as "0,1,777" */
void fact_region(const char *name, const void *start, size_t size, const char *touched)
{
    append(regions, sizeof regions, "%s\n  {\"name\": \"%s\", \"start\": %lu, \"size\": %lu, \"touched\": \"%s\"}",
           *regions ? "," : "", name, (uint64_t)start, size, touched);
}

static void write_thread(FILE *out, const struct thread *t)
{
    const char *separator = "";
    fprintf(out, "  {\"number\": %d, \"kind\": \"%s\", \"call\": ", t->number, t->kind);
    fprintf(out, t->call ? "\"%s\"" : "null", t->call);
    fprintf(out, ", \"tid\": %d, \"global_tid\": %d, \"fs_base\": %lu, \"gs_base\": %lu", t->tid, t->global_tid,
            t->fs_base, t->gs_base);
    fprintf(out, ", \"tls_address\": %lu, \"tls_value\": %lu, \"stack_top\": %lu, \"registers\": {", t->tls_address,
            t->tls_value, t->stack_top);
    for (int i = 0; i < NREGS; i++)
        if (t->marked >> i & 1) {
            fprintf(out, "%s\"%s\": %lu", separator, reg_names[i], t->marks.reg[i]);
            separator = ", ";
        }
    fprintf(out, "}, \"xmm\": [");
    for (int i = 0; t->has_vectors && i < 16; i++)
        fprintf(out, "%s\"%.*s\"", i ? ", " : "", t->marks.has_avx ? 32 : 16, (const char *)t->marks.ymm[i]);
    fprintf(out, "], \"st\": [");
    for (int i = 0; t->has_vectors && i < 4; i++)
        fprintf(out, "%s%g", i ? ", " : "", t->marks.st[3 - i]);
    fprintf(out, "]}");
}

static int global_pid(void)
{
    char link[32] = "";
    if (readlink("/proc/self", link, sizeof link - 1) < 0)
        die("/proc/self");
    return atoi(link);
}

void facts_write(const struct role *role)
{
    char path[64], final[64];
    snprintf(path, sizeof path, "/facts/.%s", role->name);
    snprintf(final, sizeof final, "/facts/%s.json", role->name);
    FILE *out = fopen(path, "w");
    if (!out)
        die(path);
    fprintf(out, "{\"role\": \"%s\", \"filter\": \"%s\", \"pid\": %d, \"global_pid\": %d, \"ppid\": %d", role->name,
            role->filter, getpid(), global_pid(), getppid());
    fprintf(out, ", \"uid\": %d, \"gid\": %d, \"pgrp\": %d, \"sid\": %d%s,\n \"threads\": [\n", getuid(), getgid(),
            getpgrp(), getsid(0), facts);
    for (int i = 0; i < thread_count; i++) {
        fputs(i ? ",\n" : "", out);
        write_thread(out, &threads[i]);
    }
    fprintf(out, "],\n \"regions\": [%s]}\n", regions);
    if (fclose(out) || rename(path, final))
        die(final);
}
