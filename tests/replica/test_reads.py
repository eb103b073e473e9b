"""Reads wait for an index and for the store to reach it, in order, and not for ever."""

from __future__ import annotations

from trioetcd.errors import STOPPED, TIMEOUT, EtcdError
from trioetcd.replica.reads import GATHER_SECONDS, Reads
from trioetcd.values import Index


def test_a_read_waits_for_its_index() -> None:
    """Readable when applied has come to the index confirmed after the read came, not before."""
    reads = Reads(timeout=7.0)
    reads.add(["a"], 0.0)
    assert reads.readable(Index(9)) == []
    reads.confirm(Index(5))
    reads.add(["b"], 0.0)
    reads.confirm(Index(7))
    assert reads.count == 2
    assert reads.readable(Index(4)) == []
    assert reads.readable(Index(6)) == ["a"]
    assert reads.readable(Index(7)) == ["b"]


def test_a_read_does_not_wait_for_ever() -> None:
    """With or without an index a read is told after its time, and at the end."""
    reads = Reads(timeout=7.0)
    reads.add(["a"], 0.0)
    reads.confirm(Index(5))
    reads.add(["b"], 1.0)
    told = reads.expire(7.5)
    told += reads.expire(8.0)
    reads.add(["c"], 8.0)
    reads.confirm(Index(9))
    reads.add(["d"], 8.0)
    told += reads.fail(STOPPED)
    expected = [("a", TIMEOUT), ("b", TIMEOUT), ("c", STOPPED), ("d", STOPPED)]
    assert expected == [(t, out.row) for t, out in told if isinstance(out, EtcdError)]
    assert reads.count == 0


def test_reads_gather_while_an_answer_is_awaited() -> None:
    """The next question waits for the answer to the latest one, but not for long."""
    reads = Reads(timeout=5.0)
    reads.add(["first"], 0.0)
    question = reads.ask(0.0)
    assert question is not None
    reads.add(["second", "third"], 0.001)
    assert reads.ask(GATHER_SECONDS) is None
    reads.confirm(Index(1), question)
    assert ["first"] == reads.readable(Index(1))
    second = reads.ask(GATHER_SECONDS)
    assert second is not None
    reads.add(["fourth"], 0.002)
    assert reads.ask(2 * GATHER_SECONDS) is None
    assert reads.ask(2 * GATHER_SECONDS + 0.001) is not None, "the answer may have been lost"
    reads.confirm(Index(2), second)
    assert ["second", "third"] == reads.readable(Index(2))
