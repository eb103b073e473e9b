"""The judge of answers accepts what a correct cluster says, and nothing else."""

from __future__ import annotations

import pytest

from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind, encode_command
from trioetcd.testing.answers import Answers
from trioetcd.testing.operation import Ask, KeepAlive, Operation, Propose, Read, Result, Status
from trioetcd.testing.truth import Entry, Truth
from trioetcd.testing.violation import Violation
from trioetcd.values import RequestID


class Court:
    """A log and its judge."""

    def __init__(self) -> None:
        self.truth = Truth(first=2, ttl_min=1)
        self.answers = Answers(self.truth, drift=1.0)
        self.count = 0

    def ask(self, ask: Ask, invoked: int = 0) -> Operation:
        self.count += 1
        operation = Operation(self.count, ask, 0, invoked, lambda _: None)
        self.answers.begin(operation)
        return operation

    def commit(self, kind: CommandKind, payload: bytes, seen: int | None = None) -> Result:
        """Carry out a command; gives the right answer."""
        self.count += 1
        data = encode_command(kind, RequestID(1, 1, self.count), payload)
        self.truth.append(Entry(2, data))
        self.answers.applied(self.truth.last, kind, payload, seen)
        effect = self.truth.effects[-1]
        assert isinstance(effect.answer, bytes)
        return Result(Status.DONE, effect.revision, effect.answer)


def put(value: bytes) -> Propose:
    request = messages.PutRequest(key=b"a", value=value)
    return Propose(CommandKind.PUT, request.SerializeToString())


GET = Read(messages.RangeRequest(key=b"a"))


def state(court: Court) -> Result:
    body = court.truth.model.range(GET.request, 0).SerializeToString()
    return Result(Status.DONE, court.truth.model.revision, body)


def test_right_answers_are_taken() -> None:
    """A put that is in the log and a read that shows it pass."""
    court = Court()
    operation = court.ask(put(b"1"))
    court.answers.end(operation, court.commit(*put(b"1")))
    court.answers.end(court.ask(GET), state(court))

    assert court.answers.results[Status.DONE] == 2


def test_an_answer_without_an_entry_is_refused() -> None:
    """What is answered must be in the log."""
    court = Court()
    with pytest.raises(Violation, match="not in the log"):
        court.answers.end(court.ask(put(b"1")), Result(Status.DONE, 2, b""))


def test_a_wrong_revision_is_refused() -> None:
    """A put's answer carries the revision of its own entry."""
    court = Court()
    operation = court.ask(put(b"1"))
    right = court.commit(*put(b"1"))
    with pytest.raises(Violation, match="right"):
        court.answers.end(operation, right._replace(revision=3))


def test_a_command_carried_out_twice_is_refused() -> None:
    """A payload nobody else proposes stands in the log once."""
    court = Court()
    operation = court.ask(put(b"1"))
    right = court.commit(*put(b"1"))
    court.commit(*put(b"1"))
    with pytest.raises(Violation, match="carried out at"):
        court.answers.end(operation, right)


def test_the_same_proposal_twice_is_refused() -> None:
    """A proposal's name stands in the log once."""
    truth = Truth(first=2, ttl_min=1)
    data = encode_command(*put(b"1")[:1], RequestID(1, 1, 1), put(b"1").payload)
    truth.append(Entry(2, data))
    with pytest.raises(Violation, match="stands in the log at 2 and at 3"):
        truth.append(Entry(2, data))


def test_a_stale_linearizable_read_is_refused_and_a_stale_other_one_is_not() -> None:
    """Only a linearizable read must show what was answered before."""
    court = Court()
    old = state(court)
    operation = court.ask(put(b"1"))
    court.answers.end(operation, court.commit(*put(b"1")))

    court.answers.end(court.ask(Read(GET.request, serializable=True)), old)
    with pytest.raises(Violation, match="read revision 1 after 2"):
        court.answers.end(court.ask(GET), old)


def test_a_read_that_began_before_may_be_older() -> None:
    """A read that overlaps a write may show the state before it."""
    court = Court()
    early, operation = court.ask(GET), court.ask(put(b"1"))
    old = state(court)
    court.answers.end(operation, court.commit(*put(b"1")))

    court.answers.end(early, old)


def test_a_read_of_something_else_is_refused() -> None:
    """A read shows the model's state at its revision."""
    court = Court()
    court.commit(*put(b"1"))
    with pytest.raises(Violation, match="right is"):
        court.answers.end(court.ask(GET), state(court)._replace(body=b""))


def test_a_refused_command_that_happens_is_found() -> None:
    """What was refused must never be carried out."""
    court = Court()
    court.answers.end(court.ask(put(b"1")), Result(Status.REFUSED, error="NoLeader"))
    with pytest.raises(Violation, match="refused, and then done"):
        court.commit(*put(b"1"))


@pytest.mark.parametrize(
    ("renewed", "seen", "early"),
    [
        (None, 3_000_000, False),
        (None, 2_900_000, True),
        (2_000_000, 3_500_000, True),
        (2_000_000, 5_000_000, False),
    ],
)
def test_a_lease_lives_as_long_as_was_promised(
    renewed: int | None, seen: int, *, early: bool
) -> None:
    """A lease that nobody revoked ends only when grant and renewals have run out."""
    court = Court()
    grant = messages.LeaseGrantRequest(ID=5, TTL=3).SerializeToString()
    operation = court.ask(Propose(CommandKind.LEASE_GRANT, grant))
    court.answers.end(operation, court.commit(CommandKind.LEASE_GRANT, grant))
    if renewed is not None:
        court.answers.end(court.ask(KeepAlive(5), renewed), Result(Status.DONE, 3))
    revoke = messages.LeaseRevokeRequest(ID=5).SerializeToString()

    if early:
        with pytest.raises(Violation, match="lease 5 was promised"):
            court.commit(CommandKind.LEASE_REVOKE, revoke, seen)
    else:
        court.commit(CommandKind.LEASE_REVOKE, revoke, seen)
