"""Path to handler, from the method table.

A method of the table without a handler answers UNIMPLEMENTED with a sentence of its own, so that
nobody mistakes "not yet" for "never heard of".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from trioetcd.api.audit import Auditor
from trioetcd.api.auth import AuthAPI
from trioetcd.api.cluster import ClusterAPI
from trioetcd.api.context import (
    Metadata,
    StreamHandler,
    UnaryHandler,
    WaitingHandler,
    as_stream,
)
from trioetcd.api.election import ElectionAPI
from trioetcd.api.guard import Guard
from trioetcd.api.health import HealthAPI
from trioetcd.api.kv import KVAPI
from trioetcd.api.learner import refusal_of
from trioetcd.api.lease import LeaseAPI
from trioetcd.api.lock import LockAPI
from trioetcd.api.maintenance import MaintenanceAPI, SnapshotAPI
from trioetcd.api.own_client import OwnClient
from trioetcd.api.queue import Queue
from trioetcd.api.terms import Terms, TermsOffice
from trioetcd.api.watch import WatchAPI
from trioetcd.errors import EtcdError, unimplemented
from trioetcd.ports import Sink
from trioetcd.runtime.backups import Backups
from trioetcd.runtime.leadership import Leadership
from trioetcd.runtime.server import Server
from trioetcd.schema.services import METHODS

__all__ = ["Router"]

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
        guard: Guard | None = None,
        auditor: Auditor | None = None,
    ) -> None:
        waiting = waiting or {}
        if auditor is not None:  # outside of all that may refuse a call
            unary = {path: auditor.unary(path, each) for path, each in unary.items()}
            streams = {path: auditor.stream(path, each) for path, each in streams.items()}
            waiting = {path: auditor.waiting(path, each) for path, each in waiting.items()}
        self.note = note or _nothing_to_note
        self._ticks = ticks
        self._is_learner = is_learner
        self._guard = guard
        self.unary = unary
        self.waiting = waiting
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
    def of(
        cls, server: Server, backups: Backups | None = None, auditor: Auditor | None = None
    ) -> Router:
        """Give the handlers of a member; without `backups` it serves none."""
        leadership = Leadership(server.replica)
        terms = TermsOffice(server.metrics, leadership)
        client = OwnClient(server, auditor)
        queue = Queue(server, client, leadership)
        election = ElectionAPI(server, client, queue)
        auth = AuthAPI(server)
        guard = Guard(server)
        streams = {
            "/etcdserverpb.KV/RangeStream": KVAPI(server).range_stream,
            "/etcdserverpb.Watch/Watch": WatchAPI(server).watch,
            "/etcdserverpb.Lease/LeaseKeepAlive": LeaseAPI(server).keep_alive,
            "/v3electionpb.Election/Observe": election.observe,
            "/grpc.health.v1.Health/Watch": HealthAPI(server).watch,
        }
        if backups is not None:
            streams |= {"/etcdserverpb.Maintenance/Snapshot": SnapshotAPI(backups).snapshot}
        waiting = _waiting(auth, LockAPI(server, client, queue), election)
        return cls(
            unary={path: guard.unary(path, each) for path, each in _unary(server, auth).items()},
            streams={
                path: terms.observed(guard.stream(path, each)) for path, each in streams.items()
            },
            waiting={path: guard.waiting(path, each) for path, each in waiting.items()},
            note=terms.read,
            ticks=(leadership.tick, queue.tick),
            is_learner=lambda: server.is_learner,
            guard=guard,
            auditor=auditor,
        )

    def ask_again(
        self, caller: Sink, call: int, head: Metadata, path: str, message: bytes, error: EtcdError
    ) -> bool:
        """Have a call answered later that was refused only because this member may lag."""
        guard = self._guard
        if guard is None or not guard.may_be_stale(error):
            return False
        guard.ask_again(self.unary[path], caller, call, head, message)
        return True

    def refusal(self, path: str, message: bytes, error: EtcdError) -> EtcdError:
        """Say what a client is told whose call was refused with `error`."""
        return refusal_of(self._is_learner, path, message, error)

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


def _unary(server: Server, auth: AuthAPI) -> dict[str, UnaryHandler]:
    kv = KVAPI(server)
    lease = LeaseAPI(server)
    cluster = ClusterAPI(server)
    maintenance = MaintenanceAPI(server)
    return {
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
        "/etcdserverpb.Auth/AuthStatus": auth.status,
        "/etcdserverpb.Auth/UserGet": auth.user_get,
        "/etcdserverpb.Auth/UserList": auth.user_list,
        "/etcdserverpb.Auth/RoleGet": auth.role_get,
        "/etcdserverpb.Auth/RoleList": auth.role_list,
        "/etcdserverpb.Auth/AuthEnable": auth.enable,
        "/etcdserverpb.Auth/AuthDisable": auth.disable,
        "/etcdserverpb.Auth/UserDelete": auth.user_delete,
        "/etcdserverpb.Auth/UserGrantRole": auth.user_grant_role,
        "/etcdserverpb.Auth/UserRevokeRole": auth.user_revoke_role,
        "/etcdserverpb.Auth/RoleAdd": auth.role_add,
        "/etcdserverpb.Auth/RoleDelete": auth.role_delete,
        "/etcdserverpb.Auth/RoleGrantPermission": auth.role_grant_permission,
        "/etcdserverpb.Auth/RoleRevokePermission": auth.role_revoke_permission,
        "/grpc.health.v1.Health/Check": HealthAPI(server).check,
    }


def _waiting(auth: AuthAPI, lock: LockAPI, election: ElectionAPI) -> dict[str, WaitingHandler]:
    return {
        "/etcdserverpb.Auth/Authenticate": auth.authenticate,
        "/etcdserverpb.Auth/UserAdd": auth.user_add,
        "/etcdserverpb.Auth/UserChangePassword": auth.user_change_password,
        "/v3lockpb.Lock/Lock": lock.lock,
        "/v3lockpb.Lock/Unlock": lock.unlock,
        "/v3electionpb.Election/Campaign": election.campaign,
        "/v3electionpb.Election/Proclaim": election.proclaim,
        "/v3electionpb.Election/Leader": election.leader,
        "/v3electionpb.Election/Resign": election.resign,
    }


def _nothing_to_note(_metadata: Metadata) -> None:
    """Calls without handlers have no terms."""
