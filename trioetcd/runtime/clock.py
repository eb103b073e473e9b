"""Real time and real chance behind the ports."""

from __future__ import annotations

import secrets
import time

import trio

__all__ = ["SystemClock", "SystemEntropy"]


class SystemClock:
    """Trio's clock for intervals, so that a mock clock moves them, and the wall's for dates.

    To be made where Trio runs: the clock of that run is asked directly, without three calls on
    the way to it.
    """

    def __init__(self) -> None:
        self.monotonic = trio.lowlevel.current_clock().current_time

    def wall(self) -> float:
        """Give seconds since 1970."""
        return time.time()


class SystemEntropy:
    """The operating system's chance."""

    def bits(self, count: int, /) -> int:
        """Give a uniformly drawn number of `count` bits."""
        return secrets.randbits(count)
