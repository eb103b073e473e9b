"""One connection to one member: mutual TLS, HTTP/2, and the calls under way on it.

The protocol is `trioetcd.wire`'s; here are the socket, the two tasks that move its bytes, and
the places where calls wait. Bytes that a slow caller does not take fill that call's queue, and
then the connection stops reading: nothing grows without bound. So a long stream, such as a
watch, has a connection of its own.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import trio

from trioetcd.client.errors import DisconnectedError, error_from_wire
from trioetcd.wire import GONE, MESSAGE, TRAILERS, RemoteProtocolError
from trioetcd.wire.grpc_client import GrpcClient

__all__ = ["Call", "Connect", "Connection", "Endpoint", "client_tls"]

Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Connects to a host and port, or raises OSError."""

READ_BYTES: Final = 256 * 1024
"""At most so much is taken from the socket at a time."""

MESSAGES_MAX: Final = 256
"""A call that has so many messages waiting makes the connection stop reading."""

QUIET_SECONDS: Final = 30.0
"""After so long without a byte the server is asked whether it lives; etcd allows every 5 s."""

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a member listens; `secure` is false only for an `http://` loopback address."""

    host: str
    port: int
    secure: bool

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Read `https://host:port`, or `host:port`, which means the same.

        Raises:
            ValueError: it is neither, or asks for plaintext on a network.
        """
        if "://" not in url:
            url = f"https://{url}"
        parts = urlsplit(url)
        if parts.scheme not in {"https", "http"} or parts.hostname is None:
            raise ValueError(f"{url} is not an https:// URL")
        secure = parts.scheme == "https"
        if not secure and parts.hostname not in LOOPBACK:
            raise ValueError(f"{url}: without TLS only a loopback address is dialled")
        return cls(parts.hostname, parts.port or 2379, secure)

    @property
    def authority(self) -> str:
        """`host:port` as HTTP writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def client_tls(
    *,
    cacert: Path | str | None,
    cert: Path | str | None,
    key: Path | str | None,
) -> ssl.SSLContext:
    """Make the TLS side of a client: the server is verified, the client shows its certificate."""
    context = ssl.create_default_context(cafile=cacert)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    if cert is not None:
        context.load_cert_chain(cert, key)
    return context


class Call:
    """One call: messages out, messages in, and how it ended.

    Attributes:
        sent: whether the request may have left this process.
    """

    def __init__(self, connection: Connection, stream: int) -> None:
        self.sent = False
        self._connection = connection
        self._stream = stream
        self._messages: deque[bytes] = deque()
        self._ended: Exception | None = None
        self._done = False
        self._arrived = trio.Event()
        self._room = trio.Event()

    def send(self, message: bytes, *, end: bool = False) -> None:
        """Send a message; `end` says that it is the last.

        Raises:
            DisconnectedError: the connection has ended.
        """
        self._connection.send(self._stream, message, end=end)
        self.sent = True

    async def receive(self) -> bytes | None:
        """Wait for the next message; None says that the call has ended well.

        Raises:
            EtcdError: the server ended the call with an error.
            DisconnectedError: the connection ended before the call did.
        """
        while not self._messages:
            if self._ended is not None:
                raise self._ended
            if self._done:
                return None
            await self._arrived.wait()
        message = self._messages.popleft()
        if not self._messages:
            self._arrived = trio.Event()
            if self._done or self._ended is not None:
                self._arrived.set()
        self._room.set()
        return message

    def cancel(self) -> None:
        """Say that no answer is wanted any more."""
        if not self._done and self._ended is None:
            self._done = True
            self._connection.cancel(self._stream)
        self._room.set()

    def arrived(self, message: bytes) -> None:
        """Note a message (for the connection)."""
        self._messages.append(message)
        self._arrived.set()

    def finished(self, error: Exception | None) -> None:
        """Note the end (for the connection)."""
        if not self._done and self._ended is None:
            self._ended = error
            self._done = error is None
        self._arrived.set()
        self._room.set()

    async def wait_room(self) -> None:
        """Wait until the caller has taken enough (for the connection)."""
        while len(self._messages) >= MESSAGES_MAX and not self._done:
            self._room = trio.Event()
            await self._room.wait()


class Connection:
    """A live connection; `run` moves its bytes until it ends, by either side.

    Attributes:
        endpoint: where it leads.
        alive: whether calls can still be started.
    """

    def __init__(self, endpoint: Endpoint, stream: trio.abc.Stream) -> None:
        self.endpoint = endpoint
        self.alive = True
        self._stream = stream
        self._codec = GrpcClient(scheme="https" if endpoint.secure else "http")
        self._calls: dict[int, Call] = {}
        self._to_write = trio.Event()
        self._heard = 0.0

    @classmethod
    async def open(
        cls,
        endpoint: Endpoint,
        tls: ssl.SSLContext | None,
        connect: Connect = trio.open_tcp_stream,
    ) -> Connection:
        """Dial, shake hands, and agree on HTTP/2.

        Raises:
            DisconnectedError: any of it failed; says which.
        """
        try:
            stream = await connect(endpoint.host, endpoint.port)
        except OSError as error:
            raise DisconnectedError(f"{endpoint.authority}: {error}") from error
        if not endpoint.secure:
            return cls(endpoint, stream)
        assert tls is not None
        secured = trio.SSLStream(
            stream,
            tls,
            server_hostname=endpoint.host,
            https_compatible=True,
        )
        try:
            await secured.do_handshake()
        except (trio.BrokenResourceError, ssl.SSLError) as error:
            await trio.aclose_forcefully(secured)
            reason = error.__cause__ or error
            raise DisconnectedError(f"{endpoint.authority}: no TLS: {reason}") from error
        except trio.Cancelled:
            await trio.aclose_forcefully(secured)
            raise
        if secured.selected_alpn_protocol() != "h2":
            await trio.aclose_forcefully(secured)
            raise DisconnectedError(f"{endpoint.authority}: the server does not speak HTTP/2")
        return cls(endpoint, secured)

    def call(
        self,
        path: str,
        *,
        metadata: Sequence[tuple[str, bytes | str]] = (),
        timeout: float | None = None,
    ) -> Call:
        """Start a call.

        Raises:
            DisconnectedError: the connection has ended.
        """
        self._check()
        if self._codec.available == 0:
            raise DisconnectedError(f"{self.endpoint.authority}: as many calls as it takes")
        stream = self._codec.call(
            path,
            metadata,
            authority=self.endpoint.authority,
            timeout=timeout,
        )
        call = self._calls[stream] = Call(self, stream)
        return call

    def send(self, stream: int, message: bytes, *, end: bool) -> None:
        """Send a message of a call (for `Call`)."""
        self._check()
        self._codec.send(stream, message, end=end)
        self._to_write.set()

    def cancel(self, stream: int) -> None:
        """Cancel a call (for `Call`)."""
        if self._calls.pop(stream, None) is not None and self.alive:
            self._codec.cancel(stream)
            self._to_write.set()

    def _check(self) -> None:
        if not self.alive:
            raise DisconnectedError(f"{self.endpoint.authority}: the connection has ended")

    async def run(self) -> None:
        """Move bytes until the connection ends; then every call that is left fails."""
        reason = "the connection ended"
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._watch_silence, nursery.cancel_scope)
                reason = "the server fell silent"
                reason = await self._read()
                nursery.cancel_scope.cancel()
        finally:
            self.alive = False
            error = DisconnectedError(f"{self.endpoint.authority}: {reason}")
            for call in list(self._calls.values()):
                call.finished(error)
            self._calls.clear()
            with trio.move_on_after(0, shield=True):
                await trio.aclose_forcefully(self._stream)

    async def _read(self) -> str:
        """Read until the end and say why it ended."""
        self._to_write.set()
        while True:
            try:
                data = await self._stream.receive_some(READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                return f"the connection broke: {error.__cause__ or error}"
            if not data:
                return "the server closed the connection"
            self._heard = trio.current_time()
            try:
                events = self._codec.receive(bytes(data), trio.current_time())
            except RemoteProtocolError as error:
                return f"the server broke the protocol: {error}"
            for event in events:
                await self._handle(event)
            self._to_write.set()

    async def _handle(self, event: tuple[object, ...]) -> None:
        kind, stream = event[0], event[1]
        assert isinstance(stream, int)
        if kind == GONE:
            # no new calls; those the server took on go on until it closes the connection
            self.alive = False
            error = DisconnectedError(f"{self.endpoint.authority}: the server is going away")
            for number in [number for number in self._calls if number > stream]:
                self._calls.pop(number).finished(error)
            return
        call = self._calls.get(stream)
        if call is None:
            return
        if kind == MESSAGE:
            message = event[2]
            assert isinstance(message, bytes)
            call.arrived(message)
            await call.wait_room()
        elif kind == TRAILERS:
            code, text = event[2], event[3]
            assert isinstance(code, int)
            assert isinstance(text, str)
            del self._calls[stream]
            call.finished(None if code == 0 else error_from_wire(code, text))

    async def _watch_silence(self, scope: trio.CancelScope) -> None:
        self._heard = trio.current_time()
        while True:
            silent = trio.current_time() - self._heard
            if silent >= 2 * QUIET_SECONDS:
                scope.cancel()
            elif silent >= QUIET_SECONDS:
                self._codec.ping()
                self._to_write.set()
            await trio.sleep(QUIET_SECONDS)

    async def _write(self) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # the reader says why
            while True:
                await self._to_write.wait()
                self._to_write = trio.Event()
                while data := self._codec.take():
                    await self._stream.send_all(data)
