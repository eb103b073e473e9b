"""Who stands behind a certificate that a TLS handshake has already verified."""

from __future__ import annotations

from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trioetcd.pki.pem import read_certificate
from trioetcd.pki.profile import PkiError

__all__ = ["NOWHERE", "Identity", "Origin", "identity_of", "may_be_peer"]

_PEER_USAGES = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH})


class Identity(NamedTuple):
    """The names in a certificate.

    Attributes:
        common_name: the subject's common name, which etcd takes as the user; empty if there is
            none, or more than one: then it is not said who this is.
        dns: DNS names.
        uris: URIs.
        fingerprint: SHA-256 of the certificate, hexadecimal.
    """

    common_name: str
    dns: tuple[str, ...]
    uris: tuple[str, ...]
    fingerprint: str


class Origin(NamedTuple):
    """Who is at the other end of a connection.

    Attributes:
        certificate: the names in the certificate that was shown and verified, None without one.
        remote: the address, for logs.
    """

    certificate: Identity | None
    remote: str


NOWHERE: Final = Origin(None, "")
"""Nobody knows who is at the other end."""


def identity_of(der: bytes) -> Identity:
    """Give the names in a certificate (DER), as the handshake hands it out.

    Raises:
        PkiError: it cannot be read.
    """
    certificate = read_certificate(der, "the peer's certificate")
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    dns: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        pass
    except ValueError:
        raise PkiError("the peer's certificate has damaged extensions") from None
    else:
        dns = tuple(alternative.value.get_values_for_type(x509.DNSName))
        uris = tuple(alternative.value.get_values_for_type(x509.UniformResourceIdentifier))
    return Identity(
        str(names[0].value) if len(names) == 1 else "",
        dns,
        uris,
        certificate.fingerprint(hashes.SHA256()).hex(),
    )


def may_be_peer(der: bytes) -> bool:
    """Say whether a certificate (DER) may be a member's: usable on both sides.

    TLS looks at one usage only; where one CA signs members and clients alike, this keeps the
    clients out of the cluster.

    Raises:
        PkiError: it cannot be read.
    """
    certificate = read_certificate(der, "the peer's certificate")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True  # no list of usages means every usage (RFC 5280, 4.2.1.12)
    except ValueError:
        raise PkiError("the peer's certificate has damaged extensions") from None
    return set(usage) >= _PEER_USAGES or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage
