"""One persistent thread that writes batches, because a hop through a thread pool costs 100 µs.

The thread runs nothing but C that releases the GIL (`PreparedBatch.write`): a thread that runs
Python beside the loop would make each of the loop's own reads wait for the GIL.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from time import perf_counter

import trio

from trioetcd.ports import BackendError, PreparedBatch

__all__ = ["BatchWriter"]

Written = Callable[[int, float, BackendError | None], None]


class BatchWriter:
    """Writes one batch after another and says when each is on the disk.

    Args:
        written: called on the loop as ``written(number, seconds, error)``.
    """

    def __init__(self, written: Written) -> None:
        self._written = written
        self._queue: SimpleQueue[tuple[int, PreparedBatch] | None] = SimpleQueue()
        self._token = trio.lowlevel.current_trio_token()
        self._thread = Thread(target=self._run, name="trioetcd-writer", daemon=True)
        self._thread.start()

    def write(self, number: int, batch: PreparedBatch) -> None:
        """Hand a batch to the thread; it must not be touched afterwards."""
        self._queue.put((number, batch))

    def stop(self) -> None:
        """Let the thread end after what it was given; blocks until it has."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        get = self._queue.get
        while (item := get()) is not None:
            number, batch = item
            error: BackendError | None = BackendError(
                f"the writer's thread ended in batch {number}"
            )
            started = perf_counter()
            try:
                batch.write()
                error = None
            except BackendError as failure:
                error = failure
            finally:
                # Whatever happened, the loop hears of it: a batch in silence is a member that
                # hangs, and a member that hangs is worse than one that ends.
                self._tell(number, perf_counter() - started, error)

    def _tell(self, number: int, seconds: float, error: BackendError | None) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._written, number, seconds, error)
