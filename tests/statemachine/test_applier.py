"""Commands applied: outcomes to the byte, errors that change nothing, long ones in steps."""

from __future__ import annotations

import pytest

from trioetcd import errors
from trioetcd.auth import AuthStore
from trioetcd.errors import ErrorRow, EtcdError
from trioetcd.lease import Lessor
from trioetcd.mvcc import Store
from trioetcd.schema import messages
from trioetcd.statemachine import Alarms, Applier, CommandKind, Outcome
from trioetcd.statemachine.applier import BAD_COMMAND
from trioetcd.testing.space import DictSpace


class Members:
    """Remembers what it is given."""

    def __init__(self) -> None:
        self.given: list[tuple[int, bytes]] = []

    def apply(self, kind: int, payload: bytes, /) -> Outcome:
        self.given.append((kind, payload))
        return 0, b"members"


class Member:
    """An applier and its stores."""

    def __init__(self) -> None:
        self.space = DictSpace()
        self.store = Store(self.space, epoch=b"\x80", revision=1, compact_revision=-1)
        self.lessor = Lessor(self.space, epoch=b"\x80")
        self.alarms = Alarms(self.space, epoch=b"\x80")
        self.members = Members()
        self.applier = Applier(
            space=self.space,
            store=self.store,
            lessor=self.lessor,
            alarms=self.alarms,
            membership=self.members,
            auth=AuthStore(self.space, epoch=b"\x80"),
        )
        self.pauses = 0

    def apply(self, kind: int, request: messages.Message, *, answer: bool = True) -> Outcome:
        result = self.applier.apply(kind, request.SerializeToString(), answer=answer)
        before = dict(self.space.rows)
        if isinstance(result, tuple | EtcdError):
            return result
        self.pauses = 1
        while True:
            assert before == self.space.rows, "seen before it was whole"
            try:
                next(result)
            except StopIteration as stop:
                outcome: Outcome = stop.value
                return outcome
            self.pauses += 1

    def put(self, key: bytes, value: bytes = b"v", lease: int = 0) -> Outcome:
        request = messages.PutRequest(key=key, value=value, lease=lease)
        return self.apply(CommandKind.PUT, request)

    def keys_on(self, lease: int) -> list[bytes]:
        return self.lessor.keys_from(lease, b"", 1 << 20)

    def error(self, kind: int, request: messages.Message) -> ErrorRow | None:
        rows = dict(self.space.rows)
        outcome = self.apply(kind, request)
        if isinstance(outcome, EtcdError):
            assert rows == self.space.rows
            assert not self.applier.published
            return outcome.row
        self.applier.published.clear()
        return None


PUT = messages.PutRequest(key=b"k", value=b"v")
DELETE = messages.DeleteRangeRequest(key=b"k")
GRANT = messages.LeaseGrantRequest(ID=9, TTL=5)
REVOKE = messages.LeaseRevokeRequest(ID=1)
PUT_TXN = messages.TxnRequest(failure=[messages.RequestOp(request_put=PUT)])
DELETE_TXN = messages.TxnRequest(success=[messages.RequestOp(request_delete_range=DELETE)])
ACTIVATE = messages.AlarmRequest.ACTIVATE
COMPACT = messages.CompactionRequest(revision=2)


@pytest.mark.parametrize(
    ("kind", "request_", "no_space", "corrupt"),
    [
        (CommandKind.PUT, PUT, errors.NO_SPACE, errors.CORRUPT),
        (CommandKind.TXN, PUT_TXN, errors.NO_SPACE, errors.CORRUPT),
        (CommandKind.TXN, DELETE_TXN, None, errors.CORRUPT),
        (CommandKind.DELETE_RANGE, DELETE, None, errors.CORRUPT),
        (CommandKind.COMPACT, COMPACT, None, errors.CORRUPT),
        (CommandKind.LEASE_GRANT, GRANT, errors.NO_SPACE, errors.CORRUPT),
        (CommandKind.LEASE_REVOKE, REVOKE, None, errors.CORRUPT),
        (CommandKind.ALARM, messages.AlarmRequest(), None, None),
        (CommandKind.NOOP, messages.AlarmRequest(), None, None),
    ],
)
def test_alarms_refuse(
    kind: int, request_: messages.Message, no_space: ErrorRow | None, corrupt: ErrorRow | None
) -> None:
    """NOSPACE refuses what makes the store grow, CORRUPT all of keys and leases (etcd)."""
    for alarm, row in ((1, no_space), (2, corrupt)):
        member = Member()
        member.put(b"k")
        member.lessor.grant(1, 5, 0.0)
        member.applier.published.clear()
        raised = messages.AlarmRequest(action=ACTIVATE, memberID=3, alarm=alarm)
        member.apply(CommandKind.ALARM, raised)
        if row is not None:
            assert row == member.error(kind, request_)
        raised.action = messages.AlarmRequest.DEACTIVATE
        member.apply(CommandKind.ALARM, raised)
        assert member.error(kind, request_) is None


def test_alarm_answers() -> None:
    """Raising and clearing answer the alarm, listing all of a kind; NONE cannot be raised."""
    member = Member()

    def ask(action: str, kind: int, of: int) -> list[tuple[int, int]]:
        request = messages.AlarmRequest(memberID=of, alarm=kind)
        request.action = messages.AlarmRequest.AlarmAction.Value(action)
        outcome = member.apply(CommandKind.ALARM, request)
        assert isinstance(outcome, tuple)
        assert outcome[0] == 1
        response = messages.AlarmResponse.FromString(outcome[1])
        return [(each.alarm, each.memberID) for each in response.alarms]

    assert ask("ACTIVATE", 0, 5) == []
    assert ask("ACTIVATE", 1, 5) == [(1, 5)]
    assert ask("ACTIVATE", 1, 5) == [(1, 5)]
    assert ask("ACTIVATE", 2, 4) == [(2, 4)]
    assert ask("GET", 0, 0) == [(1, 5), (2, 4)]
    assert ask("GET", 2, 0) == [(2, 4)]
    for unknown in (3, 300, -1):
        assert ask("ACTIVATE", unknown, 5) == []
        assert ask("DEACTIVATE", unknown, 5) == []
        assert ask("GET", unknown, 5) == []
    assert ask("GET", 0, 0) == [(1, 5), (2, 4)]
    assert ask("DEACTIVATE", 2, 5) == []
    assert ask("DEACTIVATE", 2, 4) == [(2, 4)]


def test_lease_errors() -> None:
    """A put with an unknown lease, alone or in a txn, changes nothing; nor does a second grant."""
    member = Member()
    put = messages.PutRequest(key=b"k", lease=4)
    txn = messages.TxnRequest(
        success=[
            messages.RequestOp(request_put=messages.PutRequest(key=b"a")),
            messages.RequestOp(request_put=put),
        ]
    )
    assert member.error(CommandKind.PUT, put) == errors.LEASE_NOT_FOUND
    assert member.error(CommandKind.TXN, txn) == errors.LEASE_NOT_FOUND
    assert member.error(CommandKind.LEASE_REVOKE, REVOKE) == errors.LEASE_NOT_FOUND
    assert member.error(CommandKind.LEASE_GRANT, GRANT) is None
    assert member.error(CommandKind.LEASE_GRANT, GRANT) == errors.LEASE_EXIST


def test_lease_order_of_errors() -> None:
    """An unknown lease comes before a missing key that was to be kept (etcd)."""
    member = Member()
    put = messages.PutRequest(key=b"k", lease=4, ignore_value=True)
    assert member.error(CommandKind.PUT, put) == errors.LEASE_NOT_FOUND
    put.lease = 0
    assert member.error(CommandKind.PUT, put) == errors.KEY_NOT_FOUND


def test_grant_answers() -> None:
    """A grant answers the number and the seconds, an expiry begins on a primary."""
    member = Member()
    member.lessor.promote(0.0)
    member.applier.now = 50.0
    outcome = member.apply(CommandKind.LEASE_GRANT, GRANT)
    assert isinstance(outcome, tuple)
    expected = messages.LeaseGrantResponse(ID=9, TTL=5)
    assert (1, expected) == (outcome[0], messages.LeaseGrantResponse.FromString(outcome[1]))
    assert member.lessor.next_expiry == 55.0
    checkpoint = messages.LeaseCheckpointRequest()
    checkpoint.checkpoints.add(ID=9, remaining_TTL=2)
    assert member.apply(CommandKind.LEASE_CHECKPOINT, checkpoint) == (1, b"")
    member.lessor.promote(60.0)
    assert member.lessor.time_to_live(9, 60.0) == (5, 2.0)


def test_lease_moves() -> None:
    """A key hangs on the lease it was last put with, and on none when deleted."""
    member = Member()
    for lease in (1, 2):
        member.lessor.grant(lease, 5, 0.0)
    member.put(b"a", lease=1)
    member.put(b"b", lease=1)
    member.put(b"a", lease=2)
    member.put(b"b", lease=1)
    assert (member.keys_on(1), member.keys_on(2)) == ([b"b"], [b"a"])
    member.put(b"a")
    member.apply(CommandKind.DELETE_RANGE, messages.DeleteRangeRequest(key=b"b"))
    assert (member.keys_on(1), member.keys_on(2)) == ([], [])


def test_many_deleted_in_steps() -> None:
    """A deletion of many keys pauses, is seen at once when whole, and has one revision."""
    member = Member()
    for at in range(1300):
        member.put(b"k%04d" % at)
    member.applier.published.clear()
    request = messages.DeleteRangeRequest(key=b"k", range_end=b"l", prev_kv=True)
    outcome = member.apply(CommandKind.DELETE_RANGE, request)
    assert member.pauses >= 2
    assert isinstance(outcome, tuple)
    response = messages.DeleteRangeResponse.FromString(outcome[1])
    assert (outcome[0], response.deleted, len(response.prev_kvs)) == (1302, 1300, 1300)
    ((revision, events),) = member.applier.published
    assert (revision, len(events)) == (1302, 1300)
    assert member.store.counts.total == 0


def test_many_revoked_in_steps() -> None:
    """A lease with many keys takes them with it in one revision, in steps."""
    member = Member()
    member.lessor.grant(1, 5, 0.0)
    for at in range(1100):
        member.put(b"k%04d" % at, lease=1)
    member.put(b"other")
    outcome = member.apply(CommandKind.LEASE_REVOKE, REVOKE)
    assert member.pauses >= 2
    assert outcome == (1103, b"")
    assert member.store.counts.total == 1
    assert 1 not in member.lessor
    assert member.keys_on(1) == []


def test_unwanted_answer() -> None:
    """Whether anybody wants the answer changes the answer, never the rows."""
    request = messages.TxnRequest(
        success=[
            messages.RequestOp(request_range=messages.RangeRequest(key=b"a", range_end=b"z")),
            messages.RequestOp(request_put=PUT),
        ]
    )
    one, other = Member(), Member()
    for member in (one, other):
        member.put(b"b")
    one.apply(CommandKind.TXN, request)
    other.apply(CommandKind.TXN, request, answer=False)
    assert one.space.rows == other.space.rows
    assert one.store.chain == other.store.chain


def test_put_where_everything_is_deleted() -> None:
    """Keeping the value of a key the same txn has deleted is refused and changes nothing.

    Such a txn passes etcd's checks, because a deletion from a key on is not looked at there.
    """
    member = Member()
    member.put(b"k")
    member.applier.published.clear()
    everything = messages.DeleteRangeRequest(key=b"a", range_end=b"\0")
    keep = messages.PutRequest(key=b"k", ignore_value=True)
    request = messages.TxnRequest(
        success=[
            messages.RequestOp(request_delete_range=everything),
            messages.RequestOp(request_put=keep),
        ]
    )
    assert member.error(CommandKind.TXN, request) == errors.KEY_NOT_FOUND
    keep.ignore_value = False
    request.success[1].request_put.CopyFrom(keep)
    assert member.error(CommandKind.TXN, request) is None
    row = member.store.current_kv(b"k")
    assert row is not None
    kv = messages.RangeResponse.FromString(row).kvs[0]
    assert (kv.create_revision, kv.mod_revision, kv.version) == (3, 3, 1)


def test_families() -> None:
    """Commands of others are handed on; what nobody knows, or nobody can read, is an outcome."""
    member = Member()
    assert member.applier.apply(CommandKind.MEMBER_ADD, b"x") == (0, b"members")
    assert member.members.given == [(CommandKind.MEMBER_ADD, b"x")]
    refused = member.applier.apply(CommandKind.AUTH_ENABLE, b"")
    assert isinstance(refused, EtcdError)
    assert refused.row == errors.ROOT_USER_NOT_EXIST
    for kind, payload in ((200, b""), (100, b""), (129, b"\0" * 9), (CommandKind.TXN, b"\xff")):
        outcome = member.applier.apply(kind, payload)
        assert isinstance(outcome, EtcdError)
        assert outcome.row == BAD_COMMAND


def test_commands_of_auth() -> None:
    """They are handed on, and the answer tells the revision of the keys; errors stay errors."""
    member = Member()
    member.put(b"k")
    auth = AuthStore(member.space, epoch=b"\x80")
    applier = Applier(
        space=member.space,
        store=member.store,
        lessor=member.lessor,
        alarms=member.alarms,
        membership=member.members,
        auth=auth,
    )
    add = messages.AuthRoleAddRequest(name="r").SerializeToString()
    assert applier.apply(CommandKind.AUTH_ROLE_ADD, add) == (2, b"")
    assert (2, ["r"]) == (auth.revision, [role.name for role in auth.roles()])
    for payload, row in ((add, errors.ROLE_ALREADY_EXIST), (b"\xff", BAD_COMMAND)):
        outcome = applier.apply(CommandKind.AUTH_ROLE_ADD, payload)
        assert isinstance(outcome, EtcdError)
        assert row == outcome.row


def test_compaction_errors() -> None:
    """Compaction below or at the compact revision, and above the revision, is refused."""
    member = Member()
    member.put(b"a")
    member.put(b"a")
    member.applier.published.clear()
    assert member.error(CommandKind.COMPACT, COMPACT) is None
    assert member.error(CommandKind.COMPACT, COMPACT) == errors.COMPACTED
    future = messages.CompactionRequest(revision=4)
    assert member.error(CommandKind.COMPACT, future) == errors.FUTURE_REVISION
