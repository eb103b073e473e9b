"""Lease: grant and revoke through the log, keep-alive and time-to-live from the leader's lessor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from trioetcd.api.context import MessageStream, Metadata
from trioetcd.api.guard import Guard
from trioetcd.errors import EtcdError
from trioetcd.lease import Listing
from trioetcd.ports import Sink
from trioetcd.runtime.cursors import STEP_BYTES, STEP_ROWS
from trioetcd.runtime.renewing import keep_alive
from trioetcd.runtime.server import Answer, Server
from trioetcd.schema import fastpath, messages
from trioetcd.schema.services import Access
from trioetcd.statemachine import CommandKind, gates

__all__ = ["LeaseAPI"]

GRANT_COST: Final = gates.LEASE_COST

Item = TypeVar("Item")


class LeaseAPI:
    """Handlers of `etcdserverpb.Lease` for one member."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._guard = Guard(server)

    def grant(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> None:
        """LeaseGrant: the proposer draws the id, so that every member applies the same."""
        server = self._server
        request = messages.LeaseGrantRequest.FromString(message)
        server.disk.check(lambda: GRANT_COST)
        if request.ID == 0:
            request.ID = server.draw_lease_id()
            message = request.SerializeToString()
        asker = self._guard.asker(metadata)
        server.propose(caller, call, CommandKind.LEASE_GRANT, message, asker)

    def revoke(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> None:
        """LeaseRevoke: deletes every key of the lease in one revision."""
        messages.LeaseRevokeRequest.FromString(message)
        asker = self._guard.asker(metadata)
        self._server.propose(caller, call, CommandKind.LEASE_REVOKE, message, asker)

    async def keep_alive(self, metadata: Metadata, stream: MessageStream) -> None:
        """LeaseKeepAlive: each request renews; an unknown lease answers TTL 0."""
        server = self._server
        server.refuse_learner()

        async def receive() -> int | None:
            message = await stream.receive()
            if message is None:
                return None
            lease = messages.LeaseKeepAliveRequest.FromString(message).ID
            await self._guard.settle_lease(metadata, lease)
            return lease

        async def send(answers: list[tuple[int, int, int]]) -> None:
            await stream.send(
                [
                    server.header(revision) + fastpath.lease_body(lease, seconds)
                    for revision, lease, seconds in answers
                ]
            )

        await keep_alive(server, receive, send)

    def time_to_live(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> Answer:
        """LeaseTimeToLive: what remains, and the keys if asked.

        TTL -1 for an unknown lease, and for one that is over and waits to be revoked.
        """
        request = messages.LeaseTimeToLiveRequest.FromString(message)
        server = self._server
        lessor = server.lessor
        lease = request.ID

        def answer(seconds: int | None) -> Answer:
            if request.keys:
                self._guard.check_lease_read(metadata, lease)
            else:
                self._guard.admit(Access.USER, metadata)
            found = lessor.time_to_live(lease, server.now())
            if found is None or seconds is None:
                response = messages.LeaseTimeToLiveResponse(ID=lease, TTL=-1)
                return server.header() + response.SerializeToString()
            response = messages.LeaseTimeToLiveResponse(ID=lease, TTL=seconds, grantedTTL=found[0])
            head = server.header() + response.SerializeToString()
            if not request.keys:
                return head
            reading = _Reading(head, lessor.list_keys(lease), fastpath.lease_key)
            return self._answer(caller, call, reading, lambda: answer(seconds))

        def read() -> Answer:
            found = lessor.time_to_live(lease, server.now())
            if found is None:
                return answer(None)
            if lessor.primary:
                return answer(int(found[1]) if found[1] > 0 else None)
            # Who does not lead knows the lease and its keys, but not how long it lives.
            server.ask_leader(caller, call, lease, answer, renew=False)
            return None

        return server.answer_when_current(caller, call, read)

    def leases(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> Answer:
        """LeaseLeases: the ids of all leases, the next to expire first.

        To whom a key of one of them must not be shown, none is (etcd).
        """
        messages.LeaseLeasesRequest.FromString(message)
        server = self._server

        def read() -> Answer:
            reads_all = self._guard.is_root(metadata)

            def encode(lease: int) -> bytes:
                if not reads_all:
                    self._guard.check_lease_read(metadata, lease)
                return fastpath.lease_status(lease)

            reading = _Reading(server.header(), server.lessor.list_leases(), encode)
            return self._answer(caller, call, reading, read)

        return server.answer_when_current(caller, call, read)

    def _answer(
        self, caller: Sink, call: int, reading: _Reading[Item], again: Callable[[], Answer]
    ) -> Answer:
        """Answer with what is read, now or, if it is much, after some more steps.

        Args:
            caller: who waits.
            call: for which call.
            reading: has not begun.
            again: answers from the beginning, if this one has to wait for other long reads.
        """
        server = self._server
        if reading.step(STEP_ROWS, STEP_BYTES):
            return b"".join(reading.answer())
        if server.cursors.busy:
            reading.close()
            server.read_later(caller, call, again)
        else:
            server.read_on(caller, call, reading, reading.answer)
        return None


class _Reading(Generic[Item]):
    """A long answer in the making, as a long read (`runtime.cursors.Cursor`).

    Args:
        head: what the answer begins with.
        listing: what it goes on with.
        encode: makes a field of each item; raises an `EtcdError` if there must be no answer.
    """

    def __init__(
        self, head: bytes, listing: Listing[Item], encode: Callable[[Item], bytes]
    ) -> None:
        self._pieces = [head]
        self._error: EtcdError | None = None
        self._listing = listing
        self._encode = encode

    def step(self, rows: int, size: int, /) -> bool:
        listing = self._listing
        done = listing.step(rows, size)
        try:
            self._pieces.append(b"".join(map(self._encode, listing.take())))
        except EtcdError as error:
            self._error = error
            return True
        return done

    def answer(self) -> list[bytes]:
        """Give the answer, when all of it has been read."""
        if self._error is not None:
            raise self._error
        return self._pieces

    def close(self) -> None:
        self._listing.close()
