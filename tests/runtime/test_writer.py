"""Tests of `trioetcd.runtime.writer`: batches in order, and every end is heard of."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from trioetcd.ports import BackendError
from trioetcd.runtime.writer import BatchWriter


@dataclass
class Batch:
    """A batch that notes its writing, or fails."""

    name: int
    log: list[int] = field(default_factory=list)
    failure: BackendError | None = None

    def write(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.log.append(self.name)


async def test_batches_are_written_in_order_and_told() -> None:
    """Each batch is told once, in order, with its seconds and without an error."""
    told: list[tuple[int, BackendError | None]] = []
    all_told = trio.Event()

    def written(number: int, seconds: float, error: BackendError | None) -> None:
        assert 0 <= seconds < 5
        told.append((number, error))
        if number == 20:
            all_told.set()

    writer = BatchWriter(written)
    log: list[int] = []
    for number in range(1, 21):
        writer.write(number, Batch(number, log))
    await all_told.wait()
    writer.stop()

    assert list(range(1, 21)) == log
    assert [(number, None) for number in range(1, 21)] == told


async def test_a_failure_is_told() -> None:
    """A failed write is told with its error."""
    told: list[BackendError | None] = []
    done = trio.Event()

    def written(_number: int, _seconds: float, error: BackendError | None) -> None:
        told.append(error)
        done.set()

    failure = BackendError("no space")
    writer = BatchWriter(written)
    writer.write(1, Batch(1, failure=failure))
    await done.wait()
    writer.stop()

    assert [failure] == told


async def test_stopping_waits_for_what_was_given() -> None:
    """`stop` returns when everything handed over has been written."""
    writer = BatchWriter(lambda *_: None)
    log: list[int] = []
    for number in range(50):
        writer.write(number, Batch(number, log))
    writer.stop()

    assert list(range(50)) == log
