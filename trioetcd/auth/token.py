"""Simple tokens: random letters that stand for a user, and the table of those a member knows.

A token is made by the member that saw the password. The log, and every member's table, hold only
its SHA-256, so neither can be used to come in. The table is no state: it ends with the process,
and its times are the member's own. Tokens look like etcd's (letters, a point, a number).
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final, NamedTuple

from trioetcd.ports import Entropy

__all__ = [
    "TOKENS_PER_USER_MAX",
    "SimpleToken",
    "TokenTable",
    "digest_of",
    "draw_secret",
    "read_simple_token",
    "write_simple_token",
]

TOKENS_PER_USER_MAX: Final = 16_384
"""Tokens of one user at most, about 5 MB: its own least used one ends for a newer one. A client
with very many connections has one for each; one that logs in again and again harms itself."""

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

_SECRET_BITS: Final = 128
_SECRET_LETTERS: Final = 23
"""So many letters hold 131 bits; etcd draws 16, which hold 91."""

_FORM: Final = re.compile(rf"([a-zA-Z]{{{_SECRET_LETTERS}}})\.([0-9]{{1,19}})")


class SimpleToken(NamedTuple):
    """What a token says.

    Attributes:
        digest: by what it is known.
        known_at: a member whose log is applied up to this index knows it, or never will.
    """

    digest: bytes
    known_at: int


def draw_secret(entropy: Entropy) -> str:
    """Draw the part of a token that must not be known: 128 bits, in letters."""
    rest = entropy.bits(_SECRET_BITS)
    letters = []
    for _ in range(_SECRET_LETTERS):
        rest, at = divmod(rest, len(_LETTERS))
        letters.append(_LETTERS[at])
    return "".join(letters)


def digest_of(secret: str) -> bytes:
    """Give what others may know of a secret: its SHA-256."""
    return sha256(secret.encode()).digest()


def write_simple_token(secret: str, index: int) -> str:
    """Make the token that a client is given.

    Args:
        secret: from `draw_secret`.
        index: any index of the log from that of the token's command on, such as the applied index
            when it was answered.
    """
    return f"{secret}.{index}"


def read_simple_token(token: str) -> SimpleToken | None:
    """Read what a client shows; None if it is no simple token."""
    match = _FORM.fullmatch(token)
    if match is None:
        return None
    return SimpleToken(digest_of(match[1]), int(match[2]))


class TokenTable:
    """The tokens that one member knows; a `Listener` wants the time added.

    Times are seconds that never go back.

    Args:
        ttl_seconds: how long a token lasts after its last use here (``--auth-token-ttl``).
    """

    def __init__(self, *, ttl_seconds: float) -> None:
        self._ttl = ttl_seconds
        # Both in the order of their last use, and so in that of their end.
        self._tokens: dict[bytes, tuple[str, float]] = {}
        self._digests: dict[str, dict[bytes, None]] = {}

    def __len__(self) -> int:
        return len(self._tokens)

    def assign(self, user: str, digest: bytes, now: float) -> None:
        """Let a token be a user's from now on."""
        self.expire(now)
        self._forget(digest)
        own = self._digests.setdefault(user, {})
        if len(own) >= TOKENS_PER_USER_MAX:
            del self._tokens[next(iter(own))]
            del own[next(iter(own))]
        own[digest] = None
        self._tokens[digest] = (user, now + self._ttl)

    def user_of(self, digest: bytes, now: float) -> str | None:
        """Say whose a token is, and let it last anew; None if it is nobody's (any more)."""
        self.expire(now)
        found = self._tokens.pop(digest, None)
        if found is None:
            return None
        user = found[0]
        self._tokens[digest] = (user, now + self._ttl)
        own = self._digests[user]
        del own[digest]
        own[digest] = None
        return user

    def invalidate(self, user: str) -> None:
        """Let all tokens of a user end."""
        for digest in self._digests.pop(user, ()):
            del self._tokens[digest]

    def clear(self) -> None:
        """Let all tokens end."""
        self._tokens.clear()
        self._digests.clear()

    def expire(self, now: float) -> None:
        """Forget the tokens whose time is over; every question does so first."""
        while self._tokens:
            digest = next(iter(self._tokens))
            if now <= self._tokens[digest][1]:
                break
            self._forget(digest)

    def _forget(self, digest: bytes) -> None:
        found = self._tokens.pop(digest, None)
        if found is not None:
            own = self._digests[found[0]]
            del own[digest]
            if not own:
                del self._digests[found[0]]
