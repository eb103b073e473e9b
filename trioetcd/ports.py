"""The only doors between the deterministic rungs and the outside: storage, time, chance, replies.

Protocols only. `storage` implements `Backend` over LevelDB and over memory, and both pass the
same checks (`trioetcd.testing.checks`); `replica.overlay` implements `Space` over a `Backend`.

Keys on disk (integers big-endian):

==============================  ==========================================================
``FIRST_ROW``                   sentinel; ends every backward scan
``B`` + batch number            the batch chain (`replica.rows`)
``M``                           applied, revision, compact revision, epoch, first index
``e`` + first index             the Raft log, one row per batch of entries
epoch byte 0x80.. + letter ...  the state tables: c o r n (mvcc), l L (lease), a (alarm),
                                m (members), u (auth)
``LAST_ROW``                    sentinel; ends every forward scan
==============================  ==========================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from trioetcd.values import Index

__all__ = [
    "EPOCH_FIRST",
    "FIRST_ROW",
    "LAST_ROW",
    "Backend",
    "BackendError",
    "Clock",
    "Entropy",
    "PreparedBatch",
    "ReadView",
    "Row",
    "Sink",
    "Snapshot",
    "Space",
    "WriteBatch",
]

Row = tuple[bytes, bytes]
"""One stored row: raw key, raw value."""

FIRST_ROW: Final = b"\x00"
LAST_ROW: Final = b"\xff\xff\xff\xff"
EPOCH_FIRST: Final = b"\x80"


class BackendError(Exception):
    """The disk failed or holds damaged rows: the member must stop, nothing may be answered."""


class ReadView(Protocol):
    """Rows as they stand: every read verifies checksums and raises `BackendError` on damage."""

    def get(self, key: bytes, /) -> bytes | None:
        """Give the value of `key`, or None."""

    def scan(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        """Go through the rows with ``start <= key < stop``, ascending."""

    def scan_back(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        """Go through the rows with ``start <= key < stop``, descending."""


class Snapshot(ReadView, Protocol):
    """A view that later writes do not change; must be closed."""

    def close(self) -> None:
        """Let go of the pinned versions; further reads are a programmer's error."""


class WriteBatch(Protocol):
    """Where mutations are gathered."""

    def put(self, key: bytes, value: bytes, /) -> None:
        """Set `key` to `value`."""

    def delete(self, key: bytes, /) -> None:
        """Remove `key`, which need not exist."""


class Space(ReadView, WriteBatch, Protocol):
    """What the stores of the state machine see: their own writes, durable or not, at once."""

    def snapshot(self, start: bytes, stop: bytes, /) -> Snapshot:
        """Pin the rows of ``[start, stop)`` as they stand now."""


class PreparedBatch(Protocol):
    """A batch ready to be written: building it is Python, writing it is one C call."""

    def write(self) -> None:
        """Write all rows atomically and synced; blocks; runs in the writer's thread.

        Raises:
            BackendError: the first failed write is the last; the process must end.
        """


class Backend(ReadView, Protocol):
    """An ordered map of rows on a disk."""

    def snapshot(self) -> Snapshot:
        """Pin the rows as they stand now."""

    def prepare(self, rows: Mapping[bytes, bytes | None], /) -> PreparedBatch:
        """Turn rows (None deletes) into a batch; does no I/O."""

    def compact_range(self, start: bytes, stop: bytes, /) -> None:
        """Give back the space of deleted rows in ``[start, stop)``; blocks; for a thread."""

    def size(self) -> int:
        """Give the bytes on disk of everything stored."""

    def close(self) -> None:
        """Close; no other call may be under way."""


class Clock(Protocol):
    """Time as an argument: nothing below row 5 asks for it."""

    def monotonic(self) -> float:
        """Give seconds that never go back."""

    def wall(self) -> float:
        """Give seconds since 1970, which may jump."""


class Entropy(Protocol):
    """Chance as an argument."""

    def bits(self, count: int, /) -> int:
        """Give a uniformly drawn number of `count` bits."""


class Sink(Protocol):
    """Where the answers of a connection's calls go; the driver answers upwards through it."""

    def answer(self, call: int, response: bytes, /) -> None:
        """Queue the whole response message of `call`; no I/O, no failure if it is gone."""

    def answer_pieces(self, call: int, pieces: list[bytes], /) -> None:
        """Queue one response message given in pieces that are never joined."""

    def fail(self, call: int, error: Exception, /) -> None:
        """Queue an error (an `EtcdError`) as the answer of `call`."""

    def is_open(self, call: int, /) -> bool:
        """Whether somebody still waits for the answer of `call`."""

    def is_full(self) -> bool:
        """Whether so much waits to be read by the client that it gets nothing large."""

    def flush(self) -> None:
        """Write what was queued, once per turn; a broken connection is not the caller's trouble."""


class Trace(Protocol):
    """Where structured events of the deterministic rungs go."""

    def event(self, name: str, index: Index, /, **fields: object) -> None:
        """Note that something happened at a log index."""
