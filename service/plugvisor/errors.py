"""The errors that a person can meet. `api/problems.py` maps them to HTTP.

`str(error)` is a sentence for a client: it contains no path of this machine and no value of an environment variable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class PlugvisorError(Exception):
    """Base of the errors in this module."""

    plugin_id: str | None = None
    """The plugin that it is about, if the code that raised it knows better than the caller."""
    operation_id: str | None = None
    """The operation of installation that has failed with it, if it was waited for."""


class ConfigurationError(PlugvisorError):
    """A setting, a folder or a port is unusable. Only the operator sees the message, which can contain paths."""


class CommandRejected(PlugvisorError):
    """The service answers the request of a command with a problem; the message is its `detail`."""

    def __init__(self, message: str, status: int, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after  # in seconds; None if repeating the request would not help
        self.problem: Mapping[str, Any] = {}  # as the service has sent it


class InvalidRequest(PlugvisorError):
    """A parameter of a request, or its body, is invalid."""

    def __init__(self, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class MalformedRequest(PlugvisorError):
    """The input of a client is not HTTP."""


class HeadTooLarge(PlugvisorError):
    """The request line and headers have too many bytes."""


class BodyTooLarge(PlugvisorError):
    """The body of a request has too many bytes."""


class RequestTimeout(PlugvisorError):
    """A request did not arrive in time."""


class TooManyConnections(PlugvisorError):
    """The limit of connections is reached, and each is waiting for a response or is a stream."""

    retry_after_seconds = 5


class MisdirectedRequest(PlugvisorError):
    """The request is for a name that the service does not answer to."""


class Unauthorized(PlugvisorError):
    """The request has no token or admin code, or a wrong one."""


class Forbidden(PlugvisorError):
    """The identity's role, or its patterns of plugins, do not permit the request."""

    def __init__(self, message: str, role: str) -> None:
        super().__init__(message)
        self.role = role


class TooManyAttempts(PlugvisorError):
    """Too many wrong tokens or admin codes came from a client; it can retry after `retry_after_seconds`."""

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class TooManyStreams(PlugvisorError):
    """The limit of open streams of a kind is reached."""

    retry_after_seconds = 10


class PluginsUnreadable(PlugvisorError):
    """A refresh cannot read the plugins folder, so nothing is known about the plugins in it."""


class PluginNotFound(PlugvisorError):
    """There is no plugin with this id."""

    def __init__(self, plugin_id: str) -> None:
        words = f"there is no plugin {plugin_id!r}; GET /plugins lists them, POST /plugins/refresh finds new ones"
        super().__init__(words)
        self.plugin_id = plugin_id


class PluginDisabled(PlugvisorError):
    """The plugin's manifest says `enabled = false`, or an operator has disabled it."""


class InvalidManifest(PlugvisorError):
    """The plugin's manifest is invalid."""

    line: int | None = None
    """Where, counted from 1, if that is known."""
    column: int | None = None


class AlreadyRunning(PlugvisorError):
    """A process of the plugin is running or starting."""


class NotRunning(PlugvisorError):
    """No process of the plugin is running, and the engine will not start one."""


class DependencyFailed(PlugvisorError):
    """A plugin that this one requires is missing, disabled or invalid, or it failed or was stopped."""

    def __init__(self, message: str, dependency: str | None = None) -> None:
        super().__init__(message)
        self.dependency = dependency


class StartFailed(PlugvisorError):
    """The plugin's process could not be spawned, or ended before it was running."""

    rolled_back: bool | None = None
    """After an update: whether the version before is current again; None if there was no update."""
    log: Sequence[str] | None = None
    """The last lines that the process has printed, or the version that has not started; None if they are not known."""


class StopTimeout(PlugvisorError):
    """The plugin's process is still alive after SIGKILL and the deadline."""


class NotInstalled(PlugvisorError):
    """There is no plugin with this id, or it was put there by hand and has no versions."""


class AlreadyInstalled(PlugvisorError):
    """A plugin with this id is installed, and the request does not set `replace`."""


class NoPreviousVersion(PlugvisorError):
    """There is no version that a rollback could lead to."""


class InvalidPackage(PlugvisorError):
    """A package cannot be unpacked, or what is in it cannot be a plugin here."""

    def __init__(self, message: str, entry: str | None = None) -> None:
        super().__init__(message)
        self.entry = entry  # the name of the one that is refused, as text that JSON and a terminal can hold


class ChecksumMismatch(PlugvisorError):
    """The SHA-256 of the package is not the one that the client gave."""


class BuildFailed(PlugvisorError):
    """The environment of a version could not be made."""

    def __init__(self, message: str, log: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.log = log  # the last lines of the build


class OperationNotFound(PlugvisorError):
    """There is no operation with this id, or it is no longer kept."""


class NotCancellable(PlugvisorError):
    """The operation has ended, or has gone too far to be cancelled."""


class OperationCancelled(PlugvisorError):
    """A client has cancelled the operation that was waited for."""


class OperationInterrupted(PlugvisorError):
    """The service ended, or lost the process that does the work, before the operation did."""

    retry_after_seconds = 2


class TooManyOperations(PlugvisorError):
    """Too many uploads or operations are under way."""

    retry_after_seconds = 10


class InstallationOff(PlugvisorError):
    """There is no folder in which plugins can be installed."""


class NotSupported(PlugvisorError):
    """The engine that runs the plugins cannot do this."""


class StorageFull(PlugvisorError):
    """There is no space for a package, a version, its environment or a manifest."""


class NotWritable(PlugvisorError):
    """A manifest cannot be written by the user that runs the plugins."""


class PreconditionFailed(PlugvisorError):
    """The resource has changed since the client read it."""


class UnsupportedMediaType(PlugvisorError):
    """The body of a request is of another type than the route takes."""


class IdentityNotFound(PlugvisorError):
    """There is no identity of this name."""


class IdentityExists(PlugvisorError):
    """There is an identity of this name."""


class StoreUnavailable(PlugvisorError):
    """The store is missing, full, locked or broken, and the request is about nothing else."""

    retry_after_seconds = 5


class SupervisorUnavailable(PlugvisorError):
    """The engine cannot be reached, is shutting down, or does not answer in time."""

    retry_after_seconds = 2
    is_shutdown = False
    """Whether it has said that it ends, before it did."""


class SupervisorConfused(SupervisorUnavailable):
    """The engine's answer has an unknown form: it is another server, or this is a defect."""
