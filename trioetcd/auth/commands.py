"""The commands that change users, roles and permissions: kinds 64 to 95, and their payloads.

A payload is the API's own request message, in which a password has been replaced by its hash
before it was proposed; that of `AUTHENTICATE`, which etcd has a message for that its API does not
know, is made here.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from trioetcd.schema.messages import DecodeError

__all__ = [
    "AUTHENTICATE",
    "AUTH_DISABLE",
    "AUTH_ENABLE",
    "AUTH_ROLE_ADD",
    "AUTH_ROLE_DELETE",
    "AUTH_ROLE_GRANT_PERMISSION",
    "AUTH_ROLE_REVOKE_PERMISSION",
    "AUTH_USER_ADD",
    "AUTH_USER_CHANGE_PASSWORD",
    "AUTH_USER_DELETE",
    "AUTH_USER_GRANT_ROLE",
    "AUTH_USER_REVOKE_ROLE",
    "DIGEST_SIZE",
    "Authentication",
    "decode_authentication",
    "encode_authentication",
]

AUTH_ENABLE: Final = 64
AUTH_DISABLE: Final = 65
AUTH_USER_ADD: Final = 66
AUTH_USER_DELETE: Final = 67
AUTH_USER_CHANGE_PASSWORD: Final = 68
AUTH_USER_GRANT_ROLE: Final = 69
AUTH_USER_REVOKE_ROLE: Final = 70
AUTH_ROLE_ADD: Final = 71
AUTH_ROLE_DELETE: Final = 72
AUTH_ROLE_GRANT_PERMISSION: Final = 73
AUTH_ROLE_REVOKE_PERMISSION: Final = 74

AUTHENTICATE: Final = 75
"""Somebody has shown a password and gets a token, which every member is to know."""

DIGEST_SIZE: Final = 32

_AUTHENTICATION: Final = Struct(f">Q{DIGEST_SIZE}s")
"""What stands in front of the user's name."""


class Authentication(NamedTuple):
    """A token begins to be valid.

    Attributes:
        user: whose it is.
        digest: what is told of the token: its SHA-256 (`token.digest_of`). The log and the other
            members never see the token.
        auth_revision: that of the users when the password was checked. When it is another by the
            time the command is applied, the password may be, too.
    """

    user: str
    digest: bytes
    auth_revision: int


def encode_authentication(authentication: Authentication) -> bytes:
    """Make the payload of an `AUTHENTICATE` command."""
    user, digest, auth_revision = authentication
    assert len(digest) == DIGEST_SIZE, "a SHA-256"
    return _AUTHENTICATION.pack(auth_revision, digest) + user.encode()


def decode_authentication(payload: bytes) -> Authentication:
    """Read the payload of an `AUTHENTICATE` command.

    Raises:
        DecodeError: it is not what `encode_authentication` makes.
    """
    size = _AUTHENTICATION.size
    if len(payload) < size:
        raise DecodeError(f"an authentication of {len(payload)} bytes")
    auth_revision, digest = _AUTHENTICATION.unpack_from(payload)
    try:
        user = payload[size:].decode()
    except UnicodeDecodeError:
        raise DecodeError("an authentication of a user whose name is not UTF-8") from None
    return Authentication(user, digest, auth_revision)
