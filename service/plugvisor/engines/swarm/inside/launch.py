"""A task's launch: the file of its service's secret, as JSON.

    {"directory": "/plugins/echo", "arguments": ["python", "main.py"], "environment": {"GREETING": "hello"},
     "inherited": ["PATH", "HOME"], "exitcodes": [0, 2]}

JSON is ASCII here: a byte that is not UTF-8 is a lone surrogate, as `os.fsdecode` has it (PEP 383).
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET_NAME = "plugvisor-launch"  # noqa: S105 - the name of a file
SECRET_FILE = f"/run/secrets/{SECRET_NAME}"
FOLDER_FILE = "/run/plugvisor/folder-"
"""The archive of the folder if it has come by configs: the parts of a `.tar.gz`, numbered from 0."""
DATA_VARIABLE = "PLUGVISOR_DATA_DIR"
"""The variable with which an installed plugin finds its data folder."""
LARGEST_BYTES = 512_000
"""A secret must be smaller."""


class LaunchError(Exception):
    """A plugin cannot be run here; its text repeats neither arguments nor environment."""


class Launch(NamedTuple):
    """The contents of the secret."""

    directory: str
    arguments: list[str]
    environment: dict[str, str]
    inherited: list[str]
    """Variables that the process takes over from its container."""
    path_first: str = ""
    """A folder in which programs are looked up before those on PATH, which begins with it; empty if there is none."""
    exitcodes: list[int] = [0]  # noqa: RUF012 - never changed
    """Those that are expected."""
    checks: dict[str, list[str]] = {}  # noqa: RUF012
    """The commands of the `exec` checks, by the checks' names."""

    def render(self) -> bytes:
        """The text of the secret: the same for values that are the same."""
        defaults = self._field_defaults
        values = {name: value for name, value in self._asdict().items() if value != defaults.get(name)}
        return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()

    def build_environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of the process; `environ` is the container's."""
        inherited = {name: environ[name] for name in self.inherited if name in environ}
        environment = {**inherited, **self.environment}
        if self.path_first:
            path = environment.get("PATH", os.defpath)
            environment["PATH"] = f"{self.path_first}{os.pathsep}{path}" if path else self.path_first
        return environment


def read_launch(path: str) -> Launch:
    """Read the secret; raises `LaunchError`."""
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise LaunchError(f"its secret cannot be read: {error.strerror}") from error
    try:
        launch = Launch(**json.loads(data))
        _check(launch)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise LaunchError("its secret is damaged; a reload makes another one") from None
    return launch


def _check(launch: Launch) -> None:
    texts = [launch.directory, *launch.arguments, *launch.environment.values(), *launch.environment, *launch.inherited]
    texts += [launch.path_first, *(word for command in launch.checks.values() for word in command)]
    if not launch.arguments or not all(isinstance(text, str) and "\0" not in text for text in texts):
        raise ValueError("a launch holds strings without NUL, and at least one argument")
    if not os.path.isabs(launch.directory) or not all(name and "=" not in name for name in launch.environment):
        raise ValueError("a folder's path is absolute, and a variable has a name, without an equals sign")
    if not all(type(code) is int for code in launch.exitcodes) or not all(launch.checks.values()):
        raise ValueError("exit codes are numbers, and a check has a command")
