"""The two checkers accept what may be and reject what may not."""

from __future__ import annotations

from dataclasses import fields
from itertools import permutations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioetcd.testing.linearizability import (
    Action,
    Call,
    RevisionOrder,
    check_registers,
    explain,
)
from trioetcd.testing.violation import Violation


def read(invoked: int, returned: int | None, value: object) -> Call:
    return Call("x", Action.READ, invoked, returned, value)


def write(invoked: int, returned: int | None, value: object) -> Call:
    return Call("x", Action.WRITE, invoked, returned, value)


def swap(
    invoked: int, returned: int | None, expected: object, value: object, *, succeeded: bool = True
) -> Call:
    return Call("x", Action.SWAP, invoked, returned, value, expected, succeeded=succeeded)


GOOD = {
    "nothing happened": [],
    "one after the other": [write(0, 1, 1), read(2, 3, 1), write(4, 5, 2), read(6, 7, 2)],
    "a read beside a write sees either": [write(0, 10, 1), read(1, 2, None), read(3, 4, 1)],
    "writes side by side": [write(0, 10, 1), write(0, 10, 2), read(11, 12, 1)],
    "a swap that fails": [write(0, 1, 1), swap(2, 3, 5, 6, succeeded=False), read(4, 5, 1)],
    "an unknown write that happened": [write(0, None, 1), read(5, 6, 1)],
    "an unknown write that happened late": [
        write(0, None, 1),
        read(5, 6, None),
        write(7, 8, 2),
        read(9, 10, 1),
    ],
    "an unknown write that never happened": [write(0, None, 1), read(5, 6, None)],
    "an unknown swap that happened": [write(0, 1, 1), swap(2, None, 1, 2), read(5, 6, 2)],
    "an unknown read": [write(0, 1, 1), read(2, None, 7)],
    "touching times overlap": [write(0, 5, 1), read(5, 6, None)],
}

BAD = {
    "a read of nothing": [read(0, 1, 1)],
    "a stale read": [write(0, 1, 1), write(2, 3, 2), read(4, 5, 1)],
    "a lost write": [write(0, 1, 1), read(2, 3, None)],
    "back and forth": [write(0, 10, 1), read(1, 2, 1), read(3, 4, None)],
    "two readers disagree about the order": [
        write(0, 10, 1),
        write(0, 10, 2),
        read(11, 12, 1),
        read(13, 14, 2),
    ],
    "two swaps of one value": [write(0, 1, 1), swap(2, 9, 1, 2), swap(2, 9, 1, 3)],
    "a swap that must have succeeded": [write(0, 1, 1), swap(2, 3, 1, 2, succeeded=False)],
    "an unknown write seen before it was made": [read(0, 1, 1), write(2, None, 1)],
    "an unknown write seen, then not": [write(0, None, 1), read(2, 3, 1), read(4, 5, None)],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_may_be_is_explained(name: str) -> None:
    """A history with an order is given one, and the order explains it."""
    calls = GOOD[name]
    order = explain(calls)

    assert order is not None
    state: object = None
    for call in order:
        possible, state = call.follow(state)
        assert possible
    assert all(call in order for call in calls if call.returned is not None)
    check_registers(calls)


@pytest.mark.parametrize("name", BAD)
def test_what_may_not_be_is_rejected(name: str) -> None:
    """A history without an order is refused."""
    assert explain(BAD[name]) is None
    with pytest.raises(Violation):
        check_registers(BAD[name])


def brute(calls: list[Call]) -> bool:
    """Try every order of every subset that leaves out only calls without answer."""
    certain = [call for call in calls if call.returned is not None]
    doubtful = [call for call in calls if call.returned is None]
    for chosen in range(1 << len(doubtful)):
        subset = certain + [call for at, call in enumerate(doubtful) if chosen >> at & 1]
        for order in permutations(subset):
            state: object = None
            for at, call in enumerate(order):
                late = any(
                    other.returned is not None and other.returned < call.invoked
                    for other in order[at + 1 :]
                )
                possible, state = call.follow(state)
                if late or not possible:
                    break
            else:
                return True
    return False


times = st.tuples(st.integers(0, 12), st.one_of(st.none(), st.integers(0, 6)))
values = st.integers(1, 2)
random_calls = st.builds(
    lambda action, at, value, expected, succeeded: Call(
        "x",
        action,
        at[0],
        None if at[1] is None else at[0] + at[1],
        value,
        expected,
        succeeded=succeeded,
    ),
    st.sampled_from(Action),
    times,
    values,
    values,
    st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(random_calls, max_size=5))
def test_the_search_agrees_with_trying_everything(calls: list[Call]) -> None:
    """The search finds an order exactly if there is one."""
    assert brute(calls) == (explain(calls) is not None)


def test_registers_are_searched_one_by_one() -> None:
    """One register's history explains nothing of another's."""
    with pytest.raises(Violation):
        check_registers([write(0, 1, 1), Call("y", Action.READ, 2, 3, 1)])


def history(random: Random, size: int, clients: int) -> list[Call]:
    """Make a history of a real register with clients side by side."""
    calls = []
    value: object = None
    ends = [0] * clients
    for number in range(size):
        client = min(range(clients), key=ends.__getitem__)
        invoked = ends[client] + random.randrange(1, 5)
        returned = invoked + random.randrange(2, 20)
        ends[client] = returned
        calls.append((random.uniform(invoked, returned), invoked, returned, number))
    done = []
    for _, invoked, returned, number in sorted(calls):
        if random.random() < 0.5:
            value = number
            done.append(write(invoked, returned, value))
        else:
            done.append(read(invoked, returned, value))
    return done


class Counted(Call):
    """A call that counts how often it is tried."""

    tried = 0

    def follow(self, state: object) -> tuple[bool, object]:
        """Count, and say what a call says."""
        Counted.tried += 1
        return super().follow(state)


def test_long_histories_are_searched_in_few_steps() -> None:
    """Two thousand calls of eight clients are each tried a few times, not once per order."""
    calls = [
        Counted(**{each.name: getattr(call, each.name) for each in fields(call)})
        for call in history(Random(4), 2000, 8)
    ]

    assert explain(calls) is not None
    assert len(calls) <= Counted.tried < 100 * len(calls)


def test_revisions_in_order_are_taken() -> None:
    """Answers whose revisions agree with real time are accepted, whatever overlaps."""
    order = RevisionOrder()
    first, second = order.invoke(), order.invoke()
    order.answer(second, 3, write=True, who="b")
    order.answer(first, 2, write=True, who="a")
    order.answer(order.invoke(), 3, write=False, who="c")

    assert order.revision == 3


@pytest.mark.parametrize(
    ("revision", "write"), [(4, False), (4, True), (5, True)], ids=["stale", "old", "taken"]
)
def test_revisions_against_real_time_are_refused(revision: int, *, write: bool) -> None:
    """A read below, or a write not above, what was answered before it was made is refused."""
    order = RevisionOrder()
    order.answer(order.invoke(), 5, write=True, who="a")
    floor = order.invoke()

    with pytest.raises(Violation):
        order.answer(floor, revision, write=write, who="b")


def test_no_revision_is_given_twice() -> None:
    """Two writes with one revision are refused even if they overlap."""
    order = RevisionOrder()
    floor = order.invoke()
    order.answer(floor, 5, write=True, who="a")

    with pytest.raises(Violation):
        order.answer(floor, 5, write=True, who="b")
