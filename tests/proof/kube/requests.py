"""The requests of kube-apiserver, field by field as it makes them.

Source: Kubernetes' `apiserver/pkg/storage/etcd3` and etcd's `client/v3/kubernetes`, July 2026.
"""

from __future__ import annotations

from typing import Final

from trioetcd.schema import messages

__all__ = [
    "COMPACT_KEY",
    "HEALTH_KEY",
    "LIMIT_MAX",
    "PROGRESS",
    "cancel_watch",
    "compare_and_compact",
    "count",
    "create_watch",
    "get",
    "keys",
    "optimistic_delete",
    "optimistic_put",
    "page",
    "plain",
    "prefix_end",
]

COMPACT_KEY: Final = b"compact_rev_key"
HEALTH_KEY: Final = b"/registry/health"
LIMIT_MAX: Final = 10_000
"""A list that drops objects doubles its limit from page to page up to this."""
PROGRESS: Final = messages.WatchRequest(
    progress_request=messages.WatchProgressRequest()
).SerializeToString()


def prefix_end(prefix: bytes) -> bytes:
    """Give the end of the interval of all keys that begin so; the last byte is not 0xff."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def get(key: bytes, revision: int = 0) -> messages.RangeRequest:
    """Read one object, or only the revision in the answer's header."""
    return messages.RangeRequest(key=key, limit=1, revision=revision)


def plain(key: bytes) -> messages.RangeRequest:
    """Read one key without a limit: health, and who compacted last."""
    return messages.RangeRequest(key=key)


def page(
    prefix: bytes, *, limit: int, revision: int = 0, start: bytes = b""
) -> messages.RangeRequest:
    """List a page, or, as RangeStream, a whole.

    Args:
        prefix: of the resource.
        limit: how many at most; 0: all.
        revision: what the first page was read at; 0 for the first.
        start: where the page begins, which is behind the last key of the one before.
    """
    return messages.RangeRequest(
        key=start or prefix, range_end=prefix_end(prefix), limit=limit, revision=revision
    )


def count(prefix: bytes) -> messages.RangeRequest:
    """Count the objects of a resource."""
    return messages.RangeRequest(key=prefix, range_end=prefix_end(prefix), count_only=True)


def keys(prefix: bytes) -> messages.RangeRequest:
    """List only the keys of a resource."""
    return messages.RangeRequest(key=prefix, range_end=prefix_end(prefix), keys_only=True)


def optimistic_put(
    key: bytes, value: bytes, expected: int, *, lease: int = 0, get_on_failure: bool = True
) -> messages.TxnRequest:
    """Write an object if it was changed last at `expected` (0: if it does not exist)."""
    put = messages.PutRequest(key=key, value=value, lease=lease)
    return _optimistic(
        key, expected, messages.RequestOp(request_put=put), get_on_failure=get_on_failure
    )


def optimistic_delete(key: bytes, expected: int) -> messages.TxnRequest:
    """Delete an object if it was changed last at `expected`."""
    delete = messages.DeleteRangeRequest(key=key)
    operation = messages.RequestOp(request_delete_range=delete)
    return _optimistic(key, expected, operation, get_on_failure=True)


def _optimistic(
    key: bytes,
    expected: int,
    operation: messages.RequestOp,
    *,
    get_on_failure: bool,
) -> messages.TxnRequest:
    otherwise = [messages.RequestOp(request_range=messages.RangeRequest(key=key))]
    return messages.TxnRequest(
        compare=[
            messages.Compare(
                result=messages.Compare.EQUAL,
                target=messages.Compare.MOD,
                key=key,
                mod_revision=expected,
            )
        ],
        success=[operation],
        failure=otherwise if get_on_failure else [],
    )


def compare_and_compact(version: int, revision: int) -> messages.TxnRequest:
    """Claim the next compaction: who knows the key's version may compact to `revision`."""
    put = messages.PutRequest(key=COMPACT_KEY, value=b"%d" % revision)
    return messages.TxnRequest(
        compare=[
            messages.Compare(
                result=messages.Compare.EQUAL,
                target=messages.Compare.VERSION,
                key=COMPACT_KEY,
                version=version,
            )
        ],
        success=[messages.RequestOp(request_put=put)],
        failure=[messages.RequestOp(request_range=messages.RangeRequest(key=COMPACT_KEY))],
    )


def create_watch(
    key: bytes, end: bytes, start: int, *, prev_kv: bool, progress: bool
) -> messages.WatchRequest:
    """Watch an interval from a revision on."""
    return messages.WatchRequest(
        create_request=messages.WatchCreateRequest(
            key=key,
            range_end=end,
            start_revision=start,
            prev_kv=prev_kv,
            progress_notify=progress,
        )
    )


def cancel_watch(watch: int) -> messages.WatchRequest:
    """Want no more of a watch."""
    return messages.WatchRequest(cancel_request=messages.WatchCancelRequest(watch_id=watch))
