"""What a certificate is, as values: for tables, for monitors, and for what decides by it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trioetcd.pki.bundle import covers, hosts_of
from trioetcd.pki.chain import authority_mark, is_authority, signed_by
from trioetcd.pki.crl import read_lists
from trioetcd.pki.pem import UNREADABLE, public_bytes, read_certificate, read_certificates, read_key
from trioetcd.pki.profile import PkiError

__all__ = [
    "Facts",
    "ListFacts",
    "inspect",
    "inspect_der",
    "inspect_lists",
    "join_trust",
    "key_fits",
    "mark_of",
    "signer_first",
    "signer_of",
    "stands_for",
    "without_authority",
]

_RSA_BITS_MIN: Final = 2048
_EC_BITS_MIN: Final = 256
_WEAK_HASHES: Final = frozenset({"md5", "sha1"})
_BOTH: Final = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH})
_ROLES: Final = (
    (_BOTH, "peer"),
    (frozenset({ExtendedKeyUsageOID.SERVER_AUTH}), "server"),
    (frozenset({ExtendedKeyUsageOID.CLIENT_AUTH}), "client"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One certificate.

    Attributes:
        role: ``ca``, ``peer``, ``server``, ``client``, ``any`` where it lists no usage, or
            ``other``.
        common_name: of its subject; may be empty.
        subject: the whole subject, as RFC 4514 writes it.
        names: alternative names, without the URIs.
        uris: alternative names that are URIs.
        issuer: the common name of who signed it, or all of its name.
        serial: given by who signed it.
        not_before: when it begins.
        not_after: when it ends.
        fingerprint: SHA-256, hexadecimal.
        weakness: what makes it easy to forge, in a few words; empty when nothing does.
    """

    role: str
    common_name: str
    subject: str
    names: tuple[str, ...]
    uris: tuple[str, ...]
    issuer: str
    serial: int
    not_before: datetime
    not_after: datetime
    fingerprint: str
    weakness: str

    @property
    def lifetime(self) -> timedelta:
        """How long it is good for, all in all."""
        return self.not_after - self.not_before


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFacts:
    """One revocation list.

    Attributes:
        issuer: the common name of the CA that made it, or all of its name.
        this_update: when it was made.
        next_update: when a newer one should be there; None if it does not say.
        serials: what it revokes.
    """

    issuer: str
    this_update: datetime
    next_update: datetime | None
    serials: tuple[int, ...]


def inspect(data: bytes, what: str) -> tuple[Facts, ...]:
    """Give the facts of every certificate in a PEM file, in order.

    Args:
        data: the file's contents.
        what: how messages call it, such as its name.

    Raises:
        PkiError: there are none, or one cannot be read.
    """
    return tuple(_facts(certificate, what) for certificate in read_certificates(data, what))


def inspect_der(der: bytes, what: str) -> Facts:
    """Give the facts of a certificate in DER form, as a TLS handshake hands it out.

    Raises:
        PkiError: it cannot be read.
    """
    return _facts(read_certificate(der, what), what)


def inspect_lists(data: bytes, what: str) -> tuple[ListFacts, ...]:
    """Give the facts of every revocation list in a file, unverified.

    Raises:
        PkiError: there are none, or one cannot be read.
    """
    return tuple(
        ListFacts(
            issuer=_common_name(crl.issuer) or crl.issuer.rfc4514_string(),
            this_update=crl.last_update_utc,
            next_update=crl.next_update_utc,
            serials=tuple(entry.serial_number for entry in crl),
        )
        for crl in read_lists(data, what)
    )


def signer_of(certificate: bytes, authorities: bytes) -> str:
    """Say which of some CAs signed a certificate.

    Args:
        certificate: PEM, or DER.
        authorities: PEM.

    Returns:
        The fingerprint of the CA; empty if none of them did.

    Raises:
        PkiError: something cannot be read.
    """
    leaf = _read_first(certificate)
    for authority in read_certificates(authorities, "the CA file"):
        if signed_by(leaf, authority):
            return authority.fingerprint(hashes.SHA256()).hex()
    return ""


def stands_for(der: bytes, host: str) -> bool:
    """Say whether a certificate (DER) names a host.

    Raises:
        PkiError: it cannot be read.
    """
    names = hosts_of(read_certificate(der, "the certificate"))
    return any(covers(name, host) for name in names)


def mark_of(authority: bytes) -> str:
    """Give what an index calls a CA (PEM): its mark, hexadecimal.

    Raises:
        PkiError: it cannot be read.
    """
    return authority_mark(read_certificates(authority, "the CA")[0]).hex()


def key_fits(certificate: bytes, key: bytes) -> bool:
    """Say whether a key (PEM) belongs to the first certificate of a PEM file.

    Raises:
        PkiError: one of them cannot be read.
    """
    leaf = read_certificates(certificate, "the certificate")[0]
    return public_bytes(leaf) == public_bytes(read_key(key, "the key file"))


def signer_first(authorities: bytes, key: bytes) -> bytes:
    """Put that one of some CAs (PEM) first to which a key belongs; it is the one that signs.

    While a CA is replaced, a file of CAs holds both the old and the new one, and the key says
    which of them signs. Where it belongs to none, the order stays.

    Raises:
        PkiError: something cannot be read.
    """
    certificates = read_certificates(authorities, "the CA file")
    own = public_bytes(read_key(key, "the CA's key file"))
    certificates.sort(key=lambda certificate: public_bytes(certificate) != own)
    return _pem(certificates)


def join_trust(authorities: bytes, more: bytes) -> bytes:
    """Give a file of CAs (PEM) with more of them behind; none stands there twice.

    Raises:
        PkiError: something cannot be read, or is no CA.
    """
    certificates = read_certificates(authorities, "the CA file")
    for certificate in read_certificates(more, "the CA to add"):
        if not is_authority(certificate):
            name = certificate.subject.rfc4514_string()
            raise PkiError(f"{name} is no CA, so nobody can be verified with it")
        if certificate not in certificates:
            certificates.append(certificate)
    return _pem(certificates)


def without_authority(authorities: bytes, fingerprint: str) -> bytes:
    """Give a file of CAs (PEM) without one of them.

    Raises:
        PkiError: it cannot be read, or no CA would be left.
    """
    certificates = read_certificates(authorities, "the CA file")
    kept = [
        certificate
        for certificate in certificates
        if certificate.fingerprint(hashes.SHA256()).hex() != fingerprint
    ]
    if not kept:
        raise PkiError("no CA would be left, and nobody could be verified any more")
    return _pem(kept)


def _pem(certificates: list[x509.Certificate]) -> bytes:
    return b"".join(
        certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates
    )


def _read_first(data: bytes) -> x509.Certificate:
    if b"-----BEGIN" in data:
        return read_certificates(data, "the certificate")[0]
    return read_certificate(data, "the certificate")


def _facts(certificate: x509.Certificate, what: str) -> Facts:
    try:
        names, uris = _names(certificate)
        role = _role(certificate)
    except UNREADABLE:  # the library parses an extension when it is looked at
        raise PkiError(f"{what} has damaged extensions; put a whole copy back") from None
    return Facts(
        role=role,
        common_name=_common_name(certificate.subject),
        subject=certificate.subject.rfc4514_string(),
        names=names,
        uris=uris,
        issuer=_common_name(certificate.issuer) or certificate.issuer.rfc4514_string(),
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        weakness=_weakness(certificate),
    )


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _names(certificate: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), ()
    uris = found.get_values_for_type(x509.UniformResourceIdentifier)
    others = [
        str(name.value) for name in found if not isinstance(name, x509.UniformResourceIdentifier)
    ]
    return tuple(others), tuple(uris)


def _role(certificate: x509.Certificate) -> str:
    if is_authority(certificate):
        return "ca"
    try:
        usages = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return "any"
    if ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages:
        return "any"
    return next((role for needed, role in _ROLES if usages >= needed), "other")


def _weakness(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_BITS_MIN:
        return f"an RSA key of {key.key_size} bits; {_RSA_BITS_MIN} is the least"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size < _EC_BITS_MIN:
        return f"a key on the curve {key.curve.name}; P-256 is the least"
    # A root's own signature proves nothing to anybody: whoever trusts it holds a copy.
    rooted = certificate.issuer == certificate.subject
    signed = certificate.signature_hash_algorithm
    if not rooted and signed is not None and signed.name in _WEAK_HASHES:
        return f"a signature with {signed.name.upper()}"
    return ""
