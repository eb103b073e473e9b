"""What is thrown away, and when: old log entries, old links of the batch chain.

Both go in small portions that ride in batches written anyway, so that no batch grows long because
of what it deletes.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from trioetcd.replica.config import ReplicaConfig
from trioetcd.replica.rows import (
    CHAIN_BYTES_KEPT,
    GroupBounds,
    Recovered,
    chain_key,
    group_key,
)
from trioetcd.values import Index

__all__ = ["Housekeeping"]

GROUPS_PER_BATCH: Final = 128
"""Groups deleted with one batch; a batch adds one or two, so the rest is caught up with fast."""

LINKS_PER_BATCH: Final = 64
"""Links deleted with one batch, likewise."""

MARK_BYTES: Final = CHAIN_BYTES_KEPT // 32
"""How finely the chain's positions are remembered."""


class Housekeeping:
    """Knows which groups and links are on the disk and which of them may go.

    Attributes:
        first: the first index of the log that is kept; always where a group begins.
        log_bytes: the bytes of the kept groups.
        chain_first: the oldest kept link.
        position: the bytes of all batches so far.

    Args:
        recovered: what was found at the start.
        config: how many entries are applied between two truncations of the log, how many of them
            are kept for members that lag, and the size at which they go whatever their number.
    """

    def __init__(self, recovered: Recovered, config: ReplicaConfig) -> None:
        self.first = recovered.first
        self.log_bytes = sum(bounds.size for bounds in recovered.bounds)
        self.chain_first = recovered.chain_first
        self.position = recovered.chain_bytes
        self._groups = deque(recovered.bounds)
        self._target = recovered.first
        self._marks = deque(recovered.chain_marks)
        self._snapshot_count = config.snapshot_count
        self._catch_up_entries = config.catch_up_entries
        self._log_bytes_max = config.log_bytes_max

    def group_written(self, first: Index, size: int) -> None:
        """Note that a group is part of the batch being cut."""
        self._groups.append(GroupBounds(first, size))
        self.log_bytes += size

    def drop_groups(self, rows: dict[bytes, bytes | None], first: Index) -> None:
        """Delete, in the batch being cut, the groups from `first` on: a conflict voided them."""
        groups = self._groups
        while groups and groups[-1].first >= first:
            gone = groups.pop()
            rows[group_key(gone.first)] = None
            self.log_bytes -= gone.size

    def restart(self, rows: dict[bytes, bytes | None], first: Index) -> None:
        """Delete, in the batch being cut, all groups: the log begins anew at `first`."""
        self.drop_groups(rows, Index(0))
        self.first = self._target = first

    def retire_groups(self, rows: dict[bytes, bytes | None], applied: Index) -> Index:
        """Delete, in the batch being cut, groups that are no longer needed.

        A group goes only when all of it has been applied by this very batch or an earlier one: a
        restart begins at the applied index and needs what lies above it.

        Returns:
            The first index that is kept.
        """
        groups = self._groups
        if applied - self.first + 1 >= self._snapshot_count + self._catch_up_entries:
            self._target = Index(applied - self._catch_up_entries + 1)
        oversize = self.log_bytes > self._log_bytes_max
        if self.first >= self._target and not oversize:
            return self.first
        for _ in range(GROUPS_PER_BATCH):
            # The last group always stays: its successor is not known to begin anywhere yet.
            if len(groups) < 2:
                break
            following = groups[1].first
            if following > applied + 1 or not (oversize or following <= self._target):
                break
            gone = groups.popleft()
            rows[group_key(gone.first)] = None
            self.log_bytes -= gone.size
            self.first = following
            oversize = self.log_bytes > self._log_bytes_max
        return self.first

    def retire_links(self, rows: dict[bytes, bytes | None]) -> int:
        """Delete, in the batch being cut, links that lie more than two memtables back.

        Returns:
            The oldest link that is kept.
        """
        marks = self._marks
        while len(marks) > 1 and self.position - marks[1][1] > CHAIN_BYTES_KEPT:
            marks.popleft()
        oldest = marks[0][0]
        if self.chain_first < oldest:
            upto = min(oldest, self.chain_first + LINKS_PER_BATCH)
            for number in range(self.chain_first, upto):
                rows[chain_key(number)] = None
            self.chain_first = upto
        return self.chain_first

    def batch_cut(self, number: int, size: int) -> int:
        """Note the size of a batch; give the position after it."""
        self.position += size
        if self.position - self._marks[-1][1] >= MARK_BYTES:
            self._marks.append((number, self.position))
        return self.position
