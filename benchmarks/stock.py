"""A supervisord as one would set it up by hand."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.engines.supervisord.boot import count_descriptors

from benchmarks.supervised import COMMAND, START_SECONDS, Supervised, get_startsecs, name_plugins

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Stock(Supervised):
    """supervisord as one would set it up by hand for the same processes."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self._root = root
        self._conf = root / "supervisord.conf"
        self._conf.write_text(_CONF.format(root=root, minfds=count_descriptors(len(names))))
        (root / "conf.d").mkdir()
        for name in names:
            self.change_program(name)
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", self._conf],
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

    def ctl(self, *arguments: str) -> None:
        """Run supervisorctl to its end; it must succeed."""
        command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self._conf), *arguments]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=START_SECONDS)


@contextlib.contextmanager
def run_stock(count: int) -> Iterator[Stock]:
    """A stock supervisord with so many running programs; afterwards nothing of it is left."""
    root = Path(tempfile.mkdtemp(prefix="stock-"))
    stock = Stock(root, name_plugins(count))
    try:
        stock.wait_until_running()
        yield stock
    finally:
        try:
            stock.end()
        finally:
            shutil.rmtree(root, ignore_errors=True)


_CONF = """\
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
[supervisorctl]
serverurl=unix://{root}/supervisor.sock
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
