"""How the service writes its own log: as text, or as JSON (`PLUGVISOR_LOG_FORMAT`)."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING

from plugvisor.json_lines import dump_line, format_moment

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from plugvisor.settings import Settings

LONGEST_CHARACTERS = 8_000
"""Of a message, and of an exception, of which the end says most."""


class JsonFormatter(logging.Formatter):
    """A line for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a line break."""
        fields = {
            "time": format_moment(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage()[:LONGEST_CHARACTERS],
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)[-LONGEST_CHARACTERS:]
        return dump_line(fields)


def set_up_logging(log_format: str) -> None:
    """Log to standard error."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%F %T"
    )
    # we log the same, better; its warnings are about requests that are invalid, which anybody can send without end
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    if log_format == "json":
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonFormatter())
        # what Python itself would print
        logging.captureWarnings(capture=True)
        sys.excepthook = _log_exception


def make_announcer(settings: Settings) -> Callable[..., None]:
    """Make the function with which `plugvisor up` prints a line; `is_warning` has it print to standard error.

    It prints JSON if all that follows on standard output is JSON.
    """
    is_json = settings.log_format == "json" and (settings.log_to_stdout or settings.engine == "swarm")

    def announce(text: str, *, is_warning: bool = False) -> None:
        if is_json:
            level = "WARNING" if is_warning else "INFO"
            fields = {
                "time": format_moment(time.time()),
                "level": level,
                "logger": "plugvisor",
                "message": text.strip(),
            }
            text = dump_line(fields)
        print(text, file=sys.stderr if is_warning else sys.stdout, flush=True)

    return announce


def _log_exception(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
    else:
        logging.getLogger("plugvisor").critical("the service has failed", exc_info=(kind, error, traceback))
