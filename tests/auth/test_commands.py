"""The commands of auth: their numbers, and the one payload that is not the API's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioetcd.auth import Authentication, commands, decode_authentication, encode_authentication
from trioetcd.schema.messages import DecodeError
from trioetcd.statemachine import CommandKind


def test_the_numbers_are_those_of_the_log() -> None:
    """Every kind of auth has its own number in the log, and no two share one."""
    named = {name: getattr(commands, name) for name in commands.__all__ if name.startswith("AUTH")}
    expected = {kind.name: kind.value for kind in CommandKind if 64 <= kind < 96}
    assert expected == named


@given(
    st.builds(
        Authentication, st.text(), st.binary(min_size=32, max_size=32), st.integers(0, 2**64 - 1)
    )
)
def test_round_trip(authentication: Authentication) -> None:
    """What is encoded is decoded."""
    assert authentication == decode_authentication(encode_authentication(authentication))


@pytest.mark.parametrize("payload", [b"", bytes(39), bytes(40) + b"\xff"])
def test_unreadable(payload: bytes) -> None:
    """What is too short or names nobody in UTF-8 is not read."""
    with pytest.raises(DecodeError):
        decode_authentication(payload)
