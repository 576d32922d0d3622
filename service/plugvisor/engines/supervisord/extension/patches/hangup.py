"""SIGHUP, for a supervisord that `plugvisor up` has started in a terminal.

To supervisor it means: reload the configuration and restart every program. But it also comes when a terminal is
closed, and then everything would be left in the background. So here it stops everything, or, under nohup, nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

from supervisor.options import ServerOptions

if TYPE_CHECKING:
    from types import FrameType


def install_hangup() -> None:
    """Make SIGHUP a request to shut down; ignore it if this process was started that way, as nohup does."""
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]
    is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    set_signals = ServerOptions.setsignals

    def set_all_signals(options: Any) -> None:
        set_signals(options)

        def handle_hangup(_number: int, frame: FrameType | None) -> None:
            _replace_closed(terminals)
            if not is_ignored:  # SIG_IGN would do, but every program would inherit it
                options.signal_receiver.receive(signal.SIGTERM, frame)

        signal.signal(signal.SIGHUP, handle_hangup)

    ServerOptions.setsignals = set_all_signals


def _replace_closed(terminals: list[int]) -> None:
    """Write to nowhere instead of a terminal that is closed: each write would fail, the last one at exit too."""
    closed = [descriptor for descriptor in terminals if not os.isatty(descriptor)]
    if not closed:
        return
    with contextlib.suppress(OSError):  # no descriptor is free; supervisord would end where the signal came in
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in closed:
            os.dup2(nowhere, descriptor)
            terminals.remove(descriptor)
        os.close(nowhere)
