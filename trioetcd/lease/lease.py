"""A lease's rows: table ``L`` holds each lease's time to live, table ``l`` the keys on it.

=====  ===============  ============================================
table  key              value
=====  ===============  ============================================
``L``  lease            granted seconds, remaining seconds or 0
``l``  lease, key       nothing
=====  ===============  ============================================

A lease itself is a number; there is no object per lease, because there may be very many.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from trioetcd.ports import ReadView

__all__ = ["LEASE_TTL_MAX", "Tables", "pack_ttl", "read_leases", "unpack_ttl"]

LEASE_TTL_MAX: Final = 9_000_000_000
"""The longest time to live that may be granted, in seconds (etcd)."""

_ID: Final = Struct(">q")
_TTL: Final = Struct(">qq")


class Tables:
    """The prefixes of one epoch's tables."""

    __slots__ = ("keys", "leases", "leases_end")

    def __init__(self, epoch: bytes) -> None:
        assert len(epoch) == 1
        self.keys = epoch + b"l"
        self.leases = epoch + b"L"
        self.leases_end = epoch + b"M"

    def lease_row(self, lease: int) -> bytes:
        """Give the key of a lease's own row."""
        return self.leases + _ID.pack(lease)

    def lease_of(self, raw: bytes) -> int:
        """Read the lease from the key of its row."""
        lease: int = _ID.unpack_from(raw, len(self.leases))[0]
        return lease

    def keys_prefix(self, lease: int) -> bytes:
        """Give what the rows of a lease's keys begin with."""
        return self.keys + _ID.pack(lease)

    def keys_end(self, lease: int) -> bytes:
        """Give the first raw key behind the rows of a lease's keys."""
        prefix = self.keys_prefix(lease)
        return (int.from_bytes(prefix, "big") + 1).to_bytes(len(prefix), "big")


def read_leases(view: ReadView, epoch: bytes) -> Iterator[tuple[int, int, int]]:
    """Go through table ``L`` of an epoch: lease, seconds granted, seconds remaining or 0."""
    tables = Tables(epoch)
    for raw, value in view.scan(tables.leases, tables.leases_end):
        yield tables.lease_of(raw), *unpack_ttl(value)


def pack_ttl(granted: int, remaining: int) -> bytes:
    """Make the value of a lease's row; `remaining` of 0 means the full time."""
    return _TTL.pack(granted, remaining)


def unpack_ttl(value: bytes) -> tuple[int, int]:
    """Read what `pack_ttl` made."""
    granted, remaining = _TTL.unpack(value)
    return granted, remaining
