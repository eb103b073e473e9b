"""Passwords: what fits which hash, as in Go, and what of them gets into a command."""

from __future__ import annotations

from base64 import b64encode

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.auth.asking import HASH, Chance
from trioetcd.auth import (
    PasswordRequest,
    check_password,
    draw_salt,
    hash_password,
    must_hash,
    seal,
    verify_password,
)
from trioetcd.auth.password import cost_of, read_hash
from trioetcd.errors import NO_PASSWORD_USER, Code, EtcdError
from trioetcd.schema.messages import (
    AuthUserAddRequest,
    AuthUserChangePasswordRequest,
    DecodeError,
    UserAddOptions,
)

NO_PASSWORD = UserAddOptions(no_password=True)
OTHERS = b64encode(HASH).decode()


@settings(deadline=None, max_examples=20)
@given(st.text(max_size=18), st.text(max_size=18), st.integers(0, 2**32))
def test_a_password_fits_its_own_hash_only(one: str, other: str, seed: int) -> None:
    """Whatever it is made of, zero bytes and nothing at all included."""
    hashed = hash_password(one, draw_salt(Chance(seed), cost=4))
    assert 60 == len(hashed)
    assert hashed.startswith(b"$2a$04$")
    assert verify_password(one, hashed, cost=4)
    assert (one == other) == verify_password(other, hashed, cost=4)


def test_zero_bytes_count() -> None:
    """What comes behind a zero byte belongs to the password."""
    hashed = hash_password("a\0b", draw_salt(Chance(1), cost=4))
    assert verify_password("a\0b", hashed, cost=4)
    assert not verify_password("a", hashed, cost=4)
    assert not verify_password("a\0c", hashed, cost=4)


def test_salts_differ() -> None:
    """Two hashes of one password tell nothing of each other, and all 128 bits are drawn."""
    salts = {draw_salt(Chance(seed), cost=4) for seed in range(500)}
    assert 500 == len(salts)
    digits = [{salt[7 + at] for salt in salts} for at in range(22)]
    assert all(len(drawn) > 48 for drawn in digits[:-1])
    assert set(b".Oeu") == digits[-1]


@pytest.mark.parametrize("minor", [b"$2a$", b"$2b$", b"$2y$", b"$2$"])
def test_hashes_of_others_carry_over(minor: bytes) -> None:
    """Go and C libraries write different minor versions of one thing."""
    hashed = minor + HASH[4:]
    assert 4 == cost_of(hashed)
    assert verify_password("pw", hashed, cost=4)
    assert not verify_password("pw ", hashed, cost=4)


def test_go_passes_over_what_follows() -> None:
    """A line's end behind a hash, and the bits of the salt that no byte fills, do not count."""
    assert verify_password("pw", HASH + b"\n", cost=4)
    salted = HASH[:28] + b"v" + HASH[29:]
    assert salted != HASH
    assert verify_password("pw", salted, cost=4)


def test_known_answers() -> None:
    """The test vectors of others: OpenBSD's of an empty password, John the Ripper's of U*U."""
    empty = b"$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."
    assert verify_password("", empty, cost=4)
    star = b"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
    assert verify_password("U*U", star, cost=4)
    assert not verify_password("U*U*", star, cost=4)


@pytest.mark.parametrize(
    "hashed",
    [
        b"",
        b"pw",
        b"\xff" * 60,
        HASH[:-1],
        b"$1a$" + HASH[4:],
        b"$2a$03$" + HASH[7:],
        b"$2a$32$" + HASH[7:],
        b"$2a$4$" + HASH[7:],
        HASH[:10] + b"!" + HASH[11:],
    ],
)
def test_what_is_no_hash_fits_no_password(hashed: bytes) -> None:
    """Nothing that could be stored makes an error, or lets anybody in."""
    assert cost_of(hashed) is None
    assert not verify_password("pw", hashed, cost=4)


def test_nobody_costs_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no hash, one is worked out all the same, at the cost that is said."""
    asked: list[bytes] = []
    hashpw = bcrypt.hashpw

    def counting(shown: bytes, salt: bytes) -> bytes:
        asked.append(salt[:7])
        return hashpw(shown, salt)

    monkeypatch.setattr(bcrypt, "hashpw", counting)
    verify_password("pw", b"", cost=5)
    verify_password("pw", HASH, cost=5)
    verify_password("wrong", HASH, cost=5)
    verify_password("p" * 1000, b"$2a$99$", cost=6)
    assert [b"$2b$05$", b"$2b$04$", b"$2b$04$", b"$2b$06$"] == asked


def test_long_passwords() -> None:
    """None is hashed (Go since 2022); what etcd hashed of one before goes on to fit."""
    check_password("p" * 72)
    check_password("é" * 36)
    for long in ("p" * 73, "é" * 36 + "p", "é" * 37):
        with pytest.raises(EtcdError) as caught:
            check_password(long)
        assert (Code.UNKNOWN, "bcrypt: password length exceeds 72 bytes") == (
            caught.value.code,
            caught.value.text,
        )
    hashed = hash_password("p" * 72, draw_salt(Chance(1), cost=4))
    assert verify_password("p" * 72, hashed, cost=4)
    assert verify_password("p" * 100, hashed, cost=4)
    assert not verify_password("p" * 71, hashed, cost=4)


def test_short_passwords() -> None:
    """Characters are counted, not bytes; by default none is too short."""
    check_password("")
    check_password("ééé", length_min=3)
    with pytest.raises(EtcdError, match="--password-min-length wants 4") as caught:
        check_password("ééé", length_min=4)
    assert Code.INVALID_ARGUMENT == caught.value.code
    assert "ééé" not in str(caught.value)


add, change = AuthUserAddRequest, AuthUserChangePasswordRequest


@pytest.mark.parametrize(
    ("request_", "hashes", "expected"),
    [
        (add(name="a", password="pw"), True, b"new"),
        (add(name="a"), True, b"new"),  # etcd hashes the empty password
        (add(name="a", hashedPassword=OTHERS), False, HASH),
        (add(name="a", password="pw", hashedPassword=OTHERS), True, b"new"),
        (add(name="a", options=NO_PASSWORD), False, b""),
        (add(name="a", password="pw", options=NO_PASSWORD), False, b""),
        (add(name="a", hashedPassword=OTHERS, options=NO_PASSWORD), False, b""),
        (change(name="a", password="pw"), True, b"new"),
        (change(name="a"), False, b""),
        (change(name="a", hashedPassword=OTHERS), False, HASH),
        (change(name="a", password="pw", hashedPassword=OTHERS), True, b"new"),
        (change(name="a", hashedPassword=OTHERS[:40] + "\n" + OTHERS[40:]), False, HASH),
    ],
)
def test_a_command_holds_a_hash(
    request_: PasswordRequest, expected: bytes, *, hashes: bool
) -> None:
    """No password gets into a command; the hash of one counts more than a hash that was brought."""
    assert hashes == must_hash(request_)
    before = request_.SerializeToString()
    sealed = type(request_).FromString(seal(request_, b"new" if hashes else None))
    assert before == request_.SerializeToString()
    assert "" == sealed.password
    assert "a" == sealed.name
    assert expected == read_hash(sealed)
    if isinstance(request_, AuthUserAddRequest):
        assert isinstance(sealed, AuthUserAddRequest)
        assert request_.options == sealed.options


@pytest.mark.parametrize("kind", [add, change])
def test_a_hash_that_is_none(kind: type[PasswordRequest]) -> None:
    """A hash that no password would fit is refused when it is asked for."""
    with pytest.raises(EtcdError, match="not a bcrypt hash"):
        seal(kind(name="a", hashedPassword=b64encode(b"junk").decode()))
    # That it is not even base64 is found when the command is applied, in etcd's order.
    sealed = kind.FromString(seal(kind(name="a", hashedPassword=HASH.decode())))
    with pytest.raises(EtcdError) as caught:
        read_hash(sealed)
    assert NO_PASSWORD_USER is caught.value.row


@pytest.mark.parametrize("kind", [add, change])
def test_a_command_with_a_password_is_not_read(kind: type[PasswordRequest]) -> None:
    """Whoever made it, it is not what `seal` makes."""
    with pytest.raises(DecodeError):
        read_hash(kind(name="a", password="pw"))
