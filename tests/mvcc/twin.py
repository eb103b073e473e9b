"""The naive twin of the key space, and what is drawn to be asked of both."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from trioetcd import errors
from trioetcd.auth import AuthStore
from trioetcd.errors import ErrorRow, EtcdError
from trioetcd.keyrange import KeyRange
from trioetcd.lease import Lessor
from trioetcd.mvcc import Store
from trioetcd.schema import messages
from trioetcd.statemachine import Alarms, Applier, Outcome, Steps
from trioetcd.testing.space import DictSpace

EPOCH = b"\x80"


class KV(NamedTuple):
    """A key as the naive twin holds it."""

    key: bytes
    create: int
    mod: int
    version: int
    value: bytes
    lease: int

    def message(self, *, value: bool = True) -> messages.KeyValue:
        return messages.KeyValue(
            key=self.key,
            create_revision=self.create,
            mod_revision=self.mod,
            version=self.version,
            value=self.value if value else b"",
            lease=self.lease,
        )


State = dict[bytes, KV]
Happening = tuple[bytes, KV | None, KV | None]


class NoMembers:
    """Applies nothing."""

    def apply(self, _kind: int, _payload: bytes, /) -> Outcome:
        return 0, b""


class Member:
    """One store with all that belongs to it."""

    def __init__(self) -> None:
        self.space = DictSpace()
        self.reopen(1, -1)

    def reopen(self, revision: int, compact_revision: int) -> None:
        self.store = Store(
            self.space,
            epoch=EPOCH,
            revision=revision,
            compact_revision=compact_revision,
            history_bytes=600,
        )
        self.lessor = Lessor(self.space, epoch=EPOCH)
        self.applier = Applier(
            space=self.space,
            store=self.store,
            lessor=self.lessor,
            alarms=Alarms(self.space, epoch=EPOCH),
            membership=NoMembers(),
            auth=AuthStore(self.space, epoch=EPOCH),
        )

    def apply(self, kind: int, payload: bytes) -> Outcome:
        return run_to_end(self.applier.apply(kind, payload))


def run_to_end(result: Outcome | Steps) -> Outcome:
    """Give the outcome of a command, after all its steps if it takes several."""
    if isinstance(result, tuple | EtcdError):
        return result
    while True:
        try:
            next(result)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome


class Refused(Exception):  # noqa: N818 - the twin's own
    """The naive twin refuses a request."""

    def __init__(self, row: ErrorRow) -> None:
        super().__init__(row.text)
        self.row = row


def row_of(outcome: Outcome) -> ErrorRow | None:
    """Give the error of an outcome, if it is one."""
    return outcome.row if isinstance(outcome, EtcdError) else None


class Twin:
    """The naive twin: every state there ever was, whole."""

    def __init__(self) -> None:
        self.states: dict[int, State] = {1: {}}
        self.happened: dict[int, list[Happening]] = {}
        self.revision = 1
        self.compacted = -1
        self.leases: set[int] = set()

    def begin(self) -> None:
        self.state = dict(self.states[self.revision])
        self.events: list[Happening] = []

    def end(self) -> None:
        if self.events:
            self.revision += 1
            self.states[self.revision] = self.state
            self.happened[self.revision] = self.events

    @property
    def seen(self) -> int:
        return self.revision + 1 if self.events else self.revision

    def put(self, request: messages.PutRequest) -> KV | None:
        if request.lease and request.lease not in self.leases:
            raise Refused(errors.LEASE_NOT_FOUND)
        old = self.state.get(request.key)
        value, lease = request.value, request.lease
        if request.ignore_value or request.ignore_lease:
            if old is None:
                raise Refused(errors.KEY_NOT_FOUND)
            value = old.value if request.ignore_value else value
            lease = old.lease if request.ignore_lease else lease
        now = self.revision + 1
        if old is None:
            new = KV(request.key, now, now, 1, value, lease)
        else:
            new = KV(request.key, old.create, now, old.version + 1, value, lease)
        self.state[request.key] = new
        before = None if new.create == now else self.states[self.revision].get(request.key)
        self.events.append((request.key, new, before))
        return old

    def delete(self, start: bytes, range_end: bytes) -> list[KV]:
        keys = KeyRange.from_wire(start, range_end)
        gone = [self.state[key] for key in sorted(self.state) if key in keys]
        for kv in gone:
            del self.state[kv.key]
            self.events.append((kv.key, None, self.states[self.revision].get(kv.key)))
        return gone

    def range(self, state: State, request: messages.RangeRequest) -> messages.RangeResponse:
        keys = KeyRange.from_wire(request.key, request.range_end)
        found = [state[key] for key in sorted(state) if key in keys]
        response = messages.RangeResponse(count=len(found))
        if request.count_only:
            return response
        if request.max_mod_revision:
            found = [kv for kv in found if kv.mod <= request.max_mod_revision]
        if request.min_mod_revision:
            found = [kv for kv in found if kv.mod >= request.min_mod_revision]
        if request.max_create_revision:
            found = [kv for kv in found if kv.create <= request.max_create_revision]
        if request.min_create_revision:
            found = [kv for kv in found if kv.create >= request.min_create_revision]
        filtered = (
            request.max_mod_revision
            or request.min_mod_revision
            or request.max_create_revision
            or request.min_create_revision
        )
        if request.limit > 0 and not request.sort_order and not filtered:
            found = found[: request.limit + 1]
        field = ("key", "version", "create", "mod", "value")[request.sort_target]
        if field != "key" or request.sort_order == messages.RangeRequest.DESCEND:
            found.sort(
                key=lambda kv: getattr(kv, field),
                reverse=request.sort_order == messages.RangeRequest.DESCEND,
            )
        if 0 < request.limit < len(found):
            found = found[: request.limit]
            response.more = True
        for kv in found:
            response.kvs.append(kv.message(value=not request.keys_only))
        return response

    # -- transactions ------------------------------------------------------------------------

    def compares(self, compare: messages.Compare) -> bool:
        keys = KeyRange.from_wire(compare.key, compare.range_end)
        found: list[KV | None] = [self.state[key] for key in sorted(self.state) if key in keys]
        for kv in found or [None]:
            have: bytes | int
            want: bytes | int
            if compare.target == messages.Compare.VALUE:
                if kv is None:
                    return False
                have, want = kv.value, compare.value
            elif compare.target == messages.Compare.VERSION:
                have, want = kv.version if kv else 0, compare.version
            elif compare.target == messages.Compare.CREATE:
                have, want = kv.create if kv else 0, compare.create_revision
            elif compare.target == messages.Compare.MOD:
                have, want = kv.mod if kv else 0, compare.mod_revision
            else:
                have, want = kv.lease if kv else 0, compare.lease
            if compare.result == messages.Compare.EQUAL:
                holds = have == want
            elif compare.result == messages.Compare.NOT_EQUAL:
                holds = have != want
            elif compare.result == messages.Compare.GREATER:
                holds = have > want  # type: ignore[operator]  # both of one type by target
            else:
                holds = have < want  # type: ignore[operator]  # both of one type by target
            if not holds:
                return False
        return True

    def path(self, request: messages.TxnRequest, paths: list[bool]) -> None:
        succeeded = all(self.compares(compare) for compare in request.compare)
        paths.append(succeeded)
        for operation in request.success if succeeded else request.failure:
            if operation.HasField("request_txn"):
                self.path(operation.request_txn, paths)
            elif operation.HasField("request_range"):
                self.check_revision(operation.request_range.revision)
            elif operation.HasField("request_put"):
                put = operation.request_put
                if put.lease and put.lease not in self.leases:
                    raise Refused(errors.LEASE_NOT_FOUND)
                if (put.ignore_value or put.ignore_lease) and put.key not in self.state:
                    raise Refused(errors.KEY_NOT_FOUND)

    def check_revision(self, revision: int) -> None:
        if revision > self.revision:
            raise Refused(errors.FUTURE_REVISION)
        if revision and revision < self.compacted:
            raise Refused(errors.COMPACTED)

    def txn(self, request: messages.TxnRequest) -> messages.TxnResponse:
        paths: list[bool] = []
        self.path(request, paths)
        paths.reverse()
        return self.run(request, paths)

    def run(self, request: messages.TxnRequest, paths: list[bool]) -> messages.TxnResponse:
        response = messages.TxnResponse(succeeded=paths.pop())
        for operation in request.success if response.succeeded else request.failure:
            answer = response.responses.add()
            if operation.HasField("request_txn"):
                answer.response_txn.CopyFrom(self.run(operation.request_txn, paths))
                answer.response_txn.header.SetInParent()
            elif operation.HasField("request_range"):
                wanted = operation.request_range
                state = self.states[wanted.revision] if wanted.revision > 0 else self.state
                answer.response_range.CopyFrom(self.range(state, wanted))
                answer.response_range.header.revision = self.seen
            elif operation.HasField("request_put"):
                old = self.put(operation.request_put)
                answer.response_put.header.revision = self.seen
                if old is not None and operation.request_put.prev_kv:
                    answer.response_put.prev_kv.CopyFrom(old.message())
            else:
                deletion = operation.request_delete_range
                gone = self.delete(deletion.key, deletion.range_end)
                answer.response_delete_range.header.revision = self.seen
                answer.response_delete_range.deleted = len(gone)
                if deletion.prev_kv:
                    for kv in gone:
                        answer.response_delete_range.prev_kvs.append(kv.message())
        return response


keys = st.sampled_from(
    [b"a", b"a\0", b"a\0\0", b"a\0\x01", b"a\xff", b"a\xff\xff", b"ab", b"b", b"\0", b"\xff\xff"]
)
ends = st.one_of(st.just(b""), st.just(b"\0"), keys)
values = st.sampled_from([b"", b"x", b"yy", b"z" * 200])
leases = st.sampled_from([0, 0, 0, 1, 2, 3])


@st.composite
def puts(draw: st.DrawFn) -> messages.PutRequest:
    """Draw a Put that passes the checks, mostly."""
    ignore_value = draw(st.integers(0, 5)) == 0
    ignore_lease = draw(st.integers(0, 5)) == 0
    return messages.PutRequest(
        key=draw(keys),
        value=b"" if ignore_value else draw(values),
        lease=0 if ignore_lease else draw(leases),
        prev_kv=draw(st.booleans()),
        ignore_value=ignore_value,
        ignore_lease=ignore_lease,
    )


deletions = st.builds(messages.DeleteRangeRequest, key=keys, range_end=ends, prev_kv=st.booleans())
revisions = st.one_of(st.just(0), st.just(0), st.integers(-1, 12))
bounds = st.one_of(st.just(0), st.just(0), st.just(0), st.integers(1, 12))
ranges = st.builds(
    messages.RangeRequest,
    key=keys,
    range_end=ends,
    limit=st.integers(-1, 6),
    revision=revisions,
    sort_order=st.integers(0, 2),
    sort_target=st.integers(0, 4),
    keys_only=st.booleans(),
    count_only=st.booleans(),
    min_mod_revision=bounds,
    max_mod_revision=bounds,
    min_create_revision=bounds,
    max_create_revision=bounds,
)


@st.composite
def compares(draw: st.DrawFn) -> messages.Compare:
    """Draw a compare of any kind."""
    target = draw(st.integers(0, 4))
    compare = messages.Compare(
        key=draw(keys), range_end=draw(ends), target=target, result=draw(st.integers(0, 3))
    )
    number = draw(st.integers(0, 20))
    if target == messages.Compare.VERSION:
        compare.version = number
    elif target == messages.Compare.CREATE:
        compare.create_revision = number
    elif target == messages.Compare.MOD:
        compare.mod_revision = number
    elif target == messages.Compare.VALUE:
        compare.value = draw(values)
    else:
        compare.lease = draw(leases)
    return compare


def operations(
    txn: st.SearchStrategy[messages.TxnRequest],
) -> st.SearchStrategy[list[messages.RequestOp]]:
    """Draw operations of one branch."""
    return st.lists(
        st.one_of(
            puts().map(lambda put: messages.RequestOp(request_put=put)),
            deletions.map(lambda deletion: messages.RequestOp(request_delete_range=deletion)),
            ranges.map(lambda wanted: messages.RequestOp(request_range=wanted)),
            txn.map(lambda nested: messages.RequestOp(request_txn=nested)),
        ),
        max_size=4,
    )


def _txns(inner: st.SearchStrategy[messages.TxnRequest]) -> st.SearchStrategy[messages.TxnRequest]:
    return st.builds(
        messages.TxnRequest,
        compare=st.lists(compares(), max_size=2),
        success=operations(inner),
        failure=operations(inner),
    )


txns = st.recursive(st.builds(messages.TxnRequest), _txns, max_leaves=3)


@st.composite
def full_txns(draw: st.DrawFn) -> messages.TxnRequest:
    """Draw a txn that passes the checks and does much: reads between changes, deletions of all."""
    done: list[messages.RequestOp] = []
    for key in draw(st.lists(keys, unique=True, max_size=5)):
        put = messages.PutRequest(key=key, value=draw(values), prev_kv=draw(st.booleans()))
        done.append(messages.RequestOp(request_put=put))
    for start in draw(st.lists(keys, max_size=2)):
        # From a key on: the checks let this through beside puts, as etcd's do.
        deletion = messages.DeleteRangeRequest(
            key=start, range_end=b"\0", prev_kv=draw(st.booleans())
        )
        done.append(messages.RequestOp(request_delete_range=deletion))
    for wanted in draw(st.lists(ranges, max_size=3)):
        wanted.revision = draw(st.sampled_from([0, 0, 1, 2, 3]))
        done.append(messages.RequestOp(request_range=wanted))
    done = draw(st.permutations(done))
    if draw(st.booleans()):
        half = len(done) // 2
        inner = messages.TxnRequest(compare=draw(st.lists(compares(), max_size=1)))
        inner.success.extend(done[half:])
        inner.failure.extend(done[half:])
        done = [*done[:half], messages.RequestOp(request_txn=inner)]
    return messages.TxnRequest(success=done)


def event_of(happening: Happening, revision: int, compacted: int) -> messages.Event:
    """Make the event a watcher with prev_kv sees."""
    key, kv, before = happening
    if kv is None:
        event = messages.Event(
            type=messages.Event.DELETE, kv=messages.KeyValue(key=key, mod_revision=revision)
        )
    else:
        event = messages.Event(kv=kv.message())
    if before is not None and revision > compacted:
        event.prev_kv.CopyFrom(before.message())
    return event
