"""A member's state as a database of etcd's, of which ``etcdutl snapshot restore`` makes a cluster.

Everything is read from rows pinned on the disk: what is applied but not durable is not in it, and
revision, compact revision and applied index belong to what is. The form is etcd 3.5's, which later
versions take as well. Neither the storage's nor the cluster's version is written: a cluster that
begins anew settles on its own, and etcd 3.6 would refuse to start from a storage version of 3.7.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from trioetcd.auth import read_roles, read_standing, read_users
from trioetcd.cluster import Member, read_members
from trioetcd.lease import read_leases
from trioetcd.mvcc import Sorter, Steps, Tables, export_revisions, pack_revision
from trioetcd.ports import BackendError, ReadView
from trioetcd.replica.rows import META_ROW, CorruptLog, Meta, decode_meta
from trioetcd.schema import messages
from trioetcd.schema.bbolt import BboltWriter
from trioetcd.schema.fastpath import varint
from trioetcd.statemachine import read_alarms
from trioetcd.values import MemberID

__all__ = ["Backup"]

_SLICE_ROWS: Final = 256
"""Leases, users or roles written in one slice: about 0.3 ms."""

_REMOVED: Final = b"removed"

_Rows = Iterable[tuple[bytes, bytes]]


class Backup:
    """One backup under way: `steps` fills `database`, with the help of `scratch`.

    Attributes:
        meta: of which applied index, revision and so on it is a backup.
        database: what is to be written, taken out as it comes.
        scratch: rows being sorted, likewise, and read back.
        head: what goes over the first pages of the database; empty until all steps are done.

    Args:
        view: the rows; must not change until all steps are done.

    Raises:
        BackendError: the rows cannot be read.
    """

    def __init__(self, view: ReadView) -> None:
        self.meta = _read_meta(view)
        self.database = BboltWriter()
        self.scratch = Sorter()
        self.head = b""
        self._view = view

    def steps(self) -> Steps[None]:
        """Do the work, in slices of at most about 2 ms.

        Raises:
            BackendError: the rows cannot be read.
            EtcdError: CORRUPT: a row is missing.
        """
        view, meta, database = self._view, self.meta, self.database
        epoch = bytes((meta.epoch,))
        database.begin(b"key")
        yield from export_revisions(
            view, Tables(epoch), meta.compact_revision, self.scratch, database.put
        )
        database.end()
        yield from self._fill_slowly(b"lease", map(_lease, read_leases(view, epoch)))
        members, removed = read_members(view, epoch)
        self._fill(b"members", ((_name(member.id), _member(member)) for member in members))
        self._fill(b"members_removed", ((_name(member), _REMOVED) for member in removed))
        self._fill(b"meta", _meta_rows(meta, members))
        self._fill(b"alarm", ((_alarm(*alarm), b"") for alarm in read_alarms(view, epoch)))
        self._fill(b"cluster", ())
        self._fill(b"auth", _auth(read_standing(view, epoch)))
        yield from self._fill_slowly(b"authUsers", read_users(view, epoch))
        yield from self._fill_slowly(b"authRoles", read_roles(view, epoch))
        self.head = database.finish()

    def _fill(self, bucket: bytes, rows: _Rows) -> None:
        """Write a bucket of a few rows."""
        self.database.begin(bucket)
        for key, value in sorted(rows):
            self.database.put(key, value)
        self.database.end()

    def _fill_slowly(self, bucket: bytes, rows: _Rows) -> Steps[None]:
        """Write a bucket of any number of rows, which come in order."""
        self.database.begin(bucket)
        for number, (key, value) in enumerate(rows):
            self.database.put(key, value)
            if number % _SLICE_ROWS == 0:
                yield None
        yield None
        self.database.end()


def _read_meta(view: ReadView) -> Meta:
    value = view.get(META_ROW)
    if value is None:
        raise BackendError("the meta row is missing")
    try:
        return decode_meta(value)
    except CorruptLog as error:
        raise BackendError(str(error)) from error


def _meta_rows(meta: Meta, members: Iterable[Member]) -> _Rows:
    compact_revision = meta.compact_revision
    yield b"confState", _conf_state(members)
    if meta.applied > 0:  # etcd never writes an index of 0
        yield b"consistent_index", meta.applied.to_bytes(8, "big")
        yield b"term", meta.applied_term.to_bytes(8, "big")
    if compact_revision >= 0:
        # What is superseded at it has been left out, so compaction has come that far.
        yield b"finishedCompactRev", pack_revision(compact_revision)
        yield b"scheduledCompactRev", pack_revision(compact_revision)


def _conf_state(members: Iterable[Member]) -> bytes:
    """Give Raft's configuration as etcd has it: raftpb.ConfState in JSON."""
    found: dict[str, list[int] | bool] = {}
    for member in sorted(members, key=lambda member: member.id):
        role = found.setdefault("learners" if member.is_learner else "voters", [])
        assert isinstance(role, list)
        role.append(member.id)
    return _json(found | {"auto_leave": False})


def _auth(standing: tuple[bool, int] | None) -> _Rows:
    """Give etcd's form of whether auth is enabled, and of the auth revision.

    Nothing if there never was a change: etcd begins at its first revision, as this store does.
    """
    if standing is not None:
        enabled, revision = standing
        yield b"authEnabled", bytes((enabled,))
        yield b"authRevision", revision.to_bytes(8, "big")


def _name(member: MemberID) -> bytes:
    """Give the key of a member: its number in hexadecimal."""
    return b"%x" % member


def _member(member: Member) -> bytes:
    """Give etcd's form of a member, which leaves out what has not been told."""
    found: dict[str, object] = {"id": member.id, "peerURLs": member.peer_urls}
    if member.is_learner:
        found["isLearner"] = True
    if member.name:
        found["name"] = member.name
    if member.client_urls:
        found["clientURLs"] = member.client_urls
    return _json(found)


def _alarm(kind: int, member: int) -> bytes:
    """Give etcd's form of an alarm, which is the key of a row without a value."""
    return messages.AlarmMember(memberID=member, alarm=kind).SerializeToString()


def _lease(row: tuple[int, int, int]) -> tuple[bytes, bytes]:
    """Give etcd's form of a lease: leasepb.Lease, of which ID, TTL and RemainingTTL are 1 to 3."""
    lease, granted, remaining = row
    rest = b"\x18" + varint(remaining) if remaining else b""
    value = b"\x08%b\x10%b%b" % (varint(lease), varint(granted), rest)
    return lease.to_bytes(8, "big", signed=True), value


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
