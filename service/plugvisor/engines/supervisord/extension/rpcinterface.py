"""The extension's entry, supervisor's documented extension point `[rpcinterface:plugins]`.

It spawns plugins in one step, streams every change of state, reaps at once, applies one changed program without
reading the others, ends orphans, and stops all programs together at the end. Plugvisor does not work without it.

It lives in supervisord's one thread: nothing here blocks, and no exception leaves a callback. What it relies on in
supervisor 4.3.0 is named where it is used; it refuses any other version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor.options import VERSION

from plugvisor.engines.supervisord.extension import SUPERVISOR_VERSION
from plugvisor.engines.supervisord.extension.extension import Extension
from plugvisor.engines.supervisord.extension.patches.config_parser import install_linear_parser
from plugvisor.engines.supervisord.extension.patches.guard import Guard
from plugvisor.engines.supervisord.extension.service_manager.notifications import Notifications
from plugvisor.engines.supervisord.extension.stdout import StdoutLog

if TYPE_CHECKING:
    from plugvisor.engines.supervisord.extension.changes import Changes

_instances: list[tuple[Any, Extension]] = []


def make_rpcinterface(
    supervisord: Any,
    stream: str,
    programs: str,
    *,
    log_to_stdout: str = "false",
    log_format: str = "text",
    service_uid: str = "",
    service_gid: str = "",
    plugins_uid: str = "",
) -> PluginsNamespace:
    """supervisord calls this once for each of its HTTP servers; all of them share one extension.

    Args:
        stream: path of the state stream's socket.
        programs: the folder that holds `<name>.conf` for each plugin; the launch files are in `launch` beside it.
        log_to_stdout: "true" to write all logs to standard output as well.
        log_format: "json" to write each line there as a JSON object.
        service_uid: if supervisord is root, the user that writes the programs' files.
        service_gid: a group that may read the state stream too.
        plugins_uid: if supervisord is root, the user that every plugin must run as.

    Raises:
        ValueError: this is another supervisor than the one the extension was tested with.
    """
    if VERSION != SUPERVISOR_VERSION:
        raise ValueError(
            f"Plugvisor's extension was tested with supervisor {SUPERVISOR_VERSION}, and this is {VERSION}; "
            f"install supervisor=={SUPERVISOR_VERSION}"
        )
    for known, extension in _instances:
        if known is supervisord:
            return PluginsNamespace(extension.changes)
    install_linear_parser()
    _instances.clear()  # a supervisord that reloads itself is another object
    guard = Guard(supervisord, int(service_uid), int(plugins_uid)) if plugins_uid else None
    extension = Extension(supervisord, stream, programs, int(service_gid) if service_gid else None, guard)
    if log_to_stdout == "true":
        extension.stdout = StdoutLog(supervisord, log_format)
    Notifications(supervisord, extension.reporter.stream)
    _instances.append((supervisord, extension))
    return PluginsNamespace(extension.changes)


class PluginsNamespace:
    """The XML-RPC methods `plugins.*`; supervisord publishes every method whose name does not begin with `_`.

    Each that changes a program returns the sequence number of the last line it wrote to the state stream.
    """

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def sync(self) -> int:
        """Write to the state stream what has changed.

        @return int result     the sequence number of the last line
        """
        return self._changes.sync()

    def add(self, name: str) -> int:
        """Add a program, or apply its changed file at its next start. Starts nothing.

        @param string name     the program's name
        @return int result     the sequence number of the last line
        """
        return self._changes.add(name)

    def start(self, name: str) -> int:
        """Start a program with its file as it is now, as soon as nothing of it is alive.

        @param string name     the program's name
        @return int result     the sequence number of the last line
        """
        return self._changes.start(name)

    def stop(self, name: str) -> int:
        """Begin to stop a program, so that it does not come back, and cancel a start that is pending.

        @param string name     the program's name
        @return int result     the sequence number of the last line
        """
        return self._changes.stop(name)

    def restart(self, name: str) -> int:
        """Stop a program if it runs, then start it with its file as it is now, whatever becomes of the caller.

        @param string name     the program's name
        @return int result     the sequence number of the last line
        """
        return self._changes.restart(name)

    def queue(self, names: list[str], restart: str) -> int:
        """Have the start of programs wait for `start`, each with its file as it is now. Starts nothing.

        A program that runs, or is about to be started, is left alone. If a name is unknown, nothing is queued.

        @param array names     the programs' names
        @param string restart  a program that is stopped first if it runs, and is queued too; may be empty
        @return int result     the sequence number of the last line
        """
        return self._changes.queue(names, restart)

    def fail(self, name: str, reason: str) -> int:
        """Give up a start that is queued: the program is FATAL. Does nothing if it is not queued any more.

        @param string name     the program's name
        @param string reason   why, for a person
        @return int result     the sequence number of the last line
        """
        return self._changes.fail(name, reason)

    def end(self, name: str, launches: int, reason: str, restart: str) -> int:
        """Begin to end a process that does not work, as a stop does; it is EXITED unexpectedly then.

        Does nothing if it is another launch by now, or is stopping; a start, stop or restart meanwhile applies.

        @param string name     the program's name
        @param int launches    which launch it is about
        @param string reason   why, as `last_exit` shows it
        @param string restart  whether it is started again: `always`, `never`, or by `policy`, as `autorestart` says
        @return int result     the sequence number of the last line
        """
        return self._changes.end(name, launches, reason, restart)

    def execute(self, name: str, launches: int, check: str, timeout_seconds: float, number: int) -> int:
        """Run the command of a program's check, as the program; a line of the state stream reports how it has ended.

        @param string name             the program's name
        @param int launches            the launch that is meant
        @param string check            the check's name
        @param double timeout_seconds  after which it is killed
        @param int number              what identifies the line
        @return int result             the sequence number of the last line
        """
        return self._changes.execute(name, launches, check, timeout_seconds, number)

    def open_worker(self, timeout_seconds: float) -> str:
        """Start a worker of the install folder, as the plugins' user.

        @param double timeout_seconds  after which it is killed, with all that it has started
        @return string result          the name of the socket, in the run folder, that it accepts one connection on
        """
        return self._changes.open_worker(timeout_seconds)

    def end_workers(self, name: str) -> bool:
        """End a worker that does not, or all, with all that they have started.

        @param string name     the name of its socket, or empty: all
        @return boolean result always true
        """
        return self._changes.end_workers(name)

    def remove(self, name: str) -> int:
        """Forget a stopped program.

        @param string name     the program's name
        @return int result     the sequence number of the last line
        """
        return self._changes.remove(name)
