"""pytest's side of the lab: --kernels, and the fixture `captured`.

A test that takes `captured` runs once per kernel, with variant max; @pytest.mark.lab("nehalem", "kdump") names
other variants. The kernels are those that a variant has in `make test`, or --kernels 6.1,7.2, or GC_LAB_KERNELS;
`all` is every one.
"""

import os

import pytest

from .kernels import KERNELS
from .lab import Capture, capture
from .variants import VARIANTS, Variant


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --kernels."""
    help_ = f"kernels of the lab, with commas, of {' '.join(KERNELS)}; or all"
    parser.addoption("--kernels", default=os.environ.get("GC_LAB_KERNELS", ""), help=help_)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "lab(variant...): the variants of the lab that `captured` runs through")


def selected(words: str, variant: Variant) -> list[str]:
    """The kernels that the option's words name for a variant; pytest.UsageError for an unknown one."""
    return [name for name in named(words) or variant.quick if name in variant.kernels]


def named(words: str) -> list[str]:
    """The kernels that the option's words name; none when it is not given."""
    if words == "all":
        return list(KERNELS)
    names = [name for name in words.split(",") if name]
    unknown = [name for name in names if name not in KERNELS]
    if unknown:
        raise pytest.UsageError(f"--kernels: no such kernel: {', '.join(unknown)} (there are {', '.join(KERNELS)})")
    return names


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One run per kernel and variant for every test that takes `captured`."""
    if "captured" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("lab")
    words = metafunc.config.getoption("--kernels")
    variants = marker.args if marker else ("max",)
    pairs = [(kernel, name) for name in variants for kernel in selected(words, VARIANTS[name])]
    metafunc.parametrize("captured", pairs, indirect=True, ids=map("-".join, pairs), scope="session")


@pytest.fixture(scope="session")
def captured(request: pytest.FixtureRequest) -> Capture:
    """The capture of this run; a lab that cannot make it is an error, not a skip."""
    return capture(*request.param)
