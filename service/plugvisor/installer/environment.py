"""The environment of a version: a virtual environment in its folder, made by `uv` from what the version requires.

`requirements.txt` is used, or else the dependencies in `pyproject.toml`. The package itself is not installed.
"""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from typing import TYPE_CHECKING, NamedTuple

from plugvisor.installer.build_cache import make_cache, remove_left_overs
from plugvisor.installer.uv import TEMPORARY, BuildRefused, Uv
from plugvisor.layout import find_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REQUIREMENTS = "requirements.txt"
PROJECT = "pyproject.toml"
LARGEST_PROJECT_BYTES = 1024 * 1024

_CLAUSE = r"\s*(?:[<>=!~]=|[<>])\s*\d[0-9A-Za-z.*+]*\s*"
_SPECIFIER = re.compile(f"{_CLAUSE}(?:,{_CLAUSE})*")


class Built(NamedTuple):
    """The environment that was made."""

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
        make_cache(cache)
        uv = Uv(folder, cache, seconds, say, is_cancelled)
        uv.make_environment(environment, python)
        version = _read_version(environment)
        say(f"Python {version}")
        uv.install(environment, source)
        uv.replace_damaged(environment, source)
        shutil.rmtree(os.path.join(environment, TEMPORARY), ignore_errors=True)
        _protect(environment)
    except BaseException:
        shutil.rmtree(environment, ignore_errors=True)
        raise
    finally:
        remove_left_overs(cache)
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


def _read_version(environment: str) -> str:
    with open(os.path.join(environment, "pyvenv.cfg"), encoding="utf-8") as file:
        for line in file:
            name, _, value = line.partition("=")
            if name.strip() in ("version_info", "version"):
                return value.strip()[:100]
    return ""


def _protect(environment: str) -> None:
    """Remove the write bits of files, which other environments share; Python may add its bytecode to the folders."""
    for directory, _, names in os.walk(environment):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode & 0o555 | 0o444)
