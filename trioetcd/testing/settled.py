"""Members at rest, compared row by row with each other and with the model."""

from __future__ import annotations

import sys

from trioetcd.mvcc.layout import META, META_SIZE
from trioetcd.ports import Row
from trioetcd.replica import Replica
from trioetcd.testing.model import KV, Model, key_value
from trioetcd.testing.violation import require

__all__ = ["check_equal", "table"]

_TABLES = b"ocrlLamu"
"""The tables of the state, by letter; the counts are compared by their sums."""


def table(replica: Replica, letter: bytes) -> list[Row]:
    """Give the rows of a table, durable or not, without their prefix."""
    epoch = replica.store.tables.current[:1]
    start = epoch + letter
    stop = epoch + bytes((letter[0] + 1,))
    skip = len(start)
    return [(key[skip:], value) for key, value in replica.space.scan(start, stop)]


def check_equal(replicas: list[Replica], model: Model) -> None:
    """Compare members that have all applied the whole log.

    Raises:
        Violation: two of them differ, or one differs from the model, or from itself.
    """
    first = replicas[0]
    for number in _TABLES:
        letter = bytes((number,))
        rows = table(first, letter)
        for replica in replicas[1:]:
            others = table(replica, letter)
            if others != rows:
                different = dict(rows).items() ^ dict(others).items()
                require(
                    False,
                    "table {} of {:x} differs from {:x}'s: {}",
                    letter,
                    replica.member_id,
                    first.member_id,
                    sorted(different)[:4],
                )
    for replica in replicas:
        _check_model(replica, model)


def _check_model(replica: Replica, model: Model) -> None:
    """Compare one member with the model, and its memory with its rows."""
    store = replica.store
    require(store.revision == model.revision, "revision {}", store.revision)
    require(store.compact_revision == model.compacted, "compacted {}", store.compact_revision)
    rows = table(replica, b"c")
    keys = model.rows()
    require(len(rows) == len(keys), "{} keys, not {}", len(rows), len(keys))
    for (key, row), kv in zip(rows, keys, strict=True):
        create, mod, version, lease = META.unpack_from(row)
        found = (key, create, mod, version, lease)
        wanted = (kv.key, kv.create, kv.mod, kv.version, kv.lease)
        require(found == wanted, "{} is there, not {}", found, wanted)
        _check_row(row[META_SIZE:], kv)
    counted = sum(int.from_bytes(value, "big") for _, value in table(replica, b"n"))
    require(counted == len(keys), "the directory counts {} keys of {}", counted, len(keys))
    leases = sorted(int.from_bytes(key, "big") for key, _ in table(replica, b"L"))
    require(leases == sorted(model.leases), "leases {}", leases)
    require(leases == sorted(replica.lessor), "the lessor knows other leases than rows")
    for lease in leases:
        attached = replica.lessor.keys_from(lease, b"", sys.maxsize)
        require(attached == model.attached(lease), "on lease {} are {}", lease, attached)


def _check_row(field: bytes, kv: KV) -> None:
    """Compare a stored KeyValue field with a key."""
    message = key_value(kv).SerializeToString()
    require(field.endswith(message), "{} is stored as {!r}", kv, field[:80])
