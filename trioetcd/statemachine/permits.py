"""Who may ask for which command; asked when it is proposed, and again when it is applied.

What is decided at apply counts: users may have been changed while a command was on its way. Then
it follows from the entry and the state alone, so that every member decides alike. The check at the
proposal keeps what would be refused out of the log.

What one may do needs, key by key and lease by lease, is etcd's; so is the order of the errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from trioetcd.auth import AUTHENTICATE, AuthStore, KeySet
from trioetcd.errors import AUTH_OLD_REVISION, PERMISSION_DENIED, USER_EMPTY, ErrorRow
from trioetcd.keyrange import KeyRange
from trioetcd.lease import Lessor
from trioetcd.schema import messages
from trioetcd.statemachine.command import Asker, CommandKind

__all__ = ["covers_keys", "may_ask", "read_refusal", "refusal", "txn_refusal"]

_GET: Final = int(messages.AlarmRequest.GET)

OF_MEMBERS: Final = frozenset(
    {
        CommandKind.NOOP,
        CommandKind.LEASE_CHECKPOINT,
        CommandKind.MEMBER_ATTRIBUTES,
        CommandKind.CLUSTER_VERSION,
        CommandKind.REFUSED,
        AUTHENTICATE,
    }
)
"""What no client may ask for, and a member need not say that it asks for."""


class _Users(NamedTuple):
    """The state that permissions are looked up in."""

    auth: AuthStore
    lessor: Lessor


def refusal(
    auth: AuthStore, lessor: Lessor, kind: int, payload: bytes, asker: Asker | None
) -> ErrorRow | None:
    """Give the error with which a command is refused to who asks for it, or None.

    Args:
        auth: the users; enabled.
        lessor: which keys hang on which lease.
        kind: the command's kind, without `AS_USER`.
        payload: the request.
        asker: who asks; None for a client that did not say who it is.

    Raises:
        DecodeError: the request cannot be read.
    """
    if asker is None:
        return None if kind in OF_MEMBERS else USER_EMPTY
    if not asker.user:
        return None
    rule = _RULES.get(kind)
    if rule is None:
        return PERMISSION_DENIED
    return rule(_Users(auth, lessor), payload, asker)


def may_ask(auth: AuthStore, asker: Asker) -> ErrorRow | None:
    """Give the error with which who asks is refused everything that concerns keys, or None."""
    if asker.revision < auth.revision:
        return AUTH_OLD_REVISION
    return None if auth.get_user(asker.user) is not None else PERMISSION_DENIED


def read_refusal(auth: AuthStore, asker: Asker, keys: KeyRange) -> ErrorRow | None:
    """Give the error with which reading an interval is refused, or None."""
    if asker.revision < auth.revision:
        return AUTH_OLD_REVISION
    return None if auth.may_read(asker.user, keys) else PERMISSION_DENIED


def covers_keys(lessor: Lessor, lease: int, keys: KeySet) -> bool:
    """Whether a set holds every key of a lease.

    Asks for one key in each gap of the set, so it costs no more for a lease with many keys.
    """
    start = b""
    for stretch in keys.intervals():
        found = lessor.keys_from(lease, start, 1)
        if not found:
            return True
        if found[0] < stretch.start:
            return False
        if stretch.end is None:
            return True
        start = stretch.end
    return not lessor.keys_from(lease, start, 1)


# -- what needs what --------------------------------------------------------------------------


def _anybody(users: _Users, _payload: bytes, asker: Asker) -> ErrorRow | None:
    return None if users.auth.get_user(asker.user) is not None else PERMISSION_DENIED


def _root(users: _Users, _payload: bytes, asker: Asker) -> ErrorRow | None:
    # As in etcd by the user alone: whoever changes several users at a time is root all the while.
    return None if users.auth.is_root(asker.user) else PERMISSION_DENIED


def _alarm(users: _Users, payload: bytes, asker: Asker) -> ErrorRow | None:
    lists = messages.AlarmRequest.FromString(payload).action == _GET
    return (_anybody if lists else _root)(users, payload, asker)


def _put(users: _Users, payload: bytes, asker: Asker) -> ErrorRow | None:
    if asker.revision < users.auth.revision:
        return AUTH_OLD_REVISION
    request = messages.PutRequest.FromString(payload)
    return None if _may_put(users, request, asker.user) else PERMISSION_DENIED


def _delete_range(users: _Users, payload: bytes, asker: Asker) -> ErrorRow | None:
    if asker.revision < users.auth.revision:
        return AUTH_OLD_REVISION
    request = messages.DeleteRangeRequest.FromString(payload)
    return None if _may_delete(users, request, asker.user) else PERMISSION_DENIED


def _txn(users: _Users, payload: bytes, asker: Asker) -> ErrorRow | None:
    return txn_refusal(*users, messages.TxnRequest.FromString(payload), asker)


def txn_refusal(
    auth: AuthStore, lessor: Lessor, request: messages.TxnRequest, asker: Asker
) -> ErrorRow | None:
    """Give the error with which a txn is refused, or None: both branches count, at every depth."""
    refused = may_ask(auth, asker)
    if refused is not None:
        return refused
    return None if _may_txn(_Users(auth, lessor), request, asker.user) else PERMISSION_DENIED


def _lease_revoke(users: _Users, payload: bytes, asker: Asker) -> ErrorRow | None:
    refused = may_ask(users.auth, asker)
    if refused is not None:
        return refused
    lease = messages.LeaseRevokeRequest.FromString(payload).ID
    return None if _may_write_keys(users, lease, asker.user) else PERMISSION_DENIED


def _may_put(users: _Users, request: messages.PutRequest, user: str) -> bool:
    auth = users.auth
    if auth.is_root(user):
        return True
    key = request.key
    keys = KeyRange(key, key + b"\0")
    rights = auth.rights(user)
    return (
        rights.writing.covers(keys)
        # Who cannot write a lease's other keys could not revoke it, and must not join them.
        and (not request.lease or covers_keys(users.lessor, request.lease, rights.writing))
        and (not request.prev_kv or rights.reading.covers(keys))
    )


def _may_delete(users: _Users, request: messages.DeleteRangeRequest, user: str) -> bool:
    auth = users.auth
    keys = KeyRange.from_wire(request.key, request.range_end)
    return auth.may_write(user, keys) and (not request.prev_kv or auth.may_read(user, keys))


def _may_txn(users: _Users, request: messages.TxnRequest, user: str) -> bool:
    may_read = users.auth.may_read
    return (
        all(
            may_read(user, KeyRange.from_wire(compare.key, compare.range_end))
            for compare in request.compare
        )
        and _may_do(users, request.success, user)
        and _may_do(users, request.failure, user)
    )


def _may_do(users: _Users, operations: Sequence[messages.RequestOp], user: str) -> bool:
    for operation in operations:
        which = operation.WhichOneof("request")
        if which == "request_put":
            may = _may_put(users, operation.request_put, user)
        elif which == "request_range":
            request = operation.request_range
            may = users.auth.may_read(user, KeyRange.from_wire(request.key, request.range_end))
        elif which == "request_delete_range":
            may = _may_delete(users, operation.request_delete_range, user)
        elif which == "request_txn":
            may = _may_txn(users, operation.request_txn, user)
        else:
            may = True  # there is nothing to be done, and the txn is refused for that
        if not may:
            return False
    return True


def _may_write_keys(users: _Users, lease: int, user: str) -> bool:
    auth, lessor = users
    return auth.is_root(user) or covers_keys(lessor, lease, auth.rights(user).writing)


_RULES: Final[dict[int, Callable[[_Users, bytes, Asker], ErrorRow | None]]] = {
    CommandKind.PUT: _put,
    CommandKind.DELETE_RANGE: _delete_range,
    CommandKind.TXN: _txn,
    CommandKind.COMPACT: _root,
    CommandKind.LEASE_GRANT: _anybody,
    CommandKind.LEASE_REVOKE: _lease_revoke,
    CommandKind.ALARM: _alarm,
    CommandKind.MEMBER_ADD: _root,
    CommandKind.MEMBER_REMOVE: _root,
    CommandKind.MEMBER_UPDATE: _root,
    CommandKind.MEMBER_PROMOTE: _root,
    CommandKind.DOWNGRADE: _root,
    CommandKind.AUTH_ENABLE: _root,
    CommandKind.AUTH_DISABLE: _root,
    CommandKind.AUTH_USER_ADD: _root,
    CommandKind.AUTH_USER_DELETE: _root,
    CommandKind.AUTH_USER_CHANGE_PASSWORD: _root,
    CommandKind.AUTH_USER_GRANT_ROLE: _root,
    CommandKind.AUTH_USER_REVOKE_ROLE: _root,
    CommandKind.AUTH_ROLE_ADD: _root,
    CommandKind.AUTH_ROLE_DELETE: _root,
    CommandKind.AUTH_ROLE_GRANT_PERMISSION: _root,
    CommandKind.AUTH_ROLE_REVOKE_PERMISSION: _root,
}
