"""One committed command after the other: command in, outcome out, state changed.

A put of one key is straight-line code. Whatever may touch many keys is a generator that pauses
after a bounded amount of work; until it has ended nothing of it can be seen. A command that
fails changes nothing, and its error is an outcome like any other. Which errors come first is
etcd's order.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from trioetcd import errors
from trioetcd.auth import AuthStore
from trioetcd.errors import Code, ErrorRow, EtcdError
from trioetcd.keyrange import KeyRange
from trioetcd.lease import Lessor
from trioetcd.mvcc import Event, Store, WriteTxn
from trioetcd.mvcc.layout import META, META_SIZE, value_of
from trioetcd.mvcc.write import STEP_ROWS
from trioetcd.ports import Space
from trioetcd.schema import fastpath, messages
from trioetcd.statemachine import gates, permits, txn, validation
from trioetcd.statemachine.alarms import ALARM_KINDS, Alarms
from trioetcd.statemachine.command import AS_USER, CommandKind, unstamp

__all__ = ["Applier", "Kinds", "Outcome", "Steps"]

Outcome = tuple[int, bytes] | EtcdError
"""The revision for the answer's header and the answer without header; or an error."""

Steps = Generator[None, None, Outcome]
"""A command that takes several steps; what it returns is the outcome."""

BAD_COMMAND: Final = ErrorRow(
    "BadCommand", Code.INTERNAL, "etcdserver: a committed command cannot be read"
)
"""Nothing proposes such a command: it comes from a damaged or a newer member."""

_ACTIVATE: Final = int(messages.AlarmRequest.ACTIVATE)
_DEACTIVATE: Final = int(messages.AlarmRequest.DEACTIVATE)
_PUT: Final = int(CommandKind.PUT)
_lease_of_row = META.unpack_from
_put_request = messages.PutRequest.FromString


class Kinds(Protocol):
    """Whoever applies a family of commands of its own: membership."""

    def apply(self, kind: int, payload: bytes, /) -> Outcome:
        """Apply one command; as with the applier, an error is an outcome."""


class Applier:
    """Applies commands to the stores of one member.

    Args:
        space: where all rows are.
        store: the key space.
        lessor: the leases.
        alarms: the alarms.
        membership: takes commands 32 to 63.
        auth: the users, who may ask for what; takes commands 64 to 95.

    Attributes:
        now: the time for a lease's expiry, set by the replica before it applies; only a primary
            lessor looks at it, and no row depends on it.
        published: the events of each revision, in order, appended here; the replica takes them.
    """

    def __init__(
        self,
        *,
        space: Space,
        store: Store,
        lessor: Lessor,
        alarms: Alarms,
        membership: Kinds,
        auth: AuthStore,
    ) -> None:
        self._space = space
        self._store = store
        self._lessor = lessor
        self._alarms = alarms
        self._membership = membership
        self._auth = auth
        self.now = 0.0
        self.published: list[tuple[int, list[Event]]] = []
        self._handlers: dict[int, Callable[[bytes, bool], Outcome | Steps]] = {
            CommandKind.NOOP: self._noop,
            CommandKind.DELETE_RANGE: self._delete_range,
            CommandKind.TXN: self._txn,
            CommandKind.COMPACT: self._compact,
            CommandKind.LEASE_GRANT: self._lease_grant,
            CommandKind.LEASE_REVOKE: self._lease_revoke,
            CommandKind.LEASE_CHECKPOINT: self._lease_checkpoint,
            CommandKind.ALARM: self._alarm,
        }

    def apply(self, kind: int, payload: bytes, *, answer: bool = True) -> Outcome | Steps:
        """Apply a command.

        Args:
            kind: a `CommandKind`.
            payload: the request's bytes.
            answer: whether somebody here waits for the answer; if not, a txn's ranges are not
                evaluated. The state afterwards is the same.

        Returns:
            The outcome; or, if it takes long, a generator to be stepped to its end before the
            next command is applied.
        """
        asker = None
        try:
            if kind >= AS_USER:
                kind -= AS_USER
                asker, payload = unstamp(payload)
            if self._alarms.raised:
                row = gates.refusal(self._alarms, kind, payload)
                if row is not None:
                    return EtcdError(row)
            if self._auth.enabled:
                row = permits.refusal(self._auth, self._lessor, kind, payload, asker)
                if row is not None:
                    return EtcdError(row)
            if kind == _PUT:
                return self._put(_put_request(payload))
            handler = self._handlers.get(kind)
            if handler is not None:
                return handler(payload, answer)
            if 32 <= kind < 64:
                return self._membership.apply(kind, payload)
            if 64 <= kind < 96:
                outcome = self._auth.apply(kind, payload)
                if isinstance(outcome, EtcdError):
                    return outcome
                return self._store.revision, outcome[1]
            return EtcdError(BAD_COMMAND)
        except EtcdError as error:
            return error
        except (DecodeError, ValueError):
            return EtcdError(BAD_COMMAND)

    def _noop(self, _payload: bytes, _answer: bool) -> Outcome:  # noqa: FBT001 - a table's row
        return self._store.revision, b""

    # -- keys --------------------------------------------------------------------------------

    def _put(self, request: messages.PutRequest) -> Outcome:
        key = request.key
        if not key:
            return EtcdError(errors.EMPTY_KEY)
        lease = request.lease
        value = request.value
        if lease and lease not in self._lessor:
            return EtcdError(errors.LEASE_NOT_FOUND)
        store = self._store
        old = store.current(key)
        if request.ignore_value or request.ignore_lease:
            validation.check_put(request)
            if old is None:
                return EtcdError(errors.KEY_NOT_FOUND)
            if request.ignore_value:
                value = value_of(old[META_SIZE:])
            if request.ignore_lease:
                lease = _lease_of_row(old)[3]
        events = store.put(key, value, lease, old)
        revision = store.revision
        self.published.append((revision, events))
        if old is None:
            if lease:
                self._lessor.attach(self._space, lease, key)
            return revision, b""
        before = _lease_of_row(old)[3]
        if before != lease:
            if before:
                self._lessor.detach(self._space, before, key)
            if lease:
                self._lessor.attach(self._space, lease, key)
        return revision, old[META_SIZE:] if request.prev_kv else b""

    def _delete_range(self, payload: bytes, _answer: bool) -> Outcome | Steps:  # noqa: FBT001 - a table's row
        request = messages.DeleteRangeRequest.FromString(payload)
        validation.check_delete_range(request)
        return _begin(self._delete_steps(request))

    def _delete_steps(self, request: messages.DeleteRangeRequest) -> Steps:
        change = WriteTxn(self._store, self._lessor)
        number, previous = yield from change.delete_range(
            KeyRange.from_wire(request.key, request.range_end), want_previous=request.prev_kv
        )
        self._commit(change)
        return self._store.revision, fastpath.delete_range_body(number, previous)

    def _txn(self, payload: bytes, answer: bool) -> Outcome | Steps:  # noqa: FBT001 - a table's row
        request = messages.TxnRequest.FromString(payload)
        validation.check_txn(request, None)
        outcome = self._txn_single_put(request)
        if outcome is not None:
            return outcome
        return _begin(self._txn_steps(request, answer=answer))

    def _txn_single_put(self, request: messages.TxnRequest) -> Outcome | None:
        """Do what nearly every writing txn does the short way: compare keys, put one.

        Returns:
            None if this one wants something else; nothing has been done then.
        """
        store = self._store
        succeeded = True
        for compare in request.compare:
            if compare.range_end:
                return None
            if not txn.holds(compare, store.current(compare.key)):
                succeeded = False
                break
        operations = request.success if succeeded else request.failure
        if len(operations) != 1:
            return None
        operation = operations[0]
        if not operation.HasField("request_put"):
            return None
        outcome = self._put(operation.request_put)
        if isinstance(outcome, EtcdError):
            return outcome
        revision, body = outcome
        header = fastpath.header_field(b"", revision, 0)
        field = fastpath.response_op(fastpath.RESPONSE_PUT, header + body)
        return revision, fastpath.txn_body((field,), succeeded=succeeded)

    def _txn_steps(self, request: messages.TxnRequest, *, answer: bool) -> Steps:
        store = self._store
        branch = yield from txn.path_of(store, request)
        try:
            txn.check_path(store, self._lessor, branch)
            change = WriteTxn(store, self._lessor)
            body = yield from txn.execute(change, branch, answer=answer)
        except EtcdError as error:
            return error
        self._commit(change)
        return store.revision, body

    def _commit(self, change: WriteTxn) -> None:
        events = change.commit()
        if events:
            self.published.append((self._store.revision, events))

    def _compact(self, payload: bytes, _answer: bool) -> Outcome:  # noqa: FBT001 - a table's row
        self._store.compact(messages.CompactionRequest.FromString(payload).revision)
        return self._store.revision, b""

    # -- leases ------------------------------------------------------------------------------

    def _lease_grant(self, payload: bytes, _answer: bool) -> Outcome:  # noqa: FBT001 - a table's row
        request = messages.LeaseGrantRequest.FromString(payload)
        ttl = self._lessor.grant(request.ID, request.TTL, self.now)
        return self._store.revision, fastpath.lease_body(request.ID, ttl)

    def _lease_revoke(self, payload: bytes, _answer: bool) -> Outcome | Steps:  # noqa: FBT001 - a table's row
        lease = messages.LeaseRevokeRequest.FromString(payload).ID
        if lease not in self._lessor:
            return EtcdError(errors.LEASE_NOT_FOUND)
        return _begin(self._revoke_steps(lease))

    def _revoke_steps(self, lease: int) -> Steps:
        lessor = self._lessor
        change = WriteTxn(self._store, lessor)
        start = b""
        while True:
            keys = lessor.keys_from(lease, start, STEP_ROWS)
            for key in keys:
                row = change.current(key)
                assert row is not None, "a key that is gone hangs on a lease"
                change.delete(key, row)
            if len(keys) < STEP_ROWS:
                break
            start = keys[-1] + b"\0"
            yield
        lessor.forget(lease, self.now)
        self._commit(change)
        return self._store.revision, b""

    def _lease_checkpoint(self, payload: bytes, _answer: bool) -> Outcome:  # noqa: FBT001 - a table's row
        for entry in messages.LeaseCheckpointRequest.FromString(payload).checkpoints:
            self._lessor.checkpoint(entry.ID, entry.remaining_TTL)
        return self._store.revision, b""

    # -- alarms ------------------------------------------------------------------------------

    def _alarm(self, payload: bytes, _answer: bool) -> Outcome:  # noqa: FBT001 - a table's row
        request = messages.AlarmRequest.FromString(payload)
        kind, member = request.alarm, request.memberID
        response = messages.AlarmResponse()
        if request.action not in {_ACTIVATE, _DEACTIVATE}:
            for found, of in self._alarms.get(kind):
                response.alarms.add(memberID=of, alarm=found)
        elif request.action == _ACTIVATE:
            if kind in ALARM_KINDS:  # another one is taken like NONE: nothing is raised
                self._alarms.activate(kind, member)
                response.alarms.add(memberID=member, alarm=kind)
        elif self._alarms.deactivate(kind, member):
            response.alarms.add(memberID=member, alarm=kind)
        return self._store.revision, response.SerializeToString()

    # -- reads -------------------------------------------------------------------------------

    def read_txn(self, request: messages.TxnRequest) -> Outcome | Steps:
        """Do a txn that only reads (`validation.is_read_only`), without the log.

        Returns:
            The outcome, or a generator to be stepped at leisure: commands may be applied
            meanwhile, all its steps see the state of now.
        """
        revision = self._store.revision

        def steps() -> Steps:
            try:
                body = yield from txn.read(self._store, request)
            except EtcdError as error:
                return error
            return revision, body

        return _begin(steps())


def _begin(steps: Steps) -> Outcome | Steps:
    """Do the first step; most commands need no other."""
    try:
        next(steps)
    except StopIteration as stop:
        outcome: Outcome = stop.value
        return outcome
    return steps
