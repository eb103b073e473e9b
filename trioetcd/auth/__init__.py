"""Users, roles, permissions, passwords and tokens: who somebody is, and what they may do.

Nothing here asks for the time, draws a number or waits: `now` and chance are arguments, and what
takes long (bcrypt) is a plain function for a thread.

Modules: `user` (the values), `commands` (what stands in the log), `store` (the state),
`permission` (unions of intervals).
"""

from __future__ import annotations

from trioetcd.auth.commands import (
    AUTHENTICATE,
    Authentication,
    decode_authentication,
    encode_authentication,
)
from trioetcd.auth.permission import KeySet, Rights
from trioetcd.auth.store import AuthStore, Listener, read_roles, read_standing, read_users
from trioetcd.auth.user import READ, READWRITE, ROOT, WRITE, Permission, Role, User

__all__ = [
    "AUTHENTICATE",
    "READ",
    "READWRITE",
    "ROOT",
    "WRITE",
    "AuthStore",
    "Authentication",
    "KeySet",
    "Listener",
    "Permission",
    "Rights",
    "Role",
    "User",
    "decode_authentication",
    "encode_authentication",
    "read_roles",
    "read_standing",
    "read_users",
]
