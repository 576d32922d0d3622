"""The protocol of an engine, all that the manager, the API and the command know of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from socket import socket
    from typing import Literal

    from plugvisor.engines.kept_state import KeptState
    from plugvisor.logs.files import LogFiles
    from plugvisor.models.cluster.node import Node
    from plugvisor.models.manifest import Manifest
    from plugvisor.models.process import Process

Program = Any
"""An engine's own form of a plugin. Two that are equal run the same."""


@dataclass(frozen=True)
class EngineInfo:
    """Which engine responds, and its state in its own words."""

    name: str
    version: str
    pid: int
    state: str


@dataclass(frozen=True)
class Address:
    """Where a process of a plugin can be reached."""

    host: str
    node: str = ""
    """The name of the node that it runs on, if there may be several processes."""


CAPABILITIES = ("metrics", "exec_ready_checks", "restart_factor", "boot_order")
"""The capabilities that an engine may lack; docs/cluster.md has the table."""


@dataclass(frozen=True)
class Execution:
    """How a command has ended: with an exit code, by a signal or at its timeout, or why it could not be executed."""

    code: int | None = None
    signal: str = ""
    error: str = ""
    timed_out: bool = False


class Engine(Protocol):
    """Runs plugins. Every method that reads or changes a process may raise `SupervisorUnavailable`.

    A change is visible to every read that begins after its method has returned.
    """

    name: str
    lacks: Mapping[str, str]
    """Those of `CAPABILITIES` that it has not, and why, in words for a person."""
    is_cluster: bool
    """Whether there are nodes beyond this machine, which come and go."""
    kept_state: KeptState | None
    """None if the service is never started on another machine."""

    async def open(self) -> None:
        """Connect; an engine that cannot be reached is connected later, without an error."""

    async def close(self) -> None:
        """Disconnect."""

    async def describe(self) -> EngineInfo:
        """Version and state."""

    # -- reading: from memory

    @property
    def version(self) -> int:
        """Another number whenever a process may be another."""

    @property
    def on_change(self) -> list[Callable[[str | None], object]]:
        """Called with the id of the plugin whose process has changed, or None: every process may have."""

    @property
    def is_live(self) -> bool:
        """Whether `read` would answer."""

    def read(self) -> Mapping[str, Process]:
        """Every process by its plugin's id, at one instant; an old state is never returned."""

    def get(self, plugin_id: str) -> Process:
        """One plugin's process; `NEVER_ADDED` if there is none."""

    @property
    def on_call(self) -> list[Callable[[str, float, bool], object]]:
        """Called after each call to what runs the plugins: its method, its seconds, and whether it was answered."""

    def list_nodes(self) -> Sequence[Node]:
        """The machines that plugins run on, by their names, as they were last seen."""

    @property
    def on_nodes(self) -> list[Callable[[], object]]:
        """Called when `list_nodes` would return something else; never if `is_cluster` is false."""

    def locate(self, plugin_id: str, host: str) -> Sequence[Address]:
        """Where to reach what a plugin's own machine calls `host`: an address for each of its processes.

        Whoever checks a plugin that listens on `localhost` needs the address of the node or container it runs in.

        Raises:
            NotRunning: it has no process.
            NotSupported: nothing connects it with this service.
        """

    # -- logs

    def open_log(self, plugin_id: str) -> LogFiles:
        """A plugin's log, as far as it has been brought here."""

    async def bring_log(self, plugin_id: str) -> None:
        """Bring here what a plugin has printed until now; what cannot be had now is left out, and nothing raised."""

    def following_log(self, plugin_id: str) -> AbstractAsyncContextManager[None]:
        """While it is open, what a plugin prints is brought here at once."""

    # -- folders that another machine has: the service may be started on any

    def list_awaited(self) -> Collection[str]:
        """The plugins whose folders were here last on another machine, and have not been brought here yet."""

    async def bring_folders(self) -> Collection[str]:
        """Bring here those folders that can be had now, as `open` does; returns the ids of their plugins."""

    # -- publishing: these block, and are called in a thread

    def render(self, manifest: Manifest, directory: Path) -> Program:
        """Make a plugin's program, which works in a folder; raises `ManifestError` if it cannot be run here.

        In a version's folder whose environment has not been made yet, nothing is an error that this may change.
        """

    def list_ignored(self, manifest: Manifest) -> Sequence[str]:
        """Sentences about the keys of a manifest that have no effect here; does not block."""

    def read_published(self) -> Mapping[str, Path | None]:
        """The folder that each published plugin came from; None if that is not known."""

    def read_directories(self) -> Mapping[str, Path | None]:
        """The folder that each published plugin's process works in, as `Plugin.directory`; None if not known."""

    def is_published(self, program: Program) -> bool:
        """Whether the next start of a plugin uses this program as it is published now."""

    def find_unpublished(self, plugin_ids: Sequence[str]) -> list[str]:
        """Those of these plugins that are not published; called once a second."""

    def publish(self, program: Program) -> None:
        """Write what the next start of a plugin uses; raises `StartFailed`."""

    def publish_starts(self, starts: Mapping[str, bool]) -> None:
        """Write which plugins are started with the engine, and which are not; the manifests decide on all others."""

    # -- changing

    async def boot(self, programs: Sequence[Program], starts: Callable[[str], bool], queued: Collection[str]) -> None:
        """Publish programs that the engine does not know yet, and begin to start those that are to be started.

        Called once after `open`, for engines that do not do so by themselves when they start; nothing is raised.

        Args:
            programs: of every valid plugin.
            starts: returns whether a plugin that is new is to be started; asked when that is done, which may be later.
            queued: those of them whose start has to wait for their dependencies.
        """

    async def add(self, plugin_id: str) -> None:
        """Make a published plugin known without starting it; raises `StartFailed`."""

    async def start(self, plugin_id: str) -> Process:
        """Start a published plugin when nothing of it is alive any more; return when its process was spawned.

        Raises:
            AlreadyRunning, StartFailed, StopTimeout
        """

    async def begin_stop(self, plugin_id: str) -> None:
        """Begin to stop a plugin so that it does not come back, and cancel a start that is pending.

        Raises:
            NotRunning, StopTimeout
        """

    async def wait_stopped(self, plugin_id: str) -> Process:
        """Wait until nothing of a plugin is alive; raises `StopTimeout`."""

    async def begin_restart(self, plugin_id: str) -> None:
        """Begin to stop a plugin, if it runs, and start it after that, whatever becomes of this service.

        Raises:
            StartFailed, StopTimeout
        """

    async def wait_spawned(self, plugin_id: str) -> Process:
        """Wait until a start that is pending has been made; raises `StartFailed`, `StopTimeout`."""

    async def wait_running(self, plugin_id: str, timeout_seconds: float) -> Process:
        """Wait until a plugin is starting no more; it may still be, when the time is over; raises `StartFailed`."""

    async def end(
        self, plugin_id: str, launches: int, reason: str, restart: Literal["always", "never", "policy"]
    ) -> None:
        """Begin to end a process that does not work, as a stop does; it is EXITED unexpectedly then.

        Nothing is done if it is another launch by now, or is stopping. A start, stop or restart meanwhile applies.

        Args:
            launches: which launch it is about, as the process says.
            reason: why; `last_exit` shows it.
            restart: whether it is started again: always, never, or by policy, as `autorestart` says.

        Raises:
            StopTimeout
        """

    async def queue(self, plugin_ids: Sequence[str], restart: str = "") -> None:
        """Have the starts of published plugins wait until `start` is called for each, whatever becomes of this service.

        Nothing is started, and a plugin that runs or is starting is left alone. If one cannot be queued, none is.

        Args:
            restart: a plugin that is stopped first if it runs, and is queued too.

        Raises:
            StartFailed, InvalidManifest, StopTimeout
        """

    async def fail(self, plugin_id: str, reason: str) -> None:
        """Give up a queued start: the plugin is in error, for this reason; do nothing if it is not queued any more.

        Raises:
            StopTimeout: it is still being stopped, for a restart.
        """

    async def remove(self, plugin_id: str) -> None:
        """Forget a stopped plugin; raises `AlreadyRunning` if somebody has started it."""

    # -- checks

    async def execute(self, plugin_id: str, launches: int, check: str, timeout_seconds: float) -> Execution:
        """Run the command of a plugin's check as the plugin, and end all that is left of it at its end or the timeout.

        Args:
            launches: the launch that is meant; `NotRunning` is raised if it is over.
        """

    # -- installation

    async def open_worker(self, timeout_seconds: float) -> socket:
        """Have a worker of the install folder started as the plugins' user; returns a connection to it.

        The worker, and all that it has started, is ended when the connection or the time is over.

        Raises:
            OperationInterrupted: it could not be started.
        """

    async def end_workers(self, connection: socket | None = None) -> None:
        """Have a worker that does not end killed, with all that it has started; without a connection, all of them."""
