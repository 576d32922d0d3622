"""Plugvisor with light plugins."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from benchmarks.supervised import COMMAND, Supervised, get_startsecs, name_plugins
from tests.conftest import ADMIN_CODE, Plugvisor, make_plugvisor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Ours(Supervised):
    """`plugvisor up` with light plugins."""

    def __init__(self, plugvisor: Plugvisor, names: Sequence[str]) -> None:
        assert plugvisor.process is not None
        super().__init__(plugvisor.process, plugvisor.run_dir / "supervisor.sock", names)
        self.port = plugvisor.port
        self.supervisor_url = f"unix://{plugvisor.run_dir}/supervisor.sock"
        self._plugins_dir = plugvisor.plugins_dir

    @property
    def service_pid(self) -> int:
        """The service's process id."""
        return self.read_pid("plugvisor")

    def change_program(self, name: str, stopwaitsecs: int) -> None:
        """Change a plugin's manifest so that its program is another."""
        _write_plugin(self._plugins_dir, name, stopwaitsecs)


@contextlib.contextmanager
def run_ours(count: int) -> Iterator[Ours]:
    """Plugvisor with so many running plugins; afterwards nothing of it is left."""
    names = name_plugins(count)
    with make_plugvisor() as plugvisor:
        for name in names:
            _write_plugin(plugvisor.plugins_dir, name)
        try:
            plugvisor.up()
            ours = Ours(plugvisor, names)
            ours.wait_until_running()
            yield ours
        finally:
            if plugvisor.process is not None:
                Ours(plugvisor, names).end()


def authorize() -> dict[str, str]:
    """The header that lets a request change things."""
    return {"Authorization": f"Bearer {ADMIN_CODE}"}


def _write_plugin(plugins_dir: Path, name: str, stopwaitsecs: int = 10) -> None:
    folder = plugins_dir / name
    folder.mkdir(exist_ok=True)
    (folder / "plugin.toml").write_text(
        _MANIFEST.format(
            name=name, command=json.dumps(COMMAND), startsecs=get_startsecs(name), stopwaitsecs=stopwaitsecs
        )
    )


_MANIFEST = """\
[plugin]
id = "{name}"
name = "Plugin {name}"
version = "1.0.0"
description = "A light process that does nothing but obey."
command = {command}
[plugin_runtime.supervisor]
startsecs = {startsecs}
stopwaitsecs = {stopwaitsecs}
"""
