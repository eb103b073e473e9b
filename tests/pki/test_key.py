"""Tests of `trioetcd.pki.key`: which keys may be certified, and what they are called."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519

from trioetcd.pki import KeyKind, PkiError
from trioetcd.pki.key import check_public_key, create_key, describe_key, kind_of, signing_hash

P521 = ec.generate_private_key(ec.SECP521R1())
RSA_2048 = rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize(
    ("key", "words", "successor", "digest"),
    [
        (create_key(), "EC, secp256r1", KeyKind.EC_P256, "sha256"),
        (create_key(KeyKind.EC_P384), "EC, secp384r1", KeyKind.EC_P384, "sha384"),
        (P521, "EC, secp521r1", KeyKind.EC_P384, "sha512"),
        (RSA_2048, "RSA, 2048 bits", KeyKind.RSA_3072, "sha256"),
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519", KeyKind.ED25519, ""),
        (ed448.Ed448PrivateKey.generate(), "Ed448", KeyKind.EC_P256, ""),
    ],
)
def test_keys_of_tls_are_taken_and_named(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    words: str,
    successor: KeyKind,
    digest: str,
) -> None:
    """Each has its words, its successor's kind, and a digest as strong as itself."""
    chosen = signing_hash(key)

    assert words == check_public_key(key.public_key(), "it") == describe_key(key.public_key())
    assert successor is kind_of(key.public_key())
    assert digest == (chosen.name if chosen is not None else "")


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (rsa.generate_private_key(65537, 1024).public_key(), "RSA key of 1024 bits"),
        (ec.generate_private_key(ec.SECP256K1()).public_key(), "on the curve secp256k1"),
        (x25519.X25519PrivateKey.generate().public_key(), "cannot sign in TLS"),
        (dsa.generate_private_key(1024).public_key(), "cannot sign in TLS"),
    ],
)
def test_keys_of_no_use_are_refused(key: object, sentence: str) -> None:
    """Short ones, curves TLS 1.3 does not have, and keys that sign nothing."""
    with pytest.raises(PkiError, match=sentence):
        check_public_key(key, "it")


def test_a_key_of_no_use_is_described_all_the_same() -> None:
    """`show` says of any certificate what it is."""
    assert "no use" in describe_key(x25519.X25519PrivateKey.generate().public_key())
