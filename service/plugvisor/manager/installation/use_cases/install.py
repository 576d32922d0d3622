"""Installs a package, or updates a plugin with it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from msgspec import UNSET

from plugvisor import layout
from plugvisor.errors import AlreadyInstalled, InvalidPackage, NotInstalled, OperationInterrupted, StartFailed
from plugvisor.manager.installation.records import find_installed, find_version, is_whole, read_record
from plugvisor.manager.installation.site import outlast_silence
from plugvisor.manager.installation.use_cases.manifest_check import check_manifest, check_program
from plugvisor.manager.installation.use_cases.version_change import VersionChange, add_version, confirm, settle
from plugvisor.manager.output_since import mark_log, read_log
from plugvisor.models.installation.record import Record, VersionRecord

if TYPE_CHECKING:
    from plugvisor.manager.installation.live_operation import LiveOperation
    from plugvisor.manager.installation.site import Site
    from plugvisor.manager.installation.uploads import Package
    from plugvisor.manager.installation.worker import Unpacked, Worker
    from plugvisor.models.manifest import Manifest

RECEIVED_PERCENT, VERIFIED_PERCENT, BUILD_PERCENT, BUILT_PERCENT, SWAP_PERCENT = 5, 25, 30, 80, 85
_MOST_CHARACTERS = 200
"""The limit of each text in a record."""


@dataclass(frozen=True)
class InstallOptions:
    """The options of an installation."""

    start: bool = False
    replace: bool = False
    plugin_id: str = ""
    """The id that the package must have; empty: any."""


class Install:
    """One installation."""

    def __init__(
        self, site: Site, operation: LiveOperation, package: Package, options: InstallOptions, by: str
    ) -> None:
        self._site = site
        self._operation = operation
        self._package = package
        self._options = options
        self._by = by
        self._starter = by if options.start else ""

    async def run(self) -> None:
        """Install the package; raises the errors of `Installations.install`."""
        self._operation.reach(
            "received",
            RECEIVED_PERCENT,
            f"received {self._package.source or 'the package'}, SHA-256 {self._package.sha256}",
        )
        if not await self._reuse():
            await self._install()

    # -- a package that is kept already

    async def _reuse(self) -> bool:
        """Use a version that was made of the same package; returns whether there is one."""
        plugin_ids = [self._options.plugin_id] if self._options.plugin_id else list(self._site.manager.catalog)
        find = partial(find_installed, self._site.install_dir, plugin_ids, self._package.sha256)
        plugin_id = await asyncio.to_thread(find)
        if plugin_id is None:
            return False
        async with self._site.turn(plugin_id):
            return await self._reuse_of(plugin_id)

    async def _reuse_of(self, plugin_id: str) -> bool:
        """The same for one plugin, in its turn."""
        self._site.check_own(plugin_id)
        record = (await asyncio.to_thread(read_record, self._site.install_dir, plugin_id)).record
        version = find_version(record, self._package.sha256) if record is not None else None
        if record is None or record.current is None or version is None:
            return False
        if not await asyncio.to_thread(is_whole, self._site.install_dir, plugin_id, version):
            return False
        entry = record.versions[version]
        self._operation.set(plugin_id=plugin_id, version=entry.version, environment=entry.environment)
        if version == record.current:
            if record.pending is not None:  # it was neither confirmed nor undone: the folder could not be written to
                replacements = self._site.manager.replacements
                await outlast_silence(lambda: replacements.wait_ready(self._operation.verb, plugin_id))
                await settle(self._site, self._operation, record)
            self._operation.set(unchanged=True)
            self._operation.note("this package is current already: nothing is changed")
            if self._options.start:
                await self._start(plugin_id)
            return True
        self._check_replace(plugin_id)
        self._note_update(record)
        self._operation.reach("environment", BUILT_PERCENT, "this package is kept as an earlier version")
        change = VersionChange(self._site, self._operation, record, add_version(record, version, entry), self._starter)
        async with self._site.workers.open() as worker:
            await change.begin(worker)
        await change.finish()
        return True

    # -- a new package

    async def _install(self) -> None:
        async with AsyncExitStack() as turn:
            has_turn, change = False, None
            if self._options.plugin_id:
                await turn.enter_async_context(self._site.turn(self._options.plugin_id))
                has_turn = True
            while True:
                async with self._site.workers.builds, self._site.workers.make_builder() as worker:
                    unpacked = await worker.unpack(self._package.descriptor)
                    manifest = await self._verify(unpacked)
                    if has_turn or self._site.is_free(manifest.id):
                        if not has_turn:
                            await turn.enter_async_context(self._site.turn(manifest.id))
                        if await self._reuse_of(manifest.id):  # another operation has just installed it
                            return
                        self._package.close()  # its space is free while the environment is made
                        change = await self._put_in(worker, unpacked, manifest)
                        break
                # others may build meanwhile
                self._operation.note("waiting for another operation on this plugin")
                await turn.enter_async_context(self._site.turn(manifest.id))
                has_turn = True
            if change is not None:
                await change.finish()
            elif self._options.start:
                await self._start(manifest.id, is_new=True)

    async def _put_in(self, worker: Worker, unpacked: Unpacked, manifest: Manifest) -> VersionChange | None:
        """Make the unpacked package the current version; returns the change to finish, if it is an update."""
        record = await self._find_place(manifest.id)
        version = layout.name_version(manifest.version, self._package.sha256)
        await worker.place(unpacked.staged, manifest.id, version)
        entry = await self._build(worker, manifest, version)
        after = add_version(record, version, entry)
        if record.current is None:
            await self._make_current(worker, after, version)
            return None
        change = VersionChange(self._site, self._operation, record, after, self._starter)
        await change.begin(worker)
        return change

    async def _verify(self, unpacked: Unpacked) -> Manifest:
        """Check the manifest, before anything of the package is executed."""
        catalog = self._site.manager.catalog
        check = partial(check_manifest, unpacked.manifest, catalog, self._site.install_dir)
        manifest, warnings = await asyncio.to_thread(check)
        wanted = self._options.plugin_id
        if wanted and manifest.id != wanted:
            raise InvalidPackage(f"the package is of the plugin {manifest.id!r}, not of {wanted!r}")
        self._operation.set(plugin_id=manifest.id, version=manifest.version[:_MOST_CHARACTERS])
        entries = "1 entry" if unpacked.entries == 1 else f"{unpacked.entries} entries"
        text = f"unpacked {manifest.id} {manifest.version}: {entries}, {unpacked.size_bytes} bytes"
        self._operation.reach("verified", VERIFIED_PERCENT, text)
        for warning in warnings:
            self._operation.note(f"warning: {warning}")
        return manifest

    async def _find_place(self, plugin_id: str) -> Record:
        """The record of the plugin, or a new one; raises `AlreadyInstalled`, `NotInstalled`."""
        for other in self._site.manager.catalog:
            if other != plugin_id and other.casefold() == plugin_id.casefold():
                raise AlreadyInstalled(f"its id differs from that of the plugin {other!r} in case alone")
        self._site.check_own(plugin_id)
        found = await asyncio.to_thread(read_record, self._site.install_dir, plugin_id)
        if found.record is None and found.is_there:
            raise NotInstalled(f"the folder {plugin_id!r} was put there by hand; remove it first")
        record = found.record or Record(id=plugin_id)
        if record.current is not None:
            self._check_replace(plugin_id)
            self._note_update(record)
        return record

    async def _build(self, worker: Worker, manifest: Manifest, version: str) -> VersionRecord:
        """Make the version's environment, and check that its programs exist."""
        self._operation.reach("environment", BUILD_PERCENT)
        percent = BUILD_PERCENT

        def on_line(line: str) -> None:
            nonlocal percent
            percent = min(percent + 1, BUILT_PERCENT)
            self._operation.reach("environment", percent, line)

        python, seconds = manifest.python.version, self._site.workers.build_seconds
        built = await worker.build(manifest.id, version, python, seconds, on_line)
        folder = self._site.install_dir / manifest.id / layout.VERSIONS / version
        await asyncio.to_thread(check_program, manifest, folder, self._site.engine)
        self._operation.set(environment=built.environment)
        text = f"made the environment, with Python {built.python}" if built.environment else "it needs no environment"
        self._operation.reach("environment", BUILT_PERCENT, text)
        return VersionRecord(
            version=manifest.version[:_MOST_CHARACTERS],
            sha256=self._package.sha256,
            source=self._package.source[:_MOST_CHARACTERS],
            installed_at=time.time(),
            installed_by=self._by[:_MOST_CHARACTERS],
            environment=built.environment,
            python=built.python[:_MOST_CHARACTERS],
        )

    async def _make_current(self, worker: Worker, record: Record, version: str) -> None:
        """Make the first version of a plugin current, and add the plugin to the catalog."""
        self._operation.commit()
        self._operation.set(verb="install")
        self._operation.reach("swap", SWAP_PERCENT)
        confirmed = confirm(record)
        try:
            await worker.swap(record.id, version, confirmed)
        except OperationInterrupted:  # it may have written the record alone
            async with self._site.workers.open() as another:
                await another.swap(record.id, version, confirmed)
        await outlast_silence(lambda: self._site.manager.refresh({record.id}.__contains__))
        self._operation.note(f"{record.id} is installed")

    async def _start(self, plugin_id: str, *, is_new: bool = False) -> None:
        """Start the plugin and wait until it is ready; if that fails it stays installed."""
        self._operation.commit()
        self._operation.reach("start", SWAP_PERCENT, f"starting {plugin_id}")
        mark = await mark_log(self._site.engine, plugin_id)
        try:
            await self._site.manager.replacements.start(plugin_id, self._by, is_new=is_new)
        except StartFailed as error:
            error.log = await read_log(self._site.engine, plugin_id, mark)
            raise
        self._operation.note(f"{plugin_id} is started")

    # -- parts

    def _check_replace(self, plugin_id: str) -> None:
        if not self._options.replace:
            raise AlreadyInstalled(f"the plugin {plugin_id!r} is installed already; `replace` updates it")

    def _note_update(self, record: Record) -> None:
        version = record.versions.get(record.current or "")
        self._operation.set(verb="update", previous_version=(version and version.version) or UNSET)
