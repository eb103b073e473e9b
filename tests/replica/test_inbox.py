"""Tests of `trioetcd.replica.inbox`: a proposal comes in once, whatever the network does."""

from __future__ import annotations

from trioetcd.raft import Heartbeat, Propose, ReadIndex
from trioetcd.replica.envelope import Envelope
from trioetcd.replica.inbox import WINDOW, Inbox
from trioetcd.values import Index, MemberID, Term

ME, PEER, OTHER = MemberID(1), MemberID(2), MemberID(3)


def propose(sequence: int, *, sender: MemberID = PEER, boot: int = 7) -> Envelope:
    """Make an envelope with a proposal."""
    return Envelope(sender, ME, boot, sequence, Propose(ME, sender, Term(1), [b"x"]))


def test_a_number_is_let_in_once() -> None:
    """Duplicates are dropped, in order and out of it; each sender counts for itself."""
    inbox = Inbox()
    arrivals = [3, 1, 3, 2, 1, 4, 2]
    assert [True, True, False, True, False, True, False] == [
        inbox.admits(propose(number)) for number in arrivals
    ]
    assert inbox.admits(propose(3, sender=OTHER))


def test_other_messages_may_come_twice() -> None:
    """Consensus bears them, so nothing is remembered of them; a ReadIndex counts like a Propose."""
    inbox = Inbox()
    heartbeat = Envelope(PEER, ME, 7, 1, Heartbeat(ME, PEER, Term(1), Index(0), 0))
    read = Envelope(PEER, ME, 7, 2, ReadIndex(ME, PEER, Term(1), 9))
    assert [True, True] == [inbox.admits(heartbeat), inbox.admits(heartbeat)]
    assert [True, False] == [inbox.admits(read), inbox.admits(read)]


def test_an_earlier_boot_is_over() -> None:
    """What a member sent before it was started again comes in no more; its new numbers do."""
    inbox = Inbox()
    assert inbox.admits(propose(5, boot=7))
    assert inbox.admits(propose(1, boot=8))
    assert not inbox.admits(propose(6, boot=7))
    assert not inbox.admits(propose(1, boot=8))


def test_what_is_remembered_is_bounded() -> None:
    """One that is later than the window is dropped, and the window holds no more than it says."""
    inbox = Inbox()
    for number in range(1, 3 * WINDOW):
        assert inbox.admits(propose(number))
    assert not inbox.admits(propose(2 * WINDOW - 1))
    assert not inbox.admits(propose(5))
    assert inbox.admits(propose(3 * WINDOW))
