"""Runs `uv`, which finds interpreters, and fetches, builds and links packages. It is a command, and never imported."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import time
from typing import TYPE_CHECKING

from plugvisor.installer.build_output import BuildOutput
from plugvisor.installer.build_process import BuildStopped, run_command
from plugvisor.installer.installed_files import find_damaged_packages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOG_LINES = 50
REASON_CHARACTERS = 1_000
TEMPORARY = "tmp"
"""A folder in an environment while it is made."""

_FIRST_LOG_LINES = 10
_INTERPRETER = re.compile(r"[a-z]+-(\d[^-\s]*)-")
"""In what `uv python list` prints: `cpython-3.11.2-linux-x86_64-gnu    /usr/bin/python3.11`."""
_FETCHED = re.compile(r"Failed to fetch: (\S+)")
_FOLDERS = re.compile(r"(?<=[\s`'\"(])/(?:[^\s/`'\"]+/)+")
"""Of a path of this machine, which is in the log alone."""
_FOUND_SECONDS = 10.0
_LOCK_SECONDS = 10
_DROPPED_PREFIXES = ("PYTHON", "VIRTUAL_ENV", "CONDA_")
_DROPPED_VARIABLES = frozenset(
    f"UV_{name}"
    for name in (
        *("PYTHON", "SYSTEM_PYTHON", "BREAK_SYSTEM_PACKAGES", "MANAGED_PYTHON", "NO_MANAGED_PYTHON"),
        *("WORKING_DIR", "PROJECT", "PROJECT_ENVIRONMENT", "VENV_CLEAR", "VENV_SEED", "VENV_RELOCATABLE"),
        *("TARGET", "PREFIX", "DRY_RUN", "NO_EDITABLE", "COMPILE_BYTECODE"),
    )
)
"""Variables of `uv` that would have it make another environment than ours. Indexes, proxies, certificates, timeouts
and the way of linking are the operator's."""


class BuildRefused(Exception):
    """The environment cannot be made."""

    def __init__(self, message: str, log: list[str] | None = None) -> None:
        super().__init__(f"cannot make the environment: {message}")
        self.log = log or []
        """The last lines of the build, at most `LOG_LINES`."""


class Uv:
    """Runs `uv` for one environment, within the time of all its commands together."""

    def __init__(
        self, folder: str, cache: str, seconds: float, say: Callable[[str], object], is_cancelled: Callable[[], bool]
    ) -> None:
        self._folder = folder
        self._say = say
        self._is_cancelled = is_cancelled
        self._deadline = time.monotonic() + seconds
        self._program = find_uv()
        self._variables = _make_variables(os.environ)
        self._options = ["--no-progress", "--color=never", "--no-python-downloads", f"--cache-dir={cache}"]
        if "UV_CONFIG_FILE" not in self._variables:
            self._options.append("--no-config")  # a package does not configure what makes its environment
        self._replacements = {f"{os.path.realpath(folder)}/": "", f"{folder}/": "", cache: "<cache>"}

    def make_environment(self, environment: str, python: str) -> None:
        status, lines = self._run(["venv", "--quiet", f"--python={python or _find_python()}", environment], self._say)
        if status and python and any("interpreter" in line for line in lines):
            found = self._find_versions()
            text = "" if found is None else f"; found: {', '.join(found) or 'none'}"
            raise BuildRefused(f"there is no Python {python} here{text}", _shorten(lines))
        if status:
            raise BuildRefused(_find_reason(lines), _shorten(lines))
        # builds write there, not in /tmp, which may be in memory; what a crash leaves is removed with the version
        temporary = os.path.join(environment, TEMPORARY)
        os.mkdir(temporary, 0o700)
        self._variables["TMPDIR"] = temporary

    def install(self, environment: str, source: str, *options: str) -> None:
        """Install what a file requires, as clones of the cache's files, or else as links to them."""
        interpreter = os.path.join(environment, "bin", "python")
        # an editable requirement would not be in the environment, but in a folder beside it
        words = ["pip", "install", f"--python={interpreter}", "--no-editable", *options, "-r", source]
        status, lines = self._run(words, self._say)
        if status:
            raise BuildRefused(_find_reason(lines), _shorten(lines))

    def replace_damaged(self, environment: str, source: str) -> None:
        """Fetch packages anew whose files in the cache are not what they were."""
        damaged = find_damaged_packages(environment, self._check_time)
        if not damaged:
            return
        self._say(f"damaged in the cache, and fetched anew: {', '.join(damaged)}")
        # waits for other builds, which use the cache, but not for one that hangs
        waiting = {"UV_LOCK_TIMEOUT": str(_LOCK_SECONDS)}
        status, _ = self._run(["cache", "clean", "--quiet", *damaged], self._say, waiting)
        options = [f"--reinstall-package={name}" for name in damaged]
        self.install(environment, source, *options, *(["--no-cache"] if status else []))
        if wrong := find_damaged_packages(environment, self._check_time):
            self._say(f"warning: files are not what these packages list: {', '.join(wrong)}")

    def _check_time(self) -> None:
        if self._is_cancelled() or time.monotonic() > self._deadline:
            raise BuildRefused("it was cancelled, or takes too long")

    def _find_versions(self) -> list[str] | None:
        """The versions of Python that are installed here; None if it takes too long to find out."""
        self._deadline = time.monotonic() + _FOUND_SECONDS
        try:
            _, lines = self._run(["python", "list", "--only-installed"], lambda _: None)
        except BuildRefused:
            return None
        return list(dict.fromkeys(match[1] for line in lines if (match := _INTERPRETER.match(line))))[:20]

    def _run(
        self, words: list[str], say: Callable[[str], object], variables: Mapping[str, str] | None = None
    ) -> tuple[int, list[str]]:
        output = BuildOutput(say, self._replacements)
        command = [self._program, *words, *self._options]
        environment = self._variables | dict(variables or {})
        try:
            status = run_command(
                command, self._folder, environment, output, self._deadline, is_cancelled=self._is_cancelled
            )
        except BuildStopped as error:
            raise BuildRefused(str(error), _shorten(output.finish())) from error
        lines = output.finish()
        for code in (errno.ENOSPC, errno.EDQUOT):
            if status and any(f"(os error {code})" in line for line in lines):
                raise OSError(code, os.strerror(code))
        return status, lines


def find_uv() -> str:
    """The `uv` that was installed together with this package; raises `BuildRefused`."""
    beside = os.path.join(sys.prefix, "bin", "uv")
    found = beside if os.access(beside, os.X_OK) else shutil.which("uv")
    if found is None:
        raise BuildRefused("'uv' is not installed beside Plugvisor")
    return found


def _find_python() -> str:
    """The interpreter that a plugin's `python` is without an environment, not this process's."""
    return shutil.which("python3") or os.path.join(sys.base_prefix, "bin", "python3")


def _make_variables(environ: Mapping[str, str]) -> dict[str, str]:
    variables = {
        name: value
        for name, value in environ.items()
        if not name.startswith(_DROPPED_PREFIXES) and name not in _DROPPED_VARIABLES
    }
    # its reasons are read line by line, whatever COLUMNS says
    return variables | {"UV_NO_WRAP": "1", "GIT_TERMINAL_PROMPT": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def _find_reason(lines: list[str]) -> str:
    """uv's error and its innermost cause, in one sentence."""
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    causes: list[str] = []
    for line in lines:
        if line.startswith("  cause: "):
            causes.append(line.removeprefix("  cause: "))
        elif causes and line.startswith("         And because "):
            causes[-1] += f" {line.strip()}"
    if not errors:
        return "uv has failed without an error"
    for line in (errors[-1], *causes):
        if fetched := _FETCHED.match(line):
            return f"cannot fetch {fetched[1]}: {causes[-1] if causes else 'no reason is given'}"[:REASON_CHARACTERS]
        if line.startswith("The build backend returned an error"):
            return "a requirement cannot be built from its source; what the build has printed is in the log"
    reason = [*causes[-1:]] if errors[-1].startswith("No solution found") else [errors[-1], *causes[-1:]]
    return _FOLDERS.sub("…/", ": ".join(reason))[:REASON_CHARACTERS]


def _shorten(lines: list[str]) -> list[str]:
    """The part of the output that is worth keeping: from the error on, without the middle of what is long."""
    start = next((number for number, line in enumerate(lines) if line.startswith("error: ")), 0)
    log = lines[start:] if len(lines) > LOG_LINES else lines
    if len(log) <= LOG_LINES:
        return log
    last = LOG_LINES - _FIRST_LOG_LINES - 1
    dropped = len(log) - _FIRST_LOG_LINES - last
    return [*log[:_FIRST_LOG_LINES], f"… {dropped:,} lines left out …", *log[-last:]]
