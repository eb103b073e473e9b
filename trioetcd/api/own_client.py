"""Calls that other calls are made of: handlers asked as a client would ask them.

They are asked with the metadata of the call that asks, so that who may do what is said in one
place, by the handlers of keys and leases.
"""

from __future__ import annotations

from collections.abc import Callable

from trioetcd.api.audit import Auditor
from trioetcd.api.context import Metadata, UnaryHandler
from trioetcd.api.guard import Guard
from trioetcd.api.kv import KVAPI
from trioetcd.api.lease import LeaseAPI
from trioetcd.errors import EtcdError
from trioetcd.runtime.server import Server
from trioetcd.runtime.waiter import Waiter
from trioetcd.schema import messages

__all__ = ["OwnClient"]


class OwnClient:
    """A member's client of itself; its methods raise the `EtcdError` that a client is told.

    Args:
        server: the member.
        auditor: notes what is changed through it.
    """

    def __init__(self, server: Server, auditor: Auditor | None = None) -> None:
        self._server = server
        self._driver = server.driver
        self._guard = Guard(server)
        kv = KVAPI(server)
        self._range = kv.range
        self._txn: UnaryHandler = kv.txn
        self._delete: UnaryHandler = kv.delete_range
        self._grant: UnaryHandler = LeaseAPI(server).grant
        if auditor is not None:
            self._txn = auditor.unary("/etcdserverpb.KV/Txn", self._txn)
            self._delete = auditor.unary("/etcdserverpb.KV/DeleteRange", self._delete)
            self._grant = auditor.unary("/etcdserverpb.Lease/LeaseGrant", self._grant)

    async def range(
        self, metadata: Metadata, request: messages.RangeRequest
    ) -> messages.RangeResponse:
        """Read keys."""
        answer = await self._ask(self._range, metadata, request)
        return messages.RangeResponse.FromString(answer)

    async def txn(
        self,
        metadata: Metadata,
        request: messages.TxnRequest,
        undo: Callable[[messages.TxnResponse], object] | None = None,
    ) -> messages.TxnResponse:
        """Do a transaction.

        If this task is cancelled meanwhile and it is done all the same, `undo` is given its answer.
        """
        parse = messages.TxnResponse.FromString

        def late(outcome: bytes | Exception) -> None:
            if undo is not None and isinstance(outcome, bytes):
                undo(parse(outcome))

        return parse(await self._ask(self._txn, metadata, request, late))

    def send_txn(
        self,
        metadata: Metadata,
        request: messages.TxnRequest,
        failed: Callable[[EtcdError], object],
    ) -> None:
        """Let a transaction be done that no task waits for; `failed` is told why if it is not."""
        waiter = Waiter()
        try:
            self._txn(waiter, 0, metadata, request.SerializeToString())
        except EtcdError as error:
            failed(error)
            return

        def look(outcome: bytes | Exception) -> None:
            if isinstance(outcome, EtcdError):
                failed(outcome)

        waiter.afterwards(look)
        self._driver.wake()

    async def delete(self, metadata: Metadata, key: bytes) -> messages.DeleteRangeResponse:
        """Delete a key."""
        request = messages.DeleteRangeRequest(key=key)
        answer = await self._ask(self._delete, metadata, request)
        return messages.DeleteRangeResponse.FromString(answer)

    async def grant(self, metadata: Metadata, seconds: int) -> int:
        """Get a lease."""
        request = messages.LeaseGrantRequest(TTL=seconds)
        answer = await self._ask(self._grant, metadata, request)
        return messages.LeaseGrantResponse.FromString(answer).ID

    async def _ask(
        self,
        handler: UnaryHandler,
        metadata: Metadata,
        request: messages.Message,
        late: Callable[[bytes | Exception], object] | None = None,
    ) -> bytes:
        waiter = Waiter()
        message = request.SerializeToString()
        try:
            answer = handler(waiter, 0, metadata, message)
        except EtcdError as error:
            if not self._guard.may_be_stale(error):
                raise
            await self._server.wait_current()
            answer = handler(waiter, 0, metadata, message)
        if answer is not None:
            return answer if isinstance(answer, bytes) else b"".join(answer)
        self._driver.wake()
        waited = False
        try:
            found = await waiter.wait()
            waited = True
        finally:
            if late is not None and not waited:
                waiter.afterwards(late)
        return found
