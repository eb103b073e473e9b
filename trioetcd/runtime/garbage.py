"""When Python looks for garbage: young objects often, everything only when nobody waits.

A full collection over 225 000 objects takes 26 ms, which is a quarter of a heartbeat. So what
lives as long as the member is frozen when it is ready, the oldest generation is never collected
in the middle of work, and a quiet member does it instead.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Final

import trio

__all__ = ["collect_when_idle", "settle"]

YOUNG_OBJECTS: Final = 20_000
"""Allocations between two looks at the youngest: a turn's work at full load."""

MIDDLE_LOOKS: Final = 20

NEVER: Final = 1 << 30

IDLE_SECONDS: Final = 10.0
"""A member without a turn of work for so long has a moment."""


def settle() -> None:
    """Freeze what is there: no collection looks at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, MIDDLE_LOOKS, NEVER)


async def collect_when_idle(done: Callable[[], int]) -> None:
    """Collect everything whenever nothing was done for a while; runs for ever.

    Args:
        done: counts the work done so far.
    """
    collected = before = done()
    while True:
        await trio.sleep(IDLE_SECONDS)
        now = done()
        if now == before != collected:
            gc.collect()
            collected = now
        before = now
