"""Keeps a defect of anyio out of the log.

A read of a Unix socket that is cancelled at the moment in which something arrives sets, under uvloop, the result of a
future that was cancelled. Nothing is lost by it: the connection is closed in any case.
"""

from __future__ import annotations

import asyncio
from typing import Any


def ignore_late_answers() -> None:
    """Have the running event loop report every error of a callback but that one."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), asyncio.InvalidStateError) and _sets_result(context.get("handle")):
            return
        if before is not None:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(report)


def _sets_result(handle: object) -> bool:
    return "Future.set_result" in repr(handle) or "method set_result of _asyncio.Future" in repr(handle)
