"""The backend in memory."""

from __future__ import annotations

from trioetcd.storage.memory import MemoryBackend
from trioetcd.testing.checks import check_backend


def test_conformance() -> None:
    """The twin in memory passes the same checks as LevelDB."""
    check_backend(MemoryBackend)


def test_unread_rows_are_changed_in_place() -> None:
    """A write copies the rows only while somebody reads an older state of them."""
    backend = MemoryBackend()
    backend.prepare({b"a": b"1"}).write()
    state = backend._state
    backend.prepare({b"b": b"2"}).write()
    assert backend._state is state
    snapshot = backend.snapshot()
    backend.prepare({b"c": b"3"}).write()
    assert backend._state is not state
    snapshot.close()
    assert state.pins == 0
