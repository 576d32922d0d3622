"""New connections at a steady rate, each with one request, and what became of each."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.helpers.background import Background
from tests.helpers.waiting import DEADLINE_SECONDS

PER_SECOND = 300
MOST_OPEN = 600
"""More connections than this do not wait for an answer at a time; the rate falls instead."""
_REQUEST = b"GET /available HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


class ConnectionLoad(Background):
    """Connects until it is left; then `outcomes` counts "answered" and the errors by their names."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.outcomes: Counter[str] = Counter()
        self._port = port

    def _run(self) -> None:
        asyncio.run(self._connect())

    async def _connect(self) -> None:
        requests: set[asyncio.Task[None]] = set()
        while not self._end.is_set():
            if len(requests) < MOST_OPEN:
                request = asyncio.create_task(self._request())
                requests.add(request)
                request.add_done_callback(requests.discard)
            await asyncio.sleep(1 / PER_SECOND)
        await asyncio.gather(*requests)

    async def _request(self) -> None:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    writer.write(_REQUEST)
                    answer = await reader.read()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            self.outcomes[type(error).__name__] += 1
        else:
            self.outcomes["answered" if answer.startswith(b"HTTP/1.1 ") else "nothing"] += 1
