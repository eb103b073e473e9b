"""Tests of `trioetcd.transport.strangers`: fair places, and what is worth a line."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trioetcd.transport.strangers import Seldom, Stranger, Strangers, origin_of


def inside(strangers: list[Stranger]) -> list[Stranger]:
    return [each for each in strangers if each.admitted.is_set() and not each.sent_away]


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("@", "@"),
        ("no:address", "no:address"),
    ],
)
def test_an_ipv6_subscriber_is_one_address(host: str, origin: str) -> None:
    """64 bits of IPv6 count as one, and IPv4 is IPv4 in whatever form."""
    assert origin == origin_of(host)


def test_places_are_given_in_the_order_of_arrival() -> None:
    """Of one address whoever came first is first, and nobody has to go."""
    places = Strangers(2, 10)
    came = [places.arrive("a") for _ in range(5)]

    assert came[:2] == inside(came)
    places.leave(came[1])
    assert came[2].admitted.is_set()
    assert not came[3].admitted.is_set()
    assert not any(each.sent_away for each in came)


def test_who_holds_least_is_next() -> None:
    """A free place goes to the address with the fewest, not to the longest queue."""
    places = Strangers(2, 10)
    crowd = [places.arrive("a") for _ in range(5)]
    for each in crowd:
        each.idle = False
    other = places.arrive("b")
    assert not other.admitted.is_set()
    places.leave(crowd[0])

    assert other.admitted.is_set()
    assert not crowd[2].admitted.is_set()


async def test_who_does_not_keep_us_waiting_may_stay() -> None:
    """Whose handshake we are at work on is not sent away; as soon as it waits again, it may be."""
    places = Strangers(2, 10)
    crowd = [places.arrive("a") for _ in range(2)]
    started, go_on = trio.Event(), trio.Event()

    async def in_thread(work: object, /, *, limiter: trio.CapacityLimiter | None = None) -> object:
        started.set()
        await go_on.wait()
        return work

    async with trio.open_nursery() as nursery:
        for each in crowd:
            nursery.start_soon(each.busy(in_thread), int)
        await started.wait()
        await trio.testing.wait_all_tasks_blocked()
        other = places.arrive("b")
        assert not other.admitted.is_set()
        go_on.set()

    assert other.admitted.is_set()
    assert 1 == len([each for each in crowd if each.sent_away])


def test_a_full_queue_loses_the_last_of_the_largest_crowd() -> None:
    """Whoever fills the queue loses from it; another address still comes in."""
    places = Strangers(1, 2)
    crowd = [places.arrive("a") for _ in range(4)]
    assert [False, False, False, True] == [bool(each.sent_away) for each in crowd]
    for each in crowd:
        each.idle = False
    other = places.arrive("b")

    assert not other.sent_away
    assert crowd[2].sent_away


@given(st.data())
def test_the_books_are_kept_and_shares_are_fair(data: st.DataObject) -> None:
    """However they come and go: places are used, bounded, and never hoarded by idle strangers."""
    places = Strangers(4, 6)
    here: list[Stranger] = []
    for _ in range(data.draw(st.integers(0, 60))):
        leaves = data.draw(st.booleans())
        if here and leaves:
            leaver = here.pop(data.draw(st.integers(0, len(here) - 1)))
            places.leave(leaver)
        else:
            here.append(places.arrive(data.draw(st.sampled_from("abcdef"))))
        here_now = [each for each in here if not each.sent_away]
        admitted = [each for each in here_now if each.admitted.is_set()]
        waiting = [each for each in here_now if not each.admitted.is_set()]
        assert len(admitted) == min(4, len(here_now))
        assert len(waiting) <= 6
        held = {name: sum(each.origin == name for each in admitted) for name in "abcdef"}
        for each in waiting:
            assert max(held.values()) <= held[each.origin] + 1
    for each in here:
        places.leave(each)
    assert (0, 0, {}, {}) == (
        places._inside_count,
        places._waiting_count,
        places._inside,
        places._waiting,
    )


def test_equal_events_are_told_seldom() -> None:
    """One line an origin and minute; the next one says how many were left out."""
    seldom = Seldom(60, 2)

    assert 0 == seldom.tell("a", 0)
    assert [None, None] == [seldom.tell("a", 1), seldom.tell("a", 59)]
    assert 2 == seldom.tell("b", 59)
    assert None is seldom.tell("c", 59)  # the memory is full
    assert 1 == seldom.tell("a", 60)
    assert 0 == seldom.tell("c", 130)
