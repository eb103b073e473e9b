"""The members table follows applied entries, and a restart reads the same from its rows."""

from __future__ import annotations

from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioetcd.cluster import (
    CONF_CHANGES,
    MEMBER_ATTRIBUTES,
    Addition,
    Change,
    Member,
    Membership,
    Promotion,
    Removal,
    Update,
    attributes_command,
    encode_change,
    encode_member,
    encode_refused,
    member_row,
)
from trioetcd.cluster.commands import REFUSED
from trioetcd.errors import LEARNER_NOT_READY, MEMBER_NOT_FOUND, Code, EtcdError
from trioetcd.raft import ConfState
from trioetcd.schema import messages
from trioetcd.testing.space import DictSpace
from trioetcd.values import MemberID

EPOCH = b"\x80"
ONE = Member(id=MemberID(1), name="", peer_urls=("https://a:2380",))
TWO = Member(id=MemberID(2), name="b", peer_urls=("https://b:2380",), is_learner=True)
THREE = Member(id=MemberID(3), name="", peer_urls=("https://c:2380",))

Response = TypeVar("Response", bound=messages.Message)


def fresh(*members: Member) -> DictSpace:
    """Make a space with some members, by default a voter and a learner."""
    return DictSpace({member_row(EPOCH, m.id): encode_member(m) for m in members or (TWO, ONE)})


def do(membership: Membership, change: Change, response: type[Response]) -> Response:
    """Apply a change that must succeed, and read its answer."""
    outcome = membership.apply(*encode_change(change))
    assert isinstance(outcome, tuple), outcome
    revision, body = outcome
    assert revision == 0, "membership answers carry no revision"
    return response.FromString(body)


def refused(membership: Membership, change: Change) -> tuple[Code, str]:
    """Apply a change that must fail, and change nothing."""
    before = membership.members(), membership.changes
    outcome = membership.apply(*encode_change(change))
    assert isinstance(outcome, EtcdError), outcome
    assert before == (membership.members(), membership.changes)
    return outcome.code, outcome.text


def test_members_are_listed_by_number() -> None:
    """MemberList's order is that of the numbers, and learners do not vote."""
    membership = Membership(fresh(), epoch=EPOCH)
    assert membership.members() == [ONE, TWO]
    assert membership.voters() == (1,)
    assert len(membership) == 2
    assert membership.get(MemberID(3)) is None


def test_attributes_change_what_a_member_tells_of_itself_only() -> None:
    """Name and client URLs change, peer URLs and learner do not, and a restart sees the same."""
    space = fresh()
    membership = Membership(space, epoch=EPOCH)
    membership.set_attributes(attributes_command(TWO.id, "new", ("https://b:2379",)))
    expected = Member(TWO.id, "new", TWO.peer_urls, ("https://b:2379",), is_learner=True)
    assert expected == membership.get(TWO.id)
    assert [ONE, expected] == Membership(space, epoch=EPOCH).members()


def test_attributes_of_a_stranger_are_refused() -> None:
    """A member that is gone cannot come back by telling its name."""
    membership = Membership(fresh(), epoch=EPOCH)
    with pytest.raises(EtcdError) as caught:
        membership.set_attributes(attributes_command(MemberID(9), "x", ()))
    assert caught.value.row is MEMBER_NOT_FOUND


def test_commands_have_outcomes() -> None:
    """Applied attributes answer with no revision; errors and unknown kinds are outcomes too."""
    membership = Membership(fresh(), epoch=EPOCH)
    assert membership.apply(MEMBER_ATTRIBUTES, attributes_command(ONE.id, "a", ())) == (0, b"")
    gone = membership.apply(MEMBER_ATTRIBUTES, attributes_command(MemberID(9), "a", ()))
    assert isinstance(gone, EtcdError)
    assert gone.row is MEMBER_NOT_FOUND
    unknown = membership.apply(62, b"")
    assert isinstance(unknown, EtcdError)
    assert unknown.code == Code.UNIMPLEMENTED


def test_answers_hold_the_members_after_the_change() -> None:
    """Every change answers with all members in order, an addition also with the new one."""
    membership = Membership(fresh(ONE), epoch=EPOCH)
    added = do(membership, Addition(THREE, 1), messages.MemberAddResponse)
    assert (3, ["https://c:2380"]) == (added.member.ID, list(added.member.peerURLs))
    assert [1, 3] == [member.ID for member in added.members]
    do(membership, Addition(TWO, 1), messages.MemberAddResponse)
    moved = do(membership, Update(THREE.id, ("https://d:1",)), messages.MemberUpdateResponse)
    assert ["https://d:1"] == list(moved.members[2].peerURLs)
    voting = do(membership, Promotion(TWO.id), messages.MemberPromoteResponse)
    assert [False, False, False] == [member.isLearner for member in voting.members]
    left = do(membership, Removal(ONE.id), messages.MemberRemoveResponse)
    assert [2, 3] == [member.ID for member in left.members]
    assert not left.HasField("header")


def test_new_urls_never_promote_a_learner() -> None:
    """MemberUpdate changes where a member is reached, and nothing else (etcd issue 21736)."""
    membership = Membership(fresh(), epoch=EPOCH)
    do(membership, Update(TWO.id, ("https://x:1", "https://y:1")), messages.MemberUpdateResponse)
    expected = Member(TWO.id, "b", ("https://x:1", "https://y:1"), (), is_learner=True)
    assert expected == membership.get(TWO.id)


NOT_FOUND = (Code.NOT_FOUND, "etcdserver: member not found")
URL_EXISTS = (Code.FAILED_PRECONDITION, "etcdserver: Peer URLs already exists")
NOT_STARTED = (
    Code.UNKNOWN,
    "etcdserver: re-configuration failed due to not enough started members",
)
LAST_LEARNER = Member(MemberID(4), "", ("https://d:1",), is_learner=True)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Addition(ONE, 9), (Code.FAILED_PRECONDITION, "etcdserver: member ID already exist")),
        (Addition(Member(MemberID(4), "", ("https://x:1", *ONE.peer_urls)), 9), URL_EXISTS),
        (
            Addition(LAST_LEARNER, 1),
            (Code.FAILED_PRECONDITION, "etcdserver: too many learner members in cluster"),
        ),
        (Removal(MemberID(9)), NOT_FOUND),
        (Removal(ONE.id), NOT_STARTED),
        (Update(MemberID(9), ("https://x:1",)), NOT_FOUND),
        (Update(TWO.id, ("https://x:1", *ONE.peer_urls)), URL_EXISTS),
        (Promotion(MemberID(9)), NOT_FOUND),
        (
            Promotion(ONE.id),
            (Code.FAILED_PRECONDITION, "etcdserver: can only promote a learner member"),
        ),
    ],
)
def test_what_the_table_forbids_has_etcds_words(change: Change, expected: tuple[Code, str]) -> None:
    """Each refusal has etcd's code and text, and changes nothing."""
    assert expected == refused(Membership(fresh(), epoch=EPOCH), change)


def test_an_update_may_keep_urls() -> None:
    """The URLs a member has already are no other member's."""
    membership = Membership(fresh(), epoch=EPOCH)
    urls = (*TWO.peer_urls, "https://x:1")
    do(membership, Update(TWO.id, urls), messages.MemberUpdateResponse)


def test_as_many_learners_as_the_entry_allows() -> None:
    """The bound is the entry's, so that members told different bounds decide alike."""
    membership = Membership(fresh(), epoch=EPOCH)
    do(membership, Addition(LAST_LEARNER, 2), messages.MemberAddResponse)
    assert ConfState((ONE.id,), (TWO.id, LAST_LEARNER.id)) == membership.conf_state()


def test_a_removed_number_never_comes_back() -> None:
    """Neither at once nor after a restart, by whatever change, though its URLs may."""
    space = fresh(ONE, THREE)
    do(Membership(space, epoch=EPOCH), Removal(THREE.id), messages.MemberRemoveResponse)
    membership = Membership(space, epoch=EPOCH)
    assert membership.is_removed(THREE.id)
    assert not membership.is_removed(ONE.id)
    again: list[Change] = [
        Addition(THREE, 1),
        Removal(THREE.id),
        Update(THREE.id, ("https://x:1",)),
        Promotion(THREE.id),
    ]
    for change in again:
        assert NOT_FOUND == refused(membership, change)
    anew = Member(MemberID(5), "", THREE.peer_urls)
    do(membership, Addition(anew, 1), messages.MemberAddResponse)
    assert [ONE, anew] == membership.members()


def test_a_refused_change_gives_its_error() -> None:
    """What a leader put in place of a change changes nothing and tells the leader's reason."""
    membership = Membership(fresh(), epoch=EPOCH)
    outcome = membership.apply(REFUSED, encode_refused(LEARNER_NOT_READY))
    assert isinstance(outcome, EtcdError)
    expected = "etcdserver: can only promote a learner member which is in sync with leader"
    assert (Code.FAILED_PRECONDITION, expected) == (outcome.code, outcome.text)
    assert [ONE, TWO] == membership.members()


def test_the_last_one_left_votes_and_remembers_the_others() -> None:
    """Alone again, a learner votes; who was there before can never come back."""
    space = fresh(ONE, TWO, THREE)
    membership = Membership(space, epoch=EPOCH)
    membership.keep_only(TWO.id)
    for now in (membership, Membership(space, epoch=EPOCH)):
        assert ConfState((TWO.id,)) == now.conf_state()
        assert (True, True) == (now.is_removed(ONE.id), now.is_removed(THREE.id))


members = st.builds(
    Member,
    id=st.integers(1, 6).map(MemberID),
    name=st.just(""),
    peer_urls=st.lists(st.sampled_from("abcd"), min_size=1, max_size=2).map(tuple),
    is_learner=st.booleans(),
)
numbers = st.integers(1, 6).map(MemberID)
changes = st.one_of(
    st.builds(Addition, members, st.integers(0, 2)),
    st.builds(Removal, numbers),
    st.builds(Update, numbers, st.lists(st.sampled_from("abcd"), max_size=2).map(tuple)),
    st.builds(Promotion, numbers),
)


@given(st.lists(changes, max_size=30))
def test_any_changes_keep_a_cluster_that_raft_can_follow(sequence: list[Change]) -> None:
    """Always a voter, one voter's difference at most, no number twice, and rows that say it all."""
    space = fresh(Member(MemberID(1), "", ("a",)))
    membership = Membership(space, epoch=EPOCH)
    gone: set[MemberID] = set()
    for change in sequence:
        before = membership.conf_state()
        kind, payload = encode_change(change)
        outcome = membership.apply(kind, payload)
        after = membership.conf_state()
        assert after.voters
        assert len(set(before.voters) ^ set(after.voters)) <= 1
        if isinstance(outcome, EtcdError) or kind not in CONF_CHANGES:
            assert before == after
        gone |= {*before.voters, *before.learners} - {*after.voters, *after.learners}
        assert gone.isdisjoint(member.id for member in membership.members())
        assert all(map(membership.is_removed, gone))
        again = Membership(space, epoch=EPOCH)
        assert membership.members() == again.members()
        assert all(map(again.is_removed, gone))
    urls = [url for member in membership.members() for url in set(member.peer_urls)]
    assert len(set(urls)) == len(urls)
