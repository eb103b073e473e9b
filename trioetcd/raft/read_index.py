"""Linearizable reads without a log entry (Raft dissertation, section 6.4).

A leader may answer a read at its commit index once it knows that, after the read came in, it was
still the leader: a majority acknowledged a heartbeat sent since. Reads gather into rounds. One
round is under way, numbered by the leader's own count, which heartbeats carry and answers repeat;
an answer to a round or to a later one counts, so that duplicates and stragglers confirm nothing.
No round begins before the leader has committed an entry of its own term: until then it may not
know what its predecessor promised. A sole voter needs nobody's answer.
"""

from __future__ import annotations

from trioetcd.values import Index, MemberID

__all__ = ["ReadRounds"]

Asked = tuple[int, MemberID]
"""The context of a read, and the member that asked; 0 for this one."""


class ReadRounds:
    """The reads of one member, as leader and as follower.

    Attributes:
        number: the latest round; counts on for as long as the process lives.
        confirmed: ``(context, read index)`` of own reads that may go on.
    """

    __slots__ = ("_asked", "_gathering", "_index", "_under_way", "confirmed", "number")

    def __init__(self) -> None:
        self.number = 0
        self.confirmed: list[tuple[int, Index]] = []
        self._gathering: list[Asked] = []
        self._under_way: list[Asked] = []
        self._index = Index(0)
        self._asked: set[int] = set()

    @property
    def waiting(self) -> bool:
        """Whether reads wait for a round while none is under way."""
        return bool(self._gathering) and not self._under_way

    @property
    def under_way(self) -> bool:
        """Whether answers to a round are waited for."""
        return bool(self._under_way)

    def gather(self, context: int, member: MemberID) -> None:
        """Let a read join the next round."""
        self._gathering.append((context, member))

    def begin(self, index: Index) -> None:
        """Begin a round for all that has gathered; `index` is the commit index now."""
        assert self.waiting
        self.number += 1
        self._index = index
        self._under_way = self._gathering
        self._gathering = []

    def confirm(self) -> tuple[Index, list[Asked]]:
        """End the round under way: a majority acknowledged it. Gives its read index and reads."""
        reads = self._under_way
        self._under_way = []
        return self._index, reads

    def ask(self, context: int) -> None:
        """Note that the leader is being asked."""
        self._asked.add(context)

    def answered(self, context: int, index: Index) -> None:
        """Take the leader's answer, unless nobody asked, or it has come before."""
        if context in self._asked:
            self._asked.remove(context)
            self.confirmed.append((context, index))

    def drop(self) -> None:
        """Forget everything: there is another role, term or leader now, and the owner asks again.

        What was confirmed and not taken goes too: a change of leader is told before an answer.
        """
        self.confirmed.clear()
        self._gathering.clear()
        self._under_way.clear()
        self._asked.clear()
