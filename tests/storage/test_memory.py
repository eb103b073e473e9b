"""The backend in memory."""

from __future__ import annotations

import sys
from threading import Event, Thread

from trioetcd.ports import FIRST_ROW, LAST_ROW
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


def test_who_scans_while_a_batch_is_written_sees_all_of_it_or_nothing() -> None:
    """A thread writes batches of equal rows; every scan and size meanwhile is of whole ones."""
    backend = MemoryBackend()
    backend.apply({FIRST_ROW: b"", LAST_ROW: b""})
    empty = backend.size()
    ended = Event()

    def write() -> None:
        for number in range(300):
            value = None if number % 3 == 2 else b"%d" % number
            backend.apply({b"k%03d" % each: value for each in range(1000)})
        ended.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread = Thread(target=write)
        thread.start()
        while not ended.is_set():
            found = list(backend.scan(b"k", b"l"))
            assert len({value for _, value in found}) <= 1
            assert len(found) in {0, 1000}
            # Keys of four bytes, and values of none to three digits.
            assert backend.size() - empty in {0, 5000, 6000, 7000}
        thread.join()
    finally:
        sys.setswitchinterval(interval)
