"""Logging in: tokens, signed or not, and passwords that are slow, but no slower than they must."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from trioetcd.auth import AuthStore, hash_password
from trioetcd.auth.signed_token import KeyFile, SignedTokens
from trioetcd.errors import (
    AUTH_FAILED,
    AUTH_NOT_ENABLED,
    AUTH_OLD_REVISION,
    INVALID_AUTH_TOKEN,
    NO_PASSWORD_USER,
    TOO_MANY_REQUESTS,
    EtcdError,
)
from trioetcd.pki import NOWHERE, Identity, Origin, parse_naming
from trioetcd.runtime.backoff import ENTRIES_MAX, FREE_OF_USER, Backoff
from trioetcd.runtime.clock import SystemClock, SystemEntropy
from trioetcd.runtime.logins import VERIFY_ONLY, Logins, LoginSettings
from trioetcd.schema import messages
from trioetcd.statemachine import Asker, CommandKind
from trioetcd.testing.space import DictSpace

SALT = b"$2a$04$" + b"." * 22
SECRET = KeyFile("secret", b"s" * 64)
PASSWORDS = {"root": "of root", "anna": "of anna", "bert": "of bert"}


class Bench:
    """Logins over a store of users, whose commands are applied at once.

    Attributes:
        threads: so many checks and hashes were made.
    """

    def __init__(self, settings: LoginSettings | None = None) -> None:
        self.threads = 0
        self.at_once = self.most_at_once = 0
        self.before: list[Callable[[], None]] = []
        self.auth = AuthStore(DictSpace(), epoch=b"\x80")
        for name, password in PASSWORDS.items():
            self.add(name, hash_password(password, SALT))
        grant = messages.AuthUserGrantRoleRequest(user="root", role="root")
        self.do(CommandKind.AUTH_USER_GRANT_ROLE, grant)
        self.do(CommandKind.AUTH_ENABLE, messages.AuthEnableRequest())
        self.logins = Logins(
            self.auth,
            settings or LoginSettings(bcrypt_cost=4),
            clock=SystemClock(),
            entropy=SystemEntropy(),
            announce=self._announce,
            applied=lambda: 7,
            in_thread=self._in_thread,
        )

    def add(self, name: str, hashed: bytes) -> None:
        request = messages.AuthUserAddRequest(name=name, hashedPassword=_base64(hashed))
        self.do(CommandKind.AUTH_USER_ADD, request)

    def do(self, kind: CommandKind, request: messages.Message) -> None:
        outcome = self.auth.apply(kind, request.SerializeToString())
        assert not isinstance(outcome, EtcdError), outcome

    async def _announce(self, kind: int, payload: bytes) -> None:
        while self.before:
            self.before.pop()()
        outcome = self.auth.apply(kind, payload)
        if isinstance(outcome, EtcdError):
            raise outcome
        await trio.lowlevel.checkpoint()

    async def _in_thread(
        self, work: Callable[[], object], /, *, limiter: trio.CapacityLimiter | None = None
    ) -> object:
        async with limiter or trio.CapacityLimiter(1):
            self.threads += 1
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
            await trio.sleep(0.08)
            self.at_once -= 1
            return work()

    async def login(self, user: str, password: str = "", remote: str = "192.0.2.1:4711") -> str:
        password = password or PASSWORDS[user]
        return await self.logins.authenticate(user, password, remote)


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


async def refused(bench: Bench, user: str, password: str, remote: str = "192.0.2.1:1") -> object:
    with pytest.raises(EtcdError) as caught:
        await bench.login(user, password, remote)
    return caught.value.row


async def test_a_token_stands_for_its_user_until_nobody_has_used_it_for_a_while(
    autojump_clock: object,
) -> None:
    """Each use lets it last anew; with a password changed, or auth disabled, it ends at once."""
    bench = Bench(LoginSettings(bcrypt_cost=4, token_seconds=10))
    token = (await bench.login("anna")).encode()
    for _ in range(3):
        await trio.sleep(9)
        assert bench.logins.bearer(token) == Asker("anna", bench.auth.revision)
        assert bench.logins.bearer(b"Bearer " + token).user == "anna"
    await trio.sleep(11)
    with pytest.raises(EtcdError) as caught:
        bench.logins.bearer(token)
    assert caught.value.row is INVALID_AUTH_TOKEN
    token = (await bench.login("anna")).encode()
    bench.do(CommandKind.AUTH_DISABLE, messages.AuthDisableRequest())
    with pytest.raises(EtcdError):
        bench.logins.bearer(token)


@pytest.mark.parametrize("token", [b"", b"x", b"\xff", b"Bearer ", b"a" * 23 + b".7"])
async def test_what_is_no_token(token: bytes) -> None:
    """Whatever a client shows that is nobody's is refused in the same words."""
    for signed in (None, SignedTokens("HS256", private_key=SECRET, ttl_seconds=60)):
        bench = Bench(LoginSettings(bcrypt_cost=4, signed=signed))
        with pytest.raises(EtcdError) as caught:
            bench.logins.bearer(token)
        assert caught.value.row is INVALID_AUTH_TOKEN


async def test_who_is_refused(autojump_clock: object) -> None:
    """An unknown user costs as much as a wrong password, and is told the same."""
    bench = Bench()
    assert await refused(bench, "anna", "wrong") is AUTH_FAILED
    assert await refused(bench, "nobody", "wrong") is AUTH_FAILED
    assert bench.threads == 2
    request = messages.AuthUserAddRequest(
        name="cert", options=messages.UserAddOptions(no_password=True)
    )
    bench.do(CommandKind.AUTH_USER_ADD, request)
    assert await refused(bench, "cert", "any") is NO_PASSWORD_USER
    bench.do(CommandKind.AUTH_DISABLE, messages.AuthDisableRequest())
    assert await refused(bench, "anna", "any") is AUTH_NOT_ENABLED


async def test_a_thousand_clients_who_come_at_once_share_one_check(autojump_clock: object) -> None:
    """With one user's credentials they are all in after one check, each with a token of its own."""
    bench = Bench()
    tokens: list[str] = []

    async def come() -> None:
        tokens.append(await bench.login("anna"))

    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(come)
    assert bench.threads == 1
    assert len(set(tokens)) == 1000
    await bench.login("anna")
    assert bench.threads == 1
    bench.do(CommandKind.AUTH_ROLE_ADD, messages.AuthRoleAddRequest(name="r"))
    await bench.login("anna")
    assert bench.threads == 2  # users have changed since


async def test_no_more_than_two_checks_run_at_a_time(autojump_clock: object) -> None:
    """However many different users come."""
    bench = Bench()
    for number in range(40):
        bench.add(f"u{number}", hash_password("p", SALT))
    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(bench.login, f"u{number}", "p")
    assert (bench.threads, bench.most_at_once) == (40, 2)


async def test_users_that_change_during_a_login_are_asked_about_again(
    autojump_clock: object,
) -> None:
    """A token is never made of a check that was of another revision."""
    bench = Bench()
    add = messages.AuthRoleAddRequest(name="r")
    bench.before.append(lambda: bench.do(CommandKind.AUTH_ROLE_ADD, add))
    token = await bench.login("anna")
    assert bench.threads == 2
    assert bench.logins.bearer(token.encode()).user == "anna"
    assert AUTH_OLD_REVISION.text


async def test_guessing_becomes_slow_for_who_guesses(autojump_clock: object) -> None:
    """One address and user wait longer and longer; another address, or user, does not."""
    bench = Bench()
    began = trio.current_time()
    for _ in range(FREE_OF_USER):
        assert await refused(bench, "anna", "wrong") is AUTH_FAILED
    assert trio.current_time() - began < 1
    for _ in range(6):
        await refused(bench, "anna", "wrong")
    assert trio.current_time() - began > 15
    began = trio.current_time()
    await bench.login("anna", remote="198.51.100.1:5")
    await bench.login("bert")
    assert trio.current_time() - began < 1
    # Who shows what was good before is not kept waiting by who guesses from the same address.
    await bench.login("anna")
    assert trio.current_time() - began < 1


async def test_guesses_at_once_gain_nothing(autojump_clock: object) -> None:
    """Of many at the same time few are looked at; the others wait, or are told to come again."""
    bench = Bench()
    rows: list[object] = []

    async def guess(number: int) -> None:
        rows.append(await refused(bench, "anna", f"guess {number}"))

    with trio.move_on_after(25):
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(guess, number)
    assert rows.count(TOO_MANY_REQUESTS) > 150
    assert bench.threads < 12


async def test_what_is_counted_is_bounded_and_forgotten(autojump_clock: object) -> None:
    """However many names are tried, and however long ago."""
    backoff = Backoff(trio.current_time)
    for number in range(ENTRIES_MAX + 10):
        await backoff.begin(f"u{number}", f"a{number}")
        backoff.end(f"u{number}", f"a{number}", fits=False)
    assert len(backoff) == ENTRIES_MAX
    for _ in range(FREE_OF_USER + 4):
        await backoff.begin("anna", "a")
        backoff.end("anna", "a", fits=False)
    await trio.sleep(1000)
    began = trio.current_time()
    await backoff.begin("anna", "a")
    assert trio.current_time() == began


async def test_signed_tokens(autojump_clock: object) -> None:
    """They name the revision of the password's check; who cannot sign says so (etcd)."""
    signed = SignedTokens("HS256", private_key=SECRET, ttl_seconds=60)
    bench = Bench(LoginSettings(bcrypt_cost=4, signed=signed))
    revision = bench.auth.revision
    token = (await bench.login("anna")).encode()
    bench.do(CommandKind.AUTH_ROLE_ADD, messages.AuthRoleAddRequest(name="r"))
    assert bench.logins.bearer(token) == Asker("anna", revision)
    signed.can_sign = False
    assert await refused(bench, "anna", PASSWORDS["anna"]) is VERIFY_ONLY


def person(common_name: str = "", *names: str) -> Identity:
    uris = tuple(name for name in names if ":" in name)
    return Identity(common_name, tuple(name for name in names if ":" not in name), uris, "00")


@pytest.mark.parametrize(
    ("rule", "identity", "user"),
    [
        ("cn", person("anna"), "anna"),
        ("cn", person(""), ""),
        ("uri:spiffe://x/user/*", person("root", "spiffe://x/user/anna"), "anna"),
        ("uri:spiffe://x/user/*", person("root", "spiffe://x/user/anna/more"), ""),
        ("uri:spiffe://x/user/*", person("root", "spiffe://y/user/anna"), ""),
        ("uri:spiffe://x/*", person("", "spiffe://x/anna", "spiffe://x/bert"), ""),
        ("dns:*.users.example", person("root", "anna.users.example"), "anna"),
        ("dns:*.users.example", person("root", "a.b.users.example"), ""),
        ("dns:*.users.example", person("root", "annaxusers.example"), ""),
    ],
)
async def test_whom_a_certificate_names(rule: str, identity: Identity, user: str) -> None:
    """The rule decides, and nothing else in the certificate: two users are none."""
    bench = Bench(LoginSettings(bcrypt_cost=4, user_of=parse_naming(rule)))
    asker = bench.logins.certified(Origin(identity, "192.0.2.1:1"))
    assert ("" if asker is None else asker.user) == user
    assert bench.logins.certified(NOWHERE) is None
