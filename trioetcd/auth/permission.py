r"""Which keys a user may read and write: unions of intervals, asked for every request.

What several permissions allow together counts (etcd merges them): ``[a, m)`` and ``[m, z)`` allow
a range from ``b`` to ``y``. Overlapping and touching intervals are made one, so that a question
is one bisection.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from trioetcd.auth.user import READ, READWRITE, WRITE, Permission
from trioetcd.keyrange import KeyRange

__all__ = ["KeySet", "Rights"]

_READING: Final = frozenset({READ, READWRITE})
_WRITING: Final = frozenset({WRITE, READWRITE})


class KeySet:
    """A union of intervals of keys.

    Args:
        intervals: in any order; they may overlap, and empty ones add nothing.
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self, intervals: Iterable[KeyRange]) -> None:
        starts: list[bytes] = []
        ends: list[bytes | None] = []
        for keys in sorted((keys for keys in intervals if not keys.empty), key=_start):
            last = ends[-1] if ends else b""
            if starts and (last is None or keys.start <= last):
                if last is not None and (keys.end is None or keys.end > last):
                    ends[-1] = keys.end
            else:
                starts.append(keys.start)
                ends.append(keys.end)
        self._starts = starts
        self._ends = ends

    def covers(self, keys: KeyRange) -> bool:
        """Whether every key of an interval is in the set.

        Where an interval that holds no key begins must be in the set all the same, as in etcd.
        """
        at = bisect_right(self._starts, keys.start) - 1
        if at < 0:
            return False
        end = self._ends[at]
        if end is None:
            return True
        return keys.start < end and keys.end is not None and keys.end <= end

    def intervals(self) -> list[KeyRange]:
        """Give what the set is made of: sorted, disjoint, not touching."""
        return [KeyRange(*pair) for pair in zip(self._starts, self._ends, strict=True)]


class Rights:
    """What the permissions of all roles of one user allow together.

    Attributes:
        reading: the keys that may be read.
        writing: the keys that may be written.
    """

    __slots__ = ("reading", "writing")

    def __init__(self, permissions: Iterable[Permission]) -> None:
        known = list(permissions)
        self.reading = KeySet(each.keys for each in known if each.kind in _READING)
        self.writing = KeySet(each.keys for each in known if each.kind in _WRITING)


def _start(keys: KeyRange) -> bytes:
    return keys.start
