"""What waits inside a member, and what waited in vain, for metrics and health."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ReplicaStatistics"]


@dataclass(frozen=True, slots=True)
class ReplicaStatistics:
    """What waits inside, and what did so in vain, for metrics and health.

    Attributes:
        pending: proposals whose outcome somebody waits for.
        reads: linearizable reads that wait.
        unapplied: entries in the log that are not applied yet.
        waiting_bytes: bytes of entries that wait for a batch.
        overlay_rows: rows that are applied and not durable yet.
        log_bytes: size of the log on the disk.
        batches: number of the latest batch.
        leaders: how often a leader has come to be known.
        proposals_failed: proposals that were given up.
        reads_failed: linearizable reads that were given up.
        reads_unanswered: those among them that no leader answered, though none came meanwhile.
    """

    pending: int
    reads: int
    unapplied: int
    waiting_bytes: int
    overlay_rows: int
    log_bytes: int
    batches: int
    leaders: int
    proposals_failed: int
    reads_failed: int
    reads_unanswered: int
