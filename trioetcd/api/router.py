"""Path to handler, from the method table.

A method of the table without a handler answers UNIMPLEMENTED with a sentence of its own, so that
nobody mistakes "not yet" for "never heard of".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from trioetcd.api.cluster import ClusterAPI
from trioetcd.api.context import (
    Metadata,
    StreamHandler,
    UnaryHandler,
    WaitingHandler,
    as_stream,
)
from trioetcd.api.election import ElectionAPI
from trioetcd.api.health import HealthAPI
from trioetcd.api.kv import KVAPI
from trioetcd.api.lease import LeaseAPI
from trioetcd.api.lock import LockAPI
from trioetcd.api.maintenance import MaintenanceAPI, SnapshotAPI
from trioetcd.api.own_client import OwnClient
from trioetcd.api.queue import Queue
from trioetcd.api.terms import Terms, TermsOffice
from trioetcd.api.watch import WatchAPI
from trioetcd.errors import NOT_SUPPORTED_FOR_LEARNER, EtcdError, unimplemented
from trioetcd.runtime.backups import Backups
from trioetcd.runtime.leadership import Leadership
from trioetcd.runtime.server import Server
from trioetcd.schema import messages
from trioetcd.schema.services import METHODS

__all__ = ["Router"]

RANGE: Final = "/etcdserverpb.KV/Range"
STATUS: Final = "/etcdserverpb.Maintenance/Status"
SNAPSHOT: Final = "/etcdserverpb.Maintenance/Snapshot"


class Router:
    """Handlers by path.

    Attributes:
        unary: the calls with one request message and one response, as far as they need no task.
        waiting: those that do, because they may wait for very long.
        announced: streams; they are announced before their first message.
        streams: both of these: all that have a task.
        note: says what is asked by a call's metadata beside its request.
    """

    def __init__(
        self,
        unary: dict[str, UnaryHandler],
        streams: dict[str, StreamHandler],
        waiting: dict[str, WaitingHandler] | None = None,
        note: Callable[[Metadata], Terms | None] | None = None,
        ticks: Sequence[Callable[[float], None]] = (),
        is_learner: Callable[[], bool] = lambda: False,
    ) -> None:
        self.note = note
        self._ticks = ticks
        self._is_learner = is_learner
        self.unary = unary
        self.waiting = waiting or {}
        self.announced = streams
        self.streams = streams | {path: as_stream(each) for path, each in self.waiting.items()}
        assert unary.keys() | self.streams.keys() <= METHODS.keys()

    def ends(self, path: str) -> bool:
        """Say whether a stream ends by itself, sooner or later; a watch does not."""
        return path in self.waiting or path == SNAPSHOT

    def tick(self, now: float) -> None:
        """Tell the handlers what time it is; about ten times a second."""
        for tick in self._ticks:
            tick(now)

    @classmethod
    def of(cls, server: Server, backups: Backups | None = None) -> Router:
        """Give the handlers of a member; without `backups` it serves none."""
        leadership = Leadership(server.replica)
        terms = TermsOffice(server.metrics, leadership)
        kv = KVAPI(server)
        lease = LeaseAPI(server)
        cluster = ClusterAPI(server)
        maintenance = MaintenanceAPI(server)
        health = HealthAPI(server)
        snapshots: dict[str, StreamHandler] = (
            {"/etcdserverpb.Maintenance/Snapshot": SnapshotAPI(backups).snapshot} if backups else {}
        )
        client = OwnClient(server)
        queue = Queue(server, client, leadership)
        lock = LockAPI(server, client, queue)
        election = ElectionAPI(server, client, queue)
        return cls(
            unary={
                "/etcdserverpb.KV/Range": kv.range,
                "/etcdserverpb.KV/Put": kv.put,
                "/etcdserverpb.KV/DeleteRange": kv.delete_range,
                "/etcdserverpb.KV/Txn": kv.txn,
                "/etcdserverpb.KV/Compact": kv.compact,
                "/etcdserverpb.Lease/LeaseGrant": lease.grant,
                "/etcdserverpb.Lease/LeaseRevoke": lease.revoke,
                "/etcdserverpb.Lease/LeaseTimeToLive": lease.time_to_live,
                "/etcdserverpb.Lease/LeaseLeases": lease.leases,
                "/etcdserverpb.Cluster/MemberList": cluster.member_list,
                "/etcdserverpb.Cluster/MemberAdd": cluster.member_add,
                "/etcdserverpb.Cluster/MemberRemove": cluster.member_remove,
                "/etcdserverpb.Cluster/MemberUpdate": cluster.member_update,
                "/etcdserverpb.Cluster/MemberPromote": cluster.member_promote,
                "/etcdserverpb.Maintenance/Alarm": maintenance.alarm,
                "/etcdserverpb.Maintenance/Status": maintenance.status,
                "/etcdserverpb.Maintenance/Defragment": maintenance.defragment,
                "/etcdserverpb.Maintenance/MoveLeader": maintenance.move_leader,
                "/etcdserverpb.Maintenance/Hash": maintenance.hash,
                "/etcdserverpb.Maintenance/HashKV": maintenance.hash_kv,
                "/etcdserverpb.Maintenance/Downgrade": maintenance.downgrade,
                "/grpc.health.v1.Health/Check": health.check,
            },
            streams={
                path: terms.observed(handler)
                for path, handler in {
                    "/etcdserverpb.KV/RangeStream": kv.range_stream,
                    "/etcdserverpb.Watch/Watch": WatchAPI(server).watch,
                    "/etcdserverpb.Lease/LeaseKeepAlive": lease.keep_alive,
                    "/v3electionpb.Election/Observe": election.observe,
                    "/grpc.health.v1.Health/Watch": health.watch,
                    **snapshots,
                }.items()
            },
            waiting={
                "/v3lockpb.Lock/Lock": lock.lock,
                "/v3lockpb.Lock/Unlock": lock.unlock,
                "/v3electionpb.Election/Campaign": election.campaign,
                "/v3electionpb.Election/Proclaim": election.proclaim,
                "/v3electionpb.Election/Leader": election.leader,
                "/v3electionpb.Election/Resign": election.resign,
            },
            note=terms.read,
            ticks=(leadership.tick, queue.tick),
            is_learner=lambda: server.is_learner,
        )

    def refusal(self, path: str, message: bytes, error: EtcdError) -> EtcdError:
        """Say what a client is told whose call was refused with `error`.

        A learner tells everybody first that it is one (etcd), but looks only when there is
        something to tell, so that calls which are answered pay nothing for it.
        """
        if not self._is_learner() or path == STATUS:
            return error
        if path == RANGE and messages.RangeRequest.FromString(message).serializable:
            return error
        return EtcdError(NOT_SUPPORTED_FOR_LEARNER)

    @staticmethod
    def unknown(path: str) -> EtcdError:
        """Make the answer to a call of a method that has no handler."""
        service, _, method = path.lstrip("/").rpartition("/")
        if not service:
            return unimplemented(f'malformed method name: "{path}"')
        if path in METHODS:
            return unimplemented(f"etcdserver: {service}/{method} is not served by this version")
        if any(row.service == service for row in METHODS.values()):
            return unimplemented(f"unknown method {method} for service {service}")
        return unimplemented(f"unknown service {service}")
