"""What kernels and dump writers compress pages with: `decompressor(name)`."""

from gcoretools.compression.block import Buffer, Decompressor
from gcoretools.compression.decompressors import decompressor

__all__ = ["Buffer", "Decompressor", "decompressor"]
