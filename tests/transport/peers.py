"""Peers for tests of the links between members: certificates, listeners, and who is told what."""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from tests.transport.pairs import authority, bundle
from trioetcd.pki import Role
from trioetcd.raft import Heartbeat, Propose
from trioetcd.transport import tls
from trioetcd.transport.listener import Accepted, Address, Listener, open_sockets
from trioetcd.transport.peer_dial import TlsDialler
from trioetcd.transport.streams import ByteStream
from trioetcd.values import ClusterID, Index, MemberID, Term
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.peer import Hello, Messages, Numbered, PeerListener, Purpose, Welcome

SENDER, RECEIVER = MemberID(2), MemberID(1)
HELLO = Hello(Purpose.MESSAGES, ClusterID(5), SENDER, RECEIVER, 77, "3.7.1", ("https://m:1",))


class Dice:
    """Chance that a test can repeat."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def bits(self, count: int, /) -> int:
        return self._random.getrandbits(count)


def listener_context(ca: str = "peer", role: Role = Role.PEER) -> ssl.SSLContext:
    return tls.peer_listener_context(bundle(role, ca), trust=authority("peer").certificate)


def dialler_context(ca: str = "peer", role: Role = Role.PEER) -> ssl.SSLContext:
    return tls.peer_dialer_context(bundle(role, ca), trust=authority("peer").certificate)


def dialler(
    context: Callable[[], ssl.SSLContext] = dialler_context,
) -> TlsDialler:
    return TlsDialler(context, silence_seconds=5)


@dataclass
class Owner:
    """Notes what a link tells."""

    told: list[str] = field(default_factory=list)
    unreachables: int = 0
    sent_bytes: int = 0
    lost_messages: int = 0
    welcome: Welcome | None = None
    happened: trio.Event = field(default_factory=trio.Event)

    def connected(self, address: Address, welcome: Welcome) -> None:
        self.welcome = welcome
        self._tell(f"connected {address}")

    def unreachable(self) -> None:
        self.unreachables += 1
        self.happened.set()

    def troubled(self, reason: str) -> None:
        self._tell(reason)

    def refused(self, code: str) -> None:
        self._tell(f"code {code}")

    def sent(self, count: int) -> None:
        self.sent_bytes += count

    def lost(self, count: int) -> None:
        assert count > 0, "a count that only grows"
        self.lost_messages += count

    def too_long(self) -> None:
        self._tell("too long")

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self.happened.set()

    async def wait(self, condition: Callable[[], bool], *, seconds: float = 10) -> None:
        with trio.fail_after(seconds):
            while not condition():
                self.happened = trio.Event()
                await self.happened.wait()


@dataclass
class Door:
    """A peer that welcomes everybody and notes what it hears.

    Attributes:
        address: where it listens.
        heard: messages, in order.
        connections: those that are open, or were.
    """

    address: Address
    refuse_with: str = ""
    heard: list[Numbered] = field(default_factory=list)
    connections: list[ByteStream] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    happened: trio.Event = field(default_factory=trio.Event)

    async def serve(self, accepted: Accepted) -> None:
        await self.serve_stream(accepted.stream)

    async def serve_stream(self, stream: ByteStream) -> None:
        self.connections.append(stream)
        listener = PeerListener()
        try:
            while data := await stream.receive_some():
                listener.receive(data)
                while (event := listener.next_event()) is not None:
                    if isinstance(event, Messages):
                        self.heard += event.messages
                    elif self.refuse_with:
                        listener.refuse(self.refuse_with, "it is not wanted")
                    else:
                        listener.welcome(9, "3.7.1")
                await stream.send_all(listener.take())
                self.happened.set()
        except (trio.BrokenResourceError, trio.ClosedResourceError, RemoteProtocolError):
            pass

    def reject(self, remote: str, reason: str, certificate: bytes = b"") -> None:
        self.rejected.append(reason)
        self.happened.set()

    async def wait(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(10):
            while not condition():
                self.happened = trio.Event()
                await self.happened.wait()


@asynccontextmanager
async def door(
    *,
    context: Callable[[], ssl.SSLContext] | None = listener_context,
    port: int = 0,
    refuse_with: str = "",
) -> AsyncIterator[Door]:
    """Listen on loopback until the block is left."""
    sockets = await open_sockets(Address("127.0.0.1", port))
    name = sockets[0].getsockname()
    found = Door(Address(name[0], name[1]), refuse_with)
    async with trio.open_nursery() as connections:
        listener = Listener(sockets, context=context, serve=found.serve, rejected=found.reject)
        connections.start_soon(listener.run, connections)
        yield found
        connections.cancel_scope.cancel()


def heartbeat(sequence: int) -> Numbered:
    return Numbered(sequence, Heartbeat(RECEIVER, SENDER, Term(3), Index(0), 0))


def proposal(sequence: int, size: int) -> Numbered:
    return Numbered(sequence, Propose(RECEIVER, SENDER, Term(3), [b"x" * size]))
