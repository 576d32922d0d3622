"""A manifest as a supervisord program: the texts of its two files.

`conf.d/<id>.conf` is its section, `launch/<id>.sh` its launch file (`processes/launch_file.py`). No string of a
manifest stands in the section, in which `;`, `#`, `%` and line breaks have a meaning: it holds checked numbers,
enumerations and paths of our own choosing.
"""

from __future__ import annotations

import configparser
import functools
import logging
import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from supervisor.options import ServerOptions, UnhosedConfigParser

from plugvisor.engines.supervisord.extension.generated import GENERATED, is_foreign
from plugvisor.engines.supervisord.extension.processes.launch_file import Launch
from plugvisor.layout import awaits_environment, find_data, find_environment, find_programs, is_version
from plugvisor.models.manifest import Manifest, ManifestError
from plugvisor.plugins.python_version import find_conflict

if TYPE_CHECKING:
    from plugvisor.plugins.catalog import Plugin
    from plugvisor.settings import Settings

logger = logging.getLogger(__name__)

RUNNER = Path(__file__).parents[2] / "runner" / "__main__.py"

# What a process of this user may expect to find, and nothing of supervisord's own. They are taken
# over when the process starts, so that the launch file does not depend on the process that writes it.
ORDINARY_VARIABLES = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE",
)  # fmt: skip

DATA_VARIABLE = "PLUGVISOR_DATA_DIR"
"""The variable with which an installed plugin finds its data folder."""

LOG_FILE_BYTES = 10 * 1024 * 1024
LOG_FILE_BACKUPS = 3
_LONGEST_ID = "x" * 64


@dataclass(frozen=True)
class Program:
    """The texts of a program's files."""

    id: str
    section: str
    launch: bytes


def conf_path(run_dir: Path, plugin_id: str) -> Path:
    """The file that holds the program's section; `supervisord.conf` includes all of this folder."""
    return run_dir / "conf.d" / f"{plugin_id}.conf"


def launch_path(run_dir: Path, plugin_id: str) -> Path:
    """The launch file, which the program's command names and the extension reads at each start."""
    return run_dir / "launch" / f"{plugin_id}.sh"


def find_foreign(run_dir: Path, plugin_id: str) -> Path | None:
    """The file in the place of one of a program's files that Plugvisor has not written; None if there is none.

    A launch file that belongs to a section of ours is ours, even if it is damaged.
    """
    section, launch = conf_path(run_dir, plugin_id), launch_path(run_dir, plugin_id)
    if is_foreign(str(section)):
        return section
    return launch if not os.path.lexists(section) and is_foreign(str(launch)) else None


def render_program(manifest: Manifest, folder: Path, settings: Settings) -> Program:
    """Make the program of a plugin, which works in a folder.

    While the environment of a version has yet to be made, a program is not missed.

    Raises:
        ManifestError: the command is not found or another Python is needed, a file of somebody else's is in the place
            of the program's, or supervisord's parser does not accept the section.
    """
    if (foreign := find_foreign(settings.run_dir, manifest.id)) is not None:
        raise ManifestError(
            f"the file {foreign.parent.name}/{foreign.name} in the run folder was not written by Plugvisor; "
            "move it elsewhere, or choose another id"
        )
    argv = build_argv(manifest, folder, settings.runner)
    if not awaits_environment(str(folder)):
        _check_executable(manifest, folder, argv[0])
    # supervisord makes a log folder that is gone again, but its parser rejects one
    checked = settings if os.path.isdir(settings.log_dir) else replace(settings, log_dir=Path("/"))
    check_section(render_section(_LONGEST_ID, manifest, checked), settings)
    return Program(
        manifest.id,
        render_section(manifest.id, manifest, settings),
        render_launch(manifest, folder, argv, settings),
    )


def build_argv(manifest: Manifest, folder: Path, runner: tuple[str, ...] | None) -> tuple[str, ...]:
    """The argument vector of a plugin: its `command`, or the runner's command for its `entry`."""
    if manifest.command:
        return manifest.command
    if runner is None:
        programs = find_programs(str(folder))
        return (sys.executable if programs is None else f"{programs}/python", str(RUNNER), manifest.entry)
    return tuple(word.format(entry=manifest.entry, id=manifest.id, dir=folder) for word in runner)


def _check_executable(manifest: Manifest, folder: Path, name: str) -> None:
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
    entries = [os.path.join(folder, entry) for entry in search_path.split(os.pathsep)]
    programs = find_programs(str(folder))
    paths = (os.path.join(entry, name) for entry in ([] if programs is None else [programs]) + entries)
    if (found := next(filter(shutil.which, paths), None)) is None:
        raise ManifestError(f"the program that {key} names is not found on PATH; install it, or write its whole path")
    return found


def render_section(plugin_id: str, manifest: Manifest, settings: Settings) -> str:
    """The text of `<run_dir>/conf.d/<id>.conf`."""
    options = manifest.supervisor
    values: dict[str, object] = {
        "command": f"/bin/sh {launch_path(settings.run_dir, plugin_id)}",
        # a disabled plugin is a program too, so that an operator sees it; it only never starts by itself
        "autostart": str(manifest.enabled and manifest.auto_start).lower(),
        "autorestart": options.autorestart,
        "startsecs": options.startsecs,
        "startretries": options.startretries,
        "exitcodes": ",".join(map(str, options.exitcodes)),
        "stopsignal": options.stopsignal,
        "stopwaitsecs": options.stopwaitsecs,
        # a plugin's children go with it, as systemd's KillMode=control-group has it
        "stopasgroup": "true",
        "killasgroup": "true",
        "priority": options.priority,
        "redirect_stderr": "true",
        "stdout_logfile": settings.log_dir / f"{plugin_id}.log",
        "stdout_logfile_maxbytes": LOG_FILE_BYTES,
        "stdout_logfile_backups": LOG_FILE_BACKUPS,
    }
    if settings.users is not None:
        values["user"] = settings.users.plugins.uid
    if settings.log_to_stdout:
        values["stdout_events_enabled"] = "true"
    lines = [f"{option}={value}" for option, value in values.items()]
    return "\n".join([GENERATED, f"[program:{plugin_id}]", *lines, ""])


@functools.lru_cache(maxsize=1024)
def check_section(section: str, settings: Settings) -> None:
    """Parse a section as supervisord does at its start, when a file that it rejects would keep everything down.

    Most plugins have the same options, so that few texts are ever parsed.

    Raises:
        ManifestError: supervisord rejects it, or reads something else out of it than was meant.
    """
    parser = UnhosedConfigParser()
    options = ServerOptions()
    options.here = str(settings.run_dir)
    try:
        parser.read_string(section)
        groups = options.process_groups_from_parser(parser)
    except (ValueError, configparser.Error) as error:
        # its words name files of this machine, which are for the operator alone
        logger.error("supervisord's parser rejects a program: %s", error)
        raise ManifestError("supervisord rejects its program; the log says why") from error
    command = f"/bin/sh {launch_path(settings.run_dir, _LONGEST_ID)}"
    programs = [(group.name, process.name, process.command) for group in groups for process in group.process_configs]
    if parser.sections() != [f"program:{_LONGEST_ID}"] or programs != [(_LONGEST_ID, _LONGEST_ID, command)]:
        raise ManifestError("supervisord reads its program in another way than it was meant")


def render_launch(manifest: Manifest, folder: Path, argv: tuple[str, ...], settings: Settings) -> bytes:
    """The text of `<run_dir>/launch/<id>.sh`."""
    programs = find_programs(str(folder))
    environment = {**_describe_account(settings), **manifest.environment}
    if is_version(str(folder)):
        environment[DATA_VARIABLE] = find_data(str(folder))
    if programs is not None:
        environment["VIRTUAL_ENV"] = find_environment(str(folder))
    launch = Launch(
        str(folder),
        list(argv),
        environment,
        list(ORDINARY_VARIABLES),
        restart=msgspec.to_builtins(manifest.restart),
        limits=msgspec.to_builtins(manifest.limits),
        checks={name: list(check.exec) for name, check in manifest.checks.items() if check.exec},
        depends_on=sorted(manifest.depends_on),
        checks_digest=manifest.checks_digest,
        critical=manifest.critical,
        path_first=programs or "",
    )
    return launch.render(sys.executable)


def _describe_account(settings: Settings) -> dict[str, str]:
    """The variables that name a process's user, if that is not supervisord's own."""
    if settings.users is None:
        return {}
    user = settings.users.plugins
    return {"HOME": user.home, "USER": user.name, "LOGNAME": user.name}
