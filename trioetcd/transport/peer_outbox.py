"""What waits to be sent to one peer: two lanes, bounded, the newest dropped when a lane is full.

Raft repeats whatever gets lost, so dropping is safe; what must not happen is that entries to a
peer that lags hold up the heartbeat that keeps its election from starting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from trioetcd import raft
from trioetcd.wire.peer_messages import Numbered, message_bytes

__all__ = ["LANE_BYTES_MAX", "LANE_MESSAGES_MAX", "PeerOutbox"]

LANE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes in a lane: four of the longest frames; a leader's window to one peer is smaller."""

LANE_MESSAGES_MAX: Final = 4096
"""Messages in a lane: etcd's pipe of messages to a peer holds as many."""

_DATA: Final = (raft.AppendEntries, raft.Propose, raft.ReadIndex)
"""Entries, and ReadIndex: a receiver knows repeated Propose and ReadIndex by their order, so
one must not overtake the other."""


class PeerOutbox:
    """Messages in the order in which they are to be sent.

    Attributes:
        waiting: messages in both lanes.
        dropped: messages that found their lane full, or were cleared.

    Args:
        bytes_max: bound of each lane in bytes.
        messages_max: bound of each lane in messages.
    """

    def __init__(
        self, *, bytes_max: int = LANE_BYTES_MAX, messages_max: int = LANE_MESSAGES_MAX
    ) -> None:
        self.waiting = 0
        self.dropped = 0
        self._control = _Lane(bytes_max, messages_max)
        self._data = _Lane(bytes_max, messages_max)

    def put(self, messages: Iterable[Numbered]) -> None:
        """Add messages; one that finds its lane full is dropped, unless the lane is empty."""
        for numbered in messages:
            lane = self._data if isinstance(numbered.message, _DATA) else self._control
            if lane.put(numbered):
                self.waiting += 1
            else:
                self.dropped += 1

    def take(self, bytes_max: int) -> list[Numbered]:
        """Take what goes out next: about `bytes_max`, at least one message if there is any."""
        taken: list[Numbered] = []
        left = bytes_max
        if self._control.messages:
            left = self._control.take(taken, left)
        if self._data.messages:
            self._data.take(taken, left)
        self.waiting -= len(taken)
        return taken

    def clear(self) -> None:
        """Drop everything: the connection it was meant for is gone."""
        self.dropped += self.waiting
        self.waiting = 0
        self._control.clear()
        self._data.clear()


class _Lane:
    __slots__ = ("_bytes_max", "_messages_max", "messages", "size")

    def __init__(self, bytes_max: int, messages_max: int) -> None:
        self.messages: deque[tuple[Numbered, int]] = deque()
        self.size = 0
        self._bytes_max = bytes_max
        self._messages_max = messages_max

    def put(self, numbered: Numbered) -> bool:
        length = message_bytes(numbered.message)
        full = len(self.messages) >= self._messages_max or self.size + length > self._bytes_max
        if full and self.messages:
            return False
        self.messages.append((numbered, length))
        self.size += length
        return True

    def take(self, taken: list[Numbered], left: int) -> int:
        while self.messages and (left > 0 or not taken):
            numbered, length = self.messages.popleft()
            self.size -= length
            left -= length
            taken.append(numbered)
        return left

    def clear(self) -> None:
        self.messages.clear()
        self.size = 0
