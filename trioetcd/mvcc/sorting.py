"""Sorting more rows than memory should hold: sorted runs in a scratch file, merged at the end.

Rows are byte strings, in the order of their bytes. A `Sorter` does no I/O: it says what is to be
put behind the scratch file (`take`) and asks for parts of it (`Fetch`). Its work comes in slices
of at most about 2 ms and its memory has a bound, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from heapq import heapify, heappop, heapreplace
from struct import Struct
from typing import Final, NamedTuple, TypeVar

__all__ = ["SLICE_ROWS", "Bounds", "Fetch", "Sorter", "Steps"]

SLICE_ROWS: Final = 64
"""Rows handed over at a time; whoever takes them may need a look-up for each."""

_LENGTH: Final = Struct(">I")

_Result = TypeVar("_Result")


class Bounds(NamedTuple):
    """What is held and done at a time.

    Attributes:
        chunk_rows: rows sorted at once: about 0.5 ms.
        chunk_bytes: bytes gathered before they are sorted, so that long rows do not take much.
        run_chunks: chunks in a run, a power of two. Merging the halves of a run, which Python's
            sort does at once when it finds two sorted stretches, takes about 1 ms.
        runs: runs merged at a time; that many buffers are held.
        read_bytes: what is asked for of one run at a time.
    """

    chunk_rows: int = 2048
    chunk_bytes: int = 256 * 1024
    run_chunks: int = 8
    runs: int = 64
    read_bytes: int = 16 * 1024


class Fetch(NamedTuple):
    """Send in these bytes of the scratch file, or what there is of them."""

    offset: int
    size: int


Steps = Generator[Fetch | None, bytes, _Result]
"""Work in slices: yields None at the end of each, or asks for bytes of the scratch file."""

Give = Callable[[list[bytes]], Steps[None]]
"""Takes the next sorted rows."""


class Sorter:
    """Takes rows in any order and gives them back sorted, equal ones as often as they came.

    Call `add`, and go through `settle` whenever it says so; at last go through `finish`.

    Attributes:
        waiting: bytes that `take` would give.

    Args:
        bounds: what is held and done at a time.
    """

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._chunk: list[bytes] = []
        self._size = 0
        self._sorted: list[list[bytes]] = []
        self._weights: list[int] = []
        self._runs: list[list[_Run]] = []
        self._pieces: list[bytes] = []
        self._end = 0
        self.waiting = 0

    def add(self, row: bytes) -> bool:
        """Take a row; True if `settle` is due."""
        self._chunk.append(row)
        self._size += len(row)
        bounds = self._bounds
        return len(self._chunk) >= bounds.chunk_rows or self._size >= bounds.chunk_bytes

    def take(self) -> bytes:
        """Give what is to be written behind the scratch file."""
        data = b"".join(self._pieces)
        self._pieces = []
        self.waiting = 0
        return data

    def settle(self) -> Steps[None]:
        """Sort what was gathered, and make a run of it when there is enough."""
        chunk = self._chunk
        chunk.sort()
        self._chunk = []
        self._size = 0
        yield None
        weight = 1
        while self._weights and self._weights[-1] == weight:
            chunk = yield from self._merge_last(chunk)
            weight *= 2
        if weight < self._bounds.run_chunks:
            self._sorted.append(chunk)
            self._weights.append(weight)
            return
        yield from self._add_run(0, (yield from self._write(chunk)))

    def finish(self, give: Give) -> Steps[None]:
        """Give all rows in order, at most `SLICE_ROWS` at a time."""
        rows = self._chunk
        rows.sort()
        self._chunk = []
        while self._sorted:
            yield None
            rows = yield from self._merge_last(rows)
        if not self._runs:
            for start in range(0, len(rows), SLICE_ROWS):
                yield from give(rows[start : start + SLICE_ROWS])
            return
        last = yield from self._write(rows)
        runs = [*(run for level in reversed(self._runs) for run in level), last]
        self._runs = []
        most = self._bounds.runs
        while len(runs) > most:
            runs.append((yield from self._merge_to_run(runs[-most:])))
            del runs[-most - 1 : -1]
        yield from _merge(runs, give)

    def _merge_last(self, rows: list[bytes]) -> Steps[list[bytes]]:
        rows = self._sorted.pop() + rows
        self._weights.pop()
        rows.sort()
        yield None
        return rows

    def _add_run(self, level: int, run: _Run) -> Steps[None]:
        """Add a run to those of its size, and merge them into one when they are many."""
        if level == len(self._runs):
            self._runs.append([])
        runs = self._runs[level]
        runs.append(run)
        if len(runs) == self._bounds.runs:
            self._runs[level] = []
            yield from self._add_run(level + 1, (yield from self._merge_to_run(runs)))

    def _merge_to_run(self, runs: list[_Run]) -> Steps[_Run]:
        start = self._end
        yield from _merge(runs, self._put)
        return _Run(start, self._end, self._bounds.read_bytes)

    def _write(self, rows: list[bytes]) -> Steps[_Run]:
        start = self._end
        for first in range(0, len(rows), 4 * SLICE_ROWS):
            yield from self._put(rows[first : first + 4 * SLICE_ROWS])
        return _Run(start, self._end, self._bounds.read_bytes)

    def _put(self, rows: list[bytes]) -> Steps[None]:
        pack = _LENGTH.pack
        data = b"".join([part for row in rows for part in (pack(len(row)), row)])
        self._pieces.append(data)
        self._end += len(data)
        self.waiting += len(data)
        yield None


class _Run:
    """A sorted stretch of the scratch file, read from its beginning to its end.

    Attributes:
        rows: those that were read and not used, the last one first.
    """

    __slots__ = ("_end", "_offset", "_read_bytes", "_rest", "rows")

    def __init__(self, start: int, end: int, read_bytes: int) -> None:
        self._read_bytes = read_bytes
        self._offset = start
        self._end = end
        self._rest = b""
        self.rows: list[bytes] = []

    def read(self) -> Steps[None]:
        """Read the next rows, if there are any."""
        wanted = self._read_bytes
        while not self.rows and self._offset < self._end:
            size = min(wanted, self._end - self._offset)
            data = yield Fetch(self._offset, size)
            assert data, "what was written can be read"
            self._offset += len(data)
            wanted = self._split(self._rest + data)

    def _split(self, data: bytes) -> int:
        """Cut rows out of `data`; gives the bytes that the next one wants, if it is long."""
        rows = []
        start = 0
        end = len(data)
        wanted = self._read_bytes
        while start + _LENGTH.size <= end:
            length: int = _LENGTH.unpack_from(data, start)[0]
            stop = start + _LENGTH.size + length
            if stop > end:
                wanted = max(wanted, stop - end)
                break
            rows.append(data[start + _LENGTH.size : stop])
            start = stop
        self._rest = data[start:]
        rows.reverse()
        self.rows = rows
        return wanted


def _merge(runs: list[_Run], give: Give) -> Steps[None]:
    heap: list[tuple[bytes, int]] = []
    for number, run in enumerate(runs):
        yield from run.read()
        if run.rows:
            heap.append((run.rows.pop(), number))
    heapify(heap)
    batch: list[bytes] = []
    while heap:
        row, number = heap[0]
        batch.append(row)
        run = runs[number]
        if not run.rows:
            yield from run.read()
        if run.rows:
            heapreplace(heap, (run.rows.pop(), number))
        else:
            heappop(heap)
        if len(batch) == SLICE_ROWS:
            yield from give(batch)
            batch = []
    if batch:
        yield from give(batch)
