/* gctest ROLE [ARGUMENT...]: be a process of that role until killed. */
#include "gctest.h"
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Filters are those of core(5): 0x7f is all but DAX, 0x33 what a process has by default, 0x1ff all. */
static const struct role roles[] = {
    {"threads", "0x7f", run_threads},       {"many", "0x7f", run_many},
    {"spin", "0x7f", run_spin},             {"sysspin", "0x7f", run_sysspin},
    {"zleader", "0x7f", run_zleader},       {"panic", "0x7f", run_panic},
    {"memory", "0x7f", run_memory},         {"memory-default", "0x33", run_memory},
    {"memory-all", "0x1ff", run_memory},    {"bench", "0x7f", run_bench},
    {"dynamic", "0x7f", run_dynamic},       {"namespaced", "0x7f", run_namespaced},
    {"forked", "0x7f", run_forked},         {"stopped", "0x7f", run_stopped},
    {"crowd-1000", "0x7f", run_crowd},      {"crowd-10000", "0x7f", run_crowd},
    {"traced", "0x7f", run_traced},
};

static void set_filter(const char *filter)
{
    FILE *out = fopen("/proc/self/coredump_filter", "w");
    if (!out || fputs(filter, out) < 0 || fclose(out))
        die("/proc/self/coredump_filter");
}

int main(int argc, char **argv)
{
    const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    for (size_t i = 0; argc > 1 && i < sizeof roles / sizeof *roles; i++)
        if (!strcmp(argv[1], roles[i].name)) {
            set_filter(roles[i].filter);
            if (setrlimit(RLIMIT_CORE, &unlimited))
                die("RLIMIT_CORE");
            roles[i].run(&roles[i]);
        }
    fprintf(stderr, "gctest: no such role: %s\n", argc > 1 ? argv[1] : "");
    return 2;
}
