"""CPUs of kernels with a PDA: how many they are, what is current on them, and where their variables lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from gcoretools.kernel import cpu, pda
from tests.fake_kernel import PER_CPU_SIZE, FakeKernel, Object


class WithPda(FakeKernel):
    """Two CPUs, whose PDAs are an array (2.6.9) or behind an array of pointers (2.6.16)."""

    def __init__(self, pointers: bool) -> None:
        super().__init__(cpus=2)
        self.extend(x8664_pda__pcurrent=8, x8664_pda__data_offset=8, x8664_pda__cpunumber=4)
        self.layout.sizes["x8664_pda"] = self.all_sizes["x8664_pda"]
        self.pointers = pointers

    def _finish_cpus(self) -> None:
        super()._finish_cpus()
        del self.symbols["nr_cpu_ids"], self.symbols["__per_cpu_offset"]
        size = self.all_sizes["x8664_pda"]
        table = self.alloc(8 * size)
        for number, task in enumerate(self.current):
            area = self.alloc(PER_CPU_SIZE, 4096)
            Object(self, "rq", area + 0x2000 - 0x1000)["curr"] = task
            each = Object(self, "x8664_pda", table + number * size)
            each["pcurrent"], each["cpunumber"], each["data_offset"] = task, number, area - 0x1000
        self.symbols["runqueues"] = 0x2000
        if self.pointers:
            known = b"".join((table + i * size).to_bytes(8, "little") for i in range(4))
            self.symbol("_cpu_pda", len(known), known)
        else:
            self.symbols["cpu_pda"] = table


@pytest.mark.parametrize("pointers", [True, False])
def test_cpus(tmp_path: Path, pointers: bool) -> None:
    kernel = WithPda(pointers)
    cat = kernel.process(100, "cat")
    kernel.run(1, cat)
    image = kernel.image(tmp_path)
    assert cpu.cpu_count(image) == 2
    assert cpu.current_tasks(image) == {0: kernel.idle[0].address, 1: cat.address}
    assert [area["cpunumber"] for area in pda.areas(image)] == [0, 1]
    assert pda.area(image, 2) is None


def test_a_kernel_without(tmp_path: Path) -> None:
    image = FakeKernel(cpus=1).image(tmp_path)
    assert pda.area(image, 0) is None
    assert list(pda.areas(image)) == []
