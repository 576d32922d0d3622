"""The environment of a version: a virtual environment in its folder, made by `uv` from what the version requires.

`requirements.txt` is used, or else the dependencies in `pyproject.toml`. The package itself is not installed.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import time
import tomllib
from typing import TYPE_CHECKING, NamedTuple

from plugvisor.installer.build_output import BuildOutput
from plugvisor.installer.build_process import BuildStopped, run_command
from plugvisor.layout import find_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REQUIREMENTS = "requirements.txt"
PROJECT = "pyproject.toml"
LARGEST_PROJECT_BYTES = 1024 * 1024
LOG_LINES = 50

_FIRST_LOG_LINES = 10
_SPECIFIER = re.compile(r"\s*(?:[<>=!~]=|[<>])\s*\d[0-9A-Za-z.*]*\s*(?:,\s*(?:[<>=!~]=|[<>])\s*\d[0-9A-Za-z.*]*\s*)*")
_INTERPRETER = re.compile(r"[a-z]+-(\d[^-\s]*)-")
"""In what `uv python list` prints: `cpython-3.11.2-linux-x86_64-gnu    /usr/bin/python3.11`."""
_FOUND_SECONDS = 10.0
_OURS = ("PYTHON", "VIRTUAL_ENV", "CONDA_")
_NOT_THE_OPERATORS = frozenset(
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


class Built(NamedTuple):
    """What was made."""

    environment: bool
    """Whether the version has requirements, and so an environment."""
    python: str
    """The version of its interpreter."""


def build(
    folder: str,
    python: str,
    seconds: float,
    cache: str,
    *,
    say: Callable[[str], object],
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Built:
    """Make `<folder>/.venv`, if the version in that folder has requirements. Whatever happens, no process is left.

    Args:
        folder: the absolute path that the version is run from: scripts of the environment name it.
        python: a specifier of Python's versions, such as `>=3.12`; empty for what `pyproject.toml` says, or any.
        seconds: how long it may take.
        cache: the folder of what was downloaded and built before; files are linked from it.
        say: is called with each line of the output.
        is_cancelled: is asked ten times a second.

    Raises:
        BuildRefused
        OSError: with `ENOSPC`, there is no space.
    """
    environment = find_environment(folder)
    if os.path.lexists(environment):
        raise BuildRefused("the package holds a '.venv' of its own, which works nowhere else; leave it out")
    source, wanted = _find_requirements(folder, say)
    if not source:
        return Built(False, "")
    python = (python or wanted).strip()
    if python and not _SPECIFIER.fullmatch(python):
        raise BuildRefused(f"'{python[:100]}' is no specifier of Python's versions, such as '>=3.12'")
    try:
        os.makedirs(cache, exist_ok=True)
        uv = _Uv(folder, cache, seconds, say, is_cancelled)
        uv.make_environment(environment, python)
        version = _read_version(environment)
        say(f"Python {version}")
        uv.install(environment, source)
        _protect(environment)
    except BaseException as error:
        shutil.rmtree(environment, ignore_errors=True)
        if isinstance(error, PermissionError):
            raise BuildRefused("its cache in the install folder cannot be written by the plugins' user") from error
        raise
    return Built(True, version)


def _find_requirements(folder: str, say: Callable[[str], object]) -> tuple[str, str]:
    """The file that holds requirements, and the versions of Python that it wants; empty if there is no such thing."""
    has_project = os.path.isfile(os.path.join(folder, PROJECT))
    if os.path.isfile(os.path.join(folder, REQUIREMENTS)):
        if has_project:
            say(f"{REQUIREMENTS} is used; {PROJECT} is not")
        return REQUIREMENTS, ""
    project = _read_project(os.path.join(folder, PROJECT)) if has_project else {}
    dynamic = project.get("dynamic")
    has_dynamic = isinstance(dynamic, list) and "dependencies" in dynamic
    if not project.get("dependencies") and not has_dynamic:
        return "", ""
    wanted = project.get("requires-python")
    return PROJECT, wanted if isinstance(wanted, str) else ""


def _read_project(path: str) -> Mapping[str, object]:
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_PROJECT_BYTES + 1)
        if len(content) > LARGEST_PROJECT_BYTES:
            raise BuildRefused(f"{PROJECT} is larger than 1 MiB")
        project = tomllib.loads(content.decode()).get("project", {})
    except ValueError as error:
        raise BuildRefused(f"{PROJECT} is not TOML: {str(error)[:200]}") from error
    except RecursionError as error:
        raise BuildRefused(f"{PROJECT} is nested too deeply") from error
    return project if isinstance(project, dict) else {}


class _Uv:
    """Runs `uv` for one environment, within the time of all its commands together."""

    def __init__(
        self, folder: str, cache: str, seconds: float, say: Callable[[str], object], is_cancelled: Callable[[], bool]
    ) -> None:
        self._folder = folder
        self._say = say
        self._is_cancelled = is_cancelled
        self._deadline = time.monotonic() + seconds
        self._program = _find_uv()
        self._variables = _make_variables(os.environ)
        self._options = ["--no-progress", "--color=never", "--no-python-downloads", f"--cache-dir={cache}"]
        if "UV_CONFIG_FILE" not in self._variables:
            self._options.append("--no-config")  # a package does not configure what makes its environment
        self._replacements = {f"{os.path.realpath(folder)}/": "", f"{folder}/": "", cache: "<cache>"}

    def make_environment(self, environment: str, python: str) -> None:
        status, lines = self._run(["venv", "--quiet", f"--python={python or _find_python()}", environment], self._say)
        if status and python:
            found = ", ".join(self._find_versions()) or "none"
            raise BuildRefused(f"there is no Python {python} here; found: {found}", _shorten(lines))
        if status:
            raise BuildRefused(_find_reason(lines), _shorten(lines))

    def install(self, environment: str, source: str) -> None:
        interpreter = os.path.join(environment, "bin", "python")
        # an editable one would be run from a folder that is read-only, and belongs to no environment
        options = [f"--python={interpreter}", "--no-editable"]
        if "UV_LINK_MODE" not in self._variables:
            options.append("--link-mode=hardlink")
        status, lines = self._run(["pip", "install", *options, "-r", source], self._say)
        if status:
            raise BuildRefused(_find_reason(lines), _shorten(lines))

    def _find_versions(self) -> list[str]:
        """The versions of Python that are installed here."""
        self._deadline = time.monotonic() + _FOUND_SECONDS
        try:
            _, lines = self._run(["python", "list", "--only-installed"], lambda _: None)
        except BuildRefused:
            return []
        return list(dict.fromkeys(match[1] for line in lines if (match := _INTERPRETER.match(line))))[:20]

    def _run(self, words: list[str], say: Callable[[str], object]) -> tuple[int, list[str]]:
        output = BuildOutput(say, self._replacements)
        command = [self._program, *words, *self._options]
        try:
            status = run_command(
                command, self._folder, self._variables, output, self._deadline, is_cancelled=self._is_cancelled
            )
        except BuildStopped as error:
            raise BuildRefused(str(error), _shorten(output.finish())) from error
        lines = output.finish()
        if status and any("(os error 28)" in line for line in lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return status, lines


def _find_uv() -> str:
    """The `uv` that was installed together with this package."""
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
        name: value for name, value in environ.items() if not name.startswith(_OURS) and name not in _NOT_THE_OPERATORS
    }
    return variables | {"GIT_TERMINAL_PROMPT": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def _read_version(environment: str) -> str:
    with open(os.path.join(environment, "pyvenv.cfg"), encoding="utf-8") as file:
        for line in file:
            name, _, value = line.partition("=")
            if name.strip() in ("version_info", "version"):
                return value.strip()[:100]
    return ""


def _find_reason(lines: list[str]) -> str:
    """What uv says, in one sentence: the error and the innermost cause."""
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    causes = [line.strip().removeprefix("cause: ") for line in lines if line.startswith("  cause: ")]
    if not errors:
        return "uv has failed without saying why"
    return ": ".join([errors[-1], *causes[-1:]])[:1_000]


def _shorten(lines: list[str]) -> list[str]:
    """The part of the output that is worth keeping: from the error on, without the middle of what is long."""
    start = next((number for number, line in enumerate(lines) if line.startswith("error: ")), 0)
    log = lines[start:] if len(lines) > LOG_LINES else lines
    if len(log) <= LOG_LINES:
        return log
    last = LOG_LINES - _FIRST_LOG_LINES - 1
    dropped = len(log) - _FIRST_LOG_LINES - last
    return [*log[:_FIRST_LOG_LINES], f"… {dropped:,} lines left out …", *log[-last:]]


def _protect(environment: str) -> None:
    """Remove the write bits of files, which other environments share; Python may add its bytecode to the folders."""
    for directory, _, names in os.walk(environment):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode & 0o555 | 0o444)
