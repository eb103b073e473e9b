"""Entries that are on the disk only, for members that lag: the stored groups, read back."""

from __future__ import annotations

from trioetcd.ports import BackendError, ReadView
from trioetcd.raft import CorruptGroupError, Group, decode_group
from trioetcd.replica.rows import group_key
from trioetcd.values import Index

__all__ = ["StoredGroups"]


class StoredGroups:
    """`raft.Archive` over the rows of the log.

    Attributes:
        first: the first index that is kept, where a group begins; no scan begins below it, for
            there lie the remains of deleted rows.

    Args:
        rows: where they lie.
        first: see there.
    """

    def __init__(self, rows: ReadView, first: Index) -> None:
        self.first = first
        self._rows = rows

    def groups(self, first: Index, size: int, /) -> list[Group]:
        """Read groups in order, from the one that holds `first` on: about `size` bytes.

        Raises:
            BackendError: what is stored there is not what was written.
        """
        holder = next(self._rows.scan_back(group_key(self.first), group_key(first + 1)), None)
        if holder is None:
            raise BackendError(f"the log has no group that holds index {first}")
        groups: list[Group] = []
        for key, value in self._rows.scan(holder[0], group_key(2**64 - 1)):
            try:
                group = decode_group(value)
            except CorruptGroupError as error:
                where = int.from_bytes(key[1:], "big")
                raise BackendError(f"the log is damaged at index {where}: {error}") from error
            groups.append(group)
            size -= len(value)
            if size <= 0:
                break
        return groups
