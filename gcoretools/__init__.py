"""Take user processes out of a Linux kernel crash dump as ELF core files."""

__version__ = "0.1.0"
