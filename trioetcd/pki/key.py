"""Private keys: the kinds that may be drawn, how each signs, and a key in words."""

from __future__ import annotations

from enum import Enum

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from trioetcd.pki.pem import PrivateKey
from trioetcd.pki.profile import PkiError

__all__ = [
    "RSA_BITS_MIN",
    "KeyKind",
    "check_public_key",
    "create_key",
    "describe_key",
    "key_bytes",
    "kind_of",
    "signing_hash",
]

RSA_BITS_MIN = 2048
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


class KeyKind(Enum):
    """What kind of key is drawn; the value is its name on the command line."""

    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"
    RSA_3072 = "rsa-3072"
    ED25519 = "ed25519"


def create_key(kind: KeyKind = KeyKind.EC_P256) -> PrivateKey:
    """Draw a key."""
    match kind:
        case KeyKind.EC_P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyKind.EC_P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyKind.RSA_3072:
            return rsa.generate_private_key(65537, 3072)
        case KeyKind.ED25519:
            return ed25519.Ed25519PrivateKey.generate()


def kind_of(key: object) -> KeyKind:
    """Give the kind that a public key's successor should have: its own, if that can be drawn."""
    match key:
        case rsa.RSAPublicKey():
            return KeyKind.RSA_3072
        case ec.EllipticCurvePublicKey() if key.curve.key_size > 256:
            return KeyKind.EC_P384
        case ed25519.Ed25519PublicKey():
            return KeyKind.ED25519
        case _:
            return KeyKind.EC_P256


def signing_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    """Give the digest with which a key signs: as strong as its curve; none for EdDSA."""
    match key:
        case ed25519.Ed25519PrivateKey() | ed448.Ed448PrivateKey():
            return None
        case ec.EllipticCurvePrivateKey() if key.curve.key_size > 384:
            return hashes.SHA512()
        case ec.EllipticCurvePrivateKey() if key.curve.key_size > 256:
            return hashes.SHA384()
        case _:
            return hashes.SHA256()


def key_bytes(key: PrivateKey) -> bytes:
    """Give a key as PEM (PKCS #8, not encrypted)."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def check_public_key(key: object, what: str) -> str:
    """Say in words what a public key is, if a certificate should be made for it.

    Raises:
        PkiError: it is too short, or of a kind that TLS has no use for.
    """
    match key:
        case rsa.RSAPublicKey() if key.key_size < RSA_BITS_MIN:
            raise PkiError(f"{what} has an RSA key of {key.key_size} bits; 2048 is the least")
        case ec.EllipticCurvePublicKey() if not isinstance(key.curve, _CURVES):
            raise PkiError(f"{what} has a key on the curve {key.curve.name}; use P-256 or P-384")
        case rsa.RSAPublicKey() | ec.EllipticCurvePublicKey():
            return describe_key(key)
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return describe_key(key)
        case _:
            raise PkiError(f"{what} has a key that cannot sign in TLS; use EC, RSA or Ed25519")


def describe_key(key: object) -> str:
    """Say in words what a public key is."""
    match key:
        case rsa.RSAPublicKey():
            return f"RSA, {key.key_size} bits"
        case ec.EllipticCurvePublicKey():
            return f"EC, {key.curve.name}"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case ed448.Ed448PublicKey():
            return "Ed448"
        case _:
            return "of a kind that TLS 1.3 has no use for"
