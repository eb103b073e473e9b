"""Commands on their way to whoever leads: sent on, held while leadership moves, or refused."""

from __future__ import annotations

import pytest

from tests.replica.living import A, B, C, Living, done, member, others, refusal
from tests.replica.states import FOLLOWER, LEADER, follower, follower_disk
from trioetcd import errors
from trioetcd.cluster import Removal, encode_change
from trioetcd.raft import AppendEntries, AppendEntriesReply, Heartbeat, Propose, TimeoutNow
from trioetcd.replica import Envelope, Proposed, Received, Stopped, TransferRequested
from trioetcd.schema import messages
from trioetcd.statemachine import HEAD_SIZE, CommandKind
from trioetcd.values import Index, MemberID, Term

PUT = CommandKind.PUT
ANYBODY = MemberID(0)


def put(key: bytes, size: int = 1) -> bytes:
    return messages.PutRequest(key=key, value=b"v" * size).SerializeToString()


def transfer_while_asked(living: Living, leader: MemberID) -> list[object]:
    """Begin a transfer, ask every member for puts before, while and after it goes on."""
    tickets = []
    for at in range(4):
        if at == 1:
            living.give(leader, TransferRequested(ANYBODY))
        tickets += [living.ask(number, PUT, put(b"k")) for number in living.replicas]
        living._round()
    return tickets


def test_what_comes_while_leadership_moves_goes_on_to_the_next_leader() -> None:
    """Nothing is refused, lost or done twice, whoever was asked."""
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    before = living.replicas[leader].store.revision
    tickets = transfer_while_asked(living, leader)
    living.settle()
    assert living.replicas[leader].leader in others(leader, A, B, C)
    for ticket in tickets:
        done(living.outcomes[ticket])
    assert before + len(tickets) == living.replicas[leader].store.revision


def test_a_transfer_that_fails_costs_time_and_nothing_else() -> None:
    """The old leader goes on after an election timeout with what was held, in its order."""
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    living.loses = lambda envelope: isinstance(envelope.message, TimeoutNow)
    tickets = transfer_while_asked(living, leader)
    living.settle()
    # What the leader had appended was done; what came later waits.
    assert len(tickets) > len(living.outcomes)
    living.pass_time(1.5)
    revisions = []
    for ticket in tickets:
        outcome = living.outcomes[ticket]
        assert isinstance(outcome, tuple), outcome
        revisions.append(outcome[0])
    assert leader == living.replicas[leader].leader
    assert len(set(revisions)) == len(revisions)
    own = revisions[list(living.replicas).index(leader) :: 3]
    assert sorted(own) == own, "one member's commands keep their order"


def test_without_any_leader_held_commands_are_refused_and_never_done() -> None:
    """Two election timeouts after the leader was lost they are told so; nobody has them then."""
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    survivor = others(leader, A, B, C)[0]
    living.cut = {A, B, C}
    while living.replicas[survivor].leader:
        living.pass_time(0.1)
    ticket = living.ask(survivor, PUT, put(b"k"))
    living.settle()
    assert ticket not in living.outcomes
    living.pass_time(1.8)
    assert ticket not in living.outcomes
    living.pass_time(0.4)
    assert errors.NO_LEADER.name == refusal(living.outcomes[ticket])
    assert 1 == living.replicas[survivor].statistics().proposals_failed
    assert errors.NO_LEADER.name == refusal(living.propose(survivor, PUT, put(b"k")))
    living.cut = set()
    living.lead()
    assert 1 == living.replicas[survivor].store.revision


def test_what_was_sent_to_a_leader_that_vanished_is_given_up_for_the_next_one() -> None:
    """Nobody knows whether it was done; that is told an election timeout after the next one came.

    What came while nobody led is done by the next one.
    """
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    survivor = others(leader, A, B, C)[0]
    living.cut = {leader}
    lost = living.ask(survivor, PUT, put(b"lost"))
    while living.replicas[survivor].leader == leader:
        living.pass_time(0.1)
    held = living.ask(survivor, PUT, put(b"held"))
    while not living.replicas[survivor].leader:
        living.pass_time(0.1)
    living.pass_time(0.8)
    assert lost not in living.outcomes
    done(living.outcomes[held])
    living.pass_time(0.4)
    assert errors.TIMEOUT_DUE_TO_LEADER_FAIL.name == refusal(living.outcomes[lost])
    later = living.ask(survivor, PUT, put(b"later"))
    living.pass_time(0.1)
    done(living.outcomes[later])


def test_without_a_next_leader_time_ends_the_waiting() -> None:
    """Then nothing is known about the reason."""
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    survivor = others(leader, A, B, C)[0]
    living.cut = {A, B, C}
    ticket = living.ask(survivor, PUT, put(b"k"))
    living.pass_time(6.8)
    assert ticket not in living.outcomes
    living.pass_time(0.4)
    assert errors.TIMEOUT.name == refusal(living.outcomes[ticket])


def test_who_stops_keeps_nobody_waiting() -> None:
    """What is held for a leader to come is told so at once."""
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    living.loses = lambda envelope: isinstance(envelope.message, TimeoutNow)
    living.give(leader, TransferRequested(ANYBODY))
    living.settle()
    ticket = living.ask(leader, PUT, put(b"k"))
    living.give(leader, Stopped())
    living.settle()
    assert errors.STOPPED.name == refusal(living.outcomes[ticket])


# -- a leader of two removes itself ----------------------------------------------------------


@pytest.mark.parametrize("at_leader", [False, True])
def test_a_leader_of_two_that_is_removed_lets_the_other_lead_first(*, at_leader: bool) -> None:
    """Whoever was asked answers, the removed one ends, and the other one serves alone."""
    living = Living([member(A), member(B)])
    leader = living.lead()
    staying = others(leader, A, B)[0]
    done(living.do(leader if at_leader else staying, Removal(leader)))
    assert living.replicas[leader].membership.is_removed(leader)
    living.cut = {leader}
    done(living.put(staying))


def test_a_member_that_removes_itself_answers() -> None:
    """Whoever was asked hears that it is done, though nobody waits for its acknowledgement."""
    living = Living([member(A), member(B), member(C)])
    leader = living.lead()
    gone, staying = others(leader, A, B, C)
    living.loses = lambda envelope: (
        envelope.sender == gone and isinstance(envelope.message, AppendEntriesReply)
    )
    done(living.do(gone, Removal(gone)))
    assert living.replicas[gone].membership.is_removed(gone)
    done(living.put(staying))


@pytest.mark.parametrize("power_cut", [False, True])
@pytest.mark.parametrize("moment", range(12))
def test_the_last_of_two_is_never_stuck(moment: int, *, power_cut: bool) -> None:
    """Once the removed leader has heard of it and is silent for ever, the other one serves alone.

    Even if that one loses its power at this moment, with all that it has not written.
    """
    living = Living([member(A), member(B)])
    leader = living.lead()
    staying = others(leader, A, B)[0]
    living.ask(leader, *encode_change(Removal(leader)))
    for _ in range(moment):
        living._round()
    gone = living.replicas[leader]
    # Not even what it says in the step in which it learns of its removal gets through.
    living.loses = lambda envelope: envelope.sender == leader and gone.membership.is_removed(leader)
    for _ in range(50):
        more = living._round()
        if gone.membership.is_removed(leader):
            break
        if not more:
            living.pass_time(0.1)
    assert gone.membership.is_removed(leader)
    # It has heard that it is removed, so it ends, and nothing more comes of it.
    living.cut = {leader}
    if power_cut:
        living.restart(staying)
        living.pass_time(3.0)
    done(living.put(staying))


def test_a_leader_of_two_whose_other_one_is_away_stays() -> None:
    """The removal is refused or times out, and the cluster is as before."""
    living = Living([member(A), member(B)])
    leader = living.lead()
    living.loses = lambda envelope: isinstance(envelope.message, TimeoutNow)
    assert errors.UNHEALTHY.name == refusal(living.do(leader, Removal(leader)))
    living.loses = lambda _envelope: False
    done(living.put(leader))
    done(living.do(leader, Removal(leader)))


# -- sizes -----------------------------------------------------------------------------------


class Follower:
    """The second of two members, which knows its leader."""

    def __init__(self, *, is_learner: bool = False) -> None:
        self.member = follower(follower_disk(is_learner=is_learner))
        self.sequence = 0
        self.hear(Heartbeat(FOLLOWER, LEADER, Term(2), Index(0), 0))
        self.member.settle()

    def hear(self, message: Heartbeat | AppendEntries | Propose) -> list[Envelope]:
        self.sequence += 1
        envelope = Envelope(LEADER, FOLLOWER, 1, self.sequence, message)
        return self.member.step(Received([envelope])).sends

    def propose(self, count: int, size: int) -> list[Propose]:
        """Propose so many puts in one step; gives what is sent on."""
        proposals: list[tuple[object, int, bytes]] = [
            (object(), PUT, put(b"k%d" % at, size)) for at in range(count)
        ]
        sends = self.member.step(Proposed(proposals)).sends
        return [each.message for each in sends if isinstance(each.message, Propose)]


def test_many_commands_are_sent_on_in_portions() -> None:
    """No message is much longer than a mebibyte; all commands are there once, in order."""
    sent = Follower().propose(100, 300_000)
    sizes = [sum(map(len, message.datas)) for message in sent]
    datas = [data for message in sent for data in message.datas]
    keys = [messages.PutRequest.FromString(data[HEAD_SIZE:]).key for data in datas]
    assert max(sizes) <= 1 << 20
    assert [b"k%d" % at for at in range(100)] == keys
    assert all(len(message.datas) == 3 for message in sent[:-1])


def test_a_long_command_goes_alone() -> None:
    """One that is longer than a portion is sent as it is."""
    assert [1, 1, 1] == [len(message.datas) for message in Follower().propose(3, 2_000_000)]


def test_what_is_under_way_is_bounded() -> None:
    """More than a link can hold is refused, not lost; room comes with the answers."""
    following = Follower()
    member = following.member
    for _ in range(8):
        following.propose(10, 500_000)
    refused = [each for each in member.resolved.values() if isinstance(each, errors.EtcdError)]
    assert {errors.TOO_MANY_REQUESTS} == {each.row for each in refused}
    assert 10 == len(refused)
    member.now += 7.1
    member.step()
    assert following.propose(1, 1), "nobody waits for the others any more"


def test_what_is_no_command_is_not_taken() -> None:
    """Bytes that cannot be a command are dropped wherever they come from."""
    following = Follower()
    for datas in ([], [b""], [b"x" * 40], [b"\x01"]):
        assert not [
            each
            for each in following.hear(Propose(FOLLOWER, LEADER, Term(2), datas))
            if isinstance(each.message, Propose)
        ]
