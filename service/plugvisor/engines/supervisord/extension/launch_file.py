"""Launch files: the directory, the arguments and the environment a plugin's process starts with, byte for byte.

    {"directory": "/srv/plugins/echo", "arguments": ["python", "main.py"],
     "environment": {"GREETING": "hello"}, "inherited": ["PATH", "HOME"]}

The file is ASCII JSON. A byte that is not UTF-8 is a lone surrogate, as `os.fsdecode` has it (PEP 383).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class LaunchFileError(Exception):
    """A launch file is missing, cannot be read, or does not have the form above."""


class Launch(NamedTuple):
    """What a launch file says."""

    directory: str
    arguments: list[str]
    environment: dict[str, str]
    inherited: list[str]
    """Variables that the process takes over from whoever starts it."""

    def render(self) -> bytes:
        """The text of the file."""
        return json.dumps(self._asdict(), indent=1).encode() + b"\n"

    def build_environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of the process; `environ` is that of its parent."""
        inherited = {name: environ[name] for name in self.inherited if name in environ}
        return {**inherited, **self.environment}


def parse_launch(data: bytes) -> Launch:
    """Parse a launch file; raises `LaunchFileError`, whose text repeats nothing of the file."""
    try:
        launch = Launch(**json.loads(data))
        _check(launch)
    except (ValueError, TypeError, RecursionError):
        raise LaunchFileError("its launch file is damaged; `plugvisor render` or a reload writes it again") from None
    return launch


def _check(launch: Launch) -> None:
    texts = [launch.directory, *launch.arguments, *launch.environment.values(), *launch.environment, *launch.inherited]
    if not launch.arguments or not all(isinstance(text, str) and "\0" not in text for text in texts):
        raise ValueError("a launch file holds strings without NUL, and at least one argument")
