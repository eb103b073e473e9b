"""Users and roles as part of a member: through the log, a restart, a snapshot and a backup."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.auth.asking import (
    HASH,
    Command,
    change_password,
    enable,
    grant,
    grant_role,
    role_add,
    user_add,
)
from tests.replica.living import A, B, C, Living, done, member
from tests.replica.states import LEADER, follower
from trioetcd import errors
from trioetcd.auth import (
    AUTHENTICATE,
    READ,
    READWRITE,
    Authentication,
    AuthStore,
    encode_authentication,
)
from trioetcd.errors import EtcdError
from trioetcd.keyrange import KeyRange
from trioetcd.replica import SnapshotEnded, SnapshotOffered, SnapshotPiece
from trioetcd.replica.state_cut import after_epoch
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.storage.memory import MemoryBackend
from trioetcd.testing.synchronous import Synchronous
from trioetcd.values import Term

LIFE = (
    user_add("root"),
    user_add("a"),
    user_add("n", no_password=True),
    role_add("r"),
    grant("r", READWRITE, b"k", b"l"),
    grant("r", READ, b"x", b"\0"),
    grant_role("a", "r"),
    grant_role("root", "root"),
    enable(),
)
DIGEST = b"d" * 32


def live(one: Synchronous, commands: tuple[Command, ...] = LIFE) -> None:
    for kind, request in commands:
        one.done(kind, request)


def told(auth: AuthStore) -> object:
    """Give all that can be asked of users and roles."""
    return auth.enabled, auth.revision, auth.users(), auth.roles()


def test_answers_carry_the_stores_revision() -> None:
    """A command of auth leaves the revision of the keys alone, and its answer's header tells it."""
    one = Synchronous(MemoryBackend()).start()
    one.done(CommandKind.PUT, messages.PutRequest(key=b"k"))
    for kind, request in LIFE[:-1]:
        assert (2, b"") == one.done(kind, request)
    refused = one.do(*user_add("a"))
    assert (2, b"") == one.done(*enable())
    assert isinstance(refused, EtcdError)
    assert errors.USER_ALREADY_EXIST is refused.row
    assert 2 == one.replica.store.revision


def test_a_restart_reads_the_same() -> None:
    """Users and roles are durable like everything else."""
    one = Synchronous(MemoryBackend()).start()
    live(one)
    one.pass_time(1.0)
    expected = told(one.replica.auth)
    again = Synchronous(one.backend, boot=2, now=one.now)
    assert expected == told(again.replica.auth)
    again.start()
    assert expected == told(again.replica.auth)
    assert again.replica.auth.may_write("a", KeyRange(b"k", b"l"))


def pieces(one: Synchronous) -> Iterator[SnapshotPiece]:
    cut = one.replica.cut_state()
    while rows := cut.piece(100):
        yield SnapshotPiece(rows)
    cut.close()


def test_a_snapshot_carries_them() -> None:
    """What is received replaces what was there, with all its tokens, also after a restart."""
    source = Synchronous(MemoryBackend()).start()
    for _ in range(50):
        source.done(CommandKind.PUT, messages.PutRequest(key=b"k"))
    live(source)
    receiver = follower()
    heard = Heard()
    receiver.replica.auth.listener = heard
    meta = source.replica.cut_state().meta
    receiver.step(SnapshotOffered(LEADER, Term(5), meta))
    receiver.settle()
    for piece in pieces(source):
        receiver.step(piece)
        receiver.settle()
    assert not receiver.replica.auth.enabled
    receiver.step(SnapshotEnded(ok=True))
    receiver.settle()
    assert told(source.replica.auth) == told(receiver.replica.auth)
    assert [()] == heard.told, "tokens of another state's users may be nobody's"
    receiver.pass_time(1.0)
    assert isinstance(receiver.backend, MemoryBackend)
    assert told(source.replica.auth) == told(follower(receiver.backend).replica.auth)


class Heard:
    """What a listener is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def assign(self, user: str, digest: bytes, /) -> None:
        self.told.append((user, digest))

    def invalidate(self, user: str, /) -> None:
        self.told.append((user,))

    def clear(self) -> None:
        self.told.append(())


def test_every_member_hears_of_a_token() -> None:
    """A token is made known once on each of three members, and all states agree."""
    cluster = Living([member(number) for number in (A, B, C)])
    leader = cluster.lead()
    heard = {number: Heard() for number in (A, B, C)}
    for number, replica in cluster.replicas.items():
        replica.auth.listener = heard[number]

    def do(kind: int, payload: bytes) -> None:
        done(cluster.propose(leader, kind, payload))

    for kind, request in (*LIFE[:-1], change_password("a"), LIFE[-1]):
        do(kind, request.SerializeToString())
    revision = cluster.replicas[leader].auth.revision
    do(AUTHENTICATE, encode_authentication(Authentication("a", DIGEST, revision)))
    expected: list[tuple[object, ...]] = [("a",), ("a", DIGEST)]
    assert [expected] * 3 == [heard[number].told for number in (A, B, C)]
    states = [told(replica.auth) for replica in cluster.replicas.values()]
    assert states[0] == states[1] == states[2]


def test_no_digest_is_in_the_state() -> None:
    """The log holds a digest until it is cut; the tables never do, and nowhere is a token."""
    one = Synchronous(MemoryBackend()).start()
    live(one)
    revision = one.replica.auth.revision
    payload = encode_authentication(Authentication("a", DIGEST, revision))
    one.propose(("t", AUTHENTICATE, payload))
    one.settle()
    assert (1, b"") == one.resolved["t"]
    one.pass_time(1.0)
    epoch = one.recovered.epoch
    rows = list(one.backend.scan(epoch, after_epoch(epoch)))
    assert any(HASH in value for _, value in rows)
    assert not any(DIGEST in key + value for key, value in rows)


@pytest.mark.parametrize("kind", [CommandKind.AUTHENTICATE, CommandKind.AUTH_USER_ADD])
def test_an_entry_that_cannot_be_read(kind: int) -> None:
    """A damaged command is an error, and the member goes on."""
    one = Synchronous(MemoryBackend()).start()
    password = messages.AuthUserAddRequest(name="a", password="secret").SerializeToString()
    for payload in (b"\xff", password):
        one.propose((payload, kind, payload))
        one.settle()
        outcome = one.resolved[payload]
        assert isinstance(outcome, EtcdError)
        assert "BadCommand" == outcome.row.name
        assert "secret" not in str(outcome)
    live(one)
