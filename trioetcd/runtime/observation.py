"""Hangs a member's state on its gauges, so that nothing is counted twice and nothing on the way.

What can be read when Prometheus asks is read then; what must be counted is counted where it
happens. Here stands which gauge reads what.
"""

from __future__ import annotations

from collections.abc import Callable

from trioetcd.cluster import CLUSTER_VERSION
from trioetcd.keyrange import KeyRange
from trioetcd.runtime.metrics import Metrics
from trioetcd.runtime.prometheus import Counter, Gauge
from trioetcd.runtime.server import Server
from trioetcd.schema import messages
from trioetcd.values import SERVER_VERSION

__all__ = ["observe"]

EVERYTHING = KeyRange(b"", None)


def observe(server: Server, metrics: Metrics) -> None:
    """Let the gauges of `metrics` read the state of `server`."""
    replica = server.replica
    store = server.store
    lessor = server.lessor
    sessions = server.hub.sessions
    lessor.note_granted = metrics.debugging_lease_ttl_total.observe
    reads: dict[Counter | Gauge, Callable[[], float]] = {
        metrics.server_has_leader: lambda: int(bool(replica.leader)),
        metrics.server_is_learner: lambda: int(server.is_learner),
        metrics.server_is_leader: lambda: int(replica.leader == replica.member_id),
        metrics.server_leader_changes_seen_total: lambda: replica.statistics().leaders,
        metrics.server_proposals_failed_total: lambda: replica.statistics().proposals_failed,
        metrics.server_read_indexes_failed_total: lambda: replica.statistics().reads_failed,
        metrics.server_slow_read_indexes_total: lambda: replica.statistics().reads_unanswered,
        metrics.server_proposals_committed_total: lambda: replica.commit_index,
        metrics.server_proposals_applied_total: lambda: replica.applied_index,
        metrics.server_proposals_pending: lambda: replica.statistics().pending,
        metrics.server_quota_backend_bytes: lambda: server.limits.quota_bytes,
        metrics.mvcc_db_total_size_in_bytes: lambda: server.disk.size().total,
        metrics.mvcc_db_total_size_in_use_in_bytes: lambda: server.disk.size().in_use,
        metrics.debugging_auth_revision: lambda: replica.auth.revision,
        metrics.debugging_mvcc_keys_total: lambda: store.count(EVERYTHING),
        metrics.debugging_mvcc_current_revision: lambda: store.revision,
        metrics.debugging_mvcc_compact_revision: lambda: store.compact_revision,
        metrics.debugging_mvcc_watch_stream_total: lambda: len(sessions),
        metrics.debugging_mvcc_watcher_total: lambda: sum(each.watchers for each in sessions),
        metrics.debugging_mvcc_slow_watcher_total: lambda: sum(each.lagging for each in sessions),
        metrics.debugging_lease_granted_total: lambda: lessor.granted_total,
        metrics.debugging_lease_revoked_total: lambda: lessor.revoked_total,
        metrics.debugging_lease_renewed_total: lambda: lessor.renewed_total,
        metrics.debugging_server_lease_expired_total: lambda: lessor.expired_total,
    }
    for series, read in reads.items():
        series.read = read
    alarms = metrics.debugging_server_alarms

    def count_alarms() -> None:
        for each in alarms.series.values():
            each.value = 0  # as with etcd, an alarm that was raised once stays in the list
        for kind, member in server.alarms.get():
            alarms.labels(f"{member:x}", messages.AlarmType.Name(kind)).value = 1

    alarms.refresh = count_alarms
    metrics.server_id.labels(f"{replica.member_id:x}").value = 1
    metrics.server_version.labels(SERVER_VERSION).value = 1
    metrics.cluster_version.labels(CLUSTER_VERSION).value = 1
