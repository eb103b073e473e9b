"""A seeded source of requests: small key space, every option, and the edges of every value.

The same seed against servers that answer alike makes the same requests. The generator looks at
the reference's answers only to know which revisions and leases would be interesting next.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from trioetcd.keyrange import KeyRange, prefix_end
from trioetcd.schema import messages
from trioetcd.schema.messages import Message

KEYS: Final = (
    b"\0",
    b"a",
    b"a\0",
    b"aa",
    b"ab",
    b"b",
    b"b/\xff",
    b"c\x00\xff",
    b"\xff",
    b"\xff\xff",
)
SENTINEL: Final = b"zz-sentinel"
SENTINEL_WATCH: Final = 4_000_000
INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)
LEASES: Final = (1, 2, 3, 77, INT64_MAX, -5)
STREAMS: Final = 3
STABLE_MAX: Final = 6
"""etcd 3.5's sort keeps the order of equals only among so many."""

LONG_TTL: Final = 5000
"""No lease that outlives its step may expire within a run."""


@dataclass(frozen=True, slots=True)
class Call:
    """One unary request."""

    rpc: str
    request: Message


@dataclass(frozen=True, slots=True)
class BriefLease:
    """Grant with a TTL so short that it could expire within the run, and revoke at once."""

    request: messages.LeaseGrantRequest


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Keep-alives for these leases on one stream."""

    leases: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Watch:
    """One request on a watch stream."""

    stream: int
    request: messages.WatchRequest


@dataclass(frozen=True, slots=True)
class CloseStream:
    """End a watch stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Flush:
    """Write the sentinel key and compare what the watches have seen up to it."""


Step = Call | BriefLease | KeepAlive | Watch | CloseStream | Flush


@dataclass(slots=True)
class Generator:
    """Makes steps.

    Attributes:
        chance: the source of all choices.
        revision: the reference's newest revision.
        compacted: its compact revision.
        watches: the watch ids in use on each stream.
    """

    chance: random.Random
    revision: int = 1
    compacted: int = 0
    watches: dict[int, set[int]] = field(default_factory=dict)
    _count: int = 0

    def step(self) -> Step:
        """Make the next step."""
        self._count += 1
        kinds = {
            self._put: 26,
            self._range: 24,
            self._delete: 8,
            self._txn: 24,
            self._compact: 2,
            self._grant: 4,
            self._brief: 1,
            self._revoke: 2,
            self._time_to_live: 2,
            self._leases: 1,
            self._keep_alive: 1,
            self._watch: 5,
            self._flush: 2,
        }
        make = self.chance.choices(list(kinds), list(kinds.values()))[0]
        return make()

    def _often(self, share: float) -> bool:
        return self.chance.random() < share

    def _key(self) -> bytes:
        return b"" if self._often(0.01) else self.chance.choice(KEYS)

    def _end(self, key: bytes) -> bytes:
        return self.chance.choice(
            (
                b"",
                b"",
                b"",
                b"\0",
                prefix_end(key),
                self.chance.choice(KEYS),
                self.chance.choice(KEYS),
                b"\xff",
                key,
                key + b"\0",
            )
        )

    def _value(self) -> bytes:
        if self._often(0.002):
            return b"x" * self.chance.choice((100_000, 1_500_000, 1_572_864, 2_097_200))
        return self.chance.choice(
            (
                b"",
                b"\0",
                b"v",
                b"value %d" % self._count,
                b"value %d" % self._count,
                b"\xff" * self.chance.randrange(1, 40),
            )
        )

    def _at(self) -> int:
        near = self.chance.randint(-4, 2)
        return self.chance.choice(
            (
                0,
                self.revision + near,
                self.revision + near,
                self.compacted + self.chance.randint(-1, 1),
                self.chance.randint(1, max(1, self.revision)),
                self.chance.randint(self.compacted, max(self.compacted, self.revision)),
                -1,
                self.revision + 1000,
                self.chance.choice((INT64_MAX, INT64_MIN)),
            )
        )

    def _known(self) -> int:
        """A revision that is mostly there."""
        return self.chance.randint(self.compacted, max(self.compacted, self.revision))

    def _lease(self) -> int:
        return self.chance.choice((*LEASES, 0, 12345, INT64_MIN))

    def _range_request(self) -> messages.RangeRequest:
        key = self._key()
        request = messages.RangeRequest(key=key, range_end=self._end(key))
        request.serializable = self._often(0.3)
        if self._often(0.3):
            request.limit = self.chance.choice((1, 2, 3, 5, 100, -1, INT64_MAX))
        if self._often(0.4):
            request.revision = self._at() if self._often(0.4) else self._known()
        if self._often(0.4):
            request.sort_order = self.chance.randint(0, 2)
            request.sort_target = self.chance.randint(0, 4)
            if request.sort_target:
                _narrow(request)
        request.keys_only = self._often(0.15)
        request.count_only = self._often(0.1)
        for name in (
            "min_mod_revision",
            "max_mod_revision",
            "min_create_revision",
            "max_create_revision",
        ):
            if self._often(0.06):
                setattr(request, name, self._at())
        return request

    def _put_request(self) -> messages.PutRequest:
        request = messages.PutRequest(key=self._key(), value=self._value())
        request.prev_kv = self._often(0.3)
        if self._often(0.25):
            request.lease = self._lease()
        if self._often(0.08):
            request.ignore_value = True
            if self._often(0.8):
                request.value = b""
        if self._often(0.08):
            request.ignore_lease = True
            if self._often(0.8):
                request.lease = 0
        return request

    def _delete_request(self) -> messages.DeleteRangeRequest:
        key = self._key()
        end = b"" if self._often(0.5) else self._end(key)
        return messages.DeleteRangeRequest(key=key, range_end=end, prev_kv=self._often(0.4))

    def _compare(self) -> messages.Compare:
        key = self._key()
        compare = messages.Compare(
            key=key,
            result=self.chance.randint(0, 3) if self._often(0.98) else 9,
            target=self.chance.randint(0, 4) if self._often(0.98) else 9,
        )
        if self._often(0.3):
            compare.range_end = self._end(key)
        target = compare.target if self._often(0.95) else self.chance.randint(0, 5)
        if target == 0:
            compare.version = self.chance.choice((0, 0, 1, 1, 2, 3, -1, INT64_MAX))
        elif target == 1:
            compare.create_revision = self.chance.choice((0, 0, self._at(), self._known()))
        elif target == 2:
            compare.mod_revision = self.chance.choice((0, self._at(), self._known()))
        elif target == 3:
            compare.value = self._value()[:100]
        elif target == 4:
            compare.lease = self._lease()
        return compare

    def _operation(self, depth: int) -> messages.RequestOp:
        kind = self.chance.random()
        if kind < 0.35:
            return messages.RequestOp(request_put=self._put_request())
        if kind < 0.65:
            return messages.RequestOp(request_range=self._range_request())
        if kind < 0.82:
            return messages.RequestOp(request_delete_range=self._delete_request())
        if kind < 0.99 and depth < 4:
            return messages.RequestOp(request_txn=self._txn_request(depth + 1))
        if kind < 0.995:
            return messages.RequestOp(request_range=messages.RangeRequest(key=b"a"))
        return messages.RequestOp()

    def _txn_request(self, depth: int) -> messages.TxnRequest:
        most = 3 if depth else 4
        request = messages.TxnRequest(
            compare=[self._compare() for _ in range(self.chance.randrange(most))],
            success=[self._operation(depth) for _ in range(self.chance.randrange(most))],
            failure=[self._operation(depth) for _ in range(self.chance.randrange(most))],
        )
        if self._often(0.01):
            extra = messages.RequestOp(request_range=messages.RangeRequest(key=b"a"))
            branch = request.success if self._often(0.5) else request.failure
            branch.extend([extra] * self.chance.randint(120, 130))
        if self._often(0.005):
            compare = messages.Compare(key=b"a", version=1)
            request.compare.extend([compare] * self.chance.randint(126, 129))
        return request

    def _range(self) -> Step:
        return Call("KV/Range", self._range_request())

    def _put(self) -> Step:
        return Call("KV/Put", self._put_request())

    def _delete(self) -> Step:
        return Call("KV/DeleteRange", self._delete_request())

    def _txn(self) -> Step:
        request = self._txn_request(0)
        if _deletes_to_the_end(request):
            _forget_ignores(request)
        return Call("KV/Txn", request)

    def _compact(self) -> Step:
        revision = self._at() if self._often(0.5) else self._known()
        request = messages.CompactionRequest(revision=revision, physical=self._often(0.7))
        return Call("KV/Compact", request)

    def _grant(self) -> Step:
        ttl = self.chance.choice((LONG_TTL, 2 * LONG_TTL, 9_000_000_000, 9_000_000_001, INT64_MAX))
        lease = self.chance.choice(LEASES)
        # leases are listed in the order of their expiry: no two may share a second
        ttl += 10 * LEASES.index(lease) if ttl < 9_000_000_000 else 0
        return Call("Lease/LeaseGrant", messages.LeaseGrantRequest(ID=lease, TTL=ttl))

    def _brief(self) -> Step:
        ttl = self.chance.choice((0, -1, 1, 2, 3, 60, INT64_MIN))
        lease = self.chance.choice((0, 0, 424242, INT64_MIN))
        return BriefLease(messages.LeaseGrantRequest(ID=lease, TTL=ttl))

    def _revoke(self) -> Step:
        return Call("Lease/LeaseRevoke", messages.LeaseRevokeRequest(ID=self._lease()))

    def _time_to_live(self) -> Step:
        request = messages.LeaseTimeToLiveRequest(ID=self._lease(), keys=self._often(0.7))
        return Call("Lease/LeaseTimeToLive", request)

    def _leases(self) -> Step:
        return Call("Lease/LeaseLeases", messages.LeaseLeasesRequest())

    def _keep_alive(self) -> Step:
        return KeepAlive(tuple(self._lease() for _ in range(self.chance.randint(0, 3))))

    def _watch(self) -> Step:
        stream = self.chance.randrange(STREAMS)
        known = sorted(self.watches.get(stream, ()))
        kind = self.chance.random()
        if kind < 0.05 and stream in self.watches:
            return CloseStream(stream)
        if kind < 0.2:
            request = messages.WatchRequest(progress_request=messages.WatchProgressRequest())
            return Watch(stream, request)
        if (kind < 0.4 and known) or len(known) > 8:
            number = self.chance.choice(known) if self._often(0.9) else 999
            cancel = messages.WatchCancelRequest(watch_id=number)
            return Watch(stream, messages.WatchRequest(cancel_request=cancel))
        key = self._key()
        create = messages.WatchCreateRequest(key=key, range_end=self._end(key))
        create.prev_kv = self._often(0.5)
        create.fragment = self._often(0.2)
        create.progress_notify = self._often(0.2)
        if self._often(0.5):
            # a negative one is refused since 3.6; 3.5 takes it, to the harm of other watches
            start = max(0, self._at() if self._often(0.5) else self._known())
            # 3.5 forgets deletions at the very revision of a compaction (etcd issue 18089)
            create.start_revision = start + 1 if start == self.compacted else start
        if self._often(0.3):
            create.filters.extend(self.chance.choices((0, 1), k=self.chance.randint(1, 2)))
        if self._often(0.4):
            create.watch_id = self.chance.choice((1, 2, 7, 1000, -3, INT64_MAX, *known))
        return Watch(stream, messages.WatchRequest(create_request=create))

    def _flush(self) -> Step:
        return Flush()


def _narrow(request: messages.RangeRequest) -> None:
    """Shorten an interval to as many keys as etcd sorts stably."""
    interval = KeyRange.from_wire(request.key, request.range_end)
    inside = [key for key in sorted((*KEYS, SENTINEL)) if key in interval]
    if len(inside) > STABLE_MAX:
        request.range_end = inside[STABLE_MAX]


def _operations(txn: messages.TxnRequest) -> Iterator[messages.RequestOp]:
    for operation in (*txn.success, *txn.failure):
        yield operation
        if operation.HasField("request_txn"):
            yield from _operations(operation.request_txn)


def _deletes_to_the_end(txn: messages.TxnRequest) -> bool:
    return any(item.request_delete_range.range_end == b"\0" for item in _operations(txn))


def _forget_ignores(txn: messages.TxnRequest) -> None:
    r"""Spare etcd 3.5.1 what kills it: deleting up to ``\0`` and keeping a deleted key's value.

    It does not see that such an interval overlaps the put, and panics when the key is gone.
    """
    for item in _operations(txn):
        if item.HasField("request_put"):
            item.request_put.ignore_value = False
            item.request_put.ignore_lease = False
