"""The external sort: everything comes back in order, from memory of a fixed size."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from trioetcd.mvcc.sorting import SLICE_ROWS, Bounds, Sorter, Steps


class Scratch:
    """Carries out the steps of a sorter, with a file that is a byte string.

    Attributes:
        slices: steps so far.
        held: the most bytes that waited to be written.
    """

    def __init__(self, sorter: Sorter) -> None:
        self.sorter = sorter
        self.data = bytearray()
        self.slices = 0
        self.held = 0

    def run(self, steps: Steps[None], *, short: Random | None = None) -> None:
        """Go through the steps; with `short`, reads may give less than was asked for."""
        try:
            fetch = next(steps)
            while True:
                self.slices += 1
                self.held = max(self.held, self.sorter.waiting)
                self.data += self.sorter.take()
                assert self.sorter.waiting == 0
                reply = b""
                if fetch is not None:
                    size = short.randint(1, fetch.size) if short else fetch.size
                    reply = bytes(self.data[fetch.offset : fetch.offset + size])
                fetch = steps.send(reply)
        except StopIteration:
            pass


def sort(
    rows: list[bytes], bounds: Bounds | None = None, *, short: Random | None = None
) -> tuple[list[bytes], Scratch]:
    sorter = Sorter(bounds)
    scratch = Scratch(sorter)
    for row in rows:
        if sorter.add(row):
            scratch.run(sorter.settle())
    found: list[bytes] = []

    def give(some: list[bytes]) -> Steps[None]:
        assert 0 < len(some) <= SLICE_ROWS
        found.extend(some)
        yield None

    scratch.run(sorter.finish(give), short=short)
    return found, scratch


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 500, 3_000, 20_000])
def test_rows_come_back_in_order(count: int) -> None:
    """Whatever is kept in memory and however often runs are merged, the rows are sorted."""
    bounds = Bounds(chunk_rows=16, run_chunks=4, runs=3, read_bytes=200)
    random = Random(count)
    rows = [random.randbytes(random.choice((1, 8, 30))) for _ in range(count)]
    assert sort(rows, bounds)[0] == sorted(rows)
    assert sort(rows, bounds, short=random)[0] == sorted(rows)


def test_long_rows() -> None:
    """Rows longer than what is read at a time come back too, and do not pile up."""
    random = Random(1)
    rows = [random.randbytes(random.choice((5, 100_000))) for _ in range(200)]
    found, scratch = sort(rows)
    assert found == sorted(rows)
    assert len(scratch.data) >= sum(map(len, rows))


def test_as_it_is_used() -> None:
    """With the real bounds: sorted, equal rows kept, and bounded pieces to write."""
    random = Random(2)
    rows = [b"%020d" % random.randrange(50_000) for _ in range(60_000)]
    found, scratch = sort(rows)
    assert all(one <= two for one, two in pairwise(found))
    assert len(found) == len(rows)
    assert scratch.held <= 4 * SLICE_ROWS * (20 + 4)
    assert scratch.slices >= len(rows) / SLICE_ROWS
