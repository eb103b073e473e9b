"""Election: who comes first in a queue leads, and proclaims what it likes.

What holds for a lock holds here: a leader may have been deposed without knowing it, so what it
writes must depend on its key (docs/locks.md).
"""

from __future__ import annotations

from contextlib import closing

from trioetcd import errors
from trioetcd.api.context import MessageStream, Metadata, raw_errors
from trioetcd.api.guard import Guard, Permit
from trioetcd.api.own_client import OwnClient
from trioetcd.api.queue import Queue, delete_if, first_of, put_if
from trioetcd.errors import EtcdError
from trioetcd.runtime.following import Following
from trioetcd.runtime.server import Server
from trioetcd.schema import messages

__all__ = ["ElectionAPI"]


class ElectionAPI:
    """Handlers of `v3electionpb.Election` for one member."""

    def __init__(self, server: Server, client: OwnClient, queue: Queue) -> None:
        self._server = server
        self._client = client
        self._queue = queue
        self._guard = Guard(server)

    async def campaign(self, metadata: Metadata, message: bytes) -> bytes:
        """Campaign: stand in the queue of the name with a value until this lease leads.

        Who stands there already, or leads, proclaims the value. The header is of the revision at
        which the place was taken, or seen (etcd).
        """
        request = messages.CampaignRequest.FromString(message)
        self._server.refuse_learner()
        queue = self._queue
        with raw_errors():
            async with queue.place(metadata, request.name, request.lease, request.value) as place:
                if place.value not in {None, request.value}:
                    change = put_if(place.key, place.revision, request.value, place.lease)
                    if not (await self._client.txn(metadata, change)).succeeded:
                        raise EtcdError(errors.ELECTION_NOT_LEADER)
                await queue.wait_turn(metadata, place, lost=errors.ELECTION_NOT_LEADER)
        leader = messages.LeaderKey(
            name=request.name, key=place.key, rev=place.revision, lease=place.lease
        )
        response = messages.CampaignResponse(header=place.header, leader=leader)
        return response.SerializeToString()

    async def proclaim(self, metadata: Metadata, message: bytes) -> bytes:
        """Proclaim: change what the leader says, if it leads still."""
        request = messages.ProclaimRequest.FromString(message)
        self._server.refuse_learner()
        leader = request.leader
        with raw_errors():
            if not request.HasField("leader"):
                raise EtcdError(errors.LEADER_KEY_MISSING)
            lease = await self._queue.session(metadata, leader.lease)
            change = put_if(leader.key, leader.rev, request.value, lease)
            done = await self._client.txn(metadata, change)
            if not done.succeeded:
                raise EtcdError(errors.ELECTION_NOT_LEADER)
        return messages.ProclaimResponse(header=done.header).SerializeToString()

    async def resign(self, metadata: Metadata, message: bytes) -> bytes:
        """Resign: let the next one lead; who does not lead has nothing to give up (etcd)."""
        request = messages.ResignRequest.FromString(message)
        self._server.refuse_learner()
        with raw_errors():
            if not request.HasField("leader"):
                raise EtcdError(errors.LEADER_KEY_MISSING)
            change = delete_if(request.leader.key, request.leader.rev)
            done = await self._client.txn(metadata, change)
        return messages.ResignResponse(header=done.header).SerializeToString()

    async def leader(self, metadata: Metadata, message: bytes) -> bytes:
        """Leader: say who leads, and what it proclaims."""
        request = messages.LeaderRequest.FromString(message)
        self._server.refuse_learner()
        with raw_errors():
            found = await self._client.range(metadata, first_of(request.name))
            if not found.kvs:
                raise EtcdError(errors.ELECTION_NO_LEADER)
        return messages.LeaderResponse(header=found.header, kv=found.kvs[0]).SerializeToString()

    async def observe(self, metadata: Metadata, stream: MessageStream) -> None:
        """Observe: say who leads and all that it proclaims, and the same of those who follow.

        Of those who led and were gone before this could be said nothing is said (etcd).
        """
        self._server.refuse_learner()
        message = await stream.receive()
        if message is None:
            raise errors.no_request()
        name = messages.LeaderRequest.FromString(message).name
        permit = self._guard.permit(metadata)
        with raw_errors():
            while True:
                found = await self._client.range(metadata, first_of(name))
                if found.kvs:
                    first = messages.LeaderResponse(header=found.header, kv=found.kvs[0])
                    await self._follow(first, stream, permit)
                elif later := await self._wait_leader(name, found.header.revision, permit):
                    await self._follow(later, stream, permit)

    async def _wait_leader(
        self, name: bytes, revision: int, permit: Permit
    ) -> messages.LeaderResponse | None:
        """Wait for the first key put into an empty queue; None: whoever waits must look again."""
        queue = first_of(name)
        create = messages.WatchCreateRequest(
            key=queue.key, range_end=queue.range_end, start_revision=revision + 1
        )
        with closing(Following(self._server, create, permit)) as following:
            while not (response := await following.next()).canceled:
                for event in response.events:
                    if event.type == messages.Event.PUT:
                        header = response.header
                        header.revision = event.kv.mod_revision
                        return messages.LeaderResponse(header=header, kv=event.kv)
        return None

    async def _follow(
        self, first: messages.LeaderResponse, stream: MessageStream, permit: Permit
    ) -> None:
        """Say what a leader proclaims until its key is deleted, or compaction has overtaken us."""
        await stream.send([first.SerializeToString()])
        create = messages.WatchCreateRequest(
            key=first.kv.key, start_revision=first.header.revision + 1
        )
        with closing(Following(self._server, create, permit)) as following:
            while not (response := await following.next()).canceled:
                for event in response.events:
                    if event.type == messages.Event.DELETE:
                        return
                    told = messages.LeaderResponse(header=response.header, kv=event.kv)
                    await stream.send([told.SerializeToString()])
