"""Places for connections whose other side is not known yet, shared fairly between addresses.

Until a handshake is done nobody knows who is there. There are so many places for such strangers
and no more; whoever comes when all are taken waits. But nobody waits for an address that holds
more places than his own: of that address the one that has kept us waiting longest has to go. So
an address that fills every place, and says nothing, costs others nothing at all, while a thousand
clients behind one address that reconnect at once come in one after the other.

An IPv6 network of 64 bits counts as one address: it is what one subscriber gets.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from trioetcd.transport.streams import InThread

__all__ = ["STRANGERS_MAX", "WAITING_MAX", "Seldom", "Stranger", "Strangers", "origin_of"]

STRANGERS_MAX: Final = 256
"""Connections in their handshake at a time."""

WAITING_MAX: Final = 1024
"""Connections that wait for a place: as many as the kernel would keep for us."""

_SUBSCRIBER_BITS: Final = 64


def origin_of(host: str) -> str:
    """Give what counts as one address: an IPv4 address, 64 bits of IPv6, all unix sockets."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, _SUBSCRIBER_BITS), strict=False))


class Stranger:
    """One connection from its accept until it is known, or gone.

    Attributes:
        origin: what `origin_of` gave.
        scope: in which it is served; cancelled when it has to go.
        admitted: set when it has a place.
        sent_away: why it had to go; empty otherwise.
        idle: whether it keeps us waiting, and not we it.
    """

    __slots__ = ("_balance", "admitted", "idle", "origin", "scope", "sent_away")

    def __init__(self, origin: str, balance: Callable[[], None]) -> None:
        self.origin = origin
        self.scope = trio.CancelScope()
        self.admitted = trio.Event()
        self.sent_away = ""
        self.idle = True
        self._balance = balance

    def busy(self, in_thread: InThread) -> InThread:
        """Give `in_thread` such that this stranger is not idle while it works for it."""
        return partial(self._work, in_thread)

    async def _work(
        self,
        in_thread: InThread,
        work: Callable[[], object],
        /,
        *,
        limiter: trio.CapacityLimiter | None = None,
    ) -> object:
        self.idle = False
        try:
            return await in_thread(work, limiter=limiter)
        finally:
            self.idle = True
            self._balance()

    def send_away(self, reason: str) -> None:
        """End it."""
        self.sent_away = reason
        self.scope.cancel()


class Strangers:
    """All strangers of one listener.

    Args:
        places: how many there may be at a time.
        waiting_max: how many more may wait.
    """

    def __init__(self, places: int = STRANGERS_MAX, waiting_max: int = WAITING_MAX) -> None:
        self._places = places
        self._waiting_max = waiting_max
        self._inside: dict[str, dict[Stranger, None]] = {}  # by origin, oldest first
        self._waiting: dict[str, deque[Stranger]] = {}
        self._inside_count = 0
        self._waiting_count = 0

    def arrive(self, origin: str) -> Stranger:
        """Take one in, now or when it is its turn; `leave` must be called in the end."""
        stranger = Stranger(origin, self._balance)
        self._waiting.setdefault(origin, deque()).append(stranger)
        self._waiting_count += 1
        self._balance()
        if self._waiting_count > self._waiting_max:
            crowd = max(self._waiting, key=lambda each: len(self._waiting[each]))
            last = self._waiting[crowd][-1]
            self._stop_waiting(last)
            last.send_away("too many connections of its address wait for their TLS handshake")
        return stranger

    def leave(self, stranger: Stranger) -> None:
        """Give its place to the next one; it is known, or gone."""
        if stranger in self._inside.get(stranger.origin, ()):
            self._give_up_place(stranger)
        elif stranger in self._waiting.get(stranger.origin, ()):
            self._stop_waiting(stranger)
        self._balance()

    def _balance(self) -> None:
        """Give every free place, and those that one address has too many of, to who waits."""
        while self._waiting:
            origin = min(self._waiting, key=self._held)
            if self._inside_count >= self._places:
                silent = self._most_dispensable(origin)
                if silent is None:
                    return
                self._give_up_place(silent)
                silent.send_away("another address needed its place, for its own held many")
            stranger = self._waiting[origin][0]
            self._stop_waiting(stranger)
            self._inside.setdefault(origin, {})[stranger] = None
            self._inside_count += 1
            stranger.admitted.set()

    def _held(self, origin: str) -> int:
        return len(self._inside.get(origin, ()))

    def _most_dispensable(self, origin: str) -> Stranger | None:
        """Give who has been idle longest of the address that holds most, if that is not fair."""
        crowd = max(self._inside, key=self._held)
        if self._held(crowd) <= self._held(origin) + 1:
            return None
        return next((each for each in self._inside[crowd] if each.idle), None)

    def _give_up_place(self, stranger: Stranger) -> None:
        held = self._inside[stranger.origin]
        del held[stranger]
        self._inside_count -= 1
        if not held:
            del self._inside[stranger.origin]

    def _stop_waiting(self, stranger: Stranger) -> None:
        queue = self._waiting[stranger.origin]
        queue.remove(stranger)
        self._waiting_count -= 1
        if not queue:
            del self._waiting[stranger.origin]


class Seldom:
    """Says which of many equal events are worth a line in the log.

    Args:
        seconds: between two lines of one origin.
        origins_max: origins that are remembered; further ones are only counted.
    """

    def __init__(self, seconds: float = 60.0, origins_max: int = 64) -> None:
        self._seconds = seconds
        self._origins_max = origins_max
        self._told: dict[str, float] = {}
        self._silent = 0

    def tell(self, origin: str, now: float) -> int | None:
        """Give how many events went untold since the last line; None to leave out this one, too."""
        if now - self._told.get(origin, -self._seconds) < self._seconds:
            self._silent += 1
            return None
        if len(self._told) >= self._origins_max:
            recent = {each: at for each, at in self._told.items() if now - at < self._seconds}
            self._told = recent
        if len(self._told) >= self._origins_max:
            self._silent += 1
            return None
        self._told[origin] = now
        silent, self._silent = self._silent, 0
        return silent
