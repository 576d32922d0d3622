"""Errors of callbacks that are reported, and the one that is not."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

import anyio
import pytest
import uvloop
from plugvisor.engines.swarm.docker.late_answers import ignore_late_answers

if TYPE_CHECKING:
    from pathlib import Path


async def cancel_read_when_ready(path: Path) -> None:
    """Cancel a read of a Unix socket before the loop knows that it is ready."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        stream = await anyio.connect_unix(path)
        with server.accept()[0] as other:
            read = asyncio.create_task(stream.receive())
            for _ in range(10):
                await asyncio.sleep(0)
            other.send(b"late")
            read.cancel()
            await asyncio.gather(read, return_exceptions=True)
        await stream.aclose()


@pytest.mark.parametrize("is_ignored", [False, True])
def test_an_answer_after_its_call_was_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, is_ignored: bool
) -> None:
    """The first shows that it happens: when it does not any more, the module has no use."""

    async def run() -> None:
        if is_ignored:
            ignore_late_answers()
        await cancel_read_when_ready(tmp_path / "socket")

    with caplog.at_level(logging.ERROR):
        uvloop.run(run())
    assert ("invalid state" in caplog.text) is not is_ignored


def test_other_errors_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        ignore_late_answers()
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR):
        uvloop.run(run())
    assert "ZeroDivisionError" in caplog.text
