"""What the log is made of, and the one form it has on the wire and on the disk.

An entry is opaque bytes with an index and a term (Raft paper, figure 2). Entries travel in
groups: neighbours of one term, encoded once into one byte string, which a leader sends and every
member stores as it is. Nothing here knows what an entry means.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct, pack, unpack_from
from typing import Final, NamedTuple
from zlib import crc32

from trioetcd.values import Index, MemberID, Term

__all__ = [
    "GROUP_OVERHEAD",
    "ConfState",
    "CorruptGroupError",
    "Group",
    "HardState",
    "Role",
    "decode_group",
    "encode_group",
    "portions",
]

_HEAD: Final = Struct(">IBQQI")
"""CRC-32 of all that follows, format, first index, term, number of entries."""

_FORMAT: Final = 1

GROUP_OVERHEAD: Final = _HEAD.size

_ENTRY_BYTES: Final = 16
"""What an entry costs in a message besides its own bytes, and a little more."""


class CorruptGroupError(Exception):
    """The bytes are not a group that was ever encoded."""


class _Entries(NamedTuple):
    first: Index
    term: Term
    datas: list[bytes]


class Group(_Entries):
    """Neighbouring entries of one term: `datas[i]` is the entry at ``first + i``.

    Equal when the entries are. The encoded form is made when first asked for and kept, so that a
    group goes to the disk and to every member as the same bytes, and one received from a member
    is stored as it came. Nobody changes `datas` afterwards.
    """

    _encoded: bytes | None = None

    @property
    def last(self) -> Index:
        """The index of the last entry."""
        return Index(self.first + len(self.datas) - 1)

    @property
    def encoded(self) -> bytes:
        """The group as bytes, on the wire and on the disk."""
        encoded = self._encoded
        if encoded is None:
            encoded = self._encoded = encode_group(*self)
        return encoded

    def keep(self, encoded: bytes) -> None:
        """Remember the form this group was decoded from."""
        self._encoded = encoded

    def starting(self, index: int) -> Group:
        """Give the part from `index` on: itself if that is all of it."""
        if index == self.first:
            return self
        assert self.first < index <= self.last
        return Group(Index(index), self.term, self.datas[index - self.first :])

    def ending(self, index: int) -> Group:
        """Give the part up to `index`: itself if that is all of it."""
        count = index - self.first + 1
        if count == len(self.datas):
            return self
        assert 0 < count < len(self.datas)
        return Group(self.first, self.term, self.datas[:count])


class HardState(NamedTuple):
    """What must be durable before a member acts on it (Raft paper, figure 2, persistent state).

    `vote` is 0 for "none". `commit` need not be durable for safety; it is kept so that a restart
    knows what had been promised.
    """

    term: Term
    vote: MemberID
    commit: Index


class Role:
    """The three roles of the paper, section 5.1, and the one that asks before it campaigns."""

    FOLLOWER: Final = "follower"
    PRE_CANDIDATE: Final = "pre-candidate"
    """A follower without a leader that asks whether it could win (dissertation, section 9.6)."""
    CANDIDATE: Final = "candidate"
    LEADER: Final = "leader"


@dataclass(frozen=True, slots=True)
class ConfState:
    """Who takes part, and how. Sorted, so that nothing depends on the order of a set.

    Attributes:
        voters: who votes and counts; in a joint configuration those of the new one.
        learners: who gets entries only (dissertation, section 4.2.1).
        voters_outgoing: the voters of the old configuration while a joint one is in force (paper,
            section 6), otherwise empty.
        learners_next: voters of the old configuration that become learners when it ends.
    """

    voters: tuple[MemberID, ...]
    learners: tuple[MemberID, ...] = ()
    voters_outgoing: tuple[MemberID, ...] = ()
    learners_next: tuple[MemberID, ...] = ()

    def __post_init__(self) -> None:
        for ids in (self.voters, self.learners, self.voters_outgoing, self.learners_next):
            assert tuple(sorted(set(ids))) == ids, "members are sorted and distinct"
        voting = {*self.voters, *self.voters_outgoing}
        assert voting.isdisjoint(self.learners), "a learner does not vote"
        assert set(self.learners_next) <= set(self.voters_outgoing), "demoted are old voters"
        assert set(self.learners_next).isdisjoint(self.voters), "demoted vote no longer"

    @property
    def joint(self) -> bool:
        """Whether two majorities are needed."""
        return bool(self.voters_outgoing)

    @property
    def voting(self) -> tuple[MemberID, ...]:
        """Everybody who votes, in the old or the new configuration, sorted."""
        if not self.voters_outgoing:
            return self.voters
        return tuple(sorted({*self.voters, *self.voters_outgoing}))

    @property
    def members(self) -> tuple[MemberID, ...]:
        """Everybody who gets entries, sorted."""
        return tuple(sorted({*self.voters, *self.voters_outgoing, *self.learners}))


def encode_group(first: int, term: int, datas: list[bytes]) -> bytes:
    """Encode neighbouring entries of one term, checksum in front."""
    count = len(datas)
    head = _HEAD.pack(0, _FORMAT, first, term, count)
    body = b"".join([head[4:], pack(f">{count}I", *map(len, datas)), *datas])
    return crc32(body).to_bytes(4, "big") + body


def decode_group(encoded: bytes) -> Group:
    """Decode a group; the checksum is verified first.

    Raises:
        CorruptGroupError: any bit differs from what was encoded, or bytes are missing or too many.
    """
    if len(encoded) < GROUP_OVERHEAD:
        raise CorruptGroupError(f"a group of {len(encoded)} bytes is shorter than its head")
    crc, form, first, term, count = _HEAD.unpack_from(encoded)
    if crc32(memoryview(encoded)[4:]) != crc:
        raise CorruptGroupError("the checksum of a group of entries does not match")
    if form != _FORMAT:
        raise CorruptGroupError(f"a group of entries has the unknown format {form}")
    if len(encoded) < GROUP_OVERHEAD + 4 * count:
        raise CorruptGroupError("a group of entries is shorter than its list of lengths")
    at = GROUP_OVERHEAD + 4 * count
    datas: list[bytes] = []
    for length in unpack_from(f">{count}I", encoded, GROUP_OVERHEAD):
        datas.append(encoded[at : at + length])
        at += length
    if at != len(encoded) or not count:
        raise CorruptGroupError("the lengths in a group of entries do not add up")
    group = Group(Index(first), Term(term), datas)
    group.keep(encoded)
    return group


def portions(datas: list[bytes], size_max: int) -> list[list[bytes]]:
    """Cut entries, in order, into parts of at most `size_max` bytes; a longer one goes alone."""
    if sum(map(len, datas)) + _ENTRY_BYTES * len(datas) <= size_max:
        return [datas]
    parts: list[list[bytes]] = []
    left = 0
    for data in datas:
        length = len(data) + _ENTRY_BYTES
        if length > left or not parts:
            parts.append([])
            left = size_max
        parts[-1].append(data)
        left -= length
    return parts
