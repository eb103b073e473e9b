"""A half-open interval of keys, with etcd's zero-byte conventions for its end.

Used by range reads, deletes, compares, watches and permissions alike, so that the conventions
are written once.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["KeyRange", "prefix_end"]


class KeyRange(NamedTuple):
    """The keys from `start` up to but without `end`; `end` of None means "no upper bound"."""

    start: bytes
    end: bytes | None

    @classmethod
    def from_wire(cls, key: bytes, range_end: bytes) -> KeyRange:
        r"""Read etcd's pair: no `range_end` is the one key, ``\0`` is "from key on".

        Both ``\0`` is every key there is; an empty stored key does not exist, so starting at
        ``\0`` loses nothing.
        """
        if not range_end:
            return cls(key, key + b"\0")
        if range_end == b"\0":
            return cls(key, None)
        return cls(key, range_end)

    @property
    def single(self) -> bytes | None:
        """The one key of the interval, or None if it may hold more than one."""
        end = self.end
        if end is not None and len(end) == len(self.start) + 1 and end == self.start + b"\0":
            return self.start
        return None

    @property
    def empty(self) -> bool:
        """Whether no key can lie within."""
        return self.end is not None and self.end <= self.start

    def __contains__(self, key: object) -> bool:
        return isinstance(key, bytes) and key >= self.start and (self.end is None or key < self.end)

    def covers(self, other: KeyRange) -> bool:
        """Whether every key of `other` lies within this interval."""
        if other.start < self.start:
            return False
        if self.end is None:
            return True
        return other.end is not None and other.end <= self.end

    def overlaps(self, other: KeyRange) -> bool:
        """Whether some key could lie within both."""
        return (self.end is None or other.start < self.end) and (
            other.end is None or self.start < other.end
        )


def prefix_end(prefix: bytes) -> bytes:
    r"""Give the `range_end` that asks for every key beginning with `prefix` (``\0`` if all)."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return b"\0"
    return stripped[:-1] + bytes((stripped[-1] + 1,))
