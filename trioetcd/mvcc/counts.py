"""How many keys live in an interval, without walking it: a sparse directory of blocks.

A block is a stretch of at most `BLOCK_KEYS` keys; the directory (table ``n``) holds each block's
first key and its number of keys. It is the only thing here that grows with the number of keys,
by one entry per 256 to 512 of them. An interval's count is a sum over the blocks within and two
walks over the blocks at its edges.

The directory depends only on the order of changes, so that members hold equal rows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

from trioetcd.keyrange import KeyRange
from trioetcd.mvcc.layout import ONE, Tables
from trioetcd.ports import Space

__all__ = ["BLOCK_KEYS", "Counts"]

BLOCK_KEYS: Final = 512
"""The most keys a block may hold; an edge block costs one walk over it (0.36 ms)."""

MERGE_KEYS: Final = 64
"""A block with fewer keys is joined to a neighbour, if both together stay below `JOINED_KEYS`."""

JOINED_KEYS: Final = 384
"""Well below `BLOCK_KEYS`, so that a block just joined is not split by the next keys."""

_pack = ONE.pack


class Counts:
    """The directory, kept in memory and in table ``n``.

    Args:
        space: where table ``n`` is written and table ``c`` is read.
        tables: the prefixes of the epoch in use.
    """

    def __init__(self, space: Space, tables: Tables) -> None:
        self._space = space
        self._prefix = tables.counts
        self._current = tables.current
        self._current_end = tables.current_end
        self.starts: list[bytes] = []
        self.numbers: list[int] = []
        skip = len(tables.counts)
        for raw, value in space.scan(tables.counts, tables.counts_end):
            self.starts.append(raw[skip:])
            self.numbers.append(ONE.unpack(value)[0])
        if not self.starts:
            self.starts.append(b"")
            self.numbers.append(0)
        assert not self.starts[0], "the first block starts before every key"

    @property
    def total(self) -> int:
        """The number of keys there are."""
        return sum(self.numbers)

    def add(self, key: bytes) -> None:
        """Count one key more; its ``c`` row has been written."""
        block = bisect_right(self.starts, key) - 1
        number = self.numbers[block] + 1
        self.numbers[block] = number
        if number > BLOCK_KEYS:
            self._split(block)
        else:
            self._space.put(self._prefix + self.starts[block], _pack(number))

    def remove(self, key: bytes) -> None:
        """Count one key less; its ``c`` row has been deleted."""
        block = bisect_right(self.starts, key) - 1
        number = self.numbers[block] - 1
        assert number >= 0, "a key was deleted that was never counted"
        self.numbers[block] = number
        if number < MERGE_KEYS and self._merge(block):
            return
        self._space.put(self._prefix + self.starts[block], _pack(number))

    def block_of(self, key: bytes) -> int:
        """Give the number of the block `key` belongs to, valid until the next change."""
        return bisect_right(self.starts, key) - 1

    def change(self, changes: dict[int, int]) -> None:
        """Add to the blocks named by `block_of` all at once; the ``c`` rows have been written."""
        touched = sorted(changes)
        for block in touched:
            number = self.numbers[block] + changes[block]
            assert number >= 0, "a key was deleted that was never counted"
            self.numbers[block] = number
            self._space.put(self._prefix + self.starts[block], _pack(number))
        # From the last to the first: splitting and joining moves only the blocks behind.
        for block in reversed(touched):
            number = self.numbers[block]
            if number > BLOCK_KEYS:
                self._split(block)
            elif number < MERGE_KEYS:
                self._merge(block)

    def count(self, keys: KeyRange) -> int:
        """Give how many keys of table ``c`` lie in the interval."""
        start, end = keys
        if end is not None and end <= start:
            return 0
        starts = self.starts
        numbers = self.numbers
        first = bisect_right(starts, start) - 1
        last = len(starts) - 1 if end is None else bisect_left(starts, end) - 1
        # No key is empty, so starting at zero loses nothing of the first block.
        whole_first = start == starts[first] or (first == 0 and start <= b"\0")
        whole_last = end is None or (last + 1 < len(starts) and end == starts[last + 1])
        if first == last:
            if whole_first and whole_last:
                return numbers[first]
            return self._walk(start, end)
        total = sum(numbers[first + 1 : last])
        total += numbers[first] if whole_first else self._walk(start, starts[first + 1])
        total += numbers[last] if whole_last else self._walk(starts[last], end)
        return total

    def _walk(self, start: bytes, end: bytes | None) -> int:
        stop = self._current_end if end is None else self._current + end
        return sum(1 for _ in self._space.scan(self._current + start, stop))

    def _split(self, block: int) -> None:
        starts = self.starts
        end = starts[block + 1] if block + 1 < len(starts) else None
        stop = self._current_end if end is None else self._current + end
        skip = len(self._current)
        start = starts[block]
        keys = [raw[skip:] for raw, _ in self._space.scan(self._current + start, stop)]
        assert len(keys) == self.numbers[block], "the directory and the keys disagree"
        pieces = max(2, -(-len(keys) // BLOCK_KEYS))
        size = -(-len(keys) // pieces)
        firsts = [start, *(keys[at] for at in range(size, len(keys), size))]
        sizes = [min(size, len(keys) - at) for at in range(0, len(keys), size)]
        starts[block : block + 1] = firsts
        self.numbers[block : block + 1] = sizes
        for first, number in zip(firsts, sizes, strict=True):
            self._space.put(self._prefix + first, _pack(number))

    def _merge(self, block: int) -> bool:
        """Join a small block to a neighbour, the left one first."""
        numbers = self.numbers
        if block > 0 and numbers[block - 1] + numbers[block] <= JOINED_KEYS:
            block -= 1
        elif block + 1 >= len(numbers) or numbers[block] + numbers[block + 1] > JOINED_KEYS:
            return False
        number = numbers[block] + numbers[block + 1]
        gone = self.starts[block + 1]
        del self.starts[block + 1]
        del numbers[block + 1]
        numbers[block] = number
        self._space.delete(self._prefix + gone)
        self._space.put(self._prefix + self.starts[block], _pack(number))
        return True
