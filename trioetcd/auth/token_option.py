"""The value of ``--auth-token``, taken apart; no file is looked at."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["SIGN_METHODS", "TokenOption", "parse_token_option"]

SIGN_METHODS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"),
)
"""What may stand behind ``sign-method=`` (etcd)."""

_TTL_DEFAULT: Final = "5m"

_OPTIONS: Final = ("sign-method", "pub-key", "priv-key", "ttl")


class TokenOption(NamedTuple):
    """What ``--auth-token`` says.

    Attributes:
        kind: ``simple`` or ``jwt``; the rest is empty for a simple one.
        sign_method: one of `SIGN_METHODS`.
        public_keys: files with keys that verify; etcd knows one.
        private_key: the file with the key that signs; empty for who only verifies. For ``HS…`` it
            holds the secret.
        ttl: how long a token lasts, as Go writes a duration.
    """

    kind: str
    sign_method: str = ""
    public_keys: tuple[str, ...] = ()
    private_key: str = ""
    ttl: str = ""


def parse_token_option(text: str) -> TokenOption:
    """Read the value of ``--auth-token``; whether files are there is not looked at.

    Raises:
        ValueError: one sentence that says what is wrong with it.
    """
    kind, *parts = text.split(",")
    if kind not in {"simple", "jwt"}:
        raise ValueError(f"--auth-token={kind!r} is none of 'simple', 'jwt'")
    if kind == "simple":
        if parts:
            raise ValueError(f"--auth-token=simple takes no options such as {parts[0]!r}")
        return TokenOption(kind)
    found: dict[str, list[str]] = {name: [] for name in _OPTIONS}
    for part in parts:
        name, equals, value = part.partition("=")
        if name not in found:
            known = ", ".join(f"{each}=" for each in _OPTIONS)
            raise ValueError(f"--auth-token=jwt has no option {name!r}; it has {known}")
        if not equals or not value:
            raise ValueError(f"--auth-token=jwt: {name} needs a value: {name}=...")
        if found[name] and name != "pub-key":
            raise ValueError(f"--auth-token=jwt: {name} is given twice; only pub-key may be")
        found[name].append(value)
    method = _only(found["sign-method"])
    if method not in SIGN_METHODS:
        said = f"sign-method={method} is none" if method else "sign-method= is missing; give one"
        raise ValueError(f"--auth-token=jwt: {said} of {', '.join(SIGN_METHODS)}")
    private_key = _only(found["priv-key"])
    if method.startswith("HS"):
        if not private_key:
            raise ValueError(f"--auth-token=jwt: {method} needs priv-key=, a file with its secret")
    elif not private_key and not found["pub-key"]:
        raise ValueError(
            f"--auth-token=jwt: {method} needs priv-key= to sign tokens, or pub-key= to verify "
            "those that others sign"
        )
    ttl = _only(found["ttl"]) or _TTL_DEFAULT
    return TokenOption(kind, method, tuple(found["pub-key"]), private_key, ttl)


def _only(values: list[str]) -> str:
    return values[0] if values else ""
