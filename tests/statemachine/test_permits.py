"""Who may ask for which command, at apply: what an entry says, and what the state says of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioetcd import errors
from trioetcd.auth import AuthStore, KeySet
from trioetcd.errors import EtcdError
from trioetcd.keyrange import KeyRange
from trioetcd.lease import Lessor
from trioetcd.mvcc import Store
from trioetcd.schema import messages as m
from trioetcd.statemachine import MEMBER, Alarms, Applier, Asker, CommandKind, permits, stamp
from trioetcd.statemachine.command import AS_USER, KIND_BITS, unstamp
from trioetcd.testing.space import DictSpace

EPOCH = b"\x80"
PUT = m.PutRequest(key=b"k").SerializeToString()


class Nobody:
    def apply(self, _kind: int, _payload: bytes, /) -> tuple[int, bytes]:
        return 0, b""


class Member:
    """Stores with a user of each kind, and auth enabled."""

    def __init__(self) -> None:
        space = DictSpace()
        self.store = Store(space, epoch=EPOCH, revision=1, compact_revision=-1)
        self.lessor = Lessor(space, epoch=EPOCH)
        self.alarms = Alarms(space, epoch=EPOCH)
        self.auth = AuthStore(space, epoch=EPOCH)
        self.applier = Applier(
            space=space,
            store=self.store,
            lessor=self.lessor,
            alarms=self.alarms,
            membership=Nobody(),
            auth=self.auth,
        )
        perm = m.Permission(permType=m.Permission.WRITE, key=b"k", range_end=b"l")
        for kind, request in (
            (CommandKind.AUTH_USER_ADD, m.AuthUserAddRequest(name="root")),
            (CommandKind.AUTH_USER_ADD, m.AuthUserAddRequest(name="anna")),
            (CommandKind.AUTH_ROLE_ADD, m.AuthRoleAddRequest(name="r")),
            (
                CommandKind.AUTH_ROLE_GRANT_PERMISSION,
                m.AuthRoleGrantPermissionRequest(name="r", perm=perm),
            ),
            (
                CommandKind.AUTH_USER_GRANT_ROLE,
                m.AuthUserGrantRoleRequest(user="anna", role="r"),
            ),
            (
                CommandKind.AUTH_USER_GRANT_ROLE,
                m.AuthUserGrantRoleRequest(user="root", role="root"),
            ),
            (CommandKind.AUTH_ENABLE, m.AuthEnableRequest()),
        ):
            assert self.row(kind, request.SerializeToString()) is None

    def row(
        self, kind: int, payload: bytes, user: str | None = None, *, behind: int = 0
    ) -> errors.ErrorRow | None:
        """Apply; give the error's row. None for the user is an entry that says nothing."""
        if user is not None:
            kind, payload = stamp(kind, payload, Asker(user, self.auth.revision - behind))
        outcome = self.applier.apply(kind, payload)
        while not isinstance(outcome, (tuple, EtcdError)):
            try:
                next(outcome)
            except StopIteration as stop:
                outcome = stop.value
        return outcome.row if isinstance(outcome, EtcdError) else None


def test_an_entry_that_does_not_say_who_asks_is_refused() -> None:
    """Every client's command, unless it is a member's; while auth is off it does not matter."""
    member = Member()
    clients = [kind for kind in CommandKind if kind not in permits.OF_MEMBERS]
    for kind in clients:
        assert member.row(kind, b"") is errors.USER_EMPTY
    assert member.row(CommandKind.PUT, PUT, "") is None
    assert member.row(CommandKind.PUT, PUT, "anna") is None
    for own in permits.OF_MEMBERS - {CommandKind.AUTHENTICATE}:
        assert member.row(own, b"") is None
        assert member.row(own, b"", "root") is errors.PERMISSION_DENIED
    assert member.row(CommandKind.AUTH_DISABLE, b"", "root") is None
    assert member.row(CommandKind.PUT, PUT) is None
    assert member.row(CommandKind.PUT, PUT, "nobody") is None


def test_every_command_has_a_rule_or_is_a_member_s() -> None:
    """A kind that is added without a rule may be asked for by nobody; there is none."""
    ruled = set(permits._RULES)

    assert ruled | permits.OF_MEMBERS == set(CommandKind)
    assert not ruled & permits.OF_MEMBERS
    assert all(kind <= KIND_BITS for kind in CommandKind)


def test_what_an_old_revision_is_good_for() -> None:
    """Nothing that concerns keys, root's included; root changes users with it (etcd)."""
    member = Member()
    for kind, request in (
        (CommandKind.PUT, m.PutRequest(key=b"k")),
        (CommandKind.DELETE_RANGE, m.DeleteRangeRequest(key=b"k")),
        (CommandKind.TXN, m.TxnRequest()),
        (CommandKind.LEASE_REVOKE, m.LeaseRevokeRequest(ID=1)),
    ):
        payload = request.SerializeToString()
        for user in ("anna", "root"):
            assert member.row(kind, payload, user, behind=1) is errors.AUTH_OLD_REVISION
    role = m.AuthRoleAddRequest(name="new").SerializeToString()
    assert member.row(CommandKind.AUTH_ROLE_ADD, role, "root", behind=3) is None
    assert member.row(CommandKind.AUTH_ROLE_ADD, role, "anna") is errors.PERMISSION_DENIED


def test_alarms_come_before_users() -> None:
    """Who may not put is told first that nobody may (etcd)."""
    member = Member()
    member.alarms.activate(m.NOSPACE, 1)
    assert member.row(CommandKind.PUT, PUT, "nobody") is errors.NO_SPACE
    member.alarms.activate(m.CORRUPT, 1)
    assert member.row(CommandKind.COMPACT, b"", "nobody") is errors.CORRUPT


KEYS = st.binary(min_size=1, max_size=2)


@given(
    st.sets(KEYS, max_size=12),
    st.lists(st.tuples(KEYS, st.none() | KEYS), max_size=5).map(
        lambda found: [KeyRange(*pair) for pair in found]
    ),
)
def test_all_keys_of_a_lease(keys: set[bytes], intervals: list[KeyRange]) -> None:
    """They are in a set exactly when each of them is."""
    space = DictSpace()
    lessor = Lessor(space, epoch=EPOCH)
    lessor.grant(1, 60, 0.0)
    for key in keys:
        lessor.attach(space, 1, key)
    wanted = all(any(key in each for each in intervals) for key in keys)

    assert permits.covers_keys(lessor, 1, KeySet(intervals)) == wanted


@given(st.integers(0, KIND_BITS), st.binary(), st.text(), st.integers(0, 2**64 - 1))
def test_a_stamp_is_read_as_it_was_written(
    kind: int, payload: bytes, user: str, revision: int
) -> None:
    """Whoever asks, and for whatever."""
    asker = Asker(user, revision)
    stamped, data = stamp(kind, payload, asker)

    assert stamped == kind + AS_USER
    assert unstamp(data) == (asker, payload)
    assert MEMBER.user == ""
