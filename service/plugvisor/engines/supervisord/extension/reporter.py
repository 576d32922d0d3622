"""Reports every change of a process to the readers of the state stream."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from plugvisor.engines.supervisord.extension.state_line import describe_process, describe_taken_name
from plugvisor.engines.supervisord.extension.stream import StateStream, guarded

if TYPE_CHECKING:
    from plugvisor.engines.supervisord.extension.patches.operators import Operators

HEARTBEAT_SECONDS = 0.9
"""Not sooner after the last line than this; supervisord goes round at least every second."""


class StateReporter:
    """Collects the names of what changes, and writes one line for each when its state is settled.

    Args:
        stream: path of the state stream's socket.
        readers_gid: a group that may read the stream, besides this user.
        operators: whose names no plugin can have.
    """

    def __init__(self, supervisord: Any, stream: str, readers_gid: int | None, operators: Operators) -> None:
        self.logger = supervisord.options.logger
        self._supervisord = supervisord
        self._operators = operators
        operators.on_change = self.note
        self._sequence = 0
        self._changed: dict[str, None] = {}  # names, in order
        self._written_at = 0.0
        self.stream = StateStream(stream, self.logger, self._make_snapshot, readers_gid)

    @property
    def has_news(self) -> bool:
        """Whether something has changed that is not written yet."""
        return bool(self._changed)

    def note(self, name: str) -> None:
        """A program has changed; its pid and times may not be settled yet."""
        self._changed[name] = None

    def note_all(self) -> None:
        """Every program has changed."""
        self._changed.update(dict.fromkeys(self._supervisord.process_groups))

    def flush(self) -> int:
        """Write what has changed since the last time; returns the sequence number of the last line."""
        changed, self._changed = self._changed, {}
        try:
            for name in changed:
                self._sequence += 1
                line = self._describe(name)
                if line is None:
                    self._write({"type": "removed", "name": name})
                else:
                    self._write({"type": "process", "process": line})
        except Exception:  # the caller sees it too, but the change is lost to the readers
            self.recover()
            raise
        return self._sequence

    @guarded
    def report(self) -> None:
        """Write what has changed, or a heartbeat if nothing was written for a while."""
        self.flush()
        if time.monotonic() - self._written_at >= HEARTBEAT_SECONDS:
            self._write({"type": "heartbeat"})

    def report_check(self, result: dict[str, Any]) -> None:
        """Write how the command of a check has ended."""
        self._write({"type": "check"} | result)

    def close(self) -> None:
        """Write what has changed, say that supervisord is stopping, and disconnect everyone."""
        self.report()
        self._write({"type": "stopping"})
        self.stream.close_all()

    def recover(self) -> None:
        """A change may have been lost: every reader must reconnect and get a snapshot."""
        self.stream.disconnect()

    def _write(self, message: dict[str, Any]) -> None:
        self._written_at = time.monotonic()
        if self.stream.readers:
            self.stream.write(json.dumps(message | {"seq": self._sequence}).encode() + b"\n")

    def _make_snapshot(self) -> bytes:
        self.flush()
        names = {**self._supervisord.process_groups, **dict.fromkeys(self._operators.names)}
        processes = [line for line in map(self._describe, names) if line is not None]
        return json.dumps({"type": "snapshot", "seq": self._sequence, "processes": processes}).encode() + b"\n"

    def _describe(self, name: str) -> dict[str, Any] | None:
        group = self._supervisord.process_groups.get(name)
        process = group.processes.get(name) if group is not None else None
        if process is not None:
            return describe_process(process)
        return describe_taken_name(name) if group is not None or name in self._operators.names else None
