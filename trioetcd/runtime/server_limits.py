"""The limits of a member that a user may set."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ServerLimits"]


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The limits a user may set (etcd's flags of the same names).

    Attributes:
        request_bytes_max: largest command (`--max-request-bytes`).
        txn_operations_max: most operations in a txn (`--max-txn-ops`).
        quota_bytes: database size that raises NOSPACE; 0 or less is no quota.
        progress_seconds: idle time after which a watch that asked is told the revision.
        strict_reconfig_check: whether changes of members that could lose the quorum are refused
            (`--strict-reconfig-check`).
        learners_max: most learners in the cluster (`--max-learners`).
    """

    request_bytes_max: int = 1_572_864
    txn_operations_max: int = 128
    quota_bytes: int = 2 * 1024**3
    progress_seconds: float = 600.0
    strict_reconfig_check: bool = True
    learners_max: int = 1
