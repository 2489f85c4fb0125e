"""User and group ids through the maps of user namespaces."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcoretools.kernel.cred import real_ids
from tests.fake_kernel import FakeKernel

Extents = list[tuple[int, int, int]]


def ids(kernel: FakeKernel, folder: Path, uid: int, gid: int, uids: Extents, gids: Extents) -> tuple[int, int]:
    cat = kernel.process(100, "cat")
    cat.credentials(uid, gid, kernel.user_namespace(uids, gids))
    image = kernel.image(folder)
    return real_ids(image, image.struct("task_struct", cat.address))


def test_in_the_first_namespace(tmp_path: Path) -> None:
    everybody = [(0, 0, 0xFFFFFFFF)]
    assert ids(FakeKernel(cpus=1), tmp_path, 1000, 0xFFFFFFFE, everybody, everybody) == (1000, 0xFFFFFFFE)


# Inside, outside, count: as in /proc/PID/uid_map.
FEW = [(0, 100000, 65536), (70000, 5, 1)]
MANY = [(i * 10, 1000 + i * 100, 10) for i in range(40)]


@pytest.mark.parametrize(
    ("extents", "outside", "inside"),
    [
        (FEW, 100000, 0),
        (FEW, 100033, 33),
        (FEW, 165535, 65535),
        (FEW, 165536, 65534),
        (FEW, 99999, 65534),
        (FEW, 5, 70000),
        (FEW, 6, 65534),
        (MANY, 1000, 0),
        (MANY, 4909, 399),
        (MANY, 4910, 65534),
        ([(0, 0, 0)], 0, 65534),
        ([], 0, 65534),
    ],
)
def test_ids_go_through_the_map(tmp_path: Path, extents: Extents, outside: int, inside: int) -> None:
    """Up to five extents stand in the map itself, more behind a pointer."""
    assert ids(FakeKernel(cpus=1), tmp_path, outside, 1, extents, [(0, 0, 10)]) == (inside, 1)
    assert ids(FakeKernel(cpus=1), tmp_path, 1, outside, [(0, 0, 10)], extents or [(0, 0, 0)]) == (1, inside)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), max_size=12), st.integers(0, 600), st.integers(0, 9)
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_map_is_looked_up_as_a_table_would_be(
    tmp_path: Path, steps: list[tuple[int, int]], uid: int, seed: int
) -> None:
    extents, at = [], 0
    for i, (gap, count) in enumerate(steps):
        extents.append((i * 1000, at + gap, count))
        at += gap + count
    table = {lower + n: first + n for first, lower, count in extents for n in range(count)}
    found, _ = ids(FakeKernel(cpus=1, seed=seed), tmp_path, uid, 0, extents, [(0, 0, 1)])
    assert found == table.get(uid, 65534)


def test_kernels_without_namespaces_or_credentials(tmp_path: Path) -> None:
    for lacks in (("cred.user_ns",), ("user_namespace",), ("task_struct.real_cred", "cred")):
        kernel = FakeKernel(cpus=1, without=lacks)
        assert ids(kernel, tmp_path, 1000, 100, [(5, 1000, 1)], []) == (1000, 100)


def test_an_absurd_number_of_extents(tmp_path: Path) -> None:
    """No more are read than there can be."""
    kernel = FakeKernel(cpus=1)
    cat = kernel.process(100, "cat")
    users = kernel.user_namespace(MANY)
    kernel.alloc(340 * 12)
    kernel.write(users.at("uid_map") + kernel.all_members["uid_gid_map.nr_extents"].offset, b"\xff\xff\xff\x7f")
    cat.credentials(1000, 1000, users)
    image = kernel.image(tmp_path)
    assert real_ids(image, image.struct("task_struct", cat.address)) == (0, 0)
