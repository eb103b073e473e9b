"""Tells quiet watches how far the store has come, stream after stream."""

from __future__ import annotations

from collections.abc import Callable

import trio

from trioetcd.mvcc import WatchHub
from trioetcd.runtime.cursors import TURN_SECONDS

__all__ = ["tell_progress", "with_jitter"]

LOOK_SECONDS = 1.0
"""How often streams are asked whether it is time, where progress is seldom told."""

_BITS = 16


def with_jitter(seconds: float, bits: Callable[[int], int]) -> float:
    """Lengthen an interval by up to a tenth (etcd), for streams that began together.

    Args:
        seconds: the interval.
        bits: gives so many random bits.
    """
    return seconds * (1 + bits(_BITS) / (10 << _BITS))


async def tell_progress(hub: WatchHub, now: Callable[[], float], seconds: float) -> None:
    """Let each stream tell its quiet watches, for ever, and no more than 2 ms at a time.

    Args:
        hub: all streams.
        now: the time.
        seconds: the shortest time between two notifications of a watch.
    """
    look = min(LOOK_SECONDS, seconds / 10)
    while True:
        await trio.sleep(look)
        begun = now()
        for session in list(hub.sessions):
            session.tick(now())
            if now() - begun > TURN_SECONDS:
                await trio.lowlevel.checkpoint()
                begun = now()
