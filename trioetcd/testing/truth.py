"""The committed log as the simulator has seen it, carried out by the model entry by entry.

The first member that applies an entry decides what stands at its index; everybody else must find
the same there.
"""

from __future__ import annotations

from typing import NamedTuple

from trioetcd.statemachine import CommandKind, decode_command
from trioetcd.testing.model import Effect, Model
from trioetcd.testing.violation import require
from trioetcd.values import RequestID

__all__ = ["Entry", "Truth"]


class Entry(NamedTuple):
    """One entry: its term and its data."""

    term: int
    data: bytes


class Truth:
    """The log and what it did.

    Attributes:
        first: the index of the first entry; those before it made the cluster and have no data.
        entries: all entries applied by anybody, in order.
        effects: what each of them did.
        model: the state after the last one.
        executed: the indexes at which each payload of a client was carried out.
        revokes: leases that ended without a client having asked for it, with the index.

    Args:
        first: see above.
        ttl_min: see `Model`.
    """

    def __init__(self, *, first: int, ttl_min: int) -> None:
        self.first = first
        self.entries: list[Entry] = []
        self.effects: list[Effect] = []
        self.model = Model(ttl_min=ttl_min)
        self.executed: dict[bytes, list[int]] = {}
        self._requests: dict[RequestID, int] = {}

    @property
    def last(self) -> int:
        """The index of the last entry."""
        return self.first + len(self.entries) - 1

    def entry(self, index: int) -> Entry:
        """Give the entry at an index between `first` and `last`."""
        return self.entries[index - self.first]

    def effect(self, index: int) -> Effect:
        """Give what the entry at an index did."""
        return self.effects[index - self.first]

    def append(self, entry: Entry) -> tuple[int, RequestID, bytes] | None:
        """Take the next entry and carry it out; gives its command, None if it is empty.

        Raises:
            Violation: its proposal has been carried out before.
        """
        index = self.last + 1
        self.entries.append(entry)
        if not entry.data:
            self.effects.append(Effect(self.model.revision, b"", ()))
            return None
        kind, request, payload = command = decode_command(entry.data)
        before = self._requests.setdefault(request, index)
        require(
            before == index,
            "the proposal {} stands in the log at {} and at {}",
            request,
            before,
            index,
        )
        self.effects.append(self.model.apply(kind, payload))
        if kind < 32 and kind != CommandKind.NOOP:
            self.executed.setdefault(payload, []).append(index)
        return command
