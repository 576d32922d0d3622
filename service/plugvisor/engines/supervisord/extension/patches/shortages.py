"""Keeps supervisord alive if the disk is full or descriptors have run out.

supervisor 4.3.0, as it comes,

- ends, with every plugin, if its own log is to be rotated on a full disk: `RotatingFileHandler.emit` lets what
  `doRollover` raises out, and the file that could not be closed is never opened again. If it was a plugin's log,
  nobody reads the plugin's output any more;
- ends if it cannot write a log and its standard error is on the same full disk (`Handler.handleError`), and
  prints a traceback for each line if it is not;
- loses four descriptors at each start for which the log file cannot be opened (`Subprocess.spawn`);
- hands its last descriptors out to plugins, and then cannot be asked anything: its sockets accept nobody, at 100 % CPU.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sys
import time
from typing import Any

from supervisor.loggers import FileHandler, Handler, RotatingFileHandler
from supervisor.options import ProcessConfig

from plugvisor.engines.supervisord.extension.patches.log_files import FLAGS, make_folder, open_log

MOST_SPARE_DESCRIPTORS = 128
"""Not for plugins, but for supervisord's own sockets and files; of a small limit it is an eighth."""
_NEEDED_DESCRIPTORS = 8
"""For a start: two pipes, a log, and what `subprocess` opens for a moment. A few that are free may have low numbers."""
_SECONDS_BETWEEN_COMPLAINTS = 60.0

_make_dispatchers = ProcessConfig.make_dispatchers


def prepare_for_shortages() -> None:
    """Replace supervisor's functions by those below; calling it again does no harm."""
    RotatingFileHandler.emit = emit
    Handler.handleError = complain
    ProcessConfig.make_dispatchers = make_dispatchers


def emit(handler: Any, record: Any) -> None:
    """Write to a log file, and rotate it; what fails is retried with the next record."""
    try:
        if handler.stream.closed and not handler.closed:
            handler.stream = os.fdopen(open_log(handler.baseFilename), "ab")
        FileHandler.emit(handler, record)
        handler.doRollover()
    except Exception:  # noqa: BLE001 - a caller that logs expects no error
        handler.handleError()


def complain(handler: Any) -> None:
    """Report on standard error that a log cannot be written, at most once a minute."""
    now = time.monotonic()
    if now < getattr(handler, "quiet_until", 0.0):
        return
    handler.quiet_until = now + _SECONDS_BETWEEN_COMPLAINTS
    name = getattr(handler, "baseFilename", "its output")
    with contextlib.suppress(Exception):  # standard error may be as full
        sys.stderr.write(f"supervisord cannot write {name}: {sys.exc_info()[1]}; what comes meanwhile is lost\n")
        sys.stderr.flush()


def make_dispatchers(config: Any, process: Any) -> Any:
    """`ProcessConfig.make_dispatchers`, but nothing stays open if it raises `OSError`."""
    descriptor = _find_highest_needed()
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and descriptor >= limit - min(MOST_SPARE_DESCRIPTORS, limit // 8):
        raise OSError(errno.EMFILE, "too many open files")
    for path in (config.stdout_logfile, config.stderr_logfile):
        if isinstance(path, str):
            make_folder(os.path.dirname(path))
            os.close(os.open(path, FLAGS, 0o666))
    return _make_dispatchers(config, process)


def _find_highest_needed() -> int:
    """The highest descriptor that a start would take; raises `OSError` if there are too few."""
    with contextlib.ExitStack() as stack:
        descriptor = -1
        for _ in range(_NEEDED_DESCRIPTORS):
            descriptor = os.dup(0)  # the lowest that is free
            stack.callback(os.close, descriptor)
        return descriptor
