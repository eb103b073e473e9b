"""Users and roles follow applied commands, with etcd's errors in etcd's order."""

from __future__ import annotations

import pytest

from tests.auth.asking import (
    EPOCH,
    HASH,
    Asked,
    Command,
    change_password,
    disable,
    enable,
    grant,
    grant_nothing,
    grant_role,
    revoke,
    revoke_role,
    role_add,
    role_delete,
    user_add,
    user_delete,
)
from trioetcd import errors
from trioetcd.auth import (
    AUTHENTICATE,
    READ,
    READWRITE,
    WRITE,
    Authentication,
    AuthStore,
    Permission,
    Role,
    User,
    commands,
    encode_authentication,
)
from trioetcd.errors import Code, ErrorRow, EtcdError
from trioetcd.keyrange import KeyRange
from trioetcd.schema import messages

ROOT = (user_add("root"), grant_role("root", "root"))
ON = (*ROOT, enable())
DIGEST = b"d" * 32

REFUSED: list[tuple[tuple[Command, ...], Command, ErrorRow]] = [
    # What has been done, what is asked, and the error: the earliest that holds, in etcd's order.
    ((), enable(), errors.ROOT_USER_NOT_EXIST),
    ((user_add("root"),), enable(), errors.ROOT_ROLE_NOT_EXIST),
    ((user_add("a"), grant_role("a", "root")), enable(), errors.ROOT_USER_NOT_EXIST),
    ((), user_add(""), errors.USER_EMPTY),
    ((), user_add("", no_password=True), errors.USER_EMPTY),
    ((user_add("a"),), user_add("a"), errors.USER_ALREADY_EXIST),
    (ON, user_delete("root"), errors.INVALID_AUTH_MANAGEMENT),
    ((), user_delete("root"), errors.USER_NOT_FOUND),
    ((), user_delete(""), errors.USER_NOT_FOUND),
    ((), change_password("a"), errors.USER_NOT_FOUND),
    ((), grant_role("a", "r"), errors.USER_NOT_FOUND),
    ((user_add("a"),), grant_role("a", "r"), errors.ROLE_NOT_FOUND),
    ((user_add("a"),), grant_role("a", ""), errors.ROLE_NOT_FOUND),
    (ON, revoke_role("root", "root"), errors.INVALID_AUTH_MANAGEMENT),
    ((), revoke_role("root", "root"), errors.USER_NOT_FOUND),
    ((user_add("root"),), revoke_role("root", "root"), errors.ROLE_NOT_GRANTED),
    ((user_add("a"),), revoke_role("a", "nowhere"), errors.ROLE_NOT_GRANTED),
    ((), role_add(""), errors.ROLE_EMPTY),
    ((role_add("r"),), role_add("r"), errors.ROLE_ALREADY_EXIST),
    ((*ROOT, role_add("root"), enable()), role_delete("root"), errors.INVALID_AUTH_MANAGEMENT),
    (ON, role_delete("root"), errors.INVALID_AUTH_MANAGEMENT),
    (ROOT, role_delete("root"), errors.ROLE_NOT_FOUND),
    ((), grant_nothing("r"), errors.PERMISSION_NOT_GIVEN),
    ((), grant("r", READ, b""), errors.INVALID_AUTH_MANAGEMENT),
    ((role_add("r"),), grant("r", READ, b"", b"\0"), errors.INVALID_AUTH_MANAGEMENT),
    ((role_add("r"),), grant("r", READ, b"b", b"a"), errors.INVALID_AUTH_MANAGEMENT),
    ((role_add("r"),), grant("r", READ, b"b", b"b"), errors.INVALID_AUTH_MANAGEMENT),
    ((), grant("r", READ, b"k"), errors.ROLE_NOT_FOUND),
    ((), revoke("r", b"k"), errors.ROLE_NOT_FOUND),
    ((role_add("r"),), revoke("r", b"k"), errors.PERMISSION_NOT_GRANTED),
    (
        (role_add("r"), grant("r", READ, b"k")),
        revoke("r", b"k", b"l"),
        errors.PERMISSION_NOT_GRANTED,
    ),
    (
        (role_add("r"), grant("r", READ, b"k")),
        revoke("r", b"k", b"k\0"),
        errors.PERMISSION_NOT_GRANTED,
    ),
]


@pytest.mark.parametrize(("done", "asked", "row"), REFUSED)
def test_refused(done: tuple[Command, ...], asked: Command, row: ErrorRow) -> None:
    """A command that may not be is refused with etcd's error and changes nothing."""
    known = Asked()
    known.do(*done)
    assert row is known.ask(asked)


def test_the_table_has_every_error_of_every_command() -> None:
    """Each command that can be refused stands in the table."""
    refusable = {kind for _, (kind, _), _ in REFUSED}
    assert refusable == set(range(commands.AUTH_ENABLE, AUTHENTICATE)) - {commands.AUTH_DISABLE}


def test_a_hash_that_is_not_base64() -> None:
    """The words for it are etcd's for a user without a password, and come last."""
    known = Asked()
    add = messages.AuthUserAddRequest(name="a", hashedPassword="$2a$10$")
    assert errors.NO_PASSWORD_USER is known.ask((commands.AUTH_USER_ADD, add))
    known.do(user_add("a"))
    assert errors.USER_ALREADY_EXIST is known.ask((commands.AUTH_USER_ADD, add))
    change = messages.AuthUserChangePasswordRequest(name="a", hashedPassword="é")
    assert errors.NO_PASSWORD_USER is known.ask((commands.AUTH_USER_CHANGE_PASSWORD, change))
    change.name = "b"
    assert errors.USER_NOT_FOUND is known.ask((commands.AUTH_USER_CHANGE_PASSWORD, change))


@pytest.mark.parametrize("kind", [commands.AUTH_USER_ADD, commands.AUTH_USER_CHANGE_PASSWORD])
def test_a_password_in_the_log_is_not_taken(kind: int) -> None:
    """A password that was not hashed makes an entry that cannot be read: it never was proposed."""
    known = Asked()
    known.do(user_add("a"))
    add = messages.AuthUserAddRequest(name="b", password="pw")
    change = messages.AuthUserChangePasswordRequest(name="a", password="pw")
    request = add if kind == commands.AUTH_USER_ADD else change
    with pytest.raises(messages.DecodeError) as caught:
        known.store.apply(kind, request.SerializeToString())
    assert "pw" not in str(caught.value)


def test_a_command_of_a_later_version() -> None:
    """A kind that is not known is an error, not the end."""
    outcome = Asked().store.apply(95, b"")
    assert isinstance(outcome, EtcdError)
    assert Code.UNIMPLEMENTED == outcome.code


def test_every_change_counts_once() -> None:
    """The auth revision begins at 1 and grows by 1 with each change, as in etcd."""
    known = Asked()
    store = known.store
    assert (1, False) == (store.revision, store.enabled)
    counted = [
        (user_add("root"), 2),
        (user_add("a", no_password=True), 3),
        (role_add("r"), 4),
        (grant("r", READ, b"k"), 5),
        (grant("r", READ, b"k"), 6),  # the very same again counts, too
        (grant_role("a", "r"), 7),
        (grant_role("a", "r"), 7),  # it has the role: no change
        (grant_role("root", "root"), 8),
        (disable(), 8),  # it is not enabled
        (enable(), 8),
        (enable(), 8),
        (change_password("root"), 9),
        (revoke("r", b"k"), 10),
        (revoke_role("a", "r"), 11),
        (role_delete("r"), 12),
        (user_delete("a"), 13),
        (disable(), 14),
        (disable(), 14),
    ]
    for command, revision in counted:
        known.do(command)
        assert revision == store.revision, command
        again = AuthStore(known.space, epoch=EPOCH)
        assert (store.revision, store.enabled) == (again.revision, again.enabled)


def test_changes_tell_of_enabling_too() -> None:
    """Whoever must look again sees it, though the auth revision stays."""
    known = Asked()
    known.do(*ROOT)
    revision, changes = known.store.revision, known.store.changes
    known.do(enable())
    assert (revision, changes + 1) == (known.store.revision, known.store.changes)
    known.store.load(epoch=EPOCH)
    assert changes + 2 == known.store.changes


def test_a_user() -> None:
    """A user keeps its hash through changes of its roles, which are sorted."""
    known = Asked()
    known.do(
        user_add("a"), role_add("z"), role_add("é"), grant_role("a", "é"), grant_role("a", "z")
    )
    known.do(grant_role("a", "root"))
    assert User("a", HASH, roles=("root", "z", "é")) == known.store.get_user("a")
    known.do(change_password("a", b"$2a$other"), revoke_role("a", "z"))
    assert User("a", b"$2a$other", roles=("root", "é")) == known.store.get_user("a")
    known.do(role_delete("é"))
    assert ("root",) == known.store.users()[0].roles


def test_a_user_without_a_password() -> None:
    """It never has one: not when it is made, and not by changing it, which succeeds as in etcd."""
    known = Asked()
    add = user_add("a", no_password=True)[1]
    assert isinstance(add, messages.AuthUserAddRequest)
    add.hashedPassword = "bm90aGluZw=="
    known.do((commands.AUTH_USER_ADD, add), change_password("a"))
    assert User("a", b"", no_password=True) == known.store.get_user("a")


def test_an_empty_hash() -> None:
    """A request without a hash makes a user that no password fits."""
    known = Asked()
    known.do(user_add("a", b""))
    assert User("a") == known.store.get_user("a")
    known.do(change_password("a"), change_password("a", b""))
    assert User("a") == known.store.get_user("a")


def test_no_password_hash_is_shown() -> None:
    """A user's hash is in nothing that could be printed by accident."""
    assert "$2a" not in repr(User("a", HASH))


def test_lists_are_in_order() -> None:
    """Names are in the order of their UTF-8, as bbolt has them."""
    known = Asked()
    names = ["z", "a", "é", "ab", "\U0001f511", "\uffff"]
    known.do(*map(user_add, names), *map(role_add, names))
    expected = sorted(names, key=str.encode)
    assert expected == [user.name for user in known.store.users()]
    assert expected == [role.name for role in known.store.roles()]


def test_permissions_are_kept_as_granted() -> None:
    """They are in the order of keys; the same pair again has its kind changed, in its place."""
    known = Asked()
    known.do(role_add("r"), grant("r", READ, b"b", b"c"), grant("r", READ, b"b", b"d"))
    known.do(
        grant("r", WRITE, b"a"), grant("r", READWRITE, b"b", b"c"), grant("r", READ, b"z", b"\0")
    )
    expected = (
        Permission(WRITE, b"a", b""),
        Permission(READWRITE, b"b", b"c"),
        Permission(READ, b"b", b"d"),
        Permission(READ, b"z", b"\0"),
    )
    assert Role("r", expected) == known.store.get_role("r")
    known.do(grant("r", WRITE, b"b", b"d"), revoke("r", b"a"))
    found = known.store.get_role("r")
    assert found is not None
    assert (expected[1], Permission(WRITE, b"b", b"d"), expected[3]) == found.permissions


def test_what_a_user_may() -> None:
    """Permissions of all roles count together, and every change is seen at once."""
    known = Asked()
    store = known.store
    some, rest = KeyRange(b"a", b"m"), KeyRange(b"m", b"z")
    both = KeyRange(b"b", b"y")
    known.do(user_add("u"), role_add("r"), role_add("w"), grant("r", READ, *some_wire(some)))
    known.do(grant("w", READWRITE, *some_wire(rest)), grant_role("u", "r"))
    assert store.may_read("u", some)
    assert not store.may_read("u", both)
    known.do(grant_role("u", "w"))
    assert store.may_read("u", both)
    assert not store.may_write("u", both)
    assert store.may_write("u", rest)
    known.do(revoke("r", *some_wire(some)))
    assert not store.may_read("u", both)
    known.do(role_delete("w"))
    assert not store.may_read("u", rest)
    known.do(user_delete("u"))
    assert not store.may_read("u", KeyRange(b"b", b"b\0"))


def some_wire(keys: KeyRange) -> tuple[bytes, bytes]:
    assert keys.end is not None
    return keys.start, keys.end


def test_root_may_everything() -> None:
    """It is the role that counts, though it need not exist, and not the user's name."""
    known = Asked()
    store = known.store
    everything = KeyRange(b"\0", None)
    known.do(user_add("root"), user_add("a"), grant_role("a", "root"))
    assert (True, True, True) == (
        store.is_root("a"),
        store.may_read("a", everything),
        store.may_write("a", everything),
    )
    for user in ("root", "nobody", ""):
        assert not store.is_root(user)
        assert not store.may_read(user, everything)
        assert not store.may_write(user, KeyRange(b"k", b"k\0"))


def test_what_is_told_of_tokens() -> None:
    """Tokens end with their user, its password, auth and the state; they begin by the log."""
    known = Asked()
    known.do(*ON, user_add("a"))
    assert [] == known.told
    token = encode_authentication(Authentication("a", DIGEST, known.store.revision))
    assert known.apply(AUTHENTICATE, token) is None
    assert known.apply(AUTHENTICATE, token) is None  # a log may be replayed
    known.do(change_password("a"), user_delete("a"), disable(), disable())
    known.store.load(epoch=EPOCH)
    expected = [("a", DIGEST)] * 2 + [("invalidate", "a")] * 2 + [("clear",)] * 2
    assert expected == known.told


def test_a_token_that_may_not_be() -> None:
    """Auth is on, the user is there and may have a password, and nothing changed since."""
    known = Asked()
    known.do(*ROOT, user_add("n", no_password=True))

    def ask(user: str, since: int = 0) -> ErrorRow | None:
        revision = known.store.revision - since
        return known.apply(
            AUTHENTICATE, encode_authentication(Authentication(user, DIGEST, revision))
        )

    assert errors.AUTH_NOT_ENABLED is ask("root")
    known.do(enable())
    assert errors.AUTH_FAILED is ask("nobody")
    assert errors.AUTH_FAILED is ask("n")
    assert errors.AUTH_FAILED is ask("n", 1)
    assert errors.AUTH_OLD_REVISION is ask("root", 1)
    assert ask("root") is None


def test_an_authentication_changes_no_row() -> None:
    """Nothing of a token is stored."""
    known = Asked()
    known.do(*ON)
    before = dict(known.space.rows)
    token = encode_authentication(Authentication("root", DIGEST, known.store.revision))
    assert known.apply(AUTHENTICATE, token) is None
    assert before == known.space.rows


def test_nobody_need_listen() -> None:
    """A store that stands alone applies everything as well."""
    store = AuthStore(Asked().space, epoch=EPOCH)
    for kind, request in (*ON, user_add("a")):
        assert (0, b"") == store.apply(kind, request.SerializeToString())
    token = encode_authentication(Authentication("root", DIGEST, store.revision))
    assert (0, b"") == store.apply(AUTHENTICATE, token)
    for kind, request in (change_password("root"), disable()):
        assert (0, b"") == store.apply(kind, request.SerializeToString())


def test_another_hash_for_a_name_that_nobody_has() -> None:
    """Unknown names get the hash of somebody, always the same one, and it does not count."""
    known = Asked()
    assert (b"", False) == known.store.hash_for("nobody")
    known.do(user_add("n", no_password=True))
    assert (b"", False) == known.store.hash_for("n")
    hashes = [b"$2a$%02d$" % cost for cost in range(10)]
    known.do(*(user_add(f"u{at}", hashed) for at, hashed in enumerate(hashes)))
    for at, hashed in enumerate(hashes):
        assert (hashed, True) == known.store.hash_for(f"u{at}")
    drawn = [known.store.hash_for(f"unknown {at}") for at in range(300)]
    assert drawn == [known.store.hash_for(f"unknown {at}") for at in range(300)]
    assert {(hashed, False) for hashed in hashes} == set(drawn)
    known.do(*(user_delete(f"u{at}") for at in range(1, 10)))
    assert (hashes[0], False) == known.store.hash_for("n")
