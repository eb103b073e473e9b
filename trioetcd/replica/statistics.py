"""What waits inside a member, for metrics and health."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ReplicaStatistics"]


@dataclass(frozen=True, slots=True)
class ReplicaStatistics:
    """What waits inside, for metrics and health.

    Attributes:
        pending: proposals whose outcome somebody waits for.
        reads: linearizable reads that wait.
        unapplied: entries in the log that are not applied yet.
        waiting_bytes: bytes of entries that wait for a batch.
        overlay_rows: rows that are applied and not durable yet.
        log_bytes: size of the log on the disk.
        batches: number of the latest batch.
    """

    pending: int
    reads: int
    unapplied: int
    waiting_bytes: int
    overlay_rows: int
    log_bytes: int
    batches: int
