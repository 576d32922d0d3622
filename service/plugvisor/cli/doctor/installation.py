"""Checks of Python and of the packages that Plugvisor is made of."""

from __future__ import annotations

import errno
import importlib
import importlib.metadata
import importlib.util
import platform
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from plugvisor import VERSION
from plugvisor.cli.doctor.finding import Finding, ok, problem, warning
from plugvisor.engines.supervisord.extension import SUPERVISOR_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plugvisor.settings import Settings

_OLDEST_PYTHON = (3, 11)
_SECONDS = 20.0
_REINSTALL = f"install it again: {sys.executable} -m pip install plugvisor=={VERSION}, or scripts/run in a checkout"


def check_python(_environ: Mapping[str, str]) -> Iterator[Finding]:
    """The interpreter that runs Plugvisor."""
    version = platform.python_version()
    if sys.version_info < _OLDEST_PYTHON:
        yield problem(f"Python {version} is too old", "install Python 3.11 or newer, and Plugvisor in it")
    else:
        yield ok(f"Plugvisor {VERSION}, Python {version} at {sys.executable}")


def check_packages(_environ: Mapping[str, str]) -> Iterator[Finding]:
    """The packages that Plugvisor needs are installed, in versions that it works with."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - it may be what is missing

    try:
        lines = importlib.metadata.requires("plugvisor") or []
    except importlib.metadata.PackageNotFoundError:
        yield warning("Plugvisor is imported from a folder without being installed", _REINSTALL)
        return
    wrong = []
    for requirement in map(Requirement, lines):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} is {version}, not {requirement.specifier}")
    if wrong:
        yield problem("; ".join(wrong), _REINSTALL)
    else:
        yield ok("every package that Plugvisor needs is installed")


def check_supervisor(settings: Settings) -> Iterator[Finding]:
    """The supervisor that is imported is the version that the extension was tested with."""
    if settings.engine != "supervisord":
        return
    spec = importlib.util.find_spec("supervisor.options")
    where = spec.origin if spec else None
    found = importlib.import_module("supervisor.options").VERSION

    if found != SUPERVISOR_VERSION:
        yield problem(
            f"supervisor {found} is imported from {where!r}, and Plugvisor needs {SUPERVISOR_VERSION}",
            f"remove that one from PYTHONPATH, or: {sys.executable} -m pip install supervisor=={SUPERVISOR_VERSION}",
        )
    else:
        yield ok(f"supervisor {found}")


def check_uv(_environ: Mapping[str, str]) -> Iterator[Finding]:
    """The tool that makes the environments of installed plugins can be run."""
    from plugvisor.installer.uv import BuildRefused, find_uv  # noqa: PLC0415 - only for this

    has_venv = all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))
    spare = "" if has_venv else "; Python's own venv is incomplete too (Debian: apt install python3-venv)"
    advice = f"{sys.executable} -m pip install uv; until then no plugin with requirements can be installed{spare}"
    try:
        program = find_uv()
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except BuildRefused:
        yield problem("uv is not installed beside Plugvisor", advice)
        return
    except (OSError, subprocess.TimeoutExpired) as error:
        if getattr(error, "errno", None) in (errno.EAGAIN, errno.ENOMEM):
            advice = "this user has no processes or memory left; see the check `limits`"
        yield problem(f"uv cannot be run: {getattr(error, 'strerror', 'it does not answer')}", advice)
        return
    if done.returncode != 0 or not done.stdout.startswith("uv "):
        yield problem(f"uv does not work: {program} --version ends with {done.returncode}", advice)
    else:
        yield ok(" ".join(done.stdout.split()[:2]))


def check_path(environ: Mapping[str, str]) -> Iterator[Finding]:
    """The programs that plugins are run by are found."""
    path = environ.get("PATH", "")
    if not shutil.which("sh", path=path):
        yield problem("there is no `sh` on PATH", "set PATH to one that has /bin and /usr/bin")
        return
    missing = [name for name in ("python", "python3") if not shutil.which(name, path=path)]
    if missing:
        yield warning(
            f"there is no `{'` and no `'.join(missing)}` on PATH, by which plugins may be run",
            "activate the environment of Plugvisor (. .venv/bin/activate), or add a folder with it to PATH",
        )
    else:
        yield ok(f"plugins' `python` is {shutil.which('python', path=path)}")
