"""Numbers of members and clusters, and the stored form of a member."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioetcd.cluster import Member, cluster_id, decode_member, encode_member, member_id
from trioetcd.values import MemberID

members = st.builds(
    Member,
    id=st.integers(1, 2**64 - 1).map(MemberID),
    name=st.text(max_size=8),
    peer_urls=st.lists(st.text(max_size=8), max_size=3).map(tuple),
    client_urls=st.lists(st.text(max_size=8), max_size=3).map(tuple),
    is_learner=st.booleans(),
)


def test_numbers_of_a_default_single_member() -> None:
    """The best-known numbers of all: what etcd without any flag calls itself and its cluster."""
    me = member_id(["http://localhost:2380"], "etcd-cluster")
    assert f"{me:x}" == "8e9e05c52164694d"
    assert f"{cluster_id([me]):x}" == "cdf818194e3a8c32"


def test_numbers_do_not_depend_on_order() -> None:
    """URLs and members may come in any order."""
    urls = ["https://b:2380", "https://a:2380"]
    assert member_id(urls, "t") == member_id(reversed(urls), "t")
    ids = [MemberID(3), MemberID(1)]
    assert cluster_id(ids) == cluster_id(reversed(ids))


def test_a_member_added_later_has_another_number() -> None:
    """The second of its addition goes into the number, so that removed ones do not come back."""
    urls = ["https://a:2380"]
    assert len({member_id(urls, "t"), member_id(urls, "t", added_at=1), member_id(urls, "u")}) == 3


@given(members)
def test_stored_form_round_trip(member: Member) -> None:
    """A member is read back as it was written."""
    assert member == decode_member(encode_member(member))
