"""Long answers come in steps, and show one moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from trioetcd.lease import Lessor
from trioetcd.lease.listing import LeaseListing, Listing
from trioetcd.testing.space import DictSpace

Item = TypeVar("Item")


def drain(listing: Listing[Item], rows: int) -> list[Sequence[Item]]:
    """Read all there is, and give what each step read."""
    steps: list[Sequence[Item]] = []
    done = False
    while not done:
        done = listing.step(rows, 1 << 20)
        steps.append(listing.take())
    return steps


@given(st.dictionaries(st.integers(-5, 50), st.integers(0, 4), max_size=30), st.integers(1, 40))
def test_leases_come_as_they_expire(ends: dict[int, int], rows: int) -> None:
    """By time, then by number; no step gives more than it was asked for."""
    listing = LeaseListing(list(ends), lambda lease: float(ends[lease]))
    steps = drain(listing, rows)
    found = [lease for step in steps for lease in step]
    assert found == sorted(ends, key=lambda lease: (ends[lease], lease))
    assert max(map(len, steps)) <= rows


@given(st.sets(st.binary(min_size=1, max_size=4), max_size=30), st.integers(1, 40))
def test_keys_are_those_of_one_moment(keys: set[bytes], rows: int) -> None:
    """What is attached and detached between two steps is not seen."""
    space = DictSpace()
    lessor = Lessor(space, epoch=b"\x80")
    for key in keys:
        lessor.attach(space, 7, key)
        lessor.attach(space, 8, key + b"other")
    listing = lessor.list_keys(7)
    done = listing.step(rows, 1 << 20)
    steps: list[Sequence[bytes]] = [listing.take()]
    for key in keys:
        lessor.detach(space, 7, key)
        lessor.attach(space, 7, key + b"new")
    if not done:
        steps += drain(listing, rows)
    found = [key for step in steps for key in step]
    assert found == sorted(keys)
    assert max(map(len, steps)) <= rows


def test_large_keys_make_short_steps() -> None:
    """A step ends at its bytes, too; who ends early lets go of what is pinned."""
    space = DictSpace()
    lessor = Lessor(space, epoch=b"\x80")
    for number in range(10):
        lessor.attach(space, 7, b"%d" % number * 1000)
    listing = lessor.list_keys(7)
    assert not listing.step(100, 2500)
    assert len(listing.take()) == 3
    listing.close()
    listing.close()
