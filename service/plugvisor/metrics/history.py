"""Earlier samples of a plugin's usage, in a bounded buffer in memory, packed because there can be a thousand."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from plugvisor.metrics.process_tree import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT_SAMPLES = 600
_SAMPLE = struct.Struct("=dIfQI")
_LARGEST = 2**32 - 1


class UsageHistory:
    """The newest samples of one plugin, 28 bytes each."""

    def __init__(self) -> None:
        self._data = bytearray()

    def append(self, at: float, usage: Usage) -> None:
        """Add a sample taken at `at`, in seconds since 1970; the oldest is dropped if there are too many."""
        threads = min(usage.threads, _LARGEST)
        self._data += _SAMPLE.pack(at, usage.pid, usage.cpu_percent, usage.memory_bytes, threads)
        if len(self._data) > KEPT_SAMPLES * _SAMPLE.size:
            del self._data[: _SAMPLE.size]

    def __iter__(self) -> Iterator[tuple[float, Usage]]:
        """Iterate over the samples and when each was taken, oldest first."""
        for at, pid, cpu_percent, memory_bytes, threads in _SAMPLE.iter_unpack(self._data):
            yield at, Usage(pid, cpu_percent, memory_bytes, threads)
