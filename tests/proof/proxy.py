"""A TCP proxy between members that can delay, lose, hold back and break what passes.

Each member is known to the others by the proxy's port; who dials is found out by the socket's
owner. Faults are set per direction, from one member to another, whoever dialled: a direction that
is cut takes no byte further, and goes on where it was when it is mended, as TCP does over a line
that was dead for a while. Besides, one member may be kept from dialling another, as a firewall does
it that looks at who begins.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import trio

from tests.proof.member import free_port

__all__ = ["Line", "Proxy", "ProxyThread", "owner_of"]

CHUNK_BYTES: Final = 48 * 1024
CHUNKS_WAITING: Final = 16
NO_LINGER: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, for 0 s: closing resets."""
GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)
TCP_TABLE: Final = Path("/proc/net/tcp")


@dataclass(slots=True)
class Line:
    """What is wrong in one direction between two members.

    Attributes:
        delay: between how many and how many seconds each piece takes.
        loss: share of pieces that get lost, which TLS cannot but notice.
    """

    delay: tuple[float, float] = (0.0, 0.0)
    loss: float = 0.0
    _open: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        self._open.set()

    @property
    def is_cut(self) -> bool:
        """Whether nothing passes."""
        return not self._open.is_set()

    def cut(self) -> None:
        """Let nothing pass any more."""
        if self._open.is_set():
            self._open = trio.Event()

    def heal(self) -> None:
        """Let everything pass at once."""
        self.delay = (0.0, 0.0)
        self.loss = 0.0
        self._open.set()

    async def wait_open(self) -> None:
        """Wait while it is cut."""
        while self.is_cut:
            await self._open.wait()


class Proxy:
    """Listens once per member and passes on what comes.

    Args:
        targets: the members' own peer ports.
        dialler: gives the place of the member that owns a local TCP port, None if none does.
        chance: decides about losses and delays.

    Attributes:
        ports: where it listens, one port per member.
        lines: the state of each direction, by sender and receiver.
        refused: who may not dial whom.
        passed: bytes passed on, by sender and receiver.
    """

    def __init__(
        self, targets: list[int], dialler: Callable[[int], int | None], chance: random.Random
    ) -> None:
        places = range(len(targets))
        self.ports = [free_port() for _ in targets]
        self.lines = {(a, b): Line() for a in places for b in places if a != b}
        self.passed = dict.fromkeys(self.lines, 0)
        self.refused: set[tuple[int, int]] = set()
        self._targets = targets
        self._dialler = dialler
        self._chance = chance
        self._streams: dict[trio.SocketStream, tuple[int, int] | None] = {}

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            for place, port in enumerate(self.ports):
                for listener in await trio.open_tcp_listeners(port, host="127.0.0.1"):
                    nursery.start_soon(self._accept, place, listener)
            task_status.started()

    def heal(self) -> None:
        """Mend every direction."""
        for line in self.lines.values():
            line.heal()

    def isolate(self, place: int, *, inward: bool = True, outward: bool = True) -> None:
        """Cut a member off from both others, both ways or one way."""
        for (sender, receiver), line in self.lines.items():
            if (sender == place and outward) or (receiver == place and inward):
                line.cut()

    def reset(self, place: int | None = None) -> None:
        """Break every connection (RST), or all of one member; what was on its way is lost."""
        for stream, pair in list(self._streams.items()):
            if place is None or (pair is not None and place in pair):
                _break(stream)

    def refuse(self, dialler: int, receiver: int) -> None:
        """Break the connections that one member dialled to another, and take no more of them."""
        self.refused.add((dialler, receiver))
        for stream, pair in list(self._streams.items()):
            if pair == (dialler, receiver):
                _break(stream)

    async def _accept(self, place: int, listener: trio.SocketListener) -> None:
        async with listener, trio.open_nursery() as nursery:
            while True:
                stream = await listener.accept()
                nursery.start_soon(self._serve, place, stream)

    async def _serve(self, receiver: int, near: trio.SocketStream) -> None:
        try:
            sender = self._dialler(near.socket.getpeername()[1])
            if (sender, receiver) in self.refused:
                _break(near)
                return
            far = await trio.open_tcp_stream("127.0.0.1", self._targets[receiver])
        except OSError:
            _break(near)
            return
        if sender is None or sender == receiver:
            there, back = Line(), Line()
            pair = None
        else:
            there, back = self.lines[sender, receiver], self.lines[receiver, sender]
            pair = (sender, receiver)
        self._streams |= {near: pair, far: pair}
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, near, far, there, pair)
                nursery.start_soon(self._pump, far, near, back, pair and pair[::-1])
        finally:
            for stream in (near, far):
                del self._streams[stream]
                _break(stream)

    async def _pump(
        self,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        line: Line,
        pair: tuple[int, int] | None,
    ) -> None:
        send, receive = trio.open_memory_channel[tuple[float, bytes]](CHUNKS_WAITING)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver, receive, source, sink, line, pair)
            with send, contextlib.suppress(*GONE):
                while data := await source.receive_some(CHUNK_BYTES):
                    if self._chance.random() < line.loss:
                        continue
                    due = trio.current_time() + self._chance.uniform(*line.delay)
                    await send.send((due, bytes(data)))

    async def _deliver(
        self,
        receive: trio.MemoryReceiveChannel[tuple[float, bytes]],
        source: trio.SocketStream,
        sink: trio.SocketStream,
        line: Line,
        pair: tuple[int, int] | None,
    ) -> None:
        with receive, contextlib.suppress(*GONE):
            async for due, data in receive:
                await trio.sleep_until(due)
                await line.wait_open()
                if source.socket.fileno() < 0:
                    return  # broken meanwhile: what was on its way is lost
                await sink.send_all(data)
                if pair is not None:
                    self.passed[pair] += len(data)
            # the end, too, passes only where the line is whole
            await line.wait_open()
            await sink.send_eof()


class ProxyThread:
    """A proxy in a thread of its own, for proofs that do not run on Trio.

    Args:
        proxy: what it runs until the block is left.
    """

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._thread = threading.Thread(target=trio.run, args=(self._main,), daemon=True)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.proxy.run)
                self._ready.set()

    def tell(self, what: Callable[[], None]) -> None:
        """Do something with the proxy, in its thread, and wait until it is done."""
        assert self._token is not None
        trio.from_thread.run_sync(what, trio_token=self._token)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.tell(self._scope.cancel)
        self._thread.join()


def _break(stream: trio.SocketStream) -> None:
    with contextlib.suppress(OSError):
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    stream.socket.close()


def owner_of(port: int, pids: dict[int, int]) -> int | None:
    """Find which process has the loopback connection that begins at a port.

    Args:
        port: a local TCP port of 127.0.0.1.
        pids: process ids by place.

    Returns:
        The place of the owner, None if it is none of them, or gone.
    """
    wanted = f"0100007F:{port:04X}"
    lines = (line.split() for line in TCP_TABLE.read_text().splitlines())
    inode = next((cells[9] for cells in lines if len(cells) > 9 and cells[1] == wanted), None)
    if inode is None:
        return None
    for place, pid in pids.items():
        with contextlib.suppress(OSError):
            for handle in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(handle.readlink()) == f"socket:[{inode}]":
                        return place
    return None
