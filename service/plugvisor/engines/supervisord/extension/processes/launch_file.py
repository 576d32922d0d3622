"""Launch files: the directory, the arguments and the environment a plugin's process starts with, byte for byte.

    #!/bin/sh
    # Runs this plugin in a terminal …
    exec /usr/bin/python3 -P -m plugvisor run --file "$0"
    {"directory": "/srv/plugins/echo", "arguments": ["python", "main.py"],
     "environment": {"GREETING": "hello"}, "inherited": ["PATH", "HOME"]}

It is a script, which an operator can run; the extension reads the JSON after its `exec`, which no shell ever sees.
JSON is ASCII here: a byte that is not UTF-8 is a lone surrogate, as `os.fsdecode` has it (PEP 383).
"""

from __future__ import annotations

import json
import math
import os
import shlex
from typing import TYPE_CHECKING, NamedTuple

from plugvisor.engines.supervisord.extension.generated import SCRIPT_HEAD
from plugvisor.engines.supervisord.extension.intents.small_file import read_small_file
from plugvisor.engines.supervisord.extension.processes.restart_policy import RestartValues
from plugvisor.variable_files import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

_SCRIPT = f"""\
{SCRIPT_HEAD}, with the directory, arguments and environment below, which supervisord gives it too.
# Generated from the plugin's manifest; edit that.
exec {{python}} -P -m plugvisor run --file "$0"
"""


LARGEST_BYTES = 16 * 1024 * 1024
"""Far more than exec accepts: a launch file is larger by its escapes only."""


class LaunchFileError(Exception):
    """A launch file is missing, cannot be read, or does not have the form above."""


class Launch(NamedTuple):
    """The contents of a launch file."""

    directory: str
    arguments: list[str]
    environment: dict[str, str]
    inherited: list[str]
    """Variables that the process takes over from the one that starts it."""
    restart: dict[str, float] = {}  # noqa: RUF012 - never changed
    """Those values of `[plugin_runtime.restart]` that are not the default."""
    limits: dict[str, float] = {}  # noqa: RUF012
    """Those limits that there are: `memory`, `cpus`, `processes`, `open_files`."""
    checks: dict[str, list[str]] = {}  # noqa: RUF012
    """The commands of the `exec` checks, by the checks' names."""
    depends_on: list[str] = []  # noqa: RUF012
    """The plugins that this one needs: it is stopped before them, and at the start the service starts it."""
    checks_digest: str = ""
    """By it the service recognises the checks that a process was launched with; empty without checks."""
    critical: bool = False
    """Whether supervisord ends if it becomes FATAL."""
    environment_files: dict[str, str] = {}  # noqa: RUF012
    """The file that the value of each further variable is read from."""
    path_first: str = ""
    """A folder in which programs are looked up before those on PATH, which begins with it; empty if there is none."""

    def render(self, python: str) -> bytes:
        """The text of the file; `python` is the interpreter that has Plugvisor."""
        script = encode(_SCRIPT.format(python=shlex.quote(python)))
        defaults = self._field_defaults
        values = {name: value for name, value in self._asdict().items() if value != defaults.get(name)}
        fields = ",\n".join(f' "{name}": {json.dumps(value)}' for name, value in values.items())
        return script + b"{\n" + fields.encode() + b"\n}\n"

    def build_environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of the process; `environ` is that of its parent."""
        inherited = {name: environ[name] for name in self.inherited if name in environ}
        environment = {**inherited, **self.environment}
        if self.path_first:
            path = environment.get("PATH", os.defpath)
            environment["PATH"] = f"{self.path_first}{os.pathsep}{path}" if path else self.path_first
        return environment


def read_launch_file(path: str) -> bytes:
    """Read a launch file without waiting, whatever was put in its place; raises `OSError`, `LaunchFileError`."""
    try:
        return read_small_file(path, LARGEST_BYTES)
    except ValueError as error:
        raise LaunchFileError(f"its launch file cannot be read: {error}") from None


class LaunchFiles:
    """The launch files of a supervisord's programs.

    Args:
        as_reader: a context in which this process has the rights with which to read them.
    """

    def __init__(self, folder: str, as_reader: Callable[[], AbstractContextManager[None]]) -> None:
        self._folder = folder
        self._as_reader = as_reader
        self._read: dict[str, Launch] = {}

    def read(self, name: str) -> Launch:
        """A program's launch file; if somebody has removed it, as it was last read. Raises `LaunchFileError`."""
        try:
            launch = parse_launch(self._read_bytes(name))
        except OSError as error:
            if isinstance(error, FileNotFoundError) and name in self._read:
                return self._read[name]  # a plugin that crashes is restarted all the same
            raise LaunchFileError(f"its launch file cannot be read: {error.strerror}") from error
        self._read[name] = launch
        return launch

    def has_dependencies(self, name: str) -> bool:
        """Whether a program depends on others; True if that cannot be read: the service, which writes it, knows."""
        try:
            data = self._read_bytes(name)
            return b'"depends_on"' in data and bool(parse_launch(data).depends_on)
        except (OSError, LaunchFileError):
            return True

    def _read_bytes(self, name: str) -> bytes:
        with self._as_reader():
            return read_launch_file(os.path.join(self._folder, f"{name}.sh"))

    def forget(self, name: str) -> None:
        """The program was removed."""
        self._read.pop(name, None)


def parse_launch(data: bytes) -> Launch:
    """Parse a launch file; raises `LaunchFileError`, whose text repeats nothing of the file."""
    try:
        launch = Launch(**json.loads(data[data.index(b"\n{") :]))
        _check(launch)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise LaunchFileError("its launch file is damaged; a reload writes it again") from None
    return launch


def _check(launch: Launch) -> None:
    texts = [launch.directory, *launch.arguments, *launch.environment.values(), *launch.environment, *launch.inherited]
    texts += [launch.path_first, *launch.environment_files, *launch.environment_files.values()]
    texts += [*launch.depends_on, *(word for command in launch.checks.values() for word in command)]
    numbers = [*launch.restart.values(), *launch.limits.values()]
    if not launch.arguments or not all(isinstance(text, str) and b"\0" not in encode(text) for text in texts):
        raise ValueError("a launch file holds strings without NUL, and at least one argument")
    if not all(isinstance(number, int | float) and 0 <= number < math.inf for number in numbers):
        raise ValueError("a restart and a limit are numbers")
    RestartValues(**launch.restart)
    if not all(name and "=" not in name for name in (*launch.environment, *launch.environment_files)):
        raise ValueError("a variable has a name, without an equals sign")
