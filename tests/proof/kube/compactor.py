"""An apiserver's compactor, which quarrels with those of the others about who compacts.

Source: Kubernetes' `apiserver/pkg/storage/etcd3/compact.go`.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from tests.proof.history import Event
from tests.proof.kube import requests
from tests.proof.kube.channel import UnansweredError
from tests.proof.kube.record import Claim, Compaction, now
from tests.proof.kube.storage import Storage
from tests.proof.kube.watching import Watch, WatchStream
from trioetcd.client import OutcomeUnknownError
from trioetcd.errors import EtcdError
from trioetcd.schema import messages

__all__ = ["Compactor"]


class Compactor:
    """Compacts every so often to the newest revision of one interval ago, if nobody else does.

    Args:
        storage: of the apiserver.
        stream: where it watches who compacts.
        seconds: the interval.

    Attributes:
        compacted: the greatest revision it knows to be compacted.
    """

    def __init__(self, storage: Storage, stream: WatchStream, seconds: float) -> None:
        self.compacted = 0
        self._storage = storage
        self._record = storage.record
        self._stream = stream
        self._seconds = seconds
        self._version = 0
        self._revision = 0
        self._target = 0

    async def run(self) -> None:
        """Compact until cancelled."""
        while True:
            await trio.sleep(self._seconds)
            try:
                if await self._claim():
                    await self._compact(self._target)
            except (EtcdError, OutcomeUnknownError, UnansweredError):
                self._record.counts["compactions that failed"] += 1

    async def _claim(self) -> bool:
        """Claim the compaction; give whether there is one to do."""
        revision = self._revision
        claim = Claim(self._storage.name, b"%d" % revision, self._version, now())
        self._record.claims.append(claim)
        request = requests.compare_and_compact(self._version, revision)
        try:
            answer = await self._storage.channel.ask(
                "compact claim", request, messages.TxnResponse, repeatable=False
            )
        except UnansweredError:
            self._record.claims.remove(claim)
            raise
        except EtcdError as error:
            self._record.flaws.append(f"a claim to compact was refused: {error}")
            raise
        claim.returned = now()
        claim.done = answer.succeeded
        claim.revision = self._revision = answer.header.revision
        self._target = revision
        if claim.done:
            self._version += 1
            return revision > 0
        found = answer.responses[0].response_range.kvs[0]
        claim.version = self._version = found.version
        self._know(found.value)
        return False

    async def _compact(self, revision: int) -> None:
        compaction = Compaction(revision, now())
        self._record.compactions.append(compaction)
        try:
            await self._storage.channel.ask(
                "compact",
                messages.CompactionRequest(revision=revision),
                messages.CompactionResponse,
                repeatable=False,
            )
        except EtcdError as error:
            compaction.refused = str(error)
            raise
        compaction.returned = now()
        self.compacted = max(self.compacted, revision)
        await self._look(revision)

    async def _look(self, revision: int) -> None:
        """Read right before the compaction's revision, which is refused, and at it."""
        for at in (revision - 1, revision):
            try:
                await self._storage.get(requests.COMPACT_KEY, at)
            except (EtcdError, UnansweredError):
                self._record.counts["reads before the compacted revision"] += 1

    def _know(self, value: bytes) -> None:
        self.compacted = max(self.compacted, int(value))

    # -- who else compacts -----------------------------------------------------------------

    async def watch(self) -> None:
        """Watch who compacts until cancelled."""
        while True:
            try:
                compacted, revision = await self._storage.compact_state()
            except (EtcdError, UnansweredError):
                await trio.sleep(1)
                continue
            self.compacted = max(self.compacted, compacted)
            watch = Watch(
                f"compactor of {self._storage.name}",
                requests.COMPACT_KEY,
                b"",
                revision,
                self,
                prev_kv=False,
                progress=False,
            )
            self._stream.watch(watch)
            await watch.ended.wait()
            await trio.sleep(1)

    def changed(self, events: Sequence[Event]) -> None:
        """Take note of what somebody compacts to."""
        for event in events:
            if event.now is not None:
                self._know(event.now.value)

    def progressed(self, revision: int) -> None:
        """Nothing: it asked for no progress."""
