"""The log's marks and slices, against a naive twin that keeps every entry in a list."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trioetcd.raft import Group, Log
from trioetcd.values import Index, Term


def empty_log() -> Log:
    """Make the log of a new member."""
    return Log(
        first=Index(1), first_term=Term(0), applied=Index(0), commit=Index(0), stable=Index(0)
    )


class LogTwin(RuleBasedStateMachine):
    """Every operation on the log, on a list of (term, data), and on rows as a disk holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[int, Group] = {}
        self.log = Log(
            first=Index(1),
            first_term=Term(0),
            applied=Index(0),
            commit=Index(0),
            stable=Index(0),
            archive=self,
        )
        self.entries: list[tuple[int, bytes]] = []
        self.term = 1
        self.stable = self.commit = self.applied = 0
        self.writing: tuple[int, Index | None, list[Group]] | None = None
        self.taken: list[Group] = []

    def groups(self, first: Index, size: int, /) -> list[Group]:
        """Read all rows from the one on that holds `first`: the archive."""
        return [group for _, group in sorted(self.rows.items()) if group.last >= first]

    @rule(datas=st.lists(st.binary(max_size=6), min_size=1, max_size=5), later=st.integers(0, 2))
    def append(self, datas: list[bytes], later: int) -> None:
        self.term += later
        first = self.log.append(Term(self.term), list(datas))
        assert len(self.entries) + 1 == first
        self.entries += [(self.term, data) for data in datas]

    @rule(data=st.data(), counts=st.lists(st.integers(1, 4), min_size=1, max_size=3))
    def append_groups(self, data: st.DataObject, counts: list[int]) -> None:
        """A leader's groups: first what is here already, then perhaps something else."""
        prev = at = data.draw(st.integers(max(self.applied, self.commit), len(self.entries)))
        same = data.draw(st.integers(at, len(self.entries)))
        groups: list[Group] = []
        self.term += 1
        for count in counts:
            end = at + count
            while at < end:
                term = self.entries[at][0] if at < same else self.term
                upto = at
                datas = []
                while upto < end and (
                    self.entries[upto][0] == term if upto < same else term == self.term
                ):
                    datas.append(self.entries[upto][1] if upto < same else b"new")
                    upto += 1
                groups.append(Group(Index(at + 1), Term(term), datas))
                at = upto
        last = self.log.append_groups(Index(prev), groups)
        assert last == at
        if at > same:
            self._cut(same + 1)
            self.entries += [(self.term, b"new")] * (at - same)
            self.taken = [group for group in groups if group.first > same]

    @precondition(lambda self: self.writing is None)
    @rule(size=st.integers(1, 20), group_size=st.integers(1, 20))
    def write(self, size: int, group_size: int) -> None:
        groups = self.log.unstable(size, group_size)
        if not groups:
            assert self.stable == len(self.entries)
            return
        if self.log.truncated is not None:
            assert groups[0].first == self.log.truncated
        assert groups[0].first <= self.stable + 1 <= groups[-1].last + 1
        for group in groups:
            expected = self.entries[group.first - 1 : group.last]
            assert expected == [(group.term, data) for data in group.datas]
        assert all(a.last + 1 == b.first for a, b in pairwise(groups))
        assert len(groups) == 1 or sum(len(d) for g in groups for d in g.datas) <= size
        for group in self.taken:
            if group in groups:
                assert any(group is other for other in groups), "taken whole, handed out whole"
        self.writing = groups[-1].last, self.log.truncated, groups
        self.log.write(groups[-1].last)

    @precondition(lambda self: self.writing is not None)
    @rule()
    def persisted(self) -> None:
        assert self.writing is not None
        self.stable, truncated, groups = self.writing
        self.writing = None
        if truncated is not None:
            self.rows = {first: row for first, row in self.rows.items() if first < truncated}
        self.rows |= {group.first: group for group in groups}
        assert self.stable == self.log.persisted()
        expected = 1
        for first, group in sorted(self.rows.items()):
            assert expected == first, "stored groups tile the log"
            expected = group.last + 1
        kept = [entry for _, g in sorted(self.rows.items()) for entry in g.datas][: self.stable]
        assert [data for _, data in self.entries[: self.stable]] == kept

    @precondition(lambda self: self.commit < len(self.entries))
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(self.commit + 1, len(self.entries)))
        self.log.truncate(index)
        self._cut(index)

    def _cut(self, index: int) -> None:
        del self.entries[index - 1 :]
        self.stable = min(self.stable, index - 1)
        if self.writing is not None:
            last, truncated, groups = self.writing
            self.writing = min(last, index - 1), truncated, groups

    @precondition(lambda self: self.entries and self.log.first <= len(self.entries))
    @rule(data=st.data(), size=st.integers(1, 20))
    def slice(self, data: st.DataObject, size: int) -> None:
        first = data.draw(st.integers(self.log.first, len(self.entries)))
        groups = self.log.slice(Index(first), size)
        assert first == groups[0].first
        assert all(a.last + 1 == b.first for a, b in pairwise(groups))
        for group in groups:
            expected = self.entries[group.first - 1 : group.last]
            assert expected == [(group.term, data) for data in group.datas]
        datas = [data for group in groups for data in group.datas]
        assert len(datas) == 1 or sum(map(len, datas)) <= size

    @rule(data=st.data())
    def agreement(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.entries) + 2))
        term = data.draw(st.integers(0, self.term + 1))
        terms = [0, *(term for term, _ in self.entries)]
        low = self.log.first - 1
        expected = [i for i in range(low, min(index, len(self.entries)) + 1) if terms[i] <= term]
        assert max(expected, default=low) == self.log.agreement(index, term)
        known = low <= index <= len(self.entries)
        assert (known and terms[index] == term) is self.log.matches(index, term)
        assert self.log.covers(index, term) is ((term, index) >= (terms[-1], len(terms) - 1))

    @rule(data=st.data())
    def commit_to(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.entries)))
        assert (index > self.commit) is self.log.commit_to(Index(index))
        self.commit = max(self.commit, index)

    @rule(count=st.integers(1, 4))
    def apply(self, count: int) -> None:
        upto = min(self.commit, self.stable, self.applied + count)
        expected = [data for _, data in self.entries[self.applied : upto]]
        assert expected == self.log.applicable(count)
        self.log.applied_to(Index(max(upto, self.applied)))
        self.applied = max(upto, self.applied)
        unapplied = [data for _, data in self.entries[self.applied : self.commit]]
        assert unapplied == self.log.unapplied()
        assert [data for _, data in self.entries[self.applied :]] == self.log.tail()

    @precondition(lambda self: self.applied >= self.log.first)
    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        self.log.compact(Index(data.draw(st.integers(self.log.first, self.applied + 1))))

    @invariant()
    def same_terms(self) -> None:
        log = self.log
        assert len(self.entries) == log.last
        assert (self.stable, self.commit, self.applied) == (log.stable, log.commit, log.applied)
        terms = [0, *(term for term, _ in self.entries)]
        for index in range(log.first - 1, log.last + 1):
            assert terms[index] == log.term(index)
        assert terms[-1] == log.last_term


TestLogTwin = LogTwin.TestCase
TestLogTwin.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_what_is_truncated_in_flight_is_not_durable() -> None:
    """Durable = min(last index of the batch, lowest index truncated since it was cut - 1)."""
    log = empty_log()
    log.append(Term(1), [b"a", b"b", b"c"])
    log.write(log.unstable(100)[-1].last)
    log.truncate(2)
    log.append(Term(2), [b"x", b"y"])
    assert log.persisted() == 1
    assert log.truncated == 1
    rest = Group(Index(1), Term(1), [b"a"])
    assert [rest, Group(Index(2), Term(2), [b"x", b"y"])] == log.unstable(100)


def test_recovered_entries_continue_where_applied_ends() -> None:
    """A group that lies on both sides of `applied` gives only its upper part to apply."""
    groups = [Group(Index(4), Term(2), [b"4", b"5", b"6"]), Group(Index(7), Term(3), [b"7"])]
    log = Log(
        first=Index(4),
        first_term=Term(1),
        applied=Index(5),
        commit=Index(6),
        runs=[(Index(4), Term(2)), (Index(7), Term(3))],
        groups=groups,
        stable=Index(7),
    )
    assert log.applicable(10) == [b"6"]
    assert [log.term(index) for index in range(3, 8)] == [1, 2, 2, 2, 3]


@given(st.integers(1, 3000), st.integers(1, 50))
def test_long_tail_is_dropped_in_bulk(entries: int, step: int) -> None:
    """However many entries are applied in however small steps, each is handed out once."""
    log = empty_log()
    datas = [str(number).encode() for number in range(entries)]
    log.append(Term(1), datas)
    log.write(log.last)
    log.persisted()
    log.commit_to(log.last)
    handed: list[bytes] = []
    while some := log.applicable(step * 40):
        handed += some
        log.applied_to(Index(log.applied + len(some)))
    assert datas == handed


def test_misuse_is_noticed() -> None:
    """Gaps, missing entries and marks out of order are programmer's errors."""
    log = empty_log()
    log.append(Term(2), [b"a"])
    with pytest.raises(AssertionError):
        log.append(Term(1), [b"b"])
    with pytest.raises(AssertionError):
        log.commit_to(Index(2))
    with pytest.raises(AssertionError):
        log.applied_to(Index(1))
    with pytest.raises(AssertionError):
        log.term(9)
    log.commit_to(Index(1))
    with pytest.raises(AssertionError):
        log.truncate(1)
    with pytest.raises(AssertionError):
        Log(
            first=Index(1),
            first_term=Term(0),
            applied=Index(0),
            commit=Index(0),
            groups=[Group(Index(2), Term(1), [b"b"])],
            stable=Index(2),
        )


def test_a_batch_may_hold_several_terms() -> None:
    """Entries of two terms go as two groups of one batch, if there is room for both."""
    one, two = Group(Index(1), Term(1), [b"a"]), Group(Index(2), Term(2), [b"b", b"c"])
    for size, expected in ((3, [one, two]), (2, [one]), (1, [one])):
        log = empty_log()
        log.append(Term(1), [b"a"])
        log.append(Term(2), [b"b", b"c"])
        assert expected == log.unstable(size)


def test_what_is_left_of_a_cut_group_is_written_again() -> None:
    """A conflict inside a stored group voids it; the batch that says so holds what is left."""
    log = empty_log()
    log.append_groups(Index(0), [Group(Index(1), Term(1), [b"a"])])
    log.append_groups(Index(1), [Group(Index(2), Term(1), [b"b", b"c", b"d"])])
    log.write(log.unstable(100)[-1].last)
    log.persisted()
    assert log.truncated is None
    log.append_groups(Index(3), [Group(Index(4), Term(2), [b"x"])])
    assert log.truncated == 2
    rest = Group(Index(2), Term(1), [b"b", b"c"])
    new = Group(Index(4), Term(2), [b"x"])
    assert [rest, new] == log.unstable(100)
    assert log.stable == 3, "what is left was durable all the time"
    log.write(Index(4))
    assert log.truncated is None


def test_no_committed_entry_gives_way() -> None:
    """A leader's groups that contradict a committed entry are a programmer's error."""
    log = empty_log()
    log.append(Term(1), [b"a", b"b"])
    log.commit_to(Index(2))
    with pytest.raises(AssertionError):
        log.append_groups(Index(1), [Group(Index(2), Term(2), [b"x"])])
    assert (log.last, log.last_term) == (2, 1)


def test_what_is_there_already_stays() -> None:
    """Section 5.3: entries that match are not cut off, nor is what follows them."""
    log = empty_log()
    log.append(Term(1), [b"a", b"b", b"c"])
    assert log.append_groups(Index(0), [Group(Index(1), Term(1), [b"a", b"b"])]) == 2
    assert log.append_groups(Index(2), []) == 2
    assert log.last == 3


def test_a_snapshot_begins_a_log_anew() -> None:
    """Section 7: behind a snapshot the log is empty, whatever it held."""
    log = empty_log()
    log.append(Term(1), [b"a", b"b"])
    log.write(log.unstable(100)[-1].last)
    log.restore(Index(7), Term(3))
    assert (log.first, log.applied, log.commit, log.stable, log.last) == (8, 7, 7, 7, 7)
    assert (log.term(7), log.matches(2, 1), log.unstable(100)) == (3, False, [])
    log.append_groups(Index(7), [Group(Index(8), Term(3), [b"x"])])
    assert [Group(Index(8), Term(3), [b"x"])] == log.unstable(100) == log.slice(Index(8), 100)
    with pytest.raises(AssertionError):
        log.restore(Index(7), Term(3))


def test_many_small_groups_are_dropped_in_bulk() -> None:
    """Groups below applied leave memory; what lies above stays whole, and older is archived."""

    class Old:
        def groups(self, first: Index, size: int, /) -> list[Group]:
            return [Group(Index(first - 1), Term(1), [b"x", b"old"])]

    log = Log(
        first=Index(1),
        first_term=Term(0),
        applied=Index(0),
        commit=Index(0),
        stable=Index(0),
        archive=Old(),
    )
    for index in range(1, 3001):
        log.append_groups(Index(index - 1), [Group(Index(index), Term(1), [b"%d" % index])])
    log.write(log.unstable(1 << 20)[-1].last)
    log.persisted()
    log.commit_to(log.last)
    log.applied_to(Index(2000))
    assert len(log._groups) == 1000
    assert [b"old"] == log.slice(Index(900), 5)[0].datas
    assert [b"2001"] == log.slice(Index(2001), 4)[0].datas
    assert [b"2999", b"3000"] == [g.datas[0] for g in log.slice(Index(2999), 100)]


def test_truncating_behind_the_end_changes_nothing() -> None:
    """There is nothing to drop behind the last entry."""
    log = empty_log()
    log.append(Term(1), [b"a"])
    log.truncate(2)
    assert log.last == 1


def stored(*groups: Group) -> Log:
    """Make a log whose groups are all on the disk."""
    log = empty_log()
    log.append_groups(Index(0), groups)
    log.write(log.unstable(1 << 20)[-1].last)
    log.persisted()
    return log


def test_what_is_to_be_rewritten_stays_though_it_is_applied() -> None:
    """The rest of a group that was cut is kept until a batch has taken it."""
    log = stored(Group(Index(1), Term(1), [b"a", b"b", b"c"]))
    log.truncate(3)
    log.commit_to(Index(2))
    log.applied_to(Index(2))
    rest = Group(Index(1), Term(1), [b"a", b"b"])
    assert ([rest], 1) == (log.unstable(100), log.truncated)

    one, two = ([b"x"] * 1500, [b"y"] * 1500)
    log = stored(Group(Index(1), Term(1), one), Group(Index(1501), Term(1), two))
    log.append_groups(Index(1999), [Group(Index(2000), Term(2), [b"z"])])
    log.commit_to(Index(1999))
    log.applied_to(Index(1999))
    rest = Group(Index(1501), Term(1), [b"y"] * 499)
    assert [rest, Group(Index(2000), Term(2), [b"z"])] == log.unstable(1 << 20)
    assert log.truncated == 1501
