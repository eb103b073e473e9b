"""Who calls: grpcio, a transport that is not ours, and a raw connection for what grpcio hides.

What a call was told is its status as it was sent: the code's name and the sentence.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import grpc

from trioetcd.errors import Code, ErrorRow
from trioetcd.schema.messages import Message
from trioetcd.schema.services import METHODS, Method
from trioetcd.wire import TRAILERS
from trioetcd.wire.grpc_client import GrpcClient

__all__ = ["OK", "Asked", "Caller", "Raw", "Said", "Stream", "path_of", "said_by"]

Said = tuple[str, str]
"""The code's name, and the sentence."""

OK: Final[Said] = ("OK", "")

SECONDS: Final = 120.0
"""No call here takes a tenth of this; a busy machine may."""

_PACKAGES: Final = {
    "Lock": "v3lockpb.Lock",
    "Election": "v3electionpb.Election",
    "Health": "grpc.health.v1.Health",
}


def path_of(rpc: str) -> str:
    """Give the path of ``KV/Put``."""
    service, _, name = rpc.partition("/")
    return f"/{_PACKAGES.get(service, f'etcdserverpb.{service}')}/{name}"


def said_by(row: ErrorRow) -> Said:
    """Give what a row of the table of errors says on the wire."""
    return row.code.name, row.text


class Asked:
    """A unary call under way."""

    def __init__(self, future: Any) -> None:
        self._future = future
        self.answer: Message | None = None

    def said(self) -> Said:
        """Wait for its end."""
        try:
            self.answer = self._future.result()
        except grpc.RpcError as error:
            return _said(error)
        return OK


class Stream:
    """A call that stays open."""

    def __init__(self, open_: Callable[[Iterator[Message]], Any]) -> None:
        self._requests: SimpleQueue[Message | None] = SimpleQueue()
        self._call = open_(iter(self._requests.get, None))

    def send(self, request: Message) -> None:
        """Send a request."""
        self._requests.put(request)

    def next(self) -> tuple[Said, Message | None]:
        """Wait for the next answer, or for the end: OK without an answer, or an error."""
        try:
            return OK, next(self._call)
        except StopIteration:
            return OK, None
        except grpc.RpcError as error:
            return _said(error), None

    def close(self) -> None:
        """End the call."""
        self._requests.put(None)
        self._call.cancel()


def _said(error: Any) -> Said:
    return str(error.code().name), str(error.details())


class Caller:
    """One connection by grpcio with mutual TLS."""

    def __init__(self, address: str, ca: Path, cert: Path, key: Path) -> None:
        credentials = grpc.ssl_channel_credentials(
            ca.read_bytes(), key.read_bytes(), cert.read_bytes()
        )
        options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.secure_channel(address, credentials, options)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def ask(self, rpc: str, request: Message, metadata: Sequence[tuple[str, str]] = ()) -> Asked:
        """Begin a unary call."""
        method = METHODS[path_of(rpc)]
        call = self._channel.unary_unary(method.path, *_codec(method))
        return Asked(call.future(request, timeout=SECONDS, metadata=metadata))

    def open(self, rpc: str, request: Message, metadata: Sequence[tuple[str, str]] = ()) -> Stream:
        """Open a stream with its first request."""
        method = METHODS[path_of(rpc)]
        if method.client_streaming:
            call = self._channel.stream_stream(method.path, *_codec(method))
            stream = Stream(lambda requests: call(requests, timeout=SECONDS, metadata=metadata))
            stream.send(request)
            return stream
        one = self._channel.unary_stream(method.path, *_codec(method))
        return Stream(lambda _: one(request, timeout=SECONDS, metadata=metadata))

    def say(self, rpc: str, request: Message, metadata: Sequence[tuple[str, str]] = ()) -> Said:
        """Call; of a stream the first answer counts."""
        method = METHODS[path_of(rpc)]
        if not (method.client_streaming or method.server_streaming):
            return self.ask(rpc, request, metadata).said()
        return self.first(rpc, request, metadata)[0]

    def first(
        self, rpc: str, request: Message, metadata: Sequence[tuple[str, str]] = ()
    ) -> tuple[Said, Message | None]:
        """Give the first answer of a stream."""
        stream = self.open(rpc, request, metadata)
        try:
            return stream.next()
        finally:
            stream.close()


def _codec(method: Method) -> tuple[Callable[[Message], bytes], Callable[[bytes], Message]]:
    return method.request.SerializeToString, method.response.FromString


class Raw:
    """One connection on a blocking socket, whose bytes are ours to choose and to see.

    Attributes:
        received: all frames' bytes so far.
    """

    def __init__(self, port: int, ca: Path, cert: Path, key: Path) -> None:
        context = ssl.create_default_context(cafile=ca)
        context.set_alpn_protocols(["h2"])
        context.load_cert_chain(cert, key)
        plain = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.socket = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self.codec = GrpcClient()
        self.received = b""

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def flush(self) -> None:
        """Write what the codec has to say."""
        while data := self.codec.take():
            self.socket.sendall(data)

    def read(self) -> list[tuple[Any, ...]]:
        """Read once; give the events, or raise EOFError at the end."""
        data = self.socket.recv(65_536)
        self.received += data
        if not data:
            raise EOFError
        return self.codec.receive(data)

    def read_to_the_end(self) -> bytes:
        """Read, and write nothing, until the server closes the connection; give all of it."""
        with suppress(EOFError):
            while True:
                self.read()
        return self.received

    def open(
        self,
        rpc: str,
        message: bytes,
        metadata: Sequence[tuple[str, bytes | str]] = (),
        *,
        timeout: float | None = None,
        end: bool = True,
    ) -> int:
        """Begin a call; the server is told the timeout, and nobody here keeps it."""
        stream = self.codec.call(path_of(rpc), metadata, authority="127.0.0.1", timeout=timeout)
        self.codec.send(stream, message, end=end)
        self.flush()
        return stream

    def said(self, stream: int) -> Said:
        """Wait for the end of a call."""
        while True:
            for event in self.read():
                if event[0] == TRAILERS and event[1] == stream:
                    return Code(event[2]).name, event[3]
            self.flush()
