"""The client of a worker of the install folder, which is another process and another user."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from plugvisor.engines.engine import Engine
    from plugvisor.models.installation.record import Record


class Unpacked(NamedTuple):
    """A package that was unpacked into the staging folder."""

    staged: str
    """The folder's name in it."""
    manifest: bytes
    entries: int
    size_bytes: int


class Built(NamedTuple):
    """What was made for a version."""

    environment: bool
    python: str


class Tidied(NamedTuple):
    """What recovery has found of one plugin."""

    plugin_id: str
    went_back: bool
    """Whether an update that had not been confirmed was undone."""


class Worker:
    """A worker that has been started; used as an asynchronous context manager, at whose end it ends.

    Every method may raise `StorageFull`, `OperationInterrupted` (the worker is gone) and `InvalidPackage`.
    It is in the install folder that everything takes place; names are single parts of a path.
    """

    def __init__(self, engine: Engine, install_dir: Path, timeout_seconds: float) -> None: ...

    async def __aenter__(self) -> Self:
        """Have it started."""
        raise NotImplementedError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, with all that it has started; what it has staged is removed."""
        raise NotImplementedError

    async def unpack(self, descriptor: int) -> Unpacked:
        """Unpack and check a package; raises `InvalidPackage`."""
        raise NotImplementedError

    async def place(self, staged: str, plugin_id: str, version: str) -> None:
        """Make what was staged a version's folder, which is not whole yet; raises `NotInstalled`."""
        raise NotImplementedError

    async def build(
        self, plugin_id: str, version: str, python: str, seconds: float, on_line: Callable[[str], object]
    ) -> Built:
        """Make a version's environment, if it has dependencies, and make the version read-only and durable.

        Args:
            python: the specifier of interpreters, such as `>=3.12`; empty: any.
            seconds: how long it may take.

        Raises:
            BuildFailed
        """
        raise NotImplementedError

    async def swap(self, plugin_id: str, version: str, record: Record) -> None:
        """Write the record, then have `current` lead to a version, in one step; durable when this returns."""
        raise NotImplementedError

    async def write_record(self, record: Record) -> None:
        """Replace `installed.json`."""
        raise NotImplementedError

    async def prune(self, plugin_id: str, keep: list[str]) -> None:
        """Remove a plugin's versions except some."""
        raise NotImplementedError

    async def remove(self, plugin_id: str, record: Record, *, purge: bool) -> None:
        """Remove `current` and every version; with `purge` the data and the folder too."""
        raise NotImplementedError

    async def write_manifest(self, directory: str, text: bytes, expected_sha256: str) -> None:
        """Replace the `plugin.toml` in a folder, in one step.

        Raises:
            PreconditionFailed: it is not what was expected.
            NotWritable
        """
        raise NotImplementedError

    async def tidy(self) -> list[Tidied]:
        """Remove what crashes have left, and go back from every update that had not been confirmed."""
        raise NotImplementedError
