"""The commands that change members: what is written is what is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cluster.test_member import members
from trioetcd import errors
from trioetcd.cluster.commands import (
    CONF_CHANGES,
    MEMBER_CHANGES,
    MEMBER_UPDATE,
    REFUSED,
    Addition,
    Change,
    Promotion,
    Removal,
    Update,
    decode_change,
    encode_change,
    encode_refused,
    refused_row,
)
from trioetcd.errors import Code, ErrorRow
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.values import MemberID

numbers = st.integers(1, 2**64 - 1).map(MemberID)
changes = st.one_of(
    st.builds(Addition, members, st.integers(-(2**63), 2**63 - 1)),
    st.builds(Removal, numbers),
    st.builds(Update, numbers, st.lists(st.text(max_size=8), max_size=3).map(tuple)),
    st.builds(Promotion, numbers),
)


@given(changes)
def test_change_round_trip(change: Change) -> None:
    """Every change is read back as it was written, under a kind of its own."""
    kind, payload = encode_change(change)
    read = decode_change(kind, payload)
    assert (type(change), change) == (type(read), read)
    assert kind in MEMBER_CHANGES


@given(st.sampled_from(sorted(MEMBER_CHANGES)), st.binary(max_size=40))
def test_any_bytes_are_a_change_or_no_message(kind: int, payload: bytes) -> None:
    """Garbage is told by one exception and no other."""
    try:
        decode_change(kind, payload)
    except messages.DecodeError:
        return


def test_kinds_are_those_of_the_log() -> None:
    """The numbers agree with the table of all commands, which is on disk."""
    kinds = {CommandKind(kind).name for kind in (*MEMBER_CHANGES, REFUSED)}
    expected = {"MEMBER_ADD", "MEMBER_REMOVE", "MEMBER_UPDATE", "MEMBER_PROMOTE", "REFUSED"}
    assert expected == kinds
    assert MEMBER_CHANGES == CONF_CHANGES | {MEMBER_UPDATE}, "new URLs change no quorum"


@pytest.mark.parametrize("row", errors.ROWS.values(), ids=errors.ROWS)
def test_refusals_carry_every_error(row: ErrorRow) -> None:
    """Whatever forbids a change comes out at its proposer as the very same error."""
    assert row is refused_row(encode_refused(row))


def test_a_refusal_of_a_later_version_is_told_by_its_name() -> None:
    """An unknown name is an error all the same, never a success."""
    row = refused_row(b"Brand\xffNew")
    assert (Code.UNKNOWN, "etcdserver: refused: Brand�New") == (row.code, row.text)
