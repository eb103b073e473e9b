"""The truth: what a cluster's log means, in plain dicts and lists, with nothing shared.

Every command a simulated client proposes is carried out here a second time, by code that knows
etcd's rules and nothing of `mvcc`, `lease` or `statemachine`. Whole history is kept, so any
answer at any revision can be told right from wrong. Answers are protobuf bytes without header, as
the applier gives them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import NamedTuple

from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind

__all__ = ["KV", "Change", "Effect", "Model", "key_value"]


class KV(NamedTuple):
    """A key at one revision."""

    key: bytes
    create: int
    mod: int
    version: int
    value: bytes
    lease: int


class Change(NamedTuple):
    """One event: what a key became (None: it was deleted) and what it was."""

    key: bytes
    now: KV | None
    before: KV | None


class Effect(NamedTuple):
    """What one command did.

    Attributes:
        revision: the store's revision after it.
        answer: the answer's bytes without header; or the name of the error's row.
        changes: its events, in order; empty if it took no revision.
    """

    revision: int
    answer: bytes | str
    changes: tuple[Change, ...]


def key_value(kv: KV) -> messages.KeyValue:
    """Make the message of a key."""
    return messages.KeyValue(
        key=kv.key,
        create_revision=kv.create,
        mod_revision=kv.mod,
        version=kv.version,
        value=kv.value,
        lease=kv.lease,
    )


class Model:
    """The state after a prefix of the log.

    Attributes:
        revision: the store's revision.
        compacted: the compact revision; -1 before the first compaction.
        leases: number to seconds granted, of the leases there are.
        changes: the events of each revision, beginning with an empty list for revisions 0 and 1.

    Args:
        ttl_min: the least time to live of a lease, as the members have it.
    """

    def __init__(self, *, ttl_min: int) -> None:
        self.revision = 1
        self.compacted = -1
        self.leases: dict[int, int] = {}
        self.changes: list[tuple[Change, ...]] = [(), ()]
        self._ttl_min = ttl_min
        self._current: dict[bytes, KV] = {}
        self._keys: list[bytes] = []
        self._history: dict[bytes, tuple[list[int], list[KV | None]]] = {}
        self._attached: dict[int, dict[bytes, None]] = {}

    # -- reads -------------------------------------------------------------------------------

    def get(self, key: bytes, revision: int = 0) -> KV | None:
        """Give a key at a revision (0: now)."""
        if not revision or revision >= self.revision:
            return self._current.get(key)
        found = self._history.get(key)
        if found is None:
            return None
        at = bisect_right(found[0], revision) - 1
        return None if at < 0 else found[1][at]

    def select(self, key: bytes, end: bytes, revision: int = 0) -> list[KV]:
        """Give the keys of an interval as etcd writes it (end empty: one key), in order."""
        if not end:
            kv = self.get(key, revision)
            return [] if kv is None else [kv]
        low = bisect_left(self._keys, key)
        high = len(self._keys) if end == b"\0" else bisect_left(self._keys, end)
        found = [self.get(each, revision) for each in self._keys[low:high]]
        return [kv for kv in found if kv is not None]

    def range(self, request: messages.RangeRequest, revision: int) -> messages.RangeResponse:
        """Answer a Range (key, range_end, limit, keys_only, count_only) at a revision."""
        found = self.select(request.key, request.range_end, revision)
        response = messages.RangeResponse(count=len(found))
        if request.count_only:
            return response
        if request.limit and len(found) > request.limit:
            found = found[: request.limit]
            response.more = True
        for kv in found:
            response.kvs.append(key_value(kv._replace(value=b"") if request.keys_only else kv))
        return response

    def events(self, revision: int, key: bytes, end: bytes) -> list[Change]:
        """Give what a watch of an interval is to see of one revision."""
        return [change for change in self.changes[revision] if _within(change.key, key, end)]

    def rows(self) -> list[KV]:
        """Give all keys there are now, in order."""
        return [self._current[key] for key in self._keys if key in self._current]

    def attached(self, lease: int) -> list[bytes]:
        """Give the keys on a lease, in order."""
        return sorted(self._attached.get(lease, ()))

    # -- commands ----------------------------------------------------------------------------

    def apply(self, kind: int, payload: bytes) -> Effect:
        """Carry out a command; one of a family that changes no keys answers with nothing."""
        changes: list[Change] = []
        revision = self.revision + 1
        match kind:
            case CommandKind.PUT:
                answer = self._put(messages.PutRequest.FromString(payload), revision, changes)
            case CommandKind.DELETE_RANGE:
                request = messages.DeleteRangeRequest.FromString(payload)
                answer = self._delete(request, revision, changes).SerializeToString()
            case CommandKind.TXN:
                answer = self._txn(messages.TxnRequest.FromString(payload), revision, changes)
            case CommandKind.COMPACT:
                answer = self._compact(messages.CompactionRequest.FromString(payload).revision)
            case CommandKind.LEASE_GRANT:
                answer = self._grant(messages.LeaseGrantRequest.FromString(payload))
            case CommandKind.LEASE_REVOKE:
                lease = messages.LeaseRevokeRequest.FromString(payload).ID
                answer = self._revoke(lease, revision, changes)
            case _:
                answer = b""
        if changes:
            self.revision = revision
            self.changes.append(tuple(changes))
        return Effect(self.revision, answer, tuple(changes))

    def _set(self, key: bytes, kv: KV | None, revision: int, changes: list[Change]) -> None:
        before = self._current.get(key)
        if kv is None:
            del self._current[key]
        else:
            self._current[key] = kv
        history = self._history.get(key)
        if history is None:
            history = self._history[key] = ([], [])
            insort(self._keys, key)
        history[0].append(revision)
        history[1].append(kv)
        old = before.lease if before is not None else 0
        new = kv.lease if kv is not None else 0
        if old != new:
            if old:
                self._attached[old].pop(key, None)
            if new:
                self._attached[new][key] = None
        changes.append(Change(key, kv, before))

    def _put(
        self, request: messages.PutRequest, revision: int, changes: list[Change]
    ) -> bytes | str:
        if request.lease and request.lease not in self.leases:
            return "LeaseNotFound"
        return self._put_key(request, revision, changes).SerializeToString()

    def _put_key(
        self, request: messages.PutRequest, revision: int, changes: list[Change]
    ) -> messages.PutResponse:
        before = self._current.get(request.key)
        create, version = (revision, 1) if before is None else (before.create, before.version + 1)
        kv = KV(request.key, create, revision, version, request.value, request.lease)
        self._set(request.key, kv, revision, changes)
        response = messages.PutResponse()
        if request.prev_kv and before is not None:
            response.prev_kv.CopyFrom(key_value(before))
        return response

    def _delete(
        self, request: messages.DeleteRangeRequest, revision: int, changes: list[Change]
    ) -> messages.DeleteRangeResponse:
        found = self.select(request.key, request.range_end)
        for kv in found:
            self._set(kv.key, None, revision, changes)
        response = messages.DeleteRangeResponse(deleted=len(found))
        if request.prev_kv:
            response.prev_kvs.extend(map(key_value, found))
        return response

    def _txn(
        self, request: messages.TxnRequest, revision: int, changes: list[Change]
    ) -> bytes | str:
        succeeded = all(map(self._holds, request.compare))
        operations = request.success if succeeded else request.failure
        for operation in operations:
            if operation.HasField("request_put"):
                lease = operation.request_put.lease
                if lease and lease not in self.leases:
                    return "LeaseNotFound"
        response = messages.TxnResponse(succeeded=succeeded)
        begin = self.revision
        for operation in operations:
            answer = response.responses.add()
            if operation.HasField("request_put"):
                put = self._put_key(operation.request_put, revision, changes)
                put.header.revision = revision
                answer.response_put.CopyFrom(put)
            elif operation.HasField("request_delete_range"):
                gone = self._delete(operation.request_delete_range, revision, changes)
                gone.header.revision = revision if changes else begin
                answer.response_delete_range.CopyFrom(gone)
            else:
                found = self.range(operation.request_range, 0)
                found.header.revision = revision if changes else begin
                answer.response_range.CopyFrom(found)
        return response.SerializeToString()

    def _holds(self, compare: messages.Compare) -> bool:
        kv = self._current.get(compare.key)
        target = compare.target
        if target == messages.Compare.VALUE:
            if kv is None:
                return False
            return _related(compare.result, kv.value, compare.value)
        if target == messages.Compare.MOD:
            return _related(compare.result, kv.mod if kv else 0, compare.mod_revision)
        if target == messages.Compare.CREATE:
            return _related(compare.result, kv.create if kv else 0, compare.create_revision)
        if target == messages.Compare.VERSION:
            return _related(compare.result, kv.version if kv else 0, compare.version)
        return _related(compare.result, kv.lease if kv else 0, compare.lease)

    def _compact(self, revision: int) -> bytes | str:
        if revision <= self.compacted:
            return "Compacted"
        if revision > self.revision:
            return "FutureRevision"
        self.compacted = revision
        return b""

    def _grant(self, request: messages.LeaseGrantRequest) -> bytes | str:
        if request.ID in self.leases:
            return "LeaseExist"
        ttl = max(request.TTL, self._ttl_min)
        self.leases[request.ID] = ttl
        self._attached[request.ID] = {}
        return messages.LeaseGrantResponse(ID=request.ID, TTL=ttl).SerializeToString()

    def _revoke(self, lease: int, revision: int, changes: list[Change]) -> bytes | str:
        if lease not in self.leases:
            return "LeaseNotFound"
        for key in self.attached(lease):
            self._set(key, None, revision, changes)
        del self.leases[lease]
        del self._attached[lease]
        return b""


def _within(key: bytes, start: bytes, end: bytes) -> bool:
    """Whether a key lies in an interval as etcd writes it."""
    if not end:
        return key == start
    return key >= start and (end == b"\0" or key < end)


def _related(result: int, left: int | bytes, right: int | bytes) -> bool:
    """Compare two quantities of one kind as a Compare asks."""
    if result == messages.Compare.EQUAL:
        return left == right
    if result == messages.Compare.NOT_EQUAL:
        return left != right
    assert isinstance(left, int) == isinstance(right, int)
    if isinstance(left, int) and isinstance(right, int):
        return left > right if result == messages.Compare.GREATER else left < right
    assert isinstance(left, bytes)
    assert isinstance(right, bytes)
    return left > right if result == messages.Compare.GREATER else left < right
