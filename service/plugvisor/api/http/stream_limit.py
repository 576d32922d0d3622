"""How many streams can be open: in all, and for each address."""

from __future__ import annotations

from collections import Counter

from plugvisor.errors import TooManyStreams


class Place:
    """The place of one stream; to be given back once it has ended."""

    def __init__(self, limit: StreamLimit, address: str | None) -> None:
        self._limit: StreamLimit | None = limit
        self._address = address

    def give_back(self) -> None:
        """Let another stream have it; a second call does nothing."""
        if self._limit is not None:
            self._limit.remove(self._address)
            self._limit = None


class StreamLimit:
    """The streams that are open. A place is taken before anything is awaited, so that no two get the last one."""

    def __init__(self, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._count = 0
        self._counts: Counter[str] = Counter()

    def take(self, address: str | None) -> Place:
        """Take a place; None if it does not count for an address.

        Raises:
            TooManyStreams
        """
        if self._count >= self._most:
            raise TooManyStreams(f"{self._most} event streams are open, which is as many as there may be")
        if address is not None:
            if self._counts[address] >= self._most_per_address:
                raise TooManyStreams(
                    f"{self._most_per_address} event streams of this address are open, which is as many as there may "
                    "be; close one of them, or send the admin code"
                )
            self._counts[address] += 1
        self._count += 1
        return Place(self, address)

    def remove(self, address: str | None) -> None:
        """Count a stream no more."""
        self._count -= 1
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]
