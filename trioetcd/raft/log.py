"""The replicated log of one member: what is durable, what is not yet, committed, applied.

Marks, always in this order::

    first <= applied + 1 <= commit + 1      applied <= min(commit, stable)
    stable <= last                          durable prefix; the rest is the unstable tail

In memory are the entries above `applied` and their terms, and the terms of what is older as runs.
Older entries are on the disk, in the groups they were written in: the archive reads them there.

What is appended here is sealed into groups when it is first handed out, to the disk or to a member;
what a leader sent is kept in the groups it came in. Both ways a group's encoded form is made once.
The groups above `applied` are therefore also the groups on the disk, and when a conflict cuts
through a stored one, the next batch rewrites what is left of it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import itemgetter
from typing import Final, Protocol

from trioetcd.raft.entry import Group
from trioetcd.values import Index, Term

__all__ = ["Archive", "Log"]

_FIRST: Final = itemgetter(0)

_GROUP_BYTES: Final = 1 << 20
"""The size of a group that is sealed when nobody says how large it may be."""


class Archive(Protocol):
    """The groups on the disk, read by the owner."""

    def groups(self, first: Index, size: int, /) -> list[Group]:
        """Read stored groups in order, from the one that holds `first` on: about `size` bytes.

        At least one group is given; the first may begin before `first`.
        """


class Log:
    """One member's log.

    Args:
        first: the first index that is kept; the one before it has been compacted away.
        first_term: the term of index ``first - 1``.
        applied: up to where the state machine has come.
        commit: up to where entries are known to be committed.
        runs: ``(index, term)`` where each term begins among the kept entries.
        groups: the durable groups that hold entries above `applied`, in order, as stored.
        stable: the last durable index.
        archive: reads older entries; a member that never leads others needs none.
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
        archive: Archive | None = None,
    ) -> None:
        self.first = first
        self.applied = applied
        self.commit = commit
        self.stable = stable
        self.last = stable
        self.writing = stable
        """The last index of the batch in flight; equal to `stable` when there is none."""
        self.truncated: Index | None = None
        """Stored groups from here on are void, and the next batch must say so."""
        self._archive = archive
        self._starts: list[int] = [first - 1]
        self._terms: list[Term] = [first_term]
        for index, term in runs:
            self._begin(index, term)
        self._base = applied
        """`_datas[i]` is the entry at ``_base + 1 + i``; what is applied is dropped in bulk."""
        self._datas: list[bytes] = []
        self._groups: list[Group] = []
        """Sealed groups without a gap up to `_sealed`; whole ones below `applied` are dropped."""
        self._sealed = stable
        self._next = Index(stable + 1)
        """Where the groups of the next batch begin: a border of `_groups`, or behind them."""
        for group in groups:
            skipped = max(0, applied + 1 - group.first)
            if skipped < len(group.datas):
                assert group.first + skipped == self._base + len(self._datas) + 1, "a gap"
                self._datas.extend(group.datas[skipped:])
                self._groups.append(group)
        assert self._base + len(self._datas) == stable, "the durable entries end elsewhere"
        assert first <= applied + 1 <= commit + 1, "marks out of order"
        assert commit <= stable, "a committed entry is missing"

    def _begin(self, index: int, term: Term) -> None:
        assert term > self._terms[-1], "terms never go back along the log"
        assert index > self._starts[-1]
        self._starts.append(index)
        self._terms.append(term)

    # -- terms -------------------------------------------------------------------------------

    @property
    def last_term(self) -> Term:
        """The term of the last entry."""
        return self._terms[-1]

    def term(self, index: int) -> Term:
        """Give the term of the entry at `index`, which must be kept (or just before `first`)."""
        assert self.first - 1 <= index <= self.last, f"no entry {index}"
        return self._terms[bisect_right(self._starts, index) - 1]

    def matches(self, index: int, term: int) -> bool:
        """Say whether the entry at `index` is known to be of `term`; any numbers may be asked."""
        return self.first - 1 <= index <= self.last and self.term(index) == term

    def covers(self, last_index: int, last_term: int) -> bool:
        """Say whether a log that ends so is at least as up to date as this (section 5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last)

    def agreement(self, index: int, term: int) -> Index:
        """Give the last index up to `index` whose term is not above `term`.

        Behind it nothing can agree with a log whose entry at `index` is of `term` (section 5.3:
        one round per conflicting term). What is not kept is not looked at: the answer is never
        below ``first - 1``.
        """
        index = max(self.first - 1, min(index, self.last))
        run = bisect_right(self._starts, index) - 1
        while run and self._terms[run] > term:
            index = self._starts[run] - 1
            run -= 1
        return Index(index if self._terms[run] <= term else self.first - 1)

    # -- the end of the log ------------------------------------------------------------------

    def append(self, term: Term, datas: list[bytes]) -> Index:
        """Append entries of one term at the end; give the index of the first of them."""
        first = self.last + 1
        if term != self._terms[-1]:
            self._begin(first, term)
        self._datas.extend(datas)
        self.last = Index(first + len(datas) - 1)
        return Index(first)

    def append_groups(self, prev: Index, groups: Sequence[Group]) -> Index:
        """Take a leader's groups that follow the entry at `prev`, on which both logs agree.

        Entries that are here already stay; from the first one that differs on, the own log gives
        way (section 5.3). The groups have no gap and no term that goes back, and contradict
        nothing that is committed.

        Returns:
            The last index of the groups, up to where the logs agree now.
        """
        last = prev
        for number, group in enumerate(groups):
            last = group.last
            run = bisect_right(self._starts, group.first) - 1
            if group.first > self.last or self._terms[run] != group.term:
                differs = group.first
            else:
                end = self._starts[run + 1] - 1 if run + 1 < len(self._starts) else self.last
                if last <= end:
                    continue
                differs = Index(end + 1)
            self.truncate(differs)
            self._seal(_GROUP_BYTES)
            self._take(group.starting(differs))
            for following in groups[number + 1 :]:
                self._take(following)
            return self.last
        return last

    def _take(self, group: Group) -> None:
        """Put a sealed group behind everything else."""
        if group.term != self._terms[-1]:
            self._begin(group.first, group.term)
        self._datas.extend(group.datas)
        self._groups.append(group)
        self._sealed = self.last = group.last

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
        if index > self._sealed:
            return
        groups = self._groups
        while groups and groups[-1].first >= index:
            groups.pop()
        void = Index(index)
        if groups and groups[-1].last >= index:
            groups[-1] = groups[-1].ending(self.last)
            void = groups[-1].first
        self._sealed = self.last
        if index < self._next:
            self._next = void
            # Never behind an earlier one: what is to be rewritten begins at `_next`.
            self.truncated = void

    def restore(self, index: Index, term: Term) -> None:
        """Begin anew behind a snapshot that ends with the entry at `index`, of `term`."""
        assert index > self.commit, "a snapshot never takes committed entries back"
        self.first = Index(index + 1)
        self.applied = self.commit = self.stable = self.last = self.writing = index
        self.truncated = None
        self._starts = [index]
        self._terms = [term]
        self._base = self._sealed = index
        self._next = self.first
        self._datas.clear()
        self._groups.clear()

    # -- groups ------------------------------------------------------------------------------

    def _seal(self, size: int) -> None:
        """Make groups of about `size` bytes of what is in none yet."""
        datas = self._datas
        at = self._sealed - self._base
        end = len(datas)
        if at == end:
            return
        self._sealed = self.last
        first = at + self._base + 1
        if self._starts[-1] <= first and sum(map(len, islice(datas, at, end))) <= size:
            # The everyday case: everything fits and is of the current term.
            self._groups.append(Group(Index(first), self._terms[-1], datas[at:]))
            return
        while at < end:
            first = at + self._base + 1
            run = bisect_right(self._starts, first)
            stop = min(end, self._starts[run] - self._base - 1) if run < len(self._starts) else end
            upto = at + 1
            room = size - len(datas[at])
            while upto < stop and room >= len(datas[upto]):
                room -= len(datas[upto])
                upto += 1
            self._groups.append(Group(Index(first), self._terms[run - 1], datas[at:upto]))
            at = upto

    def unstable(self, size: int, group_size: int | None = None) -> list[Group]:
        """Give the groups that the next batch should hold: about `size` bytes, one at least.

        What is not in a group yet is put into groups of `group_size` bytes (default: `size`). May
        be called when no batch is in flight; `write` tells that it was taken.
        """
        assert self.writing == self.stable, "one batch at a time"
        if self._sealed != self.last:
            self._seal(size if group_size is None else min(size, group_size))
        groups = self._groups
        if self._next > self._sealed:
            return []
        if groups[-1].first == self._next:
            return [groups[-1]]
        at = bisect_left(groups, self._next, key=_FIRST)
        return _upto(groups[at:], size)

    def slice(self, first: Index, size: int) -> list[Group]:
        """Give the groups from the entry at `first` on: about `size` bytes, one entry at least.

        Durable or not. What has been applied comes from the archive.
        """
        assert self.first <= first <= self.last, f"no entry {first}"
        if self._sealed != self.last:
            self._seal(size)
        groups = self._groups
        kept = groups[0].first if groups else self._sealed + 1
        if first < kept:
            assert self._archive is not None, "a member that leads others has an archive"
            found = [
                group
                for group in self._archive.groups(first, size)
                if group.last >= first and group.first < kept
            ]
            assert found, "an applied entry is on the disk"
        elif groups[-1].first <= first:
            found = [groups[-1]]
        else:
            found = groups[bisect_right(groups, first, key=_FIRST) - 1 :]
        found[0] = found[0].starting(first)
        found = _upto(found, size)
        if len(found) == 1:
            found[0] = _fitting(found[0], size)
        return found

    # -- the disk ----------------------------------------------------------------------------

    def write(self, last: Index) -> None:
        """Note that a batch with the entries up to `last` is on its way to the disk."""
        assert self.stable <= last <= self.last
        self.writing = last
        self._next = Index(last + 1)
        self.truncated = None

    def persisted(self) -> Index:
        """Note that the batch in flight is durable, as far as nothing of it was dropped since."""
        self.stable = self.writing
        return self.stable

    # -- committed and applied ---------------------------------------------------------------

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

    def unapplied(self) -> list[bytes]:
        """Give the entries that are committed and not applied, durable here or not."""
        return self._datas[self.applied - self._base : self.commit - self._base]

    def tail(self) -> list[bytes]:
        """Give the entries that are not applied, committed or not."""
        return self._datas[self.applied - self._base :]

    def applied_to(self, index: Index) -> None:
        """Note that everything up to `index` has been applied."""
        assert self.applied <= index <= min(self.commit, self.stable)
        self.applied = index
        if index == self.last and self._next > index:
            self._datas.clear()
            self._groups.clear()
            self._base = index
        elif index - self._base > 1024:
            # Dropping from a list's front moves the rest, so it is done seldom.
            del self._datas[: index - self._base]
            self._base = index
            # The group that holds the next entry begins at or before it; so does the next batch.
            upto = min(Index(index + 1), self._next)
            del self._groups[: max(0, bisect_right(self._groups, upto, key=_FIRST) - 1)]

    def compact(self, first: Index) -> None:
        """Forget what is known of the entries below `first`, which have been applied."""
        assert self.first <= first <= self.applied + 1
        run = bisect_right(self._starts, first - 1) - 1
        del self._starts[:run]
        del self._terms[:run]
        self._starts[0] = first - 1
        self.first = first


def _upto(groups: list[Group], size: int) -> list[Group]:
    """Give the first groups, as many as `size` bytes have room for, one at least."""
    for number, group in enumerate(groups):
        size -= sum(map(len, group.datas))
        if size < 0 and number:
            return groups[:number]
    return groups


def _fitting(group: Group, size: int) -> Group:
    """Give the first entries of a group, as many as `size` bytes have room for, one at least."""
    for number, data in enumerate(group.datas):
        size -= len(data)
        if size < 0 and number:
            return group.ending(group.first + number - 1)
    return group
