"""Who guesses passwords is made to wait, and longer with every guess.

Counted are failed logins of a user from an address, and of whomever from an address; a login that
succeeds makes good those of its user. So nobody can shut out a user who comes from elsewhere, and
one address cannot try one password with many users. All of it is forgotten after some quiet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from trioetcd.errors import TOO_MANY_REQUESTS, EtcdError

__all__ = ["FREE_OF_ADDRESS", "FREE_OF_USER", "Backoff"]

FREE_OF_USER: Final = 3
"""Failures of one user from one address that cost nothing: people mistype."""

FREE_OF_ADDRESS: Final = 50
"""Failures from one address, whoever's: many users may come through one gateway."""

SECONDS: Final = 0.5
SECONDS_MAX: Final = 4.0
"""How long the first one after those waits, doubled with each more up to this: less than the 5 s
that etcdctl waits for an answer."""

FORGET_SECONDS: Final = 900.0
"""Quiet after which failures are forgotten."""

ENTRIES_MAX: Final = 16_384
"""Failures are counted of so many, about 3 MB; those who have been quiet for longest go first."""


class _Failures:
    """Attributes: failures so far; attempts under way; when the next may begin; the last one."""

    __slots__ = ("failed", "last", "next", "pending")

    def __init__(self) -> None:
        self.failed = self.pending = 0
        self.next = self.last = 0.0


class Backoff:
    """Counts failures, and lets attempts wait.

    Args:
        now: seconds that never go back.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._known: dict[tuple[str, str], _Failures] = {}

    def __len__(self) -> int:
        return len(self._known)

    async def begin(self, user: str, address: str) -> None:
        """Wait until an attempt may be made; `end` tells how it went.

        Attempts under way count as failures, so that many at once gain nothing.

        Raises:
            EtcdError: TOO_MANY_REQUESTS: the wait would be too long.
        """
        now = self._now()
        own = self._failures((user, address), now)
        shared = self._failures(("", address), now)
        of_own = _next(own, now, own.failed + own.pending - FREE_OF_USER)
        of_shared = _next(shared, now, shared.failed - FREE_OF_ADDRESS)
        begins = max(of_own, of_shared)
        if begins - now > SECONDS_MAX:
            raise EtcdError(TOO_MANY_REQUESTS)
        own.next, shared.next = of_own, of_shared
        own.pending += 1
        waited = begins <= now
        try:
            if not waited:
                await trio.sleep(begins - now)
                waited = True
        finally:
            if not waited:
                own.pending -= 1

    def end(self, user: str, address: str, *, fits: bool | None) -> None:
        """Note how an attempt went; None for one of which nobody knows."""
        now = self._now()
        own = self._failures((user, address), now)
        own.pending = max(0, own.pending - 1)
        if fits:
            own.failed = 0
        elif fits is not None:
            own.failed += 1
            self._failures(("", address), now).failed += 1

    def _failures(self, of: tuple[str, str], now: float) -> _Failures:
        found = self._known.pop(of, None)
        if found is None or (now - found.last > FORGET_SECONDS and not found.pending):
            found = _Failures()
        found.last = now
        self._known[of] = found
        if len(self._known) > ENTRIES_MAX:
            del self._known[next(iter(self._known))]
        return found


def _next(failures: _Failures, now: float, excess: int) -> float:
    """Give when the next attempt may begin after so many failures too many."""
    if excess < 0:
        return now
    return max(now, failures.next) + min(SECONDS * 2.0 ** min(excess, 16), SECONDS_MAX)
