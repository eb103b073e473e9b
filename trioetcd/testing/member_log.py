"""One member's log, rebuilt from the batches it hands to its disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trioetcd.replica.rows import Meta
from trioetcd.testing.truth import Entry

__all__ = ["MemberLog", "Stretch"]


class Stretch(NamedTuple):
    """The entries of one stored group."""

    first: int
    entries: list[Entry]


class _Undo(NamedTuple):
    """How to forget the batch under way."""

    first: int
    entries: list[Entry]
    place: int
    tail: list[Entry]
    cut: Meta | None
    durable_last: int


class MemberLog:
    """One member's log and how much of it is durable.

    Attributes:
        first: the index of the first entry in `entries`.
        entries: the entries from there on, those of the batch under way included.
        cut: the meta row of the last batch handed to the disk; None before the first.
        durable: the meta row of the last durable batch.
        durable_last: up to where `entries` is durable.

    Args:
        first: the index the log begins at.
    """

    def __init__(self, first: int) -> None:
        self.first = first
        self.entries: list[Entry] = []
        self.cut: Meta | None = None
        self.durable: Meta | None = None
        self.durable_last = first - 1
        self._undo: _Undo | None = None

    @property
    def last(self) -> int:
        """The last index."""
        return self.first + len(self.entries) - 1

    def at(self, index: int) -> Entry | None:
        """Give the entry at an index if it is known."""
        place = index - self.first
        return self.entries[place] if 0 <= place < len(self.entries) else None

    def holds(self, index: int, term: int) -> bool:
        """Whether an entry is durable here, by itself or by its effects."""
        durable = self.durable
        if durable is None:
            return False
        if durable.applied >= index:
            return True
        entry = self.at(index)
        return index <= self.durable_last and entry is not None and entry.term == term

    def begin(self, meta: Meta, stretches: Sequence[Stretch]) -> None:
        """Take what a batch handed to the disk does to the log.

        Args:
            meta: the batch's meta row.
            stretches: its groups, ascending; what lay at and behind the first of them is void.
        """
        first, entries, durable_last = self.first, self.entries, self.durable_last
        lowest = min([meta.last + 1, *(stretch.first for stretch in stretches)])
        if meta.first > min(self.last + 1, meta.last):
            # A snapshot was installed, and what lay below it may never have been committed; or
            # all has been applied and thrown away.
            self._undo = _Undo(first, entries, len(entries), [], self.cut, durable_last)
            self.first = meta.first
            self.entries = entries = []
            self.durable_last = meta.first - 1
        else:
            place = lowest - first
            assert place >= 0, "a batch rewrites what the log does not have"
            self._undo = _Undo(first, entries, place, entries[place:], self.cut, durable_last)
            del entries[place:]
            self.durable_last = min(durable_last, lowest - 1)
        for stretch in stretches:
            place = stretch.first - self.first
            assert 0 <= place <= len(entries), "the groups of a batch leave a gap"
            entries[place:] = stretch.entries
        self.cut = meta

    def synced(self) -> None:
        """The batch under way is durable."""
        self.durable = self.cut
        self.durable_last = self.last
        self._undo = None

    def lost(self) -> None:
        """The batch under way is gone."""
        undo = self._undo
        if undo is None:
            return
        self.first, self.entries = undo.first, undo.entries
        self.entries[undo.place :] = undo.tail
        self.cut, self.durable_last = undo.cut, undo.durable_last
        self._undo = None
