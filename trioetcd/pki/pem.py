"""PEM and DER to parsed certificates and keys, with sentences for what goes wrong."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from trioetcd.pki.profile import PkiError

__all__ = [
    "PrivateKey",
    "public_bytes",
    "read_certificate",
    "read_certificates",
    "read_key",
    "split_certificates",
    "to_pem",
]

PrivateKey = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)
"""Keys that can sign in TLS 1.3."""

_KEY_TYPES = (
    ec.EllipticCurvePrivateKey,
    rsa.RSAPrivateKey,
    ed25519.Ed25519PrivateKey,
    ed448.Ed448PrivateKey,
)


UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` says to a certificate that is none."""


def _whole(certificate: x509.Certificate) -> x509.Certificate:
    """Parse every part now: the library does so when a part is first looked at, or never."""
    _ = (
        certificate.subject,
        certificate.issuer,
        certificate.extensions,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        certificate.serial_number,
        certificate.signature_hash_algorithm,
        certificate.public_key(),
    )
    return certificate


def read_certificates(data: bytes, what: str) -> list[x509.Certificate]:
    """Give the certificates of a PEM file, in order.

    Raises:
        PkiError: there are none, or one cannot be read.
    """
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise PkiError(f"{what} holds no certificate in PEM form")
    try:
        return [_whole(certificate) for certificate in x509.load_pem_x509_certificates(data)]
    except UNREADABLE:
        raise PkiError(f"{what} holds a damaged certificate; put a whole copy back") from None


def read_certificate(der: bytes, what: str) -> x509.Certificate:
    """Give the certificate of its DER form.

    Raises:
        PkiError: it cannot be read.
    """
    try:
        return _whole(x509.load_der_x509_certificate(der))
    except UNREADABLE:
        raise PkiError(f"{what} is a damaged certificate; put a whole copy back") from None


def split_certificates(data: bytes, what: str) -> tuple[bytes, ...]:
    """Give the certificates of a PEM file each as PEM of its own, without what stands between.

    Raises:
        PkiError: there are none, or one cannot be read.
    """
    return tuple(
        certificate.public_bytes(serialization.Encoding.PEM)
        for certificate in read_certificates(data, what)
    )


def to_pem(der: bytes, what: str) -> bytes:
    """Give the PEM form of a certificate's DER form.

    Raises:
        PkiError: it cannot be read.
    """
    return read_certificate(der, what).public_bytes(serialization.Encoding.PEM)


def read_key(data: bytes, what: str) -> PrivateKey:
    """Give the private key of a PEM file.

    Raises:
        PkiError: there is none, it is encrypted, or of a kind TLS has no use for.
    """
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except TypeError:
        raise PkiError(f"{what} holds an encrypted key; decrypt it with `openssl pkey`") from None
    except (ValueError, UnsupportedAlgorithm):
        raise PkiError(f"{what} holds no private key in PEM form") from None
    if not isinstance(key, _KEY_TYPES):
        raise PkiError(f"{what} holds a key that cannot sign; use EC, RSA or Ed25519")
    return key


def public_bytes(owner: x509.Certificate | PrivateKey) -> bytes:
    """Give the public key's DER form, by which two keys are compared."""
    return owner.public_key().public_bytes(
        serialization.Encoding.DER,
        serialization.PublicFormat.SubjectPublicKeyInfo,
    )
