"""Who is connected by which certificate, and for how long that may last.

A handshake is judged when it is done, before a byte of what it brings is read. Every connection
that got in is in the book; `Tenures.look`, once a second, costs nothing while nothing has changed
and no certificate in the book has ended, however many connections are idle. Otherwise it asks for
each connection whether its certificate may still be used, and ends those whose may not.

A connection of a retired generation is asked to move (`ByteStream.on_retire`), one after another,
spread over some seconds: a thousand clients must not come back in one.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import trio

from trioetcd.pki import Authorities, Objection, PkiError, Standing
from trioetcd.ports import Entropy
from trioetcd.transport.streams import ByteStream, InThread

__all__ = ["LOOK_SECONDS", "Ended", "RefusedError", "Tenure", "Tenures", "wall_clock"]

LOOK_SECONDS: Final = 1.0
"""How often somebody looks."""

LEAVING_LOOKS: Final = 2
"""Whoever was asked to end and did not is cut off so many looks later."""

EARLY: Final = timedelta(minutes=1)
"""So long before its certificate ends a connection is asked to move: there may be a new one."""

LOOKS_MAX: Final = 500
"""Connections that are looked at without a pause; about 1 ms."""

SPREAD_SECONDS_MIN: Final = 2.0
SPREAD_SECONDS_MAX: Final = 60.0
SPREAD_SECONDS_EACH: Final = 0.005
"""Connections move over so long a time: five handshakes' worth for each, within the bounds."""


Ended = Callable[[str, str, Objection], None]
"""Told that a connection is ended for its certificate: side, address, and why."""


class RefusedError(Exception):
    """A certificate that TLS has verified is not taken; the sentence says why."""

    def __init__(self, objection: Objection) -> None:
        super().__init__(objection.sentence)
        self.objection = objection


def wall_clock() -> datetime:
    """Give the time."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Tenure:
    """One connection's stay.

    Attributes:
        stream: the connection.
        remote: the other side, for the log.
        standing: of its certificate; None if it has shown none.
        since: the generation that it came in with.
        retired: whether it was asked to move.
        movable: whether it is to be asked before its certificate ends.
    """

    stream: ByteStream
    remote: str
    standing: Standing | None
    since: int
    retired: bool = False
    movable: bool = False

    def expel(self) -> None:
        """End it, politely where somebody knows how."""
        if self.stream.on_expel is None:
            self.stream.cut()
        else:
            self.stream.on_expel()

    def retire(self) -> bool:
        """Ask the other side to come again; False if nobody is there yet who could ask."""
        if self.stream.on_retire is None:
            return False
        self.retired = True
        self.stream.on_retire()
        return True


class Tenures:
    """The connections that the certificates of one kind of other side stand behind.

    Args:
        side: what metrics and the log call the other side.
        authorities: who is trusted; None where nobody shows a certificate.
        generation: of the credentials that handshakes are made with.
        ended: told of each connection that is ended, and why.
        entropy: spreads moves.
        now: the time.
    """

    def __init__(
        self,
        side: str,
        authorities: Authorities | None,
        *,
        generation: int,
        ended: Ended,
        entropy: Entropy,
        now: Callable[[], datetime] = wall_clock,
    ) -> None:
        self._side = side
        self._authorities = authorities
        self._generation = generation
        self._ended = ended
        self._entropy = entropy
        self._now = now
        self._book: dict[ByteStream, Tenure] = {}
        self._leaving: deque[list[Tenure]] = deque([[] for _ in range(LEAVING_LOOKS)])
        self._soonest = datetime.max.replace(tzinfo=UTC)
        self._changed = False
        self._stale = trio.Event()
        self._until: datetime | None = None

    def __len__(self) -> int:
        """Give the number of connections in the book."""
        return len(self._book)

    def retired(self) -> int:
        """Give the number of connections of older generations."""
        return sum(tenure.since < self._generation for tenure in self._book.values())

    async def admit(
        self,
        stream: ByteStream,
        remote: str,
        *,
        threads: trio.CapacityLimiter,
        in_thread: InThread,
    ) -> None:
        """Judge a connection whose handshake is done, and enter it in the book until it closes.

        Args:
            stream: the connection.
            remote: the other side, for the log.
            threads: in which the cryptography runs; a certificate seen before needs none.
            in_thread: runs it.

        Raises:
            RefusedError: its certificate is revoked, has ended, or is not trusted.
            PkiError: it cannot be read.
        """
        generation = self._generation
        secure = stream.socket
        assert isinstance(secure, ssl.SSLSocket)
        der = secure.getpeercert(binary_form=True)
        standing: Standing | None = None
        if der is not None and self._authorities is not None:
            standing = self._authorities.known(der)
            if standing is None:
                work = partial(self._authorities.standing, der, _shown(secure))
                found = await in_thread(work, limiter=threads)
                assert isinstance(found, Standing)
                standing = found
        # Nothing is waited for from here on: what changes later finds this connection entered.
        tenure = Tenure(stream, remote, standing, generation)
        if standing is not None:
            now = self._now()
            objection = self._objection(standing, now)
            if objection is not None:
                raise RefusedError(objection)
            self._note_end(tenure, now)
        if generation != self._generation:
            self._stale.set()
        self._book[stream] = tenure
        stream.on_close = partial(self._book.pop, stream, None)

    def renew(
        self, authorities: Authorities | None, *, generation: int, until: datetime | None = None
    ) -> None:
        """Put new authorities in force; connections of an older generation are asked to move.

        Args:
            authorities: who is trusted from now on.
            generation: of the credentials that handshakes are made with from now on.
            until: when what the older connections were made with ends.
        """
        self._authorities = authorities
        self._changed = True
        if generation != self._generation:
            self._generation = generation
            self._until = until
            self._stale.set()

    async def look(self) -> None:
        """End the connections whose certificates may not be used any more."""
        for tenure in self._leaving.popleft():
            tenure.stream.cut()
        self._leaving.append([])
        now = self._now()
        if not self._changed and now < self._soonest:
            return
        self._changed = False
        self._soonest = datetime.max.replace(tzinfo=UTC)
        for at, tenure in enumerate(list(self._book.values()), 1):
            self._judge(tenure, now)
            if not at % LOOKS_MAX:
                await trio.lowlevel.checkpoint()

    def _judge(self, tenure: Tenure, now: datetime) -> None:
        if tenure.standing is None:
            return
        objection = self._objection(tenure.standing, now)
        if objection is None:
            if tenure.movable and self._ends(tenure.standing) - now <= EARLY:
                tenure.movable = not tenure.retire()
            self._note_end(tenure, now)
            return
        del self._book[tenure.stream]
        self._leaving[-1].append(tenure)
        self._ended(self._side, tenure.remote, objection)
        tenure.expel()

    def _objection(self, standing: Standing, now: datetime) -> Objection | None:
        return None if self._authorities is None else self._authorities.objection(standing, now)

    def _ends(self, standing: Standing) -> datetime:
        return standing.not_after if self._authorities is None else self._authorities.ends(standing)

    def _note_end(self, tenure: Tenure, now: datetime) -> None:
        """Remember when somebody must look at it again."""
        assert tenure.standing is not None
        end = self._ends(tenure.standing)
        if end - now > 2 * EARLY:
            tenure.movable = True
        self._soonest = min(self._soonest, end - EARLY if tenure.movable else end)

    async def run(self) -> None:
        """Ask connections of older generations to move, one after another, for ever."""
        while True:
            await self._stale.wait()
            self._stale = trio.Event()
            stale = [
                tenure
                for tenure in self._book.values()
                if tenure.since < self._generation and not tenure.retired
            ]
            pause = self._spread(len(stale)) / max(1, len(stale))
            for tenure in stale:
                await trio.sleep(pause * (0.5 + self._entropy.bits(16) / 2**16))
                if tenure.stream in self._book and not tenure.retired and not tenure.retire():
                    self._stale.set()  # it has only just come; another round finds it
            await trio.sleep(pause)

    def _spread(self, count: int) -> float:
        """Give the seconds within which so many connections move, before the old ones end."""
        spread = min(max(SPREAD_SECONDS_MIN, count * SPREAD_SECONDS_EACH), SPREAD_SECONDS_MAX)
        if self._until is not None:
            left = (self._until - self._now()).total_seconds()
            spread = max(0.0, min(spread, left / 2))
        return spread


def _shown(secure: ssl.SSLSocket) -> list[bytes]:
    """Give what the other side has shown above its certificate; Python tells it from 3.13 on."""
    chain = getattr(secure, "get_verified_chain", None)
    try:
        return [] if chain is None else list(chain())[1:]
    except (ssl.SSLError, ValueError):
        raise PkiError("the chain of the certificate cannot be read") from None
