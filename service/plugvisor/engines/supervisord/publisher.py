"""The generated files: `<run_dir>/conf.d/<id>.conf` and `<run_dir>/launch/<id>.sh`, one pair a plugin."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from typing import TYPE_CHECKING

from plugvisor.engines.supervisord.program import Program, conf_path, launch_path, read_launch_folder

if TYPE_CHECKING:
    from pathlib import Path


Stamp = tuple[int, int]
"""Of a file: when it was written, and its inode, for every version is a new file."""


class Publisher:
    """Writes and reads what supervisord is to run. Every method may raise `OSError`; none leaves half a file."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir

    def prepare(self) -> None:
        """Make the folders for the generated files."""
        for path in (conf_path(self._run_dir, ""), launch_path(self._run_dir, "")):
            path.parent.mkdir(mode=0o700, exist_ok=True)

    def read_folders(self) -> dict[str, Path | None]:
        """The folder that each published plugin came from; None where its launch script is missing or spoilt."""
        folders: dict[str, Path | None] = {}
        for path in sorted(conf_path(self._run_dir, "").parent.glob("*.conf")):
            try:
                folders[path.stem] = read_launch_folder(launch_path(self._run_dir, path.stem).read_bytes())
            except (OSError, ValueError, StopIteration):
                folders[path.stem] = None
        return folders

    def read(self, plugin_id: str) -> Program | None:
        """What is published of a plugin; None where one of the two files is missing or spoilt."""
        section = self._read_section(plugin_id)
        try:
            script = launch_path(self._run_dir, plugin_id).read_bytes() if section is not None else b""
        except FileNotFoundError:
            return None
        return Program(plugin_id, section, script) if section is not None else None

    def is_published(self, plugin_id: str) -> bool:
        """Whether a plugin has a section."""
        return self.read_stamp(plugin_id) is not None

    def read_stamp(self, plugin_id: str) -> Stamp | None:
        """What tells one version of a plugin's section from every other, whoever wrote it; None where there is none."""
        try:
            status = conf_path(self._run_dir, plugin_id).stat()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
                return None
            raise
        return status.st_mtime_ns, status.st_ino

    def read_stamps(self) -> dict[str, Stamp]:
        """The stamp of each plugin's section."""
        stamps = {plugin_id: self.read_stamp(plugin_id) for plugin_id in self.read_folders()}
        return {plugin_id: stamp for plugin_id, stamp in stamps.items() if stamp is not None}

    def read_options(self, plugin_id: str) -> dict[str, str]:
        """The options of a plugin's published section, as text; empty where there is none."""
        section = self._read_section(plugin_id) or ""
        return dict(line.split("=", 1) for line in section.splitlines() if "=" in line and not line.startswith(";"))

    def write_launch_script(self, program: Program) -> None:
        """Publish the launch script, which a process that starts from now on runs."""
        _write(launch_path(self._run_dir, program.id), program.launch_script)

    def write_idle_script(self, program: Program) -> None:
        """Publish a launch script that does nothing, until the real one is written."""
        _write(launch_path(self._run_dir, program.id), b"")

    def write_section(self, program: Program) -> None:
        """Publish the section, which supervisord reads at its start and at `reloadConfig`."""
        _write(conf_path(self._run_dir, program.id), program.section.encode())

    def _read_section(self, plugin_id: str) -> str | None:
        try:
            return conf_path(self._run_dir, plugin_id).read_text(encoding="utf-8")
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # a broken manifest's id is its folder's name, of any length
                return None
            raise

    def remove(self, plugin_id: str) -> None:
        """Remove a plugin's files, the section first: without the script it would be a program that fails."""
        conf_path(self._run_dir, plugin_id).unlink(missing_ok=True)
        launch_path(self._run_dir, plugin_id).unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    """Replace a file's contents in one step, and only where they differ."""
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == data:
            return
    # the name matches no include pattern; mkstemp makes it readable by this user alone
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(descriptor, path.parent.stat().st_mode & 0o644)  # whoever may look into the folder may read it
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
