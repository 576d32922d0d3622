"""Makes another version of a plugin current, and goes back if it does not work."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from plugvisor.errors import PlugvisorError, StartFailed, SupervisorUnavailable
from plugvisor.logs.marks import Mark
from plugvisor.manager.installation.site import outlast_silence
from plugvisor.manager.installation.workers import persist
from plugvisor.manager.output_since import mark_log, read_log
from plugvisor.models.installation.record import Pending, Record
from plugvisor.models.process import remove_retry

if TYPE_CHECKING:
    from plugvisor.manager.installation.live_operation import LiveOperation
    from plugvisor.manager.installation.site import Site
    from plugvisor.manager.installation.use_cases.replacements import Replaced
    from plugvisor.manager.installation.worker import Worker
    from plugvisor.models.installation.record import VersionRecord

logger = logging.getLogger(__name__)

SWAP_PERCENT, START_PERCENT, READY_PERCENT = 85, 90, 97


def add_version(record: Record, version: str, entry: VersionRecord) -> Record:
    """The record while a new current version is unconfirmed.

    `previous` stays what it was: it is right again when `current` goes back.
    """
    return replace(
        record,
        current=version,
        versions={**record.versions, version: entry},
        pending=Pending(version=version, previous=record.current),
    )


def confirm(record: Record) -> Record:
    """The record of a confirmed update: it has the current version and the one before."""
    pending = record.pending
    previous = record.previous if pending is None or pending.previous is None else pending.previous
    kept = {name: entry for name, entry in record.versions.items() if name in (record.current, previous)}
    return replace(record, previous=previous if previous in kept else None, versions=kept, pending=None)


async def settle(site: Site, operation: LiveOperation, record: Record) -> None:
    """Confirm what is current, and remove the versions that are no longer kept."""
    confirmed = confirm(record)

    async def write(worker: Worker) -> None:
        await worker.write_record(confirmed)
        await worker.prune(record.id, list(confirmed.versions))

    await site.workers.persist(write, operation.note)


class VersionChange:
    """A change of the current version to another one, whose folder is complete.

    Args:
        before: the record as it is.
        after: of `add_version`.
        by: the identity that wants the plugin to be started even if it does not run; empty: nobody does.
    """

    def __init__(self, site: Site, operation: LiveOperation, before: Record, after: Record, by: str = "") -> None:
        self._site = site
        self._operation = operation
        self._before = before
        self._after = after
        self._by = by
        self._id = before.id
        self._verb = "roll back" if operation.verb == "rollback" else operation.verb
        self._version = after.versions[current_of(after)].version
        self._mark: Mark | None = None
        """Where its log begins; on a cluster, where that of the version before ended when this change began."""
        self._replaced: Replaced | None = None
        """Set when the swap has begun."""

    async def begin(self, worker: Worker) -> None:
        """Swap, and restart the plugin if it runs; call `finish` next, which does not need this worker.

        Raises:
            PlugvisorError: what was current is current again, unless the message says otherwise.
        """
        if self._site.engine.is_cluster:
            self._mark = await mark_log(self._site.engine, self._id)

        async def swap(replaced: Replaced) -> None:
            self._operation.commit()
            self._operation.reach("swap", SWAP_PERCENT)
            self._replaced = replaced
            await worker.swap(
                self._id, current_of(self._after), self._after if replaced.is_started else confirm(self._after)
            )
            if replaced.is_started:
                self._operation.reach("start", START_PERCENT, f"starting version {self._version}")

        try:
            await self._site.manager.replacements.replace(self._verb, self._id, swap, self._by)
            self._note_start()
        except PlugvisorError as error:
            await self._go_back(error)
            raise

    async def finish(self) -> None:
        """Wait until the plugin is ready, if it was started; confirm the version and remove older ones.

        Raises:
            StartFailed: it does not work; what was current is current again.
        """
        if self._replaced is not None and self._replaced.is_started:
            try:
                is_known = await self._wait_ready()
            except PlugvisorError as error:
                await self._go_back(error)
                raise
            text = f"version {self._version} works" if is_known else "it waits for its dependencies, or was stopped"
            self._operation.reach("start", READY_PERCENT, text)
        else:
            self._operation.note(f"version {self._version} is current; the plugin did not run, and is not started")
        try:
            await settle(self._site, self._operation, self._after)
        except PlugvisorError as error:
            error.args = (f"{error}; the new version runs, until the service is restarted and goes back from it",)
            raise

    def _note_start(self) -> None:
        """Note where the log of the version begins that was started, if it was."""
        if self._mark is None and self._replaced is not None:
            with suppress(SupervisorUnavailable):
                process = self._site.engine.get(self._id)
                if process.log_begin is not None and process.launches != self._replaced.launches:
                    self._mark = Mark(*process.log_begin)

    async def _wait_ready(self) -> bool:
        return await outlast_silence(lambda: self._site.manager.replacements.wait_ready(self._verb, self._id))

    async def _go_back(self, error: PlugvisorError) -> None:
        """Make the version before current again, and start it if it ran; the outcome is added to the error."""
        replaced = self._replaced
        if replaced is None:
            return  # nothing was changed
        self._note_start()
        lines = await read_log(self._site.engine, self._id, self._mark) if self._mark and replaced.is_started else []
        self._operation.note(f"version {self._version} does not work: going back to the version before")
        has_swapped = is_restored = False

        async def swap_back() -> None:
            nonlocal has_swapped
            async with self._site.workers.open() as worker:
                await worker.swap(self._id, current_of(self._before), self._before)
            has_swapped = True

        async def restore() -> None:
            replacements = self._site.manager.replacements
            await outlast_silence(lambda: replacements.restore(self._verb, self._id, swap_back, replaced))

        note = ""
        try:
            await persist(restore, self._operation.note)
            is_restored = True
            if replaced.ran:
                await self._wait_ready()
        except PlugvisorError as failure:
            logger.error("cannot go back to the version before of %r: %s", self._id, failure)
            note = f"; then {failure}"
        if is_restored:  # else the version that has failed may still run
            await self._prune()
        outcome = "is current again" if has_swapped else "is made current again when the service is restarted"
        reason = remove_retry(str(error)) if has_swapped else str(error)
        error.args = (f"{reason}; the version before {outcome}{note}",)
        if isinstance(error, StartFailed):
            error.rolled_back = has_swapped
            error.log = lines

    async def _prune(self) -> None:
        """Remove the version that has failed."""
        try:
            async with self._site.workers.open() as worker:
                await worker.prune(self._id, list(self._before.versions))
        except PlugvisorError as error:  # the next start of the service does it
            logger.warning("cannot remove a version of %r: %s", self._id, error)


def current_of(record: Record) -> str:
    """The version that a record makes current."""
    assert record.current is not None
    return record.current
