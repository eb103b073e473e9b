"""How a leader's log gets to others, and what a follower makes of it."""

from __future__ import annotations

import pytest

from tests.raft.member import (
    ME,
    THREE,
    B,
    C,
    ack,
    append,
    applied_all,
    group,
    lead,
    leader,
    make,
    only,
    persist,
    refusal,
    sent,
)
from trioetcd.raft import (
    PROBE,
    REPLICATE,
    SNAPSHOT,
    AppendEntries,
    AppendEntriesReply,
    ConfState,
    Group,
    HardState,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshotReply,
    Message,
    RaftConfig,
    Role,
    TimeoutNow,
)
from trioetcd.values import Index, MemberID, Term


def beat(sender: MemberID, term: int = 1, number: int = 0) -> HeartbeatReply:
    """Answer a heartbeat."""
    return HeartbeatReply(ME, sender, Term(term), number)


def indexes(message: Message) -> list[int]:
    """Give the indexes of the entries in an AppendEntries."""
    assert isinstance(message, AppendEntries)
    return [g.first + at for g in message.groups for at in range(len(g.datas))]


# -- the leader ------------------------------------------------------------------------------


def test_one_message_takes_all_that_is_new() -> None:
    """Proposals of one turn go to each member together, in the group that goes to the disk."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.take_messages()
    raft.propose([b"a"])
    raft.propose([b"b", b"c"])
    (message,) = sent(raft, B)
    assert isinstance(message, AppendEntries)
    assert (message.prev_index, message.prev_term, indexes(message)) == (1, 1, [2, 3, 4])
    assert message.groups[0].encoded is raft.ready().groups[0].encoded
    assert raft.take_messages() == []


def test_probing_waits_for_the_answer() -> None:
    """To a member whose log is unknown one message at a time is under way."""
    raft = leader()
    raft.propose([b"a"])
    assert raft.take_messages() == []
    raft.step(beat(B))
    assert [1, 2] == indexes(only(raft))


def test_replicating_does_not_wait() -> None:
    """Messages are pipelined, up to a bounded number that is not acknowledged."""
    raft = lead(make(voters=THREE, config=RaftConfig(ME, inflight_max=2)))
    raft.step(ack(B, 1, 1))
    raft.take_messages()
    for data in (b"a", b"b", b"c"):
        raft.propose([data])
        raft.take_messages()
    progress = raft.progress[B]
    assert (progress.state, list(progress.inflight), progress.next) == (REPLICATE, [2, 3], 4)
    raft.step(ack(B, 1, 2))
    assert [[4]] == [indexes(message) for message in sent(raft, B) if indexes(message)]


def test_messages_are_bounded() -> None:
    """A message holds so many bytes, one entry at least; what is left follows."""
    raft = lead(make(voters=THREE, config=RaftConfig(ME, append_bytes_max=4)))
    raft.step(ack(B, 1, 1))
    raft.take_messages()
    raft.propose([b"aa", b"bb", b"ccccccc", b"d"])
    got = []
    while messages := sent(raft, B):
        got += [indexes(message) for message in messages]
    assert [[2, 3], [4], [5]] == got


def test_what_is_in_no_batch_leaves_with_the_next_one() -> None:
    """While a batch is in flight the leader gathers, for its followers as for its own disk."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.take_messages()
    raft.propose([b"a"])
    raft.persist(raft.ready())
    assert [2] == indexes(only(raft))
    raft.propose([b"b"])
    raft.propose([b"c"])
    assert raft.take_messages() == []
    raft.persisted()
    raft.persist(raft.ready())
    assert [3, 4] == indexes(only(raft))


def test_followers_hear_what_is_committed() -> None:
    """Without new entries an empty message says how far the leader has committed, once."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    (message,) = sent(raft, B)
    assert isinstance(message, AppendEntries)
    assert (message.commit, message.groups) == (1, ())
    assert raft.take_messages() == []


def test_old_news_brings_nothing_about() -> None:
    """The last acknowledgement of what is committed may wait: it moves and sends nothing."""
    raft = leader()
    for index in (1, 2):
        for peer in (B, C):
            raft.step(ack(peer, 1, index))
            raft.take_messages()
        if index == 1:
            raft.propose([b"a"])
            raft.take_messages()
            persist(raft)
    raft.propose([b"b"])
    raft.take_messages()
    persist(raft)
    assert not raft.is_old_news(ack(B, 1, 3)), "it commits"
    raft.step(ack(B, 1, 3))
    raft.take_messages()
    late = ack(C, 1, 3)
    assert raft.is_old_news(late)
    before = (raft.log.commit, raft.term, raft.role)
    raft.step(late)

    assert (raft.take_messages(), raft.take_snapshots()) == ([], [])
    assert before == (raft.log.commit, raft.term, raft.role)


def test_news_does_not_wait() -> None:
    """Whatever may commit, send, answer or depose is no old news, nor is it to a follower."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.take_messages()
    assert not raft.is_old_news(ack(C, 1, 1)), "it ends the probing of C, which lacks nothing yet"
    raft.step(ack(C, 1, 1))
    raft.take_messages()
    assert raft.is_old_news(ack(C, 1, 1))
    for news in (
        ack(C, 2, 1),
        ack(MemberID(99), 1, 1),
        refusal(C, 1, 1, 0, 0),
        beat(C),
        append(1, 1, 1, sender=C),
    ):
        assert not raft.is_old_news(news)
    raft.propose([b"a"])
    assert not raft.is_old_news(ack(C, 1, 1)), "there is something to send to C"
    raft.take_messages()
    assert raft.is_old_news(ack(C, 1, 1))
    raft.transfer(C)
    assert not raft.is_old_news(ack(C, 1, 1)), "C is to lead as soon as its log is whole"
    raft.follow(Term(2), B)
    assert not raft.is_old_news(ack(C, 2, 1))


def test_a_refusal_goes_back_by_the_hint() -> None:
    """Section 5.3: one round per term in conflict, not one per entry."""
    groups = (group(1, 1, b"a", b"b", b"c"), group(4, 4, b"d", b"e"))
    hard = HardState(Term(6), MemberID(0), Index(0))
    raft = lead(make(voters=THREE, groups=groups, hard_state=hard))
    assert raft.progress[B].next == 6
    raft.step(refusal(B, 7, 5, 5, 3))
    assert [4, 5, 6] == indexes(only(raft)), "nothing of term 4 can be there"
    raft.step(refusal(B, 7, 3, 1, 1))
    assert [2, 3, 4, 5, 6] == indexes(only(raft))
    raft.step(refusal(B, 7, 3, 0, 0))
    assert raft.take_messages() == [], "an old refusal says nothing new"


def test_a_refusal_while_replicating_probes_again() -> None:
    """Something was lost: back to what is known."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.propose([b"a"])
    raft.take_messages()
    raft.step(refusal(B, 1, 1, 0, 0))
    assert raft.progress[B].state == REPLICATE, "known to agree there: a straggler"
    raft.step(refusal(B, 1, 2, 1, 1))
    assert (raft.progress[B].state, raft.progress[B].next) == (PROBE, 2)


def test_a_lost_message_is_noticed_by_the_heartbeat() -> None:
    """A member that lags hears from the log again when it answers."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.propose([b"a"])
    raft.take_messages()
    raft.step(beat(B))
    (message,) = sent(raft, B)
    assert isinstance(message, AppendEntries)
    assert (message.prev_index, message.groups) == (2, ())
    raft.step(refusal(B, 1, 2, 1, 1))
    assert [2] == indexes(only(raft))
    raft.step(ack(B, 1, 2))
    raft.take_messages()
    raft.step(beat(B))
    assert sent(raft, B) == [], "up to date"


def test_heartbeats_never_promise_what_was_not_acknowledged() -> None:
    """The commit index in a heartbeat is at most what the member is known to hold."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.take_messages()
    raft.tick()
    expected = {
        B: Heartbeat(B, ME, Term(1), Index(1), 0),
        C: Heartbeat(C, ME, Term(1), Index(0), 0),
    }
    beats = [message for message in raft.take_messages() if isinstance(message, Heartbeat)]
    assert expected == {message.to: message for message in beats}


def test_a_member_too_far_behind_gets_a_snapshot() -> None:
    """Section 7: what the log does not hold any more is not sent entry by entry."""
    groups = (group(5, 1, b"e", b"f"),)
    hard = HardState(Term(1), MemberID(0), Index(6))
    raft = lead(make(voters=THREE, groups=groups, hard_state=hard, applied=6))
    raft.step(refusal(B, 2, 6, 2, 1))
    assert raft.take_messages() == []
    assert [B] == raft.take_snapshots()
    assert raft.take_snapshots() == []
    assert raft.progress[B].state == SNAPSHOT
    raft.propose([b"g"])
    raft.step(beat(B, 2))
    assert raft.take_messages() == [], "nothing but heartbeats meanwhile"
    raft.step(InstallSnapshotReply(ME, B, Term(2), Index(3), rejected=False))
    assert raft.progress[B].state == SNAPSHOT, "that one is too old to go on from"
    raft.step(InstallSnapshotReply(ME, B, Term(2), Index(6), rejected=False))
    assert (raft.progress[B].state, raft.match[B]) == (REPLICATE, 6)
    assert [7, 8] == indexes(only(raft))


@pytest.mark.parametrize(("ok", "following"), [(True, 7), (False, 1)])
def test_a_snapshot_that_ended_is_probed_after_a_heartbeat(*, ok: bool, following: int) -> None:
    """Reports alone change nothing that was said; the member's own answer decides."""
    groups = (group(5, 1, b"e", b"f"),)
    hard = HardState(Term(1), MemberID(0), Index(6))
    raft = lead(make(voters=THREE, groups=groups, hard_state=hard, applied=6))
    raft.step(refusal(B, 2, 6, 2, 1))
    raft.take_messages()
    assert [B] == raft.take_snapshots()
    raft.report_snapshot(B, ok=ok)
    raft.report_snapshot(B, ok=ok)
    raft.report_snapshot(MemberID(99), ok=ok)
    assert (raft.progress[B].state, raft.progress[B].next) == (PROBE, following)
    assert raft.take_messages() == []
    raft.step(beat(B, 2))
    messages = raft.take_messages()
    assert ([[7]] if ok else []) == [indexes(message) for message in messages]
    assert ([] if ok else [B]) == raft.take_snapshots()


def test_a_refused_snapshot_is_not_sent_again_at_once() -> None:
    """It waits for a sign of life."""
    groups = (group(5, 1, b"e", b"f"),)
    hard = HardState(Term(1), MemberID(0), Index(6))
    raft = lead(make(voters=THREE, groups=groups, hard_state=hard, applied=6))
    raft.step(refusal(B, 2, 6, 2, 1))
    raft.take_messages()
    no = InstallSnapshotReply(ME, B, Term(2), Index(0), rejected=True)
    raft.step(no)
    raft.step(no)
    assert (raft.progress[B].state, raft.progress[B].paused) == (PROBE, True)


def test_a_member_that_is_not_there_gets_no_snapshot() -> None:
    """Somebody must have heard from it since the leader last looked."""
    groups = (group(5, 1, b"e", b"f"),)
    hard = HardState(Term(1), MemberID(0), Index(6))
    raft = lead(make(voters=THREE, groups=groups, hard_state=hard, applied=6))
    raft.step(refusal(B, 2, 6, 2, 1))
    raft.progress[B].active = False
    assert (raft.take_messages(), raft.take_snapshots()) == ([], [])
    assert raft.progress[B].state == PROBE


def test_a_broken_link_probes_again() -> None:
    """What was under way may be lost."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.propose([b"a"])
    raft.take_messages()
    for peer in (B, C, MemberID(99)):
        raft.report_unreachable(peer)
    assert (raft.progress[B].state, raft.progress[B].next) == (PROBE, 2)
    assert [2] == indexes(only(raft))
    raft.step(ack(B, 1, 1))
    assert (raft.progress[B].state, raft.progress[B].next) == (REPLICATE, 2), "it agrees up to 1"


def test_a_leader_without_a_majority_steps_down() -> None:
    """Dissertation 6.2: once per election timeout somebody must have answered."""
    raft = leader()
    for _ in range(10):
        raft.step(beat(B))
        raft.tick()
    assert raft.role == Role.LEADER
    for _ in range(10):
        raft.tick()
    assert (raft.role, raft.leader, raft.term) == (Role.FOLLOWER, 0, 1)


def test_garbage_moves_nothing() -> None:
    """Absurd indexes, strangers and stragglers are ignored by a leader."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.take_messages()
    far = 1 << 70
    stranger = MemberID(99)
    garbage: list[Message] = [
        ack(B, 1, far),
        ack(B, 1, -far),
        ack(B, 0, 1),
        ack(stranger, 1, 1),
        refusal(B, 1, far, far, far),
        refusal(B, 1, -5, -5, -5),
        refusal(C, 1, 0, far, far),
        refusal(C, 1, 0, -far, -far),
        refusal(stranger, 1, 0, 0, 0),
        HeartbeatReply(ME, B, Term(1), far),
        HeartbeatReply(ME, stranger, Term(1), 0),
        HeartbeatReply(ME, B, Term(1), -far),
        InstallSnapshotReply(ME, B, Term(1), Index(far), rejected=False),
        InstallSnapshotReply(ME, stranger, Term(1), Index(1), rejected=False),
        InstallSnapshotReply(ME, B, Term(1), Index(1), rejected=True),
        append(1, 0, 0, group(1, 1, b"x")),
        Heartbeat(ME, B, Term(1), Index(1), 0),
        TimeoutNow(ME, B, Term(1)),
        ack(B, 1 << 64, 1),
        ack(MemberID(0), 1, 1),
        ack(ME, 1, 1),
        ack(B, 1, 1)._replace(to=C),
    ]
    for message in garbage:
        raft.step(message)
        raft.take_messages()
        assert (raft.role, raft.term, raft.match[B], raft.match[C]) == (Role.LEADER, 1, 1, 0)
    raft.resign()
    for message in (ack(B, 1, 1), refusal(B, 1, 1, 1, 1), beat(B)):
        raft.step(message)
    raft.step(InstallSnapshotReply(ME, B, Term(1), Index(1), rejected=False))
    assert raft.take_messages() == []


# -- the follower ----------------------------------------------------------------------------


def test_an_acknowledgement_waits_for_the_disk() -> None:
    """Entries are acknowledged when they are durable, as far as they are (etcd 14370)."""
    raft = make(voters=THREE)
    raft.step(append(1, 0, 0, group(1, 1, b"a")))
    ready = raft.ready()
    raft.persist(ready)
    raft.step(append(1, 1, 1, group(2, 1, b"b")))
    assert raft.take_messages() == []
    raft.persisted()
    assert only(raft) == AppendEntriesReply(B, ME, Term(1), Index(1), False, Index(0), Term(0))
    persist(raft)
    assert only(raft) == AppendEntriesReply(B, ME, Term(1), Index(2), False, Index(0), Term(0))
    raft.step(append(1, 0, 0, group(1, 1, b"a")))
    assert only(raft) == AppendEntriesReply(B, ME, Term(1), Index(2), False, Index(0), Term(0))


def test_news_of_a_commit_is_no_question() -> None:
    """Who has acknowledged all stays silent when the commit index rises, and answers otherwise."""
    raft = make(voters=THREE)
    raft.step(append(1, 0, 0, group(1, 1, b"a", b"b")))
    raft.step(append(1, 2, 1, commit=2))
    assert raft.log.commit == 2
    persist(raft)
    told = AppendEntriesReply(B, ME, Term(1), Index(2), False, Index(0), Term(0))
    assert only(raft) == told, "it had acknowledged nothing yet"
    raft.step(append(1, 2, 1, group(3, 1, b"c")))
    persist(raft)
    raft.take_messages()
    raft.step(append(1, 3, 1, commit=3))
    assert raft.log.commit == 3
    assert raft.take_messages() == []
    raft.step(append(1, 3, 1, commit=3))
    assert only(raft) == told._replace(index=Index(3)), "without news it was a question"


def test_groups_are_stored_as_they_came() -> None:
    """A group taken whole keeps its bytes; of one that overlaps, the new part is stored."""
    raft = make(voters=THREE)
    one, two = group(1, 1, b"a"), group(2, 1, b"b", b"c")
    raft.step(append(1, 0, 0, one, two))
    assert all(a is b for a, b in zip((one, two), raft.ready().groups, strict=True))
    persist(raft)
    raft.step(append(1, 1, 1, group(2, 1, b"b", b"c", b"d")))
    assert [group(4, 1, b"d")] == raft.ready().groups


def test_a_gap_is_refused_with_a_hint() -> None:
    """Section 5.3: the consistency check fails, and the answer says how far to go back."""
    raft = make(voters=THREE)
    raft.step(append(5, 0, 0, group(1, 1, b"a", b"b"), group(3, 3, b"c")))
    persist(raft)
    raft.take_messages()
    raft.step(append(5, 9, 4))
    assert only(raft) == AppendEntriesReply(B, ME, Term(5), Index(9), True, Index(3), Term(3))
    raft.step(append(5, 3, 2))
    assert only(raft) == AppendEntriesReply(B, ME, Term(5), Index(3), True, Index(2), Term(1))


def test_what_is_committed_is_not_looked_at() -> None:
    """Entries below the commit index are the leader's too; what lies above is taken."""
    raft = make(voters=THREE)
    raft.step(append(1, 0, 0, group(1, 1, b"a", b"b"), commit=2))
    persist(raft)
    raft.take_messages()
    applied_all(raft)
    raft.log.compact(Index(3))
    raft.step(append(1, 0, 0, group(1, 1, b"a")))
    assert only(raft) == AppendEntriesReply(B, ME, Term(1), Index(2), False, Index(0), Term(0))
    raft.step(append(1, 0, 0, group(1, 1, b"a", b"b", b"c"), commit=3))
    assert [group(3, 1, b"c")] == raft.ready().groups
    assert raft.log.commit == 3


def test_commit_follows_what_was_sent() -> None:
    """Figure 2: the commit index is at most the last new entry."""
    raft = make(voters=THREE)
    raft.step(append(1, 0, 0, group(1, 1, b"a"), commit=5))
    assert raft.log.commit == 1
    raft.step(Heartbeat(ME, B, Term(1), Index(9), 0))
    assert raft.log.commit == 1


GARBAGE: list[tuple[int, int, tuple[Group, ...]]] = [
    (2, 1, (group(4, 1, b"x"),)),
    (2, 1, (group(3, 0, b"x"),)),
    (2, 1, (group(3, 9, b"x"),)),
    (2, 1, (group(3, 1),)),
    (2, 1, (group(3, 1, b"x"), group(5, 1, b"x"))),
    (2, 1, (group(3, 2, b"x"), group(4, 1, b"x"))),
    (1, 1, (group(2, 2, b"x"),)),
    (0, 0, (group(1, 0, b"x", b"x", b"x"),)),
    (-7, 0, (group(-6, 0, b"x"),)),
    (1 << 70, 1, (group((1 << 70) + 1, 1, b"x"),)),
]


@pytest.mark.parametrize(("prev", "prev_term", "groups"), GARBAGE)
def test_garbage_is_not_taken(prev: int, prev_term: int, groups: tuple[Group, ...]) -> None:
    """Gaps, empty groups, terms that go back and conflicts with what is committed: ignored."""
    raft = make(voters=THREE)
    raft.step(append(2, 0, 0, group(1, 1, b"a", b"b"), commit=2))
    persist(raft)
    raft.step(append(2, prev, prev_term, *groups, commit=1 << 70))
    assert (raft.log.last, raft.log.commit, raft.ready().groups) == (2, 2, [])


def test_one_leader_is_enough() -> None:
    """Another leader in the same term cannot be, so it is not heard."""
    raft = make(voters=THREE)
    raft.step(Heartbeat(ME, B, Term(1), Index(0), 0))
    raft.elapsed = 5
    raft.step(Heartbeat(ME, C, Term(1), Index(0), 0))
    raft.step(append(1, 0, 0, group(1, 1, b"a"), sender=C))
    assert (raft.leader, raft.elapsed, raft.log.last) == (B, 5, 0)


# -- snapshots -------------------------------------------------------------------------------


def test_a_snapshot_that_is_of_use_is_taken() -> None:
    """Section 7: offered, installed by the owner, and then the leader is told."""
    raft = make(voters=THREE)
    raft.elapsed = 5
    assert raft.offered_snapshot(B, Term(3), Index(9), Term(2))
    assert (raft.term, raft.leader, raft.elapsed) == (3, B, 0)
    conf = ConfState((ME, B))
    assert raft.restore(Index(9), Term(2), conf)
    assert (raft.log.first, raft.log.applied, raft.conf_state) == (10, 9, conf)
    assert raft.take_messages() == [], "the term is not durable yet"
    persist(raft)
    assert only(raft) == InstallSnapshotReply(B, ME, Term(3), Index(9), rejected=False)
    assert not raft.offered_snapshot(B, Term(3), Index(9), Term(2))
    assert only(raft) == InstallSnapshotReply(B, ME, Term(3), Index(9), rejected=False)
    assert not raft.restore(Index(9), Term(2), conf)


def test_a_snapshot_never_discards_what_the_log_holds() -> None:
    """Figure 13: a log that holds the snapshot's last entry keeps what follows it."""
    raft = make(voters=THREE)
    raft.step(append(1, 0, 0, group(1, 1, b"a", b"b", b"c")))
    persist(raft)
    raft.take_messages()
    assert not raft.offered_snapshot(B, Term(1), Index(2), Term(1))
    assert (raft.log.last, raft.log.commit) == (3, 2)
    assert only(raft) == InstallSnapshotReply(B, ME, Term(1), Index(2), rejected=False)


def test_no_snapshot_from_an_old_leader() -> None:
    """Its sender learns of the later term; nonsense is refused without a word."""
    raft = make(voters=THREE)
    raft.step(Heartbeat(ME, B, Term(3), Index(0), 0))
    persist(raft)
    raft.take_messages()
    assert not raft.offered_snapshot(C, Term(2), Index(9), Term(2))
    assert (only(raft).to, raft.leader) == (C, B)
    for sender, term, index_term in ((C, 3, 2), (B, 3, 4), (B, 0, 0), (B, 1 << 64, 1), (ME, 3, 1)):
        assert not raft.offered_snapshot(sender, Term(term), Index(9), Term(index_term))
        assert raft.take_messages() == []


def test_a_leader_needs_no_snapshot() -> None:
    """What a leader has not committed it has in its log all the same."""
    raft = leader()
    assert not raft.restore(Index(9), Term(1), ConfState(THREE))


def test_a_hint_below_the_log_needs_a_snapshot() -> None:
    """What a follower may agree on lies before what is kept: that is where its next entry is."""
    groups = (group(5, 1, b"e", b"f"),)
    hard = HardState(Term(1), MemberID(0), Index(6))
    raft = lead(make(voters=THREE, groups=groups, hard_state=hard, applied=6))
    raft.step(refusal(B, 2, 6, 2, 1))
    assert raft.progress[B].next == 3


def test_what_is_left_of_an_old_leader_is_not_committed() -> None:
    """Figure 2: entries behind the last one the leader sent may be others than its own."""
    raft = make(voters=THREE)
    raft.step(append(1, 0, 0, group(1, 1, b"a", b"old", b"old")))
    persist(raft)
    raft.step(append(2, 1, 1, commit=3, sender=C))
    assert (raft.log.last, raft.log.commit) == (3, 1)


def test_a_full_window_is_told_once_what_is_committed() -> None:
    """To a member that is slow no empty message goes turn after turn."""
    raft = lead(make(voters=THREE, config=RaftConfig(ME, inflight_max=1)))
    for peer in (B, C):
        raft.step(ack(peer, 1, 1))
    raft.take_messages()
    raft.propose([b"a"])
    raft.take_messages()
    raft.propose([b"b"])
    persist(raft)
    raft.step(ack(C, 1, 2))
    raft.take_messages()
    raft.step(ack(C, 1, 3))
    assert raft.log.commit == 3
    assert [B, C] != [message.to for message in raft.take_messages()]
    assert sent(raft, B) == []
