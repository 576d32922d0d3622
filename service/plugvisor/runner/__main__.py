"""Runs a manifest's `entry`: `python /path/to/runner.py module:attribute`, started in the plugin's folder.

A function is called. A class is instantiated without arguments; if the object has run(), that is called,
otherwise startup(), and then SIGTERM or SIGINT is waited for. When that has ended, in whatever way, shutdown()
is called if there is one (not after a startup() that raised).

Each may be sync or async; everything async shares one event loop, so that tasks begun in startup() live on
during the wait. The first SIGTERM or SIGINT ends what is running, by SystemExit in the main thread if it is
sync and by cancellation if it is async, and shutdown() follows; further signals change nothing.

Exit status: 0 after an orderly end, 1 after an exception, 2 when the entry cannot be resolved, and whatever
the plugin itself says by sys.exit(). This file is a script of its own and imports nothing of Plugvisor.
"""

import asyncio
import importlib
import inspect
import io
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType, ModuleType


class CannotRunError(Exception):
    """The entry cannot be resolved; the text says why and what to do."""


class Stopped(SystemExit):
    """The first signal, as sync code of the plugin sees it."""


class Lifetime:
    """The plugin's event loop, and what a signal means at the moment. `signalled`: one has come."""

    def __init__(self) -> None:
        self.signalled = False
        self._sync = True  # sync code runs that a signal may interrupt; at first, the import of the plugin
        self._task: asyncio.Task[None] | None = None  # async code that a signal may cancel
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        # Python calls a handler between two instructions, so one that is due just before the loop's select()
        # would wait until that returns: the byte from set_wakeup_fd makes it return. loop.add_signal_handler
        # would do the same, but takes a signal to a forked child for one to us.
        self._wake, self._bytes = socket.socketpair()
        self._wake.setblocking(False)
        self._bytes.setblocking(False)
        self._loop.add_reader(self._wake, self._wake.recv, 4096)
        signal.set_wakeup_fd(self._bytes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        os.register_at_fork(after_in_child=self._restore)  # a multiprocessing child must obey terminate()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.signalled:
            return
        self.signalled = True
        if self._task:
            self._loop.call_soon_threadsafe(self._task.cancel)
        elif self._sync:
            raise Stopped(0)

    def _restore(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, signal.SIG_DFL)

    def call(self, function: Callable[[], object], *, stoppable: bool) -> None:
        """Call `function` and await what it returns, if it can be awaited, until the first signal if `stoppable`."""

        async def finish(result: Awaitable[object]) -> None:
            self._task = asyncio.current_task() if stoppable else None
            if self._task and self.signalled:  # just now: there was no task yet to cancel
                self._task.cancel()
            try:
                await result
            finally:
                self._task = None

        if stoppable and self.signalled:  # and what ran before has caught the SystemExit
            return
        try:
            self._sync = stoppable
            result = function()
            self._sync = False
            if inspect.isawaitable(result):
                self._runner.run(finish(result))
        except Stopped:
            pass
        except asyncio.CancelledError:
            if not (stoppable and self.signalled):
                raise
        finally:
            self._sync = False

    def close(self) -> None:
        """Cancel the tasks that are left, close the loop, and let a first signal that comes later just kill."""
        self._sync = False
        self._runner.close()
        if not self.signalled:  # threads of the plugin may keep the process alive
            self._restore()


def _import(name: str) -> ModuleType | None:
    """The module, or None if it does not exist. What the module itself raises passes, ImportError included."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if f"{name}.".startswith(f"{error.name}."):  # the module or a parent; not one that it imports
            return None
        raise


def _ancestor(name: str, folder: Path) -> Path | None:
    """Where a module's full name starts: /x for plugins.echo or plugins.echo.main in /x/plugins/echo."""
    parts = tuple(name.split("."))
    fitting = (n for n in range(len(parts), 0, -1) if folder.parts[-n:] == parts[:n])
    return next((folder.parents[n - 1] for n in fitting), None)


def resolve(entry: str, folder: Path) -> object:
    """What `entry` names, imported from `folder`, or from the folder above it where the module's name starts."""
    name, _, attribute = entry.partition(":")
    if not attribute or not all(name.split(".")):
        raise CannotRunError("it is not of the form module:attribute; correct `entry` in plugin.toml")
    module = _import(name)
    if not module and (ancestor := _ancestor(name, folder)):
        sys.path.append(str(ancestor))  # last: a neighbour of the plugin must not hide an installed package
        module = _import(name)
    if not module:
        raise CannotRunError(f"there is no module {name!r} in {folder}; add it or correct `entry` in plugin.toml")
    if not hasattr(module, attribute):
        where = module.__file__ or "a folder without __init__.py"
        raise CannotRunError(f"there is no {attribute!r} in {name!r} ({where}); add it or correct `entry`")
    return getattr(module, attribute)


def live(target: object, life: Lifetime) -> None:
    """Take what the entry names through its life, as the top of this file says."""
    if not callable(target):
        raise CannotRunError("it is neither a function nor a class; correct `entry` in plugin.toml")
    if not inspect.isclass(target):
        life.call(target, stoppable=True)
        return
    plugin = target()
    run, startup, shutdown = (getattr(plugin, name, None) for name in ("run", "startup", "shutdown"))
    if run is None:
        if startup is None:
            raise CannotRunError("the class has neither run() nor startup(); give it one of them")
        life.call(startup, stoppable=True)
        run = asyncio.Event().wait
    try:
        life.call(run, stoppable=True)
    finally:
        if shutdown is not None:
            life.call(shutdown, stoppable=False)


def main(arguments: list[str]) -> int:
    """Run the entry that `arguments` consist of; returns the exit status."""
    entry = " ".join(arguments)
    folder = Path.cwd()
    if not sys.flags.safe_path:
        del sys.path[0]  # this file's folder: the plugin must not meet the modules beside us
    sys.path.insert(0, str(folder))
    sys.argv = [entry]  # for plugins that look for options of their own
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # it is the log: what is printed must be there at once
    life = Lifetime()
    try:
        live(resolve(entry, folder), life)
    except Stopped:
        pass  # during the import
    except CannotRunError as error:
        sys.stderr.write(f"cannot run {entry!r}: {error}\n")
        return 2
    finally:
        life.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
