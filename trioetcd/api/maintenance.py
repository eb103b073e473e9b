"""Maintenance: Alarm, Status, Defragment, MoveLeader, Hash, HashKV, Downgrade and Snapshot."""

from __future__ import annotations

from trioetcd import errors
from trioetcd.api.context import MessageStream, Metadata
from trioetcd.api.guard import Guard
from trioetcd.cluster import downgrade_refusal
from trioetcd.errors import EtcdError
from trioetcd.ports import Sink
from trioetcd.runtime.backups import Backups, Chunk
from trioetcd.runtime.server import STORAGE_VERSION, Answer, Server
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.values import SERVER_VERSION, MemberID

__all__ = ["MaintenanceAPI", "SnapshotAPI"]


class MaintenanceAPI:
    """Handlers of `etcdserverpb.Maintenance` for one member."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._guard = Guard(server)

    def alarm(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> None:
        """Alarm: list, raise and clear go through the log, as with etcd."""
        messages.AlarmRequest.FromString(message)
        asker = self._guard.asker(metadata)
        self._server.propose(caller, call, CommandKind.ALARM, message, asker)

    def status(self, _caller: Sink, _call: int, _metadata: Metadata, message: bytes) -> bytes:
        """Status: this member, as it stands, without asking anybody."""
        messages.StatusRequest.FromString(message)
        server = self._server
        replica = server.replica
        size = server.disk.size()
        response = messages.StatusResponse(
            version=SERVER_VERSION,
            dbSize=size.total,
            leader=replica.leader,
            raftIndex=replica.commit_index,
            raftTerm=replica.term,
            raftAppliedIndex=replica.applied_index,
            errors=server.complaints(),
            dbSizeInUse=size.in_use,
            isLearner=server.is_learner,
            storageVersion=STORAGE_VERSION,
            dbSizeQuota=server.limits.quota_bytes,
            downgradeInfo=messages.DowngradeInfo(enabled=False),
        )
        return server.header() + response.SerializeToString()

    def defragment(self, caller: Sink, call: int, _metadata: Metadata, message: bytes) -> None:
        """Defragment: hand LevelDB's deleted rows back to the disk; nobody waits but the caller."""
        messages.DefragmentRequest.FromString(message)
        self._server.refuse_learner()

        def done() -> None:
            caller.answer(call, b"")
            caller.flush()

        self._server.disk.defragment(done)

    def move_leader(self, caller: Sink, call: int, _metadata: Metadata, message: bytes) -> Answer:
        """MoveLeader: answered when the other one leads, with nothing in the answer (etcd)."""
        to = MemberID(messages.MoveLeaderRequest.FromString(message).targetID)
        server = self._server
        server.refuse_learner()
        leader = server.replica.leader
        waits = server.transfers.begin(caller, call, to, leader=leader, now=server.now())
        return None if waits else b""

    def hash(self, _caller: Sink, _call: int, _metadata: Metadata, message: bytes) -> bytes:
        """Hash: this member's own hash of its state (docs/divergences.md)."""
        messages.HashRequest.FromString(message)
        server = self._server
        server.refuse_learner()
        value, _, _ = server.store.hash_kv(0)
        return server.header() + messages.HashResponse(hash=value).SerializeToString()

    def hash_kv(self, _caller: Sink, _call: int, _metadata: Metadata, message: bytes) -> bytes:
        """HashKV: the hash of the key space at a revision; equal on members that agree.

        It is of what this member holds and asks nobody: whoever compares members wants just that.

        Raises:
            EtcdError: COMPACTED; FUTURE_REVISION, also if this member only lags; a learner refuses.
        """
        request = messages.HashKVRequest.FromString(message)
        server = self._server
        server.refuse_learner()
        value, compact_revision, hash_revision = server.store.hash_kv(request.revision)
        response = messages.HashKVResponse(
            hash=value, compact_revision=compact_revision, hash_revision=hash_revision
        )
        return server.header() + response.SerializeToString()

    def downgrade(self, caller: Sink, call: int, _metadata: Metadata, message: bytes) -> Answer:
        """Downgrade: refused with what is wrong with the request, or with what to do instead.

        The target is read first; the rest is said of the state as the majority knows it (etcd).
        """
        request = messages.DowngradeRequest.FromString(message)
        server = self._server
        server.refuse_learner()
        if request.action == messages.DowngradeRequest.CANCEL:
            refusal = errors.NO_INFLIGHT_DOWNGRADE
        elif request.action in {
            messages.DowngradeRequest.VALIDATE,
            messages.DowngradeRequest.ENABLE,
        }:
            refusal = downgrade_refusal(request.version)
        else:
            raise EtcdError(errors.UNKNOWN_METHOD)
        if refusal is errors.WRONG_DOWNGRADE_VERSION_FORMAT:
            raise EtcdError(refusal)

        def refuse() -> Answer:
            raise EtcdError(refusal)

        return server.answer_when_current(caller, call, refuse)


class SnapshotAPI:
    """The handler of `etcdserverpb.Maintenance/Snapshot`, where there is a disk to build one on."""

    def __init__(self, backups: Backups) -> None:
        self._backups = backups

    async def snapshot(self, _metadata: Metadata, stream: MessageStream) -> None:
        """Snapshot: this member's state in etcd's own form, then its SHA-256; learners too."""
        message = await stream.receive()
        if message is None:
            raise errors.no_request()
        messages.SnapshotRequest.FromString(message)

        async def send(chunks: list[Chunk]) -> None:
            await stream.send(
                [
                    messages.SnapshotResponse(
                        remaining_bytes=remaining, blob=blob, version=STORAGE_VERSION
                    ).SerializeToString()
                    for remaining, blob in chunks
                ]
            )

        await self._backups.serve(send)
