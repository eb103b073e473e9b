"""A node: one member with its data directory, certificates, sockets and signals.

The nursery tree is the shutdown order. The innermost body waits for a signal and returns; what
is outside of it ends after it::

    data directory and LevelDB opened
      server: driver, writer, long reads, housekeeping
        connections
          listeners
            signals
"""

from __future__ import annotations

import os
import signal
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final

import trio

from trioetcd.api.audit import Auditor
from trioetcd.cluster import ClusterView
from trioetcd.frontend.admission import Frontend
from trioetcd.node.auditing import audit_log_of, keep_audit_log
from trioetcd.node.bootstrap import CannotStart, first_rows, force_new_cluster
from trioetcd.node.credential_files import credential_files, own_certificates
from trioetcd.node.credential_keeper import CredentialKeeper, tell_ended
from trioetcd.node.flags import ConfigError
from trioetcd.node.listening import open_listener
from trioetcd.node.logins import follow_keys, login_settings
from trioetcd.node.machine import Machine, raise_files_limit
from trioetcd.node.notify import READY, STOPPING, notify
from trioetcd.node.peering import Peering, ask
from trioetcd.node.sentence import sentence_of
from trioetcd.node.settings import Config
from trioetcd.node.upkeep import BATCH_LIMIT, start_upkeep
from trioetcd.pki import AllowedNames, PkiError
from trioetcd.ports import FIRST_ROW, LAST_ROW, Backend, BackendError
from trioetcd.replica import CorruptLog, Recovered, Replica, ReplicaConfig, recover
from trioetcd.runtime import garbage
from trioetcd.runtime.audit_log import AuditLog
from trioetcd.runtime.backups import Backups
from trioetcd.runtime.clock import SystemClock
from trioetcd.runtime.corruption import CorruptionChecks, DataDiffersError
from trioetcd.runtime.metrics import Metrics
from trioetcd.runtime.observation import observe
from trioetcd.runtime.rejection import note_rejected
from trioetcd.runtime.server import Server, ServerLimits
from trioetcd.runtime.trace import Log, open_outputs
from trioetcd.storage import (
    DataDir,
    DataDirError,
    ExitCode,
    Spool,
    open_member_store,
    remember_identity,
)
from trioetcd.transport.credentials import Credentials, CredentialSet, load
from trioetcd.transport.listener import Accepted, Listener, Rejected
from trioetcd.url import Url
from trioetcd.values import SERVER_VERSION
from trioetcd.wire import Limits

__all__ = ["CannotStart", "Node", "run"]

_UMASK: Final = 0o077
"""LevelDB makes its files without asking; nobody else may read them."""


STREAMS_MAX: Final = 1000
"""Streams of one connection at a time; etcd has no bound. Watches share a stream."""

GRPC_OVERHEAD_BYTES: Final = 512 * 1024
"""What a gRPC message may be longer than a request (etcd)."""


COMPACTION_ROWS: Final = ReplicaConfig(name="").compaction_rows
"""Revisions that a compaction forgets in one step, if no fewer are asked for."""


CREDENTIALS_REFUSED: Final = 79
"""Exit code when a certificate or key is damaged, expired, or not what it must be."""


DATA_DIFFERS: Final = 80
"""Exit code when the member's data is not that of the other members."""


def run(config: Config) -> int:
    """Run a member until it is told to stop.

    A member ended by a signal ends its process by that signal, as etcd does, so that service
    managers see it.

    Returns:
        The exit code.

    Raises:
        CannotStart: in one sentence.
    """
    os.umask(_UMASK)
    raise_files_limit()
    try:
        log = Log(
            open_outputs(config.log_outputs), level=config.log_level, layout=config.log_format
        )
    except OSError as error:
        raise CannotStart(f"--log-outputs: {error.filename}: {error.strerror}", 1) from None
    with closing(log):
        for warning in config.warnings:
            log.warn(warning)
        with _refusals(log), closing(DataDir.open(config.data_path)) as data_dir:
            node = Node(config, log, data_dir)
            received = trio.run(node.run, strict_exception_groups=True)
    if received:
        signal.signal(received, signal.SIG_DFL)
        os.kill(os.getpid(), received)
    return 0


@contextmanager
def _refusals(log: Log) -> Iterator[None]:
    """Turn every known way not to start, or to fail, into one sentence and an exit code."""
    known = (
        *(DataDirError, CorruptLog, BackendError, PkiError, DataDiffersError),
        *(ConfigError, OSError),
    )
    try:
        yield
    except (*known, BaseExceptionGroup) as raised:
        # Not `except*`: Python 3.11.2 makes a group of what is raised there, even of one alone.
        if isinstance(raised, BaseExceptionGroup) and raised.split(known)[1] is not None:
            raise
        failure: BaseException = raised
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        sentence = sentence_of(failure)
        log.fatal("the member ends", error=sentence)
        raise CannotStart(sentence, _exit_code(failure)) from None


def _exit_code(failure: BaseException) -> int:
    if isinstance(failure, DataDirError):
        return int(failure.exit_code)
    if isinstance(failure, CorruptLog):
        return int(ExitCode.DAMAGED)
    if isinstance(failure, BackendError):
        return int(ExitCode.IO_FAILED)
    if isinstance(failure, PkiError):
        return CREDENTIALS_REFUSED
    if isinstance(failure, DataDiffersError):
        return DATA_DIFFERS
    return 1


class Node:
    """The life of one member, from its open data directory to the signal that ends it."""

    def __init__(
        self, config: Config, log: Log, data_dir: DataDir, machine: Machine | None = None
    ) -> None:
        self._config = config
        self._log = log
        self._data_dir = data_dir
        self._clock: SystemClock
        self._machine = machine or Machine()
        self._entropy = self._machine.entropy
        self._boot = self._entropy.bits(64)
        self._credentials: Credentials
        self._logins = login_settings(config)
        self._clients_allowed = AllowedNames(
            flag="--client-cert-allowed",
            common_names=config.client_cert_allowed_cn,
            hosts=config.client_cert_allowed_hostname,
        )
        self._signal = 0

    async def run(self) -> int:
        """Run until a signal; gives its number."""
        config = self._config
        self._clock = SystemClock()
        self._log.info(
            "starting an etcd server",
            **{
                "etcd-version": SERVER_VERSION,
                "name": config.name,
                "data-dir": str(config.data_path),
                "listen-client-urls": [str(url) for url in config.listen_client_urls],
                "advertise-client-urls": [str(url) for url in config.advertise_client_urls],
                "initial-cluster": config.initial_cluster,
            },
        )
        metrics = Metrics(extensive=config.metrics == "extensive")
        keeper = self._keep_credentials(metrics)
        with closing(self._open_backend()) as backend:
            server = Server(
                replica=await self._replica(backend),
                backend=backend,
                clock=self._clock,
                entropy=self._entropy,
                limits=ServerLimits(
                    request_bytes_max=config.max_request_bytes,
                    txn_operations_max=config.max_txn_ops,
                    quota_bytes=config.quota_bytes,
                    progress_seconds=config.progress_seconds,
                    strict_reconfig_check=config.strict_reconfig_check,
                    learners_max=config.max_learners,
                ),
                logins=self._logins,
                metrics=metrics,
                open_writer=self._machine.open_writer,
                in_thread=self._machine.in_thread,
            )
            observe(server, server.metrics)
            with audit_log_of(config, server, self._log, self._machine.in_thread) as audit_log:
                async with trio.open_nursery() as members:
                    # Before the server: in a cluster it is ready only when others have answered.
                    peering = self._peering(server)
                    server.also_turned = peering.turned
                    members.start_soon(keeper.run)
                    await members.start(peering.run)
                    members.start_soon(self._end_when_expelled, peering, members.cancel_scope)
                    await members.start(server.run)
                    await self._check_data(server, peering, members)
                    start_upkeep(members, config, server, self._log)
                    members.start_soon(follow_keys, config, server.logins, self._log)
                    if audit_log is not None:
                        members.start_soon(keep_audit_log, audit_log, self._machine.hang_ups)
                    await self._serve(server, self._backups(server, backend), audit_log)
                    members.cancel_scope.cancel()
        self._log.info("the member has stopped")
        return self._signal

    def _keep_credentials(self, metrics: Metrics) -> CredentialKeeper:
        """Load what TLS needs, making it first where nothing was given; give who keeps it."""
        now = datetime.now(UTC)
        files, said = credential_files(self._config, now=now)
        for sentence in said:
            self._log.info(sentence)
        contexts = load(files, now=now)
        for warning in contexts.warnings:
            self._log.warn(warning)
        self._credentials = Credentials(
            contexts, entropy=self._entropy, ended=partial(tell_ended, metrics, self._log)
        )
        return CredentialKeeper(
            self._credentials,
            [CredentialSet(files, self._credentials, warn=self._log.warn)],
            own=own_certificates(self._config),
            metrics=metrics,
            log=self._log,
            entropy=self._entropy,
            hang_ups=self._machine.hang_ups,
            in_thread=self._machine.in_thread,
        )

    # The member

    def _open_backend(self) -> Backend:
        backend = open_member_store(self._data_dir)
        for warning in self._data_dir.warnings:
            self._log.warn(warning)
        return backend

    async def _replica(self, backend: Backend) -> Replica:
        config = self._config
        replica = Replica(
            backend=backend,
            recovered=await self._recovered(backend),
            config=ReplicaConfig(
                name=config.name,
                client_urls=tuple(str(url) for url in config.advertise_client_urls),
                heartbeat_seconds=config.heartbeat_seconds,
                election_seconds=config.election_seconds,
                snapshot_count=config.snapshot_count,
                catch_up_entries=config.snapshot_catchup_entries,
                strict_reconfig=config.strict_reconfig_check,
                compaction_rows=min(COMPACTION_ROWS, config.compaction_batch_limit or BATCH_LIMIT),
            ),
            boot=self._boot,
            entropy=self._entropy,
            now=self._clock.monotonic(),
        )
        self._log.info(
            "starting local member",
            **{
                "local-member-id": f"{replica.member_id:x}",
                "cluster-id": f"{replica.cluster_id:x}",
                "revision": replica.store.revision,
                "applied-index": replica.applied_index,
            },
        )
        return replica

    async def _recovered(self, backend: Backend) -> Recovered:
        recovered = recover(backend)
        if recovered is None:
            first = await first_rows(self._config, self._ask_members)
            backend.prepare(first.rows).write()
            # What comes next then lies above this table, so that compacting merges the two. What
            # LevelDB finds no table below, it stores with all that is overwritten in it.
            backend.compact_range(FIRST_ROW, LAST_ROW)
            remember_identity(self._data_dir, first.cluster_id, first.member_id)
        elif self._config.force_new_cluster:
            rows = force_new_cluster(backend, recovered)
            if rows is None:
                return recovered
            self._log.warn(
                "forcing restart member",
                **{
                    "cluster-id": f"{recovered.cluster_id:x}",
                    "local-member-id": f"{recovered.member_id:x}",
                    "commit-index": recovered.last,
                },
            )
            backend.prepare(rows).write()
        else:
            return recovered
        recovered = recover(backend)
        assert recovered is not None
        return recovered

    async def _ask_members(self, urls: Sequence[Url]) -> ClusterView | None:
        return await ask(urls, self._config, self._machine, self._credentials, self._log)

    # Its peers

    def _peering(self, server: Server) -> Peering:
        return Peering(
            self._config,
            server,
            self._machine,
            self._credentials,
            boot=self._boot,
            log=self._log,
        )

    async def _check_data(self, server: Server, peering: Peering, nursery: trio.Nursery) -> None:
        """Compare the member's data with the others', now and from time to time."""
        config = self._config
        gates = dict(config.gates)
        checks = CorruptionChecks(server, peering.peers, peering.hashes)
        if gates["InitialCorruptCheck"]:
            await checks.check_start()
        run = partial(
            checks.run,
            chain_seconds=config.compact_hash_check_time if gates["CompactHashCheck"] else 0,
            content_seconds=config.corrupt_check_time,
        )
        nursery.start_soon(run)

    async def _end_when_expelled(self, peering: Peering, scope: trio.CancelScope) -> None:
        """End the member once it has been removed from its cluster; there is nothing to serve."""
        await peering.expelled.wait()
        self._log.warn(
            "the member has been removed from its cluster and ends; its data directory is of no "
            "use any more",
            **{"local-member-id": f"{peering.peers.local.id:x}"},
        )
        scope.cancel()

    # Serving

    def _backups(self, server: Server, backend: Backend) -> Backups:
        return Backups(
            backend=backend,
            driver=server.driver,
            cursors=server.cursors,
            spool=Spool(self._data_dir.path),
            metrics=server.metrics,
            log=self._log,
            in_thread=self._machine.in_thread,
        )

    async def _serve(self, server: Server, backups: Backups, audit_log: AuditLog | None) -> None:
        config = self._config
        frontend = Frontend(
            server,
            limits=Limits(
                streams_max=min(config.max_concurrent_streams, STREAMS_MAX),
                ping_seconds_min=config.grpc_keepalive_min_time,
                quiet_seconds_max=max(config.grpc_keepalive_interval, 0.0),
                ping_answer_seconds_max=config.grpc_keepalive_timeout,
                message_bytes_max=config.max_request_bytes + GRPC_OVERHEAD_BYTES,
            ),
            origin_allowed=self._origin_allowed,
            host_allowed=self._host_allowed,
            log=self._log,
            backups=backups,
            auditor=None if audit_log is None else Auditor(audit_log, server),
        )
        credentials = self._credentials
        rejected = partial(note_rejected, self._log, server.metrics, "client")
        clients = partial(self._listener, rejected, lambda: credentials.current.client_listener)
        metrics = partial(self._listener, rejected, lambda: credentials.current.metrics_listener)
        listeners = [
            *[await clients(url, frontend.serve) for url in config.listen_client_urls],
            *[await clients(url, frontend.serve_plain) for url in config.listen_client_http_urls],
            *[await metrics(url, frontend.serve_plain) for url in config.listen_metrics_urls],
        ]
        async with trio.open_nursery() as connections:
            connections.start_soon(frontend.run_deadlines)
            connections.start_soon(frontend.run_keepalive)
            connections.start_soon(garbage.collect_when_idle, lambda: server.replica.applied_index)
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    accepting.start_soon(listener.run, connections)
                self._announce()
                self._signal = await self._machine.signalled()
                self._log.info("received signal; shutting down", signal=self._signal)
                notify(STOPPING)
                accepting.cancel_scope.cancel()
            await self._hand_over(server)
            server.stop_serving()
            await frontend.drain()
            connections.cancel_scope.cancel()

    async def _hand_over(self, server: Server) -> None:
        me = server.replica.member_id
        if server.replica.leader != me:
            return
        leader = await server.hand_over()
        if leader != me:
            self._log.info(
                "leadership transferred" if leader else "leadership given up; nobody leads yet",
                **{"local-member-id": f"{me:x}", "leader-member-id": f"{leader:x}"},
            )

    def _announce(self) -> None:
        garbage.settle()
        for url in self._config.listen_client_urls:
            self._log.info(
                "serving client traffic securely" if url.secure else "serving client traffic",
                address=url.address,
            )
        self._log.info("ready to serve client requests")
        notify(READY)

    async def _listener(
        self,
        rejected: Rejected,
        context: Callable[[], ssl.SSLContext],
        url: Url,
        serve: Callable[[Accepted], Awaitable[None]],
    ) -> Listener:
        return await open_listener(
            url,
            self._machine,
            reuse_port=self._config.socket_reuse_port,
            context=context if url.secure else None,
            serve=serve,
            rejected=rejected,
            networks=self._config.client_networks,
            check=self._refusal_of_client,
            tenures=self._credentials.clients,
        )

    async def _refusal_of_client(self, certificate: bytes, _remote: str) -> str:
        try:
            return self._clients_allowed.refusal(certificate)
        except PkiError as error:
            return str(error)

    def _host_allowed(self, host: str) -> bool:
        allowed = self._config.host_whitelist
        return not allowed or "*" in allowed or host in allowed

    def _origin_allowed(self, origin: str) -> bool:
        # etcd's default, every origin, would let any page use the certificate of its visitor.
        return "cors" in self._config.explicit and (
            origin in self._config.cors or "*" in self._config.cors
        )
