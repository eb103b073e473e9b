"""One apiserver: its storage, its watch caches, its compactor, its probes."""

from __future__ import annotations

import random
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import trio

from tests.proof.history import Event, Row
from tests.proof.kube import requests
from tests.proof.kube.cache import Cache
from tests.proof.kube.channel import Channel, UnansweredError
from tests.proof.kube.compactor import Compactor
from tests.proof.kube.record import Record
from tests.proof.kube.storage import Features, Storage
from tests.proof.kube.watching import Watch, WatchStream
from trioetcd.client.connection import Endpoint
from trioetcd.errors import EtcdError
from trioetcd.schema import messages

__all__ = ["EVENTS", "LEASES", "NODES", "PODS", "PREFIXES", "ApiServer"]

NODES: Final = b"/registry/minions/"
LEASES: Final = b"/registry/leases/"
PODS: Final = b"/registry/pods/"
EVENTS: Final = b"/registry/events/"
GROUPS: Final = ((NODES, LEASES), (PODS,), (EVENTS,))
"""Which caches share a watch stream."""
PREFIXES: Final = tuple(prefix for group in GROUPS for prefix in group)
HEALTH_SECONDS: Final = 2.0
STATUS_SECONDS: Final = 2.0


class Onlooker:
    """Who watches for an API client: it only wants to be told."""

    def changed(self, events: Sequence[Event]) -> None:
        """Take events."""

    def progressed(self, revision: int) -> None:
        """Take progress."""


class ApiServer:
    """One apiserver.

    Args:
        name: its name.
        endpoints: the members it is bound to.
        tls: for the connections.
        record: where everything is noted.
        chance: decides whatever is left to chance.
        compact_seconds: the compactor's interval.

    Attributes:
        storage: what it reads and writes.
        caches: per prefix.
        compactor: its compactor.
    """

    def __init__(
        self,
        name: str,
        endpoints: Sequence[Endpoint],
        tls: ssl.SSLContext,
        record: Record,
        chance: random.Random,
        compact_seconds: float,
    ) -> None:
        self.name = name
        self._record = record
        self._chance = chance
        self._channel = Channel(endpoints, tls, record, chance)
        self._features = Features()
        self.storage = Storage(name, self._channel, record, self._features, chance)
        self._streams = [
            WatchStream(
                f"caches {number} of {name}", endpoints, tls, record, source="cache", first=number
            )
            for number in range(len(GROUPS))
        ]
        self._direct = WatchStream(f"clients of {name}", endpoints, tls, record)
        self._plain = WatchStream(f"compactor of {name}", endpoints, tls, record, leader=False)
        self.caches = {
            prefix: Cache(prefix, self.storage, stream, chance)
            for group, stream in zip(GROUPS, self._streams, strict=True)
            for prefix in group
        }
        self.compactor = Compactor(self.storage, self._plain, compact_seconds)

    async def run(self) -> None:
        """Run until cancelled."""
        async with trio.open_nursery() as nursery:
            for stream in (*self._streams, self._direct, self._plain):
                nursery.start_soon(stream.run)
            nursery.start_soon(self._channel.run)
            await self._check_features()
            for cache in self.caches.values():
                nursery.start_soon(cache.run)
            nursery.start_soon(self.compactor.watch)
            nursery.start_soon(self._probe)

    async def _status(self) -> messages.StatusResponse:
        return await self._channel.ask("status", messages.StatusRequest(), messages.StatusResponse)

    async def _check_features(self) -> None:
        """Ask as many members as there are for their version; the requests go round."""
        versions = [(await self._status()).version for _ in self._channel.endpoints]
        self._features.judge(versions)
        self._record.counts["servers that ask for progress"] += self._features.progress
        for stream in self._streams:
            stream.impatient = self._features.progress

    async def _probe(self) -> None:
        """Ask for health as often as probes may, and for the database's size."""
        turn = 0
        while True:
            healthy = await self.storage.health(HEALTH_SECONDS)
            self._record.counts["probes"] += 1
            self._record.counts["probes that failed"] += not healthy
            turn += 1
            if turn % 2 == 0:
                with suppress(EtcdError, UnansweredError):
                    status = await self._status()
                    if status.dbSize <= 0 or not status.version:
                        self._record.flaws.append(f"{self.name} was told a status of {status}")
            await trio.sleep(HEALTH_SECONDS / 2)

    def cached(self, key: bytes) -> Row | None:
        """Give an object as the watch cache has it, which may be old."""
        prefix = b"/".join(key.split(b"/")[:3]) + b"/"
        return self.caches[prefix].rows.get(key) if prefix in self.caches else None

    def away(self, seconds: float) -> None:
        """Lose one watch stream for a while."""
        self._record.counts["watch streams cut by the player"] += 1
        self._chance.choice(self._streams).cut(seconds)

    def come_back(self) -> None:
        """Lose none any longer."""
        for stream in self._streams:
            stream.come_back()

    def restart(self) -> None:
        """Forget what one cache holds, or all of them."""
        caches = list(self.caches.values())
        for cache in caches if self._chance.random() < 0.5 else [self._chance.choice(caches)]:
            cache.restart()

    async def watch_for_client(self, prefix: bytes, seconds: float) -> None:
        """List and watch for a client that does not go over the cache.

        Raises:
            EtcdError: the list was refused.
            UnansweredError: it was not answered.
        """
        listing = await self.storage.list(prefix)
        watch = Watch(
            f"client of {self.name}",
            prefix,
            requests.prefix_end(prefix),
            listing.revision + 1,
            Onlooker(),
            progress=False,
        )
        self._direct.watch(watch)
        with trio.move_on_after(seconds):
            await watch.ended.wait()
        self._direct.cancel(watch)
