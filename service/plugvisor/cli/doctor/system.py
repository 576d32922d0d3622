"""Checks of the operating system: /proc, the clock, the locale."""

from __future__ import annotations

import locale
import os
import sqlite3
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.cli.doctor.finding import Finding, ok, problem, warning
from plugvisor.cli.doctor.mounts import find_mount
from plugvisor.errors import ConfigurationError
from plugvisor.settings import Settings
from plugvisor.store.folder import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FUTURE_SECONDS = 60.0


def check_proc(_environ: Mapping[str, str]) -> Iterator[Finding]:
    """Processes can be seen."""
    if sys.platform != "linux":
        return
    if not os.path.exists("/proc/self/stat"):
        yield problem(
            "/proc is not mounted: what plugins use, and what they leave, is not found, and no limit is watched",
            "mount -t proc proc /proc",
        )
        return
    mount = find_mount("/proc")
    hidden = [option for option in (mount.options if mount else ()) if option.startswith("hidepid=")]
    if os.geteuid() != 0 and hidden and hidden[0] not in ("hidepid=0", "hidepid=off"):
        yield warning(
            f"/proc is mounted with {hidden[0]}: processes of other users are not seen, such as one that uses the port",
            "mount -o remount,hidepid=0 /proc, or add this user to the group of its option gid=",
        )
    else:
        yield ok("processes can be seen in /proc")


def check_clock(environ: Mapping[str, str]) -> Iterator[Finding]:
    """The clock is not behind what was written already: times in the future mean that it was set back."""
    now = time.time()
    for what, moment in _list_moments(environ):
        if moment - now > _FUTURE_SECONDS:
            yield warning(
                f"the clock is wrong: {what} {_word_seconds(moment - now)} in the future",
                "set the clock (timedatectl set-ntp true); the journal and uptimes are wrong until then",
            )
            return
    yield ok(time.strftime("%Y-%m-%d %H:%M:%S %z"))


def _list_moments(environ: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """Earlier times of this clock: when the program was installed, and when Plugvisor has last written a file."""
    paths = [Path(__file__)]
    with suppress(ConfigurationError):
        settings = Settings.from_env(environ)
        database = settings.state_dir / FILE_NAME
        paths += [database, Path(f"{database}-wal"), settings.run_dir / "supervisord.pid"]
        with suppress(OSError, sqlite3.Error):
            yield "the last entry of the journal is", _read_last_entry(database)
    for path in paths:
        with suppress(OSError):
            yield f"{str(path)!r} was written", path.stat().st_mtime


def _read_last_entry(database: Path) -> float:
    """When the journal was last added to, by the clock of then; raises `sqlite3.Error`.

    The file is read as one that nobody changes: else SQLite would make files beside it. What is not in it yet is not
    needed.
    """
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        [moment] = connection.execute(
            "SELECT max(until) FROM (SELECT until FROM journal ORDER BY sequence DESC LIMIT 1000)"
        ).fetchone()
    return float(moment or 0)


def _word_seconds(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def check_locale(environ: Mapping[str, str]) -> Iterator[Finding]:
    """The locale is one that this machine has, and its text is UTF-8."""
    # each of them: where one is wrong, Python sets LC_CTYPE for itself, and other programs take the wrong one
    names = {name: environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)}
    before = locale.setlocale(locale.LC_CTYPE)
    encodings = {}
    try:
        for variable, name in names.items():
            try:
                locale.setlocale(locale.LC_CTYPE, name)
                encodings[variable] = locale.nl_langinfo(locale.CODESET)
            except locale.Error:
                advice = f"set {variable} to one that `locale -a` lists, such as C.UTF-8"
                yield warning(f"this machine has no locale {name!r}, which {variable} names", advice)
                return
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    variable = next(iter(names), "")
    if (
        variable and encodings[variable].upper() != "UTF-8" and names[variable] not in ("C", "POSIX")
    ):  # else it is UTF-8
        advice = f"set {variable} to one with UTF-8, such as C.UTF-8"
        yield warning(f"the locale {names[variable]!r} has the encoding {encodings[variable]}", advice)
    else:
        yield ok(names.get(variable, "none is set"))
