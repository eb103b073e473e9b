"""Applied but not yet durable rows, laid over the disk so that every read sees them at once.

Two generations of raw rows (None deletes): the one being written and the one gathering. The
first is dropped when its batch is durable. `mvcc` does not know of any of this: it sees a
`ports.Space`.

A scan, like a snapshot, shows the rows as they stood when it was asked for: it takes a copy of
the overlay's slice of its range (C speed, and the overlay is about a megabyte at most), and the
backend's iterator pins the rest.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import islice
from typing import Final

from trioetcd.ports import Backend, Row, Snapshot

__all__ = ["Overlay", "OverlaySnapshot"]


Rows = dict[bytes, bytes | None]

_FEW: Final = 16
"""So many keys are cheaper to put into their places than to sort in."""


class Overlay:
    """The space the state machine works in.

    Attributes:
        gathering: rows changed since the last batch was cut.
        writing: rows of the batch in flight.
    """

    def __init__(self, backend: Backend) -> None:
        self.gathering: Rows = {}
        self.writing: Rows = {}
        self._backend = backend
        self._get_below = backend.get
        self._gathering_keys: list[bytes] = []
        self._writing_keys: list[bytes] = []

    # -- reads -------------------------------------------------------------------------------

    def get(self, key: bytes, /) -> bytes | None:
        """Give the value of `key` as last put, durable or not."""
        if key in self.gathering:
            return self.gathering[key]
        if key in self.writing:
            return self.writing[key]
        return self._get_below(key)

    def scan(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        """Go through the rows with ``start <= key < stop`` as they stand now, ascending."""
        keys, values = self._slice(start, stop)
        rows = self._backend.scan(start, stop)
        return _merge(rows, keys, values) if keys else rows

    def scan_back(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        """Go through the rows with ``start <= key < stop`` as they stand now, descending."""
        keys, values = self._slice(start, stop)
        rows = self._backend.scan_back(start, stop)
        return _merge_back(rows, keys, values) if keys else rows

    def snapshot(self, start: bytes, stop: bytes, /) -> OverlaySnapshot:
        """Pin the rows of ``[start, stop)`` as they stand now."""
        keys, values = self._slice(start, stop)
        return OverlaySnapshot(self._backend.snapshot(), keys, values)

    # -- writes ------------------------------------------------------------------------------

    def put(self, key: bytes, value: bytes, /) -> None:
        """Set `key` to `value`."""
        self.gathering[key] = value

    def delete(self, key: bytes, /) -> None:
        """Remove `key`, which need not exist."""
        self.gathering[key] = None

    # -- generations -------------------------------------------------------------------------

    def rotate(self) -> Rows:
        """Cut a batch: what was gathered is being written from now on.

        The caller may add rows to what it gets (they are then visible here) until it has made a
        batch of it, and must leave it alone afterwards.
        """
        assert not self.writing, "one batch at a time"
        self.writing = self.gathering
        self._writing_keys = self._gathering_keys
        self.gathering = {}
        self._gathering_keys = []
        return self.writing

    def persisted(self) -> None:
        """Drop the generation that is now on the disk."""
        self.writing = {}
        self._writing_keys = []

    # -- inside ------------------------------------------------------------------------------

    def _slice(self, start: bytes, stop: bytes) -> tuple[list[bytes], list[bytes | None]]:
        """Copy the overlay's rows of a range, both generations merged, in key order."""
        upper = self.gathering
        lower = self.writing
        keys: list[bytes] = []
        if upper:
            order = _sorted(upper, self._gathering_keys)
            keys = order[bisect_left(order, start) : bisect_left(order, stop)]
        if lower:
            order = _sorted(lower, self._writing_keys)
            below = order[bisect_left(order, start) : bisect_left(order, stop)]
            if below and keys:
                merged: Rows = dict(zip(below, map(lower.get, below), strict=True))
                merged.update(zip(keys, map(upper.get, keys), strict=True))
                keys = sorted(merged)
                return keys, list(map(merged.get, keys))
            if below:
                return below, list(map(lower.get, below))
        return keys, list(map(upper.get, keys))


class OverlaySnapshot:
    """A pinned range; reads outside it are a programmer's error the range's owner avoids."""

    def __init__(self, below: Snapshot, keys: list[bytes], values: list[bytes | None]) -> None:
        self._below = below
        self._keys = keys
        self._values = values

    def get(self, key: bytes, /) -> bytes | None:
        """Give the value `key` had."""
        at = bisect_left(self._keys, key)
        if at < len(self._keys) and self._keys[at] == key:
            return self._values[at]
        return self._below.get(key)

    def scan(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        """Go through the rows there were, ascending."""
        low, high = bisect_left(self._keys, start), bisect_left(self._keys, stop)
        return _merge(self._below.scan(start, stop), self._keys[low:high], self._values[low:high])

    def scan_back(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        """Go through the rows there were, descending."""
        low, high = bisect_left(self._keys, start), bisect_left(self._keys, stop)
        rows = self._below.scan_back(start, stop)
        return _merge_back(rows, self._keys[low:high], self._values[low:high])

    def close(self) -> None:
        """Let go of the backend's snapshot."""
        self._below.close()


def _sorted(rows: Rows, order: list[bytes]) -> list[bytes]:
    """Bring the sorted key list of a generation up to date.

    No key ever leaves a generation and a dict keeps the order of arrival, so the new keys are its
    last ones. A few are put into their places; many are sorted in, which Python does by merging.
    """
    fresh = len(rows) - len(order)
    if fresh:
        latest = islice(reversed(rows), fresh)
        if fresh <= _FEW:
            for key in latest:
                insort(order, key)
        else:
            order.extend(latest)
            order.sort()
    return order


def _merge(rows: Iterator[Row], keys: list[bytes], values: list[bytes | None]) -> Iterator[Row]:
    at, count = 0, len(keys)
    for row in rows:
        key = row[0]
        while at < count and keys[at] < key:
            value = values[at]
            if value is not None:
                yield keys[at], value
            at += 1
        if at < count and keys[at] == key:
            value = values[at]
            if value is not None:
                yield key, value
            at += 1
        else:
            yield row
    for key, value in zip(keys[at:], values[at:], strict=True):
        if value is not None:
            yield key, value


def _merge_back(
    rows: Iterator[Row], keys: list[bytes], values: list[bytes | None]
) -> Iterator[Row]:
    at = len(keys) - 1
    for row in rows:
        key = row[0]
        while at >= 0 and keys[at] > key:
            value = values[at]
            if value is not None:
                yield keys[at], value
            at -= 1
        if at >= 0 and keys[at] == key:
            value = values[at]
            if value is not None:
                yield key, value
            at -= 1
        else:
            yield row
    while at >= 0:
        value = values[at]
        if value is not None:
            yield keys[at], value
        at -= 1
