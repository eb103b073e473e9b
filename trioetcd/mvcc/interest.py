"""Who wants which key: exact keys in a dict, intervals cut into segments.

The key space is cut at every interval's start and end; each segment knows the intervals that
cover it, so finding all who want a key is one dict look-up and one bisection, however many
intervals there are. Adding or removing an interval touches the segments it covers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Generic, TypeVar

from trioetcd.keyrange import KeyRange

__all__ = ["Interests"]

T = TypeVar("T")


class Interests(Generic[T]):
    """A value for each of many intervals, found by any key within.

    Args:
        make: makes the value of an interval that is new.
    """

    __slots__ = ("_bounds", "_by_key", "_covers", "_make", "_ranges", "_uses")

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._by_key: dict[bytes, T] = {}
        self._ranges: dict[KeyRange, T] = {}
        # Segment i is bounds[i] <= key < bounds[i + 1]; the last one is open.
        self._bounds: list[bytes] = [b""]
        self._covers: list[tuple[T, ...]] = [()]
        self._uses: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._by_key) + len(self._ranges)

    def obtain(self, keys: KeyRange) -> T:
        """Give the value of an interval that is not empty, made if need be."""
        key = keys.single
        value: T | None
        if key is not None:
            value = self._by_key.get(key)
            if value is None:
                value = self._by_key[key] = self._make()
            return value
        value = self._ranges.get(keys)
        if value is None:
            value = self._ranges[keys] = self._make()
            self._cover(keys, value)
        return value

    def drop(self, keys: KeyRange) -> None:
        """Forget an interval and its value."""
        key = keys.single
        if key is not None:
            del self._by_key[key]
            return
        value = self._ranges.pop(keys)
        first, last = self._segments(keys)
        covers = self._covers
        for at in range(first, last):
            covers[at] = tuple([other for other in covers[at] if other is not value])
        self._release(keys.start)
        if keys.end is not None:
            self._release(keys.end)

    def at(self, key: bytes) -> tuple[T, ...]:
        """Give the values of all intervals that hold `key`."""
        found = self._covers[bisect_right(self._bounds, key) - 1]
        value = self._by_key.get(key)
        return found if value is None else (value, *found)

    def _cover(self, keys: KeyRange, value: T) -> None:
        self._cut(keys.start)
        if keys.end is not None:
            self._cut(keys.end)
        first, last = self._segments(keys)
        covers = self._covers
        for at in range(first, last):
            covers[at] += (value,)

    def _segments(self, keys: KeyRange) -> tuple[int, int]:
        first = bisect_left(self._bounds, keys.start)
        if keys.end is None:
            return first, len(self._bounds)
        return first, bisect_left(self._bounds, keys.end)

    def _cut(self, bound: bytes) -> None:
        self._uses[bound] = self._uses.get(bound, 0) + 1
        at = bisect_left(self._bounds, bound)
        if at == len(self._bounds) or self._bounds[at] != bound:
            self._bounds.insert(at, bound)
            self._covers.insert(at, self._covers[at - 1])

    def _release(self, bound: bytes) -> None:
        uses = self._uses[bound] - 1
        if uses:
            self._uses[bound] = uses
            return
        del self._uses[bound]
        if bound:
            at = bisect_left(self._bounds, bound)
            del self._bounds[at]
            del self._covers[at]
