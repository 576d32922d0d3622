"""Everything that can go wrong, as facts; how HTTP words them is `api/problems.py`'s business.

PlugvisorError
├── ConfigurationError      a setting, a folder or a port cannot be used (start-up only)
├── InvalidRequest          a parameter of a request
├── MalformedRequest        no HTTP that can be understood
├── HeadTooLarge            a request line and its headers
├── BodyTooLarge            a request's body
├── RequestTimeout          a request that does not arrive
├── TooManyConnections
├── Unauthorized            no admin code, or a wrong one
├── TooManyAttempts         too many wrong admin codes
├── TooManyStreams          as many of a kind are open as may be
├── PluginsUnreadable       refresh: the plugins folder itself
├── PluginNotFound
├── PluginDisabled          start, reload: `enabled = false`
├── InvalidManifest         start, reload: the manifest cannot be used
├── AlreadyRunning          start
├── NotRunning              stop
├── StartFailed             the process could not be spawned, or died while it was waited for
├── StopTimeout             still alive after SIGKILL and the deadline
└── SupervisorUnavailable   unreachable, shutting down or frozen
    └── SupervisorConfused  answered, but nothing that makes sense

`str(error)` is a sentence for a person: what could not be done, why, and what to do about it. It is
sent to clients, so it holds no path of this machine and no environment variable's value.
"""


class PlugvisorError(Exception):
    """Base of the errors that are told to a person."""

    plugin_id: str | None = None
    """The plugin that it is about, where whoever raised it knows better than whoever asked."""


class ConfigurationError(PlugvisorError):
    """A setting, a folder or a port cannot be used; only the operator sees this, paths included."""


class InvalidRequest(PlugvisorError):
    """A parameter of a request, or its body, is invalid."""

    def __init__(self, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class MalformedRequest(PlugvisorError):
    """What a client has sent is no HTTP that can be understood."""


class HeadTooLarge(PlugvisorError):
    """A request line and its headers have too many bytes."""


class BodyTooLarge(PlugvisorError):
    """A request's body has too many bytes."""


class RequestTimeout(PlugvisorError):
    """A request did not arrive in time."""


class TooManyConnections(PlugvisorError):
    """Every connection that there may be is waiting for an answer or has a stream."""

    retry_after_seconds = 5


class Unauthorized(PlugvisorError):
    """The request has no admin code, or a wrong one."""


class TooManyAttempts(PlugvisorError):
    """Too many wrong admin codes came from this client; it may try again after `retry_after_seconds`."""

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class TooManyStreams(PlugvisorError):
    """As many streams of a kind are open as may be; another can be when one of them ends."""

    retry_after_seconds = 10


class PluginsUnreadable(PlugvisorError):
    """The plugins folder cannot be read, which says nothing about the plugins in it."""


class PluginNotFound(PlugvisorError):
    """There is no plugin of that id."""

    def __init__(self, plugin_id: str) -> None:
        super().__init__(
            f"there is no plugin {plugin_id!r}; GET /plugins lists them, POST /plugins/refresh finds new ones"
        )
        self.plugin_id = plugin_id


class PluginDisabled(PlugvisorError):
    """The plugin's manifest says `enabled = false`."""


class InvalidManifest(PlugvisorError):
    """The plugin's manifest cannot be used."""


class AlreadyRunning(PlugvisorError):
    """A process of the plugin is running or starting."""


class NotRunning(PlugvisorError):
    """No process of the plugin is running, and supervisord will not start one."""


class StartFailed(PlugvisorError):
    """The plugin's process could not be spawned, or ended while it was waited for."""


class StopTimeout(PlugvisorError):
    """The plugin's process is still alive after SIGKILL and the deadline."""


class SupervisorUnavailable(PlugvisorError):
    """supervisord cannot be reached, is shutting down, or does not answer in time."""

    retry_after_seconds = 2


class SupervisorConfused(SupervisorUnavailable):
    """supervisord answered, but nothing that makes sense: another server, or a defect of ours."""
