"""Long answers about leases, read in bounded steps: all leases there are, all keys on one.

What is read is what was there when the reading began, whatever happens between two steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Protocol, TypeVar

from trioetcd.ports import ReadView, Snapshot, Space

__all__ = ["KeyListing", "LeaseListing", "Listing"]

Item_co = TypeVar("Item_co", covariant=True)


class Listing(Protocol[Item_co]):
    """A reading under way."""

    def step(self, rows: int, size: int, /) -> bool:
        """Read about `rows` items or `size` bytes; True when there are no more."""

    def take(self) -> Sequence[Item_co]:
        """Give what was read since the last time, in order."""

    def close(self) -> None:
        """Let go of what is pinned."""


class KeyListing:
    """Reads the keys on one lease, in order.

    Args:
        space: where the rows are.
        prefix: what the rows begin with.
        stop: the first raw key behind them.
    """

    def __init__(self, space: Space, prefix: bytes, stop: bytes) -> None:
        self._space = space
        self._skip = len(prefix)
        self._start = prefix
        self._stop = stop
        self._keys: list[bytes] = []
        self._pinned: Snapshot | None = None

    def step(self, rows: int, size: int, /) -> bool:
        """Read about `rows` keys or `size` bytes; True when there are no more."""
        keys = self._keys
        skip = self._skip
        view: ReadView = self._space if self._pinned is None else self._pinned
        for raw, _ in view.scan(self._start, self._stop):
            keys.append(raw[skip:])
            rows -= 1
            size -= len(raw)
            if rows <= 0 or size <= 0:
                self._start = raw + b"\0"
                break
        else:
            self.close()
            return True
        if self._pinned is None:
            self._pinned = self._space.snapshot(self._start, self._stop)
        return False

    def take(self) -> list[bytes]:
        """Give the keys that were read since the last time."""
        keys, self._keys = self._keys, []
        return keys

    def close(self) -> None:
        """Let go of what is pinned."""
        if self._pinned is not None:
            self._pinned.close()
            self._pinned = None


class LeaseListing:
    """Puts leases into the order in which they expire; those that expire together by number.

    Args:
        leases: all of them; emptied on the way.
        end: when each expires.
    """

    def __init__(self, leases: list[int], end: Callable[[int], float]) -> None:
        self._left = leases
        self._end = end
        self._runs: list[list[tuple[float, int]]] = []
        self._merged: Iterator[tuple[float, int]] | None = None
        self._leases: list[int] = []

    def step(self, rows: int, _size: int, /) -> bool:
        """Look at about `rows` leases; True when all are in order."""
        if self._left:
            end = self._end
            self._runs.append(sorted((end(lease), lease) for lease in self._left[-rows:]))
            del self._left[-rows:]
            if self._left:
                return False
        if self._merged is None:
            self._merged = merge(*self._runs)
        found = [lease for _, lease in islice(self._merged, rows)]
        self._leases += found
        return len(found) < rows

    def take(self) -> list[int]:
        """Give the leases that have found their place since the last time."""
        leases, self._leases = self._leases, []
        return leases

    def close(self) -> None:
        """Let go of everything; nothing is pinned."""
        self._merged = None
        self._runs.clear()
