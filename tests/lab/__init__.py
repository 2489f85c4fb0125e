"""The VM lab: real kernels, dumped for real, with the kernel's own cores of the same processes beside them."""
