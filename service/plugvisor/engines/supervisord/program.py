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
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from supervisor.options import ServerOptions, UnhosedConfigParser

from plugvisor.engines.launching import (
    ORDINARY_VARIABLES,
    build_argv,
    check_executable,
    find_variable_files,
    make_environment,
    supply_python,
)
from plugvisor.engines.supervisord.extension.generated import GENERATED, is_foreign
from plugvisor.engines.supervisord.extension.processes.launch_file import Launch
from plugvisor.layout import awaits_environment, find_programs
from plugvisor.models.manifest import ManifestError

if TYPE_CHECKING:
    from plugvisor.models.manifest import Manifest
    from plugvisor.settings import Settings

logger = logging.getLogger(__name__)

_LONGEST_ID = "x" * 64


@dataclass(frozen=True)
class Program:
    """The texts of a program's files."""

    id: str
    section: str
    launch: bytes


def conf_path(run_dir: Path, plugin_id: str) -> Path:
    """The file that holds the program's section; `supervisord.conf` includes all of this folder."""
    return Path(_name_files(run_dir, plugin_id)[0])


def launch_path(run_dir: Path, plugin_id: str) -> Path:
    """The launch file, which the program's command names and the extension reads at each start."""
    return Path(_name_files(run_dir, plugin_id)[1])


def find_foreign(run_dir: Path, plugin_id: str) -> Path | None:
    """The file in the place of one of a program's files that Plugvisor has not written; None if there is none.

    A launch file that belongs to a section of ours is ours, even if it is damaged.
    """
    section, launch = _name_files(run_dir, plugin_id)
    if is_foreign(section):
        return Path(section)
    return Path(launch) if not os.path.lexists(section) and is_foreign(launch) else None


def _name_files(run_dir: Path, plugin_id: str) -> tuple[str, str]:
    """The paths of the section and of the launch file; as strings, for with 1,000 plugins `Path` is what one sees."""
    return os.path.join(run_dir, "conf.d", f"{plugin_id}.conf"), os.path.join(run_dir, "launch", f"{plugin_id}.sh")


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
        argv = supply_python(argv, manifest, folder)
        check_executable(manifest, folder, argv[0])
    # supervisord makes a log folder that is gone again, but its parser rejects one
    checked = settings if os.path.isdir(settings.log_dir) else replace(settings, log_dir=Path("/"))
    check_section(render_section(_LONGEST_ID, manifest, checked), settings)
    return Program(
        manifest.id,
        render_section(manifest.id, manifest, settings),
        render_launch(manifest, folder, argv, settings),
    )


def render_section(plugin_id: str, manifest: Manifest, settings: Settings) -> str:
    """The text of `<run_dir>/conf.d/<id>.conf`."""
    options = manifest.supervisor
    values: dict[str, object] = {
        "command": f"/bin/sh {_name_files(settings.run_dir, plugin_id)[1]}",
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
        "stdout_logfile": os.path.join(settings.log_dir, f"{plugin_id}.log"),
        "stdout_logfile_maxbytes": manifest.logs.max_size,
        "stdout_logfile_backups": manifest.logs.backups,
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
    environment = {**_describe_account(settings), **make_environment(manifest, folder)}
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
        environment_files=find_variable_files(manifest, folder),
        path_first=programs or "",
    )
    return launch.render(sys.executable)


def _describe_account(settings: Settings) -> dict[str, str]:
    """The variables that name a process's user, if that is not supervisord's own."""
    if settings.users is None:
        return {}
    user = settings.users.plugins
    return {"HOME": user.home, "USER": user.name, "LOGNAME": user.name}
