"""A simulated disk: a backend like any other, until the power goes."""

from __future__ import annotations

from random import Random

import pytest

from trioetcd.testing.checks import check_backend
from trioetcd.testing.disk import SimDisk


def test_it_is_a_backend() -> None:
    """A simulated disk passes what LevelDB passes."""
    check_backend(SimDisk)


def test_a_batch_is_seen_when_it_is_written_and_stays_when_it_is_synced() -> None:
    """Nobody sees a batch before it is written; a crash after the sync takes nothing."""
    disk = SimDisk()
    disk.begin(1, {b"a": b"1"})

    assert disk.get(b"a") is None
    disk.write()
    assert disk.get(b"a") == b"1"
    assert disk.sync() == 1
    assert disk.crash(Random(1), torn=True) is None
    assert disk.get(b"a") == b"1"


@pytest.mark.parametrize("written", [False, True])
def test_a_crash_keeps_the_batch_under_way_whole_or_loses_it_whole(*, written: bool) -> None:
    """Whatever the power cut does to a batch, it does it to all of its rows."""
    outcomes = set()
    for seed in range(20):
        disk = SimDisk()
        disk.begin(1, {b"a": b"1", b"b": b"1", b"c": b"1"})
        disk.sync()
        disk.begin(2, {b"a": b"2", b"b": None, b"d": b"2"})
        if written:
            disk.write()
        kept = disk.crash(Random(seed), torn=True)
        outcomes.add(kept)
        rows = tuple(disk.get(key) for key in (b"a", b"b", b"c", b"d"))
        expected = (b"2", None, b"1", b"2") if kept else (b"1", b"1", b"1", None)
        assert expected == rows
        assert (disk.kept, disk.lost) == ((1, 0) if kept else (0, 1))

    assert {True, False} == outcomes


def test_without_tearing_a_crash_keeps_what_could_be_seen() -> None:
    """A crash that tears nothing keeps a written batch and loses one that is not written."""
    for written in (True, False):
        disk = SimDisk()
        disk.begin(1, {b"a": b"1"})
        if written:
            disk.write()
        assert disk.crash(Random(1), torn=False) is written
        assert disk.get(b"a") == (b"1" if written else None)


def test_the_next_batch_follows_a_crash() -> None:
    """A disk takes batches again after a crash."""
    disk = SimDisk()
    disk.begin(1, {b"a": b"1"})
    disk.crash(Random(1), torn=True)
    disk.begin(1, {b"a": b"2"})

    assert disk.in_flight == 1
    disk.sync()
    assert disk.in_flight is None
    assert disk.get(b"a") == b"2"
