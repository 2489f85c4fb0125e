"""Which task ran where, and which is the current one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcoretools.errors import KernelDataError
from gcoretools.kernel import cpu
from tests.fake_kernel import FakeKernel


@pytest.mark.parametrize("cpus", [1, 2, 64])
def test_the_current_task_of_each_cpu(tmp_path: Path, cpus: int) -> None:
    kernel = FakeKernel(cpus=cpus)
    cat = kernel.process(100, "cat")
    kernel.run(cpus - 1, cat)
    found = cpu.current_tasks(kernel.image(tmp_path))
    idle = {number: kernel.idle[number].address for number in range(cpus)}
    assert found == {**idle, cpus - 1: cat.address}


@pytest.mark.parametrize(
    ("symbol", "value", "wanted"),
    [(None, 0, None), ("crashing_cpu", 1, 1), ("panic_cpu", 1, 1), ("crashing_cpu", 0, 0), ("panic_cpu", -1, None),
     ("crashing_cpu", 2, None), ("panic_cpu", 1 << 30, None)],
)  # fmt: skip
def test_the_cpu_that_panicked(tmp_path: Path, symbol: str | None, value: int, wanted: int | None) -> None:
    kernel = FakeKernel(cpus=2)
    tasks = [kernel.process(100 + i, "cat") for i in range(2)]
    for number, task in enumerate(tasks):
        kernel.run(number, task)
    if symbol:
        kernel.symbol(symbol, 4, value & 0xFFFFFFFF)
    image = kernel.image(tmp_path)
    assert cpu.panicked_cpu(image) == wanted
    assert cpu.current_task(image) == tasks[wanted or 0].address


def test_the_first_symbol_that_names_a_cpu_counts(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=3)
    kernel.symbol("crashing_cpu", 4, 0xFFFFFFFF)
    kernel.symbol("panic_cpu", 4, 2)
    assert cpu.panicked_cpu(kernel.image(tmp_path)) == 2


def test_a_kernel_for_one_cpu(tmp_path: Path) -> None:
    """It has neither nr_cpu_ids nor offsets: the runqueue is a plain variable."""
    kernel = FakeKernel(cpus=1)
    kernel.finish()
    for name in ("nr_cpu_ids", "__per_cpu_offset"):
        del kernel.symbols[name]
    kernel.symbols["runqueues"] = kernel.new("rq", curr=kernel.init.object).address
    kernel.finish = lambda: None  # type: ignore[method-assign]
    assert cpu.current_tasks(kernel.image(tmp_path)) == {0: kernel.init.address}


def test_offsets_wrap_around(tmp_path: Path) -> None:
    """Since 6.15 per-CPU symbols lie in the kernel image, above the areas: the sum leaves 64 bits."""
    kernel = FakeKernel(cpus=2)
    kernel.finish()
    image = 0xFFFFFFFF82A00000
    offsets = kernel.symbols["__per_cpu_offset"]
    for number in range(2):
        area = int.from_bytes(kernel.read(offsets + 8 * number, 8), "little")
        moved = (area + kernel.symbols["runqueues"] - image) % (1 << 64)
        kernel.write(offsets + 8 * number, moved.to_bytes(8, "little"))
    kernel.symbols["runqueues"] = image
    kernel.finish = lambda: None  # type: ignore[method-assign]
    assert cpu.current_tasks(kernel.image(tmp_path)) == {i: kernel.idle[i].address for i in range(2)}


def test_a_number_without_a_cpu(tmp_path: Path) -> None:
    """nr_cpu_ids counts CPUs that were never there; their offsets are those of nobody."""
    kernel = FakeKernel(cpus=2)
    kernel.finish()
    offsets = kernel.symbols["__per_cpu_offset"]
    kernel.write(offsets + 8, (0xDEAD << 48).to_bytes(8, "little"))
    kernel.finish = lambda: None  # type: ignore[method-assign]
    assert cpu.current_tasks(kernel.image(tmp_path)) == {0: kernel.idle[0].address}


def test_no_runqueue_of_the_first_cpu(tmp_path: Path) -> None:
    kernel = FakeKernel(cpus=2)
    kernel.finish()
    kernel.write(kernel.symbols["__per_cpu_offset"], (0xDEAD << 48).to_bytes(8, "little"))
    kernel.finish = lambda: None  # type: ignore[method-assign]
    with pytest.raises(KernelDataError, match="runqueue of CPU 0: name a PID"):
        cpu.current_task(kernel.image(tmp_path))


@pytest.mark.parametrize("count", [0, 8193, 0xFFFFFFFF])
def test_a_number_of_cpus_that_cannot_be(tmp_path: Path, count: int) -> None:
    kernel = FakeKernel(cpus=2)
    kernel.finish()
    kernel.write(kernel.symbols["nr_cpu_ids"], count.to_bytes(4, "little"))
    kernel.finish = lambda: None  # type: ignore[method-assign]
    with pytest.raises(KernelDataError, match=f"nr_cpu_ids is {count}"):
        cpu.current_tasks(kernel.image(tmp_path))
