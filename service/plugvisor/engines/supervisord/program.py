"""`Manifest` -> a supervisord program: the text of its section and of its launch script (pure, but for look-ups).

No string of a manifest reaches the section, where `;`, `#`, `%` and line breaks mean something: it
holds checked numbers, enumerations and paths of our own choosing. The plugin's own strings stand in
the launch script, in single quotes, where a POSIX shell takes every byte as it is
(https://pubs.opengroup.org/onlinepubs/9699919799/utilities/V3_chap02.html#tag_18_02_02).
"""

from __future__ import annotations

import configparser
import logging
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.options import ServerOptions, UnhosedConfigParser

from plugvisor.engines.supervisord.extension.process_tag import render_mark
from plugvisor.plugins.manifest import Manifest, ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugvisor.settings import Settings

logger = logging.getLogger(__name__)

RUNNER = Path(__file__).parents[2] / "runner" / "__main__.py"

# What a process of this user may expect to find, and nothing of supervisord's own. They are taken
# over when the process starts, so that the script is the same whoever generates it.
ORDINARY_VARIABLES = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE",
)  # fmt: skip

LOG_FILE_BYTES = 10 * 1024 * 1024
LOG_FILE_BACKUPS = 3


@dataclass(frozen=True)
class Program:
    """The two files that make a plugin a supervisord program."""

    id: str
    section: str
    launch_script: bytes


def conf_path(run_dir: Path, plugin_id: str) -> Path:
    """The file that holds the program's section; `supervisord.conf` includes all of this folder."""
    return run_dir / "conf.d" / f"{plugin_id}.conf"


def launch_path(run_dir: Path, plugin_id: str) -> Path:
    """The launch script, which the program's command names."""
    return run_dir / "launch" / f"{plugin_id}.sh"


def render_program(manifest: Manifest, folder: Path, settings: Settings) -> Program:
    """Make the program of a plugin and have supervisord's own parser accept it.

    Raises:
        ManifestError: the command is nowhere to be found, or what came out is not what was meant.
    """
    argv = build_argv(manifest, folder, settings.runner)
    try:
        find_executable(manifest, folder, argv[0])
    except ManifestError as error:
        if manifest.command:
            raise
        raise ManifestError(f"its `entry` cannot be run by PLUGVISOR_RUNNER: {error.problem}") from error
    section = render_section(manifest, settings)
    check_section(section, manifest, settings)
    environment = {**describe_account(settings), **manifest.environment}
    mark = render_mark(settings.run_dir, manifest.id)
    return Program(manifest.id, section, render_launch_script(folder, argv, environment, mark))


def describe_account(settings: Settings) -> dict[str, str]:
    """The variables that tell a process who it is, where it is somebody else than supervisord."""
    if settings.users is None:
        return {}
    user = settings.users.plugins
    return {"HOME": user.home, "USER": user.name, "LOGNAME": user.name}


def build_argv(manifest: Manifest, folder: Path, runner: tuple[str, ...] | None) -> tuple[str, ...]:
    """The argument vector of a plugin: its `command`, or the runner's command for its `entry`."""
    if manifest.command:
        return manifest.command
    if runner is None:
        return (sys.executable, str(RUNNER), manifest.entry)
    return tuple(word.format(entry=manifest.entry, id=manifest.id, dir=folder) for word in runner)


def find_executable(manifest: Manifest, folder: Path, name: str) -> None:
    """Look `name` up as `env` will, so that a missing program is told before anything is stopped or started."""
    if "/" in name:
        path = folder / name
        if not os.path.exists(path):  # Path.exists raises for a name that is too long
            raise ManifestError(f"the command {name!r} does not exist")
        if shutil.which(path) is None:
            raise ManifestError(f"the command {name!r} is no executable file; try chmod +x")
        return
    search_path = manifest.environment.get("PATH", os.environ.get("PATH", os.defpath))
    # relative entries, the empty one too, are relative to the plugin's folder
    if not any(shutil.which(folder / entry / name) for entry in search_path.split(os.pathsep)):
        raise ManifestError(f"the command {name!r} is not found on PATH; install it, or write its whole path")


def render_section(manifest: Manifest, settings: Settings) -> str:
    """The text of `<run_dir>/conf.d/<id>.conf`."""
    options = manifest.supervisor
    values: dict[str, object] = {
        "command": f"/bin/sh {launch_path(settings.run_dir, manifest.id)}",
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
        "stdout_logfile": settings.log_dir / f"{manifest.id}.log",
        "stdout_logfile_maxbytes": LOG_FILE_BYTES,
        "stdout_logfile_backups": LOG_FILE_BACKUPS,
    }
    if settings.users is not None:
        values["user"] = settings.users.plugins.uid
    if settings.log_to_stdout:
        values["stdout_events_enabled"] = "true"
    lines = [f"{option}={value}" for option, value in values.items()]
    return "\n".join(["; generated from the plugin's manifest; edit that", f"[program:{manifest.id}]", *lines, ""])


def check_section(section: str, manifest: Manifest, settings: Settings) -> None:
    """Parse a section as supervisord does at its start, when a file that it rejects would keep everything down.

    Raises:
        ManifestError: supervisord refuses it, or reads something else out of it than what was meant.
    """
    parser = UnhosedConfigParser()
    options = ServerOptions()
    options.here = str(settings.run_dir)
    try:
        parser.read_string(section)
        groups = options.process_groups_from_parser(parser)
    except (ValueError, configparser.Error) as error:
        # its words name files of this machine, which are for the operator alone
        logger.error("supervisord's parser refuses the program of %r: %s", manifest.id, error)
        raise ManifestError("supervisord refuses its program; the log says why") from error
    command = f"/bin/sh {launch_path(settings.run_dir, manifest.id)}"
    programs = [(group.name, process.name, process.command) for group in groups for process in group.process_configs]
    if parser.sections() != [f"program:{manifest.id}"] or programs != [(manifest.id, manifest.id, command)]:
        raise ManifestError("supervisord reads its program in another way than it was meant")


def render_launch_script(folder: Path, argv: tuple[str, ...], environment: Mapping[str, str], mark: bytes) -> bytes:
    """The text of `<run_dir>/launch/<id>.sh`: three lines that an operator can read and run.

    Args:
        mark: as `plugvisor.engines.supervisord.extension.process_tag.render_mark` makes it.
    """
    inherited = [b'${%s+"%s=$%s"}' % ((name.encode(),) * 3) for name in ORDINARY_VARIABLES if name not in environment]
    own = [_quote(f"{name}={value}".encode()) for name, value in environment.items()]
    # Last, so that the manifest cannot override it. `$$`, this shell's process id, stays the program's.
    own.append(_quote(mark) + b'"$$"')
    program = [_quote(word.encode("utf-8", "surrogateescape")) for word in argv]
    if "=" in argv[0]:
        # `env` would take it for one more variable. `nice` does not, and hands the environment on as
        # it is, where a shell would add PWD and drop names that are no identifiers.
        program = [b"/usr/bin/nice -n 0 --", *program]
    return b"\n".join(
        [
            b"#!/bin/sh",
            b"cd -- %s || exit 127" % _quote(os.fsencode(folder)),
            b" ".join([b"exec /usr/bin/env -i --", *inherited, *own, *program]),
            b"",
        ]
    )


def read_launch_folder(launch_script: bytes) -> Path:
    """The plugin's folder out of its launch script: what is published tells where it came from."""
    lexer = shlex.shlex(launch_script.decode("utf-8", "surrogateescape"), posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words = iter(lexer)
    _cd, _dashes, folder = next(words), next(words), next(words)
    return Path(os.fsdecode(folder.encode("utf-8", "surrogateescape")))


def _quote(value: bytes) -> bytes:
    return b"'" + value.replace(b"'", b"'\\''") + b"'"
