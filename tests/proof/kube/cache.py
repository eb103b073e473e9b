"""An apiserver's watch cache of one resource, and the reflector that feeds it.

It lists, then watches from the list's revision on. When the watch ends because of a compaction it
lists anew; after any other end it watches on from where it was, and lists anew only if that does
not help. A consistent read asks for the newest revision and waits until the cache has reached it,
asking for progress meanwhile.
Source: Kubernetes' `apiserver/pkg/storage/cacher` and client-go's `tools/cache/reflector.go`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Final

import trio

from tests.proof.history import Event, Row
from tests.proof.kube import requests
from tests.proof.kube.channel import UnansweredError
from tests.proof.kube.record import Snapshot
from tests.proof.kube.storage import Storage
from tests.proof.kube.watching import Watch, WatchStream
from trioetcd.client import WatchCompactedError
from trioetcd.errors import EtcdError

__all__ = ["Cache"]

PROGRESS_SECONDS: Final = 0.1
FRESH_SECONDS: Final = 3.0
"""How long a consistent read waits for the cache."""
BACKOFF_SECONDS: Final = (0.1, 0.4)
ERRORS_SECONDS: Final = 30.0
"""After so long without success a watch is not tried again without a list."""


class Cache:
    """All objects of one resource, as far as its watch has told.

    Args:
        prefix: of the resource.
        storage: of the apiserver.
        stream: where to watch.
        chance: decides about pauses.

    Attributes:
        rows: the objects.
        revision: up to which they are complete; 0: nothing is known yet.
        lists: how often it listed.
    """

    def __init__(
        self, prefix: bytes, storage: Storage, stream: WatchStream, chance: random.Random
    ) -> None:
        self.prefix = prefix
        self.rows: dict[bytes, Row] = {}
        self.revision = 0
        self.lists = 0
        self._storage = storage
        self._record = storage.record
        self._stream = stream
        self._chance = chance
        self._moved = trio.Event()
        self._waiting = 0
        self._wanted = trio.Event()
        self._watch: Watch | None = None
        self._broken = False
        self._restart = False

    @property
    def who(self) -> str:
        """Whose cache of what it is."""
        return f"cache of {self.prefix.decode()} of {self._storage.name}"

    async def run(self) -> None:
        """Keep it up to date until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask_progress)
            while True:
                try:
                    await self._list()
                except (EtcdError, UnansweredError):
                    self._record.counts["lists of caches that failed"] += 1
                else:
                    await self._watch_on()
                await trio.sleep(self._chance.uniform(*BACKOFF_SECONDS))

    def restart(self) -> None:
        """Forget everything, as a new process does."""
        self._restart = True
        if self._watch is not None:
            self._stream.cancel(self._watch)

    async def _list(self) -> None:
        listing = await self._storage.list(self.prefix, limit=requests.LIMIT_MAX)
        if listing.revision < self.revision and not self._restart:
            self._record.flaws.append(
                f"{self.who}: a list at {listing.revision} after {self.revision} was seen"
            )
        self._restart = False
        self._record.counts["lists of caches"] += 1
        self._record.counts["lists of caches that were not the first"] += self.lists > 0
        self.lists += 1
        self.rows = {row.key: row for row in listing.rows}
        self.revision = listing.revision
        self._move()

    async def _watch_on(self) -> None:
        """Watch until only a list can help."""
        failing_since: float | None = None
        while True:
            self._broken = False
            start = self.revision + 1
            self._watch = watch = Watch(
                self.who, self.prefix, requests.prefix_end(self.prefix), start, self
            )
            self._stream.watch(watch)
            await watch.ended.wait()
            self._watch = None
            if self._restart or isinstance(watch.error, WatchCompactedError):
                return
            self._record.counts["watches begun again where they were"] += 1
            if self.revision >= start:
                failing_since = None
            failing_since = failing_since or time.monotonic()
            if time.monotonic() - failing_since > ERRORS_SECONDS:
                return
            await trio.sleep(self._chance.uniform(*BACKOFF_SECONDS))

    # -- what the watch tells --------------------------------------------------------------

    def changed(self, events: Sequence[Event]) -> None:
        """Apply the events of one response."""
        if self._broken:
            return
        for event in events:
            if event.revision <= self.revision:
                self._record.flaws.append(
                    f"{self.who} is told of {event.revision} after it knew all up to "
                    f"{self.revision}"
                )
            created = event.now is not None and event.now.create == event.now.mod
            if event.before is None and not created:
                self._break()
                return
            if event.now is None:
                self.rows.pop(event.key, None)
            else:
                self.rows[event.key] = event.now
        self.revision = max(self.revision, events[-1].revision)
        self._move()

    def _break(self) -> None:
        """Give up a watch that left out what an object was, which an apiserver cannot use."""
        self._record.counts["events without prev_kv"] += 1
        self._broken = True
        assert self._watch is not None
        self._stream.cancel(self._watch)

    def progressed(self, revision: int) -> None:
        """Take note that the cache is complete up to a revision."""
        if not self._broken and revision > self.revision:
            self.revision = revision
            self._move()

    def _move(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    # -- reads -----------------------------------------------------------------------------

    async def reach(self, revision: int) -> None:
        """Wait until the cache is complete up to a revision."""
        self._waiting += 1
        self._wanted.set()
        try:
            while self.revision < revision:
                await self._moved.wait()
        finally:
            self._waiting -= 1

    async def _ask_progress(self) -> None:
        """Ask for progress again and again while anybody waits for it."""
        while True:
            while not self._waiting:
                self._wanted = trio.Event()
                await self._wanted.wait()
            await trio.sleep(PROGRESS_SECONDS)
            if self._waiting and self._storage.features.progress:
                self._stream.request_progress()

    def snapshot(self, wanted: int) -> Snapshot:
        """Give what the cache holds now."""
        rows = tuple(self.rows[key] for key in sorted(self.rows))
        return Snapshot(self.who, self.prefix, wanted, self.revision, rows)

    def stale_list(self) -> None:
        """List from the cache whatever it holds, as long as it holds something."""
        if self.revision:
            self._record.snapshots.append(self.snapshot(0))

    async def consistent_list(self) -> bool:
        """List from the cache what cannot be stale; False if it did not get there in time.

        Where the servers are not asked for progress, the list is the store's.

        Raises:
            EtcdError: refused.
            UnansweredError: no answer.
        """
        if not self._storage.features.progress:
            await self._storage.list(self.prefix)
            return True
        wanted = await self._storage.revision(self.prefix)
        began = time.monotonic()
        with trio.move_on_after(FRESH_SECONDS):
            await self.reach(wanted)
            self._record.latencies["consistent list from the cache"].append(
                time.monotonic() - began
            )
            self._record.snapshots.append(self.snapshot(wanted))
            return True
        self._record.counts["consistent lists that came too late"] += 1
        return False
