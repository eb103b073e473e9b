"""Tickets run out of time in the order in which they came, and all are told at the end."""

from __future__ import annotations

from trioetcd.errors import (
    STOPPED,
    TIMEOUT,
    TIMEOUT_DUE_TO_CONNECTION_LOST,
    TIMEOUT_DUE_TO_LEADER_FAIL,
    EtcdError,
)
from trioetcd.replica import Resolved
from trioetcd.replica.pending import Pending


def add(pending: Pending, ticket: object, now: float) -> None:
    """Let one ticket wait."""
    pending.counter += 1
    pending.waiting[pending.counter] = ticket
    pending.stamp(now)


def rows(resolved: list[Resolved]) -> list[tuple[object, object]]:
    """Give tickets and the rows they were told."""
    return [(ticket, out.row if isinstance(out, EtcdError) else out) for ticket, out in resolved]


def test_time_runs_out_first_in_first_out() -> None:
    """Each ticket waits for its own seven seconds; who was answered meanwhile is not told."""
    pending = Pending(timeout=7.0)
    add(pending, "a", 0.0)
    add(pending, "b", 1.0)
    add(pending, "c", 1.0)
    add(pending, "d", 2.0)
    del pending.waiting[2]
    assert pending.expire(6.9) == []
    assert rows(pending.expire(7.0)) == [("a", TIMEOUT)]
    assert rows(pending.expire(8.5)) == [("c", TIMEOUT)]
    assert rows(pending.expire(100.0)) == [("d", TIMEOUT)]
    assert pending.expire(200.0) == []


def test_what_a_leader_may_have_taken_along_is_told_so() -> None:
    """Only what came within two election timeouts before the next leader was known (etcd)."""
    pending = Pending(timeout=7.0, election=2.0)
    for at in range(8):
        add(pending, at, float(at))
    assert rows(pending.expire(100.0, elected=4.0)) == [
        (at, TIMEOUT_DUE_TO_LEADER_FAIL if at == 3 else TIMEOUT) for at in range(8)
    ]


def test_what_a_link_may_have_lost_is_told_so() -> None:
    """Unless it may have been lost with a leader, which etcd names first."""
    pending = Pending(timeout=7.0, election=2.0)
    for at in range(4):
        add(pending, at, float(at))
    assert rows(pending.expire(100.0, 3.0, lambda then: then <= 2.0)) == [
        (0, TIMEOUT_DUE_TO_CONNECTION_LOST),
        (1, TIMEOUT_DUE_TO_CONNECTION_LOST),
        (2, TIMEOUT_DUE_TO_LEADER_FAIL),
        (3, TIMEOUT),
    ]


def test_all_are_told_at_the_end() -> None:
    """Failing leaves nobody waiting."""
    pending = Pending(timeout=7.0)
    add(pending, "a", 0.0)
    add(pending, "b", 0.0)
    assert rows(pending.fail(STOPPED)) == [("a", STOPPED), ("b", STOPPED)]
    assert pending.expire(100.0) == []
