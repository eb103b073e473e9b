"""Which messages came before: a doubled proposal would be carried out twice.

Consensus bears any message twice but two: Propose and ReadIndex. Their envelopes are numbered by
their senders, and each number is let in once.
"""

from __future__ import annotations

from typing import Final

from trioetcd.raft import Propose, ReadIndex
from trioetcd.replica.envelope import Envelope
from trioetcd.values import MemberID

__all__ = ["Inbox"]

WINDOW: Final = 4096
"""How far behind the newest number of its sender an envelope may arrive. One that is later still is
dropped, as if it had been lost."""


class _Sender:
    """What one member has sent: its boots, and the numbers of the latest."""

    __slots__ = ("boot", "earlier", "newest", "seen")

    def __init__(self, boot: int) -> None:
        self.boot = boot
        self.earlier: dict[int, None] = {}
        self.newest = 0
        self.seen: dict[int, None] = {}


class Inbox:
    """Lets every envelope in that may come in."""

    def __init__(self) -> None:
        self._senders: dict[MemberID, _Sender] = {}

    def admits(self, envelope: Envelope) -> bool:
        """Say whether an envelope is news; a number of `Propose` and `ReadIndex` is so once."""
        if not isinstance(envelope.message, (Propose, ReadIndex)):
            return True
        sender = self._senders.get(envelope.sender)
        if sender is None:
            sender = self._senders[envelope.sender] = _Sender(envelope.boot)
        elif sender.boot != envelope.boot:
            if envelope.boot in sender.earlier:
                return False
            sender.earlier[sender.boot] = None
            sender.boot, sender.newest, sender.seen = envelope.boot, 0, {}
        number = envelope.sequence
        if number in sender.seen or number <= sender.newest - WINDOW:
            return False
        sender.seen[number] = None
        if number > sender.newest:
            sender.newest = number
            while (oldest := next(iter(sender.seen))) <= number - WINDOW:
                del sender.seen[oldest]
        return True
