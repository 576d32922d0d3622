"""Manifests as text: read, replaced as a whole, and earlier ones kept."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET

from plugvisor import layout
from plugvisor.errors import (
    InvalidManifest,
    InvalidRequest,
    NotWritable,
    PluginNotFound,
    PlugvisorError,
    PreconditionFailed,
    TooManyOperations,
)
from plugvisor.manager.installation.config_check import check_text, parse_text
from plugvisor.manager.installation.earlier_manifests import EarlierManifests
from plugvisor.manager.installation.manifest_file import (
    is_writable,
    make_etag,
    matches,
    read_file,
)
from plugvisor.manager.installation.use_cases.manifest_check import refuse
from plugvisor.models.installation.config import Config, ConfigWritten, EarlierManifest
from plugvisor.models.manifest import FILE_NAME, ManifestError
from plugvisor.models.process import ProcessState
from plugvisor.models.stored.journal import Facts, NewEntry
from plugvisor.timestamps import format_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.installation.config_check import Checked
    from plugvisor.manager.installation.installations import Installations
    from plugvisor.manager.journal.recorder import Recorder
    from plugvisor.manager.manager import Manager
    from plugvisor.plugins.catalog import Catalog, Plugin
    from plugvisor.settings import Settings

logger = logging.getLogger(__name__)

TURN_SECONDS = 10.0
"""How long a manifest waits for what is done with the plugin's versions."""


class Configurations:
    """Reads and writes the manifests of plugins, those that were put there by hand included."""

    def __init__(
        self, manager: Manager, engine: Engine, installations: Installations, recorder: Recorder, settings: Settings
    ) -> None:
        self._manager = manager
        self._engine = engine
        self._installations = installations
        self._recorder = recorder
        self._users = settings.users
        self._earlier = EarlierManifests(settings.state_dir)
        installations.on_purged.append(self._earlier.forget)

    async def describe(self, plugin_id: str) -> Config:
        """The manifest, parsed; raises `PluginNotFound`."""
        plugin = self._find(plugin_id)
        return await asyncio.to_thread(self._describe, plugin, self._manager.catalog, is_running=self._runs(plugin_id))

    async def read(self, plugin_id: str, earlier: int = 0) -> tuple[bytes, str]:
        """The manifest's text and its etag.

        Args:
            earlier: 0, or the number of a text that was replaced: 1 is the one that was replaced last.

        Raises:
            PluginNotFound
            InvalidRequest: there is no earlier one of this number.
            InvalidManifest: it cannot be read.
        """
        plugin = self._find(plugin_id)

        def read() -> bytes:
            if not earlier:
                return self._read(plugin)
            kept = self._earlier.read_all(plugin_id)
            if earlier > len(kept):
                count = f"{len(kept) or 'none'} {'is' if len(kept) < 2 else 'are'} kept"
                raise InvalidRequest(f"there is no earlier manifest {earlier}: {count}", "earlier")
            return kept[earlier - 1].text

        text = await asyncio.to_thread(read)
        return text, make_etag(text)

    async def find_modified(self, plugin_id: str) -> float:
        """When the manifest's file was written, in seconds since 1970.

        Raises:
            PluginNotFound
            InvalidManifest: there is none.
        """
        plugin = self._find(plugin_id)

        def find() -> float:
            try:
                return (_find_directory(plugin) / FILE_NAME).stat().st_mtime
            except OSError as error:
                raise refuse(ManifestError(f"it cannot be read: {error.strerror}")) from error

        return await asyncio.to_thread(find)

    async def write(self, plugin_id: str, text: bytes, if_match: str | None, by: str) -> ConfigWritten:
        """Replace the manifest; a plugin that runs goes on with what it was started with.

        A client that disconnects does not cancel it.

        Args:
            if_match: the etags of which the present one must be one, as the header has them.
            by: the name of the identity that has asked for it.

        Raises:
            PluginNotFound, PreconditionFailed, NotWritable, StorageFull, StoreUnavailable, OperationInterrupted
            TooManyOperations: an operation on the plugin's versions takes its time.
            InvalidManifest: nothing was changed.
        """
        self._find(plugin_id)
        return await self._manager.run_detached(self._write(plugin_id, text, if_match, by))

    # -- reading

    def _find(self, plugin_id: str) -> Plugin:
        plugin = self._manager.catalog.get(plugin_id)
        if plugin is None or plugin.folder is None:
            raise PluginNotFound(plugin_id)
        return plugin

    def _runs(self, plugin_id: str) -> bool:
        """Whether a process goes on with the program it was started with, or is started with it by itself."""
        if not self._engine.is_live:
            return False
        process = self._engine.get(plugin_id)
        return process.is_alive or process.state is ProcessState.BACKOFF or process.retry_at is not None

    def _read(self, plugin: Plugin) -> bytes:
        try:
            return read_file(_find_directory(plugin), self._users)
        except ManifestError as error:
            raise refuse(error) from error

    def _describe(self, plugin: Plugin, catalog: Catalog, *, is_running: bool) -> Config:
        directory = _find_directory(plugin)
        etag, config, is_outdated = "", None, False
        problem: InvalidManifest | None = None
        try:
            text = self._read(plugin)
            etag = make_etag(text)
            config = parse_text(text)
            checked = check_text(plugin, text, catalog, directory, self._engine)
            is_outdated = is_running and not self._engine.is_published(checked.program)
        except InvalidManifest as error:
            problem = error
        return Config(
            plugin_id=plugin.id,
            etag=etag,
            config=UNSET if config is None else config,
            problem=str(problem) if problem else UNSET,
            line=(problem and problem.line) or UNSET,
            column=(problem and problem.column) or UNSET,
            writable=bool(etag) and is_writable(directory, self._users, is_version=layout.is_version(str(directory))),
            reload_needed=is_outdated,
            earlier=tuple(
                EarlierManifest(
                    number=number,
                    replaced_at=format_time(kept.replaced_at),
                    replaced_by=kept.replaced_by,
                    etag=make_etag(kept.text),
                )
                for number, kept in enumerate(self._earlier.read_all(plugin.id), 1)
            ),
        )

    # -- writing

    async def _write(self, plugin_id: str, text: bytes, if_match: str | None, by: str) -> ConfigWritten:
        began = time.monotonic()
        async with self._take_turn(plugin_id):
            plugin = self._find(plugin_id)
            directory = await asyncio.to_thread(_find_directory, plugin)
            before, checked = await asyncio.to_thread(
                self._prepare, plugin, text, if_match, self._manager.catalog, directory
            )
            if before != text:
                await self._replace(plugin_id, directory, before, text, by)
                await self._manager.reread(plugin_id)
                facts = Facts(
                    identity=by,
                    verb="configure",
                    outcome="ok",
                    milliseconds=round((time.monotonic() - began) * 1000),
                    detail="its manifest was replaced",
                )
                self._recorder.note(NewEntry("installation", facts, plugin_id))
        is_running = self._runs(plugin_id)
        is_outdated = is_running and not await asyncio.to_thread(self._engine.is_published, checked.program)
        if is_outdated:
            next_step = "the plugin's process was started with an earlier one: reload it"
        else:
            next_step = "the plugin's process needs no reload" if is_running else "it applies from the next start on"
        return ConfigWritten(
            plugin_id=plugin_id,
            etag=make_etag(text),
            changed=before != text,
            reload_needed=is_outdated,
            message=f"{'the manifest was replaced' if before != text else 'nothing has changed'}; {next_step}",
            warnings=tuple(checked.warnings),
        )

    @asynccontextmanager
    async def _take_turn(self, plugin_id: str) -> AsyncIterator[None]:
        async with AsyncExitStack() as turn:
            try:
                async with asyncio.timeout(TURN_SECONDS):
                    await turn.enter_async_context(self._installations.turn(plugin_id))
            except TimeoutError as error:
                raise TooManyOperations(f"{plugin_id!r} is being installed, updated or removed; try again") from error
            yield

    def _prepare(
        self, plugin: Plugin, text: bytes, if_match: str | None, catalog: Catalog, directory: Path
    ) -> tuple[bytes, Checked]:
        """The present text, and the new one checked."""
        try:
            before = read_file(directory, self._users)
        except ManifestError as error:
            if if_match is not None:
                raise PreconditionFailed(f"there is no manifest that could be replaced: {error.problem}") from error
            raise NotWritable(f"its manifest cannot be replaced: {error.problem}; do that by hand") from error
        if if_match is not None and not matches(if_match, make_etag(before)):
            raise PreconditionFailed("the manifest is no longer the one that was read; read it again")
        return before, check_text(plugin, text, catalog, directory, self._engine)

    async def _replace(self, plugin_id: str, directory: Path, before: bytes, text: bytes, by: str) -> None:
        name = await asyncio.to_thread(self._earlier.keep, plugin_id, before, by)
        try:
            async with self._installations.open_worker() as worker:
                await worker.write_manifest(str(directory), text, hashlib.sha256(before).hexdigest())
        except PlugvisorError:
            # the answer may be all that was lost
            if await asyncio.to_thread(self._holds, directory, text):
                logger.warning("the manifest of %r was written by a worker that has failed then", plugin_id)
            else:
                if name is not None:
                    await asyncio.to_thread(self._earlier.drop, plugin_id, name)
                raise
        await asyncio.to_thread(self._earlier.prune, plugin_id)

    def _holds(self, directory: Path, text: bytes) -> bool:
        try:
            return read_file(directory, self._users) == text
        except ManifestError:
            return False


def _find_directory(plugin: Plugin) -> Path:
    """Where a plugin's manifest is now."""
    assert plugin.folder is not None
    version = layout.find_version(str(plugin.folder))
    return plugin.folder if version is None else Path(version)
