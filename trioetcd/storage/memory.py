"""`Backend` over a sorted map in memory: the twin that passes the same checks as LevelDB.

Used by tests and the simulator; nothing survives the process. Like LevelDB it gives every reader
the rows as they stood when it began, and like our LevelDB it takes running out of rows for damage.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from threading import Lock

from trioetcd.ports import FIRST_ROW, LAST_ROW, BackendError, Row

__all__ = ["MemoryBackend"]

_OUT_OF_ROWS = "the rows ran out before the end of a scan: a sentinel row is missing"


class _State:
    """One version of all rows; while somebody reads it (`pins`), it does not change.

    Batches may be written by another thread: whoever begins to read waits for one under way.
    """

    __slots__ = ("changing", "keys", "pins", "rows")

    def __init__(self, keys: list[bytes], rows: dict[bytes, bytes], changing: Lock) -> None:
        self.keys = keys
        self.rows = rows
        self.changing = changing
        self.pins = 0

    def pin(self) -> None:
        """Begin to read."""
        with self.changing:
            self.pins += 1

    def scan(self, start: bytes, stop: bytes) -> Iterator[Row]:
        """Go up from `start`."""
        if start >= stop:
            return
        assert stop <= LAST_ROW, "a scan beyond the last row cannot tell its end from damage"
        keys = self.keys
        self.pin()
        try:
            for at in range(bisect_left(keys, start), len(keys)):
                key = keys[at]
                if key >= stop:
                    return
                yield key, self.rows[key]
        finally:
            self.pins -= 1
        raise BackendError(_OUT_OF_ROWS)

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[Row]:
        """Go down from below `stop`."""
        if start >= stop:
            return
        assert start > FIRST_ROW, "a scan from the first row back cannot tell its end from damage"
        keys = self.keys
        self.pin()
        try:
            for at in range(bisect_left(keys, stop) - 1, -1, -1):
                key = keys[at]
                if key < start:
                    return
                yield key, self.rows[key]
        finally:
            self.pins -= 1
        raise BackendError(_OUT_OF_ROWS)


class _MemorySnapshot:
    """`ports.Snapshot`: one version, pinned until `close`."""

    __slots__ = ("_state",)

    def __init__(self, state: _State) -> None:
        state.pin()
        self._state: _State | None = state

    def _open(self) -> _State:
        if self._state is None:
            raise RuntimeError("the snapshot is closed")
        return self._state

    def get(self, key: bytes, /) -> bytes | None:
        return self._open().rows.get(key)

    def scan(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        return self._open().scan(start, stop)

    def scan_back(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        return self._open().scan_back(start, stop)

    def close(self) -> None:
        if self._state is not None:
            self._state.pins -= 1
            self._state = None


class _MemoryBatch:
    """`ports.PreparedBatch`: all rows become visible together."""

    __slots__ = ("_backend", "_rows")

    def __init__(self, backend: MemoryBackend, rows: dict[bytes, bytes | None]) -> None:
        self._backend = backend
        self._rows = rows

    def write(self) -> None:
        self._backend.apply(self._rows)


class MemoryBackend:
    """An empty `ports.Backend` in memory."""

    __slots__ = ("_closed", "_state")

    def __init__(self) -> None:
        self._state = _State([], {}, Lock())
        self._closed = False

    def _open(self) -> _State:
        if self._closed:
            raise RuntimeError("the backend is closed")
        return self._state

    def get(self, key: bytes, /) -> bytes | None:
        """Give the value of `key`, or None."""
        return self._open().rows.get(key)

    def scan(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        """Go through ``[start, stop)``; the rows are those of the moment the first is asked for."""
        yield from self._open().scan(start, stop)

    def scan_back(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        """Go through ``[start, stop)`` downwards; else like `scan`."""
        yield from self._open().scan_back(start, stop)

    def snapshot(self) -> _MemorySnapshot:
        """Pin the rows as they stand now."""
        return _MemorySnapshot(self._open())

    def prepare(self, rows: Mapping[bytes, bytes | None], /) -> _MemoryBatch:
        """Take a copy of `rows`; nothing is visible before `write`."""
        return _MemoryBatch(self, dict(rows))

    def apply(self, rows: Mapping[bytes, bytes | None]) -> None:
        """Make `rows` the truth at once (what `_MemoryBatch.write` does)."""
        with self._state.changing:
            state = self._open()
            if state.pins:
                state = _State(state.keys.copy(), state.rows.copy(), state.changing)
            keys = state.keys
            stored = state.rows
            for key, value in rows.items():
                if value is not None:
                    if key not in stored:
                        insort(keys, key)
                    stored[key] = value
                elif stored.pop(key, None) is not None:
                    del keys[bisect_left(keys, key)]
            self._state = state

    def compact_range(self, start: bytes, stop: bytes, /) -> None:
        """Do nothing: a deleted row takes no space here."""

    def size(self) -> int:
        """Give the bytes of all keys and values."""
        with self._state.changing:  # a batch may be written by another thread meanwhile
            return sum(len(key) + len(value) for key, value in self._open().rows.items())

    def close(self) -> None:
        """Close; the rows are kept for whoever still reads, and are gone after that."""
        self._closed = True
