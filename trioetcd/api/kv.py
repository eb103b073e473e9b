"""KV: Range, RangeStream, Put, DeleteRange, Txn, Compact.

Writes are checked here (pure, `statemachine.validation`), then proposed as the client's own
bytes; the same checks run again at apply. Reads never leave the loop.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from trioetcd import errors
from trioetcd.api.context import MessageStream, Metadata
from trioetcd.api.guard import Guard
from trioetcd.errors import EtcdError
from trioetcd.keyrange import KeyRange
from trioetcd.mvcc import RangeCursor
from trioetcd.ports import Sink
from trioetcd.runtime.cursors import STEP_BYTES, STEP_ROWS
from trioetcd.runtime.server import Answer, Server
from trioetcd.schema import fastpath, messages
from trioetcd.statemachine import CommandKind, Outcome, Steps, gates, validation
from trioetcd.statemachine.txn import query_of

__all__ = ["KVAPI"]

STREAM_ROWS_FIRST: Final = 10
"""The first chunk of a RangeStream is small, so that a client sees its revision soon (etcd)."""

STREAM_ROWS_MAX: Final = 8_192


class KVAPI:
    """Handlers of `etcdserverpb.KV` for one member."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._store = server.store
        self._auth = server.auth
        self._guard = Guard(server)

    def put(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> None:
        """Put: check, propose; answered when the entry has been applied."""
        request = messages.PutRequest.FromString(message)
        server = self._server
        server.disk.check(lambda: gates.put_cost(request))  # first, as in etcd
        validation.check_put(request)
        server.propose(caller, call, CommandKind.PUT, message, self._guard.asker(metadata))

    def delete_range(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> None:
        """DeleteRange: check, propose."""
        validation.check_delete_range(messages.DeleteRangeRequest.FromString(message))
        asker = self._guard.asker(metadata)
        self._server.propose(caller, call, CommandKind.DELETE_RANGE, message, asker)

    def compact(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> None:
        """Compact: propose; with `physical` answered when the rows are gone."""
        server = self._server
        if messages.CompactionRequest.FromString(message).physical:
            caller = _WhenCompacted(caller, server)
        server.propose(caller, call, CommandKind.COMPACT, message, self._guard.asker(metadata))

    def txn(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> Answer:
        """Txn: check, then propose, or read if it only reads."""
        request = messages.TxnRequest.FromString(message)
        server = self._server
        server.disk.check(lambda: gates.txn_cost(request))
        validation.check_txn(request, server.limits.txn_operations_max)
        if not validation.is_read_only(request):
            server.propose(caller, call, CommandKind.TXN, message, self._guard.asker(metadata))
            return None

        def read() -> Answer:
            return self._read_txn(caller, call, metadata, request)

        if validation.is_serializable(request):
            server.refuse_learner()
            return read()
        return server.answer_when_current(caller, call, read)

    def _read_txn(
        self, caller: Sink, call: int, metadata: Metadata, request: messages.TxnRequest
    ) -> Answer:
        server = self._server
        self._guard.check_txn(metadata, request)
        outcome = server.applier.read_txn(request)
        if isinstance(outcome, EtcdError):
            raise outcome
        if isinstance(outcome, tuple):
            return server.header(outcome[0]) + outcome[1]
        cursor = _StepsCursor(outcome)

        def made() -> bytes:
            found = cursor.outcome
            if isinstance(found, EtcdError):
                raise found
            return server.header(found[0]) + found[1]

        server.read_on(caller, call, cursor, made)
        return None

    def range(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> Answer:
        """Range: from the store as it stands, once it is current unless `serializable`."""
        server = self._server
        plain = _plain_get(message)
        if plain is not None:
            key, serializable = plain
            if serializable or server.is_current():
                return self._get(metadata, key)
            return server.answer_when_current(caller, call, lambda: self._get(metadata, key))
        request = messages.RangeRequest.FromString(message)
        validation.check_range(request)
        if request.serializable or server.is_current():
            return self._range(caller, call, metadata, request)
        return server.answer_when_current(
            caller, call, lambda: self._range(caller, call, metadata, request)
        )

    def _get(self, metadata: Metadata, key: bytes) -> bytes:
        """Answer a plain get: what a cursor says of one key of now, without making one."""
        if self._auth.enabled:
            self._guard.check_read(metadata, KeyRange.from_wire(key, b""))
        store = self._store
        field = store.current_kv(key)
        header = self._server.header(store.revision)
        return header if field is None else header + field + _ONE_KEY

    def _range(
        self, caller: Sink, call: int, metadata: Metadata, request: messages.RangeRequest
    ) -> Answer:
        server = self._server
        wanted = query_of(request)
        self._guard.check_read(metadata, wanted.range)
        if server.cursors.busy and not wanted.small:
            again = partial(self._range, caller, call, metadata, request)
            server.read_later(caller, call, again)
            return None
        revision = self._store.revision
        cursor = self._store.range(wanted)
        if cursor.step(STEP_ROWS, STEP_BYTES):
            return answer(server.header(revision), cursor)

        server.read_on(caller, call, cursor, lambda: answer(server.header(revision), cursor))
        return None

    async def range_stream(self, metadata: Metadata, stream: MessageStream) -> None:
        """RangeStream (etcd 3.7): the same read in chunks; the last one has header and count."""
        self._server.refuse_learner()
        message = await stream.receive()
        if message is None:
            raise errors.no_request()
        request = messages.RangeRequest.FromString(message)
        validation.check_range(request)
        if request.sort_target or request.sort_order == messages.RangeRequest.DESCEND:
            raise EtcdError(errors.RANGE_STREAM_SORT)
        if (
            request.min_mod_revision
            or request.max_mod_revision
            or request.min_create_revision
            or request.max_create_revision
        ):
            raise EtcdError(errors.RANGE_STREAM_REVISION_FILTER)
        server = self._server
        if not request.serializable:
            await server.wait_current()
        wanted = query_of(request)
        self._guard.check_read(metadata, wanted.range)
        revision = self._store.revision
        cursor = self._store.range(wanted)
        try:
            rows = STREAM_ROWS_FIRST
            sent = 0
            done = False
            while not done:
                done = cursor.step(rows, STEP_BYTES)
                fields = cursor.kvs[sent:]
                cursor.kvs[sent:] = [b""] * len(fields)
                sent += len(fields)
                if done:
                    header = server.header(revision)
                    fields = [
                        header,
                        *fields,
                        fastpath.range_tail(more=cursor.more, count=cursor.count),
                    ]
                # A step may find nothing yet; then others have their turn all the same.
                await stream.send([fastpath.range_stream_response(fields)] if fields else [])
                rows = min(rows * 2, STREAM_ROWS_MAX)
        finally:
            cursor.close()


class _WhenCompacted:
    """A caller whose good answer waits until no compacted row is left."""

    def __init__(self, caller: Sink, server: Server) -> None:
        self._caller = caller
        self._server = server
        self.fail = caller.fail
        self.flush = caller.flush
        self.is_open = caller.is_open
        self.is_full = caller.is_full
        self.answer_pieces = caller.answer_pieces

    def answer(self, call: int, response: bytes, /) -> None:
        caller = self._caller

        def done() -> None:
            caller.answer(call, response)
            caller.flush()

        self._server.disk.when_compacted(done)


class _StepsCursor:
    """A txn that only reads, as a long read; each of its steps is bounded already."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.outcome: Outcome = (0, b"")

    def step(self, _rows: int, _size: int, /) -> bool:
        try:
            next(self._steps)
        except StopIteration as stop:
            self.outcome = stop.value
            return True
        return False

    def close(self) -> None:
        self._steps.close()


JOIN_BYTES_MAX: Final = 256 * 1024
"""Larger answers stay in pieces: joining 100 MB would take 60 ms of the loop."""


_ONE_KEY: Final = fastpath.range_tail(more=False, count=1)

_KEY_TAG: Final = 0x0A
_KEY_STOP_MAX: Final = 0x7F + 2
_SERIALIZABLE: Final = messages.RangeRequest(serializable=True).SerializeToString()


def _plain_get(message: bytes) -> tuple[bytes, bool] | None:
    """Give key and `serializable` of a RangeRequest that says nothing else, or None.

    That is nearly every get. The key is short, so its length is one octet, and with the tag
    before it and one field or none behind it the bytes can mean nothing else.
    """
    size = len(message)
    if size < 3 or message[0] != _KEY_TAG:
        return None
    stop = message[1] + 2
    if 2 < stop <= _KEY_STOP_MAX:
        if stop == size:
            return message[2:], False
        if message[stop:] == _SERIALIZABLE:
            return message[2:stop], True
    return None


def answer(header: bytes, cursor: RangeCursor) -> bytes | list[bytes]:
    """Make a RangeResponse of what a finished cursor found."""
    tail = fastpath.range_tail(more=cursor.more, count=cursor.count)
    kvs = cursor.kvs
    if len(kvs) <= 1:
        return header + kvs[0] + tail if kvs else header + tail
    pieces = [header, *kvs, tail]
    if sum(map(len, kvs)) <= JOIN_BYTES_MAX:
        return b"".join(pieces)
    return pieces
