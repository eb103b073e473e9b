"""The table of all series: etcd's names, types, labels and buckets, and a few of our own.

One attribute per family, named as the metric without its ``etcd_``. Dashboards and alerts
written for etcd read these names; a family that etcd has and that means nothing here (the Go
runtime, the v2 store's actions, bolt's rebalancing) is left out. What is counted where is the
business of `trioetcd.runtime.metrics` and of the owners of the things counted.
"""
# ruff: noqa: RUF009 # each call makes a dataclass field, with a factory of its own

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from trioetcd.runtime.family import counter as _counter
from trioetcd.runtime.family import counters as _counters
from trioetcd.runtime.family import gauge as _gauge
from trioetcd.runtime.family import gauges as _gauges
from trioetcd.runtime.family import histogram as _histogram
from trioetcd.runtime.family import histograms as _histograms
from trioetcd.runtime.prometheus import (
    Counter,
    Gauge,
    Histogram,
    Labelled,
    exponential_buckets,
)
from trioetcd.runtime.tls_families import TlsFamilies

__all__ = ["Families"]

_COARSE: Final = exponential_buckets(0.001, 2, 14)
_FINE: Final = exponential_buckets(0.0001, 2, 20)
_PEER: Final = exponential_buckets(0.0001, 2, 16)
_SNAPSHOT: Final = exponential_buckets(0.1, 2, 10)
_DEFRAG: Final = exponential_buckets(0.1, 2, 13)
_BACKUP: Final = exponential_buckets(0.01, 2, 17)
_HASH: Final = exponential_buckets(0.01, 2, 15)
_PAUSE: Final = exponential_buckets(1, 2, 13)
_COMPACTION: Final = exponential_buckets(100, 2, 14)
_INDEX: Final = exponential_buckets(0.5, 2, 14)
_TTL: Final = exponential_buckets(1, 2, 24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Families(TlsFamilies):
    """Every family but those of calls, each at zero."""

    # The member.
    server_has_leader: Gauge = _gauge(
        "etcd_server_has_leader", "Whether a leader is known: 1 or 0."
    )
    server_is_leader: Gauge = _gauge(
        "etcd_server_is_leader", "Whether this member is the leader: 1 or 0."
    )
    server_is_learner: Gauge = _gauge(
        "etcd_server_is_learner", "Whether this member is a learner: 1 or 0."
    )
    server_id: Labelled[Gauge] = _gauges(
        "etcd_server_id", "This member's id in hexadecimal, as a label.", "server_id"
    )
    server_version: Labelled[Gauge] = _gauges(
        "etcd_server_version", "The version served, as a label.", "server_version"
    )
    cluster_version: Labelled[Gauge] = _gauges(
        "etcd_cluster_version",
        "The version the cluster has agreed on, as a label.",
        "cluster_version",
    )
    server_feature_enabled: Labelled[Gauge] = _gauges(
        "etcd_server_feature_enabled", "Whether a feature is on: 1 or 0.", "name", "stage"
    )
    server_leader_changes_seen_total: Counter = _counter(
        "etcd_server_leader_changes_seen_total", "Changes of leader this member has seen."
    )
    server_proposals_committed_total: Gauge = _gauge(
        "etcd_server_proposals_committed_total", "Index of the last committed entry."
    )
    server_proposals_applied_total: Gauge = _gauge(
        "etcd_server_proposals_applied_total", "Index of the last applied entry."
    )
    server_proposals_pending: Gauge = _gauge(
        "etcd_server_proposals_pending", "Proposals that wait to be committed and applied."
    )
    server_proposals_failed_total: Counter = _counter(
        "etcd_server_proposals_failed_total", "Proposals that were given up."
    )
    server_quota_backend_bytes: Gauge = _gauge(
        "etcd_server_quota_backend_bytes", "Bytes the store may take before writes are refused."
    )
    server_heartbeat_send_failures_total: Counter = _counter(
        "etcd_server_heartbeat_send_failures_total", "Heartbeats the leader could not send in time."
    )
    server_snapshot_apply_in_progress_total: Gauge = _gauge(
        "etcd_server_snapshot_apply_in_progress_total", "Snapshots being installed: 1 or 0."
    )
    server_slow_apply_total: Counter = _counter(
        "etcd_server_slow_apply_total", "Applied commands that took too long."
    )
    server_slow_read_indexes_total: Counter = _counter(
        "etcd_server_slow_read_indexes_total",
        "Linearizable reads that waited too long for the leader.",
    )
    server_read_indexes_failed_total: Counter = _counter(
        "etcd_server_read_indexes_failed_total", "Linearizable reads that were given up."
    )
    server_learner_promote_successes: Counter = _counter(
        "etcd_server_learner_promote_successes", "Learners promoted while this member led."
    )
    server_learner_promote_failures: Labelled[Counter] = _counters(
        "etcd_server_learner_promote_failures",
        "Promotions refused while this member led.",
        "Reason",
    )
    server_client_requests_total: Labelled[Counter] = _counters(
        "etcd_server_client_requests_total",
        "Requests by shape and by the version the client claims.",
        "type",
        "client_api_version",
    )
    server_health_success: Counter = _counter(
        "etcd_server_health_success", "Questions to /health answered with true."
    )
    server_health_failures: Counter = _counter(
        "etcd_server_health_failures", "Questions to /health answered with false."
    )
    server_healthcheck: Labelled[Gauge] = _gauges(
        "etcd_server_healthcheck",
        "The last result of each check of /livez and /readyz: 1 or 0.",
        "type",
        "name",
    )
    server_healthchecks_total: Labelled[Counter] = _counters(
        "etcd_server_healthchecks_total",
        "Checks of /livez and /readyz by result.",
        "type",
        "name",
        "status",
    )
    server_apply_duration_seconds: Labelled[Histogram] = _histograms(
        "etcd_server_apply_duration_seconds",
        "Time to apply a command.",
        _FINE,
        "version",
        "op",
        "success",
    )
    server_range_duration_seconds: Labelled[Histogram] = _histograms(
        "etcd_server_range_duration_seconds", "Time to answer a range.", _FINE, "success"
    )
    server_request_duration_seconds: Labelled[Histogram] = _histograms(
        "etcd_server_request_duration_seconds",
        "Time from a request to its answer.",
        _COARSE,
        "type",
        "success",
    )

    # The network.
    network_client_grpc_sent_bytes_total: Counter = _counter(
        "etcd_network_client_grpc_sent_bytes_total", "Bytes of messages sent to clients."
    )
    network_client_grpc_received_bytes_total: Counter = _counter(
        "etcd_network_client_grpc_received_bytes_total", "Bytes of messages received from clients."
    )
    network_server_stream_failures_total: Labelled[Counter] = _counters(
        "etcd_network_server_stream_failures_total", "Streams of clients that broke.", "Type", "API"
    )
    network_known_peers: Labelled[Gauge] = _gauges(
        "etcd_network_known_peers", "Peers this member knows of.", "Local", "Remote"
    )
    network_active_peers: Labelled[Gauge] = _gauges(
        "etcd_network_active_peers", "Peers with a live connection.", "Local", "Remote"
    )
    network_disconnected_peers_total: Labelled[Counter] = _counters(
        "etcd_network_disconnected_peers_total",
        "Connections to peers that were lost.",
        "Local",
        "Remote",
    )
    network_peer_sent_bytes_total: Labelled[Counter] = _counters(
        "etcd_network_peer_sent_bytes_total", "Bytes sent to a peer.", "To"
    )
    network_peer_received_bytes_total: Labelled[Counter] = _counters(
        "etcd_network_peer_received_bytes_total", "Bytes received from a peer.", "From"
    )
    network_peer_sent_failures_total: Labelled[Counter] = _counters(
        "etcd_network_peer_sent_failures_total", "Messages that could not be sent to a peer.", "To"
    )
    network_peer_received_failures_total: Labelled[Counter] = _counters(
        "etcd_network_peer_received_failures_total",
        "Messages of a peer that could not be taken.",
        "From",
    )
    network_peer_round_trip_time_seconds: Labelled[Histogram] = _histograms(
        "etcd_network_peer_round_trip_time_seconds", "Time to a peer and back.", _PEER, "To"
    )
    network_snapshot_send_success: Labelled[Counter] = _counters(
        "etcd_network_snapshot_send_success", "Snapshots sent.", "To"
    )
    network_snapshot_send_failures: Labelled[Counter] = _counters(
        "etcd_network_snapshot_send_failures", "Snapshots that could not be sent.", "To"
    )
    network_snapshot_send_inflights_total: Labelled[Gauge] = _gauges(
        "etcd_network_snapshot_send_inflights_total", "Snapshots being sent.", "To"
    )
    network_snapshot_send_total_duration_seconds: Labelled[Histogram] = _histograms(
        "etcd_network_snapshot_send_total_duration_seconds",
        "Time until a snapshot was sent.",
        _SNAPSHOT,
        "To",
    )
    network_snapshot_receive_success: Labelled[Counter] = _counters(
        "etcd_network_snapshot_receive_success", "Snapshots received.", "From"
    )
    network_snapshot_receive_failures: Labelled[Counter] = _counters(
        "etcd_network_snapshot_receive_failures", "Snapshots that could not be received.", "From"
    )
    network_snapshot_receive_inflights_total: Labelled[Gauge] = _gauges(
        "etcd_network_snapshot_receive_inflights_total", "Snapshots being received.", "From"
    )
    network_snapshot_receive_total_duration_seconds: Labelled[Histogram] = _histograms(
        "etcd_network_snapshot_receive_total_duration_seconds",
        "Time until a snapshot was received.",
        _SNAPSHOT,
        "From",
    )

    # The disk.
    disk_wal_fsync_duration_seconds: Histogram = _histogram(
        "etcd_disk_wal_fsync_duration_seconds",
        "Time to write one batch durably, log and effects together.",
        _COARSE,
    )
    disk_wal_write_duration_seconds: Histogram = _histogram(
        "etcd_disk_wal_write_duration_seconds",
        "Time to write one batch durably, as the fsync's: they are one call.",
        _COARSE,
    )
    disk_wal_write_bytes_total: Gauge = _gauge(
        "etcd_disk_wal_write_bytes_total", "Bytes of log entries written."
    )
    disk_backend_commit_duration_seconds: Histogram = _histogram(
        "etcd_disk_backend_commit_duration_seconds",
        "Time to write one batch durably, log and effects together.",
        _COARSE,
    )
    disk_backend_defrag_duration_seconds: Histogram = _histogram(
        "etcd_disk_backend_defrag_duration_seconds", "Time to defragment.", _DEFRAG
    )
    disk_backend_snapshot_duration_seconds: Histogram = _histogram(
        "etcd_disk_backend_snapshot_duration_seconds",
        "Time to send a maintenance snapshot.",
        _BACKUP,
    )
    disk_defrag_inflight: Gauge = _gauge(
        "etcd_disk_defrag_inflight", "Whether a defragmentation is under way: 1 or 0."
    )
    snap_fsync_duration_seconds: Histogram = _histogram(
        "etcd_snap_fsync_duration_seconds", "Time to sync a raft snapshot's meta data.", _COARSE
    )
    snap_db_fsync_duration_seconds: Histogram = _histogram(
        "etcd_snap_db_fsync_duration_seconds", "Time to sync an installed snapshot.", _COARSE
    )
    snap_db_save_total_duration_seconds: Histogram = _histogram(
        "etcd_snap_db_save_total_duration_seconds",
        "Time to receive and store a snapshot.",
        _SNAPSHOT,
    )

    # The store.
    mvcc_range_total: Counter = _counter("etcd_mvcc_range_total", "Ranges seen by this member.")
    mvcc_put_total: Counter = _counter("etcd_mvcc_put_total", "Puts seen by this member.")
    mvcc_delete_total: Counter = _counter(
        "etcd_mvcc_delete_total", "Deletions seen by this member."
    )
    mvcc_txn_total: Counter = _counter("etcd_mvcc_txn_total", "Transactions seen by this member.")
    mvcc_db_total_size_in_bytes: Gauge = _gauge(
        "etcd_mvcc_db_total_size_in_bytes", "Bytes the store takes on disk."
    )
    mvcc_db_total_size_in_use_in_bytes: Gauge = _gauge(
        "etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes of the store that hold data."
    )
    mvcc_db_open_read_transactions: Gauge = _gauge(
        "etcd_mvcc_db_open_read_transactions", "Long reads under way."
    )
    mvcc_hash_duration_seconds: Histogram = _histogram(
        "etcd_mvcc_hash_duration_seconds", "Time to hash the store.", _HASH
    )
    mvcc_hash_rev_duration_seconds: Histogram = _histogram(
        "etcd_mvcc_hash_rev_duration_seconds", "Time to hash the store at a revision.", _HASH
    )
    debugging_mvcc_keys_total: Gauge = _gauge("etcd_debugging_mvcc_keys_total", "Live keys.")
    debugging_mvcc_watch_stream_total: Gauge = _gauge(
        "etcd_debugging_mvcc_watch_stream_total", "Open watch streams."
    )
    debugging_mvcc_watcher_total: Gauge = _gauge(
        "etcd_debugging_mvcc_watcher_total", "Open watches."
    )
    debugging_mvcc_slow_watcher_total: Gauge = _gauge(
        "etcd_debugging_mvcc_slow_watcher_total", "Watches that lag behind."
    )
    debugging_mvcc_events_total: Counter = _counter(
        "etcd_debugging_mvcc_events_total", "Events sent to watches."
    )
    debugging_mvcc_pending_events_total: Gauge = _gauge(
        "etcd_debugging_mvcc_pending_events_total", "Events that wait to be sent."
    )
    debugging_mvcc_current_revision: Gauge = _gauge(
        "etcd_debugging_mvcc_current_revision", "The store's revision."
    )
    debugging_mvcc_compact_revision: Gauge = _gauge(
        "etcd_debugging_mvcc_compact_revision", "The revision history is kept from."
    )
    debugging_mvcc_total_put_size_in_bytes: Gauge = _gauge(
        "etcd_debugging_mvcc_total_put_size_in_bytes", "Bytes of keys and values put."
    )
    debugging_mvcc_db_compaction_last: Gauge = _gauge(
        "etcd_debugging_mvcc_db_compaction_last",
        "When the last compaction ended, in seconds since 1970.",
    )
    debugging_mvcc_db_compaction_keys_total: Counter = _counter(
        "etcd_debugging_mvcc_db_compaction_keys_total",
        "Old versions of keys removed by compaction.",
    )
    debugging_mvcc_db_compaction_pause_duration_milliseconds: Histogram = _histogram(
        "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
        "Time one step of a compaction takes.",
        _PAUSE,
    )
    debugging_mvcc_db_compaction_total_duration_milliseconds: Histogram = _histogram(
        "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
        "Time a whole compaction takes.",
        _COMPACTION,
    )
    debugging_mvcc_index_compaction_pause_duration_milliseconds: Histogram = _histogram(
        "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
        "Nothing: there is no index in memory.",
        _INDEX,
    )
    debugging_lease_granted_total: Counter = _counter(
        "etcd_debugging_lease_granted_total", "Leases granted."
    )
    debugging_lease_revoked_total: Counter = _counter(
        "etcd_debugging_lease_revoked_total", "Leases revoked."
    )
    debugging_lease_renewed_total: Counter = _counter(
        "etcd_debugging_lease_renewed_total", "Leases renewed."
    )
    debugging_lease_ttl_total: Histogram = _histogram(
        "etcd_debugging_lease_ttl_total", "Seconds leases were granted for.", _TTL
    )
    debugging_server_lease_expired_total: Counter = _counter(
        "etcd_debugging_server_lease_expired_total", "Leases that ran out."
    )
    debugging_server_alarms: Labelled[Gauge] = _gauges(
        "etcd_debugging_server_alarms",
        "Whether an alarm is raised: 1 or 0.",
        "server_id",
        "alarm_type",
    )
    debugging_auth_revision: Gauge = _gauge(
        "etcd_debugging_auth_revision", "The revision of users and roles."
    )
    debugging_server_watch_send_loop_watch_stream_duration_seconds: Histogram = _histogram(
        "etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds",
        "Time to send a watch's events.",
        _COARSE,
    )
    debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds: Histogram = (
        _histogram(
            "etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds",
            "Time to send one event of a watch.",
            _COARSE,
        )
    )
    debugging_server_watch_send_loop_control_stream_duration_seconds: Histogram = _histogram(
        "etcd_debugging_server_watch_send_loop_control_stream_duration_seconds",
        "Time to send a watch's control answer.",
        _COARSE,
    )
    debugging_server_watch_send_loop_progress_duration_seconds: Histogram = _histogram(
        "etcd_debugging_server_watch_send_loop_progress_duration_seconds",
        "Time to send a watch's progress.",
        _COARSE,
    )

    # What etcd shows at zero on a member without the v2 store and the proxy.
    debugging_store_expires_total: Counter = _counter(
        "etcd_debugging_store_expires_total", "Always 0: there is no v2 store."
    )
    debugging_store_watch_requests_total: Counter = _counter(
        "etcd_debugging_store_watch_requests_total", "Always 0: there is no v2 store."
    )
    debugging_store_watchers: Gauge = _gauge(
        "etcd_debugging_store_watchers", "Always 0: there is no v2 store."
    )
    grpc_proxy_watchers_coalescing_total: Gauge = _gauge(
        "etcd_grpc_proxy_watchers_coalescing_total", "Always 0: this is no proxy."
    )
    grpc_proxy_events_coalescing_total: Counter = _counter(
        "etcd_grpc_proxy_events_coalescing_total", "Always 0: this is no proxy."
    )
    grpc_proxy_cache_keys_total: Gauge = _gauge(
        "etcd_grpc_proxy_cache_keys_total", "Always 0: this is no proxy."
    )
    grpc_proxy_cache_hits_total: Gauge = _gauge(
        "etcd_grpc_proxy_cache_hits_total", "Always 0: this is no proxy."
    )
    grpc_proxy_cache_misses_total: Gauge = _gauge(
        "etcd_grpc_proxy_cache_misses_total", "Always 0: this is no proxy."
    )

    # Our own.
    trioetcd_version: Labelled[Gauge] = _gauges(
        "trioetcd_version", "The version of trioetcd itself, as a label.", "version"
    )
    trioetcd_connection_errors_total: Counter = _counter(
        "trioetcd_connection_errors_total",
        "Connections that ended by an unexpected error of ours; each is a bug.",
    )
    trioetcd_protocol_errors_total: Counter = _counter(
        "trioetcd_protocol_errors_total",
        "Connections closed because the other side broke the protocol.",
    )
    trioetcd_handshake_failures_total: Counter = _counter(
        "trioetcd_handshake_failures_total", "TLS handshakes that failed."
    )
    trioetcd_connections: Gauge = _gauge("trioetcd_connections", "Open client connections.")
    trioetcd_turn_duration_seconds: Histogram = _histogram(
        "trioetcd_turn_duration_seconds", "Time the loop spent in one turn of the replica.", _FINE
    )

    # The process, read at every scrape.
    process_cpu_seconds_total: Counter = _counter(
        "process_cpu_seconds_total", "Seconds of processor time, user's and system's."
    )
    process_open_fds: Gauge = _gauge("process_open_fds", "Open file descriptors.")
    process_max_fds: Gauge = _gauge("process_max_fds", "File descriptors that may be open.")
    process_resident_memory_bytes: Gauge = _gauge(
        "process_resident_memory_bytes", "Resident memory, mapped files included."
    )
    trioetcd_resident_anonymous_memory_bytes: Gauge = _gauge(
        "trioetcd_resident_anonymous_memory_bytes", "Resident memory without mapped files."
    )
    process_virtual_memory_bytes: Gauge = _gauge("process_virtual_memory_bytes", "Virtual memory.")
    process_virtual_memory_max_bytes: Gauge = _gauge(
        "process_virtual_memory_max_bytes", "Virtual memory that may be had."
    )
    process_start_time_seconds: Gauge = _gauge(
        "process_start_time_seconds", "When the process started, in seconds since 1970."
    )
    os_fd_used: Gauge = _gauge("os_fd_used", "File descriptors in use.")
    os_fd_limit: Gauge = _gauge("os_fd_limit", "File descriptors that may be in use.")
