"""What stands in a log entry: a fixed head, then the request's own protobuf bytes.

The head names the format, the kind of request and the proposal, so that an entry is recognised
by its proposer without parsing the request (etcd: InternalRaftRequest).
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

from trioetcd.values import RequestID

__all__ = ["COMMAND_FORMAT", "HEAD", "HEAD_SIZE", "CommandKind", "decode_command", "encode_command"]

COMMAND_FORMAT: Final = 1
"""The only form of the head so far; a member refuses entries it does not know."""

HEAD: Final = Struct(">BBQQQ")
"""The head: format, kind, then member, boot and counter of the proposal."""

HEAD_SIZE: Final = HEAD.size


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
    """Read the data of a log entry: kind, proposal, payload.

    Raises:
        ValueError: it is too short, or of a form this version does not know.
    """
    if len(data) < HEAD_SIZE:
        raise ValueError(f"a command of {len(data)} bytes is shorter than its head")
    form, kind, member, boot, counter = HEAD.unpack_from(data)
    if form != COMMAND_FORMAT:
        raise ValueError(f"unknown command format {form}")
    return kind, RequestID(member, boot, counter), data[HEAD_SIZE:]
