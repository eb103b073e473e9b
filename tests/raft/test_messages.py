"""The messages have one form."""

from __future__ import annotations

from typing import get_args

from trioetcd.raft import Message


def test_every_message_says_who_and_when() -> None:
    """Each begins with the member it goes to, its sender and a term."""
    kinds = get_args(Message)
    assert len(kinds) == 13
    for kind in kinds:
        assert ("to", "sender", "term") == kind._fields[:3]
