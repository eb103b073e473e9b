"""Real time and real chance behind the ports."""

from __future__ import annotations

import secrets
import time

import trio

__all__ = ["SystemClock", "SystemEntropy"]


class SystemClock:
    """Trio's clock for intervals, so that a mock clock moves them, and the wall's for dates."""

    def monotonic(self) -> float:
        """Give seconds that never go back."""
        return trio.current_time()

    def wall(self) -> float:
        """Give seconds since 1970."""
        return time.time()


class SystemEntropy:
    """The operating system's chance."""

    def bits(self, count: int, /) -> int:
        """Give a uniformly drawn number of `count` bits."""
        return secrets.randbits(count)
