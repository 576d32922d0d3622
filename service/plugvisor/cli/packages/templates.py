"""The files of a new plugin; `{id}`, `{name}` and `{module}` are replaced, also in their names."""

SCHEMA_FILE = "plugin.schema.json"
"""Of each new plugin, beside its manifest: an editor needs no running service, and no certain address of one."""

_MANIFEST = f"""\
#:schema ./{SCHEMA_FILE}
[plugin]
id = "{{id}}"
name = "{{name}}"
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
plugvisor check .               # from this folder: validates plugin.toml
@TEST@
plugvisor install . --start     # packs and installs it
plugvisor update {id} .         # after a change; give it another version in plugin.toml first
plugvisor rollback {id}
plugvisor pack .                # makes the package, to be installed elsewhere
```

What it writes into `PLUGVISOR_DATA_DIR` is kept across versions. All else here is read-only once it is installed.
With a `requirements.txt`, it gets an environment of its own. Editors complete `plugin.toml` by `plugin.schema.json`;
`plugvisor schema >plugin.schema.json` renews it. What `.plugvisorignore` names, the test too, is not packed.
"""
_IGNORE = """\
# What is not packed, as in .gitignore; version control, caches and environments never are.
data/
/{id}-*.zip
/test_*.py
/test.sh
/plugin.schema.json
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


if __name__ == "__main__":
    main()
'''
_PYTHON_TEST = '''\
"""The plugin as Plugvisor runs it: a process with a folder for its data, ended by SIGTERM."""

import os
import signal
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def run(data: Path) -> list[str]:
    """Start the plugin and end it; returns the lines that it has printed."""
    environ = {**os.environ, "PLUGVISOR_DATA_DIR": str(data)}
    command = [sys.executable, "main.py"]
    with subprocess.Popen(command, cwd=FOLDER, env=environ, stdout=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline()]  # when it prints, it is ready for the signal
        process.send_signal(signal.SIGTERM)
        lines += process.stdout.readlines()
    assert process.returncode == 0
    return [line.rstrip() for line in lines]


def test_it_counts_its_starts(tmp_path: Path) -> None:
    assert run(tmp_path) == ["start number 1", "stopped"]
    assert run(tmp_path) == ["start number 2", "stopped"]
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
_CLASS_TEST = '''\
"""The class, called as Plugvisor's runner calls it."""

import asyncio
import importlib.util
from pathlib import Path

FILE = Path(__file__).with_name("main.py")


async def run() -> None:
    """Import the module anew, start the plugin and stop it."""
    spec = importlib.util.spec_from_file_location("{module}_main", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    plugin = module.Plugin()
    await plugin.startup()
    await asyncio.sleep(0)  # it greets
    await plugin.shutdown()


def test_it_greets_and_counts_its_starts(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PLUGVISOR_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("GREETING", "hi")
    for number in (1, 2):
        asyncio.run(run())
        assert capsys.readouterr().out.splitlines() == [f"start number {number}", "hi", "stopped"]
'''
_SHELL = """\
#!/bin/sh
# {name}: prints a line every five seconds, and keeps when.
set -eu
data=${PLUGVISOR_DATA_DIR:-data} # the folder `data` if it was not installed
mkdir -p "$data"
pause=
# Plugvisor sends the signal to `sleep`, too, which may have ended by it already.
trap '[ -z "$pause" ] || kill "$pause" 2>/dev/null || :; echo stopped; exit 0' TERM
while :; do
    date >>"$data/times.txt"
    echo "${GREETING:-hello}"
    sleep 5 &
    pause=$!
    wait "$pause"
done
"""
_SHELL_TEST = """\
#!/bin/sh
# Runs the plugin as Plugvisor does, and ends it by SIGTERM: sh test.sh
set -eu
cd "$(dirname "$0")"
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT
PLUGVISOR_DATA_DIR=$data GREETING=hi sh main.sh >"$data/output" &
plugin=$!
tries=0
until [ -s "$data/output" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo "failed: it has printed nothing"; kill "$plugin"; exit 1; }
    sleep 0.1
done
kill "$plugin"
wait "$plugin" || { echo "failed: it has exited with $?"; exit 1; }
printf 'hi\\nstopped\\n' | cmp - "$data/output" || { echo "failed: it has printed something else"; exit 1; }
[ -s "$data/times.txt" ] || { echo "failed: it has not written its data"; exit 1; }
echo passed
"""
_PYTEST = "pytest .                        # its test; pip install pytest"


def _make_files(command: str, files: dict[str, str], test: str) -> dict[str, str]:
    return {
        "plugin.toml": _MANIFEST.replace("@COMMAND@", command),
        **files,
        "README.md": _README.replace("@TEST@", test),
        ".plugvisorignore": _IGNORE,
    }


TEMPLATES = {
    "python": _make_files(
        'command = ["python", "main.py"]', {"main.py": _PYTHON, "test_{module}.py": _PYTHON_TEST}, _PYTEST
    ),
    "class": _make_files('entry = "main:Plugin"', {"main.py": _CLASS, "test_{module}.py": _CLASS_TEST}, _PYTEST),
    "shell": _make_files(
        'command = ["sh", "main.sh"]',
        {"main.sh": _SHELL, "test.sh": _SHELL_TEST},
        "sh test.sh                      # its test",
    ),
}
"""By name."""
