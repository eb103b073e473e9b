"""Certificates in the forms that other programs take: PKCS #12 for browsers, PEM in one file."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from trioetcd.pki.pem import public_bytes, read_certificates, read_key
from trioetcd.pki.profile import PkiError

__all__ = ["export_pkcs12"]

_ROUNDS = 200_000


def export_pkcs12(
    name: str,
    *,
    chain: bytes,
    key: bytes,
    authorities: bytes,
    password: bytes,
) -> bytes:
    """Give a certificate, its key and its CAs as one file of PKCS #12, encrypted by AES-256.

    Args:
        name: what a browser calls it.
        chain: PEM, the leaf first.
        key: PEM.
        authorities: PEM.
        password: what the file is encrypted with; not empty.

    Raises:
        PkiError: something cannot be read, the key is another's, or there is no password.
    """
    if not password:
        raise PkiError("a file with a key needs a password")
    certificates = read_certificates(chain, "the certificate")
    private = read_key(key, "the key")
    if public_bytes(private) != public_bytes(certificates[0]):
        raise PkiError("the key does not belong to the certificate")
    above = [*certificates[1:], *read_certificates(authorities, "the CA")]
    encryption = (
        serialization.PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(password)
    )
    return pkcs12.serialize_key_and_certificates(
        name.encode(), private, certificates[0], list(dict.fromkeys(above)), encryption
    )
