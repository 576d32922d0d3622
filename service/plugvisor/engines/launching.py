"""A plugin's command and environment, whichever engine runs it, and the check of both."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.layout import find_data, find_environment, find_programs, is_version
from plugvisor.models.manifest import ManifestError
from plugvisor.plugins.python_version import find_conflict
from plugvisor.variable_files import find_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plugvisor.models.manifest import Manifest
    from plugvisor.plugins.catalog import Plugin

RUNNER = Path(__file__).parents[1] / "runner" / "__main__.py"

# What a process of this user may expect to find, and nothing of supervisord's own. They are taken
# over when the process starts, so that the launch file does not depend on the process that writes it.
ORDINARY_VARIABLES = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE",
)  # fmt: skip

DATA_VARIABLE = "PLUGVISOR_DATA_DIR"
"""The variable with which an installed plugin finds its data folder."""


def build_argv(manifest: Manifest, folder: Path, runner: tuple[str, ...] | None) -> tuple[str, ...]:
    """The argument vector of a plugin: its `command`, or the runner's command for its `entry`."""
    if manifest.command:
        return manifest.command
    if runner is None:
        programs = find_programs(str(folder))
        return (sys.executable if programs is None else f"{programs}/python", str(RUNNER), manifest.entry)
    return tuple(word.format(entry=manifest.entry, id=manifest.id, dir=folder) for word in runner)


def supply_python(argv: tuple[str, ...], manifest: Manifest, folder: Path) -> tuple[str, ...]:
    """Name Plugvisor's own Python if `python` or `python3` is not found on PATH, as on a fresh Debian."""
    if argv[0] not in ("python", "python3"):
        return argv
    try:
        find_executable(manifest, folder, argv[0])
    except ManifestError:
        return (sys.executable, *argv[1:])
    return argv


def check_executable(manifest: Manifest, folder: Path, name: str) -> None:
    """Raise `ManifestError` if the program that a plugin is launched with is missing, or of another Python."""
    try:
        path = find_executable(manifest, folder, name)
    except ManifestError as error:
        if manifest.command:
            raise
        raise ManifestError(f"its `entry` cannot be run by PLUGVISOR_RUNNER: {error.problem}") from error
    programs = find_programs(str(folder))
    if conflict := find_conflict(manifest, path if programs is None else f"{programs}/python"):
        raise ManifestError(conflict)


def find_missing_commands(plugin: Plugin) -> list[str]:
    """A sentence for each command of a check that cannot be executed now; a plugin may make it when it runs."""
    if plugin.manifest is None or plugin.directory is None:
        return []
    sentences = []
    for name, check in plugin.manifest.checks.items():
        if check.exec:
            try:
                find_executable(plugin.manifest, plugin.directory, check.exec[0], f"`exec` of check {name!r}")
            except ManifestError as error:
                sentences.append(error.problem)
    return sentences


def find_variable_files(manifest: Manifest, folder: Path) -> dict[str, str]:
    """The absolute paths of the files that variables are read from, by the variables' names."""
    return {name: os.path.join(folder, path) for name, path in manifest.environment_files.items()}


def find_missing_files(plugin: Plugin) -> list[str]:
    """A sentence for each file of a variable that is not there now; it is read at each start."""
    if plugin.manifest is None or plugin.directory is None:
        return []
    files = find_variable_files(plugin.manifest, plugin.directory)
    problems = [(path, find_problem(name, path)) for name, path in files.items()]
    return [f"{problem} ({path!r})" for path, problem in problems if problem is not None]


def find_executable(manifest: Manifest, folder: Path, name: str, key: str = "`command`") -> str:
    """Look a program up as exec will, so that a missing one is an error before anything is stopped or started.

    The error does not repeat the name: of the string `API_KEY=secret python main.py` it is the first word.

    Returns:
        its path.

    Raises:
        ManifestError
    """
    if "/" in name:
        path = folder / name
        if not os.path.exists(path):  # Path.exists raises for a name that is too long
            raise ManifestError(f"the program that {key} names does not exist")
        if shutil.which(path) is None:
            raise ManifestError(f"the program that {key} names is no executable file; try chmod +x")
        return str(path)
    search_path = manifest.environment.get("PATH", os.environ.get("PATH", os.defpath))
    # relative entries, the empty one too, are relative to the plugin's folder
    paths: Iterator[str] = (os.path.join(folder, entry, name) for entry in search_path.split(os.pathsep))
    if (programs := find_programs(str(folder))) is not None:
        paths = itertools.chain([os.path.join(programs, name)], paths)
    if (found := next(filter(shutil.which, paths), None)) is None:
        raise ManifestError(f"the program that {key} names is not found on PATH; install it, or write its whole path")
    return found


def make_environment(manifest: Manifest, folder: Path) -> dict[str, str]:
    """A plugin's own variables, without the inherited ones and those that name its user."""
    environment = dict(manifest.environment)
    if is_version(str(folder)):
        environment[DATA_VARIABLE] = find_data(str(folder))
    if find_programs(str(folder)) is not None:
        environment["VIRTUAL_ENV"] = find_environment(str(folder))
    return environment
