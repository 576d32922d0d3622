"""The last lines that a plugin has printed since a moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from plugvisor.logs.marks import mark_end
from plugvisor.logs.tail import decode_line, read_backwards

if TYPE_CHECKING:
    from plugvisor.engines.engine import Engine
    from plugvisor.logs.files import LogFiles
    from plugvisor.logs.marks import Mark

MOST_LINES = 50
LONGEST_LINE = 1000
"""In characters."""


async def mark_log(engine: Engine, plugin_id: str) -> Mark:
    """The place at which a plugin's log ends now."""
    await engine.bring_log(plugin_id)
    return await asyncio.to_thread(mark_end, engine.open_log(plugin_id))


async def read_log(engine: Engine, plugin_id: str, mark: Mark) -> list[str]:
    """The last lines that a plugin has printed after a place, oldest first."""
    await engine.bring_log(plugin_id)
    return await asyncio.to_thread(read_since, engine.open_log(plugin_id), mark)


def read_since(log: LogFiles, mark: Mark) -> list[str]:
    """The last lines after a place that are here, oldest first. This blocks."""
    lines: list[str] = []
    with log.open_all() as files:
        for file in files:
            begin = mark.position if file.inode == mark.inode and file.size >= mark.position else 0
            size = file.size - begin
            for line in read_backwards([file]):
                if size <= 0 or len(lines) == MOST_LINES:
                    break
                size -= len(line) + 1
                lines.append(decode_line(line)[:LONGEST_LINE])
            if file.inode == mark.inode or len(lines) == MOST_LINES:
                break
    return lines[::-1]
