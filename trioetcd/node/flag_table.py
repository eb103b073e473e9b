"""The table of every setting of a member: etcd's flags, and ours.

Data only; `trioetcd.node.flags` reads it, `docs/configuration.md` is generated from it.

A line at the margin is one flag: name, kind, default (``-`` is empty), status. Indented below
it: what it does; after ``@``, its path in the configuration file where that differs; after
``=``, a long default; after ``!``, why it has no effect, is refused or is gone. ``[...]``
starts a group.

Kinds: string, bool, int, uint, duration, urls, list, and ``a|b`` for a choice of words.
Status: ``works``; ``idle`` (accepted, without effect, said in a warning); ``refused`` (leaving
it out would weaken security or durability, so the member does not start with it); ``removed``.
"""

from __future__ import annotations

from typing import Final

__all__ = ["EXPERIMENTAL", "EXPERIMENTAL_GATES", "FEATURE_GATES", "HONOURED_GATES", "TABLE"]

TABLE: Final = """
[Member]
name string default works
    Name of this member, unique in its cluster.
data-dir string ${name}.etcd works
    Directory that holds everything the member knows; mode 0700.
wal-dir string - idle
    Directory of its own for the write-ahead log.
    ! the log and the keys share one database, so there is no second directory
snapshot-count uint 10000 works
    Applied entries after which the Raft log is shortened.
heartbeat-interval uint 100 works
    Milliseconds between a leader's heartbeats.
election-timeout uint 1000 works
    Milliseconds without a leader before an election; at least 5 heartbeats, at most 50000.
initial-election-tick-advance bool true idle
    Shorten the first election timeout after a start.
    ! members of a cluster wait for the whole of it; a lone member elects itself at once
listen-peer-urls urls https://localhost:2380 works
    Where to listen for other members, if there are any. http:// is taken as a name: peers always
    speak TLS.
listen-client-urls urls https://localhost:2379 works
    Where to listen for clients: gRPC and HTTP.
listen-client-http-urls urls - works
    Where to listen for HTTP alone; --listen-client-urls goes on serving both.
max-wals uint 5 idle
    Write-ahead log files to keep.
    ! the log is a table of the database; there are no files to count
max-snapshots uint 5 idle
    Snapshot files to keep.
    ! there are no snapshot files
memory-mlock bool false idle
    Lock the database's pages in memory.
    ! the database is read through the page cache
quota-backend-bytes int 0 works
    Database size that raises the NOSPACE alarm; 0 is 2 GiB.
backend-bbolt-freelist-type array|map map idle
    Form of etcd's free list.
    ! there is no bbolt here
backend-batch-interval duration 0s idle
    Longest time before a commit of the backend.
    ! every answer waits for its own synced batch
backend-batch-limit int 0 idle
    Most operations before a commit of the backend.
    ! every answer waits for its own synced batch
max-txn-ops uint 128 works
    Most operations in one transaction.
max-request-bytes uint 1572864 works
    Largest request in bytes.
max-concurrent-streams uint 1000 works
    Most streams of one HTTP/2 connection (etcd: 4294967295).
grpc-keepalive-min-time duration 5s works
    Shortest time between a client's pings.
grpc-keepalive-interval duration 2h works
    Time after which a silent client is pinged; 0s turns that off.
grpc-keepalive-timeout duration 20s works
    Time a ping's answer may take before the connection is closed.
socket-reuse-port bool false works
    @ socket-options.reuse-port
    Set SO_REUSEPORT on listeners.
socket-reuse-address bool false works
    @ socket-options.reuse-address
    Set SO_REUSEADDR on listeners (always set here, so that a restart binds at once).
enable-grpc-gateway bool true idle
    Serve JSON over HTTP beside gRPC.
    ! there is no JSON gateway yet
raft-read-timeout duration 5s idle
    Read timeout of connections between members; at least 5s.
    ! a dead connection is noticed within an election timeout, whatever this says
raft-write-timeout duration 5s idle
    Write timeout of connections between members; at least 5s.
    ! a dead connection is noticed within an election timeout, whatever this says
feature-gates string - works
    Features to turn on or off, as Name=true,Other=false; InitialCorruptCheck and CompactHashCheck
    (both on) can be, others are taken with a warning.

[Clustering]
initial-advertise-peer-urls urls https://localhost:2380 works
    Peer URLs of this member, as told to the other members.
initial-cluster string - works
    All members at the first start, as name=url,name=url; default: this member alone.
initial-cluster-state new|existing new works
    Whether the members start a cluster or join one; looked at on the first start only.
initial-cluster-token string etcd-cluster works
    Goes into the cluster's id, so that two clusters with equal URLs stay apart.
advertise-client-urls urls https://localhost:2379 works
    Client URLs of this member, as told to clients; needed with --listen-client-urls.
discovery-token string - refused
    @ discovery-config.token
    Token of a discovery service.
    ! trioetcd asks no discovery service; list the members in --initial-cluster
discovery-endpoints list - refused
    @ discovery-config.client.endpoints
    Endpoints of a discovery service.
    ! trioetcd asks no discovery service; list the members in --initial-cluster
discovery-dial-timeout duration 2s idle
    @ discovery-config.client.dial-timeout
    Dial timeout towards a discovery service.
    ! trioetcd asks no discovery service
discovery-request-timeout duration 5s idle
    @ discovery-config.client.request-timeout
    Request timeout towards a discovery service.
    ! trioetcd asks no discovery service
discovery-keepalive-time duration 2s idle
    @ discovery-config.client.keepalive-time
    Ping interval towards a discovery service.
    ! trioetcd asks no discovery service
discovery-keepalive-timeout duration 6s idle
    @ discovery-config.client.keepalive-timeout
    Ping timeout towards a discovery service.
    ! trioetcd asks no discovery service
discovery-insecure-transport bool true idle
    @ discovery-config.client.secure.insecure-transport
    Talk to a discovery service in plain text.
    ! trioetcd asks no discovery service
discovery-insecure-skip-tls-verify bool false idle
    @ discovery-config.client.secure.insecure-skip-tls-verify
    Do not verify a discovery service's certificate.
    ! trioetcd asks no discovery service
discovery-cert string - idle
    @ discovery-config.client.secure.cert
    Certificate shown to a discovery service.
    ! trioetcd asks no discovery service
discovery-key string - idle
    @ discovery-config.client.secure.key
    Key of --discovery-cert.
    ! trioetcd asks no discovery service
discovery-cacert string - idle
    @ discovery-config.client.secure.cacert
    CA of a discovery service.
    ! trioetcd asks no discovery service
discovery-user string - idle
    @ discovery-config.client.auth.username
    User at a discovery service.
    ! trioetcd asks no discovery service
discovery-password string - idle
    @ discovery-config.client.auth.password
    Password at a discovery service.
    ! trioetcd asks no discovery service
discovery-fallback string exit idle
    What to do when discovery fails; `exit` is the only word left.
    ! trioetcd asks no discovery service
discovery-srv string - refused
    DNS domain whose SRV records list the members.
    ! trioetcd asks no discovery service; list the members in --initial-cluster
discovery-srv-name string - refused
    Suffix of the SRV records' service name.
    ! trioetcd asks no discovery service; list the members in --initial-cluster
discovery string - removed
    URL of a v2 discovery service.
    ! v2 discovery ended with etcd 3.5; list the members in --initial-cluster
discovery-proxy string - removed
    HTTP proxy towards a v2 discovery service.
    ! v2 discovery ended with etcd 3.5
strict-reconfig-check bool true works
    Refuse membership changes that would lose the quorum.
pre-vote bool true idle
    Ask before an election whether it could be won.
    ! every election begins so; a member that was cut off must not disturb the others
auto-compaction-retention string 0 works
    How much history to keep: a duration, or hours, or revisions; 0 keeps everything.
auto-compaction-mode periodic|revision periodic works
    Whether --auto-compaction-retention is a time or a number of revisions.

[Security]
cert-file string - works
    @ client-transport-security.cert-file
    Certificate of the client listener, with its chain; default: one made under <data-dir>/pki.
key-file string - works
    @ client-transport-security.key-file
    Key of --cert-file.
client-cert-auth bool false works
    @ client-transport-security.client-cert-auth
    Require client certificates; --trusted-ca-file alone already does.
client-cert-file string - idle
    @ client-transport-security.client-cert-file
    Certificate for the JSON gateway's connection to its own member.
    ! the JSON gateway calls the member in process, so --cert-file needs the usage serverAuth alone
client-key-file string - idle
    @ client-transport-security.client-key-file
    Key of --client-cert-file.
    ! the JSON gateway calls the member in process and needs no key
client-crl-file string - works
    @ client-transport-security.crl-file
    Revocation lists of the clients' CAs, PEM or DER; followed, and live connections end.
client-cert-allowed-hostname list - works
    @ client-transport-security.allowed-hostname
    Host names or addresses of which a client's certificate must stand for one.
trusted-ca-file string - works
    @ client-transport-security.trusted-ca-file
    CA of the clients' certificates.
auto-tls bool false works
    @ client-transport-security.auto-tls
    Make the certificates under <data-dir>/pki, and let clients in without one, as etcd does.
peer-cert-file string - works
    @ peer-transport-security.cert-file
    Certificate of this member among its peers; needs both usages, server and client, unless
    --peer-client-cert-file is given.
peer-key-file string - works
    @ peer-transport-security.key-file
    Key of --peer-cert-file.
peer-client-cert-auth bool true works
    @ peer-transport-security.client-cert-auth
    Require certificates between members; always so here (etcd: false).
peer-client-cert-file string - works
    @ peer-transport-security.client-cert-file
    Certificate for connections to other members, instead of --peer-cert-file; all members have one
    then, or none.
peer-client-key-file string - works
    @ peer-transport-security.client-key-file
    Key of --peer-client-cert-file.
peer-trusted-ca-file string - works
    @ peer-transport-security.trusted-ca-file
    CA of all members' certificates.
peer-cert-allowed-cn list - works
    @ peer-transport-security.allowed-cn
    Common names of which a peer's certificate must have one, whichever side dials.
peer-cert-allowed-hostname list - works
    @ peer-transport-security.allowed-hostname
    Host names or addresses of which a peer's certificate must stand for one, whichever side dials.
peer-auto-tls bool false works
    @ peer-transport-security.auto-tls
    Make the peer certificates under <data-dir>/pki; for clusters of one member alone.
self-signed-cert-validity uint 1 works
    Years that a certificate made under <data-dir>/pki lasts; renewed before its end.
peer-crl-file string - works
    @ peer-transport-security.crl-file
    Revocation lists of the peers' CAs, PEM or DER; followed, and live connections end.
peer-skip-client-san-verification bool false works
    @ peer-transport-security.skip-client-san-verification
    Let in peers that dial from another address than their certificate stands for.
cipher-suites list - works
    TLS 1.2 suites by their Go or IANA names; ECDHE with AEAD only, others are left out.
cors list - works
    Web origins whose pages may call; * is all of them, which is etcd's default.
host-whitelist list * works
    Host names under which plain HTTP may be asked of listeners without TLS; * is all of them.
tls-min-version TLS1.2|TLS1.3 TLS1.2 works
    Oldest TLS of the client listener; peers speak TLS 1.3 alone.
tls-max-version |TLS1.2|TLS1.3 - works
    Newest TLS of the client listener; empty is the newest there is.

[Authentication]
auth-token string simple works
    Kind of the users' tokens: `simple`, or `jwt,sign-method=...,priv-key=FILE,pub-key=FILE,ttl=5m`.
bcrypt-cost uint 10 works
    Cost of hashing a password, 4 to 31.
auth-token-ttl uint 300 works
    Seconds that a simple token lasts after its last use.

[Profiling and monitoring]
enable-pprof bool false idle
    Serve /debug/pprof.
    ! pprof is Go's profiler; py-spy shows what a running member does
metrics basic|extensive basic works
    How much /metrics tells; extensive adds histograms of the calls.
listen-metrics-urls urls - works
    Where to serve /metrics and /health alone.

[Logging]
logger zap zap works
    Form of the log: `zap`.
log-outputs list default works
    Where the log goes: stderr (default), stdout, or files.
log-level debug|info|warn|error|panic|fatal info works
    Least level that is logged.
log-format json|console json works
    Form of a line.
enable-log-rotation bool false idle
    Rotate a log file.
    ! log files are not rotated here; logrotate and journald do it
log-rotation-config-json string - idle
    = {"maxsize":100,"maxage":0,"maxbackups":0,"localtime":false,"compress":false}
    How --enable-log-rotation rotates.
    ! log files are not rotated here; logrotate and journald do it
warning-unary-request-duration duration 300ms idle
    Time after which a call is logged as slow.
    ! slow calls are not logged yet

[Tracing]
enable-distributed-tracing bool false idle
    Send OpenTelemetry spans.
    ! trioetcd sends no OpenTelemetry spans; its numbers are under /metrics
distributed-tracing-address string localhost:4317 idle
    Where spans are sent.
    ! trioetcd sends no OpenTelemetry spans; its numbers are under /metrics
distributed-tracing-service-name string etcd idle
    Service name in spans.
    ! trioetcd sends no OpenTelemetry spans; its numbers are under /metrics
distributed-tracing-instance-id string - idle
    Instance id in spans.
    ! trioetcd sends no OpenTelemetry spans; its numbers are under /metrics
distributed-tracing-sampling-rate int 0 idle
    Spans per million calls.
    ! trioetcd sends no OpenTelemetry spans; its numbers are under /metrics

[Features]
corrupt-check-time duration 12h works
    Time between comparisons of the content of all members' key spaces, row by row; 0s for none.
compact-hash-check-time duration 1m works
    Time between comparisons of the hashes of all that members have applied.
compaction-batch-limit int 1000 works
    Most revisions that a compaction removes before other work goes on, or pauses; 0 is 1000.
compaction-sleep-interval duration 0s works
    Pause of a compaction after --compaction-batch-limit revisions (etcd: 10ms). Other work goes
    between any two steps of 2 ms as it is.
watch-progress-notify-interval duration 10m works
    Time between progress notifications of a watch that asked for them.
warning-apply-duration duration 100ms idle
    Time after which applying an entry is logged as slow.
    ! slow entries are not logged yet
bootstrap-defrag-threshold-megabytes uint 0 works
    Defragment after a start that would free so much; requests are served meanwhile. 0 never does.
max-learners int 1 works
    Most learners in the cluster; the number given to the member that is asked counts.
downgrade-check-time duration 5s idle
    Time between two looks at a downgrade's state.
    ! nothing is under way to look at: a downgrade is refused, with what to do instead
snapshot-catchup-entries uint 5000 works
    Entries that stay in the Raft log when it is shortened.
v2-deprecation string not-yet idle
    Phase of the end of etcd's v2 store.
    ! there is no v2 store

[Unsafe]
force-new-cluster bool false works
    Remove all other members at the start, and go on alone; none of them may run ever again.
unsafe-no-fsync bool false idle
    Answer before data is on the disk.
    ! every answer waits until its data is on the disk

[Other]
config-file string - works
    YAML or JSON file that replaces all flags and variables.
version bool false works
    Print the version.
help bool false works
    Print this help.
enable-v2 bool false removed
    Serve the v2 API.
    ! the v2 API ended with etcd 3.5; clients of today speak v3
enable-v2v3 string - removed
    Serve the v2 API from v3 data.
    ! the v2 API ended with etcd 3.5; clients of today speak v3
proxy string off removed
    Be a v2 proxy.
    ! v2 proxies ended with etcd 3.5

[Ours]
allow-plaintext bool false works
    Serve http:// client and metrics URLs beyond loopback: whoever can listen can read.
allow-client-cidrs list - works
    Networks that clients may come from, such as 10.0.0.0/8 or fd00::/8, on every listener for
    clients, the one for metrics among them; others are closed before the TLS handshake.
client-cert-allowed-cn list - works
    @ client-transport-security.allowed-cn
    Common names of which a client's certificate must have one (etcd: in the file alone).
cert-identity string cn works
    What of a client's certificate names the user: `cn`, `uri:PATTERN` or `dns:PATTERN`.
audit-log string - works
    File that notes who changed what, in a chain that shows every later hand (docs/audit.md).
enable-console bool false idle
    Serve a page for browsers.
    ! the page does not exist yet
password-min-length uint 0 works
    Shortest new password that is accepted, in characters.
metrics-client-cert required|optional required works
    Whether --listen-metrics-urls requires a client certificate wherever clients need one; even
    where it is optional, a wrong one is refused.
backup-interval duration 0s refused
    Time between two backups that the member makes by itself.
    ! scheduled backups do not work yet; run `etcdctl snapshot save` from a timer
backup-dir string - refused
    Directory of the member's backups.
    ! scheduled backups do not work yet; run `etcdctl snapshot save` from a timer
backup-keep uint 7 idle
    Backups to keep.
    ! scheduled backups do not work yet
backup-hook string - refused
    Program that is started with each new backup.
    ! scheduled backups do not work yet; run `etcdctl snapshot save` from a timer
auto-defrag bool false idle
    Compact the database when it would free much.
    ! the database gives space back by itself
"""

FEATURE_GATES: Final = {
    "StopGRPCServiceOnDefrag": False,
    "InitialCorruptCheck": True,
    "CompactHashCheck": True,
    "TxnModeWriteWithSharedBuffer": True,
    "LeaseCheckpoint": False,
    "LeaseCheckpointPersist": False,
    "SetMemberLocalAddr": False,
    "FastLeaseKeepAlive": True,
    "PriorityRequest": False,
    "AllAlpha": False,
    "AllBeta": False,
}
"""etcd's feature gates and their defaults; but members' data is compared unless told otherwise."""

HONOURED_GATES: Final = frozenset({"InitialCorruptCheck", "CompactHashCheck"})
"""Those that switch something; what else is given is told in a warning."""

EXPERIMENTAL: Final = {
    f"experimental-{name}": name
    for name in (
        "backend-bbolt-freelist-type",
        "bootstrap-defrag-threshold-megabytes",
        "compact-hash-check-time",
        "compaction-batch-limit",
        "compaction-sleep-interval",
        "corrupt-check-time",
        "distributed-tracing-address",
        "distributed-tracing-instance-id",
        "distributed-tracing-service-name",
        "downgrade-check-time",
        "enable-distributed-tracing",
        "enable-v2v3",
        "max-learners",
        "memory-mlock",
        "peer-skip-client-san-verification",
        "snapshot-catchup-entries",
        "warning-apply-duration",
        "warning-unary-request-duration",
        "watch-progress-notify-interval",
    )
} | {
    "experimental-distributed-tracing-sampling-rate": "distributed-tracing-sampling-rate",
    "experimental-snapshot-catch-up-entries": "snapshot-catchup-entries",
}
"""Spellings of etcd 3.5 and 3.6, and the flags that they became."""

EXPERIMENTAL_GATES: Final = {
    "experimental-compact-hash-check-enabled": "CompactHashCheck",
    "experimental-enable-lease-checkpoint": "LeaseCheckpoint",
    "experimental-enable-lease-checkpoint-persist": "LeaseCheckpointPersist",
    "experimental-initial-corrupt-check": "InitialCorruptCheck",
    "experimental-set-member-localaddr": "SetMemberLocalAddr",
    "experimental-stop-grpc-service-on-defrag": "StopGRPCServiceOnDefrag",
    "experimental-txn-mode-write-with-shared-buffer": "TxnModeWriteWithSharedBuffer",
}
"""Switches of etcd 3.5 and 3.6, and the feature gates that they became."""
