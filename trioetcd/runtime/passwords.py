"""Checking passwords: slow on purpose, in two threads, and not twice for the same answer.

A check takes 80 ms of a core. So that a thousand clients can come back at once, those who show
the same at the same time share one check, and what fitted is remembered until users change: not
the password, but its HMAC under a key that this process drew and nobody else has.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hmac import digest
from typing import Final

import trio

from trioetcd.auth import draw_salt, hash_password, verify_password
from trioetcd.errors import TOO_MANY_REQUESTS, EtcdError
from trioetcd.ports import Entropy
from trioetcd.runtime.backoff import Backoff
from trioetcd.transport.streams import InThread

__all__ = ["Passwords"]

THREADS: Final = 2
"""As many as hash or check at a time: the cores have other things to do as well."""

WAITING_MAX: Final = 4096
"""Logins that wait for a check; those beyond are told to come again."""

KNOWN_MAX: Final = 8192
"""Logins that are remembered to have fitted, about 1 MB."""

_KEY_BITS: Final = 256


class Passwords:
    """Hashes and checks the passwords of one member's users.

    Args:
        cost: bcrypt's, for new hashes and for users that do not exist.
        entropy: chance.
        in_thread: runs what takes long.
        now: seconds that never go back.
    """

    def __init__(
        self, *, cost: int, entropy: Entropy, in_thread: InThread, now: Callable[[], float]
    ) -> None:
        self._cost = cost
        self._entropy = entropy
        self._in_thread = in_thread
        self._limiter = trio.CapacityLimiter(THREADS)
        self._key = entropy.bits(_KEY_BITS).to_bytes(_KEY_BITS // 8, "big")
        self._backoff = Backoff(now)
        self._known: dict[bytes, None] = {}
        self._known_at = 0
        self._checking: dict[bytes, trio.Event] = {}
        self._waiting = 0

    async def hash(self, password: str) -> bytes:
        """Hash a new password."""
        salt = draw_salt(self._entropy, cost=self._cost)
        hashed = await self._in_thread(
            partial(hash_password, password, salt), limiter=self._limiter
        )
        assert isinstance(hashed, bytes)
        return hashed

    async def fits(
        self,
        user: str,
        password: str,
        hashed: bytes,
        *,
        cost: int | None,
        revision: int,
        address: str,
    ) -> bool:
        """Say whether a password is a user's.

        Args:
            user: who is to be logged in.
            password: what was shown.
            hashed: the user's hash; empty for a user that does not exist, of which nothing is
                told by how long this takes.
            cost: how dear the check is to be where there is no hash: as dear as for some user
                who has one; None for what new hashes cost.
            revision: the auth revision at which that is so.
            address: where the client is.

        Raises:
            EtcdError: TOO_MANY_REQUESTS: too many wait, or this user has failed too often from
                this address.
        """
        if self._known_at != revision:
            self._known.clear()
            self._known_at = revision
        login = self._digest(user, password, hashed, revision)
        if login in self._known:
            return True
        if self._waiting >= WAITING_MAX:
            raise EtcdError(TOO_MANY_REQUESTS)
        self._waiting += 1
        try:
            while (other := self._checking.get(login)) is not None:
                await other.wait()
                if login in self._known:
                    return True
            self._checking[login] = trio.Event()
            try:
                check = partial(verify_password, password, hashed, cost=cost or self._cost)
                return await self._check(login, user, check, revision, address)
            finally:
                self._checking.pop(login).set()
        finally:
            self._waiting -= 1

    async def _check(
        self, login: bytes, user: str, check: Callable[[], bool], revision: int, address: str
    ) -> bool:
        await self._backoff.begin(user, address)
        fits: bool | None = None
        try:
            fits = bool(await self._in_thread(check, limiter=self._limiter))
        finally:
            self._backoff.end(user, address, fits=fits)
        if fits and revision == self._known_at:
            while len(self._known) >= KNOWN_MAX:
                del self._known[next(iter(self._known))]
            self._known[login] = None
        return fits

    def _digest(self, user: str, password: str, hashed: bytes, revision: int) -> bytes:
        said = (user.encode(), password.encode(), hashed)
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in said)
        return digest(self._key, revision.to_bytes(8, "big") + framed, "sha256")
