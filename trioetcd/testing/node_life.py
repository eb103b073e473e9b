"""One whole node in a test, through all its lives: begun, told to stop, cancelled, killed.

The node is `trioetcd.node.node.Node` as it is, with its data directory and LevelDB; its machine is
`Wires`, a `SlowDisk` and repeatable chance.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from random import Random
from typing import Final

import trio

from trioetcd.node.machine import Machine
from trioetcd.node.node import Node
from trioetcd.node.settings import Config
from trioetcd.ports import BackendError
from trioetcd.runtime.trace import Log
from trioetcd.storage import DataDir
from trioetcd.testing.slow_disk import SlowDisk
from trioetcd.testing.violation import Violation, require
from trioetcd.testing.wires import Wires

__all__ = ["Diary", "NodeLife"]

STOP_SECONDS: Final = 3.0
"""From the signal to the end: leadership handed over, calls drained, the last batch written."""

CANCEL_SECONDS: Final = 1.5
"""From the cancellation to the end: only the last batch is waited for."""


class Diary(Log):
    """Keeps lines instead of writing them.

    Attributes:
        lines: mock time, level, message and fields of each line.
    """

    def __init__(self) -> None:
        super().__init__(outputs=(), level="debug")
        self.lines: list[tuple[float, str, str, dict[str, object]]] = []

    def _line(self, level: str, message: str, fields: dict[str, object]) -> None:
        self.lines.append((trio.current_time(), level, message, fields))


class Dice:
    """Chance that can be repeated (`trioetcd.ports.Entropy`)."""

    def __init__(self, random: Random) -> None:
        self.bits = random.getrandbits


async def in_loop(
    work: Callable[[], object], /, *, limiter: trio.CapacityLimiter | None = None
) -> object:
    """Run at once what would otherwise get a thread (`trioetcd.transport.streams.InThread`)."""
    del limiter
    await trio.lowlevel.checkpoint()
    return work()


async def _no_hang_ups(_told: Callable[[], None]) -> None:
    """Wait for signals that do not come: there is one process for all nodes."""
    await trio.sleep_forever()


class NodeLife:
    """One node.

    Attributes:
        config: its settings.
        diary: its log, of all lives.
        running: whether it lives.

    Args:
        config: see above.
        wires: how it reaches others.
        random: chance.
        sync_seconds: how long a write takes, about.
    """

    def __init__(
        self, config: Config, wires: Wires, random: Random, *, sync_seconds: float
    ) -> None:
        self.config = config
        self.diary = Diary()
        self.running = False
        self._wires = wires
        self._random = random
        self._sync_seconds = sync_seconds
        self._disk = SlowDisk(random, seconds=sync_seconds)
        self._scope = trio.CancelScope()
        self._told = trio.Event()
        self._hears = False
        self._ended = trio.Event()

    @property
    def name(self) -> str:
        """Its name."""
        return self.config.name

    async def live(self) -> None:
        """Live once, until somebody ends it.

        Raises:
            Exception: it ended otherwise than it should.
        """
        assert not self.running
        self.running = True
        self._disk = disk = SlowDisk(self._random, seconds=self._sync_seconds)
        self._scope = trio.CancelScope()
        self._told = trio.Event()
        self._hears = False
        self._ended = trio.Event()
        machine = Machine(
            listen=self._wires.listen,
            connect=partial(self._wires.connect, self.name),
            in_thread=in_loop,
            open_writer=lambda: disk,
            entropy=Dice(self._random),
            signalled=self._signalled,
            hang_ups=_no_hang_ups,
        )
        try:
            with self._scope, closing(DataDir.open(self.config.data_path)) as data_dir:
                await Node(self.config, self.diary, data_dir, machine).run()
                require(self._told.is_set(), "{} ended by itself", self.name)
        except* BackendError:
            require(disk.failing, "{} says that its disk failed, and it did not", self.name)
        finally:
            self.running = False
            self._ended.set()

    async def stop(self) -> None:
        """Send it SIGTERM, which kills a node that has not come to listen for it, and wait.

        Raises:
            Violation: it takes too long.
        """
        if not self._hears:
            await self.kill()
            return
        self._told.set()
        await self._wait_ended("told to stop", STOP_SECONDS)

    async def cancel(self) -> None:
        """Cancel the task it runs in, and wait; raises what `stop` does."""
        self._scope.cancel()
        await self._wait_ended("cancelled", CANCEL_SECONDS)

    async def kill(self) -> None:
        """End it as SIGKILL does: nothing more reaches the disk or the network."""
        self._disk.lost = True
        for wire in self._wires.of(self.name):
            wire.cut()
        self._scope.cancel()
        await self._wait_ended("killed", CANCEL_SECONDS)

    async def break_disk(self) -> None:
        """Let its next write fail, and wait until it has ended for that."""
        ended = self._ended
        self._disk.failing = True
        with trio.move_on_after(STOP_SECONDS):
            await ended.wait()
        if not ended.is_set():  # it had nothing to write
            await self.kill()

    async def stall_disk(self) -> None:
        """Let its next write take longer than anybody has patience."""
        self._disk.stall_seconds = self._random.uniform(1, 10)
        await trio.lowlevel.checkpoint()

    async def _wait_ended(self, told: str, seconds: float) -> None:
        ended = self._ended
        with trio.move_on_after(seconds):
            await ended.wait()
        if not ended.is_set():
            sentence = f"{self.name} was {told} and has not ended after {seconds:g} s"
            # Told at once: what does not end when it is cancelled may keep the run from its end.
            sys.stderr.write(f"VIOLATION: {sentence}\n")
            raise Violation(sentence)

    async def _signalled(self) -> int:
        self._hears = True
        await self._told.wait()
        return signal.SIGTERM
