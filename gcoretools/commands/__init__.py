"""The commands, a module each."""

import os

# None of them does linear algebra: a thread of numpy's library for it on each CPU would only be in the way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
