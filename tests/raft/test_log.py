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
    """Every operation on the log and on a list of (term, data)."""

    def __init__(self) -> None:
        super().__init__()
        self.log = empty_log()
        self.entries: list[tuple[int, bytes]] = []
        self.term = 1
        self.stable = self.commit = self.applied = 0
        self.writing: int | None = None

    @rule(datas=st.lists(st.binary(max_size=6), min_size=1, max_size=5), later=st.integers(0, 2))
    def append(self, datas: list[bytes], later: int) -> None:
        self.term += later
        first = self.log.append(Term(self.term), list(datas))
        assert len(self.entries) + 1 == first
        self.entries += [(self.term, data) for data in datas]

    @precondition(lambda self: self.writing is None)
    @rule(size=st.integers(1, 20))
    def write(self, size: int) -> None:
        groups = self.log.unstable(size)
        taken = [(group.term, data) for group in groups for data in group.datas]
        assert self.entries[self.stable : self.stable + len(taken)] == taken
        rest = self.entries[self.stable :]
        if rest:
            assert taken, "one entry always goes"
            used = sum(len(data) for _, data in taken)
            assert used <= size or len(taken) == 1
            if len(taken) < len(rest):
                assert used + len(rest[len(taken)][1]) > size, "what fits goes"
            assert groups[0].first == self.stable + 1
            assert all(a.last + 1 == b.first for a, b in pairwise(groups))
            self.log.write(groups[-1].last)
            self.writing = groups[-1].last

    @precondition(lambda self: self.writing is not None)
    @rule()
    def persisted(self) -> None:
        assert self.writing is not None
        self.stable = self.writing
        self.writing = None
        assert self.stable == self.log.persisted()

    @precondition(lambda self: self.commit < len(self.entries))
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(self.commit + 1, len(self.entries)))
        self.log.truncate(index)
        del self.entries[index - 1 :]
        self.stable = min(self.stable, index - 1)
        if self.writing is not None:
            self.writing = min(self.writing, index - 1)

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
    assert [Group(Index(2), Term(2), [b"x", b"y"])] == log.unstable(100)


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
    log = empty_log()
    log.append(Term(1), [b"a"])
    log.append(Term(2), [b"b", b"c"])
    one, two = Group(Index(1), Term(1), [b"a"]), Group(Index(2), Term(2), [b"b", b"c"])
    assert log.unstable(3) == [one, two]
    assert log.unstable(2) == [one, Group(Index(2), Term(2), [b"b"])]
    assert log.unstable(1) == [one]


def test_truncating_behind_the_end_changes_nothing() -> None:
    """There is nothing to drop behind the last entry."""
    log = empty_log()
    log.append(Term(1), [b"a"])
    log.truncate(2)
    assert log.last == 1
