"""Users, roles and permissions as values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioetcd.auth import READ, READWRITE, WRITE, Permission, Role, User
from trioetcd.auth.user import decode_role, decode_user, encode_role, encode_user, to_message
from trioetcd.keyrange import KeyRange
from trioetcd.schema import messages

permissions = st.builds(Permission, st.integers(0, 5), st.binary(max_size=4), st.binary(max_size=4))
users = st.builds(
    User,
    st.text(min_size=1),
    st.binary(max_size=60),
    st.booleans(),
    st.lists(st.text(max_size=3)).map(tuple),
)
roles = st.builds(Role, st.text(min_size=1), st.lists(permissions, max_size=4).map(tuple))


@given(user=users, role=roles)
def test_round_trip(user: User, role: Role) -> None:
    """What is encoded is decoded."""
    assert user == decode_user(encode_user(user))
    assert role == decode_role(encode_role(role))


def test_the_stored_form_is_etcds() -> None:
    """Rows are authpb's messages, of which etcd writes the options of a user always."""
    assert b"\x0a\x01a\x12\x01h\x1a\x01r\x22\x00" == encode_user(User("a", b"h", roles=("r",)))
    assert b"\x0a\x01a\x22\x02\x08\x01" == encode_user(User("a", no_password=True))
    role = Role("r", (Permission(WRITE, b"k", b"l"),))
    assert b"\x0a\x01r\x12\x08\x08\x01\x12\x01k\x1a\x01l" == encode_role(role)


def test_kinds_are_the_apis() -> None:
    """The numbers are those on the wire."""
    named = {"READ": READ, "WRITE": WRITE, "READWRITE": READWRITE}
    assert named == dict(messages.Permission.Type.items())


def test_the_keys_of_a_permission() -> None:
    """A permission follows the conventions of a range."""
    assert KeyRange(b"k", b"k\0") == Permission(READ, b"k", b"").keys
    assert KeyRange(b"k", None) == Permission(READ, b"k", b"\0").keys
    assert KeyRange(b"k", b"l") == Permission(READ, b"k", b"l").keys
    message = to_message(Permission(WRITE, b"k", b"l"))
    assert (1, b"k", b"l") == (message.permType, message.key, message.range_end)
