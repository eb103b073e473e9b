"""Who signed whom: a certificate and the CAs above it."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from trioetcd.pki.pem import public_bytes

__all__ = ["authority_mark", "is_authority", "signed_by"]


def is_authority(certificate: x509.Certificate) -> bool:
    """Say whether a certificate is a CA's."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return certificate.version is x509.Version.v1  # old roots carry no extensions
    except ValueError:
        return False


def signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Say whether `issuer` is a CA, and signed `certificate`."""
    if not is_authority(issuer):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def authority_mark(certificate: x509.Certificate) -> bytes:
    """Give what tells a CA from every other: SHA-256 over its name and its key.

    A CA's certificate that was made anew with the same name and key has the same mark.
    """
    digest = hashes.Hash(hashes.SHA256())
    digest.update(certificate.subject.public_bytes())
    digest.update(public_bytes(certificate))
    return digest.finalize()
