"""Commands for a leader that is another member, or that nobody knows yet.

While leadership moves nobody may append, and who follows does not know yet whom to ask. Commands
that come then are held for a while, in order, and go on together to whoever leads next. What was
sent on and not answered is counted, so that a slow leader does not fill this member's memory.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from trioetcd.replica.inputs import Ticket
from trioetcd.values import MemberID

__all__ = ["GATHER_SECONDS", "Forwarding"]

GATHER_SECONDS: Final = 0.01
"""Commands wait no longer than this for answers to earlier ones: those may have been lost."""


class Forwarding:
    """What is held, and what is under way.

    Attributes:
        held: commands that wait for a leader, in order.
        held_bytes: their size.
        changes_members: whether a change of members is among them.
        leaders: how often a leader has come to be known.
        led_since: since when the leader has been known that is known now, or was last.
        doubtful: commands up to this count were on their way when that leader came, and may have
            been lost with the one before; 0 if nothing is to be done about it.

    Args:
        waiting: who waits for which proposal of this boot, oldest first (`Pending.waiting`).
        patience: seconds for which commands are held after a leader was last known.
    """

    def __init__(self, waiting: dict[int, Ticket], *, patience: float) -> None:
        self.held: list[bytes] = []
        self.held_bytes = 0
        self.changes_members = False
        self.leaders = 0
        self.led_since = -math.inf
        self.doubtful = 0
        self._leader = MemberID(0)
        self._waiting = waiting
        self._patience = patience
        self._led_at = -math.inf
        self._sent: deque[tuple[int, int]] = deque()
        self._sent_bytes = 0
        self._sent_at = -math.inf

    def led(self, leader: MemberID, now: float) -> bool:
        """Note who leads, as far as is known here, 0 for nobody; whether that is somebody new."""
        if leader:
            self._led_at = now
        if leader == self._leader:
            return False
        self._leader = leader
        if leader:
            self.leaders += 1
            self.led_since = now
        return leader != 0

    def expects_leader(self, now: float) -> bool:
        """Say whether there was a leader so recently that the next one is worth waiting for."""
        return now - self._led_at <= self._patience

    def hold(self, datas: list[bytes], *, changes_members: bool) -> None:
        """Keep commands back."""
        self.held += datas
        self.held_bytes += sum(map(len, datas))
        self.changes_members |= changes_members

    def release(self) -> list[bytes]:
        """Give what is held, which is not held any more."""
        datas, self.held = self.held, []
        self.held_bytes = 0
        self.changes_members = False
        return datas

    def sent(self, counter: int, size: int, now: float) -> None:
        """Note that `size` bytes of commands, up to the one that is counted so, were sent on."""
        self._sent.append((counter, size))
        self._sent_bytes += size
        self._sent_at = now

    def gathers(self, now: float) -> bool:
        """Say whether what comes now waits for the answers to what was sent on last.

        So it goes on with all that comes meanwhile, in one message, and a lone command at once.
        """
        if not self._sent or now - self._sent_at > GATHER_SECONDS:
            return False
        self.size()
        return bool(self._sent)

    def size(self) -> int:
        """Give the bytes that are held or under way: sent on, and somebody still waits."""
        sent = self._sent
        if sent:
            oldest = next(iter(self._waiting), math.inf)
            while sent and sent[0][0] < oldest:
                self._sent_bytes -= sent.popleft()[1]
        return self.held_bytes + self._sent_bytes
