"""A small C program with every kind of member, compiled by GCC; it says itself where its members are.

GCC with -m64 is required to run the tests, as README says.
"""

import subprocess
from functools import cache
from pathlib import Path

from gcoretools.layout.layout import Member

SOURCE = r"""
#include <stddef.h>
#include <stdio.h>

struct later;
typedef int state_t;
typedef struct { unsigned long val; } swp_entry_t;
enum pid_type { PIDTYPE_PID, PIDTYPE_TGID = 7, PIDTYPE_MAX };
enum wide { WIDE_TOP = 0x80000000u, WIDE_ONE = 1 };
enum error { ERROR_FAULT = -14 };
struct pid { int nr; };
struct list_head { struct list_head *next, *prev; };
struct flags { unsigned int first : 3, second : 5; unsigned int whole; };
union any { long number; char letter; struct list_head list; };
struct task_struct {
    volatile const state_t state;
    union {
        struct later *pointer;
        struct { short low; unsigned short high; };
    };
    char comm[4][4];
    struct { long deep; } rows[3];
    swp_entry_t entry;
    enum pid_type type;
    struct flags flags;
    struct list_head tasks;
    union any any;
    int (*call)(int);
    signed char tiny;
    _Bool yes;
    long long large;
    unsigned long none[0];
    struct pid pids[];
};
struct later { int here; struct task_struct *task; struct pid pid; };

struct task_struct task;
struct later later;
union any any;
enum error error;
enum wide wide;

#define SHOW(tag, type, member) \
    printf("%s.%s %zu %zu\n", tag, #member, offsetof(type, member), sizeof(((type *)0)->member))
#define TASK(member) SHOW("task_struct", struct task_struct, member)
int main(void)
{
    TASK(state); TASK(pointer); TASK(low); TASK(high); TASK(comm); TASK(rows); TASK(entry); TASK(entry.val);
    TASK(type); TASK(flags); TASK(flags.whole); TASK(tasks); TASK(tasks.prev); TASK(any); TASK(any.list.prev);
    TASK(any.letter); TASK(call); TASK(tiny); TASK(yes); TASK(large); TASK(none);
    SHOW("later", struct later, task); SHOW("later", struct later, pid.nr); SHOW("pid", struct pid, nr);
    SHOW("any", union any, number); SHOW("swp_entry_t", swp_entry_t, val);
    return error + wide;
}
"""

SIGNED = {
    "task_struct.state", "task_struct.low", "task_struct.large", "later.pid.nr", "pid.nr", "any.number",
}  # fmt: skip
"""What of it is a signed integer of more than a byte."""

CONSTANTS = {"PIDTYPE_PID": 0, "PIDTYPE_TGID": 7, "PIDTYPE_MAX": 8, "WIDE_TOP": 0x80000000, "ERROR_FAULT": -14}


@cache
def build(folder: Path, *options: str) -> Path:
    """The program in an ELF file."""
    source, target = folder / "program.c", folder / ("program" + "".join(options))
    source.write_text(SOURCE)
    subprocess.run(["gcc", "-w", "-O1", *options, "-o", target, source], check=True)
    return target


@cache
def told(folder: Path) -> dict[str, Member]:
    """Where the members are, in the program's own words."""
    lines = subprocess.run([build(folder)], stdout=subprocess.PIPE, text=True).stdout.splitlines()
    rows = (line.split() for line in lines)
    return {name: Member(int(offset), int(size), name in SIGNED) for name, offset, size in rows}
