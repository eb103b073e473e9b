"""Every row the replica writes for itself, and what a restart reads from them.

==========================  ===============================================================
``FIRST_ROW``               the format of the data directory; also the sentinel below all rows
``B`` + number              the batch chain: one row per batch, checksums chained
``M``                       hard state, applied, revision, epoch, bounds of log and chain
``e`` + first index         one group of log entries (`raft.encode_group`)
``LAST_ROW``                the sentinel above all rows
==========================  ===============================================================

Every batch rewrites ``M``, so a batch is whole and in order or it is not there at all: entries,
hard state, applied index and the effects it speaks of stand or fall together. The chain tells
apart a lost tail (never answered for) from a hole: LevelDB without paranoia drops a damaged
stretch of its log silently, and what follows would otherwise look sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from trioetcd.cluster import Member, encode_member, member_row
from trioetcd.ports import EPOCH_FIRST, FIRST_ROW, LAST_ROW, ReadView
from trioetcd.raft import CorruptGroupError, Group, HardState, decode_group, encode_group
from trioetcd.values import ClusterID, Index, MemberID, Revision, Term

__all__ = [
    "CHAIN_BYTES_KEPT",
    "FORMAT",
    "META_ROW",
    "CorruptLog",
    "GroupBounds",
    "Link",
    "Meta",
    "Recovered",
    "bootstrap",
    "bootstrap_joiner",
    "chain_key",
    "check_chain",
    "decode_link",
    "decode_meta",
    "encode_link",
    "encode_meta",
    "force_commit",
    "group_key",
    "link_crc",
    "pack_meta",
    "recover",
]

FORMAT: Final = b"trioetcd data 2"
"""The value of the first row; another one is another program's or another age's data."""

META_ROW: Final = b"M"
_CHAIN: Final = b"B"
_LOG: Final = b"e"

CHAIN_BYTES_KEPT: Final = 2 * (16 << 20)
"""How many bytes of batches the chain reaches back: the two memtables that LevelDB may have to
rebuild from its logs (16 MiB each, `storage.leveldb`)."""

_META: Final = Struct(">B8QqQB5Q")
_LINK: Final = Struct(">IIQQQ")
"""The rows without the checksum in front of them, which has four bytes."""

_META_FORMAT: Final = 1


class CorruptLog(Exception):  # noqa: N818 - the contract's name; it says what is, not what failed
    """What is on the disk is not what was written: the sentence says where. Refuse to start."""


class Meta(NamedTuple):
    """Row ``M``, as of one batch.

    Attributes:
        batch: the number of the batch this row was written in.
        chain_first: the oldest batch whose link is still kept.
        term: Raft's current term.
        vote: whom this member voted for in it; 0 for nobody.
        commit: the commit index known when the batch was cut; never below `applied`.
        applied: the last entry whose effects are in this batch or an earlier one.
        applied_term: its term.
        revision: the store's revision after it.
        compact_revision: the store's compact revision after it.
        chain_bytes: the bytes of all batches since the data directory began.
        epoch: the prefix byte of the state tables.
        first: the first index of the log that is kept; a group begins there.
        first_term: the term of the index before `first`.
        last: the last index of the log.
        cluster_id: the cluster.
        member_id: this member.
    """

    batch: int
    chain_first: int
    term: Term
    vote: MemberID
    commit: Index
    applied: Index
    applied_term: Term
    revision: Revision
    compact_revision: Revision
    chain_bytes: int
    epoch: int
    first: Index
    first_term: Term
    last: Index
    cluster_id: ClusterID
    member_id: MemberID


class Link(NamedTuple):
    """One row of the batch chain.

    Attributes:
        crc: the checksum of the rest, which is what the successor chains to.
        previous: the predecessor's `crc`.
        meta: the checksum of row ``M`` as written in the same batch.
        number: the batch's number.
        last: the last index of the log after the batch.
        position: the bytes of all batches up to this one.
    """

    crc: int
    previous: int
    meta: int
    number: int
    last: int
    position: int


class GroupBounds(NamedTuple):
    """Where a group on the disk begins, and how long its encoded form is."""

    first: Index
    size: int


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a data directory held when it was opened.

    Attributes:
        hard_state: term, vote and commit index.
        first: the first index of the log that is kept.
        first_term: the term of the index before it.
        last: the last index of the log.
        runs: where each term begins among the kept entries.
        bounds: the groups on the disk, in order.
        entries: the groups that hold entries above `applied`, in order.
        applied: the last applied index.
        applied_term: its term.
        revision: the store's revision.
        compact_revision: the store's compact revision.
        epoch: the prefix byte of the state tables.
        batch: the number of the last batch.
        chain_crc: its link's checksum.
        chain_first: the oldest kept link.
        chain_marks: ``(number, position)`` of some kept links, oldest first.
        chain_bytes: the bytes of all batches so far.
        cluster_id: the cluster this data belongs to.
        member_id: the member this data belongs to.
    """

    hard_state: HardState
    first: Index
    first_term: Term
    last: Index
    runs: tuple[tuple[Index, Term], ...]
    bounds: tuple[GroupBounds, ...]
    entries: tuple[Group, ...]
    applied: Index
    applied_term: Term
    revision: Revision
    compact_revision: Revision
    epoch: bytes
    batch: int
    chain_crc: int
    chain_first: int
    chain_marks: tuple[tuple[int, int], ...]
    chain_bytes: int
    cluster_id: ClusterID
    member_id: MemberID


def chain_key(number: int) -> bytes:
    """Give the key of a batch's link."""
    return _CHAIN + number.to_bytes(8, "big")


def group_key(first: int) -> bytes:
    """Give the key of the group that begins at index `first`."""
    return _LOG + first.to_bytes(8, "big")


def encode_meta(meta: Meta) -> bytes:
    """Give the stored form of row ``M``."""
    return pack_meta(*meta)


def pack_meta(*fields: int) -> bytes:
    """Give the stored form of row ``M`` from the fields of a `Meta`, in their order."""
    body = _META.pack(_META_FORMAT, *fields)
    return crc32(body).to_bytes(4, "big") + body


def decode_meta(value: bytes) -> Meta:
    """Read row ``M``.

    Raises:
        CorruptLog: it is not what was written.
    """
    body = value[4:]
    if len(body) != _META.size or int.from_bytes(value[:4], "big") != crc32(body):
        raise CorruptLog("the meta row is damaged: its checksum does not match")
    form, *fields = _META.unpack(body)
    if form != _META_FORMAT:
        raise CorruptLog(f"the meta row has the unknown format {form}")
    return Meta(*fields)


def encode_link(previous: int, meta_value: bytes, number: int, last: int, position: int) -> bytes:
    """Give the stored form of a link."""
    body = _LINK.pack(previous, crc32(meta_value), number, last, position)
    return crc32(body).to_bytes(4, "big") + body


def link_crc(value: bytes) -> int:
    """Give what the successor of a link chains to."""
    return int.from_bytes(value[:4], "big")


def decode_link(value: bytes, number: int) -> Link:
    """Read the link of batch `number`.

    Raises:
        CorruptLog: it is not what was written.
    """
    crc = link_crc(value)
    body = value[4:]
    if len(body) != _LINK.size or crc != crc32(body):
        raise CorruptLog(f"the link of batch {number} is damaged: its checksum does not match")
    link = Link(crc, *_LINK.unpack(body))
    if link.number != number:
        raise CorruptLog(f"the link of batch {number} says it is of batch {link.number}")
    return link


def bootstrap(
    *,
    cluster_id: ClusterID,
    member_id: MemberID,
    members: Iterable[Member],
    epoch: bytes = EPOCH_FIRST,
) -> dict[bytes, bytes | None]:
    """Make the first batch of a new data directory.

    Every member of a new cluster begins as if one entry per member had been applied in term 1,
    as etcd's do, so that all of them start from the same log.
    """
    known = sorted(members, key=lambda member: member.id)
    assert any(member.id == member_id for member in known), "a member of its own cluster"
    rows: dict[bytes, bytes | None] = {
        member_row(epoch, member.id): encode_member(member) for member in known
    }
    return rows | _first_batch(cluster_id, member_id, epoch, Index(len(known)), Term(1))


def bootstrap_joiner(
    *, cluster_id: ClusterID, member_id: MemberID, epoch: bytes = EPOCH_FIRST
) -> dict[bytes, bytes | None]:
    """Make the first batch of a member that joins a running cluster.

    Its log is empty and begins at the very beginning, its store holds nothing, and it knows of no
    members, not even of itself: so it never campaigns, and no leader has entries old enough for
    it, since clusters begin with entries that are in no log (`bootstrap`). It learns everything
    by a snapshot.
    """
    return _first_batch(cluster_id, member_id, epoch, Index(0), Term(0))


def _first_batch(
    cluster_id: ClusterID, member_id: MemberID, epoch: bytes, index: Index, term: Term
) -> dict[bytes, bytes | None]:
    """Make the rows of an empty store whose log begins after `index`."""
    meta = encode_meta(
        Meta(
            batch=1,
            chain_first=1,
            term=term,
            vote=MemberID(0),
            commit=index,
            applied=index,
            applied_term=term,
            revision=Revision(1),
            compact_revision=Revision(-1),
            chain_bytes=0,
            epoch=epoch[0],
            first=Index(index + 1),
            first_term=term,
            last=index,
            cluster_id=cluster_id,
            member_id=member_id,
        )
    )
    return {
        FIRST_ROW: FORMAT,
        LAST_ROW: b"",
        META_ROW: meta,
        chain_key(1): encode_link(0, meta, 1, index, 0),
    }


def force_commit(
    recovered: Recovered, rows: Mapping[bytes, bytes | None], datas: Sequence[bytes]
) -> dict[bytes, bytes | None]:
    """Make one more batch of a member that is not running and that nobody else can contradict.

    Raft has no part in this: everything in the log counts as committed from now on, because
    there is no other voter left who could know better (``--force-new-cluster``).

    Args:
        recovered: what the data directory holds.
        rows: state rows to change.
        datas: entries to add to the end of the log.
    """
    made = dict(rows)
    last = recovered.last
    term, vote, _ = recovered.hard_state
    if datas:
        made[group_key(last + 1)] = encode_group(last + 1, term, list(datas))
        last = Index(last + len(datas))
    number = recovered.batch + 1
    size = sum(map(len, made)) + sum(map(len, filter(None, made.values())))
    position = recovered.chain_bytes + size
    meta = encode_meta(
        Meta(
            batch=number,
            chain_first=recovered.chain_first,
            term=term,
            vote=vote,
            commit=last,
            applied=recovered.applied,
            applied_term=recovered.applied_term,
            revision=recovered.revision,
            compact_revision=recovered.compact_revision,
            chain_bytes=position,
            epoch=recovered.epoch[0],
            first=recovered.first,
            first_term=recovered.first_term,
            last=last,
            cluster_id=recovered.cluster_id,
            member_id=recovered.member_id,
        )
    )
    made[META_ROW] = meta
    made[chain_key(number)] = encode_link(recovered.chain_crc, meta, number, last, position)
    return made


def _read_meta(view: ReadView) -> Meta:
    value = view.get(META_ROW)
    if value is None:
        raise CorruptLog("the meta row is missing")
    return decode_meta(value)


def check_chain(view: ReadView) -> Meta:
    """Check that no batch is missing between the oldest kept link and the last one.

    Returns:
        The meta row, which belongs to the last batch.

    Raises:
        CorruptLog: a number is missing, a link does not chain to its predecessor, or the meta
            row is not the one of the last batch.
    """
    meta, _, _ = _walk_chain(view)
    return meta


def _walk_chain(view: ReadView) -> tuple[Meta, Link, list[tuple[int, int]]]:
    meta = _read_meta(view)
    expected = meta.chain_first
    link: Link | None = None
    marks: list[tuple[int, int]] = []
    for key, value in view.scan(chain_key(expected), bytes((_CHAIN[0] + 1,))):
        number = int.from_bytes(key[1:], "big")
        if len(key) != 9 or number != expected:
            raise CorruptLog(f"batch {expected} is missing: the next one found is {number}")
        successor = decode_link(value, number)
        if link is not None and successor.previous != link.crc:
            raise CorruptLog(f"batch {number} does not follow batch {number - 1} of this chain")
        link = successor
        if not marks or link.position - marks[-1][1] >= CHAIN_BYTES_KEPT // 32:
            marks.append((number, link.position))
        expected += 1
    if link is None:
        raise CorruptLog(f"batch {expected} is missing: the batch chain is empty")
    if link.number != meta.batch:
        raise CorruptLog(f"the meta row is of batch {meta.batch}, the last batch is {link.number}")
    if link.meta != crc32(encode_meta(meta)):
        raise CorruptLog(f"the meta row is not the one written in batch {meta.batch}")
    return meta, link, marks


def recover(view: ReadView) -> Recovered | None:
    """Read what a data directory holds; None if it has never been written.

    Raises:
        CorruptLog: with one sentence, if anything is missing or differs from what was written.
    """
    form = view.get(FIRST_ROW)
    if form is None:
        if view.get(META_ROW) is not None or view.get(LAST_ROW) is not None:
            raise CorruptLog("the first row is missing")
        return None
    if form != FORMAT:
        raise CorruptLog(f"the data has the unknown format {form!r}; this program reads {FORMAT!r}")
    if view.get(LAST_ROW) is None:
        raise CorruptLog("the last row is missing")
    meta, link, marks = _walk_chain(view)
    bounds, runs, entries, last = _read_log(view, meta)
    if last != meta.last:
        raise CorruptLog(f"the log ends at index {last}, not at {meta.last}")
    if not meta.first - 1 <= meta.applied <= meta.commit <= meta.last:
        raise CorruptLog("the marks of the meta row contradict each other")
    return Recovered(
        hard_state=HardState(meta.term, meta.vote, meta.commit),
        first=meta.first,
        first_term=meta.first_term,
        last=meta.last,
        runs=tuple(runs),
        bounds=tuple(bounds),
        entries=tuple(entries),
        applied=meta.applied,
        applied_term=meta.applied_term,
        revision=meta.revision,
        compact_revision=meta.compact_revision,
        epoch=bytes((meta.epoch,)),
        batch=meta.batch,
        chain_crc=link.crc,
        chain_first=meta.chain_first,
        chain_marks=tuple(marks),
        chain_bytes=meta.chain_bytes,
        cluster_id=meta.cluster_id,
        member_id=meta.member_id,
    )


def _read_log(
    view: ReadView, meta: Meta
) -> tuple[list[GroupBounds], list[tuple[Index, Term]], list[Group], int]:
    """Read all groups from the first kept index on: checksums, no gap, terms that never go back."""
    bounds: list[GroupBounds] = []
    runs: list[tuple[Index, Term]] = []
    entries: list[Group] = []
    expected = int(meta.first)
    term = meta.first_term
    for key, value in view.scan(group_key(meta.first), bytes((_LOG[0] + 1,))):
        try:
            group = decode_group(value)
        except CorruptGroupError as error:
            raise CorruptLog(f"the log is damaged at index {expected}: {error}") from error
        if key != group_key(group.first) or group.first != expected:
            raise CorruptLog(
                f"the log has a gap: after index {expected - 1} comes index {group.first}"
            )
        if not term <= group.term <= meta.term:
            raise CorruptLog(
                f"the log is of term {group.term} at index {group.first}, after {term}"
            )
        if group.term != term:
            runs.append((group.first, group.term))
            term = group.term
        bounds.append(GroupBounds(group.first, len(value)))
        if group.last > meta.applied:
            entries.append(group)
        expected = group.last + 1
    return bounds, runs, entries, expected - 1
