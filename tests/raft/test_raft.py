"""One member's part in consensus; what the paper claims is cited."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.raft.cluster import ids
from tests.raft.member import (
    ME,
    THREE,
    B,
    C,
    ack,
    applied_all,
    elect,
    lead,
    leader,
    make,
    only,
    persist,
)
from trioetcd.raft import (
    AppendEntries,
    ConfState,
    Group,
    HardState,
    Heartbeat,
    HeartbeatReply,
    Message,
    Propose,
    Raft,
    RaftConfig,
    ReadIndex,
    ReadIndexReply,
    Role,
    TimeoutNow,
)
from trioetcd.values import Index, MemberID, Term


def test_candidate_votes_for_itself_in_the_next_term() -> None:
    """Section 5.2: to begin an election, a server increments its term and votes for itself."""
    raft = make(hard_state=HardState(Term(4), MemberID(3), Index(0)))
    raft.campaign()
    assert (raft.term, raft.vote, raft.role, raft.leader) == (5, ME, Role.CANDIDATE, 0)
    ready = raft.ready()
    assert ready.must_persist
    assert ready.hard_state == HardState(Term(5), ME, Index(0))


def test_a_vote_counts_only_when_durable() -> None:
    """Figure 2: currentTerm and votedFor are on stable storage before they are acted on."""
    raft = make()
    raft.campaign()
    ready = raft.ready()
    raft.persist(ready)
    assert raft.role == Role.CANDIDATE
    raft.persisted()
    assert (raft.role, raft.leader) == (Role.LEADER, ME)


def test_a_batch_cut_before_the_campaign_elects_nobody() -> None:
    """Durable is what was in the batch, not what has happened since."""
    raft = make()
    raft.persist(raft.ready())
    raft.campaign()
    raft.persisted()
    assert raft.role == Role.CANDIDATE
    persist(raft)
    assert raft.role == Role.LEADER


def test_leader_begins_with_an_empty_entry_of_its_term() -> None:
    """Section 8: a leader commits a no-op at the start of its term."""
    raft = make()
    raft.campaign()
    persist(raft)
    assert raft.ready().groups == [Group(Index(1), Term(1), [b""])]
    assert raft.term_start == 1
    assert raft.read_index() is None
    persist(raft)
    assert raft.log.commit == 1
    assert raft.committed() == [b""]
    assert raft.read_index() == 1


def test_leader_counts_itself_only_when_persisted() -> None:
    """A sole voter's commit index moves with its disk, never before (etcd 14370)."""
    raft = make()
    elect(raft)
    assert raft.propose([b"a", b"b"])
    ready = raft.ready()
    raft.persist(ready)
    assert (raft.log.commit, raft.committed()) == (1, [b""])
    raft.propose([b"c"])
    raft.persisted()
    assert raft.log.commit == 3
    assert raft.ready().groups == [Group(Index(4), Term(1), [b"c"])]


def test_entries_of_earlier_terms_commit_with_one_of_the_current_term() -> None:
    """Section 5.4.2 and figure 8: an old entry is not committed by counting replicas."""
    groups = (Group(Index(1), Term(1), [b"", b"a", b"b"]),)
    raft = make(hard_state=HardState(Term(1), ME, Index(1)), groups=groups)
    raft.campaign()
    persist(raft)
    assert raft.role == Role.LEADER
    assert raft.log.commit == 1, "durable everywhere, and not committed"
    assert raft.read_index() is None
    persist(raft)
    assert raft.log.commit == 4


def test_one_voter_of_three_neither_leads_nor_commits() -> None:
    """Section 5.2: a candidate needs votes of a majority."""
    raft = make(voters=(ME, MemberID(8), MemberID(9)), pre_vote=False)
    raft.campaign()
    persist(raft)
    assert raft.role == Role.CANDIDATE
    assert not raft.propose([b"a"])


def test_a_member_that_does_not_vote_does_not_campaign() -> None:
    """Section 6: only voters stand for election."""
    raft = make(voters=(MemberID(8),))
    raft.campaign()
    assert (raft.term, raft.role) == (0, Role.FOLLOWER)


@given(st.integers(0, 2**32 - 1))
def test_election_timeouts_are_drawn_between_one_and_two(dice: int) -> None:
    """Section 5.2: election timeouts are randomized within a fixed interval."""
    raft = make(dice=dice)
    ticks = 0
    while raft.role == Role.FOLLOWER:
        raft.tick()
        ticks += 1
    assert 10 <= ticks < 20


def test_a_candidate_without_outcome_tries_the_next_term() -> None:
    """Section 5.2: a split vote ends with a timeout and a new election."""
    raft = make(voters=(ME, MemberID(8)), pre_vote=False)
    for _ in range(20):
        raft.tick()
    assert raft.term == 2


def test_a_leader_does_not_campaign() -> None:
    """Time alone does not depose a sole voter."""
    raft = make()
    elect(raft)
    for _ in range(100):
        raft.tick()
    assert (raft.term, raft.role) == (1, Role.LEADER)
    with pytest.raises(AssertionError):
        raft.campaign()


def test_ready_hands_out_no_more_than_a_batch_holds() -> None:
    """A batch takes entries up to its size, one at least; the rest waits for the next."""
    raft = make(batch_bytes_max=10)
    elect(raft)
    raft.propose([b"x" * 6, b"y" * 6, b"z" * 40, b"w"])
    sizes: list[list[int]] = []
    while raft.ready().must_persist:
        sizes.append([len(d) for group in raft.ready().groups for d in group.datas])
        persist(raft)
    assert sizes == [[6], [6], [40], [1]]


def test_one_batch_at_a_time() -> None:
    """Asking for another batch while one is in flight is a programmer's error."""
    raft = make()
    elect(raft)
    raft.propose([b"a"])
    raft.persist(raft.ready())
    with pytest.raises(AssertionError):
        raft.ready()


def test_recovered_state_must_fit_together() -> None:
    """A log of a term that was never entered is refused."""
    with pytest.raises(AssertionError):
        make(groups=(Group(Index(1), Term(3), [b"a"]),))


def test_a_follower_counts_nothing() -> None:
    """A batch without a campaign, such as one of effects alone, elects and commits nothing."""
    raft = make()
    persist(raft)
    assert (raft.role, raft.log.commit) == (Role.FOLLOWER, 0)


# -- several members -------------------------------------------------------------------------


def is_change(data: bytes) -> bool:
    return data.startswith(b"C")


CHANGING = RaftConfig(ME, is_conf_change=is_change, refused=lambda data: b"no " + data)


def test_a_follower_sends_proposals_on() -> None:
    """Section 8: a client may ask any member; one without a leader can do nothing."""
    raft = make(voters=THREE)
    assert not raft.propose([b"a"])
    raft.step(Heartbeat(ME, B, Term(1), Index(0), 0))
    persist(raft)
    raft.take_messages()
    assert raft.propose([b"a"])
    assert only(raft) == Propose(B, ME, Term(1), [b"a"])


def test_what_is_sent_on_goes_in_portions() -> None:
    """No Propose is longer than an AppendEntries may be, unless one entry is; none gets lost."""
    raft = make(voters=THREE, config=replace(CHANGING, append_bytes_max=100))
    raft.step(Heartbeat(ME, B, Term(1), Index(0), 0))
    persist(raft)
    raft.take_messages()
    datas = [bytes([at]) * size for at, size in enumerate((1, 60, 20, 300, 10, 10, 100, 0))]
    assert raft.propose(datas)
    sent = [each.datas for each in raft.take_messages() if isinstance(each, Propose)]
    assert datas == [data for each in sent for data in each]
    assert all(sum(map(len, each)) <= 100 or len(each) == 1 for each in sent)
    assert len(sent) < len(datas)


def test_a_leader_takes_what_was_sent_on() -> None:
    """Well-formed proposals of others are appended, nonsense is not."""
    raft = leader()
    raft.step(Propose(ME, B, Term(1), [b"a", b"b"]))
    raft.step(Propose(ME, B, Term(1), []))
    raft.step(Propose(ME, B, Term(1), [b"c", b""]))
    assert raft.log.last == 3
    raft.resign()
    raft.step(Propose(ME, B, Term(1), [b"d"]))
    assert raft.log.last == 3


def test_resigning_keeps_the_term() -> None:
    """A leader whose disk hangs follows, without a leader, in the same term."""
    raft = leader()
    raft.resign()
    assert (raft.role, raft.leader, raft.term, raft.vote) == (Role.FOLLOWER, 0, 1, ME)
    assert not raft.propose([b"a"])


def test_one_membership_change_at_a_time() -> None:
    """Dissertation 4.1: a second one before the first is applied becomes something else."""
    raft = lead(make(voters=THREE, config=CHANGING))
    raft.propose([b"C0"])
    assert raft.log.commit == 0, "an entry of the term comes first"
    raft.step(ack(B, 1, 1))
    applied_all(raft)
    raft.propose([b"C1"])
    raft.propose([b"a", b"C2", b"C3"])
    raft.propose([b"C4"])
    expected = [b"", b"no C0", b"C1", b"a", b"no C2", b"no C3", b"no C4"]
    persist(raft)
    raft.step(ack(B, 1, 7))
    assert expected[1:] == raft.committed()
    applied_all(raft)
    raft.propose([b"C5"])
    assert [b"C5"] == raft.ready().groups[0].datas


def test_a_lesser_majority_commits_more() -> None:
    """Section 6: with fewer voters what was held by too few may be held by enough."""
    raft = leader()
    raft.propose([b"a"])
    persist(raft)
    assert raft.log.commit == 0
    raft.apply_conf_change(ConfState((ME,)))
    assert raft.log.commit == 2
    assert (raft.progress, raft.read_index()) == ({}, 2)


def test_a_new_member_is_probed_at_once() -> None:
    """It hears from the leader with the next messages, and counts from now on."""
    raft = elected()
    raft.apply_conf_change(ConfState((ME, B), (C,)))
    assert {B, C} == {message.to for message in raft.take_messages()}
    raft.propose([b"a"])
    persist(raft)
    raft.step(ack(C, 1, 2))
    assert raft.log.commit == 1, "a learner does not count"
    raft.step(ack(B, 1, 2))
    assert raft.log.commit == 2


def test_a_removed_leader_steps_down() -> None:
    """Dissertation 4.2.2: after its removal is committed and applied, having said so."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.take_messages()
    raft.apply_conf_change(ConfState((B, C), (ME,)))
    assert raft.role == Role.FOLLOWER
    assert {Heartbeat(B, ME, Term(1), Index(1), 0), Heartbeat(C, ME, Term(1), Index(0), 0)} == set(
        raft.take_messages()
    )
    assert raft.conf_state.learners == (ME,)


def test_a_removed_member_is_told_once_that_is_durable() -> None:
    """It ends when it hears of it, so the leader must not be able to forget it any more."""
    raft = leader()
    raft.log.append(raft.term, [b"remove C"])
    persist(raft)
    raft.take_messages()
    raft.step(ack(B, 1, 2))  # its own answer is not waited for
    raft.apply_conf_change(ConfState((ME, B)))
    assert not [each for each in raft.take_messages() if each.to == C]
    persist(raft)
    told = AppendEntries(C, ME, Term(1), Index(2), Term(1), Index(2), ())
    assert [told] == [each for each in raft.take_messages() if each.to == C]
    persist(raft)
    assert not [each for each in raft.take_messages() if each.to == C], "once"


def test_a_follower_only_notes_the_configuration() -> None:
    """It has nobody to track."""
    raft = make(voters=THREE)
    raft.apply_conf_change(ConfState((ME, B)))
    assert (raft.conf_state.voters, raft.progress) == ((ME, B), {})


def test_a_joint_configuration_needs_both_majorities() -> None:
    """Section 6: entries commit when both the old and the new majority hold them."""
    raft = leader()
    new = ids(7, 10, 11)
    raft.apply_conf_change(ConfState(new, voters_outgoing=THREE))
    raft.step(ack(B, 1, 1))
    assert raft.log.commit == 0
    raft.step(ack(MemberID(10), 1, 1))
    assert raft.log.commit == 1
    assert raft.read_index() is None


def test_leadership_goes_to_who_is_up_to_date() -> None:
    """Dissertation 3.10: the transferee catches up first, and nothing is proposed meanwhile."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.propose([b"a"])
    raft.take_messages()
    for nonsense in (ME, MemberID(99), MemberID(0)):
        raft.transfer(nonsense)
        assert raft.transferee == 0
    raft.transfer(B)
    raft.transfer(B)
    assert (raft.transferee, raft.take_messages()) == (B, [])
    assert not raft.propose([b"b"])
    raft.step(ack(B, 1, 2))
    assert TimeoutNow(B, ME, Term(1)) in raft.take_messages()
    raft.transfer(C)
    assert raft.transferee == C


def test_a_transfer_to_who_has_everything_begins_at_once() -> None:
    """Nothing need be waited for."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.take_messages()
    raft.transfer(B)
    assert [TimeoutNow(B, ME, Term(1))] == raft.take_messages()


def test_a_transfer_is_given_up() -> None:
    """Dissertation 3.10: after an election timeout the leader goes on."""
    raft = leader()
    raft.transfer(B)
    for _ in range(10):
        assert not raft.propose([b"a"])
        raft.step(HeartbeatReply(ME, B, Term(1), 0))
        raft.tick()
    assert (raft.transferee, raft.propose([b"a"])) == (0, True)


def test_only_voters_may_lead() -> None:
    """Neither a learner nor one that leaves is made leader, and followers hand nothing on."""
    raft = lead(make(voters=(ME, B), learners=(C,)))
    raft.transfer(C)
    assert raft.transferee == 0
    raft.transfer(B)
    raft.apply_conf_change(ConfState((ME,)))
    assert raft.transferee == 0
    raft.resign()
    raft.transfer(B)
    assert raft.transferee == 0


# -- reads -----------------------------------------------------------------------------------


def elected() -> Raft:
    """Make a sole voter leader, its first entry committed."""
    raft = make()
    elect(raft)
    return raft


def beaten(raft: Raft, number: int, sender: MemberID = B) -> list[tuple[int, Index]]:
    """Let a member acknowledge a round; give the reads that are confirmed."""
    raft.step(HeartbeatReply(ME, sender, raft.term, number))
    return raft.take_reads()


def test_a_read_waits_for_a_majority_to_answer() -> None:
    """Dissertation 6.4: a round of heartbeats begun after the read came in."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.take_messages()
    raft.request_read(1)
    raft.request_read(2)
    beats = [message for message in raft.take_messages() if isinstance(message, Heartbeat)]
    assert [1, 1] == [message.round for message in beats]
    raft.request_read(3)
    assert raft.take_reads() == []
    assert beaten(raft, 0) == [], "an answer to an earlier round"
    assert [(1, 1), (2, 1)] == beaten(raft, 1)
    assert beaten(raft, 1) == []
    assert [(3, 1)] == beaten(raft, 2, C)


def test_a_sole_voter_reads_at_once() -> None:
    """Nobody else could be leader; but not before an entry of the term is committed."""
    raft = make()
    raft.campaign()
    persist(raft)
    raft.request_read(1)
    assert (raft.take_reads(), raft.read_index()) == ([], None)
    persist(raft)
    assert ([(1, 1)], 1) == (raft.take_reads(), raft.read_index())


def test_learners_confirm_no_read() -> None:
    """Only voters make a majority."""
    raft = lead(make(voters=(ME, B), learners=(C,)))
    raft.step(ack(B, 1, 1))
    raft.request_read(1)
    raft.take_messages()
    assert beaten(raft, 1, C) == []
    assert [(1, 1)] == beaten(raft, 1)


def test_a_follower_asks_its_leader() -> None:
    """The answer names the read; without a leader nothing is asked."""
    raft = make(voters=THREE)
    raft.request_read(1)
    raft.step(Heartbeat(ME, B, Term(1), Index(0), 0))
    persist(raft)
    raft.take_messages()
    raft.request_read(2)
    assert only(raft) == ReadIndex(B, ME, Term(1), 2)
    raft.step(ReadIndexReply(ME, C, Term(1), 2, Index(5)))
    raft.step(ReadIndexReply(ME, B, Term(1), 9, Index(5)))
    assert raft.take_reads() == []
    raft.step(ReadIndexReply(ME, B, Term(1), 2, Index(5)))
    raft.step(ReadIndexReply(ME, B, Term(1), 2, Index(5)))
    assert [(2, 5)] == raft.take_reads()
    raft.step(ReadIndex(ME, C, Term(1), 7))
    assert raft.take_messages() == [], "who does not lead answers nobody"


def test_a_leader_answers_others() -> None:
    """A follower's read joins the leader's own rounds."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.step(ReadIndex(ME, C, Term(1), 7))
    raft.take_messages()
    raft.step(HeartbeatReply(ME, C, Term(1), 1))
    assert ReadIndexReply(C, ME, Term(1), 7, Index(1)) in raft.take_messages()


def test_fewer_voters_may_confirm_a_read() -> None:
    """A round under way is looked at again when the configuration changes."""
    raft = leader()
    raft.step(ack(B, 1, 1))
    raft.request_read(1)
    raft.take_messages()
    raft.apply_conf_change(ConfState((ME,)))
    assert [(1, 1)] == raft.take_reads()


def test_what_is_taken_is_the_takers() -> None:
    """Lists that were handed out are not looked at again."""
    raft = make(voters=THREE)
    heartbeat = Heartbeat(ME, B, Term(1), Index(0), 0)
    raft.take_messages().append(heartbeat)
    raft.take_reads().append((1, Index(1)))
    raft.take_snapshots().append(B)
    assert ([], [], []) == (raft.take_messages(), raft.take_reads(), raft.take_snapshots())


class Wrong(NamedTuple):
    """No message of any kind."""

    to: MemberID
    sender: MemberID
    term: Term


def test_a_message_of_another_kind_is_a_mistake() -> None:
    """What a peer sends is decoded into one of the messages, or not at all."""
    wrong = cast("Message", Wrong(ME, B, Term(0)))
    with pytest.raises(AssertionError):
        make(voters=THREE).step(wrong)


def test_a_transfer_goes_on_through_another_change() -> None:
    """Who still votes is still to lead."""
    raft = leader()
    raft.transfer(B)
    raft.apply_conf_change(ConfState((ME, B)))
    assert raft.transferee == B
