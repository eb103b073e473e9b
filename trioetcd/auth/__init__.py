"""Users, roles, permissions, passwords and tokens: who somebody is, and what they may do.

Nothing here asks for the time, draws a number or waits: `now` and chance are arguments, and what
takes long (bcrypt) is a plain function for a thread.

Modules: `user` (the values), `commands` (what stands in the log), `store` (the state), `answer`
(what is told of it), `permission` (unions of intervals), `password` (bcrypt), `token` (letters
that stand for a user), `signed_token` (JWT), `token_option` (``--auth-token``).
"""

from __future__ import annotations

from trioetcd.auth.answer import role_body, role_list_body, status_body, user_body, user_list_body
from trioetcd.auth.commands import (
    AUTHENTICATE,
    Authentication,
    decode_authentication,
    encode_authentication,
)
from trioetcd.auth.password import (
    COST_DEFAULT,
    COST_MAX,
    COST_MIN,
    PasswordRequest,
    check_password,
    cost_of,
    draw_salt,
    hash_password,
    must_hash,
    seal,
    verify_password,
)
from trioetcd.auth.permission import KeySet, Rights
from trioetcd.auth.store import AuthStore, Listener, read_roles, read_standing, read_users
from trioetcd.auth.token import (
    SimpleToken,
    TokenTable,
    digest_of,
    draw_secret,
    read_simple_token,
    write_simple_token,
)
from trioetcd.auth.token_option import SIGN_METHODS, TokenOption, parse_token_option
from trioetcd.auth.user import READ, READWRITE, ROOT, WRITE, Permission, Role, User

__all__ = [
    "AUTHENTICATE",
    "COST_DEFAULT",
    "COST_MAX",
    "COST_MIN",
    "READ",
    "READWRITE",
    "ROOT",
    "SIGN_METHODS",
    "WRITE",
    "AuthStore",
    "Authentication",
    "KeySet",
    "Listener",
    "PasswordRequest",
    "Permission",
    "Rights",
    "Role",
    "SimpleToken",
    "TokenOption",
    "TokenTable",
    "User",
    "check_password",
    "cost_of",
    "decode_authentication",
    "digest_of",
    "draw_salt",
    "draw_secret",
    "encode_authentication",
    "hash_password",
    "must_hash",
    "parse_token_option",
    "read_roles",
    "read_simple_token",
    "read_standing",
    "read_users",
    "role_body",
    "role_list_body",
    "seal",
    "status_body",
    "user_body",
    "user_list_body",
    "verify_password",
    "write_simple_token",
]
