"""Tests of `trioetcd.transport.peer_outbox`: two lanes, bounded, nothing repeated or reordered."""

from __future__ import annotations

from trioetcd import raft
from trioetcd.raft import Group
from trioetcd.transport.peer_outbox import PeerOutbox
from trioetcd.values import Index, MemberID, Term
from trioetcd.wire.peer_messages import Numbered, message_bytes

TO, SENDER, TERM = MemberID(1), MemberID(2), Term(3)


def heartbeat(sequence: int) -> Numbered:
    return Numbered(sequence, raft.Heartbeat(TO, SENDER, TERM, Index(0), 0))


def proposal(sequence: int, size: int = 1) -> Numbered:
    return Numbered(sequence, raft.Propose(TO, SENDER, TERM, [b"x" * size]))


def append(sequence: int, size: int) -> Numbered:
    group = Group(Index(1), Term(1), [b"x" * size])
    message = raft.AppendEntries(TO, SENDER, TERM, Index(0), Term(0), Index(0), (group,))
    return Numbered(sequence, message)


def read(sequence: int) -> Numbered:
    return Numbered(sequence, raft.ReadIndex(TO, SENDER, TERM, 1))


def sequences(taken: list[Numbered]) -> list[int]:
    return [each.sequence for each in taken]


def test_control_goes_before_entries() -> None:
    """A heartbeat overtakes entries; each lane keeps its order, ReadIndex that of proposals."""
    outbox = PeerOutbox()
    outbox.put([proposal(1), heartbeat(2), read(3), append(4, 10), heartbeat(5)])

    assert [2, 5, 1, 3, 4] == sequences(outbox.take(10_000))
    assert [] == outbox.take(10_000)


def test_a_full_lane_drops_the_newest() -> None:
    """What waits stays, what comes is counted, and the other lane goes on."""
    outbox = PeerOutbox(messages_max=3)
    outbox.put([proposal(at) for at in range(5)])
    outbox.put([heartbeat(10)])

    assert (2, 4) == (outbox.dropped, outbox.waiting)
    assert [10, 0, 1, 2] == sequences(outbox.take(10_000))


def test_a_lane_is_bounded_in_bytes() -> None:
    """Entries beyond the bound are dropped; one that is longer by itself is not, when alone."""
    outbox = PeerOutbox(bytes_max=1000)
    outbox.put([append(1, 5000), append(2, 10), append(3, 5000)])
    assert [1] == sequences(outbox.take(10_000))
    outbox.put([append(4, 10), append(5, 5000), append(6, 10)])

    assert [4, 6] == sequences(outbox.take(10_000))
    assert outbox.dropped == 3


def test_a_piece_is_about_as_long_as_asked_for() -> None:
    """At least one message, and no more once the length is reached, control first."""
    outbox = PeerOutbox()
    outbox.put([append(1, 900), append(2, 900), append(3, 900), heartbeat(4)])

    assert [4] == sequences(outbox.take(1))
    assert [1, 2] == sequences(outbox.take(message_bytes(append(1, 900).message) + 1))
    assert [3] == sequences(outbox.take(1))


def test_what_is_cleared_is_counted() -> None:
    """Messages meant for a broken connection are gone, and room is there again."""
    outbox = PeerOutbox(messages_max=2)
    outbox.put([proposal(1), proposal(2), heartbeat(3)])
    outbox.clear()
    outbox.put([proposal(4), proposal(5)])

    assert outbox.dropped == 3
    assert [4, 5] == sequences(outbox.take(10_000))
