"""Three whole nodes in one process and in mock time, their network, and calls to each of them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import trio

from trioetcd.client.connection import Call, Connection, Endpoint, client_tls
from trioetcd.schema.messages import Message
from trioetcd.testing import nodes
from trioetcd.testing.node_clients import NodeClients
from trioetcd.testing.node_life import NodeLife
from trioetcd.testing.wires import Wires
from trioetcd.transport.listener import Address

Metadata = Sequence[tuple[str, bytes | str]]
PLAN = replace(nodes.draw(1), wire_seconds=0.001, sync_seconds=0.001, snapshot_count=10_000)


class Three:
    """Three nodes that serve.

    Attributes:
        lives: the nodes.
        wires: their network.
        clients: simple clients of theirs.
    """

    def __init__(self, directory: Path, nursery: trio.Nursery) -> None:
        self.wires = Wires(directory, nursery, Random(1), seconds=PLAN.wire_seconds)
        self.lives: list[NodeLife] = []
        self._nursery = nursery
        configs = nodes.configure(directory, PLAN)
        for number, config in enumerate(configs):
            ports = [url.port for url in (*config.listen_client_urls, *config.listen_peer_urls)]
            self.wires.own(config.name, *ports)
            life = NodeLife(config, self.wires, Random(number), sync_seconds=PLAN.sync_seconds)
            self.lives.append(life)
        self._urls = [str(config.listen_client_urls[0]) for config in configs]
        files = directory / nodes.NAMES[0]
        root = files / "clients" / "root.crt", files / "clients" / "root.key"
        self._tls = client_tls(cacert=files / "client-ca.crt", cert=root[0], key=root[1])
        certificates = (files / "client-ca.crt", *root)
        self.clients = NodeClients(self._urls, certificates, self._dial, Random(9))

    async def _dial(self, host: str, port: int) -> socket.socket:
        return await self.wires.connect(nodes.CLIENT, Address(host, port))

    async def _stream(self, host: str, port: int) -> trio.abc.Stream:
        return trio.SocketStream(trio.socket.from_stdlib_socket(await self._dial(host, port)))

    async def leader(self) -> int:
        """Give the number of the node that leads."""
        for number in range(len(self.lives)):
            if not self.lives[number].running:
                continue
            async with self.clients.connect(number, only=True) as client:
                status = await client.status()
                if status.leader and status.leader == status.header.member_id:
                    return number
        raise AssertionError("nobody leads")

    async def connect(self, number: int) -> Connection:
        """Open a connection to a node."""
        endpoint = Endpoint.parse(self._urls[number])
        connection = await Connection.open(endpoint, self._tls, self._stream)
        self._nursery.start_soon(connection.run)
        return connection

    def part_all(self) -> None:
        """Let no node reach another."""
        for one, other in (("a", "b"), ("a", "c"), ("b", "c")):
            self.wires.part(one, other)


def begin(
    connection: Connection,
    path: str,
    request: Message,
    metadata: Metadata = (),
    *,
    end: bool = True,
) -> Call:
    """Begin a call with its first message."""
    call = connection.call(path, metadata=metadata)
    call.send(request.SerializeToString(), end=end)
    return call


async def ask(
    connection: Connection, path: str, request: Message, metadata: Metadata = ()
) -> bytes:
    """Make a unary call."""
    call = begin(connection, path, request, metadata)
    answer = await call.receive()
    assert answer is not None
    assert await call.receive() is None
    return answer


PATIENCE_SECONDS = 120.0
"""In mock time."""


@asynccontextmanager
async def three_nodes(
    directory: Path, *, seconds: float = PATIENCE_SECONDS
) -> AsyncIterator[Three]:
    """Run three nodes until the block is left, for at most so many mock seconds."""
    with trio.fail_after(seconds):
        async with trio.open_nursery() as outermost:
            three = Three(directory, outermost)
            async with trio.open_nursery() as alive:
                for node in three.lives:
                    alive.start_soon(node.live)
                for number in range(len(three.lives)):
                    await three.clients.settle(number)
                yield three
                three.wires.heal()
                for node in three.lives:
                    if node.running:
                        alive.start_soon(node.stop)
            outermost.cancel_scope.cancel()
