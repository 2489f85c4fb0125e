"""Loaded modules (include/linux/module.h)."""

from gcoretools.layout.needs.need import Need, maybe

MEMBERS: tuple[Need, ...] = (
    maybe("module.list"),
    maybe("module.name"),
)

SIZES: tuple[Need, ...] = ()

CONSTANTS: tuple[Need, ...] = ()

SYMBOLS: tuple[Need, ...] = (maybe("modules"),)
