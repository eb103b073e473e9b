"""The disk of a whole node in a test: batches are written in the loop, late, or not at all.

A writer with a thread would be overtaken by a mock clock, which does not wait for threads. Here
a batch takes mock time and is then written at once; until then it is nowhere, as if the power had
failed before the sync.
"""

from __future__ import annotations

from collections import deque
from random import Random

import trio

from trioetcd.ports import BackendError, PreparedBatch
from trioetcd.runtime.writer import Written

__all__ = ["SlowDisk"]


class SlowDisk:
    """Writes batches (`trioetcd.runtime.writer.Writer`).

    Attributes:
        lost: whether nothing reaches the disk any more: the process is being killed, and what it
            still says reaches nobody; it is not told of another write.
        failing: whether the next write fails.
        stall_seconds: how much longer than others the next write takes.

    Args:
        random: chance.
        seconds: how long a sync takes, about.
    """

    def __init__(self, random: Random, *, seconds: float) -> None:
        self.lost = False
        self.failing = False
        self.stall_seconds = 0.0
        self._random = random
        self._seconds = seconds
        self._waiting: deque[tuple[int, PreparedBatch]] = deque()
        self._arrived = trio.Event()

    def write(self, number: int, batch: PreparedBatch, /) -> None:
        """Take a batch over."""
        self._waiting.append((number, batch))
        self._arrived.set()

    async def wait_written(self) -> list[Written]:
        """Wait until the next batch is written."""
        while not self._waiting:
            self._arrived = trio.Event()
            await self._arrived.wait()
        seconds = self._seconds * self._random.expovariate(1) + self.stall_seconds
        self.stall_seconds = 0.0
        await trio.sleep(seconds)
        if self.lost:
            await trio.sleep_forever()
        if self.failing:
            return [Written(self._waiting[0][0], seconds, BackendError("the disk has failed"))]
        number, batch = self._waiting.popleft()
        batch.write()
        return [Written(number, seconds, None)]

    def stop(self) -> None:
        """Write what was taken over."""
        while self._waiting and not (self.lost or self.failing):
            self._waiting.popleft()[1].write()
