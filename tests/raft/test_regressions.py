"""What implementations of Raft got wrong before: the first line of each test names the mistake."""

from __future__ import annotations

from tests.raft.cluster import Cluster, encode_change
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
)
from trioetcd.raft import (
    AddVoter,
    ConfState,
    HardState,
    Heartbeat,
    HeartbeatReply,
    RaftConfig,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
    Role,
    TimeoutNow,
)
from trioetcd.values import Index, MemberID, Term


def wants(term: int, sender: MemberID) -> RequestVote:
    """Ask for a vote."""
    return RequestVote(ME, sender, Term(term), Index(9), Term(9), transfer=False)


def test_ack_before_durable_alone() -> None:
    """Ack before durable (etcd 14370): a sole voter's commit waits for its own disk."""
    raft = make()
    raft.campaign()
    persist(raft)
    raft.persist(raft.ready())
    raft.propose([b"a"])
    assert (raft.log.commit, raft.committed()) == (0, [])
    raft.persisted()
    assert (raft.log.commit, raft.committed()) == (1, [b""])


def test_ack_before_durable_as_leader_and_follower() -> None:
    """Ack before durable (etcd 14370): neither side counts what is not on its disk."""
    raft = leader()
    raft.propose([b"a"])
    raft.persist(raft.ready())
    raft.step(ack(B, 1, 2))
    assert raft.log.commit == 1
    raft.persisted()
    assert raft.log.commit == 2
    other = make(voters=THREE)
    other.step(append(1, 0, 0, group(1, 1, b"a")))
    other.persist(other.ready())
    assert other.take_messages() == []
    other.persisted()
    assert only(other) == ack(B, 1, 1)._replace(to=B, sender=ME)


def test_a_truncated_batch_is_not_acknowledged() -> None:
    """Ack before durable: what a new leader cut off while it was being written does not count."""
    raft = make(voters=THREE)
    raft.step(append(1, 0, 0, group(1, 1, b"a", b"b", b"c")))
    raft.persist(raft.ready())
    raft.step(append(2, 1, 1, group(2, 2, b"x", b"y", b"z"), sender=C))
    raft.persisted()
    assert raft.take_messages() == [], "the term is not durable either"
    persist(raft)
    assert only(raft) == ack(C, 2, 4)._replace(to=C, sender=ME)


def test_vote_not_durable_before_reply() -> None:
    """Vote or term not durable before the reply (figure 2): it waits for the batch."""
    raft = make(voters=THREE)
    raft.persist(raft.ready())
    raft.step(wants(1, B))
    assert raft.take_messages() == []
    raft.persisted()
    assert raft.take_messages() == [], "that batch was cut before the vote"
    raft.persist(raft.ready())
    raft.step(wants(2, C))
    raft.persisted()
    assert raft.take_messages() == [], "and this one before the next term"
    persist(raft)
    assert only(raft) == RequestVoteReply(C, ME, Term(2), granted=True), "the older one is void"


def test_two_votes_in_one_term_after_a_restart() -> None:
    """Vote lost by a restart (figure 2): who has voted in a term has voted in it for good."""
    raft = make(voters=THREE, hard_state=HardState(Term(3), B, Index(0)))
    raft.step(wants(3, C))
    assert only(raft) == RequestVoteReply(C, ME, Term(3), granted=False)
    raft.step(wants(3, B))
    assert only(raft) == RequestVoteReply(B, ME, Term(3), granted=True)


def test_a_refusal_reveals_no_term_that_is_not_durable() -> None:
    """Term not durable before the reply (figure 2): a refusal too tells of a term."""
    raft = make(voters=THREE)
    raft.step(RequestVote(ME, B, Term(5), Index(0), Term(0), transfer=False))
    raft.step(wants(4, C))
    assert raft.take_messages() == []
    persist(raft)
    assert {5} == {message.term for message in raft.take_messages()}


def test_an_old_entry_is_committed_by_counting() -> None:
    """Commit by count of an older term's entry (figure 8): only along with one of its own."""
    groups = (group(1, 1, b"a"), group(2, 2, b"b"))
    hard = HardState(Term(2), MemberID(0), Index(0))
    raft = lead(make(voters=THREE, groups=groups, hard_state=hard))
    for peer in (B, C):
        raft.step(ack(peer, 3, 2))
    assert raft.log.commit == 0
    raft.apply_conf_change(ConfState((ME, B)))
    assert raft.log.commit == 0


def test_a_read_before_the_first_commit_of_the_term() -> None:
    """ReadIndex before the first commit of the own term (etcd 7331): reads wait for it."""
    raft = leader()
    raft.request_read(1)
    raft.take_messages()
    for peer in (B, C):
        raft.step(HeartbeatReply(ME, peer, Term(1), 0))
    assert raft.take_reads() == []
    raft.step(ack(B, 1, 1))
    assert raft.take_reads() == []
    raft.step(HeartbeatReply(ME, B, Term(1), 1))
    assert [(1, 1)] == raft.take_reads()


def test_a_delayed_acknowledgement_confirms_a_read() -> None:
    """Heartbeat answers not tied to the leader's own sequence (etcd 20418): they name the round."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.request_read(1)
    raft.take_messages()
    raft.step(HeartbeatReply(ME, B, Term(1), 1))
    assert [(1, 1)] == raft.take_reads()
    raft.request_read(2)
    raft.take_messages()
    for _ in range(3):
        raft.step(HeartbeatReply(ME, B, Term(1), 1))
        raft.step(HeartbeatReply(ME, C, Term(1), 0))
    assert raft.take_reads() == []
    raft.step(HeartbeatReply(ME, C, Term(1), 3))
    assert raft.take_reads() == [], "no such round has begun"
    raft.step(HeartbeatReply(ME, C, Term(1), 2))
    assert [(2, 1)] == raft.take_reads()


def test_rounds_of_an_earlier_leadership_confirm_nothing() -> None:
    """ReadIndex id reused (etcd 20418): the count of rounds goes on from term to term."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.request_read(1)
    raft.take_messages()
    raft.resign()
    lead(raft)
    raft.step(ack(B, 2, 2))
    raft.request_read(2)
    raft.take_messages()
    assert raft.reads.number == 2
    raft.step(HeartbeatReply(ME, B, Term(2), 1))
    assert raft.take_reads() == []


def test_a_change_of_leader_races_a_read() -> None:
    """ReadIndex answer against "leader changed" (etcd 21375): the change comes first."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.request_read(1)
    raft.take_messages()
    raft.step(HeartbeatReply(ME, B, Term(1), 1))
    raft.step(Heartbeat(ME, B, Term(2), Index(0), 0))
    assert raft.take_reads() == []
    raft.request_read(2)
    raft.step(Heartbeat(ME, C, Term(3), Index(0), 0))
    raft.step(ReadIndexReply(ME, B, Term(2), 2, Index(1)))
    raft.step(ReadIndexReply(ME, C, Term(3), 2, Index(1)))
    assert raft.take_reads() == []


def test_a_restart_reads_before_it_has_replayed() -> None:
    """Reads behind the durable commit after a restart (raft 105): the index is never older."""
    groups = (group(1, 1, b"", b"a", b"b"),)
    raft = make(groups=groups, hard_state=HardState(Term(1), ME, Index(2)))
    raft.request_read(1)
    raft.campaign()
    persist(raft)
    raft.request_read(2)
    assert (raft.take_reads(), raft.read_index()) == ([], None)
    persist(raft)
    assert [(2, 4)] == raft.take_reads()


def test_a_paused_leader_reads_by_its_clock() -> None:
    """Lease reads and a pause: a leader that was deposed meanwhile confirms nothing by itself."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.separate(1)
    cluster.tick(60, [2, 3])
    cluster.propose(cluster.leader().id, b"new")
    assert cluster[1].raft.role == Role.LEADER, "it does not know yet"
    cluster[1].read()
    cluster.settle()
    assert cluster[1].reads == []
    cluster.heal()
    cluster.tick(2)
    assert cluster[1].reads == []


def changing() -> RaftConfig:
    return RaftConfig(ME, is_conf_change=lambda data: data[:1] == b"C")


def test_a_membership_change_before_the_first_commit_of_the_term() -> None:
    """Single-server change before a commit in the own term (Ongaro 2015): it is refused."""
    raft = lead(make(voters=THREE, config=changing()))
    raft.propose([b"C1"])
    assert raft.ready().groups[0].datas == [b""]


def test_a_membership_change_while_one_is_pending() -> None:
    """A change while another is in the log unapplied: refused, also one of an earlier leader."""
    groups = (group(1, 1, b"C0"),)
    hard = HardState(Term(1), MemberID(0), Index(0))
    raft = lead(make(voters=THREE, groups=groups, hard_state=hard, config=changing()))
    raft.step(ack(B, 2, 2))
    assert raft.log.commit == 2
    raft.propose([b"C1"])
    assert raft.ready().groups[0].datas == [b""], "C0 is committed, but not applied"
    applied_all(raft)
    raft.propose([b"C2", b"C3"])
    assert raft.ready().groups[-1].datas[-2:] == [b"C2", b""]


def test_a_joint_configuration_is_left_too_early() -> None:
    """Joint exit: until it is left an old majority is as necessary as a new one."""
    raft = leader()
    raft.apply_conf_change(ConfState((ME,), voters_outgoing=THREE))
    assert raft.log.commit == 0
    assert not raft.sole_voter
    raft.apply_conf_change(ConfState((ME,)))
    assert raft.log.commit == 1


def test_a_stranded_member_never_rejoins() -> None:
    """Stranded with a later term (etcd 5468, 9464, 9892): its answers make the leader give way."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.separate(3)
    cluster[3].raft.campaign(transfer=True)
    cluster.settle()
    assert cluster[3].raft.term == 2
    cluster.heal()
    cluster.tick(60)
    assert cluster.leader().raft.term > 1
    assert {cluster.leader().id} == {node.raft.leader for node in cluster.up()}


def test_votes_are_ignored_after_the_leader_was_forgotten() -> None:
    """Votes ignored for too long: when patience has ended a member is open to others at once."""
    raft = make(voters=THREE, dice=1 << 31)
    raft.step(Heartbeat(ME, B, Term(1), Index(0), 0))
    for _ in range(9):
        raft.tick()
    raft.step(wants(2, C))
    assert raft.term == 1
    raft.tick()
    raft.step(wants(2, C))
    assert (raft.term, raft.vote) == (2, C)


def test_a_matching_suffix_is_truncated() -> None:
    """AppendEntries that cuts off a matching suffix (section 5.3): a late one changes nothing."""
    raft = make(voters=THREE)
    raft.step(append(1, 0, 0, group(1, 1, b"a", b"b", b"c")))
    persist(raft)
    for late in (append(1, 0, 0, group(1, 1, b"a")), append(1, 0, 0), append(1, 1, 1)):
        raft.step(late)
        assert (raft.log.last, raft.log.stable) == (3, 3)
        assert not raft.ready().groups


def test_a_wrong_hint_or_index_stops_a_member() -> None:
    """Indexes out of range (ADA-22-02): neither side stops, or believes them."""
    raft = leader()
    for index in (-(1 << 66), -1, 0, 1, 2, 1 << 66):
        for hint in (-(1 << 66), -1, 0, 1, 2, 1 << 66):
            raft.step(refusal(B, 1, index, hint, hint))
            raft.take_messages()
            assert 1 <= raft.progress[B].next <= 2
    other = make(voters=THREE)
    for index in (-(1 << 66), -1, 1, 1 << 66):
        other.step(append(1, index, index, group(index + 1, 1, b"x"), commit=1 << 66))
        assert other.log.last == 0


def test_a_snapshot_discards_a_newer_log() -> None:
    """Snapshot that discards a newer log (etcd 18055): one that ends in the log is not taken."""
    raft = make(voters=THREE)
    raft.step(append(1, 0, 0, group(1, 1, b"a", b"b"), commit=1))
    persist(raft)
    for index in (1, 2):
        assert not raft.offered_snapshot(B, Term(1), Index(index), Term(1))
    assert not raft.restore(Index(1), Term(1), ConfState(THREE))
    assert (raft.log.last, raft.log.commit, raft.log.first) == (2, 2, 1)


def test_two_snapshots_quickly() -> None:
    """Two snapshots one after the other: the second one goes on from where the first one ended."""
    raft = make(voters=THREE)
    for index in (5, 9):
        assert raft.offered_snapshot(B, Term(1), Index(index), Term(1))
        assert raft.restore(Index(index), Term(1), ConfState(THREE))
    assert not raft.offered_snapshot(B, Term(1), Index(5), Term(1))
    assert (raft.log.applied, raft.log.last) == (9, 9)


def test_a_learner_is_counted() -> None:
    """Learner counted in a quorum: it neither commits, elects, confirms nor keeps a leader."""
    raft = lead(make(voters=(ME, B), learners=(C,)))
    raft.step(ack(C, 1, 1))
    assert raft.log.commit == 0
    for _ in range(10):
        raft.step(HeartbeatReply(ME, C, Term(1), 0))
        raft.tick()
    assert raft.role == Role.FOLLOWER
    raft.campaign(transfer=True)
    persist(raft)
    raft.step(RequestVoteReply(ME, C, raft.term, granted=True))
    assert raft.role == Role.CANDIDATE


def test_a_learner_leads() -> None:
    """Learner that is told to campaign: it does not, and nobody asks it for its vote."""
    raft = make(voters=(B, C), learners=(ME,))
    raft.step(Heartbeat(ME, B, Term(1), Index(0), 0))
    raft.step(TimeoutNow(ME, B, Term(1)))
    assert raft.role == Role.FOLLOWER
    other = make(voters=(ME, B), learners=(C,))
    other.campaign()
    assert [B] == [message.to for message in other.take_messages()]


def test_a_promotion_that_is_not_applied_everywhere_stops_elections() -> None:
    """Promotion: a new voter that does not know it yet answers who knows that it votes."""
    raft = make(voters=(B,), learners=(ME,))
    raft.step(wants(1, B))
    persist(raft)
    assert only(raft) == RequestVoteReply(B, ME, Term(1), granted=True)


def test_a_change_is_proposed_while_a_member_is_down() -> None:
    """Membership with a member down: the majority that is left adds another one."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster[3].crash()
    cluster.add(4)
    cluster.propose(1, encode_change(AddVoter(MemberID(4))))
    cluster.tick(3)
    assert cluster[4].conf.voters == (1, 2, 3, 4)
    cluster.propose(1, b"a")
    assert cluster[4].state[-1] == b"a"
