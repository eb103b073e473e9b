"""How a member runs: etcd's settings with etcd's defaults, and the bounds of what waits inside."""

from __future__ import annotations

from dataclasses import dataclass

from trioetcd.lease import CHECKPOINT_SECONDS

__all__ = ["ReplicaConfig"]


@dataclass(frozen=True, slots=True)
class ReplicaConfig:
    """Settings that do not change while a member runs.

    Attributes:
        name: the member's name, told to the cluster.
        client_urls: where clients reach it, told to the cluster.
        heartbeat_seconds: the length of a tick (``--heartbeat-interval``).
        election_seconds: the election timeout (``--election-timeout``).
        snapshot_count: entries applied between two truncations of the log.
        catch_up_entries: applied entries kept for members that lag.
        log_bytes_max: size of the log at which applied entries go whatever their number; etcd has
            no such bound, and 15 000 entries of 1.5 MB are 22 GB. A start reads and checks all
            of it, so the bound also keeps a restart short.
        gap_max: how far commit may run ahead of applied before proposals are refused (etcd: 5000).
        proposals_max: entries that may be under way at all, so that a slow disk does not fill the
            memory.
        proposal_bytes_max: bytes of entries that may wait for the disk, likewise.
        batch_bytes_max: bytes of entries in one batch.
        append_bytes_max: bytes of entries in one message to another member.
        inflight_max: messages with entries that may wait for one member's answer.
        flush_seconds: how long applied effects wait for a batch to ride in.
        flush_bytes: how many of them (roughly) do not wait.
        strict_reconfig: whether a change of members that would endanger the quorum is refused
            (``--strict-reconfig-check``).
        slices_per_step: how many slices of a long entry, or of compaction, one step does when the
            driver gives no measure of time; a slice is about 512 rows.
        checkpoint_seconds: how often a leader writes down what long leases have left.
        compaction_rows: rows of physical compaction in one slice.
    """

    name: str
    client_urls: tuple[str, ...] = ()
    heartbeat_seconds: float = 0.1
    election_seconds: float = 1.0
    snapshot_count: int = 10_000
    catch_up_entries: int = 5_000
    log_bytes_max: int = 32 << 20
    gap_max: int = 5_000
    proposals_max: int = 20_000
    proposal_bytes_max: int = 64 << 20
    batch_bytes_max: int = 4 << 20
    append_bytes_max: int = 1 << 20
    inflight_max: int = 256
    flush_seconds: float = 0.010
    flush_bytes: int = 1 << 20
    strict_reconfig: bool = True
    slices_per_step: int = 4
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    compaction_rows: int = 256

    @property
    def election_ticks(self) -> int:
        """The election timeout in ticks."""
        return max(1, round(self.election_seconds / self.heartbeat_seconds))

    @property
    def request_seconds(self) -> float:
        """How long a request waits for its outcome: five seconds and two elections (etcd)."""
        return 5.0 + 2 * self.election_seconds
