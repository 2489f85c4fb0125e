"""Files of this machine for what the dump does not hold of executables and libraries: gc-pages --sysroot."""
