"""The claims of the Raft paper and dissertation, one test each, on several members in memory.

`Cluster` checks figure 3's properties after every step; here is what it does not see by itself.
"""

from __future__ import annotations

import pytest

from tests.raft.cluster import Cluster, encode_change, ids
from tests.raft.member import ME, THREE, B, C, ack, append, group, lead, leader, make, only, persist
from trioetcd.raft import (
    AddLearner,
    AddVoter,
    AppendEntries,
    ConfState,
    Group,
    HardState,
    Heartbeat,
    Remove,
    RequestVote,
    RequestVoteReply,
    Role,
)
from trioetcd.values import Index, MemberID, Term


def wants(term: int, sender: MemberID, index: int, last_term: int) -> RequestVote:
    """Ask for a vote."""
    return RequestVote(ME, sender, Term(term), Index(index), Term(last_term), transfer=False)


def test_5_1_a_later_term_makes_a_follower() -> None:
    """Section 5.1: a candidate or leader that sees a later term reverts to follower."""
    for raft in (leader(), make(voters=THREE)):
        if raft.role != Role.LEADER:
            raft.campaign(transfer=True)
        raft.step(Heartbeat(ME, B, Term(9), Index(0), 0))
        assert (raft.role, raft.term, raft.vote, raft.leader) == (Role.FOLLOWER, 9, 0, B)


def test_5_1_an_earlier_term_is_not_heard() -> None:
    """Section 5.1: a server that gets a request with a stale term rejects it."""
    raft = make(voters=THREE, hard_state=HardState(Term(5), MemberID(0), Index(0)))
    raft.step(append(4, 0, 0, group(1, 4, b"x")))
    assert (raft.log.last, raft.leader) == (0, 0)
    assert only(raft).term == 5


def test_5_2_one_vote_per_term() -> None:
    """Section 5.2: first come, first served, and the same candidate may ask again."""
    raft = make(voters=THREE)
    for sender, granted in ((B, True), (C, False), (B, True)):
        raft.step(wants(1, sender, 0, 0))
        persist(raft)
        assert only(raft) == RequestVoteReply(sender, ME, Term(1), granted)


def test_5_2_voting_resets_the_timer() -> None:
    """Section 5.2: who grants a vote waits before it campaigns itself."""
    raft = make(voters=THREE)
    raft.elapsed = 8
    raft.step(wants(1, B, 0, 0))
    assert raft.elapsed == 0


def test_5_2_a_leader_sends_heartbeats() -> None:
    """Section 5.2: periodically, to everybody."""
    raft = leader()
    raft.tick()
    beats = [message for message in raft.take_messages() if isinstance(message, Heartbeat)]
    assert [B, C] == [message.to for message in beats]


def test_5_2_a_split_vote_ends() -> None:
    """Section 5.2: randomized timeouts make a leader before long."""
    cluster = Cluster(2, seed=5)
    for number in (1, 2):
        cluster[number].raft.campaign(transfer=True)
    cluster.settle()
    assert {1} == {node.raft.term for node in cluster.up()}
    assert Role.LEADER not in {node.raft.role for node in cluster.up()}
    cluster.tick(60)
    assert cluster.leader().raft.term > 1


def test_5_3_replicated_entries_are_applied_everywhere() -> None:
    """Section 5.3: once committed, each server applies the entry, in log order."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(1, b"a", b"b")
    cluster.propose(2, b"c")
    for node in cluster.up():
        assert node.state == (b"", b"a", b"b", b"c")


def test_5_3_figure_7_logs_are_made_equal() -> None:
    """Figure 7: followers that lack entries, have extra ones, or both, end up like the leader."""
    runs = {
        "a": [(1, 1, 3), (4, 4, 2), (6, 5, 2), (8, 6, 2)],
        "b": [(1, 1, 3), (4, 4, 1)],
        "c": [(1, 1, 3), (4, 4, 2), (6, 5, 2), (8, 6, 4)],
        "d": [(1, 1, 3), (4, 4, 2), (6, 5, 2), (8, 6, 3), (11, 7, 2)],
        "e": [(1, 1, 3), (4, 4, 4)],
        "f": [(1, 1, 3), (4, 2, 3), (7, 3, 5)],
    }
    mine = [(1, 1, 3), (4, 4, 2), (6, 5, 2), (8, 6, 3)]

    def build(log: list[tuple[int, int, int]]) -> tuple[Group, ...]:
        return tuple(
            group(first, term, *(b"%d/%d" % (term, first + at) for at in range(count)))
            for first, term, count in log
        )

    for name, log in runs.items():
        head = lead(
            make(
                voters=(ME, B),
                groups=build(mine),
                hard_state=HardState(Term(7), MemberID(0), Index(0)),
            )
        )
        other = make(
            voters=(ME, B),
            groups=build(log),
            hard_state=HardState(Term(7), MemberID(0), Index(0)),
        )
        head.report_unreachable(B)
        head.progress[B].paused = False
        head.progress[B].due = True
        for _ in range(8):
            for message in head.take_messages():
                other.step(message._replace(to=ME, sender=B))
            persist(other)
            for message in other.take_messages():
                head.step(message._replace(to=ME, sender=B))
        assert (other.log.last, other.log.last_term) == (11, 8), name
        assert other.log.slice(Index(1), 1 << 20)[0].datas[0] == b"1/1"
        assert [head.log.term(i) for i in range(12)] == [other.log.term(i) for i in range(12)]


def test_5_4_1_votes_go_to_logs_that_are_as_complete() -> None:
    """Section 5.4.1: the later last term wins, with equal terms the longer log."""
    for index, term, granted in ((2, 3, True), (1, 4, True), (9, 2, False), (1, 3, False)):
        raft = make(
            voters=THREE,
            groups=(group(1, 1, b"a"), group(2, 3, b"b")),
            hard_state=HardState(Term(4), MemberID(0), Index(0)),
        )
        raft.step(wants(5, B, index, term))
        persist(raft)
        assert only(raft) == RequestVoteReply(B, ME, Term(5), granted)


def test_5_4_2_figure_8() -> None:
    """Figure 8: an entry of an older term on a majority is not committed by counting it."""
    raft = lead(
        make(
            voters=THREE,
            groups=(group(1, 1, b"a"), group(2, 2, b"b")),
            hard_state=HardState(Term(3), MemberID(0), Index(1)),
        )
    )
    raft.step(ack(B, 4, 2))
    assert raft.log.commit == 1
    raft.step(ack(B, 4, 3))
    assert raft.log.commit == 3


def test_5_4_3_a_committed_entry_outlives_its_leader() -> None:
    """Section 5.4.3: whoever is elected next holds it."""
    cluster = Cluster(5)
    cluster.elect(1)
    cluster.separate(4, 5)
    cluster.propose(1, b"kept")
    cluster.heal()
    cluster[1].crash()
    cluster.tick(60)
    assert cluster.leader().id in {2, 3}
    assert all(b"kept" in node.state for node in cluster.up())


def test_5_5_a_crashed_follower_catches_up() -> None:
    """Section 5.5: requests are repeated until it answers, and doing so twice does no harm."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster[3].crash()
    cluster.propose(1, b"a")
    cluster.propose(1, b"b")
    cluster[3].start()
    cluster.tick(2)
    assert cluster[3].state == (b"", b"a", b"b")


def test_6_members_come_and_go() -> None:
    """Section 6, dissertation 4: a learner catches up, votes, leads; the old leader leaves."""
    cluster = Cluster(1)
    cluster.elect(1)
    cluster.propose(1, b"a")
    for number in (2, 3):
        cluster.add(number)
        cluster.propose(1, encode_change(AddLearner(MemberID(number))))
        cluster.tick(2)
        cluster.propose(1, encode_change(AddVoter(MemberID(number))))
    assert cluster[3].conf == ConfState(ids(1, 2, 3))
    cluster[1].raft.transfer(MemberID(2))
    cluster.settle()
    assert cluster.leader().id == 2
    cluster.propose(2, encode_change(Remove(MemberID(1))))
    cluster.propose(2, b"b")
    cluster.tick(60)
    assert cluster.leader().conf == ConfState(ids(2, 3))
    assert cluster[3].state == cluster[2].state
    assert cluster[1].raft.role != Role.LEADER


def test_6_new_members_do_not_hold_up_commits() -> None:
    """Section 6: they join as members that do not vote until they have caught up."""
    cluster = Cluster(1)
    cluster.elect(1)
    cluster.propose(1, encode_change(AddLearner(MemberID(2))))
    cluster.propose(1, b"a")
    assert cluster[1].state[-1] == b"a"


def test_6_a_removed_leader_manages_a_cluster_that_is_not_its() -> None:
    """Section 6: it steps down once its removal is committed, and another one is elected."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(1, encode_change(Remove(MemberID(1))))
    assert cluster[1].raft.role == Role.FOLLOWER
    cluster.tick(60)
    assert cluster.leader().id in {2, 3}
    assert cluster.leader().conf == ConfState(ids(2, 3))


def test_6_removed_servers_do_not_disturb() -> None:
    """Section 6: votes are ignored while a current leader exists."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster[3].raft.config = cluster[3].raft.config.__class__(MemberID(3), pre_vote=False)
    cluster.separate(3)
    cluster.propose(1, encode_change(Remove(MemberID(3))))
    cluster.tick(30, [1, 2])
    for _ in range(3):
        cluster[3].raft.campaign()
        cluster.settle()
    cluster.heal()
    cluster.tick(60)
    assert cluster.leader().id == 1
    assert cluster[3].raft.term > cluster[1].raft.term == 1


def test_7_a_member_far_behind_gets_a_snapshot() -> None:
    """Section 7: when the next entry is discarded already, the state is sent instead."""
    cluster = Cluster(3, keep=0)
    cluster.elect(1)
    cluster.separate(3)
    for number in range(20):
        cluster.propose(1, b"%d" % number)
    assert cluster[1].log.first > 15
    cluster.heal()
    cluster.tick(5)
    assert cluster[3].state == cluster[1].state
    assert cluster[3].log.first > 15
    cluster.propose(1, b"after")
    assert cluster[3].state[-1] == b"after"


def test_7_a_snapshot_is_restored_without_a_leader() -> None:
    """Section 7: if the leader was lost nobody is told; an impossible term is a mistake."""
    raft = make(voters=THREE)
    assert raft.offered_snapshot(B, Term(3), Index(9), Term(2))
    raft.resign()
    with pytest.raises(AssertionError):
        raft.restore(Index(9), Term(4), ConfState(THREE))
    assert raft.restore(Index(9), Term(2), ConfState(THREE))
    persist(raft)
    assert raft.take_messages() == []


def test_8_a_leader_begins_with_an_empty_entry() -> None:
    """Section 8: and learns by it what is committed."""
    raft = leader()
    assert (raft.term_start, raft.log.term(1)) == (1, 1)
    raft.step(ack(B, 1, 1))
    assert raft.committed() == [b""]


def test_8_reads_are_linearizable_on_every_member() -> None:
    """Section 8, dissertation 6.4: a read sees what was committed before it was asked for."""
    cluster = Cluster(3)
    cluster.elect(1)
    for number in (1, 2, 3):
        cluster.propose(number, b"%d" % number)
        context = cluster[number].read()
        cluster.settle()
        assert [(context, cluster[1].log.commit)] == cluster[number].reads


def test_dissertation_3_10_leadership_is_transferred() -> None:
    """Dissertation 3.10: without a pause of an election timeout, and to who was chosen."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(1, b"a")
    cluster[1].raft.transfer(MemberID(3))
    cluster.settle()
    assert (cluster.leader().id, cluster.leader().raft.term) == (3, 2)


def test_dissertation_6_2_a_leader_that_is_cut_off_steps_down() -> None:
    """Dissertation 6.2: within an election timeout, so that clients go elsewhere."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.separate(1)
    cluster.tick(20)
    assert (cluster[1].raft.role == Role.LEADER, cluster[1].raft.leader) == (False, 0)
    assert cluster.leader().id != 1


@pytest.mark.parametrize("seed", range(5))
def test_who_alone_reaches_a_majority_comes_to_lead(seed: int) -> None:
    """Two of five are down and two do not reach each other: the one in the middle is elected."""
    cluster = Cluster(5, seed=seed)
    cluster.elect(5)
    cluster.propose(5, b"a")
    cluster.tick(2)
    for number in (4, 5):
        cluster[number].down = True
    cluster.cut_off = {(MemberID(2), MemberID(3)), (MemberID(3), MemberID(2))}
    cluster.tick(200)
    assert cluster.leader().id == MemberID(1)
    assert cluster.propose(1, b"b")


def test_dissertation_9_6_who_was_cut_off_does_not_disturb() -> None:
    """Dissertation 9.6: with PreVote a member comes back in the term it left with."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.separate(3)
    cluster.tick(100)
    assert cluster[3].raft.term == 1
    cluster.heal()
    cluster.tick(3)
    assert (cluster.leader().id, cluster.leader().raft.term) == (1, 1)
    assert cluster[3].raft.leader == 1


def test_10_2_1_the_leader_writes_to_its_disk_in_parallel() -> None:
    """Dissertation 10.2.1: followers get entries before the leader's own batch is durable."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.take_messages()
    raft.propose([b"a"])
    message = only(raft)
    assert isinstance(message, AppendEntries)
    assert message.groups == (group(2, 1, b"a"),)
    raft.step(ack(B, 1, 2))
    raft.step(ack(C, 1, 2))
    assert raft.log.commit == 2, "a majority holds it"
    assert raft.committed() == [b""], "and it is not durable here"
