"""A disk that is slow, tears and fails: `ports.Backend` with one batch between life and death.

A batch goes through three moments, and the simulator decides when each comes:

1. ``begin``: handed to the disk; nobody sees it.
2. ``write``: in the kernel's memory; every reader sees it, a power cut may still take it.
3. ``sync``: durable.

A crash before the third keeps the batch whole or loses it whole, as LevelDB's log does once the
judge of `storage.recovery` has dropped a torn tail. What was synced is never lost.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from trioetcd.ports import BackendError
from trioetcd.storage.memory import MemoryBackend

__all__ = ["SimDisk"]

Rows = dict[bytes, bytes | None]


class _Flight(NamedTuple):
    """The batch under way; `undo` is what its rows were before, once it is written."""

    number: int
    rows: Rows
    undo: Rows | None


class SimDisk(MemoryBackend):
    """One member's disk, which outlives the member.

    Attributes:
        written: batches that became durable.
        lost: batches that a crash took.
        kept: batches that a crash left although nobody had been told that they were durable.
    """

    __slots__ = ("_flight", "kept", "lost", "written")

    def __init__(self) -> None:
        super().__init__()
        self._flight: _Flight | None = None
        self.written = 0
        self.lost = 0
        self.kept = 0

    @property
    def in_flight(self) -> int | None:
        """The number of the batch under way, if one is."""
        return None if self._flight is None else self._flight.number

    def begin(self, number: int, rows: Rows) -> None:
        """Take a batch; it is neither visible nor durable yet.

        Args:
            number: the batch's number.
            rows: its rows; None deletes. Must not be changed any more.
        """
        assert self._flight is None, "one batch at a time"
        self._flight = _Flight(number, rows, None)

    def write(self) -> None:
        """Make the batch under way visible; it may still be lost."""
        flight = self._flight
        assert flight is not None
        assert flight.undo is None, "written twice"
        get = self.get
        undo: Rows = {key: get(key) for key in flight.rows}
        self.apply(flight.rows)
        self._flight = flight._replace(undo=undo)

    def sync(self) -> int:
        """Make the batch under way durable, written before or not; give its number."""
        flight = self._flight
        assert flight is not None
        if flight.undo is None:
            self.apply(flight.rows)
        self._flight = None
        self.written += 1
        return flight.number

    def crash(self, random: Random, *, torn: bool) -> bool | None:
        """Cut the power: what was not synced stays whole or goes whole.

        Args:
            random: decides which.
            torn: whether a written batch may be lost and an unwritten one may be found written;
                if not, just what was visible stays.

        Returns:
            Whether the batch under way was kept; None if there was none.
        """
        flight = self._flight
        if flight is None:
            return None
        keep = random.random() < 0.5 if torn else flight.undo is not None
        if keep and flight.undo is None:
            self.apply(flight.rows)
        elif not keep and flight.undo is not None:
            self.apply(flight.undo)
        self._flight = None
        if keep:
            self.kept += 1
        else:
            self.lost += 1
        return keep

    def fail(self) -> BackendError:
        """Make the error that the batch under way ends with; its rows are then as after a crash."""
        return BackendError("simulated: input/output error")
