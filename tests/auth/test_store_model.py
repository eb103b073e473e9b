"""Any sequence of commands against a naive model: answers, errors, and what may be read.

The model keeps what was granted as it was granted, and finds every answer by going through all
of it. After each step the rows alone must give the same state.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.auth import asking
from tests.auth.asking import EPOCH, Asked, Command
from trioetcd import errors
from trioetcd.auth import READ, READWRITE, WRITE, AuthStore
from trioetcd.errors import ErrorRow
from trioetcd.keyrange import KeyRange

names = st.sampled_from(["", "root", "a", "b", "é"])
ends = st.sampled_from([b"", b"\0", b"a", b"b", b"bb", b"c"])
kinds = st.sampled_from([READ, WRITE, READWRITE, 7])
hashes = st.sampled_from([b"", b"one", b"two"])

QUESTIONS = [
    KeyRange.from_wire(key, end)
    for key in (b"\0", b"a", b"b", b"bb", b"c")
    for end in (b"", b"\0", b"b", b"bb", b"c")
]
KEYS = [b"\0", b"a", b"aa", b"b", b"ba", b"bb", b"bc", b"c", b"d"]
"""One in every gap that the ends leave."""


@dataclass
class Known:
    hashed: bytes
    no_password: bool
    roles: set[str] = field(default_factory=set)


class Model:
    """The users and roles, told in the plainest way."""

    def __init__(self) -> None:
        self.enabled = False
        self.revision = 1
        self.users: dict[str, Known] = {}
        self.roles: dict[str, dict[tuple[bytes, bytes], int]] = {}

    def may(self, user: str, kind: int, asked: KeyRange) -> bool:
        known = self.users.get(user)
        if known is None:
            return False
        if "root" in known.roles:
            return True
        granted = [
            KeyRange.from_wire(*pair)
            for role in known.roles
            for pair, found in self.roles.get(role, {}).items()
            if found in {kind, READWRITE}
        ]
        if asked.empty:
            return any(asked.start in keys for keys in granted)
        if asked.end is None and all(keys.end is not None for keys in granted):
            return False
        return all(any(key in keys for keys in granted) for key in KEYS if key in asked)


class Life(RuleBasedStateMachine):
    """Commands at random, asked of both."""

    def __init__(self) -> None:
        super().__init__()
        self.known = Asked()
        self.model = Model()

    def ask(self, command: Command, row: ErrorRow | None, *, counts: bool = True) -> bool:
        """Ask the store for what the model has decided; whether it was done."""
        assert row is self.known.ask(command)
        if row is None and counts:
            self.model.revision += 1
        return row is None

    @rule()
    def enable(self) -> None:
        root = self.model.users.get("root")
        row = None
        if not self.model.enabled:
            if root is None:
                row = errors.ROOT_USER_NOT_EXIST
            elif "root" not in root.roles:
                row = errors.ROOT_ROLE_NOT_EXIST
        if self.ask(asking.enable(), row, counts=False):
            self.model.enabled = True

    @rule()
    def disable(self) -> None:
        self.ask(asking.disable(), None, counts=self.model.enabled)
        self.model.enabled = False

    @rule(name=names, hashed=hashes, no_password=st.booleans())
    def user_add(self, name: str, hashed: bytes, *, no_password: bool) -> None:
        row = None
        if not name:
            row = errors.USER_EMPTY
        elif name in self.model.users:
            row = errors.USER_ALREADY_EXIST
        if self.ask(asking.user_add(name, hashed, no_password=no_password), row):
            self.model.users[name] = Known(b"" if no_password else hashed, no_password)

    @rule(name=names)
    def user_delete(self, name: str) -> None:
        row = None
        if self.model.enabled and name == "root":
            row = errors.INVALID_AUTH_MANAGEMENT
        elif name not in self.model.users:
            row = errors.USER_NOT_FOUND
        if self.ask(asking.user_delete(name), row):
            del self.model.users[name]

    @rule(name=names, hashed=hashes)
    def change_password(self, name: str, hashed: bytes) -> None:
        known = self.model.users.get(name)
        row = errors.USER_NOT_FOUND if known is None else None
        if self.ask(asking.change_password(name, hashed), row):
            assert known is not None
            known.hashed = b"" if known.no_password else hashed

    @rule(user=names, role=names)
    def grant_role(self, user: str, role: str) -> None:
        known = self.model.users.get(user)
        row = None
        if known is None:
            row = errors.USER_NOT_FOUND
        elif role != "root" and role not in self.model.roles:
            row = errors.ROLE_NOT_FOUND
        counts = known is None or role not in known.roles
        if self.ask(asking.grant_role(user, role), row, counts=counts):
            assert known is not None
            known.roles.add(role)

    @rule(user=names, role=names)
    def revoke_role(self, user: str, role: str) -> None:
        known = self.model.users.get(user)
        row = None
        if self.model.enabled and (user, role) == ("root", "root"):
            row = errors.INVALID_AUTH_MANAGEMENT
        elif known is None:
            row = errors.USER_NOT_FOUND
        elif role not in known.roles:
            row = errors.ROLE_NOT_GRANTED
        if self.ask(asking.revoke_role(user, role), row):
            assert known is not None
            known.roles.remove(role)

    @rule(name=names)
    def role_add(self, name: str) -> None:
        row = None
        if not name:
            row = errors.ROLE_EMPTY
        elif name in self.model.roles:
            row = errors.ROLE_ALREADY_EXIST
        if self.ask(asking.role_add(name), row):
            self.model.roles[name] = {}

    @rule(name=names)
    def role_delete(self, name: str) -> None:
        row = None
        if self.model.enabled and name == "root":
            row = errors.INVALID_AUTH_MANAGEMENT
        elif name not in self.model.roles:
            row = errors.ROLE_NOT_FOUND
        if self.ask(asking.role_delete(name), row):
            del self.model.roles[name]
            for known in self.model.users.values():
                known.roles.discard(name)

    @rule(role=names, kind=kinds, key=ends, range_end=ends)
    def grant(self, role: str, kind: int, key: bytes, range_end: bytes) -> None:
        row = None
        if not key or (range_end not in {b"", b"\0"} and range_end <= key):
            row = errors.INVALID_AUTH_MANAGEMENT
        elif role not in self.model.roles:
            row = errors.ROLE_NOT_FOUND
        if self.ask(asking.grant(role, kind, key, range_end), row):
            self.model.roles[role][key, range_end] = kind

    @rule(role=names, key=ends, range_end=ends)
    def revoke(self, role: str, key: bytes, range_end: bytes) -> None:
        granted = self.model.roles.get(role)
        row = None
        if granted is None:
            row = errors.ROLE_NOT_FOUND
        elif (key, range_end) not in granted:
            row = errors.PERMISSION_NOT_GRANTED
        if self.ask(asking.revoke(role, key, range_end), row):
            assert granted is not None
            del granted[key, range_end]

    @rule(epoch=st.sampled_from([b"\x81", b"\xfe"]))
    def another_epoch(self, epoch: bytes) -> None:
        """Rows that were received lie under another epoch, and say the same."""
        space = self.known.space
        moved = Asked()
        for key, value in space.scan(EPOCH, b"\x81"):
            moved.space.put(epoch + key[1:], value)
        moved.store.load(epoch=epoch)
        self.compare(moved.store)

    @invariant()
    def agree(self) -> None:
        self.compare(self.known.store)
        self.compare(AuthStore(self.known.space, epoch=EPOCH))

    def compare(self, store: AuthStore) -> None:
        model = self.model
        assert (model.enabled, model.revision) == (store.enabled, store.revision)
        assert sorted(model.users) == [user.name for user in store.users()]
        assert sorted(model.roles) == [role.name for role in store.roles()]
        for name, known in model.users.items():
            user = store.get_user(name)
            assert user is not None
            expected = (known.hashed, known.no_password, tuple(sorted(known.roles)))
            assert expected == (user.password, user.no_password, user.roles)
        for name, granted in model.roles.items():
            role = store.get_role(name)
            assert role is not None
            assert granted == {each[1:]: each.kind for each in role.permissions}
            assert len(granted) == len(role.permissions)
            assert sorted(each.key for each in role.permissions) == [
                each.key for each in role.permissions
            ]
        for user_name in ("", "root", "a", "b", "é"):
            known_user = model.users.get(user_name)
            is_root = known_user is not None and "root" in known_user.roles
            assert is_root == store.is_root(user_name)
            for asked in QUESTIONS:
                assert model.may(user_name, READ, asked) == store.may_read(user_name, asked)
                assert model.may(user_name, WRITE, asked) == store.may_write(user_name, asked)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
