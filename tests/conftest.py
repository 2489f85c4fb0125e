"""What every test can take."""

pytest_plugins = ["tests.lab.plugin"]
