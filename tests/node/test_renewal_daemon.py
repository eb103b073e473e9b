"""Tests of `trioetcd.node.renewal_daemon`: it sleeps until something is due, and tries again."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import trio
import trio.testing

from tests.pki.material import NOW
from trioetcd.node.renewal_daemon import LONGEST_SECONDS, PAUSE_SECONDS, keep_renewed


async def attempts(answers: list[timedelta | None]) -> list[float]:
    """Give when each attempt came, in seconds since the first, if they answer so."""
    times: list[float] = []
    began = trio.current_time()

    def clock() -> datetime:
        return NOW + timedelta(seconds=trio.current_time() - began)

    async def attempt() -> datetime | None:
        await trio.lowlevel.checkpoint()
        times.append(trio.current_time() - began)
        if len(times) > len(answers):
            scope.cancel()
            return None
        answer = answers[len(times) - 1]
        return None if answer is None else clock() + answer

    with trio.CancelScope() as scope:
        await keep_renewed(attempt, now=clock)
    return times


async def test_it_sleeps_until_something_is_due(autojump_clock: trio.testing.MockClock) -> None:
    """At most an hour, at least a minute: what is due long since was tried just now."""
    found = await attempts([timedelta(minutes=10), timedelta(days=5), timedelta(days=-1)])

    assert [0, 600, 600 + LONGEST_SECONDS, 600 + LONGEST_SECONDS + PAUSE_SECONDS] == found


async def test_it_tries_again_ever_less_often(autojump_clock: trio.testing.MockClock) -> None:
    """After failures it waits a minute, two, four, ... an hour; a success begins anew."""
    found = await attempts([*[None] * 8, timedelta(minutes=5), None])
    waits = [after - before for before, after in pairwise(found)]

    assert [60, 120, 240, 480, 960, 1920, 3600, 3600, 300, 60] == waits
