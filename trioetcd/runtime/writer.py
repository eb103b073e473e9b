"""One persistent thread that writes batches, because a hop through a thread pool costs 100 µs.

The thread runs nothing but C that releases the GIL (`PreparedBatch.write`): a thread that runs
Python beside the loop would make each of the loop's own reads wait for the GIL. It tells the loop
through an eventfd, which costs half of what Trio's own door for threads does.
"""

from __future__ import annotations

import os
from collections import deque
from queue import SimpleQueue
from threading import Thread
from time import perf_counter
from typing import NamedTuple, Protocol

import trio

from trioetcd.ports import BackendError, PreparedBatch

__all__ = ["BatchWriter", "Writer", "Written"]


class Written(NamedTuple):
    """A batch is on the disk, or is not.

    Attributes:
        number: the batch.
        seconds: how long the disk took.
        error: why it could not be written; then nothing may be answered any more.
    """

    number: int
    seconds: float
    error: BackendError | None


class Writer(Protocol):
    """Writes batches beside the loop."""

    def write(self, number: int, batch: PreparedBatch, /) -> None:
        """Take a batch over; it is written after those before it."""

    async def wait_written(self) -> list[Written]:
        """Wait for batches to be written; gives those that were, in order."""

    def stop(self) -> None:
        """Write what was taken over, and end."""


class BatchWriter:
    """Writes one batch after another and says when each is on the disk."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[int, PreparedBatch] | None] = SimpleQueue()
        self._done: deque[Written] = deque()
        self._door = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = Thread(target=self._run, name="trioetcd-writer", daemon=True)
        self._thread.start()

    def write(self, number: int, batch: PreparedBatch) -> None:
        """Hand a batch to the thread; it must not be touched afterwards."""
        self._queue.put((number, batch))

    async def wait_written(self) -> list[Written]:
        """Wait for batches to be written; gives those that were, in order."""
        while not self._done:
            await trio.lowlevel.wait_readable(self._door)
            os.eventfd_read(self._door)
        # The thread may add to it meanwhile, so nothing is taken but what is returned.
        return [self._done.popleft() for _ in range(len(self._done))]

    def stop(self) -> None:
        """Let the thread end after what it was given; blocks until it has."""
        self._queue.put(None)
        self._thread.join()
        os.close(self._door)

    def _run(self) -> None:
        get = self._queue.get
        while (item := get()) is not None:
            number, batch = item
            error: BackendError | None = BackendError("the writer's thread ended")
            started = perf_counter()
            try:
                batch.write()
                error = None
            except BackendError as failure:
                error = failure
            finally:
                # Whatever happened, the loop hears of it: a batch in silence is a member that
                # hangs, and a member that hangs is worse than one that ends.
                self._done.append(Written(number, perf_counter() - started, error))
                os.eventfd_write(self._door, 1)
