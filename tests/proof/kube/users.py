"""Who reads: lists from the cache and from the store, whole and in pages, now and in the past."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Final

from tests.proof.kube.cache import Cache
from tests.proof.kube.channel import UnansweredError
from tests.proof.kube.record import Record
from tests.proof.kube.server import PODS, PREFIXES, ApiServer
from trioetcd import errors
from trioetcd.errors import EtcdError

__all__ = ["User"]

PAUSE_SECONDS: Final = 0.5
FAR: Final = 1_000_000
"""So far ahead no revision is."""


class User:
    """One who reads, one thing after the other.

    Args:
        server: whom he asks.
        record: where things are counted.
        chance: decides.
    """

    def __init__(self, server: ApiServer, record: Record, chance: random.Random) -> None:
        self._server = server
        self._storage = server.storage
        self._record = record
        self._chance = chance
        self._seen = 1

    async def run(self, pause: Callable[[float], Awaitable[bool]]) -> None:
        """Read until `pause` says that it is over."""
        doing: dict[Callable[[], Awaitable[object]], int] = {
            self._consistent: 30,
            self._stale: 10,
            self._list: 10,
            self._turn_over: 10,
            self._past: 10,
            self._future: 3,
            self._watch: 10,
            self._count: 5,
            self._keys: 5,
            self._get: 10,
        }
        while await pause(self._chance.uniform(0, PAUSE_SECONDS)):
            try:
                await self._chance.choices([*doing], [*doing.values()])[0]()
            except UnansweredError:
                self._record.counts["reads of users that were not answered"] += 1
            except EtcdError as error:
                if error.row is not errors.COMPACTED:
                    self._record.flaws.append(f"a user of {self._server.name} was told: {error}")
                self._record.counts["reads of users that were compacted"] += 1

    def _prefix(self) -> bytes:
        return self._chance.choice(PREFIXES)

    def _cache(self) -> Cache:
        return self._server.caches[self._prefix()]

    async def _consistent(self) -> None:
        await self._cache().consistent_list()

    async def _stale(self) -> None:
        self._cache().stale_list()

    async def _list(self) -> None:
        await self._storage.list(self._prefix(), limit=self._chance.choice((0, 30)))

    async def _turn_over(self) -> None:
        """Read page by page as a user with a selector does, at times slowly, at times not all."""
        listing = await self._storage.pages(
            self._prefix(),
            limit=self._chance.choice((5, 50, 500)),
            pages=self._chance.choice((0, 0, 3)),
            pause=self._chance.choice((0.0, 0.0, 0.5)),
        )
        self._seen = max(self._seen, listing.revision)

    async def _past(self) -> None:
        old = self._chance.randint(1, self._seen)
        revision = self._chance.choice((self._seen, old))
        limit = self._chance.choice((0, 20))
        await self._storage.list(self._prefix(), revision=revision, limit=limit)

    async def _future(self) -> None:
        """Ask for what is not yet, and then, as an apiserver does, what is."""
        try:
            await self._storage.pages(self._prefix(), revision=self._seen + FAR, limit=500)
        except EtcdError as error:
            if error.row is not errors.FUTURE_REVISION:
                raise
            await self._storage.revision(PODS)

    async def _watch(self) -> None:
        await self._server.watch_for_client(self._prefix(), self._chance.uniform(0.2, 5))

    async def _count(self) -> None:
        await self._storage.count(self._prefix())

    async def _keys(self) -> None:
        await self._storage.keys(self._prefix())

    async def _get(self) -> None:
        await self._storage.get(PODS + b"space-0/pod-%05d" % (7 * self._chance.randrange(9)))
