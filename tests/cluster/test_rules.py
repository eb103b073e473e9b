"""The rules that keep a quorum alive while members come and go, case by case as etcd decides."""

from __future__ import annotations

import pytest

from trioetcd import errors
from trioetcd.cluster import (
    Addition,
    Change,
    Member,
    Membership,
    Promotion,
    Removal,
    Update,
    encode_change,
    encode_member,
    member_row,
)
from trioetcd.cluster.commands import MEMBER_CHANGES
from trioetcd.cluster.rules import HEALTH_SECONDS, may_add, may_append, may_remove
from trioetcd.errors import ErrorRow
from trioetcd.schema import messages
from trioetcd.testing.space import DictSpace
from trioetcd.values import Index, MemberID

EPOCH = b"\x80"
ME = MemberID(1)
LONG = HEALTH_SECONDS + 1
NOT_STARTED = errors.MEMBER_NOT_ENOUGH_STARTED
UNHEALTHY = errors.UNHEALTHY


def cluster(voters: int, *, started: int | None = None, learners: int = 0) -> Membership:
    """Make members 1 to `voters`, the first `started` of them started, then learners."""
    rows: dict[bytes, bytes] = {}
    for number in range(1, voters + learners + 1):
        member = Member(
            id=MemberID(number),
            name="m" if started is None or number <= started else "",
            peer_urls=(f"https://{number}:2380",),
            is_learner=number > voters,
        )
        rows[member_row(EPOCH, member.id)] = encode_member(member)
    return Membership(DictSpace(rows), epoch=EPOCH)


def connected(*numbers: int, seconds: float = LONG) -> dict[MemberID, float]:
    return {MemberID(number): seconds for number in numbers}


@pytest.mark.parametrize(
    ("voters", "started", "peers", "expected"),
    [
        (1, 1, (), None),  # how every cluster begins to grow
        (1, 0, (), NOT_STARTED),
        (2, 1, (), NOT_STARTED),  # the one added before has not come yet
        (2, 2, (2,), None),
        (2, 2, (), UNHEALTHY),
        (3, 3, (2, 3), None),
        (3, 3, (2,), UNHEALTHY),  # two of four would be no majority
        (3, 2, (2, 3), NOT_STARTED),
        (4, 3, (2, 3), None),
        (5, 5, (2, 3), UNHEALTHY),
        (5, 5, (2, 3, 4), None),
    ],
)
def test_a_voter_is_added_only_to_a_healthy_quorum(
    voters: int, started: int, peers: tuple[int, ...], expected: ErrorRow | None
) -> None:
    """A majority of all, the new one taken for dead, must have started and be there."""
    members = cluster(voters, started=started)
    assert expected == may_add(members, learner=False, me=ME, connected=connected(*peers))


@pytest.mark.parametrize(
    ("voters", "started", "peers", "expected"),
    [
        (1, 0, (), None),
        (2, 1, (2,), None),  # who has not started does not matter to a learner
        (3, 3, (2,), UNHEALTHY),
        (3, 3, (2, 3), None),
    ],
)
def test_a_learner_needs_connections_only(
    voters: int, started: int, peers: tuple[int, ...], expected: ErrorRow | None
) -> None:
    """Etcd counts connections for a learner, too, but not who has started."""
    members = cluster(voters, started=started)
    assert expected == may_add(members, learner=True, me=ME, connected=connected(*peers))


def test_only_lasting_connections_count() -> None:
    """A connection counts when it is older than five seconds, and those to learners never do."""
    members = cluster(3, learners=1)
    for seconds, expected in ((HEALTH_SECONDS, UNHEALTHY), (LONG, None)):
        peers = connected(2, 3, seconds=seconds)
        assert expected == may_add(members, learner=False, me=ME, connected=peers)
    learner = connected(2, 4)
    assert UNHEALTHY == may_add(members, learner=False, me=ME, connected=learner)


@pytest.mark.parametrize(
    ("voters", "started", "gone", "peers", "expected"),
    [
        (1, 1, 1, (), NOT_STARTED),  # nobody would be left
        (2, 2, 2, (2,), None),
        (2, 2, 1, (2,), None),
        (2, 2, 1, (), UNHEALTHY),
        (2, 1, 1, (2,), NOT_STARTED),  # the one that stays has never been seen
        (3, 3, 3, (2,), None),  # not connected: no part of the quorum that works
        (3, 3, 2, (2,), UNHEALTHY),  # one of two would be left
        (3, 3, 2, (2, 3), None),
        (3, 3, 1, (2,), UNHEALTHY),
        (3, 2, 2, (2, 3), NOT_STARTED),
        (5, 5, 2, (2, 3, 4), None),
        (5, 5, 2, (2, 3), UNHEALTHY),
        (3, 3, 9, (), None),  # the entry's application says that there is no such member
    ],
)
def test_a_voter_is_removed_only_if_a_quorum_stays(
    voters: int, started: int, gone: int, peers: tuple[int, ...], expected: ErrorRow | None
) -> None:
    """Enough of those who stay have started, and the quorum at work survives."""
    members = cluster(voters, started=started)
    row = may_remove(members, MemberID(gone), me=ME, connected=connected(*peers))
    assert expected == row


def test_a_young_connection_makes_a_member_part_of_the_quorum_at_work() -> None:
    """Removing who has just come back is not removing the dead."""
    peers = {MemberID(2): LONG, MemberID(3): 1.0}
    assert UNHEALTHY == may_remove(cluster(3), MemberID(3), me=ME, connected=peers)


def test_learners_may_always_go() -> None:
    """A learner is in no quorum, so nothing can be lost with it."""
    members = cluster(3, started=0, learners=1)
    assert may_remove(members, MemberID(4), me=ME, connected={}) is None


def append(
    change: Change, membership: Membership, *match_indexes: int, strict: bool = True
) -> ErrorRow | None:
    """Ask the leader; the first match index is its own, as that of member 1."""
    progress = {MemberID(n): Index(match) for n, match in enumerate(match_indexes, 1)}
    return may_append(*encode_change(change), membership, progress, strict=strict)


@pytest.mark.parametrize(
    ("match_indexes", "expected"),
    [
        ((1000, 1000, 900), None),
        ((1000, 1000, 899), errors.LEARNER_NOT_READY),
        ((1000, 1000, 0), errors.LEARNER_NOT_READY),
        ((800, 1000, 899), errors.LEARNER_NOT_READY),  # the leader's disk is no measure
        ((0, 0, 0), None),
        ((1000, 1000), errors.MEMBER_NOT_FOUND),
    ],
)
def test_a_learner_votes_when_it_has_nearly_everything(
    match_indexes: tuple[int, ...], expected: ErrorRow | None
) -> None:
    """Nine tenths of what the leader has (etcd), as known to the leader alone."""
    members = cluster(2, learners=1)
    assert expected == append(Promotion(MemberID(3)), members, *match_indexes)


@pytest.mark.parametrize(
    ("voters", "started", "strict", "expected"),
    [
        (1, 1, True, None),
        (1, 0, True, NOT_STARTED),
        (2, 1, True, None),
        (3, 1, True, NOT_STARTED),
        (3, 1, False, None),
        (3, 2, True, None),
    ],
)
def test_a_promotion_needs_a_started_quorum(
    voters: int, started: int, expected: ErrorRow | None, *, strict: bool
) -> None:
    """The learner counts as started; without the strict check nobody is counted."""
    members = cluster(voters, started=started, learners=1)
    progress = [100] * (voters + 1)
    learner = MemberID(voters + 1)
    assert expected == append(Promotion(learner), members, *progress, strict=strict)


def test_the_leader_refuses_what_would_be_refused_when_applied() -> None:
    """What cannot change anything need not hold up the changes that can."""
    members = cluster(2, learners=1)
    full = (9, 9, 9)
    assert errors.MEMBER_NOT_LEARNER is append(Promotion(MemberID(2)), members, *full)
    assert errors.MEMBER_NOT_FOUND is append(Removal(MemberID(9)), members, *full)
    urls = ("https://2:2380",)
    assert errors.PEER_URL_EXIST is append(Update(MemberID(1), urls), members, *full)
    new = Member(MemberID(9), "", ("https://9:2380",), is_learner=True)
    assert errors.TOO_MANY_LEARNERS is append(Addition(new, 1), members, *full)
    assert append(Addition(new, 2), members, *full) is None


def test_the_leader_lets_pass_what_changes_no_members() -> None:
    """Other commands are no business of the rules, and garbage is an error when it is applied."""
    members = cluster(2, learners=1)
    put = messages.PutRequest(key=b"k").SerializeToString()
    assert may_append(1, put, members, {}, strict=True) is None
    for kind in MEMBER_CHANGES:
        assert may_append(kind, b"\xff", members, {}, strict=True) is None
