"""Who campaigns, who gets a vote, and who is left in peace."""

from __future__ import annotations

import pytest

from tests.raft.member import (
    ME,
    THREE,
    B,
    C,
    append,
    group,
    lead,
    leader,
    make,
    only,
    persist,
    sent,
)
from trioetcd.raft import (
    Heartbeat,
    PreVote,
    PreVoteReply,
    Raft,
    RaftConfig,
    RequestVote,
    RequestVoteReply,
    Role,
    TimeoutNow,
)
from trioetcd.values import Index, MemberID, Term


def asks(term: int, sender: MemberID = B, index: int = 9, last_term: int = 9) -> PreVote:
    """Ask for a vote in a term that has not begun."""
    return PreVote(ME, sender, Term(term), Index(index), Term(last_term))


def wants(
    term: int, sender: MemberID = B, *, index: int = 9, last_term: int = 9, transfer: bool = False
) -> RequestVote:
    """Ask for a vote."""
    return RequestVote(ME, sender, Term(term), Index(index), Term(last_term), transfer)


def follower(term: int = 3) -> Raft:
    """Make a follower of B, durable."""
    raft = make(voters=THREE)
    raft.step(append(term, 0, 0, group(1, term, b"")))
    persist(raft)
    raft.take_messages()
    return raft


def test_a_member_asks_before_it_campaigns() -> None:
    """Dissertation 9.6: PreVote names the next term and begins none."""
    raft = make(voters=THREE)
    raft.campaign()
    assert (raft.term, raft.vote, raft.role) == (0, 0, Role.PRE_CANDIDATE)
    assert [
        PreVote(peer, ME, Term(1), Index(0), Term(0)) for peer in (B, C)
    ] == raft.take_messages(), "asked without the disk"
    raft.step(PreVoteReply(ME, B, Term(1), granted=True))
    assert (raft.term, raft.vote, raft.role) == (1, ME, Role.CANDIDATE)
    assert raft.take_messages() == [], "a vote is asked for when the own one is durable"
    persist(raft)
    assert {B, C} == {message.to for message in raft.take_messages()}


def test_refused_by_a_majority_it_waits() -> None:
    """A question that most refuse leaves a follower in its old term."""
    raft = make(voters=THREE)
    raft.campaign()
    raft.step(PreVoteReply(ME, B, Term(0), granted=False))
    raft.step(PreVoteReply(ME, B, Term(0), granted=False))
    assert raft.role == Role.PRE_CANDIDATE
    raft.step(PreVoteReply(ME, C, Term(0), granted=False))
    assert (raft.role, raft.term) == (Role.FOLLOWER, 0)


def test_good_answers_of_other_terms_count_for_nothing() -> None:
    """An answer about another term than the next one is a straggler."""
    raft = make(voters=THREE)
    raft.campaign()
    raft.step(PreVoteReply(ME, B, Term(5), granted=True))
    assert (raft.role, raft.term) == (Role.PRE_CANDIDATE, 0)
    raft.step(PreVoteReply(ME, B, Term(5), granted=False))
    assert (raft.role, raft.term) == (Role.FOLLOWER, 5), "a refusal tells of a later term"
    raft.step(PreVoteReply(ME, B, Term(5), granted=False))
    assert raft.role == Role.FOLLOWER


def test_a_question_changes_nothing_of_who_is_asked() -> None:
    """PreVote leaves term, vote and timer alone, whatever the answer."""
    raft = make(voters=THREE)
    raft.elapsed = 3
    raft.step(asks(4))
    assert only(raft) == PreVoteReply(B, ME, Term(4), granted=True)
    assert (raft.term, raft.vote, raft.elapsed) == (0, 0, 3)
    assert not raft.ready().must_persist


def test_of_two_that_ask_at_once_one_goes_first() -> None:
    """Two would tell each other yes and vote each for itself; a better log goes before all."""
    before = MemberID(ME - 1)
    raft = make(voters=(before, ME, C))
    raft.campaign()
    raft.take_messages()
    raft.step(asks(1, before, 0, 0))
    assert only(raft) == PreVoteReply(before, ME, Term(0), granted=False)
    raft.step(asks(1, C, 0, 0))
    assert only(raft) == PreVoteReply(C, ME, Term(1), granted=True)
    raft.step(asks(1, before, 1, 0))
    assert only(raft) == PreVoteReply(before, ME, Term(1), granted=True)
    # whoever refused because it goes before asks again, as its first question may be lost
    raft.tick()
    assert [before, C] == [message.to for message in raft.take_messages()]


def test_who_has_answered_is_refused_no_more() -> None:
    """Whom this member reaches, and who reaches this member, may win where it cannot."""
    before = MemberID(ME - 1)
    raft = make(voters=(before, ME, B, C, MemberID(10)))
    raft.campaign()
    raft.take_messages()
    for _ in range(2):
        raft.step(asks(1, before, 0, 0))
        assert only(raft) == PreVoteReply(before, ME, Term(0), granted=False)
    raft.step(PreVoteReply(ME, before, Term(1), granted=True))
    raft.step(asks(1, before, 0, 0))
    assert only(raft) == PreVoteReply(before, ME, Term(1), granted=True)


@pytest.mark.parametrize(("elapsed", "expected"), [(9, Role.FOLLOWER), (10, Role.PRE_CANDIDATE)])
def test_who_could_lead_instead_of_the_asker_asks_soon(elapsed: int, expected: str) -> None:
    """Without a leader for a timeout, the rest of the own patience is not waited for."""
    raft = follower(3)
    raft.elapsed = elapsed
    raft.patience = 19
    raft.step(asks(4, C, 0, 0))
    raft.tick()
    assert raft.role == expected


def test_who_has_not_answered_is_asked_again() -> None:
    """Section 5.1: a question is repeated with every tick, to the silent, and time goes on."""
    raft = make(voters=THREE)
    raft.campaign()
    raft.take_messages()
    raft.step(PreVoteReply(ME, B, Term(0), granted=False))
    for elapsed in range(1, 10):
        raft.tick()
        assert raft.take_messages() == [PreVote(C, ME, Term(1), Index(0), Term(0))]
        assert (raft.elapsed, raft.role) == (elapsed, Role.PRE_CANDIDATE)


def test_who_says_yes_does_not_ask_at_once() -> None:
    """The other gets two ticks to win, or both would stand and split the votes."""
    raft = follower(3)
    raft.elapsed, raft.patience = 11, 12
    raft.step(asks(4, C))
    raft.take_messages()
    raft.tick()
    assert raft.role == Role.FOLLOWER
    raft.tick()
    assert raft.role == Role.PRE_CANDIDATE


def test_who_is_asked_for_ever_asks_in_the_end() -> None:
    """One that reaches this member and hears no answer does not keep it from asking."""
    raft = follower(3)
    raft.patience = 11
    asked = 0
    while raft.role == Role.FOLLOWER:
        asked += 1
        raft.step(asks(4, C))
        raft.tick()
    assert asked == 20


@pytest.mark.parametrize("term", [1, 2, 3])
def test_a_question_about_an_old_term_is_refused_with_the_own(term: int) -> None:
    """Who asks for too early a term learns the current one, and may then catch up."""
    raft = follower(3)
    raft.step(asks(term, C))
    assert only(raft) == PreVoteReply(C, ME, Term(3), granted=False)


def test_in_the_same_term_a_free_vote_is_promised() -> None:
    """A member that has neither voted nor a leader would vote for somebody in this term."""
    raft = make(voters=THREE)
    raft.step(RequestVoteReply(ME, B, Term(3), granted=False))
    persist(raft)
    raft.step(asks(3))
    assert only(raft) == PreVoteReply(B, ME, Term(3), granted=True)


def test_while_a_leader_is_heard_of_votes_are_ignored() -> None:
    """Dissertation 4.2.3: within the minimum election timeout nobody is disturbed."""
    raft = follower(3)
    for message in (asks(9, C), wants(9, C)):
        raft.step(message)
        assert (raft.term, raft.take_messages()) == (3, [])
    raft.elapsed = 10
    raft.step(asks(9, C))
    assert only(raft) == PreVoteReply(C, ME, Term(9), granted=True)
    raft.step(wants(9, C))
    assert (raft.term, raft.vote) == (9, C)


def test_a_leader_ignores_votes_too() -> None:
    """A leader in touch with a majority is not deposed by whoever was cut off."""
    raft = leader()
    raft.step(wants(9))
    assert (raft.term, raft.role) == (1, Role.LEADER)


def test_a_transfer_disturbs_nobody() -> None:
    """Dissertation 3.10: an election the leader asked for is heard at once."""
    raft = follower(3)
    raft.step(wants(4, C, transfer=True))
    assert (raft.term, raft.vote) == (4, C)


def test_without_check_quorum_a_later_term_deposes() -> None:
    """Section 5.1: without the rule of 4.2.3 any later term makes a follower."""
    raft = lead(make(voters=THREE, config=RaftConfig(ME, check_quorum=False)))
    raft.step(wants(9))
    assert (raft.term, raft.role, raft.vote) == (9, Role.FOLLOWER, B)


def test_a_vote_for_an_old_term_is_refused() -> None:
    """Figure 2: reply false if term < currentTerm."""
    raft = follower(3)
    raft.step(wants(2, C))
    assert only(raft) == RequestVoteReply(C, ME, Term(3), granted=False)


def test_lost_election() -> None:
    """A candidate that most refuse is a follower again, in the term it began."""
    raft = make(voters=THREE)
    raft.campaign(transfer=True)
    persist(raft)
    for peer in (B, C):
        raft.step(RequestVoteReply(ME, peer, Term(1), granted=False))
    assert (raft.role, raft.term, raft.vote) == (Role.FOLLOWER, 1, ME)
    raft.step(RequestVoteReply(ME, B, Term(1), granted=True))
    assert raft.role == Role.FOLLOWER, "too late"


def test_votes_of_strangers_do_not_count() -> None:
    """Section 6: only voters of the configuration elect."""
    raft = make(voters=THREE)
    raft.campaign(transfer=True)
    persist(raft)
    raft.step(RequestVoteReply(ME, MemberID(99), Term(1), granted=True))
    assert raft.role == Role.CANDIDATE


def test_a_transferee_campaigns_at_once() -> None:
    """Dissertation 3.10: without asking first, and saying that the leader wants it."""
    raft = follower(3)
    raft.step(TimeoutNow(ME, C, Term(3)))
    assert raft.role == Role.FOLLOWER, "only the leader may say so"
    raft.step(TimeoutNow(ME, B, Term(3)))
    assert (raft.role, raft.term) == (Role.CANDIDATE, 4)
    persist(raft)
    votes = raft.take_messages()
    assert all(isinstance(vote, RequestVote) and vote.transfer for vote in votes)
    assert len(votes) == 2
    raft.step(TimeoutNow(ME, B, Term(4)))
    assert raft.term == 4


def test_learners_and_removed_members_never_campaign() -> None:
    """Neither time nor TimeoutNow makes them; without a leader they say so."""
    for voters, learners in (((B, C), (ME,)), ((B, C), ())):
        raft = make(voters=voters, learners=learners)
        raft.step(Heartbeat(ME, B, Term(1), Index(0), 0))
        persist(raft)
        assert raft.leader == B
        raft.step(TimeoutNow(ME, B, Term(1)))
        for _ in range(40):
            raft.tick()
        assert (raft.role, raft.term, raft.leader) == (Role.FOLLOWER, 1, 0)


def test_a_committed_change_is_applied_before_campaigning() -> None:
    """A member that has not applied a membership change does not know whose votes it needs."""
    config = RaftConfig(ME, is_conf_change=lambda data: data == b"change")
    raft = make(voters=THREE, config=config)
    raft.step(append(1, 0, 0, group(1, 1, b"change"), commit=1))
    persist(raft)
    for _ in range(30):
        raft.tick()
    assert raft.role == Role.FOLLOWER
    raft.advance(Index(1))
    for _ in range(10):
        raft.tick()
    assert raft.role == Role.PRE_CANDIDATE


def test_a_pre_candidate_follows_a_leader_of_its_term() -> None:
    """Who hears from a leader asks for nothing any more."""
    raft = follower(3)
    for _ in range(10):
        raft.tick()
    assert (raft.role, raft.leader) == (Role.PRE_CANDIDATE, 0)
    raft.step(Heartbeat(ME, B, Term(3), Index(0), 0))
    assert (raft.role, raft.leader) == (Role.FOLLOWER, B)


def test_a_leader_of_an_old_term_hears_of_the_new_one() -> None:
    """A member that comes back with a later term makes the leader step down, and so rejoins."""
    raft = follower(3)
    for message in (Heartbeat(ME, C, Term(2), Index(0), 0), append(2, 0, 0, sender=C)):
        raft.step(message)
        (reply,) = sent(raft, C)
        assert reply.term == 3
        other = leader()
        other.step(reply._replace(to=ME, sender=B))
        assert (other.role, other.term) == (Role.FOLLOWER, 3)


def test_without_both_rules_an_old_leader_is_ignored() -> None:
    """Then an election deposes it."""
    config = RaftConfig(ME, pre_vote=False, check_quorum=False)
    raft = make(voters=THREE, config=config)
    raft.step(Heartbeat(ME, B, Term(3), Index(0), 0))
    persist(raft)
    raft.take_messages()
    raft.step(Heartbeat(ME, C, Term(2), Index(0), 0))
    assert raft.take_messages() == []


def test_nobody_leads_before_its_own_vote_is_durable() -> None:
    """Figure 2: answers to what was not asked yet elect nobody."""
    raft = make(voters=THREE)
    raft.campaign(transfer=True)
    for peer in (B, C):
        raft.step(RequestVoteReply(ME, peer, Term(1), granted=True))
    assert raft.role == Role.CANDIDATE
    persist(raft)
    assert raft.role == Role.CANDIDATE
    raft.step(RequestVoteReply(ME, B, Term(1), granted=True))
    assert raft.role == Role.LEADER
