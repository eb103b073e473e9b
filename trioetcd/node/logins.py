"""From settings to how users log in; the keys of signed tokens are read here."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trio

from trioetcd.auth import TokenOption, parse_token_option
from trioetcd.node.flags import ConfigError
from trioetcd.node.go_syntax import parse_duration
from trioetcd.node.settings import Config
from trioetcd.pki import parse_naming
from trioetcd.runtime.logins import Logins, LoginSettings, Signed
from trioetcd.runtime.trace import Log

__all__ = ["follow_keys", "login_settings", "read_signed_tokens"]

LOOK_SECONDS: Final = 0.5
"""How often the keys' files are looked at: a change counts within a second."""


def login_settings(config: Config) -> LoginSettings:
    """Give how users log in.

    Raises:
        ConfigError: a key of `--auth-token` cannot be read, or is of no use.
    """
    return LoginSettings(
        token_seconds=config.auth_token_ttl,
        signed=read_signed_tokens(config),
        bcrypt_cost=config.bcrypt_cost,
        password_length_min=config.password_min_length,
        user_of=parse_naming(config.cert_identity),
    )


def read_signed_tokens(config: Config) -> Signed | None:
    """Read the keys of `--auth-token`; None where tokens are simple.

    Raises:
        ConfigError: one sentence that names the file.
    """
    option = parse_token_option(config.auth_token)
    if option.kind == "simple":
        return None
    try:
        return _signed_tokens(option)
    except ValueError as error:
        raise ConfigError(str(error)) from None


async def follow_keys(config: Config, logins: Logins, log: Log) -> None:
    """Let keys of `--auth-token` count that are put in the place of old ones, for ever.

    Keys that are of no use leave the old ones in place, and the log says why.
    """
    option = parse_token_option(config.auth_token)
    names = [name for name in (*option.public_keys, option.private_key) if name]
    seen = list(map(_stamp, names))
    while names:
        await trio.sleep(LOOK_SECONDS)
        now = list(map(_stamp, names))
        if now == seen:
            continue
        seen = now
        try:
            logins.signed = read_signed_tokens(config)
        except ConfigError as error:
            log.warn("the old keys of signed tokens stay", error=str(error))
        else:
            log.info("the keys of signed tokens were read again", files=names)


def _stamp(name: str) -> tuple[int, int, int] | None:
    """Give what changes with a file; None while there is none."""
    try:
        found = Path(name).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _signed_tokens(option: TokenOption) -> Signed:
    # Importing the library takes 0.1 s, which members with simple tokens need not spend.
    from trioetcd.auth.signed_token import KeyFile, SignedTokens

    def read(name: str) -> KeyFile:
        try:
            return KeyFile(name, Path(name).read_bytes())
        except OSError as error:
            raise ValueError(f"--auth-token=jwt: {name}: {error.strerror}") from None

    return SignedTokens(
        option.sign_method,
        private_key=read(option.private_key) if option.private_key else None,
        public_keys=[read(name) for name in option.public_keys],
        ttl_seconds=parse_duration(option.ttl),
    )
