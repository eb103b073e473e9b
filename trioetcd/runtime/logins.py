"""Who somebody is: by a token, simple or signed, or by the names in a certificate.

Simple tokens become valid on every member by an entry of the log that holds only their digest;
which there are each member keeps in memory, with times of its own (`auth.TokenTable`). Signed ones
are kept nowhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from trioetcd.auth import (
    AUTHENTICATE,
    COST_DEFAULT,
    Authentication,
    AuthStore,
    TokenTable,
    cost_of,
    digest_of,
    draw_secret,
    encode_authentication,
    read_simple_token,
    write_simple_token,
)
from trioetcd.errors import (
    AUTH_FAILED,
    AUTH_NOT_ENABLED,
    AUTH_OLD_REVISION,
    INVALID_AUTH_TOKEN,
    NO_PASSWORD_USER,
    Code,
    ErrorRow,
    EtcdError,
)
from trioetcd.pki import Identity, Origin, common_name
from trioetcd.ports import Clock, Entropy
from trioetcd.runtime.passwords import Passwords
from trioetcd.statemachine import Asker
from trioetcd.transport.streams import InThread, run_in_thread

__all__ = ["LoginSettings", "Logins"]

_BEARER: Final = b"Bearer "

TRUSTED_MAX: Final = 16_384
"""Tokens that were looked up just now, and are not looked up again with every request; 3 MB."""

VERIFY_ONLY: Final = ErrorRow(
    "VerifyOnly", Code.UNKNOWN, "auth: token signing attempted with verify-only key"
)
"""Tokens come from elsewhere: whoever wants one is to log in there (etcd)."""


class Signed(Protocol):
    """Makes and verifies signed tokens (`auth.signed_token.SignedTokens`).

    Attributes:
        can_sign: whether there is a key for it; if not, tokens come from elsewhere.
    """

    can_sign: bool

    def sign(self, user: str, revision: int, now: float, /) -> str:
        """Make a token of a user, at an auth revision and a time since 1970."""

    def verify(self, token: str, now: float, /) -> tuple[str, int, float]:
        """Give user, auth revision and end of a token; a ValueError says why it is none."""


@dataclass(frozen=True, slots=True)
class LoginSettings:
    """What a user may set about logging in (etcd's flags of the same names).

    Attributes:
        token_seconds: how long a simple token lasts after its last use (`--auth-token-ttl`).
        signed: makes and verifies signed tokens; None for simple ones (`--auth-token`).
        bcrypt_cost: of new passwords (`--bcrypt-cost`).
        password_length_min: characters of a new password (`--password-min-length`).
        user_of: gives the user that a certificate names, "" for none (`--cert-identity`).
    """

    token_seconds: float = 300.0
    signed: Signed | None = None
    bcrypt_cost: int = COST_DEFAULT
    password_length_min: int = 0
    user_of: Callable[[Identity], str] = common_name


class Logins:
    """The logins of one member (`auth.Listener`).

    Attributes:
        signed: makes and verifies signed tokens; may be replaced by one with other keys.
        passwords: hashes and checks them.
        password_length_min: see `LoginSettings`.

    Args:
        auth: the users.
        settings: what a user may set.
        clock: time.
        entropy: chance.
        announce: has a command of the member's own carried out, which makes a token valid.
        applied: gives the index up to which the log is applied.
        in_thread: runs what takes long.
    """

    def __init__(
        self,
        auth: AuthStore,
        settings: LoginSettings,
        *,
        clock: Clock,
        entropy: Entropy,
        announce: Callable[[int, bytes], Awaitable[object]],
        applied: Callable[[], int],
        in_thread: InThread = run_in_thread,
    ) -> None:
        self.signed = settings.signed
        self.password_length_min = settings.password_length_min
        self.passwords = Passwords(
            cost=settings.bcrypt_cost, entropy=entropy, in_thread=in_thread, now=clock.monotonic
        )
        self._auth = auth
        self._user_of = settings.user_of
        self._now = clock.monotonic
        self._wall = clock.wall
        self._entropy = entropy
        self._announce = announce
        self._applied = applied
        self._in_thread = in_thread
        self._tokens = TokenTable(ttl_seconds=settings.token_seconds)
        self._trust_seconds = min(1.0, settings.token_seconds / 10)
        self._trusted: dict[bytes, tuple[str, float]] = {}
        auth.listener = self

    def invalidate(self, user: str, /) -> None:
        """Let all tokens of a user end."""
        self._trusted.clear()
        self._tokens.invalidate(user)

    def clear(self) -> None:
        """Let all tokens end."""
        self._trusted.clear()
        self._tokens.clear()

    def assign(self, user: str, digest: bytes, /) -> None:
        """Let a token be a user's from now on."""
        self._tokens.assign(user, digest, self._now())

    # -- who somebody is ---------------------------------------------------------------------

    def bearer(self, token: bytes) -> Asker:
        """Give whose a token is; the word Bearer may stand before it.

        Raises:
            EtcdError: INVALID_AUTH_TOKEN.
        """
        now = self._now()
        trusted = self._trusted.get(token)
        if trusted is not None and now < trusted[1]:
            return Asker(trusted[0], self._auth.revision)
        try:
            text = token.removeprefix(_BEARER).decode()
            if self.signed is not None:
                user, revision, _ = self.signed.verify(text, self._wall())
                return Asker(user, revision)
        except ValueError:  # no UTF-8, or not to be believed
            raise EtcdError(INVALID_AUTH_TOKEN) from None
        found = read_simple_token(text)
        owner = None if found is None else self._tokens.user_of(found.digest, now)
        if owner is None:
            self._trusted.pop(token, None)
            raise EtcdError(INVALID_AUTH_TOKEN)
        if len(self._trusted) >= TRUSTED_MAX:
            self._trusted.clear()
        self._trusted[token] = (owner, now + self._trust_seconds)
        return Asker(owner, self._auth.revision)

    def certified(self, origin: Origin) -> Asker | None:
        """Give the user whom a client's certificate names, None if there is none."""
        if origin.certificate is None:
            return None
        user = self._user_of(origin.certificate)
        return Asker(user, self._auth.revision) if user else None

    # -- logging in --------------------------------------------------------------------------

    async def authenticate(self, user: str, password: str, remote: str) -> str:
        """Give a token to who shows a user's password.

        Args:
            user: the name.
            password: what was shown.
            remote: the client's address.

        Raises:
            EtcdError: AUTH_NOT_ENABLED, NO_PASSWORD_USER, AUTH_FAILED,
                TOO_MANY_REQUESTS, or what keeps a token from becoming valid.
        """
        auth = self._auth
        while True:
            if not auth.enabled:
                raise EtcdError(AUTH_NOT_ENABLED)
            revision = auth.revision
            await self._check(user, password, remote)
            if revision != auth.revision:
                continue  # the password may be another one by now
            if self.signed is not None:
                return await self._sign(self.signed, user, revision)
            secret = draw_secret(self._entropy)
            told = Authentication(user, digest_of(secret), revision)
            try:
                await self._announce(AUTHENTICATE, encode_authentication(told))
            except EtcdError as error:
                if error.row is not AUTH_OLD_REVISION:
                    raise
            else:
                return write_simple_token(secret, self._applied())

    async def _check(self, user: str, password: str, remote: str) -> None:
        known = self._auth.get_user(user)
        if known is not None and known.no_password:
            raise EtcdError(NO_PASSWORD_USER)
        hashed, counts = self._auth.hash_for(user)
        fits = await self.passwords.fits(
            user,
            password,
            hashed if counts else b"",
            cost=cost_of(hashed),
            revision=self._auth.revision,
            address=remote.rpartition(":")[0] or remote,
        )
        if not fits:
            raise EtcdError(AUTH_FAILED)

    async def _sign(self, signed: Signed, user: str, revision: int) -> str:
        if not signed.can_sign:
            raise EtcdError(VERIFY_ONLY)
        token = await self._in_thread(partial(signed.sign, user, revision, self._wall()))
        assert isinstance(token, str)
        return token
