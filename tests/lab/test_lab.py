"""The lab itself is sound: its dumps are of the moment that its facts and its cores tell of."""

import re
import subprocess

import pytest

from .capture import spins
from .corefile import CoreFile
from .lab import Capture
from .regions import PAGE, expected_pages
from .variants import VARIANTS


def roles(captured: Capture) -> tuple[str, ...]:
    return VARIANTS[captured.folder.name.split("-")[1]].roles


@pytest.mark.lab("max", "nehalem", "plain", "ia32", "sysenter")
def test_every_role_has_a_whole_core(captured: Capture) -> None:
    assert {process["role"] for process in captured.facts["processes"]} == set(roles(captured))
    for process in captured.facts["processes"]:
        core = CoreFile(captured.core(process["role"]))
        assert core.size == max(load.offset + load.filesz for load in core.loads)
        assert core.notes[0].kind == "PRSTATUS"


@pytest.mark.lab("max", "nehalem", "plain", "ia32", "sysenter")
def test_registers_spell_their_names(captured: Capture) -> None:
    for process in captured.facts["processes"]:
        core = CoreFile(captured.core(process["role"]))
        living = [thread for thread in process["threads"] if thread["kind"] != "exited"]
        assert core.threads.keys() == {thread["tid"] for thread in living}
        for thread in living:
            registers = core.threads[thread["tid"]]
            assert {name: registers[name] for name in thread["registers"]} == thread["registers"]


def test_segment_bases(captured: Capture) -> None:
    """Before 5.16 (92307383082d) a thread dropped fs and gs before it waited to be dumped: zeros in those cores."""
    old = captured.facts["release"].startswith("5.10")
    for process in captured.facts["processes"]:
        core = CoreFile(captured.core(process["role"]))
        first = next(iter(core.threads))
        for thread in process["threads"]:
            if thread["kind"] != "exited":
                bases = (0, 0) if old and thread["tid"] != first else (thread["fs_base"], thread["gs_base"])
                registers = core.threads[thread["tid"]]
                assert (registers["fs_base"], registers["gs_base"]) == bases


@pytest.mark.lab("max", "nehalem", "plain")
@pytest.mark.parametrize("role", ["memory", "memory-default", "memory-all"])
def test_pages_spell_their_regions(captured: Capture, role: str) -> None:
    core = CoreFile(captured.core(role))
    for name, address, page in expected_pages(captured.process(role)):
        assert core.read(address, PAGE) == page, name


@pytest.mark.lab("ia32", "sysenter")
def test_pages_of_a_32_bit_process_spell_their_regions(captured: Capture) -> None:
    test_pages_spell_their_regions(captured, "memory")


@pytest.mark.lab("ia32", "sysenter")
def test_the_ways_of_32_bit_threads(captured: Capture) -> None:
    """Some stand behind int 0x80 in the program; those that went by the vdso behind its instruction."""
    core = CoreFile(captured.core("threads"))
    assert core.shape.word == 4
    instructions = {core.read(registers["eip"] - 2, 2) for registers in core.threads.values()}
    assert instructions == {b"\xcd\x80"}  # the vdso has it beside sysenter and syscall, for restarts
    assert len({registers["eip"] for registers in core.threads.values()}) == 2


@pytest.mark.lab("max", "nehalem", "plain", "ia32", "sysenter")
def test_the_spinner_was_on_its_cpu(captured: Capture) -> None:
    assert spins(captured.registers)


@pytest.mark.lab("max", "nehalem", "plain", "kdump", "ia32", "sysenter")
def test_blocked_threads_were_in_their_calls(captured: Capture) -> None:
    for process in captured.facts["processes"]:
        for thread in process["threads"]:
            call = process["proc"][f"task/{thread['global_tid']}/syscall"]
            assert (call.strip() != "running") or thread["kind"] in ("spinning", "busy", "exited", "panics"), call


def test_namespaced_pids(captured: Capture) -> None:
    process = captured.process("namespaced")
    assert process["pid"] != process["global_pid"]
    assert re.search(rf"NSpid:\s+{process['global_pid']}\s+{process['pid']}\n", process["proc"]["status"])


@pytest.mark.lab("max", "nehalem")
def test_five_levels_only_where_the_cpu_has_them(captured: Capture) -> None:
    cr4 = {int(value, 16) for value in re.findall(r"CR4=([0-9a-f]+)", captured.registers)}
    has = "-max-" in captured.folder.name and not captured.facts["release"].startswith("5.10")  # built without
    assert {bool(value >> 12 & 1) for value in cr4} == {has}  # X86_CR4_LA57


@pytest.mark.lab("max", "nehalem", "plain", "kdump")
def test_the_kinds_of_dump(captured: Capture) -> None:
    kinds = {kind: path.read_bytes()[:8] for kind, path in captured.dumps.items() if kind != "elf"}
    plain = dict.fromkeys(("d0", "d1", "d31"), b"KDUMP   ")
    assert kinds in (plain, {"kdump": b"makedump"})  # QEMU writes the flattened form
    assert (b"VMCOREINFO" in captured.vmcore.read_bytes()[:65536]) == ("-plain-" not in captured.folder.name)


@pytest.mark.lab("kdump")
def test_a_process_of_ours_panicked(captured: Capture) -> None:
    """The crash notes: CPU 0 in the kernel for the panicking thread, CPU 1 in user mode for the spinner."""
    threads = {thread["kind"]: thread for thread in captured.process("panic")["threads"]}
    crashed = CoreFile(captured.vmcore).threads
    assert list(crashed) == [threads["panics"]["tid"], threads["spinning"]["tid"]]
    assert crashed[threads["panics"]["tid"]]["cs"] & 3 == 0
    spinner = crashed[threads["spinning"]["tid"]]
    assert {name: spinner[name] for name in threads["spinning"]["registers"]} == threads["spinning"]["registers"]


def backtraces(captured: Capture, role: str) -> str:
    """What gdb says of every thread of a role's core, with the guest's own programs and libraries."""
    program = captured.sysroot / "bin" / ("gctest-dynamic" if role == "dynamic" else "gctest")
    commands = (f"set sysroot {captured.sysroot}", f"file {program}", f"core-file {captured.core(role)}")
    words = [word for each in (*commands, "thread apply all backtrace") for word in ("-ex", each)]
    return subprocess.run(["gdb", "-batch", "-nx", *words], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("role", ["threads", "dynamic"])
def test_gdb_understands_the_cores(captured: Capture, role: str) -> None:
    text = backtraces(captured, role)
    assert len(re.findall(r"(?m)^Thread \d+", text)) == len(captured.process(role)["threads"])
    assert re.search(r"main \(argc=.*\) at .*main\.c", text)
    assert "corrupt" not in text
