"""Queues in the key space: a key per caller under a common prefix; the oldest key's is the turn.

Locks and elections are such queues, and so are the recipes of etcd's clients, who may stand in
the same one. A caller's place is its key's create revision. It waits for the place before its own
and for no other, so that one deletion wakes one caller.

Whose turn it is knows so only for the moment: its lease may end at any time. What it writes must
depend on its key (docs/locks.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from trioetcd import errors
from trioetcd.api.context import Metadata
from trioetcd.api.own_client import OwnClient
from trioetcd.errors import ErrorRow, EtcdError
from trioetcd.keyrange import prefix_end
from trioetcd.runtime.departures import Departures
from trioetcd.runtime.leadership import Leadership
from trioetcd.runtime.server import Server
from trioetcd.schema import messages

__all__ = ["Place", "Queue", "delete_if", "first_of", "put_if"]

SESSION_SECONDS: Final = 60
"""How long the lease lives that a caller without one is given; nobody keeps it alive (etcd)."""

PASSING: Final = frozenset(
    {
        errors.LEADER_CHANGED,
        errors.NO_LEADER,
        errors.TIMEOUT,
        errors.TIMEOUT_DUE_TO_CONNECTION_LOST,
        errors.TIMEOUT_DUE_TO_LEADER_FAIL,
        errors.TIMEOUT_WAIT_APPLIED_INDEX,
        errors.TOO_MANY_REQUESTS,
    }
)
"""What is no reason not to try again."""

ASCEND: Final = messages.RangeRequest.ASCEND
DESCEND: Final = messages.RangeRequest.DESCEND


@dataclass(slots=True)
class Place:
    """A place in a queue.

    Attributes:
        name: the queue's; its keys begin with it and a slash.
        key: the key that holds the place.
        lease: what it is attached to.
        revision: its create revision; lower ones have their turn before.
        header: the header of the answer that told of it.
        value: what the key held before, None if it is new.
        passing: whether it is given up with the call; not one that had its turn before.
        alone: whether nobody else can come for it, because its lease was made for this call.
    """

    name: bytes
    key: bytes
    lease: int
    revision: int
    header: messages.ResponseHeader
    value: bytes | None
    passing: bool
    alone: bool


def put_if(key: bytes, revision: int, value: bytes, lease: int) -> messages.TxnRequest:
    """Make the transaction that puts a key if that is its create revision (0: if there is none)."""
    request = _if_created(key, revision)
    put = request.success.add().request_put
    put.key = key
    put.value = value
    put.lease = lease
    return request


def delete_if(key: bytes, revision: int) -> messages.TxnRequest:
    """Make the transaction that deletes a key if that is its create revision."""
    request = _if_created(key, revision)
    request.success.add().request_delete_range.key = key
    return request


def _if_created(key: bytes, revision: int) -> messages.TxnRequest:
    return messages.TxnRequest(
        compare=[
            messages.Compare(
                key=key,
                target=messages.Compare.CREATE,
                result=messages.Compare.EQUAL,
                create_revision=revision,
            )
        ]
    )


def first_of(name: bytes, order: int = ASCEND, *, before: int = 0) -> messages.RangeRequest:
    """Make the request for the first key of a queue by create revision; descending the last one.

    Args:
        name: the queue's.
        order: ascending or descending.
        before: with a revision, only keys created before it count.
    """
    prefix = name + b"/"
    return messages.RangeRequest(
        key=prefix,
        range_end=prefix_end(prefix),
        limit=1,
        sort_order=order,
        sort_target=messages.RangeRequest.CREATE,
        max_create_revision=before - 1 if before else 0,
    )


class Queue:
    """All queues, as the callers of one member stand in them.

    Args:
        server: the member.
        client: asks it.
        leadership: whether somebody leads.
    """

    def __init__(self, server: Server, client: OwnClient, leadership: Leadership) -> None:
        self._client = client
        self._leadership = leadership
        self._leaving: list[tuple[Metadata, Place]] = []
        self._departures = Departures(server.hub)

    async def session(self, metadata: Metadata, lease: int) -> int:
        """Give the lease of a caller: its own, or a new one if it has none."""
        return lease or await self._client.grant(metadata, SESSION_SECONDS)

    @asynccontextmanager
    async def place(
        self, metadata: Metadata, name: bytes, lease: int, value: bytes
    ) -> AsyncIterator[Place]:
        """Stand in a queue; the place is given up if the block is left by an exception.

        Whoever comes again with the same lease has the place it had.
        """
        alone = not lease
        lease = await self.session(metadata, lease)
        key = b"%b/%b" % (name, f"{lease:x}".encode())
        request = put_if(key, 0, value, lease)
        request.failure.add().request_range.key = key

        def read(response: messages.TxnResponse) -> Place:
            header = response.header
            if response.succeeded:
                return Place(
                    name, key, lease, header.revision, header, None, passing=True, alone=alone
                )
            kv = response.responses[0].response_range.kvs[0]
            return Place(
                name, key, lease, kv.create_revision, header, kv.value, passing=False, alone=alone
            )

        place = read(
            await self._client.txn(
                metadata, request, undo=lambda response: self._give_up(metadata, read(response))
            )
        )
        kept = False
        try:
            yield place
            kept = True
        finally:
            if not kept:
                self._give_up(metadata, place)

    def _give_up(self, metadata: Metadata, place: Place) -> None:
        """Let the key be deleted, unless it is gone; later, if nobody can now.

        Not later if the lease is the client's own: it may have come for its place again elsewhere,
        and hold by then what would be deleted.
        """

        def failed(error: EtcdError) -> None:
            if place.alone and error.row in PASSING:
                self._leaving.append((metadata, place))

        if place.passing and self._departures.stands(place.key, place.revision):
            self._client.send_txn(metadata, delete_if(place.key, place.revision), failed)

    def tick(self, _now: float) -> None:
        """Have deleted what could not be before; to be called every now and then."""
        if self._leaving and self._leadership.known:
            leaving, self._leaving = self._leaving, []
            for metadata, place in leaving:
                self._give_up(metadata, place)

    async def wait_turn(
        self, metadata: Metadata, place: Place, *, lost: ErrorRow
    ) -> messages.ResponseHeader:
        """Wait until no key of the queue is older.

        This member's own store says so as well as any: it has the place's revision already, and
        from there on the keys that are older can only become fewer. That the place itself still
        stands is asked of the cluster.

        Returns:
            The header of the answer by which the place was seen last.

        Raises:
            EtcdError: `lost`: the place is gone. Others: nobody could say.
        """
        request = first_of(place.name, DESCEND, before=place.revision)
        request.serializable = request.keys_only = True
        mine = place.key, place.revision
        waited = False
        while kvs := (await self._client.range(metadata, request)).kvs:
            waited = place.passing = True
            (older,) = kvs
            await self._departures.wait((older.key, older.create_revision), mine)
            if not self._departures.stands(*mine):
                raise EtcdError(lost)
        if not waited:
            return place.header
        found = await self._client.range(metadata, messages.RangeRequest(key=place.key))
        if not found.kvs or found.kvs[0].create_revision != place.revision:
            raise EtcdError(lost)
        return found.header
