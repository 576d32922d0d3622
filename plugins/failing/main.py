"""Needs a file that is not there, says so on stderr, and exits with a code of its own."""

import signal
import sys
from pathlib import Path

if not Path("settings.toml").exists():  # the working directory is the plugin's folder
    print("cannot start: there is no settings.toml in this plugin's folder; create one", file=sys.stderr)
    sys.exit(3)

print("settings.toml found, all is well", flush=True)
signal.pause()  # until a signal ends the process
