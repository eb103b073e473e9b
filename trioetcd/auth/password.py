"""Passwords: hashing and checking them with bcrypt, as etcd does, and what a request may carry.

`hash_password` and `verify_password` block for as long as the cost says (80 ms at 10) with the
GIL let go: whoever serves requests runs them in a thread. A password stands in no error, and goes
no further than the member that was asked: `seal` makes the command of a request, with the hash in
its place.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from hmac import compare_digest
from typing import Final

import bcrypt

from trioetcd import errors
from trioetcd.errors import Code, ErrorRow, EtcdError
from trioetcd.ports import Entropy
from trioetcd.schema import messages

__all__ = [
    "COST_DEFAULT",
    "COST_MAX",
    "COST_MIN",
    "PASSWORD_BYTES_MAX",
    "PasswordRequest",
    "check_password",
    "cost_of",
    "draw_salt",
    "hash_password",
    "must_hash",
    "read_hash",
    "seal",
    "verify_password",
]

COST_MIN: Final = 4
COST_MAX: Final = 31
COST_DEFAULT: Final = 10
"""The bounds of ``--bcrypt-cost`` and its default (etcd, Go's bcrypt); one more takes twice as
long."""

PASSWORD_BYTES_MAX: Final = 72
"""What bcrypt takes in; what came after it would not count."""

PasswordRequest = messages.AuthUserAddRequest | messages.AuthUserChangePasswordRequest
"""The requests that carry a password or its hash."""

PASSWORD_TOO_LONG: Final = ErrorRow(
    "PasswordTooLong", Code.UNKNOWN, "bcrypt: password length exceeds 72 bytes"
)
"""The words of Go's library, which etcd hands on since 3.5.10; before, the rest did not count."""

NOT_BCRYPT: Final = ErrorRow(
    "NotBcrypt",
    Code.INVALID_ARGUMENT,
    "etcdserver: hashedPassword is not a bcrypt hash ($2a$, $2b$ or $2y$) in base64",
)
"""etcd takes it, and then no password fits."""

_TO_BCRYPT: Final = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
)
"""From base64's digits to bcrypt's."""

_HASH: Final = re.compile(rb"\$2[^$]?\$(\d\d)\$([./A-Za-z0-9]{22})([./A-Za-z0-9]{31})")
"""Whatever minor version, as in Go; what follows does not count. Cost, salt and hash proper."""

_DIGITS: Final = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

_LAST_DIGITS: Final = b".Oeu"
"""With what the 16 bytes of a salt can end. Go passes over the four bits that no byte fills."""


def check_password(password: str, *, length_min: int = 0) -> None:
    """See whether a new password may be one.

    Args:
        password: as the request has it.
        length_min: characters it must have (``--password-min-length``); etcd demands none.

    Raises:
        EtcdError: it may not.
    """
    if len(password.encode()) > PASSWORD_BYTES_MAX:
        raise EtcdError(PASSWORD_TOO_LONG)
    if len(password) < length_min:
        text = (
            f"etcdserver: the password is too short: --password-min-length wants {length_min} "
            "characters"
        )
        raise EtcdError(ErrorRow("PasswordTooShort", Code.INVALID_ARGUMENT, text))


def draw_salt(entropy: Entropy, *, cost: int) -> bytes:
    """Draw what `hash_password` needs: 128 random bits, with the cost (4 to 31) in front."""
    assert COST_MIN <= cost <= COST_MAX, "a cost that was checked"
    drawn = b64encode(entropy.bits(128).to_bytes(16, "big")).rstrip(b"=").translate(_TO_BCRYPT)
    return b"$2a$%02d$%b" % (cost, drawn)


def hash_password(password: str, salt: bytes) -> bytes:
    """Hash a password; blocks.

    Args:
        password: may hold zero bytes, and may be empty; has been checked (`check_password`).
        salt: from `draw_salt`, never used before.

    Returns:
        60 bytes in the form that Go's library writes (``$2a$``).
    """
    return bcrypt.hashpw(password.encode(), salt)


def verify_password(password: str, hashed: bytes, *, cost: int) -> bool:
    """Say whether a password fits a hash; blocks.

    What is longer than bcrypt takes in fits what was hashed of its beginning, as in Go: etcd
    before 3.5.10 has hashed such passwords.

    Args:
        password: what was shown.
        hashed: a hash of any minor version (``$2a$``, ``$2b$``, ``$2y$``); anything else fits no
            password.
        cost: how long it takes to say that nothing fits, if `hashed` is no hash.
    """
    shown = password.encode()[:PASSWORD_BYTES_MAX]
    match = _HASH.match(hashed)
    if match is None or not COST_MIN <= int(match[1]) <= COST_MAX:
        bcrypt.hashpw(shown, b"$2b$%02d$%b" % (cost, b"." * 22))
        return False
    salt = match[2]
    last = _LAST_DIGITS[_DIGITS.index(salt[-1]) // 16]
    computed = bcrypt.hashpw(shown, b"$2b$%b$%b%c" % (match[1], salt[:-1], last))
    return compare_digest(computed[-31:], match[3])


def cost_of(hashed: bytes) -> int | None:
    """Give the cost of a hash; None if it is no bcrypt hash."""
    match = _HASH.match(hashed)
    if match is None or not COST_MIN <= int(match[1]) <= COST_MAX:
        return None
    return int(match[1])


# -- requests --------------------------------------------------------------------------------


def must_hash(request: PasswordRequest) -> bool:
    """Whether a request's password is to be hashed before `seal`.

    A user that is added without a hash gets the hash of its password, even of an empty one, as in
    etcd; an empty password is never changed to.
    """
    if request.password:
        return not _needs_none(request)
    return (
        isinstance(request, messages.AuthUserAddRequest)
        and not request.hashedPassword
        and not _needs_none(request)
    )


def seal(request: PasswordRequest, hashed: bytes | None = None) -> bytes:
    """Make the command's payload of a request: the same, without its password.

    Args:
        request: as it came; it is left as it is.
        hashed: the hash of its password; None if `must_hash` says no.

    Raises:
        EtcdError: the request brings a hash of its own that is not bcrypt's.
    """
    sealed = type(request).FromString(request.SerializeToString())
    sealed.password = ""
    if hashed is not None:
        sealed.hashedPassword = b64encode(hashed).decode()
    elif _needs_none(request):
        sealed.hashedPassword = ""
    else:
        brought = _decode(request.hashedPassword)
        if brought and cost_of(brought) is None:
            raise EtcdError(NOT_BCRYPT)
    return sealed.SerializeToString()


def read_hash(request: PasswordRequest) -> bytes:
    """Give the hash that a command carries; an empty one fits no password.

    Raises:
        EtcdError: it is not base64 (etcd's error for that).
        DecodeError: there is a password as well, and the log is no place for it.
    """
    if request.password:
        raise messages.DecodeError("a password that was not hashed before it was proposed")
    hashed = _decode(request.hashedPassword)
    if hashed is None:
        raise EtcdError(errors.NO_PASSWORD_USER)
    return hashed


def _decode(text: str) -> bytes | None:
    """Read base64 as Go does, which passes over line ends; None if it is none."""
    try:
        return b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        return None


def _needs_none(request: PasswordRequest) -> bool:
    return isinstance(request, messages.AuthUserAddRequest) and request.options.no_password
