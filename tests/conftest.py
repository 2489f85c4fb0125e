"""What every test can take."""

import os
import random

from hypothesis import settings

pytest_plugins = ["tests.lab.plugin"]

# A busy machine makes an example slow; how much each may take is bounded where that is what is tested.
settings.register_profile("real", deadline=None)
settings.load_profile("real")

# pytest-xdist wants the same tests in the same order from all its workers, also where parameters are a set.
os.environ.setdefault("PYTHONHASHSEED", str(random.randrange(1 << 32)))
