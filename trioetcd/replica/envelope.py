"""A message between members, with what names it for ever."""

from __future__ import annotations

from typing import NamedTuple

from trioetcd.questions import Question
from trioetcd.raft import Message
from trioetcd.values import MemberID

__all__ = ["Envelope"]


class Envelope(NamedTuple):
    """One message under way.

    Attributes:
        sender, to: members.
        boot: the sender's boot id.
        sequence: per boot, strictly growing.
        message: what is said.
    """

    sender: MemberID
    to: MemberID
    boot: int
    sequence: int
    message: Message | Question
