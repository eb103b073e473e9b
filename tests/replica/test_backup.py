"""A member as a database of etcd's: every bucket in etcd's form, every slice bounded."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.auth.asking import HASH, Command, enable, grant, grant_role, role_add, user_add
from tests.bbolt_reader import Database
from trioetcd.auth import AuthStore
from trioetcd.cluster import Member, Membership
from trioetcd.lease import Lessor
from trioetcd.mvcc import Store
from trioetcd.ports import BackendError, ReadView, Row
from trioetcd.replica import Backup, bootstrap
from trioetcd.replica.rows import META_ROW, decode_meta, encode_meta
from trioetcd.statemachine import Alarms
from trioetcd.testing.space import DictSpace
from trioetcd.values import ClusterID, Index, MemberID, Revision, Term

A = Member(MemberID(0xA), "a", ("https://a:2380",), ("https://a:2379", "https://a.b:2379"))
B = Member(MemberID(2**64 - 1), "", ("https://b:2380",))
C = Member(MemberID(0xC), "c", ("https://c:2380",), is_learner=True)

ROWS_MAX = 256
BYTES_MAX = 256 * 1024


class Counting:
    """A view that counts what is read, and may lack rows."""

    def __init__(self, view: ReadView) -> None:
        self.view = view
        self.rows = 0
        self.bytes = 0

    def get(self, key: bytes, /) -> bytes | None:
        found = self.view.get(key)
        self._note(found or b"")
        return found

    def scan(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        for row in self.view.scan(start, stop):
            self._note(row[1])
            yield row

    def scan_back(self, start: bytes, stop: bytes, /) -> Iterator[Row]:
        raise AssertionError("nothing is read backwards")

    def _note(self, value: bytes) -> None:
        self.rows += 1
        self.bytes += len(value)


class Made:
    """A backup carried out.

    Attributes:
        database: what it wrote.
        rows, size: the most that one slice read.
        held: the most bytes that waited to be written.
    """

    def __init__(self, view: ReadView) -> None:
        counting = Counting(view)
        backup = Backup(counting)
        self.rows = self.size = self.held = 0
        scratch, data = bytearray(), bytearray()
        steps = backup.steps()
        reply: bytes | None = None
        while True:
            counting.rows = counting.bytes = 0
            try:
                fetch = next(steps) if reply is None else steps.send(reply)
            except StopIteration:
                break
            self.rows = max(self.rows, counting.rows)
            self.size = max(self.size, counting.bytes)
            self.held = max(self.held, backup.scratch.waiting + backup.database.waiting)
            scratch += backup.scratch.take()
            data += backup.database.take()
            reply = b""
            if fetch is not None:
                reply = bytes(scratch[fetch.offset : fetch.offset + fetch.size])
        data += backup.database.take()
        data[: len(backup.head)] = backup.head
        self.database = Database(bytes(data))


class State:
    """The rows of a member, made without one."""

    def __init__(self) -> None:
        rows = bootstrap(cluster_id=ClusterID(1), member_id=A.id, members=[A, B])
        self.space = DictSpace({key: value for key, value in rows.items() if value is not None})
        epoch = b"\x80"
        self.store = Store(self.space, epoch=epoch, revision=1, compact_revision=-1)
        self.lessor = Lessor(self.space, epoch=epoch)
        self.alarms = Alarms(self.space, epoch=epoch)
        self.membership = Membership(self.space, epoch=epoch)
        self.auth = AuthStore(self.space, epoch=epoch)

    def ask(self, *commands: Command) -> None:
        for kind, request in commands:
            assert (0, b"") == self.auth.apply(kind, request.SerializeToString())

    def save(self, *, applied: int = 77, term: int = 3) -> Made:
        value = self.space.get(META_ROW)
        assert value is not None
        meta = decode_meta(value)._replace(
            applied=Index(applied),
            applied_term=Term(term),
            revision=Revision(self.store.revision),
            compact_revision=Revision(self.store.compact_revision),
        )
        self.space.put(META_ROW, encode_meta(meta))
        return Made(self.space)


def test_a_new_member() -> None:
    """A member that has nothing yet gives all buckets, most of them empty."""
    state = State()
    buckets = state.save().database.buckets
    assert {name for name, rows in buckets.items() if rows} == {b"members", b"meta"}
    assert list(buckets) == sorted(
        b"alarm auth authRoles authUsers cluster key lease members members_removed meta".split()
    )
    assert dict(buckets[b"meta"]) == {
        b"confState": b'{"voters":[10,18446744073709551615],"auto_leave":false}',
        b"consistent_index": (77).to_bytes(8, "big"),
        b"term": (3).to_bytes(8, "big"),
    }


def test_one_that_has_joined_and_knows_nothing() -> None:
    """An index of 0 is not written; etcd takes it for one that was never loaded."""
    assert b"consistent_index" not in dict(State().save(applied=0).database.buckets[b"meta"])


def test_members() -> None:
    """Members are in JSON under their hexadecimal number, as are those that were removed."""
    state = State()
    membership = state.membership
    membership._put(C)
    membership._remove(B.id)
    buckets = state.save().database.buckets
    assert [(key, json.loads(value)) for key, value in buckets[b"members"]] == [
        (
            b"a",
            {
                "id": 10,
                "peerURLs": ["https://a:2380"],
                "name": "a",
                "clientURLs": ["https://a:2379", "https://a.b:2379"],
            },
        ),
        (b"c", {"id": 12, "peerURLs": ["https://c:2380"], "isLearner": True, "name": "c"}),
    ]
    assert buckets[b"members_removed"] == [(b"ffffffffffffffff", b"removed")]
    conf_state = json.loads(dict(buckets[b"meta"])[b"confState"])
    assert conf_state == {"voters": [10], "learners": [12], "auto_leave": False}


def test_leases_and_alarms() -> None:
    """Leases keep their time, alarms their member; both have etcd's own numbers of fields."""
    state = State()
    state.lessor.grant(5, 60, 0.0)
    state.lessor.grant(-7, 2**33, 0.0)
    state.lessor.grant(2**62, 3, 0.0)
    state.lessor.checkpoint(2**62, 2)
    state.alarms.activate(2, 0xA)
    state.alarms.activate(1, 0xC)
    state.alarms.activate(1, 0xA)
    buckets = state.save().database.buckets
    assert buckets[b"lease"] == [
        ((5).to_bytes(8, "big"), b"\x08\x05\x10\x3c"),
        ((2**62).to_bytes(8, "big"), b"\x08" + b"\x80" * 8 + b"\x40\x10\x03\x18\x02"),
        (
            (-7).to_bytes(8, "big", signed=True),
            b"\x08\xf9" + b"\xff" * 8 + b"\x01\x10" + b"\x80" * 4 + b"\x20",
        ),
    ]
    assert buckets[b"alarm"] == [
        (b"\x08\x0a\x10\x01", b""),
        (b"\x08\x0a\x10\x02", b""),
        (b"\x08\x0c\x10\x01", b""),
    ]


def test_users_and_roles() -> None:
    """They are etcd's own messages under their names; whether they count is a byte."""
    state = State()
    state.ask(user_add("root"), user_add("é", no_password=True), role_add("r"))
    state.ask(grant("r", 1, b"k", b"l"), grant_role("root", "root"), grant_role("root", "r"))
    buckets = state.save().database.buckets
    assert dict(buckets[b"auth"]) == {
        b"authEnabled": b"\0",
        b"authRevision": (7).to_bytes(8, "big"),
    }
    assert buckets[b"authUsers"] == [
        (b"root", b"\x0a\x04root\x12\x3c" + HASH + b"\x1a\x01r\x1a\x04root\x22\x00"),
        ("é".encode(), b"\x0a\x02\xc3\xa9\x22\x02\x08\x01"),
    ]
    assert buckets[b"authRoles"] == [(b"r", b"\x0a\x01r\x12\x08\x08\x01\x12\x01k\x1a\x01l")]
    state.ask(enable())
    assert dict(state.save().database.buckets[b"auth"])[b"authEnabled"] == b"\x01"


@pytest.mark.parametrize("compact", [0, 1, 3])
def test_the_compact_revision(compact: int) -> None:
    """It is written twice, as scheduled and as finished; what it forgot is left out."""
    state = State()
    store = state.store
    for _ in range(4):
        store.put(b"k", b"v", 0, store.current(b"k"))
    store.compact(compact)
    buckets = state.save().database.buckets
    found = compact.to_bytes(8, "big") + b"_" + bytes(8)
    meta = dict(buckets[b"meta"])
    assert (found, found) == (meta[b"finishedCompactRev"], meta[b"scheduledCompactRev"])
    assert [key[:8] for key, _ in buckets[b"key"]] == [
        revision.to_bytes(8, "big") for revision in range(max(compact, 2), 6)
    ]


@pytest.mark.parametrize("value_bytes", [10, 10_000])
def test_every_slice_is_bounded(value_bytes: int) -> None:
    """However many keys there are, one slice reads so many rows and bytes, and holds so much."""
    few, many = (fill(count, value_bytes) for count in (300, 2_000))
    longest = value_bytes + 100
    for made in (few, many):
        assert made.rows <= ROWS_MAX + 2
        assert made.size <= BYTES_MAX + 64 * 100 + 2 * longest
    assert many.held <= max(few.held, 2 * BYTES_MAX) + 2 * longest


def fill(count: int, value_bytes: int) -> Made:
    state = State()
    store = state.store
    value = b"v" * value_bytes
    for number in range(count):
        store.put(b"%06d" % (number * 7919 % count), value, 0, None)
    store.compact(store.revision - count // 10)
    for number in range(0, count, 10):
        key = b"%06d" % number
        store.put(key, value, 0, store.current(key))
    for lease in range(1, count):
        state.lessor.grant(lease, 100, 0.0)
    state.ask(*(user_add(f"u{number:06}") for number in range(count)))
    state.ask(*(role_add(f"r{number:06}") for number in range(count)))
    made = state.save()
    assert count == len(made.database.buckets[b"authUsers"])
    assert count == len(made.database.buckets[b"authRoles"])
    assert len(made.database.buckets[b"key"]) == count + -(-count // 10)
    return made


@pytest.mark.parametrize("damage", [None, b"", b"x" * 140])
def test_a_damaged_meta_row_ends_it(damage: bytes | None) -> None:
    """Nothing is made of rows that are not what was written."""
    space = State().space
    space.delete(META_ROW)
    if damage is not None:
        space.put(META_ROW, damage)
    with pytest.raises(BackendError):
        Backup(space)
