"""What stands in a log entry: a fixed head, then the request's own protobuf bytes.

The head names the format, the kind of request and the proposal, so that an entry is recognised
by its proposer without parsing the request (etcd: InternalRaftRequest). While users are told apart
the kind's highest bit says that the request comes after the name of who asks for it.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from trioetcd.values import RequestID

__all__ = [
    "AS_USER",
    "COMMAND_FORMAT",
    "HEAD",
    "HEAD_SIZE",
    "KIND_BITS",
    "MEMBER",
    "Asker",
    "CommandKind",
    "decode_command",
    "encode_command",
    "kind_of",
    "request_of",
    "stamp",
    "unstamp",
]

COMMAND_FORMAT: Final = 1
"""The only form of the head so far; a member refuses entries it does not know."""

HEAD: Final = Struct(">BBQQQ")
"""The head: format, kind, then member, boot and counter of the proposal."""

HEAD_SIZE: Final = HEAD.size

AS_USER: Final = 0x80
"""The bit of a kind that says that the payload begins with who asks."""

KIND_BITS: Final = AS_USER - 1
"""What of the kind's byte is the kind."""

_KIND_AT: Final = 1
_STAMP: Final = Struct(">QH")


class Asker(NamedTuple):
    """Who asks for a command.

    Attributes:
        user: the user's name; empty for a member that asks on its own behalf.
        revision: the auth revision by which the user was known.
    """

    user: str
    revision: int


MEMBER: Final = Asker("", 0)
"""A member: no client can be it, for a client without a name is nobody."""


class CommandKind(IntEnum):
    """What an entry asks for; the numbers are on disk, so none is ever used again."""

    NOOP = 0
    PUT = 1
    DELETE_RANGE = 2
    TXN = 3
    COMPACT = 4
    LEASE_GRANT = 5
    LEASE_REVOKE = 6
    LEASE_CHECKPOINT = 7
    ALARM = 8
    # 32 to 63: `cluster`'s, payloads of its own or protobuf requests.
    MEMBER_ATTRIBUTES = 32
    MEMBER_ADD = 33
    MEMBER_REMOVE = 34
    MEMBER_UPDATE = 35
    MEMBER_PROMOTE = 36
    CLUSTER_VERSION = 37
    DOWNGRADE = 38
    REFUSED = 63
    # 64 to 95: `auth`'s.
    AUTH_ENABLE = 64
    AUTH_DISABLE = 65
    AUTH_USER_ADD = 66
    AUTH_USER_DELETE = 67
    AUTH_USER_CHANGE_PASSWORD = 68
    AUTH_USER_GRANT_ROLE = 69
    AUTH_USER_REVOKE_ROLE = 70
    AUTH_ROLE_ADD = 71
    AUTH_ROLE_DELETE = 72
    AUTH_ROLE_GRANT_PERMISSION = 73
    AUTH_ROLE_REVOKE_PERMISSION = 74
    AUTHENTICATE = 75


def encode_command(kind: int, request: RequestID, payload: bytes) -> bytes:
    """Make the data of a log entry."""
    member, boot, counter = request
    return HEAD.pack(COMMAND_FORMAT, kind, member, boot, counter) + payload


def decode_command(data: bytes) -> tuple[int, RequestID, bytes]:
    """Read the data of a log entry: kind, proposal, request, whoever asks for it.

    Raises:
        ValueError: it is too short, or of a form this version does not know.
    """
    if len(data) < HEAD_SIZE:
        raise ValueError(f"a command of {len(data)} bytes is shorter than its head")
    form, kind, member, boot, counter = HEAD.unpack_from(data)
    if form != COMMAND_FORMAT:
        raise ValueError(f"unknown command format {form}")
    return kind & KIND_BITS, RequestID(member, boot, counter), request_of(data)


def stamp(kind: int, payload: bytes, asker: Asker) -> tuple[int, bytes]:
    """Put who asks before a request; gives kind and payload."""
    name = asker.user.encode()
    return kind | AS_USER, _STAMP.pack(asker.revision, len(name)) + name + payload


def unstamp(payload: bytes) -> tuple[Asker, bytes]:
    """Read what `stamp` made: who asks, and the request.

    Raises:
        ValueError: it is too short, or the name is no UTF-8.
    """
    if len(payload) < _STAMP.size:
        raise ValueError(f"a stamp of {len(payload)} bytes is shorter than its head")
    revision, length = _STAMP.unpack_from(payload)
    stop = _STAMP.size + length
    if len(payload) < stop:
        raise ValueError("a stamp is shorter than its name")
    return Asker(payload[_STAMP.size : stop].decode(), revision), payload[stop:]


def kind_of(data: bytes) -> int:
    """Give the kind of an entry, whoever asks for it; -1 if it is too short for a head."""
    return data[_KIND_AT] & KIND_BITS if len(data) >= HEAD_SIZE else -1


def request_of(data: bytes) -> bytes:
    """Give the request in an entry, whoever asks for it.

    Raises:
        ValueError: as `unstamp`.
    """
    payload = data[HEAD_SIZE:]
    return unstamp(payload)[1] if data[_KIND_AT] >= AS_USER else payload
