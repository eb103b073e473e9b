"""Signed tokens (JWT, RFC 7519): whom they name is read from them, and no member keeps them.

Which algorithm signs is set, and a token that says another one is refused, whatever its signature
(RFC 8725, section 3.1). The claims are etcd's: ``username``, ``revision`` (the auth revision when
the token was made) and ``exp``. Files, and reading them again, are somebody else's: keys are
bytes here, and the time is an argument.

Not in the package's façade: the library takes 0.1 s to import, and most members never need it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple

import jwt

from trioetcd.auth.token_option import SIGN_METHODS
from trioetcd.pki import PkiError
from trioetcd.pki.pem import read_certificates

__all__ = ["Claims", "KeyFile", "SignedTokens", "TokenError"]

_VERIFIED_MAX: Final = 8_192
"""Tokens whose signature is known to be good: a client shows the same one with every request, and
a check takes 30 to 100 µs. About 3 MB."""

_NUMBER_MAX: Final = 2**63


class Claims(NamedTuple):
    """What a signed token says.

    Attributes:
        user: whose it is.
        revision: the auth revision when it was made.
        expires: the end of it, seconds since 1970.
    """

    user: str
    revision: int
    expires: float


class TokenError(ValueError):
    """A token is not to be believed; the sentence is for the log and holds nothing of it."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The content of a file with a key, and the name to call it by in errors."""

    name: str
    data: bytes = field(repr=False)


class SignedTokens:
    """Signs tokens and verifies them, with one set of keys.

    Attributes:
        can_sign: whether there is a key for it; if not, tokens come from elsewhere.

    Args:
        method: one of `SIGN_METHODS`.
        private_key: what signs; for ``HS…`` the secret, every byte of the file as in etcd.
        public_keys: what verifies: public keys or certificates in PEM. If there is a private key
            as well, one of them must be its own (etcd).
        ttl_seconds: how long a token lasts.

    Raises:
        ValueError: a key is missing or of no use; one sentence that names it.
    """

    def __init__(
        self,
        method: str,
        *,
        private_key: KeyFile | None,
        public_keys: Sequence[KeyFile] = (),
        ttl_seconds: float,
    ) -> None:
        assert method in SIGN_METHODS, "a method that was checked"
        if ttl_seconds < 1:
            raise ValueError("--auth-token=jwt: ttl must be at least 1s")
        self._method = method
        self._ttl = ttl_seconds
        self._jws = jwt.PyJWS([method])
        self._verified: dict[bytes, Claims] = {}
        self.can_sign = private_key is not None
        if method.startswith("HS"):
            self._signing, self._verifying = self._read_secret(private_key, public_keys)
        else:
            self._signing, self._verifying = self._read_keys(private_key, public_keys)

    def sign(self, user: str, revision: int, now: float) -> str:
        """Make a token; takes 0.1 ms, with a large RSA key some ms.

        Args:
            user: whose it is.
            revision: the auth revision when its password was checked.
            now: seconds since 1970.
        """
        assert self.can_sign, "a key that signs"
        claims = {"exp": int(now + self._ttl), "revision": revision, "username": user}
        payload = json.dumps(claims, separators=(",", ":"), ensure_ascii=False).encode()
        return self._jws.encode(payload, self._signing, self._method)

    def verify(self, token: str, now: float) -> Claims:
        """Read a token that was signed with one of the keys.

        Args:
            token: as the client shows it.
            now: seconds since 1970.

        Raises:
            TokenError: it was not, or its time is not now.
        """
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        claims = self._verified.get(digest)
        if claims is None:
            claims = _read_claims(self._payload(token), now)
            while len(self._verified) >= _VERIFIED_MAX:
                del self._verified[next(iter(self._verified))]
            self._verified[digest] = claims
        if now >= claims.expires:
            self._verified.pop(digest, None)
            raise TokenError("it has expired")
        return claims

    def _payload(self, token: str) -> bytes:
        for key in self._verifying:
            try:
                decoded = self._jws.decode_complete(token, key, [self._method])
            except jwt.InvalidSignatureError:
                continue
            except jwt.InvalidAlgorithmError:
                raise TokenError(f"it is not signed by {self._method}") from None
            except (jwt.PyJWTError, UnicodeError):
                raise TokenError("it is no signed token") from None
            payload = decoded["payload"]
            assert isinstance(payload, bytes), "what was signed"
            return payload
        raise TokenError("its signature is of none of the keys")

    # -- keys ------------------------------------------------------------------------------------

    def _read_secret(
        self, private_key: KeyFile | None, public_keys: Sequence[KeyFile]
    ) -> tuple[Any, list[Any]]:
        if private_key is None:
            raise ValueError(f"--auth-token=jwt: {self._method} needs priv-key=")
        if public_keys:
            raise ValueError(
                f"--auth-token=jwt: {self._method} has one secret and no public keys; "
                "leave pub-key= out"
            )
        bytes_min = int(self._method[2:]) // 8
        if len(private_key.data) < bytes_min:
            raise ValueError(
                f"{private_key.name} holds {len(private_key.data)} bytes; {self._method} needs a "
                f"secret of at least {bytes_min}: `head -c 64 /dev/urandom > FILE`"
            )
        key = self._prepare(
            private_key.name, private_key.data, "no secret, but a key of another kind"
        )
        return key, [key]

    def _read_keys(
        self, private_key: KeyFile | None, public_keys: Sequence[KeyFile]
    ) -> tuple[Any, list[Any]]:
        verifying = [self._read_public(file) for file in public_keys]
        if private_key is None:
            if not verifying:
                raise ValueError(f"--auth-token=jwt: {self._method} needs priv-key= or pub-key=")
            return None, verifying
        what = f"no private key for {self._method} in PEM form"
        signing = self._prepare(private_key.name, private_key.data, what)
        if not hasattr(signing, "public_key"):
            raise ValueError(
                f"{private_key.name} holds a public key; priv-key= needs a private one"
            )
        own = signing.public_key()
        if verifying and own not in verifying:
            names = ", ".join(file.name for file in public_keys)
            raise ValueError(f"{names}: no public key belongs to {private_key.name}")
        return signing, verifying or [own]

    def _read_public(self, file: KeyFile) -> Any:
        what = f"no public key for {self._method} in PEM form"
        if b"-----BEGIN CERTIFICATE-----" in file.data:
            try:
                certificate = read_certificates(file.data, file.name)[0]
            except PkiError as error:
                raise ValueError(str(error)) from None
            return self._prepare(file.name, certificate.public_key(), what)
        key = self._prepare(file.name, file.data, what)
        if hasattr(key, "public_key"):
            raise ValueError(f"{file.name} holds a private key; pub-key= needs the public one")
        return key

    def _prepare(self, name: str, key: Any, what: str) -> Any:
        algorithm = self._jws.get_algorithm_by_name(self._method)
        try:
            prepared = algorithm.prepare_key(key)
        except (jwt.PyJWTError, ValueError, TypeError):
            raise ValueError(f"{name} holds {what}") from None
        # Later the library would only warn.
        if algorithm.check_key_length(prepared) is not None:
            raise ValueError(f"{name} holds a key too short to be safe; RSA needs 2048 bits")
        return prepared


def _read_claims(payload: bytes, now: float) -> Claims:
    """Read what was signed.

    Raises:
        TokenError: something of it is missing, or it is not valid yet.
    """
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise TokenError("what is signed are no claims")
    user = claims.get("username")
    if not isinstance(user, str) or not user:
        raise TokenError("it has no username")
    revision = _number(claims.get("revision"))
    if revision is None or revision < 0:
        raise TokenError("it has no revision")
    expires = _number(claims.get("exp"))
    if expires is None:
        raise TokenError("it has no exp: tokens that never end are not taken")
    if "nbf" in claims:
        begins = _number(claims["nbf"])
        if begins is None or now < begins:
            raise TokenError("it is not valid yet")
    return Claims(user, int(revision), expires)


def _number(value: object) -> float | None:
    """Give a number that a clock or a counter can have; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < _NUMBER_MAX else None  # false for NaN, too
