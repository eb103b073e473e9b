"""Tests of `trioetcd.replica.peering`: what others say is heard once, what is said is numbered."""

from __future__ import annotations

from tests.replica.living import A, B, C, Living, done, member, others
from tests.replica.states import FOLLOWER, LEADER, follower, source
from trioetcd.raft import AppendEntries, Group, Heartbeat, Propose, ReadIndex, ReadIndexReply
from trioetcd.replica import (
    Envelope,
    Received,
    SnapshotEnded,
    SnapshotOffered,
    SnapshotPiece,
    TransferRequested,
)
from trioetcd.schema import messages
from trioetcd.statemachine import COMMAND_FORMAT, HEAD, CommandKind
from trioetcd.storage.memory import MemoryBackend
from trioetcd.testing.synchronous import Synchronous
from trioetcd.values import Index, MemberID, Term

ANYBODY = MemberID(0)


def command(kind: CommandKind, request: bytes) -> bytes:
    return HEAD.pack(COMMAND_FORMAT, kind, 99, 1, 1) + request


PUT = command(CommandKind.PUT, messages.PutRequest(key=b"k").SerializeToString())


def test_every_message_of_a_boot_has_a_number_of_its_own() -> None:
    """Numbers only grow, whoever is spoken to and whatever is said, questions too."""
    living = Living([member(A), member(B), member(C)])
    said: list[Envelope] = []

    def note(envelope: Envelope) -> bool:
        said.append(envelope)
        return False

    living.loses = note
    leader = living.lead()
    for at in others(leader, A, B, C):
        living.ask_lease(at, 7, renew=True)
        done(living.put(at))
    for number in living.replicas:
        own = [each for each in said if each.sender == number]
        sequences = [each.sequence for each in own]
        assert list(range(1, len(own) + 1)) == sequences
        assert {(number, number)} == {(each.sender, each.message.sender) for each in own}
        assert len({each.boot for each in own}) == 1
        assert all(each.to == each.message.to != number for each in own)


def test_what_is_sent_twice_is_done_once() -> None:
    """A doubled envelope with commands or a read is dropped; equal commands of two are not."""
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    sender, third = others(leader, A, B, C)
    term = living.replicas[leader].term
    before = living.replicas[leader].store.revision
    for sequence in (1000, 1000, 1001, 1000):
        envelope = Envelope(sender, leader, 77, sequence, Propose(leader, sender, term, [PUT]))
        living.give(leader, Received([envelope]))
    wrong = Envelope(sender, third, 77, 2000, Propose(leader, sender, term, [PUT]))
    living.give(leader, Received([wrong]))
    living.settle()
    assert before + 2 == living.replicas[leader].store.revision
    answers: list[Envelope] = []

    def note(envelope: Envelope) -> bool:
        if isinstance(envelope.message, ReadIndexReply):
            answers.append(envelope)
        return False

    living.loses = note
    read = Envelope(sender, leader, 77, 1002, ReadIndex(leader, sender, term, 5))
    living.give(leader, Received([read, read]))
    living.settle()
    assert len(answers) == 1


def test_commands_of_any_term_are_taken() -> None:
    """They are requests only: an old term is no reason to drop them, a later one deposes first."""
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    sender = others(leader, A, B, C)[0]
    term = living.replicas[leader].term
    before = living.replicas[leader].store.revision
    for sequence, other in enumerate((term - 1, term, term + 1), 1000):
        message = Propose(leader, sender, Term(other), [PUT])
        living.give(leader, Received([Envelope(sender, leader, 77, sequence, message)]))
        living.settle()
        assert (living.replicas[leader].leader == 0) == (other > term)
    living.lead()
    living.pass_time(1.0)
    assert before + 3 == living.replicas[leader].store.revision


def test_a_leader_hands_over_to_who_is_connected_and_has_most() -> None:
    """Of those that are connected the one with most of the log; of all if none is."""
    living = Living([member(A), member(B), member(C)])
    for behind_is_connected in (False, True, None):
        living.cut = set()
        leader = living.lead()
        behind, ahead = others(leader, A, B, C)
        living.cut = {behind}
        done(living.put(leader))
        living.cut = set()
        connected = {None: {}, True: {behind}, False: {ahead, behind}}[behind_is_connected]
        living.give(leader, TransferRequested(ANYBODY, frozenset(connected)))
        living.pass_time(0.5)
        expected = behind if behind_is_connected else ahead
        assert {expected} == {each.leader for each in living.replicas.values()}


def test_nobody_to_hand_over_to_changes_nothing() -> None:
    """The only voter goes on."""
    living = Living([member(A), member(B, learner=True)])
    assert living.lead() == A
    living.give(A, TransferRequested(ANYBODY, frozenset({B})))
    living.settle()
    assert living.replicas[A].leader == A
    done(living.put(A))


def test_a_member_that_takes_over_a_state_is_deaf_meanwhile() -> None:
    """What it acknowledged then might be thrown away; afterwards it hears as before."""
    following = follower()
    meta, pieces = source()
    following.step(SnapshotOffered(LEADER, Term(5), meta))
    following.settle()
    following.step(*map(SnapshotPiece, pieces))
    following.settle()
    following.step(SnapshotEnded(ok=True))
    while not following.replica._peering.deaf:
        following.persist()
    heartbeat = Heartbeat(FOLLOWER, LEADER, Term(9), Index(0), 0)
    following.step(Received([Envelope(LEADER, FOLLOWER, 1, 1, heartbeat)]))
    assert following.replica.term == 5
    following.settle()
    following.step(Received([Envelope(LEADER, FOLLOWER, 1, 2, heartbeat)]))
    assert following.replica.term == 9


def hear(member: Synchronous, sequence: int, message: Heartbeat | AppendEntries) -> None:
    member.step(Received([Envelope(LEADER, FOLLOWER, 1, sequence, message)]))
    member.settle()


def test_a_member_is_ready_when_it_has_come_as_far_as_before() -> None:
    """Started again it serves nobody until its leader's log agrees with all that it once had."""
    first = follower()
    group = Group(Index(first.replica.applied_index + 1), Term(2), [b"", PUT])
    entries = AppendEntries(
        FOLLOWER, LEADER, Term(2), first.replica.applied_index, Term(1), Index(0), (group,)
    )
    hear(first, 1, entries)
    assert isinstance(first.backend, MemoryBackend)
    again = follower(first.backend)
    assert again.recovered.last == group.last
    hear(again, 1, Heartbeat(FOLLOWER, LEADER, Term(2), Index(0), 0))
    assert not again.replica.ready
    hear(again, 2, entries._replace(commit=group.last))
    assert again.replica.ready
    assert again.replica.applied_index == group.last


def test_a_quiet_leader_is_believed_after_an_election_timeout() -> None:
    """With nothing to be said about the log, its silence is its word."""
    following = follower()
    following.now = 10.0  # whatever time passed before the leader was heard of does not count
    for _ in range(10):
        hear(following, 1, Heartbeat(FOLLOWER, LEADER, Term(2), Index(0), 0))
        assert not following.replica.ready
        following.now += 0.1
    following.now += 0.1
    hear(following, 1, Heartbeat(FOLLOWER, LEADER, Term(2), Index(0), 0))
    assert following.replica.ready
