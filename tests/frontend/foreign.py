"""A whole front of a member on real sockets, and foreign clients: h2 for HTTP/2, TLS by trio."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import trio

from tests.runtime.member import Disk, running
from tests.transport.pairs import client_context, server_context
from trioetcd.frontend.admission import Frontend
from trioetcd.replica import ReplicaConfig
from trioetcd.runtime.server import Server, ServerLimits
from trioetcd.runtime.trace import Log
from trioetcd.testing.node_life import in_loop
from trioetcd.transport.listener import Accepted, Address, Listener, open_sockets
from trioetcd.wire import Limits


@dataclass
class Front:
    """A member that is served on loopback."""

    server: Server
    frontend: Frontend
    disk: Disk
    name: tuple[str, int]
    nursery: trio.Nursery
    log: list[bytes]
    rejected: list[str]
    secure: bool
    opened: list[trio.socket.SocketType] = field(default_factory=list)

    async def connect(self, *, alpn: tuple[str, ...] = ("h2",)) -> trio.abc.Stream:
        """Come in by TLS, or without where the member is served without."""
        plain = await trio.open_tcp_stream(*self.name)
        self.opened.append(plain.socket)
        if not self.secure:
            return plain
        context = client_context(alpn=alpn)
        stream = trio.SSLStream(plain, context, server_hostname="localhost")
        await stream.do_handshake()
        return stream

    async def client(self, *, window: int | None = None, reads: bool = True) -> Client:
        """Come in and speak HTTP/2."""
        client = Client(await self.connect(), window=window)
        await client.flush()
        if reads:
            self.nursery.start_soon(client.read)
        return client

    def errors(self) -> int:
        """How many connections failed in a way that nobody expected."""
        return int(self.server.metrics.trioetcd_connection_errors_total.value)


@asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """Fail instead of hanging; nothing here takes a tenth of this."""
    with trio.fail_after(seconds):
        yield


@asynccontextmanager
async def front(
    *,
    secure: bool = True,
    api: bool = True,
    limits: Limits | None = None,
    server_limits: ServerLimits | None = None,
    config: ReplicaConfig | None = None,
    origin_allowed: Callable[[str], bool] = lambda _: False,
    host_allowed: Callable[[str], bool] = lambda _: True,
    send_buffer: int | None = None,
    seconds: float = 10,
) -> AsyncIterator[Front]:
    """Serve a member in process until the block is left; no connection may have failed."""
    disk = Disk()
    sockets = await open_sockets(Address("127.0.0.1", 0))
    if send_buffer is not None:
        sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    async with (
        patience(seconds),
        running(disk, limits=server_limits, config=config) as server,
        trio.open_nursery() as nursery,
    ):
        log = Log(outputs=())
        frontend = Frontend(
            server,
            limits=limits or Limits(),
            origin_allowed=origin_allowed,
            host_allowed=host_allowed,
            log=log,
        )
        rejected: list[str] = []

        async def serve(accepted: Accepted) -> None:
            await (frontend.serve if api else frontend.serve_plain)(accepted)

        listener = Listener(
            sockets,
            context=server_context if secure else None,
            serve=serve,
            rejected=lambda _, reason, _shown=b"": rejected.append(reason),
            in_thread=in_loop,  # a mock clock does not wait for threads
        )
        nursery.start_soon(frontend.run_deadlines)
        nursery.start_soon(frontend.run_keepalive)
        nursery.start_soon(listener.run, nursery)
        name = sockets[0].getsockname()
        found = Front(server, frontend, disk, name, nursery, [], rejected, secure)
        try:
            yield found
        finally:
            disk.release()
            nursery.cancel_scope.cancel()
            log.close()
            for sock in found.opened:
                sock.close()
    assert found.errors() == 0, "a connection failed in a way that nobody expected"


@dataclass
class Reply:
    """What a client has seen of one call."""

    stream: int
    head: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    reset: int | None = None
    ended: bool = False

    @property
    def status(self) -> tuple[int, str]:
        """Code and sentence of a gRPC call."""
        found = self.trailers or self.head
        return int(found["grpc-status"]), found.get("grpc-message", "")

    @property
    def messages(self) -> list[bytes]:
        """The gRPC messages that have come whole."""
        found = []
        at = 0
        while at + 5 <= len(self.body):
            size = int.from_bytes(self.body[at + 1 : at + 5], "big")
            if at + 5 + size > len(self.body):
                break
            found.append(bytes(self.body[at + 5 : at + 5 + size]))
            at += 5 + size
        return found


def framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def _texts(headers: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in headers}


class _Connection(h2.connection.H2Connection):
    """Sends what was on its way when GOAWAY came, which h2 would throw away."""

    def clear_outbound_data_buffer(self) -> None:
        """Keep it."""


class Client:
    """An HTTP/2 client by h2."""

    def __init__(self, stream: trio.abc.Stream, *, window: int | None = None) -> None:
        self.stream = stream
        self.h2 = _Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        if window is not None:
            code = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE
            self.h2.update_settings({code: window})
            self.h2.increment_flow_control_window(window - 65_535)
        self.replies: dict[int, Reply] = {}
        self.goaways: list[int] = []
        self.closed = False
        self.gives_credit = True
        self._changed = trio.Event()
        self._sending = trio.Lock()
        # h2 takes GOAWAY for the end; a client whose call is under way does not.
        machine = self.h2.state_machine
        goaway = h2.connection.ConnectionInputs.RECV_GOAWAY
        states = h2.connection.ConnectionState
        kept = {(state, goaway): (None, state) for state in (states.IDLE, states.CLIENT_OPEN)}
        machine._transitions = {**machine._transitions, **kept}

    async def flush(self) -> None:
        async with self._sending:
            data = self.h2.data_to_send()
            if data:
                await self.stream.send_all(data)

    async def read(self) -> None:
        """Read until the connection ends."""
        while not self.closed:
            try:
                data = await self.stream.receive_some(65_536)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                self.closed = True
            else:
                for event in self.h2.receive_data(bytes(data)):
                    self._on(event)
            self._changed.set()
            self._changed = trio.Event()
            try:
                await self.flush()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                continue

    def _on(self, event: Any) -> None:
        reply = self.replies.get(getattr(event, "stream_id", 0) or 0)
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append(event.last_stream_id or 0)
        elif reply is None:
            return
        elif isinstance(event, h2.events.ResponseReceived):
            reply.head = _texts(event.headers)
        elif isinstance(event, h2.events.TrailersReceived):
            reply.trailers = _texts(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            reply.body += event.data
            if self.gives_credit:
                self.h2.acknowledge_received_data(event.flow_controlled_length, reply.stream)
        elif isinstance(event, h2.events.StreamEnded):
            reply.ended = True
        elif isinstance(event, h2.events.StreamReset):
            reply.reset = event.error_code
            reply.ended = True

    async def wait(self, condition: Callable[[], object]) -> None:
        """Wait until something holds, or fail when the connection ends before."""
        while not condition():
            assert not self.closed, "the server closed the connection"
            await self._changed.wait()

    async def wait_closed(self) -> None:
        """Wait until the server has closed the connection."""
        while not self.closed:
            await self._changed.wait()

    async def open(
        self,
        path: str,
        data: bytes = b"",
        *,
        end: bool = True,
        headers: Mapping[str, str | bytes] | None = None,
        method: str = "POST",
        grpc: bool = True,
    ) -> Reply:
        """Send a request as it stands."""
        stream = self.h2.get_next_available_stream_id()
        fields = {
            ":method": method,
            ":scheme": "https",
            ":path": path,
            ":authority": "localhost",
            **({"te": "trailers", "content-type": "application/grpc"} if grpc else {}),
            **(headers or {}),
        }
        reply = self.replies[stream] = Reply(stream)
        self.h2.send_headers(stream, list(fields.items()), end_stream=end and not data)
        await self.flush()
        while data:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if not room:
                await self.wait(lambda: self.h2.local_flow_control_window(stream))
                continue
            piece, data = data[:room], data[room:]
            self.h2.send_data(stream, piece, end_stream=end and not data)
            await self.flush()
        return reply

    async def send(self, reply: Reply, message: bytes, *, end: bool = False) -> None:
        self.h2.send_data(reply.stream, framed(message), end_stream=end)
        await self.flush()

    async def end(self, reply: Reply) -> None:
        self.h2.end_stream(reply.stream)
        await self.flush()

    async def cancel(self, reply: Reply) -> None:
        self.h2.reset_stream(reply.stream, 8)
        await self.flush()

    async def call(self, path: str, message: bytes, **headers: str) -> Reply:
        """Make a unary call and wait for its end."""
        reply = await self.open(path, framed(message), headers=headers)
        await self.wait(lambda: reply.ended)
        return reply

    async def get(self, path: str, *, method: str = "GET") -> Reply:
        """Make a plain request."""
        reply = await self.open(path, method=method, grpc=False)
        await self.wait(lambda: reply.ended)
        return reply

    async def close(self) -> None:
        self.closed = True
        await trio.aclose_forcefully(self.stream)
