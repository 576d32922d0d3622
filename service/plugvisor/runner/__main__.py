"""Runs a manifest's `entry`: `python /path/to/runner.py module:attribute`, started in the plugin's folder.

A function is called. A class is instantiated without arguments; its run() is called if it has one, otherwise
its startup(), after which the runner waits for SIGTERM or SIGINT. Afterwards shutdown() is called if there is
one, except after a startup() that raised.

Each can be sync or async. Async functions share one event loop, so tasks that startup() creates keep running
during the wait. The first SIGTERM or SIGINT ends a sync function with SystemExit in the main thread, and cancels
an async one; shutdown() follows. Further signals have no effect.

Exit status: 0 after a normal end, 1 after an exception, 2 if the entry cannot be resolved, or the plugin's own
sys.exit(). This file is a standalone script and imports nothing of Plugvisor.
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
    """The entry cannot be resolved; the message says why and what to do."""


class Stopped(SystemExit):
    """Raised in the plugin's sync code by the first signal."""


class Lifetime:
    """The plugin's event loop, and its reaction to signals. `signalled`: a signal has arrived."""

    def __init__(self) -> None:
        self.signalled = False
        self._sync = True  # interruptible sync code is running; at first, the import of the plugin
        self._task: asyncio.Task[None] | None = None  # async code that a signal cancels
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        # Python runs a signal handler between two instructions, so one that is due just before the loop's
        # select() would wait for it to return: the byte from set_wakeup_fd makes it return.
        # loop.add_signal_handler does the same, but mistakes a signal to a forked child for one to this process.
        self._wake, self._bytes = socket.socketpair()
        self._wake.setblocking(False)
        self._bytes.setblocking(False)
        self._loop.add_reader(self._wake, self._wake.recv, 4096)
        signal.set_wakeup_fd(self._bytes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        os.register_at_fork(after_in_child=self._restore)  # multiprocessing's terminate() must end a child

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
        """Call `function` and await its result if that is awaitable; with `stoppable`, until the first signal."""

        async def finish(result: Awaitable[object]) -> None:
            self._task = asyncio.current_task() if stoppable else None
            if self._task and self.signalled:  # before there was a task to cancel
                self._task.cancel()
            try:
                await result
            finally:
                self._task = None

        if stoppable and self.signalled:  # the code that ran before has caught the SystemExit
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
        """Cancel remaining tasks, close the loop, and let a first signal from now on end the process."""
        self._sync = False
        self._runner.close()
        if not self.signalled:  # threads of the plugin can keep the process alive
            self._restore()


def _import(name: str) -> ModuleType | None:
    """Import a module; return None if it does not exist. Errors of the module itself, also ImportError, propagate."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if f"{name}.".startswith(f"{error.name}."):  # the module or a parent, not a module that it imports
            return None
        raise


def _find_ancestor(name: str, folder: Path) -> Path | None:
    """Return the folder in which a module's full name begins: /x for plugins.echo.main in /x/plugins/echo."""
    parts = tuple(name.split("."))
    fitting = (n for n in range(len(parts), 0, -1) if folder.parts[-n:] == parts[:n])
    return next((folder.parents[n - 1] for n in fitting), None)


def resolve(entry: str, folder: Path) -> object:
    """Import the object that `entry` names, from `folder` or from the folder above it in which the name begins."""
    name, _, attribute = entry.partition(":")
    if not attribute or not all(name.split(".")):
        raise CannotRunError("it is not of the form module:attribute; correct `entry` in plugin.toml")
    module = _import(name)
    if not module and (ancestor := _find_ancestor(name, folder)):
        sys.path.append(str(ancestor))  # last: another plugin's folder must not hide an installed package
        module = _import(name)
    if not module:
        raise CannotRunError(f"there is no module {name!r} in {folder}; add it or correct `entry` in plugin.toml")
    if not hasattr(module, attribute):
        where = module.__file__ or "a folder without __init__.py"
        raise CannotRunError(f"there is no {attribute!r} in {name!r} ({where}); add it or correct `entry`")
    return getattr(module, attribute)


def run_entry(target: object, lifetime: Lifetime) -> None:
    """Run the object that an entry names, as described at the top of this file."""
    if not callable(target):
        raise CannotRunError("it is neither a function nor a class; correct `entry` in plugin.toml")
    if not inspect.isclass(target):
        lifetime.call(target, stoppable=True)
        return
    plugin = target()
    run, startup, shutdown = (getattr(plugin, name, None) for name in ("run", "startup", "shutdown"))
    if run is None:
        if startup is None:
            raise CannotRunError("the class has neither run() nor startup(); give it one of them")
        lifetime.call(startup, stoppable=True)
        run = asyncio.Event().wait
    try:
        lifetime.call(run, stoppable=True)
    finally:
        if shutdown is not None:
            lifetime.call(shutdown, stoppable=False)


def main(arguments: list[str]) -> int:
    """Run the entry given as arguments; returns the exit status."""
    entry = " ".join(arguments)
    folder = Path.cwd()
    if not sys.flags.safe_path:
        del sys.path[0]  # this file's folder, which is not the plugin's
    sys.path.insert(0, str(folder))
    sys.argv = [entry]  # for plugins that parse options
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # it is the log: a printed line must be there at once
    lifetime = Lifetime()
    try:
        run_entry(resolve(entry, folder), lifetime)
    except Stopped:
        pass  # a signal during the import
    except CannotRunError as error:
        sys.stderr.write(f"cannot run {entry!r}: {error}\n")
        return 2
    finally:
        lifetime.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
