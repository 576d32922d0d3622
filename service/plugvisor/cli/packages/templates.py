"""The files of a new plugin; `{id}` and `{name}` are replaced."""

_MANIFEST = """\
[plugin]
id = "{id}"
name = "{name}"
version = "0.1.0"
description = "Prints a line every five seconds"
@COMMAND@

[plugin_runtime]
auto_start = true           # is started whenever Plugvisor is, until somebody stops it

[plugin_runtime.environment]
GREETING = "hello"
"""
_README = """\
# {name}

A plugin for Plugvisor.

```sh
plugvisor install . --start     # from this folder: packs and installs it
plugvisor update {id} .         # after a change; give it another version in plugin.toml first
plugvisor rollback {id}
plugvisor pack .                # makes the package, to be installed elsewhere
```

What it writes into `PLUGVISOR_DATA_DIR` is kept across versions. All else here is read-only once it is installed.
With a `requirements.txt`, it gets an environment of its own.
"""
_IGNORE = """\
# What is not packed, as in .gitignore; version control, caches and environments never are.
data/
/{id}-*.zip
"""
_PYTHON = '''\
"""{name}: prints a line every five seconds, and counts its starts."""

import os
import signal
import threading
from pathlib import Path

DATA = Path(os.environ.get("PLUGVISOR_DATA_DIR") or "data")  # the folder `data` if it was not installed


def count_starts() -> int:
    DATA.mkdir(exist_ok=True)
    file = DATA / "starts.txt"
    count = int(file.read_text()) + 1 if file.exists() else 1
    file.write_text(str(count))
    return count


def main() -> None:
    is_ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_ended.set())
    print(f"start number {count_starts()}", flush=True)
    while not is_ended.wait(5):
        print(os.environ.get("GREETING", "hello"), flush=True)
    print("stopped", flush=True)


main()
'''
_CLASS = '''\
"""{name}: prints a line every five seconds, and counts its starts."""

import asyncio
import os
from pathlib import Path

DATA = Path(os.environ.get("PLUGVISOR_DATA_DIR") or "data")  # the folder `data` if it was not installed


class Plugin:
    async def startup(self) -> None:
        DATA.mkdir(exist_ok=True)
        file = DATA / "starts.txt"
        count = int(file.read_text()) + 1 if file.exists() else 1
        file.write_text(str(count))
        print(f"start number {count}", flush=True)
        self.task = asyncio.create_task(self.greet())

    async def greet(self) -> None:
        while True:
            print(os.environ.get("GREETING", "hello"), flush=True)
            await asyncio.sleep(5)

    async def shutdown(self) -> None:
        self.task.cancel()
        print("stopped", flush=True)
'''
_SHELL = """\
#!/bin/sh
# {name}: prints a line every five seconds, and keeps when.
set -eu
data=${PLUGVISOR_DATA_DIR:-data} # the folder `data` if it was not installed
mkdir -p "$data"
trap 'echo stopped; exit 0' TERM
while :; do
    date >>"$data/times.txt"
    echo "${GREETING:-hello}"
    sleep 5 &
    wait $!
done
"""
_COMMON = {"README.md": _README, ".plugvisorignore": _IGNORE}


def _make_manifest(command: str) -> str:
    return _MANIFEST.replace("@COMMAND@", command)


TEMPLATES = {
    "python": {
        "plugin.toml": _make_manifest('command = ["python", "main.py"]'),
        "main.py": _PYTHON,
        **_COMMON,
    },
    "class": {
        "plugin.toml": _make_manifest('entry = "main:Plugin"'),
        "main.py": _CLASS,
        **_COMMON,
    },
    "shell": {"plugin.toml": _make_manifest('command = ["sh", "main.sh"]'), "main.sh": _SHELL, **_COMMON},
}
"""By name."""
