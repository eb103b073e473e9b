"""The commands that change who the members are: kinds 32 to 63, and what their payloads hold.

A payload is the API's own message of the same matter; an addition has one number in front of it,
because what is decided when an entry is applied must follow from the entry alone.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple, assert_never

from trioetcd import errors
from trioetcd.cluster.member import Member, decode_member, encode_member
from trioetcd.errors import Code, ErrorRow
from trioetcd.schema import messages
from trioetcd.values import MemberID

__all__ = [
    "CONF_CHANGES",
    "MEMBER_ADD",
    "MEMBER_ATTRIBUTES",
    "MEMBER_CHANGES",
    "MEMBER_PROMOTE",
    "MEMBER_REMOVE",
    "MEMBER_UPDATE",
    "REFUSED",
    "Addition",
    "Change",
    "Promotion",
    "Removal",
    "Update",
    "attributes_command",
    "decode_change",
    "encode_change",
    "encode_refused",
    "is_removal_of",
    "refused_row",
]

MEMBER_ATTRIBUTES: Final = 32
"""A member tells of itself (`attributes_command`)."""

MEMBER_ADD: Final = 33
MEMBER_REMOVE: Final = 34
MEMBER_UPDATE: Final = 35
MEMBER_PROMOTE: Final = 36

REFUSED: Final = 63
"""Stands where a leader was given a change that it may not append: applies to nothing and gives
its proposer an error."""

CONF_CHANGES: Final = frozenset({MEMBER_ADD, MEMBER_REMOVE, MEMBER_PROMOTE})
"""The kinds that change who votes or learns: membership entries in Raft's sense, of which one at
a time may be in the log unapplied (dissertation, section 4.1)."""

MEMBER_CHANGES: Final = CONF_CHANGES | {MEMBER_UPDATE}
"""The kinds that `decode_change` reads."""

_LEARNERS_MAX: Final = Struct(">q")
"""What stands in front of the new member of an addition."""


class Addition(NamedTuple):
    """A member comes in.

    Attributes:
        member: the new one; it has not started, so name and client URLs are empty.
        learners_max: how many learners there may be at most with it, as the member that proposed
            was told (``--max-learners``). It rides in the entry because members may have been
            told different numbers, and must decide alike.
    """

    member: Member
    learners_max: int


class Removal(NamedTuple):
    """A member goes, and its number with it for ever."""

    member: MemberID


class Update(NamedTuple):
    """A member is reached elsewhere from now on; nothing else about it changes."""

    member: MemberID
    peer_urls: tuple[str, ...]


class Promotion(NamedTuple):
    """A learner votes from now on."""

    member: MemberID


Change = Addition | Removal | Update | Promotion
"""What may happen to the table of members."""


def attributes_command(member: MemberID, name: str, client_urls: tuple[str, ...]) -> bytes:
    """Make the payload with which a member tells its name and client URLs through Raft."""
    return messages.Member(ID=member, name=name, clientURLs=client_urls).SerializeToString()


def encode_change(change: Change) -> tuple[int, bytes]:
    """Give the kind and the payload of the command that asks for a change."""
    match change:
        case Addition(member, learners_max):
            return MEMBER_ADD, _LEARNERS_MAX.pack(learners_max) + encode_member(member)
        case Removal(number):
            return MEMBER_REMOVE, messages.MemberRemoveRequest(ID=number).SerializeToString()
        case Update(number, peer_urls):
            request = messages.MemberUpdateRequest(ID=number, peerURLs=peer_urls)
            return MEMBER_UPDATE, request.SerializeToString()
        case Promotion(number):
            return MEMBER_PROMOTE, messages.MemberPromoteRequest(ID=number).SerializeToString()
        case _:
            assert_never(change)


def decode_change(kind: int, payload: bytes) -> Change:
    """Read a command of one of the `MEMBER_CHANGES`.

    Raises:
        DecodeError: the payload is not what `encode_change` makes.
    """
    if kind == MEMBER_ADD:
        size = _LEARNERS_MAX.size
        if len(payload) < size:
            raise messages.DecodeError(f"an addition of {len(payload)} bytes")
        return Addition(decode_member(payload[size:]), _LEARNERS_MAX.unpack_from(payload)[0])
    if kind == MEMBER_REMOVE:
        return Removal(MemberID(messages.MemberRemoveRequest.FromString(payload).ID))
    if kind == MEMBER_UPDATE:
        request = messages.MemberUpdateRequest.FromString(payload)
        return Update(MemberID(request.ID), tuple(request.peerURLs))
    assert kind == MEMBER_PROMOTE, "a kind that changes members"
    return Promotion(MemberID(messages.MemberPromoteRequest.FromString(payload).ID))


def is_removal_of(kind: int, payload: bytes, member: MemberID) -> bool:
    """Say whether a command, of any kind, removes this member."""
    if kind != MEMBER_REMOVE:
        return False
    try:
        return decode_change(kind, payload) == Removal(member)
    except messages.DecodeError:
        return False  # another member sent it on; it will change nothing when it is applied


def encode_refused(row: ErrorRow) -> bytes:
    """Make the payload of a `REFUSED` command: the name of the error that its proposer gets."""
    assert errors.ROWS.get(row.name) is row, "an error of the table"
    return row.name.encode()


def refused_row(payload: bytes) -> ErrorRow:
    """Read the payload of a `REFUSED` command; a name this version does not know is told as is."""
    name = payload.decode("ascii", "replace")
    return errors.ROWS.get(name) or ErrorRow(name, Code.UNKNOWN, f"etcdserver: refused: {name}")
