"""A `Space` over a dict: what the stores are tested and measured on without a replica."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from trioetcd.ports import Row

__all__ = ["DictSpace"]


class DictSpace:
    """Rows in a dict, their keys sorted when a scan needs them."""

    def __init__(self, rows: dict[bytes, bytes] | None = None) -> None:
        self.rows: dict[bytes, bytes] = {} if rows is None else rows
        self._sorted: list[bytes] | None = None
        self.get = self.rows.get
        self.pinned = 0

    def put(self, key: bytes, value: bytes) -> None:
        """Set `key` to `value`."""
        if key not in self.rows:
            self._sorted = None
        self.rows[key] = value

    def delete(self, key: bytes) -> None:
        """Remove `key`, which need not exist."""
        if self.rows.pop(key, None) is not None:
            self._sorted = None

    def _keys(self) -> list[bytes]:
        keys = self._sorted
        if keys is None:
            keys = self._sorted = sorted(self.rows)
        return keys

    def scan(self, start: bytes, stop: bytes) -> Iterator[Row]:
        """Go through ``start <= key < stop``; a write meanwhile is a programmer's error."""
        keys = self._keys()
        rows = self.rows
        for at in range(bisect_left(keys, start), bisect_left(keys, stop)):
            assert keys is self._sorted, "written during a scan"
            yield keys[at], rows[keys[at]]

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[Row]:
        """Go through ``start <= key < stop`` backwards."""
        keys = self._keys()
        rows = self.rows
        for at in range(bisect_left(keys, stop) - 1, bisect_left(keys, start) - 1, -1):
            assert keys is self._sorted, "written during a scan"
            yield keys[at], rows[keys[at]]

    def snapshot(self, start: bytes, stop: bytes) -> DictSnapshot:
        """Pin the rows of ``[start, stop)``."""
        self.pinned += 1
        return DictSnapshot(self, dict(self.scan(start, stop)))


class DictSnapshot(DictSpace):
    """Rows pinned by `DictSpace.snapshot`."""

    def __init__(self, origin: DictSpace, rows: dict[bytes, bytes]) -> None:
        super().__init__(rows)
        self._origin: DictSpace | None = origin

    def close(self) -> None:
        """Let go, once."""
        assert self._origin is not None, "closed twice"
        self._origin.pinned -= 1
        self._origin = None
