"""Run a command, and write down the most memory that it had: python ours.py FILE COMMAND ARGUMENT..."""

import importlib
import resource
import sys
from pathlib import Path

_, peak, command, *arguments = sys.argv
sys.argv = [f"gc-{command}", *arguments]
status = importlib.import_module(f"gcoretools.commands.{command}").main()
Path(peak).write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
sys.exit(status)
