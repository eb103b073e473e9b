"""Tests of `trioetcd.runtime.writer`: batches in order, and every end is heard of."""

from __future__ import annotations

from dataclasses import dataclass, field

from trioetcd.ports import BackendError
from trioetcd.runtime.writer import BatchWriter, Written


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
    writer = BatchWriter()
    log: list[int] = []
    told: list[Written] = []
    for number in range(1, 21):
        writer.write(number, Batch(number, log))
    while len(told) < 20:
        told += await writer.wait_written()
    writer.stop()

    assert list(range(1, 21)) == log
    assert [(number, None) for number in range(1, 21)] == [(w.number, w.error) for w in told]
    assert all(0 <= written.seconds < 5 for written in told)


async def test_a_failure_is_told() -> None:
    """A failed write is told with its error."""
    failure = BackendError("no space")
    writer = BatchWriter()
    writer.write(1, Batch(1, failure=failure))
    (told,) = await writer.wait_written()
    writer.stop()

    assert failure is told.error


async def test_stopping_waits_for_what_was_given() -> None:
    """`stop` returns when everything handed over has been written."""
    writer = BatchWriter()
    log: list[int] = []
    for number in range(50):
        writer.write(number, Batch(number, log))
    writer.stop()

    assert list(range(50)) == log
