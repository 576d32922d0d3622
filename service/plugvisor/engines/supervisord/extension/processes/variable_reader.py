"""The program by which a plugin with files of variables is launched: it reads them, and becomes the plugin.

supervisord must not read them itself: a plugin's author may name any file, which supervisord could read as root, or
which may be on a disk that does not answer. So a process of the plugin's user does, which is the plugin's process from
the beginning: it has its id, its tag and its limits.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from typing import TYPE_CHECKING

from plugvisor import variable_files
from plugvisor.engines.supervisord.extension.processes.process_tag import TAG_VARIABLE
from plugvisor.engines.supervisord.extension.processes.spawn import describe_spawn_error, spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plugvisor.engines.supervisord.extension.processes.launch_file import Launch

_LONGEST_REPORT_BYTES = 64


def spawn_launch(
    launch: Launch,
    environment: Mapping[str, str],
    stdin: int,
    stdout: int,
    uid: int | None,
    *,
    enter: Callable[[], object] | None = None,
) -> tuple[int, VariableReader | None]:
    """Start a program, as `spawn` does; returns its process id, and what reports on it if it has files of variables.

    Raises:
        OSError: it cannot be started.
    """
    if not launch.environment_files:
        return spawn(launch, environment, stdin, stdout, uid, enter=enter), None
    files = {name: path for name, path in launch.environment_files.items() if name != TAG_VARIABLE}
    source = _make_file(variable_files.pack_launch(launch.arguments, environment, files))
    try:
        reading, writing = os.pipe()
        try:
            command = [sys.executable, "-I", "-S", variable_files.PROGRAM, "launch", str(source), str(writing)]
            # neither the plugin's variables nor its path are for this program, but its orphans are found by the tag
            own = {TAG_VARIABLE: environment[TAG_VARIABLE]} if TAG_VARIABLE in environment else {}
            passed = (source, writing)
            program = launch._replace(arguments=command)
            pid = spawn(program, own, stdin, stdout, uid, enter=enter, descriptors=passed)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
    finally:
        os.close(source)
    return pid, VariableReader(reading, list(files), launch.directory)


class VariableReader:
    """The reader of that program's report, a dispatcher of supervisord's."""

    closed = False

    def __init__(self, descriptor: int, names: list[str], directory: str) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.was_executed = False
        self.on_report: Callable[[VariableReader], object] = lambda _reader: None
        """Called when the plugin was executed, or is not going to be."""
        self._failure = ""  # why it was not
        self._names = names
        self._directory = directory

    def readable(self) -> bool:
        """Whether there is something to come."""
        return not self.closed

    def writable(self) -> bool:
        """Never: nothing is written to it."""
        return False

    def handle_read_event(self) -> None:
        """Read the report, or the end of it: the plugin was executed."""
        try:
            report = os.read(self.descriptor, _LONGEST_REPORT_BYTES)
        except BlockingIOError:
            return
        error = variable_files.parse_report(report, self._names)
        self.close()
        if error is None:
            self.was_executed = True
        else:
            self._failure = describe_spawn_error(error, self._directory) if isinstance(error, OSError) else str(error)
        self.on_report(self)

    def finish(self) -> str:
        """The process has ended; returns why the plugin was not executed, empty if it was."""
        if not self.closed:
            self.handle_read_event()
            self.close()
        return self._failure

    def handle_error(self) -> None:
        """Reading has failed: nothing is known, and the process goes on as it is."""
        self.close()
        self.was_executed = True
        with contextlib.suppress(Exception):  # supervisord's loop expects no error
            self.on_report(self)

    def close(self) -> None:
        """Read nothing more."""
        if not self.closed:
            self.closed = True
            os.close(self.descriptor)


def _make_file(data: bytes) -> int:
    """A file without a name, at its beginning: it holds the plugin's variables."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("plugvisor-launch")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
