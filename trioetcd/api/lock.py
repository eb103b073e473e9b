"""Lock: a mutex kept by the server on the client's behalf.

A lock is advice, no mutual exclusion: whoever holds it may lose its lease without knowing. The
answer names the key, and that key's create revision is the fence: a write that depends on it is
not done once the lock is lost (docs/locks.md).
"""

from __future__ import annotations

from trioetcd.api.context import Metadata, raw_errors
from trioetcd.api.own_client import OwnClient
from trioetcd.api.queue import Queue
from trioetcd.errors import SESSION_EXPIRED
from trioetcd.runtime.server import Server
from trioetcd.schema import messages

__all__ = ["LockAPI"]


class LockAPI:
    """Handlers of `v3lockpb.Lock` for one member."""

    def __init__(self, server: Server, client: OwnClient, queue: Queue) -> None:
        self._server = server
        self._client = client
        self._queue = queue

    async def lock(self, metadata: Metadata, message: bytes) -> bytes:
        """Lock: stand in the queue of the name until it is this lease's turn."""
        request = messages.LockRequest.FromString(message)
        self._server.refuse_learner()
        with raw_errors():
            async with self._queue.place(metadata, request.name, request.lease, b"") as place:
                header = await self._queue.wait_turn(metadata, place, lost=SESSION_EXPIRED)
        return messages.LockResponse(header=header, key=place.key).SerializeToString()

    async def unlock(self, metadata: Metadata, message: bytes) -> bytes:
        """Unlock: delete the key, whoever holds it, if it is there."""
        request = messages.UnlockRequest.FromString(message)
        self._server.refuse_learner()
        with raw_errors():
            deleted = await self._client.delete(metadata, request.key)
        return messages.UnlockResponse(header=deleted.header).SerializeToString()
