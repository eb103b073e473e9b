"""The envelope of a log entry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioetcd.statemachine import CommandKind, decode_command, encode_command
from trioetcd.statemachine.command import HEAD_SIZE
from trioetcd.values import RequestID

numbers = st.integers(0, 2**64 - 1)


@given(
    kind=st.sampled_from(CommandKind),
    request=st.builds(RequestID, numbers, numbers, numbers),
    payload=st.binary(max_size=50),
)
def test_round_trip(kind: CommandKind, request: RequestID, payload: bytes) -> None:
    """What is encoded is decoded."""
    assert (kind, request, payload) == decode_command(encode_command(kind, request, payload))


@pytest.mark.parametrize("data", [b"", b"\x01" * (HEAD_SIZE - 1), b"\x02" + b"\0" * HEAD_SIZE])
def test_refused(data: bytes) -> None:
    """A short or a foreign form is refused."""
    with pytest.raises(ValueError, match="command"):
        decode_command(data)
