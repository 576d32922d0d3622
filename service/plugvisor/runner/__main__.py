"""Runs a manifest's `entry`: `python /path/to/runner.py module:attribute`, started in the plugin's folder.

A function is called. A class is instantiated; its run() is called if it has one, otherwise its startup(), after
which the runner waits for SIGTERM or SIGINT. Afterwards shutdown() is called if there is one, except after a
startup() that raised. Each of these that has a parameter `ctx`, or a first one without a default, gets a context
(`plugin_context.py`); nothing else is passed. A class that takes one needs neither run() nor startup().

Each can be sync or async. Async functions share one event loop, so tasks that startup() creates keep running
during the wait. The first SIGTERM or SIGINT ends a sync function with SystemExit in the main thread, and cancels
an async one; shutdown() follows. Further signals have no effect.

Exit status: 0 after a normal end, 1 after an exception, 2 if the entry cannot be resolved, or the plugin's own
sys.exit(). This file is a standalone script and imports nothing of Plugvisor.
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
import stat
import sys
from collections.abc import Awaitable, Callable
from importlib.machinery import PathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

PLUGINS = "plugins"
HOST = "plugin"
"""The package of the plugin host whose plugins have entries such as `plugin.plugins.echo:EchoPlugin`."""
HOST_MARK = "__neko_event_meta__"
"""The attribute that the host's decorators, such as `@lifecycle(id="startup")`, set on a method."""


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


def _find_above(name: str, folder: Path) -> tuple[Path, str] | None:
    """Return the folder in which a module's name begins, and the name: /x for plugins.echo.main in /x/plugins/echo.

    In /x/plugins/echo, `plugin.plugins.echo` is the module `plugins.echo` of /x: the host's package is elsewhere.
    """
    parts = tuple(name.split("."))
    for n in range(len(parts), 0, -1):
        if folder.parts[-n:] == parts[:n]:
            return folder.parents[n - 1], name
    own = (PLUGINS, folder.name)
    if parts[0] == HOST and parts[1:3] == own and folder.parts[-2:] == own:
        return folder.parents[1], ".".join(parts[1:])
    return None


def find_folders_above(folder: Path) -> list[Path]:
    """Return the folder above one called `plugins` and, if that is a package, the one above it, which comes first.

    One that everybody may write to is left out, and what is above it: anyone could put a module there.
    """
    found: list[Path] = []
    for path in folder.parents[1:] if folder.parent.name == PLUGINS else ():
        if _is_open_to_all(path) or (found and not os.path.isfile(found[0] / "__init__.py")):
            break
        found.insert(0, path)
    return found


def _is_open_to_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IWOTH)
    except OSError:  # a folder that we may not even search
        return True


def resolve(entry: str, folder: Path) -> object:
    """Import the object that `entry` names, from `folder` or from the folder above it in which the name begins."""
    name, _, attribute = entry.partition(":")
    if not attribute or not all(name.split(".")):
        raise CannotRunError("it is not of the form module:attribute; correct `entry` in plugin.toml")
    above = _find_above(name, folder)
    for path in find_folders_above(folder):
        if not above or path == above[0] or not PathFinder.find_spec(name.partition(".")[0], [str(path)]):
            _append_path(path)
    module = _import(name)
    if not module and above:
        _append_path(above[0])
        name = above[1]
        module = _import(name)
    if not module:
        advice = (name.startswith(f"{HOST}.") and advise(name, folder)) or "add it or correct `entry` in plugin.toml"
        raise CannotRunError(f"there is no module {name!r} in {folder}; {advice}")
    if not hasattr(module, attribute):
        where = module.__file__ or "a folder without __init__.py"
        raise CannotRunError(f"there is no {attribute!r} in {name!r} ({where}); add it or correct `entry`")
    return getattr(module, attribute)


def _append_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last: what lies there must not hide an installed package


def advise(missing: str, folder: Path) -> str:
    """Advice for a module that is missing; empty if it is the plugin's own."""
    package = missing.partition(".")[0]
    if (folder / package).exists() or (folder / f"{package}.py").exists():
        return ""
    if package == HOST:
        return (
            f"put the folder `{HOST}` of the plugin host above the plugins, or set PLUGVISOR_RUNNER to the host's own"
        )
    return "list it in requirements.txt and install the plugin, or install it for the Python that runs the plugin"


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
    # by its path: the plugin may have a module of the same name
    path = Path(__file__).with_name("plugin_context.py")
    spec: Any = importlib.util.spec_from_file_location("plugin_context", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PluginContext(folder)


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
        raise CannotRunError("it is neither a function nor a class; correct `entry` in plugin.toml")
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
            raise CannotRunError("the class has neither run() nor startup(); give it one of them")
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
        run_entry(resolve(entry, folder), lifetime, folder)
    except Stopped:
        pass  # a signal during the import
    except CannotRunError as error:
        sys.stderr.write(f"cannot run {entry!r}: {error}\n")
        return 2
    except ModuleNotFoundError as error:
        if error.name and (advice := advise(error.name, folder)):
            error.msg = f"{error.msg}; {advice}"
        raise
    finally:
        lifetime.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
