"""The keyboard: single keys on a terminal, else lines."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType


class Keys:
    """Reads standard input without waiting for Return, while it is entered; the terminal is as before afterwards."""

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno() if sys.stdin is not None else -1
        self.is_terminal = self._descriptor >= 0 and os.isatty(self._descriptor)
        self._before: list[Any] | None = None
        self._is_open = self._descriptor >= 0

    def __enter__(self) -> Keys:
        """Have keys arrive at once."""
        if self.is_terminal:
            import termios  # noqa: PLC0415 - not on every system
            import tty  # noqa: PLC0415

            with contextlib.suppress(termios.error):
                self._before = termios.tcgetattr(self._descriptor)
                tty.setcbreak(self._descriptor)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Put the terminal back."""
        if self._before is not None:
            import termios  # noqa: PLC0415

            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def read(self, seconds: float) -> str:
        """The next key or line, in lower case, without spaces; waits at most this long."""
        if not self._is_open:
            select.select([], [], [], seconds)
            return ""
        try:
            if not select.select([self._descriptor], [], [], seconds)[0]:
                return ""
            data = os.read(self._descriptor, 1024)
        except OSError:  # a job in the background may not read
            data = b""
        self._is_open = bool(data)
        return "".join(data.decode(errors="replace").split()).lower()
