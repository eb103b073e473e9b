"""A seeded source of single requests: small key space, every option, the edges of every value."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from trioetcd.keyrange import KeyRange, prefix_end
from trioetcd.schema import messages

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
LARGE: Final = tuple(b"l/%d" % number for number in range(5))
"""Keys with values so large that a few of them together are more than one response may hold."""

LARGE_END: Final = b"l0"
SENTINEL: Final = b"zz-sentinel"
INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)
LEASES: Final = (1, 2, 3, 77, INT64_MAX, -5)
STABLE_MAX: Final = 6
"""etcd 3.5's sort keeps the order of equals only among so many."""


@dataclass(slots=True)
class Requests:
    """Makes requests.

    Attributes:
        chance: the source of all choices.
        revision: the reference's newest revision.
        compacted: its compact revision.
    """

    chance: random.Random
    revision: int = 1
    compacted: int = 0
    _count: int = 0

    def often(self, share: float) -> bool:
        return self.chance.random() < share

    def key(self) -> bytes:
        return b"" if self.often(0.01) else self.chance.choice(KEYS)

    def end(self, key: bytes) -> bytes:
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

    def value(self) -> bytes:
        if self.often(0.002):
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

    def at(self) -> int:
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

    def known(self) -> int:
        """A revision that is mostly there."""
        return self.chance.randint(self.compacted, max(self.compacted, self.revision))

    def lease(self) -> int:
        return self.chance.choice((*LEASES, 0, 12345, INT64_MIN))

    def range_request(self) -> messages.RangeRequest:
        key = self.key()
        request = messages.RangeRequest(key=key, range_end=self.end(key))
        request.serializable = self.often(0.3)
        if self.often(0.3):
            request.limit = self.chance.choice((1, 2, 3, 5, 100, -1, INT64_MAX, INT64_MIN))
        if self.often(0.4):
            request.revision = self.at() if self.often(0.4) else self.known()
        if self.often(0.4):
            request.sort_order = self.chance.randint(0, 2)
            request.sort_target = self.chance.randint(0, 4)
            if request.sort_target:
                _narrow(request)
        request.keys_only = self.often(0.15)
        request.count_only = self.often(0.1)
        for name in (
            "min_mod_revision",
            "max_mod_revision",
            "min_create_revision",
            "max_create_revision",
        ):
            if self.often(0.06):
                setattr(request, name, self.at())
        return request

    def put_request(self) -> messages.PutRequest:
        request = messages.PutRequest(key=self.key(), value=self.value())
        request.prev_kv = self.often(0.3)
        if self.often(0.25):
            request.lease = self.lease()
        if self.often(0.08):
            request.ignore_value = True
            if self.often(0.8):
                request.value = b""
        if self.often(0.08):
            request.ignore_lease = True
            if self.often(0.8):
                request.lease = 0
        return request

    def delete_request(self) -> messages.DeleteRangeRequest:
        key = self.key()
        end = b"" if self.often(0.5) else self.end(key)
        return messages.DeleteRangeRequest(key=key, range_end=end, prev_kv=self.often(0.4))

    def compare(self) -> messages.Compare:
        key = self.key()
        compare = messages.Compare(
            key=key,
            result=self.chance.randint(0, 3) if self.often(0.98) else 9,
            target=self.chance.randint(0, 4) if self.often(0.98) else 9,
        )
        if self.often(0.3):
            compare.range_end = self.end(key)
        target = compare.target if self.often(0.95) else self.chance.randint(0, 5)
        if target == 0:
            compare.version = self.chance.choice((0, 0, 1, 1, 2, 3, -1, INT64_MAX))
        elif target == 1:
            compare.create_revision = self.chance.choice((0, 0, self.at(), self.known()))
        elif target == 2:
            compare.mod_revision = self.chance.choice((0, self.at(), self.known()))
        elif target == 3:
            compare.value = self.value()[:100]
        elif target == 4:
            compare.lease = self.lease()
        return compare

    def _operation(self, depth: int) -> messages.RequestOp:
        kind = self.chance.random()
        if kind < 0.35:
            return messages.RequestOp(request_put=self.put_request())
        if kind < 0.65:
            return messages.RequestOp(request_range=self.range_request())
        if kind < 0.82:
            return messages.RequestOp(request_delete_range=self.delete_request())
        if kind < 0.99 and depth < 4:
            return messages.RequestOp(request_txn=self.txn_request(depth + 1))
        if kind < 0.995:
            return messages.RequestOp(request_range=messages.RangeRequest(key=b"a"))
        return messages.RequestOp()

    def txn_request(self, depth: int) -> messages.TxnRequest:
        most = 3 if depth else 4
        request = messages.TxnRequest(
            compare=[self.compare() for _ in range(self.chance.randrange(most))],
            success=[self._operation(depth) for _ in range(self.chance.randrange(most))],
            failure=[self._operation(depth) for _ in range(self.chance.randrange(most))],
        )
        if self.often(0.01):
            extra = messages.RequestOp(request_range=messages.RangeRequest(key=b"a"))
            branch = request.success if self.often(0.5) else request.failure
            branch.extend([extra] * self.chance.randint(120, 130))
        if self.often(0.005):
            compare = messages.Compare(key=b"a", version=1)
            request.compare.extend([compare] * self.chance.randint(126, 129))
        return request


def _narrow(request: messages.RangeRequest) -> None:
    """Shorten an interval to as many keys as etcd sorts stably."""
    interval = KeyRange.from_wire(request.key, request.range_end)
    inside = [key for key in sorted((*KEYS, *LARGE, SENTINEL)) if key in interval]
    if len(inside) > STABLE_MAX:
        request.range_end = inside[STABLE_MAX]


def _operations(txn: messages.TxnRequest) -> Iterator[messages.RequestOp]:
    for operation in (*txn.success, *txn.failure):
        yield operation
        if operation.HasField("request_txn"):
            yield from _operations(operation.request_txn)


def spare(txn: messages.TxnRequest) -> None:
    r"""Spare etcd 3.5.1 what kills it: deleting up to ``\0`` and keeping a deleted key's value.

    It does not see that such an interval overlaps the put, and panics when the key is gone.
    """
    if _deletes_to_the_end(txn):
        for item in _operations(txn):
            if item.HasField("request_put"):
                item.request_put.ignore_value = False
                item.request_put.ignore_lease = False


def agree(txn: messages.TxnRequest, first: int, last: int) -> None:
    """Let a txn's ranges read only revisions from `first` to `last`, which are there.

    Of a txn that fails because it reads others, members of 3.5 that were not asked leave out the
    ranges and do the rest: from then on they differ (etcd issue 21432, mended in 3.7).
    """
    for item in _operations(txn):
        if item.HasField("request_range") and not first <= item.request_range.revision <= last:
            item.request_range.revision = 0


def hides_puts(txn: messages.TxnRequest) -> bool:
    """Whether only nested txns put, which 3.5 overlooks when NOSPACE is raised."""
    own = any(item.HasField("request_put") for item in (*txn.success, *txn.failure))
    return not own and any(item.HasField("request_put") for item in _operations(txn))


def _deletes_to_the_end(txn: messages.TxnRequest) -> bool:
    return any(item.request_delete_range.range_end == b"\0" for item in _operations(txn))
