"""The keys of signed tokens, as files: read at the start, and again when they change."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.runtime.member import running
from trioetcd.node.config import parse
from trioetcd.node.flags import ConfigError
from trioetcd.node.logins import follow_keys, login_settings
from trioetcd.runtime.trace import Log


def option(secret: Path) -> str:
    return f"--auth-token=jwt,sign-method=HS256,priv-key={secret},ttl=1m"


async def test_new_keys_count_within_a_second(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Tokens of the old key are good no more then; a key that is of no use changes nothing."""
    autojump_clock.autojump_threshold = 0.01
    secret = tmp_path / "secret"
    secret.write_bytes(b"a" * 64)
    config = parse([option(secret)], {})
    async with running(logins=login_settings(config)) as server, trio.open_nursery() as nursery:
        logins = server.logins
        nursery.start_soon(follow_keys, config, logins, Log(outputs=()))
        first = logins.signed
        assert first is not None
        token = first.sign("anna", 1, 0)
        await trio.sleep(1)
        assert logins.signed is first
        for content in (b"short", b""):
            secret.write_bytes(content)
            await trio.sleep(1)
            assert logins.signed is first
        secret.unlink()
        await trio.sleep(1)
        assert logins.signed is first
        secret.write_bytes(b"b" * 64)
        await trio.sleep(1)
        second = logins.signed
        assert second is not None
        with pytest.raises(ValueError, match="none of the keys"):
            second.verify(token, 0)
        assert second.verify(second.sign("anna", 1, 0), 0)[0] == "anna"
        nursery.cancel_scope.cancel()


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    """The sentence names the file."""
    with pytest.raises(ConfigError, match="secret"):
        login_settings(parse([option(tmp_path / "secret")], {}))
