"""Read rounds: one under way, one gathering, and nothing confirmed twice."""

from __future__ import annotations

import pytest

from trioetcd.raft import ReadRounds
from trioetcd.values import Index, MemberID


def test_one_round_is_under_way_and_the_next_one_gathers() -> None:
    """Dissertation 6.4: reads that come in later wait for a later round of heartbeats."""
    reads = ReadRounds()
    assert not reads.waiting
    reads.gather(1, MemberID(0))
    reads.begin(Index(7))
    reads.gather(2, MemberID(3))
    assert (reads.number, reads.under_way, reads.waiting) == (1, True, False)
    with pytest.raises(AssertionError):
        reads.begin(Index(8))
    assert (Index(7), [(1, 0)]) == reads.confirm()
    reads.begin(Index(9))
    assert (Index(9), [(2, 3)]) == reads.confirm()
    assert reads.number == 2
    assert not reads.under_way


def test_an_answer_counts_once_and_only_if_asked_for() -> None:
    """Duplicated and unknown answers confirm nothing (etcd 20418)."""
    reads = ReadRounds()
    reads.ask(5)
    reads.answered(6, Index(1))
    reads.answered(5, Index(2))
    reads.answered(5, Index(3))
    assert [(5, 2)] == reads.confirmed


def test_a_change_of_leader_comes_before_an_answer() -> None:
    """What was confirmed and not taken is dropped too (etcd 21375)."""
    reads = ReadRounds()
    reads.ask(5)
    reads.answered(5, Index(2))
    reads.ask(6)
    reads.gather(1, MemberID(0))
    reads.drop()
    reads.answered(6, Index(2))
    assert ([], False, False) == (reads.confirmed, reads.waiting, reads.under_way)
    number = reads.number
    reads.gather(1, MemberID(0))
    reads.begin(Index(1))
    assert reads.number == number + 1, "the count goes on"
