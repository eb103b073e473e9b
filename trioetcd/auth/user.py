"""Users, roles and permissions as values, and the forms in which they are stored.

The stored form is etcd's own (authpb), so that a backup hands the rows over as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from trioetcd.keyrange import KeyRange
from trioetcd.schema import messages

__all__ = [
    "READ",
    "READWRITE",
    "ROOT",
    "WRITE",
    "Permission",
    "Role",
    "User",
    "decode_role",
    "decode_user",
    "encode_role",
    "encode_user",
    "to_message",
]

ROOT: Final = "root"
"""The name of the role that may do everything, and of the user that must hold it."""

READ: Final = messages.Permission.READ
WRITE: Final = messages.Permission.WRITE
READWRITE: Final = messages.Permission.READWRITE


class Permission(NamedTuple):
    r"""What one line of a role allows.

    Attributes:
        kind: `READ`, `WRITE` or `READWRITE`; any other number, which a client may send, allows
            nothing.
        key, range_end: as they were granted (empty: the one key; ``\0``: no upper bound). Both
            are kept, for a permission is revoked by naming the very same pair.
    """

    kind: int
    key: bytes
    range_end: bytes

    @property
    def keys(self) -> KeyRange:
        """The interval."""
        return KeyRange.from_wire(self.key, self.range_end)


@dataclass(frozen=True, slots=True)
class User:
    """One user.

    Attributes:
        name: its name, never empty.
        password: the bcrypt hash; empty if there is none, and then no password fits.
        no_password: whether it was made without one, and comes in by certificate only.
        roles: the names of its roles, sorted; one of them may be `ROOT` without a role of that
            name being there.
    """

    name: str
    password: bytes = field(default=b"", repr=False)
    no_password: bool = False
    roles: tuple[str, ...] = ()

    @property
    def is_root(self) -> bool:
        """Whether it may do everything: its role counts, not its name."""
        return ROOT in self.roles


@dataclass(frozen=True, slots=True)
class Role:
    """One role.

    Attributes:
        name: its name, never empty.
        permissions: what it allows, in the order of their keys.
    """

    name: str
    permissions: tuple[Permission, ...] = ()


def to_message(permission: Permission) -> messages.Permission:
    """Give the API's form of a permission."""
    kind, key, range_end = permission
    return messages.Permission(permType=kind, key=key, range_end=range_end)


def encode_user(user: User) -> bytes:
    """Give the stored form: authpb.User."""
    return messages.User(
        name=user.name.encode(),
        password=user.password,
        roles=user.roles,
        options=messages.UserAddOptions(no_password=user.no_password),
    ).SerializeToString()


def decode_user(data: bytes) -> User:
    """Read the stored form."""
    message = messages.User.FromString(data)
    return User(
        name=message.name.decode(),
        password=message.password,
        no_password=message.options.no_password,
        roles=tuple(message.roles),
    )


def encode_role(role: Role) -> bytes:
    """Give the stored form: authpb.Role."""
    return messages.Role(
        name=role.name.encode(), keyPermission=map(to_message, role.permissions)
    ).SerializeToString()


def decode_role(data: bytes) -> Role:
    """Read the stored form."""
    message = messages.Role.FromString(data)
    return Role(
        name=message.name.decode(),
        permissions=tuple(
            Permission(found.permType, found.key, found.range_end)
            for found in message.keyPermission
        ),
    )
