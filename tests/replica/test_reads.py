"""Reads wait for an index and for the store to reach it, in order, and not for ever."""

from __future__ import annotations

from trioetcd.errors import (
    LEADER_CHANGED,
    STOPPED,
    TIMEOUT,
    TIMEOUT_WAIT_APPLIED_INDEX,
    EtcdError,
)
from trioetcd.replica import LeaseAsked, ReadRequested, ReplicaConfig, Tick
from trioetcd.replica.reads import GATHER_SECONDS, Reads
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.storage.memory import MemoryBackend
from trioetcd.testing.synchronous import Synchronous
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
    """A read is told after its time what it waited for, the store or an index; so at the end."""
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
    expected = [
        ("a", TIMEOUT_WAIT_APPLIED_INDEX),
        ("b", TIMEOUT),
        ("c", STOPPED),
        ("d", STOPPED),
    ]
    assert expected == [(t, out.row) for t, out in told if isinstance(out, EtcdError)]
    assert reads.count == 0


def test_what_waits_for_the_store_is_told_so() -> None:
    """A read, and a question about a lease, that came behind an entry which takes long."""
    config = ReplicaConfig(name="default", slices_per_step=1)
    running = Synchronous(MemoryBackend(), config=config).start()
    for begin in range(0, 1024, 128):
        fill = messages.TxnRequest()
        for at in range(begin, begin + 128):
            fill.success.add().request_put.key = b"f%d" % at
        running.done(CommandKind.TXN, fill)
    every = messages.Compare(key=b"f", range_end=b"g", target=messages.Compare.MOD)
    every.result = messages.Compare.GREATER
    slow = messages.TxnRequest(compare=[every] * 64)
    running.propose(("slow", CommandKind.TXN, slow.SerializeToString()))
    running.persist(ReadRequested(["read"]), LeaseAsked("lease", 7, renew=True))
    running.now += 6.9
    running.step(Tick(running.now))
    assert running.resolved.keys().isdisjoint({"slow", "read", "lease"})
    running.now += 0.11
    running.step(Tick(running.now))
    for ticket in ("read", "lease"):
        outcome = running.resolved[ticket]
        assert isinstance(outcome, EtcdError)
        assert outcome.row is TIMEOUT_WAIT_APPLIED_INDEX
    running.settle()
    assert isinstance(running.resolved["slow"], tuple)
    assert not running.readable


def test_a_read_is_told_of_a_leader_that_came_meanwhile() -> None:
    """One that came to a leader who is known still is not, nor one that has its index."""
    reads = Reads(timeout=7.0)
    reads.add(["indexed"], 0.0)
    reads.confirm(Index(5))
    reads.add(["before"], 1.0)
    reads.add(["after"], 2.0)
    told = reads.expire(9.0, led_since=1.5)
    expected = [
        ("indexed", TIMEOUT_WAIT_APPLIED_INDEX),
        ("before", LEADER_CHANGED),
        ("after", TIMEOUT),
    ]
    assert expected == [(t, out.row) for t, out in told if isinstance(out, EtcdError)]


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
