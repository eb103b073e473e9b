"""An apiserver's etcd client: connections to its endpoints, requests in turn, and what it retries.

A read is asked again for as long as its caller waits. A write is asked again only if it cannot
have left this process; whether one that was sent has been done is for its caller to find out.
Source: etcd's `client/v3/retry_interceptor.go`.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

import trio

from tests.proof.kube.record import Record
from trioetcd.client import DisconnectedError, OutcomeUnknownError
from trioetcd.client.connection import Connection, Endpoint
from trioetcd.client.errors import leaves_open
from trioetcd.errors import Code, EtcdError
from trioetcd.schema import messages
from trioetcd.schema.messages import Message

__all__ = ["TRACE", "Channel", "UnansweredError", "dial"]

DIAL_SECONDS: Final = 2.0
REDIAL_SECONDS: Final = 0.2
RETRY_SECONDS: Final = (0.02, 0.06)
REQUEST_SECONDS: Final = 10.0
TRACE: Final = (
    ("client-api-version", "3.7"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
)
"""What every request carries besides itself."""
PATHS: Final[dict[type[Message], tuple[str, type[Message]]]] = {
    messages.RangeRequest: ("/etcdserverpb.KV/Range", messages.RangeResponse),
    messages.TxnRequest: ("/etcdserverpb.KV/Txn", messages.TxnResponse),
    messages.CompactionRequest: ("/etcdserverpb.KV/Compact", messages.CompactionResponse),
    messages.LeaseGrantRequest: ("/etcdserverpb.Lease/LeaseGrant", messages.LeaseGrantResponse),
    messages.StatusRequest: ("/etcdserverpb.Maintenance/Status", messages.StatusResponse),
}
TOO_LATE: Final = frozenset({Code.CANCELLED, Code.DEADLINE_EXCEEDED})
"""What a server says when it has noticed the caller's deadline first."""
STREAM: Final = "/etcdserverpb.KV/RangeStream"

_Answer = TypeVar("_Answer", bound=Message)


class UnansweredError(Exception):
    """A read was not answered while its caller waited."""


async def dial(
    endpoint: Endpoint, tls: ssl.SSLContext, seconds: float = DIAL_SECONDS
) -> Connection:
    """Connect.

    Raises:
        DisconnectedError: it failed, or took too long.
    """
    with trio.move_on_after(seconds):
        return await Connection.open(endpoint, tls)
    raise DisconnectedError(f"{endpoint.authority}: no connection within {seconds} s")


class Channel:
    """Connections to some endpoints.

    Args:
        endpoints: whom requests go to in turn.
        tls: for the connections.
        record: where latencies go.
        chance: decides about pauses.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        tls: ssl.SSLContext,
        record: Record,
        chance: random.Random,
    ) -> None:
        self.endpoints = endpoints
        self._tls = tls
        self._record = record
        self._chance = chance
        self._live: list[Connection] = []
        self._came = trio.Event()
        self._turn = 0

    async def run(self) -> None:
        """Keep a connection to each endpoint, until cancelled."""
        async with trio.open_nursery() as nursery:
            for endpoint in self.endpoints:
                nursery.start_soon(self._hold, endpoint)

    async def _hold(self, endpoint: Endpoint) -> None:
        while True:
            try:
                connection = await dial(endpoint, self._tls)
            except DisconnectedError:
                await trio.sleep(REDIAL_SECONDS)
                continue
            self._live.append(connection)
            self._came.set()
            try:
                await connection.run()
            finally:
                self._live.remove(connection)

    async def _next(self) -> Connection:
        """Give the connection whose turn it is, waiting for one."""
        while True:
            live = [connection for connection in self._live if connection.alive]
            if live:
                self._turn += 1
                return live[self._turn % len(live)]
            self._came = trio.Event()
            with trio.move_on_after(REDIAL_SECONDS):
                await self._came.wait()

    async def ask(
        self,
        label: str,
        request: Message,
        answer: type[_Answer],
        *,
        repeatable: bool = True,
        seconds: float = REQUEST_SECONDS,
    ) -> _Answer:
        """Ask and wait for the answer.

        Args:
            label: the kind of request, for the figures.
            request: what to ask.
            answer: what the answer is.
            repeatable: whether it may be done twice.
            seconds: how long to wait.

        Raises:
            EtcdError: the server refuses; nothing was changed.
            OutcomeUnknownError: it may have been done or not, or be done yet.
            UnansweredError: it was not answered, and changed nothing.
        """
        path, made = PATHS[type(request)]
        assert made is answer
        data = request.SerializeToString()
        began = time.monotonic()
        asked = False
        with trio.move_on_after(seconds):
            while True:
                asked = False
                connection = await self._next()
                asked = True
                message = await self._try(
                    connection, path, data, seconds, repeatable=repeatable, label=label
                )
                if message is not None:
                    self._record.latencies[label].append(time.monotonic() - began)
                    return answer.FromString(message)
                await trio.sleep(self._chance.uniform(*RETRY_SECONDS))
        self._record.failures[label] += 1
        if repeatable or not asked:
            raise UnansweredError(f"{label}: no answer within {seconds} s")
        self._record.counts["in doubt: no answer"] += 1
        raise OutcomeUnknownError(f"{label}: no answer within {seconds} s")

    async def _try(
        self,
        connection: Connection,
        path: str,
        data: bytes,
        seconds: float,
        *,
        repeatable: bool,
        label: str,
    ) -> bytes | None:
        """Ask once; None says that it should be asked again."""
        sent = False
        try:
            call = connection.call(path, metadata=TRACE, timeout=seconds)
            try:
                call.send(data, end=True)
                sent = True
                message = await call.receive()
                if message is None:
                    raise DisconnectedError("the server ended the call without an answer")
                await call.receive()  # the status
            finally:
                call.cancel()
        except DisconnectedError as error:
            if not sent or repeatable:
                return None
            self._record.failures[label] += 1
            self._record.counts["in doubt: disconnected"] += 1
            raise OutcomeUnknownError(str(error)) from error
        except EtcdError as error:
            if repeatable and error.code is Code.UNAVAILABLE:
                return None
            if repeatable and error.code in TOO_LATE:
                self._record.failures[label] += 1
                raise UnansweredError(f"{label}: {error}") from error
            if not repeatable and leaves_open(error):
                self._record.failures[label] += 1
                self._record.counts[f"in doubt: {error}"] += 1
                raise OutcomeUnknownError(str(error)) from error
            raise
        return message

    async def stream(
        self, label: str, request: messages.RangeRequest, seconds: float = REQUEST_SECONDS
    ) -> list[messages.RangeResponse]:
        """Ask for a RangeStream; give all its pieces.

        Raises:
            EtcdError: the server refuses, or does not know such requests.
            UnansweredError: it was cut, or not answered in time.
        """
        began = time.monotonic()
        try:
            with trio.fail_after(seconds):
                async with aclosing(self._pieces(request, seconds)) as found:
                    pieces = [piece async for piece in found]
        except (trio.TooSlowError, DisconnectedError) as error:
            self._record.failures[label] += 1
            raise UnansweredError(f"{label}: {error}") from error
        except EtcdError as error:
            if error.code is Code.UNAVAILABLE or error.code in TOO_LATE:
                self._record.failures[label] += 1
                raise UnansweredError(f"{label}: {error}") from error
            raise
        self._record.latencies[label].append(time.monotonic() - began)
        return pieces

    async def _pieces(
        self, request: messages.RangeRequest, seconds: float
    ) -> AsyncGenerator[messages.RangeResponse, None]:
        connection = await self._next()
        call = connection.call(STREAM, metadata=TRACE, timeout=seconds)
        try:
            call.send(request.SerializeToString(), end=True)
            while (message := await call.receive()) is not None:
                yield messages.RangeStreamResponse.FromString(message).range_response
        finally:
            call.cancel()
