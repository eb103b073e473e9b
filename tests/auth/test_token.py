"""Simple tokens: their form, and the table of those that a member knows."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioetcd.auth import (
    SimpleToken,
    TokenTable,
    digest_of,
    draw_secret,
    read_simple_token,
    token,
    write_simple_token,
)

TTL = 300.0


class Fixed:
    """Gives one number."""

    def __init__(self, number: int) -> None:
        self._number = number

    def bits(self, count: int, /) -> int:
        assert 128 == count
        return self._number


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**63 - 1))
def test_round_trip(number: int, index: int) -> None:
    """A token looks like one of etcd's, and is known by the digest of its letters."""
    secret = draw_secret(Fixed(number))
    written = write_simple_token(secret, index)
    letters, _, rest = written.partition(".")
    assert letters.isalpha()
    assert letters.isascii()
    assert str(index) == rest
    assert SimpleToken(sha256(letters.encode()).digest(), index) == read_simple_token(written)


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1))
def test_every_bit_counts(one: int, other: int) -> None:
    """Two numbers never make one secret."""
    assert (one == other) == (draw_secret(Fixed(one)) == draw_secret(Fixed(other)))


@pytest.mark.parametrize(
    "shown",
    [
        "",
        ".",
        "a" * 23,
        "a" * 22 + ".1",
        "a" * 24 + ".1",
        "a" * 23 + ".",
        "a" * 23 + ".-1",
        "a" * 23 + ".1\n",
        "a" * 23 + ".\u0661",
        "é" * 23 + ".1",
        "a" * 23 + "." + "1" * 20,
        "eyJh.eyJh.c2ln",
        "\ud800" * 23 + ".1",
    ],
)
def test_what_is_no_token(shown: str) -> None:
    """Anything a client may send is read, or is none."""
    assert read_simple_token(shown) is None


def test_a_token_ends_after_its_last_use() -> None:
    """Use lets it last anew, to the second; afterwards it is nobody's for ever."""
    table = TokenTable(ttl_seconds=TTL)
    table.assign("a", b"1", 0.0)
    assert "a" == table.user_of(b"1", 300.0)
    assert "a" == table.user_of(b"1", 600.0)
    assert table.user_of(b"1", 900.1) is None
    assert table.user_of(b"1", 0.0) is None
    assert 0 == len(table)


def test_a_token_that_nobody_has() -> None:
    """It is nobody's, and asking leaves nothing behind."""
    table = TokenTable(ttl_seconds=TTL)
    assert table.user_of(digest_of("x"), 0.0) is None
    assert 0 == len(table)


def test_tokens_end_with_their_user() -> None:
    """A changed password ends its user's tokens and no others; disabling ends all."""
    table = TokenTable(ttl_seconds=TTL)
    for at, user in enumerate("aba"):
        table.assign(user, b"%d" % at, 0.0)
    table.invalidate("a")
    table.invalidate("nobody")
    assert [None, "b", None] == [table.user_of(b"%d" % at, 1.0) for at in range(3)]
    table.clear()
    assert table.user_of(b"1", 1.0) is None
    table.assign("b", b"1", 2.0)
    assert "b" == table.user_of(b"1", 3.0)


def test_a_token_may_be_assigned_again() -> None:
    """A log that is replayed lets it last anew; it has one user."""
    table = TokenTable(ttl_seconds=TTL)
    table.assign("a", b"1", 0.0)
    table.assign("a", b"1", 100.0)
    assert "a" == table.user_of(b"1", 400.0)
    table.assign("b", b"1", 400.0)
    table.invalidate("a")
    assert "b" == table.user_of(b"1", 400.0)
    assert 1 == len(table)


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that logs in without end loses its own least used tokens, and nobody else's."""
    monkeypatch.setattr(token, "TOKENS_PER_USER_MAX", 3)
    table = TokenTable(ttl_seconds=TTL)
    table.assign("b", b"other", 0.0)
    for at in range(3):
        table.assign("a", b"%d" % at, float(at))
    assert "a" == table.user_of(b"0", 3.0)
    for at in range(3, 5):
        table.assign("a", b"%d" % at, float(at))
    found = [table.user_of(b"%d" % at, 5.0) for at in range(5)]
    assert ["a", None, None, "a", "a"] == found
    assert "b" == table.user_of(b"other", 5.0)
    assert 4 == len(table)


class Naive:
    """The table as a list that is searched."""

    def __init__(self) -> None:
        self.rows: list[tuple[bytes, str, float]] = []

    def keep(self, rows: Iterable[tuple[bytes, str, float]]) -> None:
        self.rows = list(rows)

    def user_of(self, digest: bytes, now: float) -> str | None:
        for known, user, end in self.rows:
            if known == digest and now <= end:
                self.keep(row for row in self.rows if row[0] != digest)
                self.rows.append((digest, user, now + TTL))
                return user
        return None


@given(st.integers(0, 2**32))
def test_against_a_list(seed: int) -> None:
    """Whatever happens in whatever order, both know the same tokens."""
    random = Random(seed)
    table, naive = TokenTable(ttl_seconds=TTL), Naive()
    now = 0.0
    for _ in range(60):
        now += random.choice([0.0, 1.0, 100.0, 299.0])
        digest = bytes([random.randrange(6)])
        user = random.choice("abc")
        match random.randrange(8):
            case 0 | 1 | 2:
                table.assign(user, digest, now)
                naive.keep(row for row in naive.rows if row[0] != digest)
                naive.rows.append((digest, user, now + TTL))
            case 3:
                table.invalidate(user)
                naive.keep(row for row in naive.rows if row[1] != user)
            case 4 if random.randrange(5) == 0:
                table.clear()
                naive.keep([])
            case _:
                assert naive.user_of(digest, now) == table.user_of(digest, now)
        table.expire(now)
        naive.keep(row for row in naive.rows if now <= row[2])
        assert len(naive.rows) == len(table)
