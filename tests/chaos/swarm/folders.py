"""The folders of the plugins, which somebody edits, breaks, removes and adds again."""

from __future__ import annotations

import errno
import itertools
import shutil
import threading
from typing import TYPE_CHECKING

from tests.chaos.swarm.cast import PLUGINS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.swarm.stack import SwarmStack


class Folders:
    """Every method may be called by any thread."""

    def __init__(self, stack: SwarmStack) -> None:
        self._stack = stack
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def write_all(self) -> None:
        """Write every plugin that comes by a folder."""
        for name, behaviour in PLUGINS.items():
            if not behaviour.is_installed:
                self._write(name)

    def change(self, kind: str, name: str) -> None:
        """Do something to a plugin's folder; it takes effect with the next start, or a refresh."""
        folder, away = self._stack.plugins_dir / name, self._stack.root / f"away-{name}"
        with self._lock:
            match kind:
                case _ if PLUGINS[name].is_installed:
                    pass
                case "remove" if folder.exists():
                    shutil.rmtree(away, ignore_errors=True)
                    folder.rename(away)
                case "add" if away.exists():
                    _put_back(away, folder)
                case "break" if folder.exists():
                    (folder / "plugin.toml").write_text("[plugin\n")
                case "edit" | "repair" if folder.exists():
                    self._write(name)

    def restore(self) -> None:
        """Put back what was removed, and repair what was broken."""
        for name in PLUGINS:
            self.change("add", name)
            self.change("repair", name)

    def _write(self, name: str) -> None:
        behaviour = PLUGINS[name]
        tables = "".join(f"[plugin_runtime.depends_on.{one}]\n" for one in behaviour.requires)
        folder = self._stack.plugins_dir / name
        folder.mkdir(exist_ok=True)
        (folder / "main.py").write_text(behaviour.code)
        (folder / "plugin.toml").write_text(
            f"""[plugin]
id = "{name}"
command = ["python3", "main.py"]
[plugin_runtime]
auto_start = false
restart.delay = 0.2
{behaviour.runtime}
[plugin_runtime.environment]
EDIT = "{next(self._numbers)}"
[plugin_runtime.supervisor]
{behaviour.supervisor}
{tables}"""
        )


def _put_back(away: Path, folder: Path) -> None:
    """Undo a removal, unless a service that was killed before it knew of it has brought the folder back itself."""
    try:
        away.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        shutil.rmtree(away)
