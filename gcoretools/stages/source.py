"""Where a stage gets its kernel from: a dump at the head of the pipeline, or the header of the stream."""

from __future__ import annotations

from pathlib import Path

from gcoretools.dumps import absolute, open_dump
from gcoretools.dumps.verified import VerifiedDump
from gcoretools.errors import LayoutError, StreamError
from gcoretools.kernel.core_rules import core_rules
from gcoretools.kernel.fast_path import SYSTEM_CALL
from gcoretools.kernel.image import Image
from gcoretools.kernel.unwind import Rules
from gcoretools.layout.layout import kernel_from_plain, kernel_to_plain
from gcoretools.layout.resolve import resolve_kernel
from gcoretools.records import FORMAT, VERSION, Header


def from_dump(path: str, vmlinux: str | None, use_cache: bool) -> tuple[Header, Image]:
    """Open a dump and find out where its kernel keeps things.

    Args:
        vmlinux: the kernel's types and symbols, where not from the dump itself.
        use_cache: whether the layout may come from, and goes to, the user's cache.
    Raises DumpError or LayoutError.
    """
    dump = open_dump(Path(path))
    image = Image(dump, resolve_kernel(dump, Path(vmlinux) if vmlinux else None, use_cache))
    where: dict[str, object] = {"path": absolute(path), "format": dump.format}
    where["fingerprint"] = dump.fingerprint
    return Header(FORMAT, VERSION, [], where, kernel_to_plain(image.kernel), core_rules(image)), image


def call_frames(image: Image, unwind: str | None, symbol_file: str | None) -> Rules | None:
    """The kernel's call-frame information; None where there is none, or the kernel can do without.

    Args:
        unwind: the file of --unwind.
        symbol_file: the file of -k, which may have some.
    Raises LayoutError when the file of --unwind has none.
    """
    if not unwind and not (symbol_file and image.has(*SYSTEM_CALL)):
        return None
    from gcoretools.layout.unwind_file import UnwindFile

    try:
        return UnwindFile(Path(unwind or symbol_file or ""))
    except LayoutError:
        if unwind:
            raise
        return None


def from_header(header: Header, dump_path: str | None) -> Image:
    """Open the dump that a stream speaks of, and nothing else.

    Args:
        dump_path: where the dump is now, when not where the header says; the header is changed to say so.
    Raises StreamError when the dump is another one.
    """
    path = dump_path or str(header.dump.get("path", ""))
    dump = open_dump(Path(path))
    if dump.fingerprint != header.dump.get("fingerprint"):
        raise StreamError(f"{path} is not the dump that the stream was made from (its fingerprint differs)")
    if dump_path:
        header.dump["path"] = absolute(dump_path)
    return Image(dump, kernel_from_plain(header.kernel))


def verified(image: Image) -> Image:
    """The same kernel, with every page of the dump tried before it is promised."""
    return Image(VerifiedDump(image.dump), image.kernel)
