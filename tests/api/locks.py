"""Callers of Lock and Election in process: each call a task that can be cancelled."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio
import trio.testing

from tests.api.metadata import NoMetadata
from tests.runtime.member import Caller
from trioetcd.api.router import Router
from trioetcd.errors import EtcdError
from trioetcd.runtime.server import Server
from trioetcd.schema import messages
from trioetcd.schema.services import METHODS

LOCK = "/v3lockpb.Lock/"
ELECTION = "/v3electionpb.Election/"
LEASE = "/etcdserverpb.Lease/"
KV = "/etcdserverpb.KV/"


@dataclass
class Waiting:
    """A call that waits, and what it was told."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    answer: bytes | None = None
    error: EtcdError | None = None
    ended: trio.Event = field(default_factory=trio.Event)

    @property
    def lock(self) -> messages.LockResponse:
        assert self.answer is not None, self.error
        return messages.LockResponse.FromString(self.answer)


class Callers:
    """Calls of one member."""

    def __init__(self, server: Server, nursery: trio.Nursery) -> None:
        self.server = server
        self.router = Router.of(server)
        self._nursery = nursery

    def begin(self, path: str, request: messages.Message) -> Waiting:
        """Begin a call that may wait."""
        waiting = Waiting()
        handler = self.router.waiting[path]

        async def run() -> None:
            with waiting.scope:
                try:
                    waiting.answer = await handler(NoMetadata(), request.SerializeToString())
                except EtcdError as error:
                    waiting.error = error
            waiting.ended.set()

        self._nursery.start_soon(run)
        return waiting

    async def call(self, path: str, request: messages.Message) -> messages.Message:
        """Make a call and give its answer."""
        if path in self.router.unary:
            caller = Caller()
            answer = self.router.unary[path](caller, 1, NoMetadata(), request.SerializeToString())
            if answer is None:
                self.server.driver.wake()
            found = await caller.wait(1) if answer is None else answer
        else:
            waiting = self.begin(path, request)
            await waiting.ended.wait()
            found = waiting.error or waiting.answer or b""
        if isinstance(found, EtcdError):
            raise found
        whole = found if isinstance(found, bytes) else b"".join(found)
        return METHODS[path].response.FromString(whole)

    async def grant(self, *leases: int) -> None:
        for lease in leases:
            await self.call(LEASE + "LeaseGrant", messages.LeaseGrantRequest(TTL=600, ID=lease))

    async def revoke(self, lease: int) -> None:
        await self.call(LEASE + "LeaseRevoke", messages.LeaseRevokeRequest(ID=lease))

    def lock(self, name: bytes, lease: int) -> Waiting:
        return self.begin(LOCK + "Lock", messages.LockRequest(name=name, lease=lease))

    async def unlock(self, key: bytes) -> None:
        await self.call(LOCK + "Unlock", messages.UnlockRequest(key=key))

    def campaign(self, name: bytes, lease: int, value: bytes) -> Waiting:
        request = messages.CampaignRequest(name=name, lease=lease, value=value)
        return self.begin(ELECTION + "Campaign", request)

    async def keys(self, name: bytes) -> list[bytes]:
        """Give the keys of a queue, oldest first."""
        request = messages.RangeRequest(
            key=name + b"/", range_end=name + b"0", sort_order=1, sort_target=2
        )
        found = await self.call(KV + "Range", request)
        assert isinstance(found, messages.RangeResponse)
        return [kv.key for kv in found.kvs]

    async def wait_queued(self, name: bytes, count: int) -> None:
        """Wait until so many keys stand in a queue, and those who have them wait or are done."""
        while len(await self.keys(name)) != count:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()

    async def settle(self) -> None:
        """Wait until all that was begun is done, or waits, and all that this brought about."""
        for number in range(3):
            await trio.testing.wait_all_tasks_blocked()
            # The log is in order: what was proposed before this is done before it.
            await self.call(KV + "Put", messages.PutRequest(key=b"settled", value=b"%d" % number))
        await trio.testing.wait_all_tasks_blocked()
