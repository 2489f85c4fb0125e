"""python -m tests.lab capture KERNEL [VARIANT] | list"""

import sys
import time

from .errors import LabError
from .kernels import KERNELS
from .lab import LAB, capture
from .variants import VARIANTS


def main(words: list[str]) -> int:
    """Make one capture and print its folder, or list what there is."""
    match words:
        case ["capture", kernel, *rest] if kernel in KERNELS and (rest or ["max"])[0] in VARIANTS:
            start = time.monotonic()
            made = capture(kernel, *rest)
            print(f"{made.folder}  {time.monotonic() - start:.1f} s", flush=True)
        case ["list"]:
            for kernel in KERNELS:
                for variant in VARIANTS:
                    for folder in LAB.glob(f"{kernel}-{variant}-*"):
                        print(folder)
        case _:
            print(__doc__, f"kernels: {' '.join(KERNELS)}; variants: {' '.join(VARIANTS)}", sep="\n", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        sys.exit(f"lab: {error}")
