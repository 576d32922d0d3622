"""The install folder without a worker's process, what is in it, and crashes at every step of a change."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugvisor.installer.folder.install_folder import InstallFolder
from plugvisor.installer.folder.recovery import recover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

CHANGES = ("mkdir", "rename", "symlink", "unlink", "rmdir", "write", "chmod", "fchmod", "fsync")
"""The functions of `os` with which the install folder is changed; a file is made by `open`."""
NEED_SPACE = ("mkdir", "symlink", "write")


class Crash(BaseException):
    """The end of the process, as SIGKILL or a power cut is."""


def name_version(number: int) -> str:
    """A name of a version's folder."""
    return f"{number}.0.0-{number:012x}"


def make_record(current: int | None, *others: int, pending: int = 0, previous: int | None = None) -> dict[str, Any]:
    """A record of the plugin `echo`; `pending` is the version before an update that is not confirmed."""
    versions = [number for number in (current, *others) if number is not None]
    record: dict[str, Any] = {"id": "echo", "versions": {name_version(number): {} for number in versions}}
    if current is not None:
        record["current"] = name_version(current)
    if previous is not None:
        record["previous"] = name_version(previous)
    if pending and current is not None:
        record["pending"] = {"version": name_version(current), "previous": name_version(pending)}
    return record


def place(folder: InstallFolder, number: int, plugin_id: str = "echo") -> None:
    """Place and seal a version."""
    name, path = folder.stage()
    make_version(Path(path), number)
    folder.place(name, plugin_id, name_version(number))
    folder.seal(plugin_id, name_version(number))


def make_version(path: Path, number: int) -> None:
    """Put a version's files into a folder."""
    (path / "deep" / "er").mkdir(parents=True)
    (path / "deep" / "er" / "file").write_text(str(number))
    (path / "plugin.toml").write_text(f'[plugin]\nid = "echo"\nversion = "{number}"\n')


def is_whole(path: Path, number: int) -> bool:
    """Whether all of a version's files are there."""
    with contextlib.suppress(OSError):
        return (path / "deep" / "er" / "file").read_text() == str(number) and f'"{number}"' in (
            path / "plugin.toml"
        ).read_text()
    return False


@dataclass
class Contents:
    """What is installed of the plugin `echo`."""

    is_there: bool
    current: int | None = None
    kept: tuple[int, ...] = ()
    """The versions that are named."""
    has_data: bool = False


def read_contents(root: Path) -> Contents:
    """What is installed, once it has been recovered; fails if it is not whole."""
    plugin = root / "echo"
    assert not list(root.glob(".staging/*"))
    if not plugin.exists():
        return Contents(is_there=False)
    record = json.loads((plugin / "installed.json").read_text())
    assert "before" not in record
    assert not record.get("pending")
    current = record.get("current")
    assert (os.readlink(plugin / "current") if current else None) == (f"versions/{current}" if current else None)
    assert current or not (plugin / "current").is_symlink()
    numbers = tuple(sorted(int(name.partition(".")[0]) for name in record["versions"]))
    if current:
        for number in numbers:
            assert is_whole(plugin / "versions" / name_version(number), number)
    return Contents(
        is_there=True,
        current=int(current.partition(".")[0]) if current else None,
        kept=numbers,
        has_data=(plugin / "data" / "kept").exists(),
    )


@contextlib.contextmanager
def open_install_folder(root: Path) -> Iterator[InstallFolder]:
    """An install folder, whose descriptors are closed even after a crash."""
    folder = InstallFolder(str(root))
    try:
        yield folder
    finally:
        folder.release()


def recover_contents(root: Path) -> Contents:
    """What is installed after a recovery."""
    said: list[str] = []
    with open_install_folder(root) as folder:
        recover(folder, said.append)
    assert not said
    return read_contents(root)


@contextlib.contextmanager
def fail_from(
    monkeypatch: pytest.MonkeyPatch, step: int, make_error: Callable[[], BaseException], names: tuple[str, ...]
) -> Iterator[list[int]]:
    """Have every change fail from a step on; yields how many were made, as the only item of a list."""
    count = [0]

    def replace(name: str) -> None:
        function = getattr(os, name)

        def call(*arguments: Any, **more: Any) -> Any:
            if name != "open" or arguments[1] & os.O_CREAT:
                count[0] += 1
                if count[0] > step:
                    raise make_error()
            return function(*arguments, **more)

        context.setattr(os, name, call)

    with monkeypatch.context() as context:
        for name in (*names, "open"):
            replace(name)
        yield count


def make_no_space() -> OSError:
    """The error of a full disk."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
