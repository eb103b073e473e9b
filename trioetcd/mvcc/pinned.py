"""Several pinned tables as one view: what a long read sees in all its steps."""

from __future__ import annotations

from collections.abc import Iterator

from trioetcd.ports import Snapshot

__all__ = ["Pinned"]


class Pinned:
    """Several pinned tables as one view."""

    __slots__ = ("_pieces",)

    def __init__(self, pieces: list[tuple[bytes, bytes, Snapshot]]) -> None:
        self._pieces = pieces

    def _piece(self, key: bytes) -> Snapshot:
        for start, end, snapshot in self._pieces:
            if start <= key < end:
                return snapshot
        raise AssertionError(f"table of {key[:2]!r} is not pinned")

    def get(self, key: bytes) -> bytes | None:
        """Give the value of a raw key."""
        return self._piece(key).get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Go through rows of one table, ascending."""
        return self._piece(start).scan(start, stop)

    def scan_back(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Go through rows of one table, descending."""
        return self._piece(start).scan_back(start, stop)
