"""Runs a manifest's `entry`: `python /path/to/runner.py module:attribute`, started in the plugin's folder.

A function is called. A class is instantiated; its run() is called if it has one, otherwise its startup(), after
which the runner waits for SIGTERM or SIGINT. Afterwards shutdown() is called if there is one, except after a
startup() that raised. Each of these that has a parameter `ctx`, or a first one without a default, gets a context
(`plugin_context.py`); nothing else is passed. A class that takes one needs neither run() nor startup().

Each can be sync or async. Async functions share one event loop, so tasks that startup() creates keep running
during the wait. The first SIGTERM or SIGINT ends a sync function with SystemExit in the main thread, and cancels
an async one; shutdown() follows. Further signals have no effect.

Exit status: 0 after a normal end, 1 after an exception, 2 if the entry cannot be resolved, or the plugin's own
sys.exit(). This file is a standalone script: it loads the two beside it by their paths, and nothing else of Plugvisor.
"""

import asyncio
import contextlib
import functools
import importlib.util
import inspect
import io
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

HOST_MARK = "__neko_event_meta__"
"""The attribute that the host's decorators, such as `@lifecycle(id="startup")`, set on a method."""


def load_beside(name: str) -> Any:
    """Load a module of this file's folder by its path: the plugin may have one of the same name."""
    spec: Any = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    from plugvisor.runner import module_search
else:
    module_search = load_beside("module_search")


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


def find_methods(plugin: object) -> dict[str, Callable[..., object]]:
    """Return those of a plugin's methods that are called: run(), or startup(), and shutdown().

    A plugin of the host has marked its own with `@lifecycle(id="startup")`; its run() is one that the host calls.
    """
    methods = {name: method for name in ("run", "startup", "shutdown") if (method := getattr(plugin, name, None))}
    for attribute in dir(type(plugin)):
        with contextlib.suppress(Exception):  # anything of the plugin's may raise anything
            mark = getattr(inspect.getattr_static(type(plugin), attribute), HOST_MARK)
            if mark.event_type == "lifecycle" and mark.id in ("startup", "shutdown"):
                methods[mark.id] = getattr(plugin, attribute)
                methods.pop("run", None)
    return methods


@functools.cache
def make_context(folder: Path) -> object:
    """Make the context of the plugin in a folder."""
    return load_beside("plugin_context").PluginContext(folder)


def offer_context(function: Callable[..., object], folder: Path) -> Callable[[], object]:
    """Bind the context to the parameter `ctx`, or to the first one without a default; if there is neither, nothing."""
    options: dict[str, Any] = {}
    if sys.version_info >= (3, 14):  # it evaluates annotations, which may name what is imported for type checkers alone
        options["annotation_format"] = importlib.import_module("annotationlib").Format.STRING
    try:
        parameters = list(inspect.signature(function, **options).parameters.values())
    except Exception:  # noqa: BLE001 - it is written in C, or the plugin has described it itself, in its own way
        return function
    for parameter in parameters:
        if parameter.name == "ctx" and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            return functools.partial(function, ctx=make_context(folder))
    for first in parameters[:1]:
        if first.kind <= first.POSITIONAL_OR_KEYWORD and first.default is first.empty:
            return functools.partial(function, make_context(folder))
    return function


def run_entry(target: object, lifetime: Lifetime, folder: Path) -> None:
    """Run the object that an entry names, as described at the top of this file."""
    if not callable(target):
        raise module_search.CannotRunError("it is neither a function nor a class; correct `entry` in plugin.toml")
    make = offer_context(target, folder)
    if not inspect.isclass(target):
        lifetime.call(make, stoppable=True)
        return
    plugin = make()
    methods = find_methods(plugin)
    if "run" not in methods:
        if "startup" in methods:
            lifetime.call(offer_context(methods["startup"], folder), stoppable=True)
        elif make is target:
            raise module_search.CannotRunError("the class has neither run() nor startup(); give it one of them")
    run = methods.get("run", asyncio.Event().wait)
    try:
        lifetime.call(offer_context(run, folder), stoppable=True)
    finally:
        if "shutdown" in methods:
            lifetime.call(offer_context(methods["shutdown"], folder), stoppable=False)


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
        run_entry(module_search.resolve(entry, folder), lifetime, folder)
    except Stopped:
        pass  # a signal during the import
    except module_search.CannotRunError as error:
        sys.stderr.write(f"cannot run {entry!r}: {error}\n")
        return 2
    except ModuleNotFoundError as error:
        if error.name and (advice := module_search.advise(error.name, folder)):
            error.msg = f"{error.msg}; {advice}"
        raise
    finally:
        lifetime.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
