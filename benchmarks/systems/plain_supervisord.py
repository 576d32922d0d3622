"""A supervisord without Plugvisor, as one would set it up by hand for the same processes."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.engines.supervisord.boot import count_descriptors

from benchmarks.systems.supervisord import COMMAND, Supervisord, get_startsecs, name_plugins

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class PlainSupervisord(Supervisord):
    """supervisord with nothing but its own configuration."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self._root = root
        configuration = root / "supervisord.conf"
        configuration.write_text(_CONFIGURATION.format(root=root, minfds=count_descriptors(len(names))))
        (root / "conf.d").mkdir()
        for name in names:
            self.change_program(name)
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", configuration],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        super().__init__(process, root / "supervisor.sock", names)

    def change_program(self, name: str, stopwaitsecs: int = 10) -> None:
        """Write a program's section."""
        section = _PROGRAM.format(
            root=self._root,
            name=name,
            command=" ".join(COMMAND),
            startsecs=get_startsecs(name),
            stopwaitsecs=stopwaitsecs,
        )
        (self._root / "conf.d" / f"{name}.conf").write_text(section)


@contextlib.contextmanager
def run_plain_supervisord(count: int) -> Iterator[PlainSupervisord]:
    """A supervisord with that many running programs; all of it is ended afterwards."""
    root = Path(tempfile.mkdtemp(prefix="plain-"))
    try:
        supervisord = PlainSupervisord(root, name_plugins(count))
        try:
            supervisord.wait_until_running()
            yield supervisord
        finally:
            supervisord.end()
    finally:
        shutil.rmtree(root, ignore_errors=True)


_CONFIGURATION = """\
[supervisord]
nodaemon=true
pidfile={root}/supervisord.pid
logfile={root}/supervisord.log
minfds={minfds}
minprocs=1
[unix_http_server]
file={root}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[include]
files={root}/conf.d/*.conf
"""

_PROGRAM = """\
[program:{name}]
command={command}
startsecs={startsecs}
stopwaitsecs={stopwaitsecs}
redirect_stderr=true
stdout_logfile={root}/{name}.log
"""
