"""Who follows asks the leader how long a lease lives; no deposed leader answers."""

from __future__ import annotations

from functools import partial

import pytest

from tests.replica.living import A, B, C, Living, done, member, others
from tests.replica.states import FOLLOWER, LEADER
from tests.replica.test_proposing import Follower
from trioetcd.errors import (
    NO_LEADER,
    NOT_SUPPORTED_FOR_LEARNER,
    STOPPED,
    TIMEOUT,
    TOO_MANY_REQUESTS,
    ErrorRow,
    EtcdError,
)
from trioetcd.questions import LeaseAnswer, LeaseQuestion, Question
from trioetcd.raft import Heartbeat, HeartbeatReply
from trioetcd.replica import (
    Envelope,
    LeaseAsked,
    Persisted,
    Received,
    Stopped,
    Tick,
    TransferRequested,
)
from trioetcd.replica.lease_desk import ASKED_MAX, WAITING_MAX
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.values import Index, MemberID, Term


def living_with(*leases: int, ttl: int = 60) -> tuple[Living, MemberID, list[MemberID]]:
    """Give three members with leases, the leader, and who follows."""
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    for lease in leases:
        request = messages.LeaseGrantRequest(ID=lease, TTL=ttl)
        done(living.propose(leader, CommandKind.LEASE_GRANT, request.SerializeToString()))
    return living, leader, others(leader, A, B, C)


def row(living: Living, ticket: object) -> ErrorRow:
    outcome = living.outcomes[ticket]
    assert isinstance(outcome, EtcdError)
    return outcome.row


@pytest.mark.parametrize("lease", [1, 2**63 - 1, -5])
def test_a_lease_is_renewed_and_told_of_at_any_member(lease: int) -> None:
    """The seconds are the leader's, whoever is asked; one that nobody knows has none."""
    living, leader, following = living_with(lease)
    for at in (leader, *following):
        living.pass_time(10.0)
        asked = [(lease, False), (lease, True), (lease, False), (lease + 1, True), (77, False)]
        tickets = []
        for each, renew in asked:
            tickets.append(living.ask_lease(at, each, renew=renew))
            living.settle()
        left, renewed, after, *rest = [living.leases[ticket] for ticket in tickets]
        assert left in range(39, 51)
        assert (60, True) == (renewed, after in {59, 60})
        assert [None, None] == rest


def test_a_lease_lives_on_keep_alives_through_a_follower() -> None:
    """Without them it ends; with them it does not."""
    living, leader, following = living_with(7, 8, ttl=30)
    for _ in range(8):
        living.ask_lease(following[0], 7, renew=True)
        living.pass_time(5.0)
    assert [7] == list(living.replicas[leader].lessor)


def test_a_leader_cut_off_promises_nothing() -> None:
    """It cannot know whether it leads still; its client is told that time is up."""
    living, leader, following = living_with(7)
    living.cut = {leader}
    ticket = living.ask_lease(leader, 7, renew=True)
    asked = living.ask_lease(following[0], 7, renew=True)
    living.pass_time(9.0)
    assert row(living, ticket) in {TIMEOUT, NO_LEADER}
    assert living.leases[asked] == 60, "the others have another leader"
    assert ticket not in living.leases


def test_a_leader_deposed_in_a_step_ends_no_lease_in_it() -> None:
    """It stood still, and its clock counts no more: the next leader lets leases live longer."""
    living, leader, following = living_with(7, ttl=15)
    replica, later = living.replicas[leader], living.now + 20.0
    heartbeat = Heartbeat(leader, following[0], Term(replica.term + 1), Index(0), 0)
    envelope = Envelope(following[0], leader, 99, 1, heartbeat)
    persist = replica.step([Received([envelope]), Tick(later)], later).persist
    assert replica.leader == following[0]
    assert persist is not None
    sends = replica.step([Persisted(persist.number)], later).sends
    assert [HeartbeatReply] == [type(each.message) for each in sends]


def test_a_question_is_asked_again_of_the_next_leader() -> None:
    """Whoever follows does not mind who leads, nor does a client of the leader that goes."""
    living, leader, following = living_with(7)
    living.loses = lambda envelope: isinstance(envelope.message, (LeaseAnswer, HeartbeatReply))
    tickets = [living.ask_lease(at, 7, renew=True) for at in (leader, *following)]
    living.settle()
    assert not living.leases
    living.loses = lambda _envelope: False
    living.give(leader, TransferRequested(following[0]))
    living.settle()
    living.pass_time(0.3)
    assert [60, 60, 60] == [living.leases[ticket] for ticket in tickets]


def _holds(kind: type, envelope: Envelope) -> bool:
    return isinstance(envelope.message, kind)


def test_a_lost_question_or_answer_is_asked_for_again() -> None:
    """Half a second later; doubled ones do no harm."""
    living, _, following = living_with(7)
    for kind in (LeaseQuestion, LeaseAnswer):
        living.loses = partial(_holds, kind)
        ticket = living.ask_lease(following[0], 7, renew=True)
        living.pass_time(0.2)
        living.loses = lambda _envelope: False
        assert ticket not in living.leases
        living.pass_time(0.6)
        assert living.leases[ticket] == 60


def test_nobody_waits_for_ever() -> None:
    """After a request's time: without a leader it is said so, with one that is silent also."""
    living, _, following = living_with(7)
    living.loses = lambda envelope: isinstance(envelope.message, LeaseQuestion)
    ticket = living.ask_lease(following[0], 7, renew=True)
    living.pass_time(7.2)
    assert row(living, ticket) is TIMEOUT
    living.cut = {A, B, C}
    living.pass_time(3.0)
    ticket = living.ask_lease(following[0], 7, renew=True)
    living.pass_time(6.8)
    assert ticket not in living.outcomes
    living.pass_time(0.4)
    assert row(living, ticket) is NO_LEADER


# -- one member by itself --------------------------------------------------------------------


def questions(sends: list[Envelope]) -> list[Question]:
    return [
        each.message for each in sends if isinstance(each.message, (LeaseQuestion, LeaseAnswer))
    ]


def test_questions_wait_in_line() -> None:
    """So many are under way at a time and no more; each answer lets the next one go."""
    following = Follower()
    asked = [LeaseAsked(at, at, renew=True) for at in range(WAITING_MAX + 3)]
    sent = questions(following.member.step(*asked).sends)
    assert list(range(ASKED_MAX)) == [each[4] for each in sent]
    refused = following.member.resolved
    assert [WAITING_MAX, WAITING_MAX + 1, WAITING_MAX + 2] == list(refused)
    rows = [each.row for each in refused.values() if isinstance(each, EtcdError)]
    assert [TOO_MANY_REQUESTS] * 3 == rows
    answer = LeaseAnswer(FOLLOWER, LEADER, Term(2), sent[0].context, known=True, seconds=9)
    outputs = following.member.step(Received([Envelope(LEADER, FOLLOWER, 1, 99, answer)]))
    assert [(0, 9)] == outputs.leases
    outputs = following.member.step(Received([Envelope(LEADER, FOLLOWER, 1, 99, answer)]))
    assert ([], ASKED_MAX) == (outputs.leases, len(following.member.replica._desk._asked))


def test_who_follows_answers_nobody() -> None:
    """A question that comes to the wrong member is not answered: whoever asked asks another."""
    following = Follower()
    question = LeaseQuestion(FOLLOWER, LEADER, Term(2), 1, 7, renew=False)
    sends = following.member.step(Received([Envelope(LEADER, FOLLOWER, 1, 99, question)])).sends
    assert [] == questions(sends)


def test_who_stops_or_learns_does_not_ask() -> None:
    """Those who wait are told that the member stops; a learner refuses, as etcd's does."""
    following = Follower()
    following.member.step(LeaseAsked("a", 7, renew=True))
    following.member.step(Stopped())
    following.member.step(LeaseAsked("b", 7, renew=True))
    outcomes = [following.member.resolved[each] for each in ("a", "b")]
    assert [STOPPED, STOPPED] == [each.row for each in outcomes if isinstance(each, EtcdError)]
    learner = Follower(is_learner=True)
    learner.member.step(LeaseAsked("c", 7, renew=True))
    refused = learner.member.resolved["c"]
    assert isinstance(refused, EtcdError)
    assert refused.row is NOT_SUPPORTED_FOR_LEARNER


def test_a_term_is_not_told_before_it_is_durable() -> None:
    """A question may leave at once; what it says of its sender's term must hold after a crash."""
    following = Follower()
    member = following.member
    heartbeat = Heartbeat(FOLLOWER, LEADER, Term(9), Index(0), 0)
    sends = member.step(
        Received([Envelope(LEADER, FOLLOWER, 1, 50, heartbeat)]), LeaseAsked("a", 7, renew=True)
    ).sends
    assert member.waiting is not None
    assert [2] == [each.term for each in questions(sends)]


def test_what_an_earlier_term_left_holds_up_nobody() -> None:
    """A renewal that an earlier term was about to log, and was voided, is not waited for."""
    living, leader, _ = living_with(7, ttl=600)
    replica = living.replicas[leader]
    checkpoint = messages.LeaseCheckpointRequest()
    checkpoint.checkpoints.add(ID=7, remaining_TTL=100)
    done(living.propose(leader, CommandKind.LEASE_CHECKPOINT, checkpoint.SerializeToString()))
    replica._desk._taken_back.append((Term(0), Index(replica.applied_index + 50), []))
    ticket = living.ask_lease(leader, 7, renew=True)
    living.settle()
    assert living.leases[ticket] == 600
