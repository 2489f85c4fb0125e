"""What every test can take."""

from hypothesis import settings

pytest_plugins = ["tests.lab.plugin"]

# A busy machine makes an example slow; how much each may take is bounded where that is what is tested.
settings.register_profile("real", deadline=None)
settings.load_profile("real")
