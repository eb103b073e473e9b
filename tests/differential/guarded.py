"""The comparison with auth on: who asks is drawn as well as what is asked.

    python -m tests.differential.guarded --steps 3000 --seed 1

Both sides begin with the same users, roles and permissions, which the steps go on changing. Each
user is known by a token from a password, so that certificates play no part. Kept away from is what
etcd 3.5.1 does not check and later releases do (`Guarded._spared`): there the two must differ, and
their states would from then on.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.differential.comparison import (
    Difference,
    Divergence,
    compare,
    load_divergences,
    unexplained,
)
from tests.differential.requests import KEYS, LEASES, Requests
from tests.differential.servers import Side
from tests.differential.steps import Call, describe
from trioetcd.keyrange import prefix_end
from trioetcd.schema import messages
from trioetcd.schema.messages import Message
from trioetcd.testing.cluster import running_etcd, running_member

__all__ = ["Guarded", "guarded"]

ROOT: Final = "root"
USERS: Final = (ROOT, "alice", "bob", "carol", "dave")
ROLES: Final = (ROOT, "reader", "writer", "both", "narrow")
STRANGER: Final = "stranger"
"""Shows a token that nobody was given."""

NOBODY: Final = "nobody"
"""No such user is ever added."""

FLAGS: Final = ("--bcrypt-cost=4",)
LONG_TTL: Final = 5000
TOKEN_LOST: Final = "UNAUTHENTICATED: etcdserver: invalid auth token"

_READS: Final = ("_range", "_range", "_time_to_live", "_leases", "_status", "_member_list")
_WRITES: Final = (
    "_put",
    "_put",
    "_put",
    "_delete",
    "_txn",
    "_txn",
    "_grant",
    "_revoke",
    "_compact",
)
_QUESTIONS: Final = ("_user_get", "_user_list", "_role_get", "_role_list")
_CHANGES: Final = (
    "_user_add",
    "_user_delete",
    "_user_change_password",
    "_user_grant_role",
    "_user_grant_role",
    "_user_revoke_role",
    "_role_add",
    "_role_delete",
    "_role_grant",
    "_role_grant",
    "_role_grant",
    "_role_revoke",
    "_switch",
)


_LATER: Final = (
    messages.CompactionRequest,
    messages.StatusRequest,
    messages.MemberListRequest,
    messages.LeaseGrantRequest,
    messages.LeaseLeasesRequest,
    messages.LeaseTimeToLiveRequest,
)
"""Requests of which 3.5 does not ask who makes them."""


@dataclass(slots=True)
class Guarded(Requests):
    """Makes steps of a user each, sends them to two members, and compares what they say.

    Attributes:
        reference, subject: who is right, and who is tested.
        divergences: allowed differences.
        findings: the others, as text.
        steps: how many were sent.
        denied: how many of them both refused with PermissionDenied.
    """

    reference: Side = field(kw_only=True)
    subject: Side = field(kw_only=True)
    divergences: list[Divergence] = field(kw_only=True)
    findings: list[str] = field(default_factory=list)
    steps: int = 0
    denied: int = 0
    _enabled: bool = False
    _passwords: dict[str, str] = field(default_factory=dict)
    _tokens: dict[str, tuple[str, str]] = field(default_factory=dict)

    def run(self, count: int) -> None:
        """Prepare both sides, then send so many steps; the first difference ends it."""
        self._prepare()
        for _ in range(count):
            if self.findings:
                return
            self._step()

    # -- what is asked ---------------------------------------------------------------------

    def _prepare(self) -> None:
        for user in USERS:
            request = messages.AuthUserAddRequest(name=user, password=f"{user}-0")
            self._passwords[user] = request.password
            self._ask(None, "Auth/UserAdd", request)
        for role in ROLES:
            self._ask(None, "Auth/RoleAdd", messages.AuthRoleAddRequest(name=role))
        for user, role in zip(USERS, ROLES, strict=True):
            request_ = messages.AuthUserGrantRoleRequest(user=user, role=role)
            self._ask(None, "Auth/UserGrantRole", request_)
        for _ in range(8):
            self._ask(None, *self._role_grant())
        self._ask(None, "Auth/AuthEnable", messages.AuthEnableRequest())

    def _step(self) -> None:
        self.steps += 1
        user: str = self.chance.choices((*USERS, STRANGER), (3, 4, 4, 4, 4, 1))[0]
        drawn = self.chance.random()
        if drawn < 0.03:
            self._login(self.chance.choice((*USERS, NOBODY)), wrong=self.often(0.5))
            return
        kinds: tuple[str, ...]
        if drawn < 0.35:
            kinds = _READS
        elif drawn < 0.75:
            kinds = _WRITES
        elif drawn < 0.87:
            kinds = _QUESTIONS
        else:
            kinds = _CHANGES
            user = ROOT if self.often(0.8) else user
        rpc, request = getattr(self, self.chance.choice(kinds))()
        if user != ROOT and self._spared(request):
            return
        if user == STRANGER and not self._enabled:
            return  # 3.5 refuses a wrong token though auth is off
        self._ask(user, rpc, request)

    @staticmethod
    def _spared(request: Message) -> bool:
        """Whether 3.5.1 does without a look what needs a permission since (ETCD's advisories)."""
        if isinstance(request, messages.TxnRequest):
            operations = (*request.success, *request.failure)
            return any(item.HasField("request_txn") for item in operations)
        return isinstance(request, _LATER)

    def _range(self) -> tuple[str, Message]:
        return "KV/Range", self.range_request()

    def _put(self) -> tuple[str, Message]:
        return "KV/Put", self.put_request()

    def _delete(self) -> tuple[str, Message]:
        return "KV/DeleteRange", self.delete_request()

    def _txn(self) -> tuple[str, Message]:
        # at this depth there are no transactions within
        return "KV/Txn", self.txn_request(4)

    def _compact(self) -> tuple[str, Message]:
        return "KV/Compact", messages.CompactionRequest(revision=self.known(), physical=True)

    def _grant(self) -> tuple[str, Message]:
        lease = self.chance.choice(LEASES)
        ttl = LONG_TTL + 10 * LEASES.index(lease)
        return "Lease/LeaseGrant", messages.LeaseGrantRequest(ID=lease, TTL=ttl)

    def _revoke(self) -> tuple[str, Message]:
        return "Lease/LeaseRevoke", messages.LeaseRevokeRequest(ID=self.lease())

    def _time_to_live(self) -> tuple[str, Message]:
        request = messages.LeaseTimeToLiveRequest(ID=self.lease(), keys=self.often(0.5))
        return "Lease/LeaseTimeToLive", request

    def _leases(self) -> tuple[str, Message]:
        return "Lease/LeaseLeases", messages.LeaseLeasesRequest()

    def _status(self) -> tuple[str, Message]:
        return "Maintenance/Status", messages.StatusRequest()

    def _member_list(self) -> tuple[str, Message]:
        return "Cluster/MemberList", messages.MemberListRequest()

    def _user(self) -> str:
        return self.chance.choice((*USERS, *USERS, NOBODY, ""))

    def _role(self) -> str:
        return self.chance.choice((*ROLES, *ROLES, NOBODY, ""))

    def _user_get(self) -> tuple[str, Message]:
        return "Auth/UserGet", messages.AuthUserGetRequest(name=self._user())

    def _user_list(self) -> tuple[str, Message]:
        return "Auth/UserList", messages.AuthUserListRequest()

    def _role_get(self) -> tuple[str, Message]:
        return "Auth/RoleGet", messages.AuthRoleGetRequest(role=self._ordinary())

    def _role_list(self) -> tuple[str, Message]:
        return "Auth/RoleList", messages.AuthRoleListRequest()

    def _password(self, user: str) -> str:
        self._count += 1
        return f"{user}-{self._count}"

    def _user_add(self) -> tuple[str, Message]:
        user = self._user()
        return "Auth/UserAdd", messages.AuthUserAddRequest(
            name=user,
            password=self._password(user),
            options=messages.UserAddOptions(no_password=self.often(0.1)),
        )

    def _user_delete(self) -> tuple[str, Message]:
        return "Auth/UserDelete", messages.AuthUserDeleteRequest(name=self._user())

    def _user_change_password(self) -> tuple[str, Message]:
        user = self._user()
        request = messages.AuthUserChangePasswordRequest(name=user, password=self._password(user))
        return "Auth/UserChangePassword", request

    def _user_grant_role(self) -> tuple[str, Message]:
        request = messages.AuthUserGrantRoleRequest(user=self._user(), role=self._role())
        return "Auth/UserGrantRole", request

    def _user_revoke_role(self) -> tuple[str, Message]:
        request = messages.AuthUserRevokeRoleRequest(name=self._user(), role=self._role())
        return "Auth/UserRevokeRole", request

    def _role_add(self) -> tuple[str, Message]:
        return "Auth/RoleAdd", messages.AuthRoleAddRequest(name=self._role())

    def _role_delete(self) -> tuple[str, Message]:
        return "Auth/RoleDelete", messages.AuthRoleDeleteRequest(role=self._role())

    def _interval(self) -> tuple[bytes, bytes]:
        """Draw what a permission is for: of each key always the same.

        3.5 mixes up permissions that begin alike, and takes intervals that hold nothing.
        """
        at = self.chance.randrange(len(KEYS))
        ends = (b"", prefix_end(KEYS[at]), b"\0", max(KEYS))
        return KEYS[at], b"" if KEYS[at] == max(KEYS) else ends[at % len(ends)]

    def _ordinary(self) -> str:
        """Draw a role other than root, of which 3.5 tells other permissions."""
        return self.chance.choice((*ROLES[1:], *ROLES[1:], NOBODY, ""))

    def _role_grant(self) -> tuple[str, Message]:
        key, end = self._interval()
        permission = messages.Permission(permType=self.chance.randint(0, 2), key=key, range_end=end)
        request = messages.AuthRoleGrantPermissionRequest(name=self._ordinary(), perm=permission)
        return "Auth/RoleGrantPermission", request

    def _role_revoke(self) -> tuple[str, Message]:
        key, end = self._interval()
        request = messages.AuthRoleRevokePermissionRequest(
            role=self._ordinary(), key=key, range_end=end
        )
        return "Auth/RoleRevokePermission", request

    def _switch(self) -> tuple[str, Message]:
        if self.often(0.3):
            return "Auth/AuthDisable", messages.AuthDisableRequest()
        return "Auth/AuthEnable", messages.AuthEnableRequest()

    # -- asking ----------------------------------------------------------------------------

    def _login(self, user: str, *, wrong: bool = False) -> None:
        """Log in on both sides; keep the tokens."""
        password = "wrong" if wrong else self._passwords.get(user, "none")
        request = messages.AuthenticateRequest(name=user, password=password)
        rpc = "Auth/Authenticate"
        answers = [side.call(rpc, request) for side in (self.reference, self.subject)]
        tokens = []
        for message, fields in answers:
            if isinstance(message, messages.AuthenticateResponse):
                tokens.append(message.token)
                fields["token"] = bool(message.token)
        self._note(user, rpc, request, compare(rpc, answers[0][1], answers[1][1]))
        if len(tokens) == 2:
            self._tokens[user] = (tokens[0], tokens[1])

    def _ask(self, user: str | None, rpc: str, request: Message) -> None:
        """Ask both sides as a user; as nobody if None."""
        if user in self._passwords and user not in self._tokens:
            self._login(user)
        if self._enabled and user != STRANGER and user not in self._tokens:
            return  # a certificate would say who it is
        tokens = self._tokens.get(user or "", ("", ""))
        if user == STRANGER:
            tokens = ("abcdefghijklmnop.1", "abcdefghijklmnopqrstuvw.1")
        pending = [
            side.start(rpc, request, metadata=[("token", token)] if token else ())
            for side, token in zip((self.reference, self.subject), tokens, strict=True)
        ]
        (message, expected), (_, got) = (each.outcome() for each in pending)
        found = compare(rpc, _own_choice_left_out(rpc, expected), _own_choice_left_out(rpc, got))
        self._note(user, rpc, request, found)
        revision = expected.get("header.revision")
        if isinstance(revision, int):
            self.revision = max(self.revision, revision)
        said = str(expected.get("error", ""))
        if message is None:
            self.denied += said.startswith("PERMISSION_DENIED")
            if said == TOKEN_LOST and user is not None:
                self._tokens.pop(user, None)
            return
        if isinstance(request, messages.CompactionRequest):
            self.compacted = max(self.compacted, request.revision)
        elif isinstance(
            request, messages.AuthUserAddRequest | messages.AuthUserChangePasswordRequest
        ):
            self._passwords[request.name] = request.password
        elif isinstance(request, messages.AuthUserDeleteRequest):
            self._passwords.pop(request.name, None)
        elif isinstance(request, messages.AuthEnableRequest):
            self._enabled = True
        elif isinstance(request, messages.AuthDisableRequest):
            self._enabled = False
            self._tokens.clear()

    def _note(self, user: str | None, rpc: str, request: Message, found: list[Difference]) -> None:
        left = unexplained(found, self.divergences)
        if left:
            lines = "".join(f"\n    {difference}" for difference in left)
            self.findings.append(
                f"step {self.steps}, {user}: {describe(Call(rpc, request))}{lines}"
            )


def _own_choice_left_out(rpc: str, fields: dict[str, object]) -> dict[str, object]:
    if rpc in {"Maintenance/Status", "Cluster/MemberList"}:
        return {path: value for path, value in fields.items() if path == "error"}
    if rpc == "Lease/LeaseTimeToLive":
        keys = sorted(str(value) for path, value in fields.items() if path.startswith("keys["))
        rest = {path: value for path, value in fields.items() if path[:5] not in {"keys[", "TTL"}}
        return {**rest, "keys": keys}
    return fields


def guarded(directory: Path, seed: int, count: int, *, against_itself: bool = False) -> Guarded:
    """Run so many steps from a seed against a fresh pair; gives the comparison when it is done."""
    other = running_etcd if against_itself else running_member
    with (
        running_etcd(directory / "etcd", flags=FLAGS) as etcd,
        other(directory / "subject", flags=FLAGS) as member,
        contextlib.closing(Side(etcd)) as reference,
        contextlib.closing(Side(member)) as subject,
    ):
        run = Guarded(
            random.Random(seed),
            reference=reference,
            subject=subject,
            divergences=load_divergences(),
        )
        run.run(count)
        return run


def main() -> int:
    """Run sequences from a seed on until all steps are done or something differs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--sequence", type=int, default=500, help="steps against one pair")
    parser.add_argument("--against-itself", action="store_true", help="a second etcd as subject")
    options = parser.parse_args()
    done = denied = 0
    seed = options.seed
    while done < options.steps:
        with tempfile.TemporaryDirectory() as directory:
            run = guarded(
                Path(directory), seed, options.sequence, against_itself=options.against_itself
            )
        done += run.steps
        denied += run.denied
        print(f"seed {seed}: {done} steps, {denied} denied", flush=True)
        if run.findings:
            print(*run.findings, sep="\n")
            return 1
        seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
