"""Lease: grant and revoke through the log, keep-alive and time-to-live from the leader's lessor."""

from __future__ import annotations

from typing import Final

from trioetcd.api.context import MessageStream, Metadata
from trioetcd.ports import Sink
from trioetcd.runtime.renewing import renew
from trioetcd.runtime.server import Answer, Server
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind, gates

__all__ = ["LeaseAPI"]

GRANT_COST: Final = gates.LEASE_COST


class LeaseAPI:
    """Handlers of `etcdserverpb.Lease` for one member."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def grant(self, caller: Sink, call: int, _metadata: Metadata, message: bytes) -> None:
        """LeaseGrant: the proposer draws the id, so that every member applies the same."""
        server = self._server
        request = messages.LeaseGrantRequest.FromString(message)
        server.disk.check(lambda: GRANT_COST)
        if request.ID == 0:
            request.ID = server.draw_lease_id()
            message = request.SerializeToString()
        server.propose(caller, call, CommandKind.LEASE_GRANT, message)

    def revoke(self, caller: Sink, call: int, _metadata: Metadata, message: bytes) -> None:
        """LeaseRevoke: deletes every key of the lease in one revision."""
        messages.LeaseRevokeRequest.FromString(message)
        self._server.propose(caller, call, CommandKind.LEASE_REVOKE, message)

    async def keep_alive(self, _metadata: Metadata, stream: MessageStream) -> None:
        """LeaseKeepAlive: each request renews; an unknown lease answers TTL 0."""
        server = self._server
        server.refuse_learner()
        while (message := await stream.receive()) is not None:
            lease = messages.LeaseKeepAliveRequest.FromString(message).ID
            ttl = await renew(server, lease)
            body = messages.LeaseKeepAliveResponse(ID=lease, TTL=ttl).SerializeToString()
            await stream.send([server.header() + body])

    def time_to_live(self, caller: Sink, call: int, _metadata: Metadata, message: bytes) -> Answer:
        """LeaseTimeToLive: what remains, and the keys if asked; TTL -1 for an unknown lease."""
        request = messages.LeaseTimeToLiveRequest.FromString(message)
        server = self._server
        lessor = server.lessor
        lease = request.ID

        def answer(seconds: int | None) -> bytes:
            found = lessor.time_to_live(lease, server.now())
            if found is None or seconds is None:
                response = messages.LeaseTimeToLiveResponse(ID=lease, TTL=-1)
            else:
                response = messages.LeaseTimeToLiveResponse(
                    ID=lease, TTL=seconds, grantedTTL=found[0]
                )
                if request.keys:
                    response.keys.extend(lessor.keys(lease))
            return server.header() + response.SerializeToString()

        def read() -> Answer:
            found = lessor.time_to_live(lease, server.now())
            if found is None or lessor.primary:
                return answer(None if found is None else int(found[1]))
            # Who does not lead knows the lease and its keys, but not how long it lives.
            server.ask_leader(caller, call, lease, answer, renew=False)
            return None

        return server.answer_when_current(caller, call, read)

    def leases(self, caller: Sink, call: int, _metadata: Metadata, message: bytes) -> Answer:
        """LeaseLeases: the ids of all leases."""
        messages.LeaseLeasesRequest.FromString(message)
        server = self._server

        def read() -> bytes:
            response = messages.LeaseLeasesResponse()
            for lease in server.lessor.leases():
                response.leases.add(ID=lease)
            return server.header() + response.SerializeToString()

        return server.answer_when_current(caller, call, read)
