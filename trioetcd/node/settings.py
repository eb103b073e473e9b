"""The settings of a member after all parsing: one immutable value.

One field per flag of `trioetcd.node.flags.FLAGS`, named as the flag with underscores; a test
holds the two together. Durations are seconds. What follows from several flags is a property.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final

from trioetcd.url import Url

__all__ = ["Config", "Members"]

Members = tuple[tuple[str, tuple[Url, ...]], ...]
"""The members of --initial-cluster: name and peer URLs, sorted by name."""

PROGRESS_SECONDS: Final = 600.0
PROGRESS_SECONDS_MIN: Final = 0.1
"""Quiet watches are told of progress no more often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything a member is told at its start; the flags' meanings stand in the table.

    Attributes:
        explicit: names of the flags that were given, wherever.
        members: what --initial-cluster says, or this member alone.
        gates: every feature gate and whether it is on.
        warnings: sentences for the log; the member starts all the same.
    """

    explicit: frozenset[str]
    members: Members
    gates: tuple[tuple[str, bool], ...]
    warnings: tuple[str, ...]

    # Member
    name: str
    data_dir: str
    wal_dir: str
    snapshot_count: int
    heartbeat_interval: int
    election_timeout: int
    initial_election_tick_advance: bool
    listen_peer_urls: tuple[Url, ...]
    listen_client_urls: tuple[Url, ...]
    listen_client_http_urls: tuple[Url, ...]
    max_wals: int
    max_snapshots: int
    memory_mlock: bool
    quota_backend_bytes: int
    backend_bbolt_freelist_type: str
    backend_batch_interval: float
    backend_batch_limit: int
    max_txn_ops: int
    max_request_bytes: int
    max_concurrent_streams: int
    grpc_keepalive_min_time: float
    grpc_keepalive_interval: float
    grpc_keepalive_timeout: float
    socket_reuse_port: bool
    socket_reuse_address: bool
    enable_grpc_gateway: bool
    raft_read_timeout: float
    raft_write_timeout: float
    feature_gates: str

    # Clustering
    initial_advertise_peer_urls: tuple[Url, ...]
    initial_cluster: str
    initial_cluster_state: str
    initial_cluster_token: str
    advertise_client_urls: tuple[Url, ...]
    discovery_token: str
    discovery_endpoints: tuple[str, ...]
    discovery_dial_timeout: float
    discovery_request_timeout: float
    discovery_keepalive_time: float
    discovery_keepalive_timeout: float
    discovery_insecure_transport: bool
    discovery_insecure_skip_tls_verify: bool
    discovery_cert: str
    discovery_key: str
    discovery_cacert: str
    discovery_user: str
    discovery_password: str
    discovery_fallback: str
    discovery_srv: str
    discovery_srv_name: str
    discovery: str
    discovery_proxy: str
    strict_reconfig_check: bool
    pre_vote: bool
    auto_compaction_retention: str
    auto_compaction_mode: str

    # Security
    cert_file: str
    key_file: str
    client_cert_auth: bool
    client_cert_file: str
    client_key_file: str
    client_crl_file: str
    client_cert_allowed_hostname: tuple[str, ...]
    trusted_ca_file: str
    auto_tls: bool
    peer_cert_file: str
    peer_key_file: str
    peer_client_cert_auth: bool
    peer_client_cert_file: str
    peer_client_key_file: str
    peer_trusted_ca_file: str
    peer_cert_allowed_cn: tuple[str, ...]
    peer_cert_allowed_hostname: tuple[str, ...]
    peer_auto_tls: bool
    self_signed_cert_validity: int
    peer_crl_file: str
    peer_skip_client_san_verification: bool
    cipher_suites: tuple[str, ...]
    cors: tuple[str, ...]
    host_whitelist: tuple[str, ...]
    tls_min_version: str
    tls_max_version: str

    # Authentication
    auth_token: str
    bcrypt_cost: int
    auth_token_ttl: int

    # Profiling and monitoring
    enable_pprof: bool
    metrics: str
    listen_metrics_urls: tuple[Url, ...]

    # Logging
    logger: str
    log_outputs: tuple[str, ...]
    log_level: str
    log_format: str
    enable_log_rotation: bool
    log_rotation_config_json: str
    warning_unary_request_duration: float

    # Tracing
    enable_distributed_tracing: bool
    distributed_tracing_address: str
    distributed_tracing_service_name: str
    distributed_tracing_instance_id: str
    distributed_tracing_sampling_rate: int

    # Features
    corrupt_check_time: float
    compact_hash_check_time: float
    compaction_batch_limit: int
    compaction_sleep_interval: float
    watch_progress_notify_interval: float
    warning_apply_duration: float
    bootstrap_defrag_threshold_megabytes: int
    max_learners: int
    downgrade_check_time: float
    snapshot_catchup_entries: int
    v2_deprecation: str

    # Unsafe
    force_new_cluster: bool
    unsafe_no_fsync: bool

    # Other
    enable_v2: bool
    enable_v2v3: str
    proxy: str

    # Ours
    allow_plaintext: bool
    allow_client_cidrs: tuple[str, ...]
    client_cert_allowed_cn: tuple[str, ...]
    cert_identity: str
    audit_log: str
    enable_console: bool
    password_min_length: int
    metrics_client_cert: str
    backup_interval: float
    backup_dir: str
    backup_keep: int
    backup_hook: str
    auto_defrag: bool

    @property
    def data_path(self) -> Path:
        """The data directory."""
        return Path(self.data_dir)

    @property
    def pki_path(self) -> Path:
        """Where the certificates are that the member makes for itself."""
        return self.data_path / "pki"

    @property
    def client_tls_generated(self) -> bool:
        """Whether the client listener's certificate is one that the member makes for itself."""
        return not self.cert_file

    @property
    def peer_tls_generated(self) -> bool:
        """Whether the peer certificate is one that the member makes for itself."""
        return not self.peer_cert_file

    @property
    def client_cert_required(self) -> bool:
        """Whether a client without a certificate of the client CA is turned away."""
        if self.client_tls_generated:
            return self.client_cert_auth or not self.auto_tls
        return bool(self.trusted_ca_file)

    @property
    def client_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Where clients may come from; empty for anywhere.

        Raises:
            ValueError: one of --allow-client-cidrs is no network; the message names it.
        """
        return tuple(map(ip_network, self.allow_client_cidrs))

    @property
    def quota_bytes(self) -> int:
        """The database size that raises the NOSPACE alarm; 0 when there is no quota."""
        if self.quota_backend_bytes == 0:
            return 2 * 1024 * 1024 * 1024
        return max(self.quota_backend_bytes, 0)

    @property
    def progress_seconds(self) -> float:
        """The time between two progress notifications of a watch; as etcd has it."""
        if self.watch_progress_notify_interval <= 0:
            return PROGRESS_SECONDS
        return max(self.watch_progress_notify_interval, PROGRESS_SECONDS_MIN)

    @property
    def heartbeat_seconds(self) -> float:
        """The time between heartbeats."""
        return self.heartbeat_interval / 1000

    @property
    def election_seconds(self) -> float:
        """The time without a leader before an election."""
        return self.election_timeout / 1000

    @property
    def certificate_hosts(self) -> tuple[str, ...]:
        """Names and addresses of the listen and advertise URLs, for the server certificate."""
        urls = (
            *self.listen_client_urls,
            *self.listen_client_http_urls,
            *self.listen_metrics_urls,
            *self.advertise_client_urls,
            *self.listen_peer_urls,
            *self.initial_advertise_peer_urls,
        )
        return _hosts(urls)


def _hosts(urls: tuple[Url, ...]) -> tuple[str, ...]:
    """Give each host once, in order, without the addresses that mean "all of them"."""
    anywhere = {"", "0.0.0.0", "::"}  # noqa: S104  # left out, not bound to
    return tuple(dict.fromkeys(url.host for url in urls if url.host not in anywhere))
