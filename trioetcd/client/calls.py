"""Requests on their way: to an endpoint that answers, in the name of who asks.

Every request goes over one connection to one of the endpoints; if that is lost, the next
request dials the next endpoint. A read is asked again when it got no answer. A write is asked
again only if it cannot have left this process, or was refused for want of a valid token: whether
one that was sent has been done is for the caller to find out, because doing it twice may be worse
than not at all.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import trio

from trioetcd.client.connection import Call, Connect, Connection, Endpoint
from trioetcd.client.errors import DisconnectedError, OutcomeUnknownError, leaves_open
from trioetcd.client.login import Login, Shown
from trioetcd.errors import Code, EtcdError
from trioetcd.schema import messages
from trioetcd.schema.messages import Message

__all__ = ["Calls", "Dialling"]

DIAL_SECONDS: Final = 5.0
READ_ATTEMPTS: Final = 4
READ_PAUSE_SECONDS: Final = 0.1

LOGIN_ATTEMPTS: Final = 5
"""A request that is refused again and again with new tokens is given up."""

LOGIN_PAUSE_SECONDS: Final = 0.05

_Answer = TypeVar("_Answer")


class Dialling:
    """The endpoints of a cluster, and the connection in use.

    Args:
        endpoints: where its members are.
        tls: how they are verified; None if none of them speaks TLS.
        nursery: runs the connections.
        connect: makes what is beneath TLS.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        tls: ssl.SSLContext | None,
        nursery: trio.Nursery,
        connect: Connect,
    ) -> None:
        self._endpoints = endpoints
        self._tls = tls
        self._nursery = nursery
        self._connect = connect
        self._next = 0
        self._connection: Connection | None = None
        self._dialling = trio.Lock()

    async def connected(self) -> Connection:
        """Give the connection that all requests share.

        Raises:
            DisconnectedError: no endpoint can be reached.
        """
        async with self._dialling:
            if self._connection is None or not self._connection.alive:
                self._connection = await self.dial()
            return self._connection

    async def dial(self) -> Connection:
        """Open a connection to the first endpoint, from the next one on, that answers.

        Raises:
            DisconnectedError: none does; says why.
        """
        reasons: list[str] = []
        for _ in self._endpoints:
            endpoint = self._endpoints[self._next % len(self._endpoints)]
            self._next += 1
            try:
                with trio.move_on_after(DIAL_SECONDS):
                    connection = await Connection.open(endpoint, self._tls, self._connect)
                    self._nursery.start_soon(connection.run)
                    return connection
                reasons.append(f"{endpoint.authority}: no connection within {DIAL_SECONDS} s")
            except DisconnectedError as error:
                reasons.append(str(error))
        raise DisconnectedError("; ".join(reasons))


class Calls:
    """Makes the calls of one client.

    Attributes:
        login: who asks.

    Args:
        dialling: gives connections.
        user: who logs in; empty for nobody.
        password: the user's.
        request_seconds: how long an answer may take.
    """

    def __init__(
        self, dialling: Dialling, user: str, password: str, *, request_seconds: float
    ) -> None:
        self._dialling = dialling
        self._request_seconds = request_seconds
        self.login = Login(user, password, self.authenticate)

    async def authenticate(self, user: str, password: str) -> str:
        """Get a token for a password.

        Raises:
            EtcdError: the server refuses.
            DisconnectedError: no endpoint answered.
        """
        request = messages.AuthenticateRequest(name=user, password=password)
        parse = messages.AuthenticateResponse.FromString

        async def ask() -> messages.AuthenticateResponse:
            path = "/etcdserverpb.Auth/Authenticate"
            return await self._once(path, request, parse, (), self._request_seconds)

        return (await self._until_answered(ask)).token

    async def read(self, rpc: str, request: Message, parse: Callable[[bytes], _Answer]) -> _Answer:
        """Send what may be sent twice, until an endpoint answers or patience ends."""

        async def ask() -> _Answer:
            return await self.ask(f"/etcdserverpb.{rpc}", request, parse)

        return await self._until_answered(ask)

    async def write(self, rpc: str, request: Message, parse: Callable[[bytes], _Answer]) -> _Answer:
        """Send what must not be sent twice."""
        try:
            return await self.ask(f"/etcdserverpb.{rpc}", request, parse)
        except EtcdError as error:
            if leaves_open(error):
                raise OutcomeUnknownError(error.text) from error
            raise

    async def ask(
        self,
        path: str,
        request: Message,
        parse: Callable[[bytes], _Answer],
        *,
        seconds: float | None = None,
    ) -> _Answer:
        """Send a request; again only if it was refused because of who asks."""
        if seconds is None:
            seconds = self._request_seconds
        attempt = 1
        while True:
            shown = await self.login.show()
            try:
                return await self._once(path, request, parse, shown, seconds)
            except EtcdError as error:
                if attempt == LOGIN_ATTEMPTS or not await self.login.mend(error, shown):
                    raise
            if attempt > 1:
                await trio.sleep(attempt * LOGIN_PAUSE_SECONDS)
            attempt += 1

    async def open_stream(self, path: str, metadata: Shown) -> tuple[Call, Shown]:
        """Begin a call on a connection of its own; gives it, and what it says of who asks.

        Raises:
            EtcdError: the server does not believe who asks.
            DisconnectedError: no endpoint can be reached.
        """
        shown = await self.login.show()
        connection = await self._dialling.dial()
        return connection.call(path, metadata=(*metadata, *shown)), shown

    async def _until_answered(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        attempt = 1
        while True:
            try:
                return await ask()
            except (DisconnectedError, OutcomeUnknownError) as error:
                if attempt == READ_ATTEMPTS:
                    raise DisconnectedError(str(error)) from error
            except EtcdError as error:
                if error.code is not Code.UNAVAILABLE or attempt == READ_ATTEMPTS:
                    raise
            await trio.sleep(attempt * READ_PAUSE_SECONDS)
            attempt += 1

    async def _once(
        self,
        path: str,
        request: Message,
        parse: Callable[[bytes], _Answer],
        shown: Shown,
        seconds: float,
    ) -> _Answer:
        connection = await self._dialling.connected()
        timeout = None if seconds == math.inf else seconds
        call = connection.call(path, metadata=shown, timeout=timeout)
        try:
            with trio.move_on_after(seconds):
                call.send(request.SerializeToString(), end=True)
                message = await call.receive()
                if message is None:
                    raise OutcomeUnknownError("the server ended the call without an answer")
                await call.receive()  # the status: an error may follow the message
                return parse(message)
        except DisconnectedError as error:
            if call.sent:
                raise OutcomeUnknownError(str(error)) from error
            raise
        finally:
            call.cancel()
        raise OutcomeUnknownError(f"no answer within {seconds} s")
