"""What an author and an operator have beside the API: saved files, variables from files, and a log that is followed."""

from __future__ import annotations

from tests.chaos.cast.plugins import OBEYS, WAITS, Behaviour

VERSION = "# version "
"""What the first line of a watched plugin's code begins with, before the number of the save."""
KEYS = "keys"
"""The folder with the files of variables."""
SECRET = "chaos-secret-"
"""What the value of each begins with, before the number of its writing."""

_SHOWS_ITS_VERSION = """\
with open("main.py") as file:
    version = file.readline().removeprefix("# version ").strip()
with open(os.environ["CHAOS_TRACE"] + ".version", "a") as file:
    file.write(f"{os.getpid()} {version}\\n")
"""
"""It reads the file again, so a save between the start and this counts as seen, which it then is."""
_SHOWS_ITS_KEY = """\
with open(os.environ["CHAOS_TRACE"] + ".key", "a") as file:
    file.write(f"{os.getpid()} {os.environ['CHAOS_KEY']}\\n")
"""
_COUNTS = """\
import itertools
for number in itertools.count():
    sys.stdout.write(f"{os.getpid()} {number}\\n")
    sys.stdout.flush()
    time.sleep(0.05)
"""
_WATCH = '[plugin_runtime.watch]\npaths = ["."]\ndebounce = 0.1\n'

AUTHORED_PLUGINS = {
    "watched": Behaviour(OBEYS + _SHOWS_ITS_VERSION + WAITS, runtime=_WATCH),
    "watched-slow": Behaviour(
        OBEYS.replace("sys.exit", "time.sleep(0.5) or sys.exit") + _SHOWS_ITS_VERSION + WAITS,
        "startsecs = 1",
        runtime=_WATCH,
    ),
    # it may have written any of its files itself
    "watched-loud": Behaviour(OBEYS + "print('x' * 5000, flush=True)\n" + _SHOWS_ITS_VERSION + WAITS, runtime=_WATCH),
    "keyed": Behaviour(
        OBEYS + _SHOWS_ITS_KEY + WAITS, runtime='[plugin_runtime.environment_files]\nCHAOS_KEY = "KEY"\n'
    ),
    "counting": Behaviour(OBEYS + _COUNTS),
}
WATCHED = tuple(name for name, behaviour in AUTHORED_PLUGINS.items() if behaviour.runtime == _WATCH)
TARGETS = {"save": WATCHED, "change-key": ("keyed",)}
"""The plugins to which some kinds of operations are done."""
ALWAYS = ("counting", "keyed")
"""The plugins that each round starts."""
