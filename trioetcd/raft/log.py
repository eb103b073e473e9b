"""The replicated log of one member: what is durable, what is not yet, committed, applied.

Marks, always in this order::

    first <= applied + 1 <= commit + 1      applied <= min(commit, stable)
    stable <= last                          durable prefix; the rest is the unstable tail

In memory are the entries above `applied` and their terms, and the terms of what is older as runs.
Older entries are on the disk, in the groups they were written in; who needs them reads them there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import islice

from trioetcd.raft.entry import Group
from trioetcd.values import Index, Term

__all__ = ["Log"]


class Log:
    """One member's log.

    Args:
        first: the first index that is kept; the one before it has been compacted away.
        first_term: the term of index ``first - 1``.
        applied: up to where the state machine has come.
        commit: up to where entries are known to be committed.
        runs: ``(index, term)`` where each term begins among the kept entries.
        groups: the durable entries above `applied`, in order.
        stable: the last durable index.
    """

    def __init__(
        self,
        *,
        first: Index,
        first_term: Term,
        applied: Index,
        commit: Index,
        runs: Iterable[tuple[Index, Term]] = (),
        groups: Iterable[Group] = (),
        stable: Index,
    ) -> None:
        self.first = first
        self.applied = applied
        self.commit = commit
        self.stable = stable
        self.last = stable
        self.writing = stable
        """The last index of the batch in flight; equal to `stable` when there is none."""
        self._starts: list[int] = [first - 1]
        self._terms: list[Term] = [first_term]
        for index, term in runs:
            self._begin(index, term)
        self._base = applied
        """`_datas[i]` is the entry at ``_base + 1 + i``; what is applied is dropped in bulk."""
        self._datas: list[bytes] = []
        for group in groups:
            skipped = max(0, applied + 1 - group.first)
            if skipped < len(group.datas):
                assert group.first + skipped == self._base + len(self._datas) + 1, "a gap"
                self._datas.extend(group.datas[skipped:])
        assert self._base + len(self._datas) == stable, "the durable entries end elsewhere"
        assert first <= applied + 1 <= commit + 1, "marks out of order"
        assert commit <= stable, "a committed entry is missing"

    def _begin(self, index: int, term: Term) -> None:
        assert term > self._terms[-1], "terms never go back along the log"
        assert index > self._starts[-1]
        self._starts.append(index)
        self._terms.append(term)

    @property
    def last_term(self) -> Term:
        """The term of the last entry."""
        return self._terms[-1]

    def term(self, index: int) -> Term:
        """Give the term of the entry at `index`, which must be kept (or just before `first`)."""
        assert self.first - 1 <= index <= self.last, f"no entry {index}"
        return self._terms[bisect_right(self._starts, index) - 1]

    def append(self, term: Term, datas: list[bytes]) -> Index:
        """Append entries of one term at the end; give the index of the first of them."""
        first = self.last + 1
        if term != self._terms[-1]:
            self._begin(first, term)
        self._datas.extend(datas)
        self.last = Index(first + len(datas) - 1)
        return Index(first)

    def truncate(self, index: int) -> None:
        """Drop the entries from `index` on, which were in conflict with a leader's.

        What the batch in flight writes from `index` on counts no longer as durable when it
        arrives: the batch that rewrites it is still to come.
        """
        assert self.commit < index, "a committed entry is never dropped"
        if index > self.last:
            return
        del self._datas[index - self._base - 1 :]
        self.last = Index(index - 1)
        self.stable = min(self.stable, self.last)
        self.writing = min(self.writing, self.last)
        while len(self._starts) > 1 and self._starts[-1] >= index:
            self._starts.pop()
            self._terms.pop()

    def unstable(self, size: int) -> list[Group]:
        """Give the entries that the next batch should hold: about `size` bytes, one at least.

        May be called when no batch is in flight; `write` tells that it was taken.
        """
        assert self.writing == self.stable, "one batch at a time"
        groups: list[Group] = []
        datas = self._datas
        at = self.stable - self._base
        end = len(datas)
        if at == end:
            return groups
        if self._starts[-1] <= self.stable + 1 and sum(map(len, islice(datas, at, end))) <= size:
            # The everyday case: everything fits and is of the current term.
            return [Group(Index(self.stable + 1), self._terms[-1], datas[at:] if at else datas[:])]
        room = size
        while at < end:
            first = Index(self._base + at + 1)
            run = bisect_right(self._starts, first)
            stop = min(end, self._starts[run] - self._base - 1) if run < len(self._starts) else end
            upto = at
            while upto < stop and (room >= len(datas[upto]) or not (groups or upto > at)):
                room -= len(datas[upto])
                upto += 1
            if upto == at:
                break
            groups.append(Group(first, self._terms[run - 1], datas[at:upto]))
            if upto < stop:
                break
            at = upto
        return groups

    def write(self, last: Index) -> None:
        """Note that a batch with the entries up to `last` is on its way to the disk."""
        assert self.stable <= last <= self.last
        self.writing = last

    def persisted(self) -> Index:
        """Note that the batch in flight is durable, as far as nothing of it was dropped since."""
        self.stable = self.writing
        return self.stable

    def commit_to(self, index: Index) -> bool:
        """Raise the commit index; never lowers it. Says whether it moved."""
        if index <= self.commit:
            return False
        assert index <= self.last, "an entry that is not here cannot be committed"
        self.commit = index
        return True

    def applicable(self, count: int) -> list[bytes]:
        """Give the next entries that may be applied: committed and durable here, in order."""
        upto = min(self.commit, self.stable, self.applied + count)
        start = self.applied - self._base
        return self._datas[start : upto - self._base]

    def applied_to(self, index: Index) -> None:
        """Note that everything up to `index` has been applied."""
        assert self.applied <= index <= min(self.commit, self.stable)
        self.applied = index
        if index == self.last:
            self._datas.clear()
            self._base = index
        elif index - self._base > 1024:
            # Dropping from a list's front moves the rest, so it is done seldom.
            del self._datas[: index - self._base]
            self._base = index

    def compact(self, first: Index) -> None:
        """Forget what is known of the entries below `first`, which have been applied."""
        assert self.first <= first <= self.applied + 1
        run = bisect_right(self._starts, first - 1) - 1
        del self._starts[:run]
        del self._terms[:run]
        self._starts[0] = first - 1
        self.first = first
