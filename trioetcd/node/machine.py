"""What a node takes from the machine it runs on, besides its files: one value, with the real ones.

The tests of whole nodes (`trioetcd.testing.nodes`) hand in other sockets, a disk without a thread,
and chance that can be repeated.
"""

from __future__ import annotations

import resource
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio

from trioetcd.ports import Entropy
from trioetcd.runtime.clock import SystemEntropy
from trioetcd.runtime.writer import BatchWriter, Writer
from trioetcd.transport.listener import Address, open_sockets
from trioetcd.transport.peer_dial import Connect, connect_tcp
from trioetcd.transport.streams import InThread, run_in_thread

__all__ = ["FILES_MAX", "HangUps", "Listen", "Machine", "raise_files_limit"]

FILES_MAX: Final = 65_536
"""As many open files as a member asks for: connections, and LevelDB's tables."""


class Listen(Protocol):
    """Opens listening sockets, as `trioetcd.transport.listener.open_sockets` does."""

    async def __call__(self, address: Address, *, reuse_port: bool = False) -> list[socket.socket]:
        """Bind and listen, or raise OSError."""


def raise_files_limit() -> None:
    """Let this process open as many files as it may, as Go's programs do by themselves.

    The soft limit is 1024 nearly everywhere, for the sake of programs that use `select`. With it,
    clients that connect and stay would soon leave LevelDB without a file, and end the member.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if resource.RLIM_INFINITY != soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _signalled() -> int:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            return int(number)
    raise AssertionError("signals do not end")


class HangUps:
    """Tells all who ask of every SIGHUP; of several receivers Trio would tell the last one only.

    They end together, with the node: whoever asked first listens for the others.
    """

    def __init__(self) -> None:
        self._told: dict[object, Callable[[], None]] = {}

    async def __call__(self, told: Callable[[], None], /) -> None:
        """Call `told` at every SIGHUP, until cancelled."""
        first = not self._told
        mark = object()
        self._told[mark] = told
        try:
            if not first:
                await trio.sleep_forever()
            with trio.open_signal_receiver(signal.SIGHUP) as signals:
                async for _ in signals:
                    for each in list(self._told.values()):
                        each()
        finally:
            del self._told[mark]


@dataclass(frozen=True, slots=True)
class Machine:
    """Sockets, threads, chance and signals.

    Attributes:
        listen: opens listening sockets.
        connect: connects to another member.
        in_thread: runs what blocks.
        open_writer: makes what writes batches to the disk.
        entropy: chance; TLS has its own.
        signalled: waits until the node is told to stop; gives the signal's number.
        hang_ups: calls what it is given at every SIGHUP, until cancelled.
    """

    listen: Listen = open_sockets
    connect: Connect = connect_tcp
    in_thread: InThread = run_in_thread
    open_writer: Callable[[], Writer] = BatchWriter
    entropy: Entropy = field(default_factory=SystemEntropy)
    signalled: Callable[[], Awaitable[int]] = _signalled
    hang_ups: Callable[[Callable[[], None]], Awaitable[None]] = field(default_factory=HangUps)
