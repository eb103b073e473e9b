"""What etcd 3.7 answers where it is not what 3.5.1 answers, case by case.

There is no 3.7 to ask here, so what it answers is written down from its source (release 3.7.1;
each case says where). `test_newer` asks a member and compares it with `answer`; the real 3.5.1
is asked the same and compared with `before`, so that nobody takes for new what is old. The
generator keeps away from all of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.differential.comparison import Fields
from trioetcd.schema import messages
from trioetcd.schema.messages import Message

__all__ = ["STREAMED", "Case", "Streamed", "cases", "negative_start"]

SINCE_36: Final = "3.6"
SINCE_37: Final = "3.7"
COMPACTED: Final = "etcdserver: mvcc: required revision has been compacted"
NO_SPACE: Final = "RESOURCE_EXHAUSTED: etcdserver: mvcc: database space exceeded"


def negative_start(revision: int) -> Fields:
    """Give the answer to a watch with a negative start revision (3.6, api/v3rpc/watch.go)."""
    return {
        "header": "set",
        "header.revision": revision,
        "watch_id": -1,
        "created": True,
        "canceled": True,
        "cancel_reason": COMPACTED,
    }


@dataclass(frozen=True, slots=True)
class Case:
    """One unary request and its answers.

    Attributes:
        name: what it is about.
        since: the first release that answers so.
        source: where in etcd's source.
        setup: what is called before.
        rpc: service and method.
        request: the request.
        answer: the fields that 3.7.1 answers, None for one that is not set; others are not
            looked at.
        before: what 3.5.1 answers instead; None if it is not to be asked, because it would die.
    """

    name: str
    since: str
    source: str
    setup: tuple[tuple[str, Message], ...]
    rpc: str
    request: Message
    answer: Fields
    before: Fields | None


def _alarm(action: str, kind: int, member: int = 7) -> tuple[str, Message]:
    request = messages.AlarmRequest(memberID=member)
    request.action = messages.AlarmRequest.AlarmAction.Value(action)
    request.alarm = kind
    return "Maintenance/Alarm", request


_PUT: Final[tuple[str, Message]] = ("KV/Put", messages.PutRequest(key=b"k", value=b"1"))
_NESTED: Final = messages.TxnRequest(
    success=[
        messages.RequestOp(
            request_txn=messages.TxnRequest(
                success=[messages.RequestOp(request_put=messages.PutRequest(key=b"k"))]
            )
        )
    ]
)


def _sorted(order: int, target: int) -> messages.RangeRequest:
    request = messages.RangeRequest(key=b"a", range_end=b"z")
    request.sort_order = order
    request.sort_target = target
    return request


def cases(at: int) -> tuple[Case, ...]:
    """Give all cases for a member whose revision is `at`, without an alarm."""
    three = (_PUT, _PUT, _PUT)
    compact = ("KV/Compact", messages.CompactionRequest(revision=at + 2, physical=True))
    return (
        Case(
            name="HashKV says which revision was hashed",
            since=SINCE_36,
            source="server/etcdserver/api/v3rpc/maintenance.go, HashKV",
            setup=three,
            rpc="Maintenance/HashKV",
            request=messages.HashKVRequest(revision=at + 2),
            answer={"hash_revision": at + 2, "header.revision": at + 3},
            before={"hash_revision": None, "header.revision": at + 3},
        ),
        Case(
            name="HashKV of the newest revision says which that is",
            since=SINCE_36,
            source="server/storage/mvcc/kvstore.go, hashByRev",
            setup=three,
            rpc="Maintenance/HashKV",
            request=messages.HashKVRequest(),
            answer={"hash_revision": at + 3},
            before={"hash_revision": None},
        ),
        Case(
            name="HashKV of the compact revision",
            since=SINCE_36,
            source="server/storage/mvcc/kvstore.go, hashByRev",
            setup=(*three, compact),
            rpc="Maintenance/HashKV",
            request=messages.HashKVRequest(revision=at + 2),
            answer={"hash_revision": at + 2, "compact_revision": at + 2, "error": None},
            before={"error": f"OUT_OF_RANGE: {COMPACTED}"},
        ),
        Case(
            name="HashKV below the compact revision",
            since="3.5",
            source="server/storage/mvcc/kvstore.go, hashByRev",
            setup=(*three, compact),
            rpc="Maintenance/HashKV",
            request=messages.HashKVRequest(revision=at + 1),
            answer={"error": f"OUT_OF_RANGE: {COMPACTED}"},
            before={"error": f"OUT_OF_RANGE: {COMPACTED}"},
        ),
        Case(
            name="Status: versions, quota and downgrade",
            since=SINCE_36,
            source="server/etcdserver/api/v3rpc/maintenance.go, Status",
            setup=(),
            rpc="Maintenance/Status",
            request=messages.StatusRequest(),
            answer={
                "version": "3.7.1",
                "storageVersion": "3.7.0",
                "dbSizeQuota": 2 * 1024**3,
                "downgradeInfo": "set",
                "downgradeInfo.enabled": None,
                "downgradeInfo.targetVersion": None,
            },
            before={
                "version": "3.5.1",
                "storageVersion": None,
                "dbSizeQuota": None,
                "downgradeInfo": None,
            },
        ),
        Case(
            name="a put within a nested txn, under NOSPACE",
            since=SINCE_37,
            source="server/storage/quota.go, costTxnReq",
            setup=(_alarm("ACTIVATE", 1),),
            rpc="KV/Txn",
            request=_NESTED,
            answer={"error": NO_SPACE},
            before={"succeeded": True, "header.revision": at + 1},
        ),
        Case(
            name="NOSPACE outlives CORRUPT",
            since=SINCE_36,
            source="server/etcdserver/apply/uber_applier.go, restoreAlarms",
            setup=(_alarm("ACTIVATE", 1), _alarm("ACTIVATE", 2), _alarm("DEACTIVATE", 2)),
            rpc="KV/Put",
            request=messages.PutRequest(key=b"k"),
            answer={"error": NO_SPACE},
            before={"error": None, "header.revision": at + 1},
        ),
        Case(
            name="a sort target that does not exist",
            since=SINCE_36,
            source="server/etcdserver/api/v3rpc/key.go, checkRangeRequest",
            setup=three,
            rpc="KV/Range",
            request=_sorted(1, 9),
            answer={"error": "INVALID_ARGUMENT: etcdserver: invalid sort option"},
            before=None,
        ),
        Case(
            name="a sort order that does not exist",
            since=SINCE_36,
            source="server/etcdserver/api/v3rpc/key.go, checkRangeRequest",
            setup=three,
            rpc="KV/Range",
            request=_sorted(9, 1),
            answer={"error": "INVALID_ARGUMENT: etcdserver: invalid sort option"},
            before={"error": None, "count": 1},
        ),
    )


@dataclass(frozen=True, slots=True)
class Streamed:
    """One RangeStream (3.7) over keys `s/000` to `s/099`, and what it gives.

    Attributes:
        name: what it is about.
        request: the request.
        keys: how many keys it gives in all.
        first: how many the first chunk may hold at most.
        count: the last chunk's count.
        more: the last chunk's `more`.
        error: the error, if it is refused.
    """

    name: str
    request: messages.RangeRequest
    keys: int = 0
    first: int = 10
    count: int = 0
    more: bool = False
    error: str = ""


def _stream(**fields: bool | int | bytes) -> messages.RangeRequest:
    given = {"key": b"s/", "range_end": b"s0", **fields}
    request = messages.RangeRequest()
    for name, value in given.items():
        setattr(request, name, value)
    return request


_SORT: Final = "UNIMPLEMENTED: RangeStream does not support custom sort orders"
_FILTER: Final = "UNIMPLEMENTED: RangeStream does not support revision filters"

STREAMED: Final = (
    Streamed("all", _stream(), keys=100, count=100),
    Streamed("a limit", _stream(limit=25), keys=25, count=100, more=True),
    Streamed("a limit below ten", _stream(limit=3), keys=3, first=3, count=100, more=True),
    Streamed("as many as there are", _stream(limit=100), keys=100, count=100),
    Streamed("only the count", _stream(count_only=True), count=100),
    Streamed("only keys", _stream(keys_only=True), keys=100, count=100),
    Streamed("nothing there", _stream(key=b"t/", range_end=b"t0")),
    Streamed("an empty interval", _stream(range_end=b"a")),
    Streamed("one key", _stream(key=b"s/007", range_end=b""), keys=1, count=1),
    Streamed("an old revision", _stream(revision=11), keys=10, count=10),
    Streamed("by key, ascending", _stream(sort_order=1), keys=100, count=100),
    Streamed("by key, descending", _stream(sort_order=2), error=_SORT),
    Streamed("by version", _stream(sort_order=1, sort_target=1), error=_SORT),
    Streamed("a filter", _stream(min_mod_revision=1), error=_FILTER),
    Streamed("another filter", _stream(max_create_revision=1), error=_FILTER),
    Streamed("no key", _stream(key=b""), error="INVALID_ARGUMENT: etcdserver: key is not provided"),
    Streamed(
        "no such sort",
        _stream(sort_target=9),
        error="INVALID_ARGUMENT: etcdserver: invalid sort option",
    ),
    Streamed(
        "a revision to come",
        _stream(revision=1000),
        error="OUT_OF_RANGE: etcdserver: mvcc: required revision is a future revision",
    ),
)
"""server/etcdserver/v3_server.go, rangeStream, and api/v3rpc/key.go, checkRangeStreamRequest. How
large the chunks after the first are is not compared: each implementation adapts them."""
