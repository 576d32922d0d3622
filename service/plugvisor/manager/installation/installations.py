"""The use cases: install, update, roll back, remove. One after the other for one plugin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugvisor.manager.installation.registry import Registry
from plugvisor.manager.installation.uploads import Uploads

if TYPE_CHECKING:
    from plugvisor.engines.engine import Engine
    from plugvisor.manager.installation.uploads import Package
    from plugvisor.manager.journal.recorder import Recorder
    from plugvisor.manager.manager import Manager
    from plugvisor.models.installation.operation import Operation
    from plugvisor.models.installation.versions import Versions
    from plugvisor.settings import Settings
    from plugvisor.store.store import Store


@dataclass(frozen=True)
class InstallOptions:
    """What a client wants of an installation."""

    start: bool = False
    replace: bool = False
    plugin_id: str = ""
    """The package must be of this plugin; empty: of any."""


class UnderWay:
    """An operation that was begun, and is stored."""

    operation_id: str

    async def wait(self, seconds: float | None) -> Operation | None:
        """Wait until it has ended, or the time is over; a caller that goes away cancels nothing.

        Returns:
            None if it goes on.

        Raises:
            PlugvisorError: why it has failed.
        """
        raise NotImplementedError


class Installations:
    """Does in the install folder what clients ask for; every use case may raise `InstallationOff`."""

    def __init__(self, manager: Manager, engine: Engine, store: Store, recorder: Recorder, settings: Settings) -> None:
        self.registry = Registry(store)
        self.uploads = Uploads(settings.state_dir / "uploads", settings.package_mb * 1_000_000)
        self._manager = manager
        self._engine = engine
        self._recorder = recorder
        self._settings = settings

    @property
    def why_off(self) -> str:
        """Why nothing can be installed, in words; empty if it can."""
        return ""

    async def open(self) -> None:
        """Begin to recover what a crash has left, as soon as the engine answers; nothing is raised."""

    async def close(self) -> None:
        """Wait for what is under way, and end what would take too long."""

    async def install(self, package: Package, options: InstallOptions, by: str) -> UnderWay:
        """Begin to install or update a plugin; the package is closed at the end.

        `UnderWay.wait` raises what the worker refuses, `InvalidManifest`, `AlreadyInstalled`, `NotInstalled`,
        `DependencyFailed`, `BuildFailed`, `StartFailed`, `StorageFull`, `OperationCancelled`, `OperationInterrupted`.

        Args:
            by: the name of the identity that has asked for it.

        Raises:
            TooManyOperations, StoreUnavailable
        """
        raise NotImplementedError

    async def rollback(self, plugin_id: str, by: str) -> UnderWay:
        """Begin to make the version before the current one current; raises `PluginNotFound`, `NotInstalled`,
        `NoPreviousVersion`, `TooManyOperations`, `StoreUnavailable`.
        """
        raise NotImplementedError

    async def uninstall(self, plugin_id: str, by: str, *, purge: bool, dependents: bool) -> UnderWay:
        """Begin to stop a plugin and to remove its versions.

        Args:
            purge: its data, too.
            dependents: stop the plugins that require it first; without it they make this fail as they do a stop.

        Raises:
            PluginNotFound, NotInstalled, TooManyOperations, StoreUnavailable
        """
        raise NotImplementedError

    async def cancel(self, operation_id: str) -> Operation:
        """Cancel an operation that has not changed what is current yet; returns when nothing of it is left.

        Raises:
            OperationNotFound, NotCancellable
        """
        raise NotImplementedError

    async def list_versions(self, plugin_id: str) -> Versions:
        """What is installed of a plugin; raises `PluginNotFound`, `StorageFull`."""
        raise NotImplementedError
