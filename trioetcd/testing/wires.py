"""The network between whole nodes in one process: pairs of sockets, and what can happen to them.

A node listens on a unix socket in a directory and dials through here, so everything above the
connection is its own: the accepting, TLS, the streams. Each connection is a `Wire` of two pairs
with a task between that carries the bytes, late, or not at all. The kernel hands bytes of such
sockets over at once, so a mock clock that jumps when nothing is ready loses none of them.
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from random import Random
from typing import Final

import trio

from trioetcd.transport.listener import Address, open_sockets

__all__ = ["Wire", "Wires"]

PIECE_BYTES: Final = 65_536
"""At most so much is carried at a time."""

SILENCE_SECONDS: Final = 3.0
"""Bytes that wait for so long end their wire at both ends: what `TCP_USER_TIMEOUT` and
keep-alive do on a real network, where unix sockets have neither."""


class Wire:
    """One connection.

    Attributes:
        ends: the names of the two sides, first who dialled.

    Args:
        ends: see above.
        sockets: what is wired together: the other half of the dialling side's socket, and a
            socket connected to the listening side.
        random: chance.
        seconds: how long a piece is under way, about.
    """

    def __init__(
        self,
        ends: tuple[str, str],
        sockets: tuple[socket.socket, socket.socket],
        random: Random,
        seconds: float,
    ) -> None:
        self.ends = ends
        self._sockets = sockets
        self._random = random
        self._seconds = seconds
        self._gates = [trio.Event(), trio.Event()]
        self._scope = trio.CancelScope()
        self.release()

    def hold(self, direction: int) -> None:
        """Let nothing pass from this one of the `ends` to the other until `release`."""
        if self._gates[direction].is_set():
            self._gates[direction] = trio.Event()

    def release(self) -> None:
        """Let everything pass again."""
        for gate in self._gates:
            gate.set()

    def cut(self) -> None:
        """End the connection at once, at both ends; what is under way is lost."""
        self._scope.cancel()
        for sock in self._sockets:
            if sock.fileno() >= 0:
                trio.lowlevel.notify_closing(sock)
                sock.close()

    async def run(self) -> None:
        """Carry bytes until both sides have ended, or it is cut."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry, 0)
                    nursery.start_soon(self._carry, 1)
        finally:
            self.cut()

    async def _carry(self, direction: int) -> None:
        source, target = self._sockets[direction], self._sockets[1 - direction]
        try:
            while await self._carry_piece(source, target, direction):
                pass
        except (OSError, ValueError, trio.ClosedResourceError):
            self.cut()  # an end is gone

    async def _carry_piece(
        self, source: socket.socket, target: socket.socket, direction: int
    ) -> bool:
        """Carry what there is; False at the end of the stream."""
        # Trio remembers who waits for a closed socket, and then takes the next one for its rival.
        await trio.lowlevel.checkpoint_if_cancelled()
        await trio.lowlevel.wait_readable(source)
        data = source.recv(PIECE_BYTES)
        await trio.sleep(self._seconds * self._random.uniform(0.5, 1.5))
        with trio.move_on_after(SILENCE_SECONDS) as silence:
            await self._gates[direction].wait()
        if silence.cancelled_caught:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        if not data:
            target.shutdown(socket.SHUT_WR)
            return False
        while data:
            await trio.lowlevel.checkpoint_if_cancelled()  # for the same reason
            await trio.lowlevel.wait_writable(target)
            data = data[target.send(data) :]
        return True


class Wires:
    """All connections, and who can reach whom.

    Args:
        directory: for the listening sockets.
        nursery: in which bytes are carried; outlives the nodes.
        random: chance.
        seconds: how long a piece is under way, about.
    """

    def __init__(
        self, directory: Path, nursery: trio.Nursery, random: Random, *, seconds: float
    ) -> None:
        self._directory = directory
        self._nursery = nursery
        self._random = random
        self._seconds = seconds
        self._owners: dict[int, str] = {}
        self._wires: dict[Wire, None] = {}  # a set that keeps its order
        self._apart: set[frozenset[str]] = set()
        self._changed = trio.Event()

    def own(self, name: str, *ports: int) -> None:
        """Say whose ports these are."""
        self._owners.update(dict.fromkeys(ports, name))

    def of(self, *names: str) -> list[Wire]:
        """Give the connections that have all these names at their ends, oldest first."""
        return [wire for wire in self._wires if set(names) <= set(wire.ends)]

    def part(self, one: str, other: str) -> None:
        """Let nothing pass between two names, neither bytes nor new connections."""
        self._apart.add(frozenset({one, other}))
        for wire in self.of(one, other):
            wire.hold(0)
            wire.hold(1)

    def heal(self) -> None:
        """Let everything pass again."""
        self._apart.clear()
        self._changed.set()
        self._changed = trio.Event()
        for wire in self._wires:
            wire.release()

    async def listen(self, address: Address, *, reuse_port: bool = False) -> list[socket.socket]:
        """Listen on a unix socket instead of a port (`trioetcd.node.machine.Listen`)."""
        path = str(self._directory / str(address.port))
        return await open_sockets(Address(address.host, address.port, path), reuse_port=reuse_port)

    async def connect(self, name: str, address: Address) -> socket.socket:
        """Connect the side of this name to a port.

        Raises:
            ConnectionRefusedError: nobody listens there.
        """
        ends = name, self._owners[address.port]
        await trio.sleep(self._seconds * self._random.uniform(1, 3))
        while frozenset(ends) in self._apart:
            await self._changed.wait()
        far = socket.socket(socket.AF_UNIX)
        far.setblocking(False)
        try:
            far.connect(str(self._directory / str(address.port)))
        except OSError:
            far.close()
            raise ConnectionRefusedError(
                errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)
            ) from None
        near, own = socket.socketpair()
        for sock in (near, own):
            sock.setblocking(False)
        wire = Wire(ends, (own, far), self._random, self._seconds)
        self._wires[wire] = None
        self._nursery.start_soon(self._run, wire)
        return near

    async def _run(self, wire: Wire) -> None:
        try:
            await wire.run()
        finally:
            del self._wires[wire]
