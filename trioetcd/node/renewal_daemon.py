"""Keep certificates renewed: sleep until the next one is due, renew, try again after a failure.

The wall clock is asked again at least every hour, since machines are suspended and clocks are set.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import trio

__all__ = ["JITTER_SHARE", "LONGEST_SECONDS", "PAUSE_SECONDS", "keep_renewed"]

LONGEST_SECONDS: Final = 3600.0
"""Between two looks at the clock, and between two attempts that fail."""

PAUSE_SECONDS: Final = 60.0
"""At least, between two attempts; after failures twice as long each time."""

JITTER_SHARE: Final = 1 / 20
"""Of a lifetime: at most so much earlier a renewal comes, so that not all come at once."""


async def keep_renewed(
    attempt: Callable[[], Awaitable[datetime | None]], *, now: Callable[[], datetime]
) -> None:
    """Renew for ever.

    Args:
        attempt: renews what is due, and says when something is due next; None if that failed.
        now: tells the time.
    """
    failures = 0
    while True:
        due = await attempt()
        if due is None:
            failures += 1
            await trio.sleep(min(LONGEST_SECONDS, PAUSE_SECONDS * 2 ** (failures - 1)))
            continue
        failures = 0
        left = (due - now()).total_seconds()
        await trio.sleep(min(LONGEST_SECONDS, max(PAUSE_SECONDS, left)))
