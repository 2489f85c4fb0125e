"""Make and list the captures of the lab.

usage: python -m tests.lab capture KERNEL [VARIANT]   make one (variant: max) and print its folder
       python -m tests.lab list                       print what there is
       python -m tests.lab prune                      remove all but the newest of each kernel and variant

The kernels stay as they were fetched: remove the folder kernels of the lab to take the newest packages again.
"""

import shutil
import sys
import time
from itertools import product

from .errors import LabError
from .kernels import KERNELS
from .lab import capture, found
from .variants import VARIANTS


def main(words: list[str]) -> int:
    """Do what the words say; 2 when they say nothing known."""
    match words:
        case ["capture", kernel, *rest] if kernel in KERNELS and len(rest) < 2 and VARIANTS.keys() >= set(rest):
            start = time.monotonic()
            made = capture(kernel, *rest)
            print(f"{made.folder}  {time.monotonic() - start:.1f} s", flush=True)
        case ["list"]:
            print(*(folder for pair in product(KERNELS, VARIANTS) for folder in found(*pair)), sep="\n")
        case ["prune"]:
            for pair in product(KERNELS, VARIANTS):
                for folder in found(*pair)[:-1]:
                    shutil.rmtree(folder)
        case _:
            print(__doc__, "kernels:  ", *KERNELS, "\nvariants: ", *VARIANTS, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        sys.exit(f"lab: {error}")
