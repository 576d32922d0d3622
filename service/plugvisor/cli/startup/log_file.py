"""The service's own log as a file: on a swarm no supervisord writes it."""

from __future__ import annotations

import atexit
import logging
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugvisor.settings import Settings

FILE_NAME = "_server.log"
MOST_BYTES = 10 << 20
BACKUPS = 3
"""As supervisord.conf has it."""


class _RotatingFile(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Do nothing: the disk is full or gone, and what was to be written is on standard error, too."""


def log_to_file(settings: Settings) -> None:
    """Also write log records to `<log_dir>/_server.log`, in a thread."""
    path = settings.log_dir / FILE_NAME
    file = _RotatingFile(path, maxBytes=MOST_BYTES, backupCount=BACKUPS, encoding="utf-8", delay=True)
    queue: SimpleQueue[logging.LogRecord] = SimpleQueue()
    root = logging.getLogger()
    file.setFormatter(root.handlers[0].formatter)
    listener = QueueListener(queue, file)
    root.addHandler(_Queue(queue))
    listener.start()
    atexit.register(listener.stop)


class _Queue(QueueHandler):
    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Keep it as it is: it stays in this process."""
        return record
