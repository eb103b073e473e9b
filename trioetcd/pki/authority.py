"""Making certificates: a CA, and what it signs.

EC P-256 with SHA-256; random serials of 159 bits; extensions as OpenSSL's strict profile wants
them. A new key is drawn for every certificate, also on renewal.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trioetcd.pki.pem import read_certificates, read_key
from trioetcd.pki.profile import BACKDATE, PkiError, Profile, Role

__all__ = ["CertifiedKey", "create_authority", "issue", "renew", "revocation_list"]

_ORGANIZATION: Final = "trioetcd"
_NAME_MAX: Final = 64
_USAGES: Final = {
    Role.SERVER: (ExtendedKeyUsageOID.SERVER_AUTH,),
    Role.PEER: (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    Role.CLIENT: (ExtendedKeyUsageOID.CLIENT_AUTH,),
}


@dataclass(frozen=True, slots=True)
class CertifiedKey:
    """A certificate and its private key, both PEM; the key never shows in a representation."""

    certificate: bytes
    key: bytes = field(repr=False)


def create_authority(purpose: str, *, now: datetime, profile: Profile) -> CertifiedKey:
    """Make a CA that signs leaves and nothing below them.

    Args:
        purpose: ``peer`` or ``client``, for its name.
        now: the time.
        profile: how long it lasts.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # The CA's name says which of several it is, to people and to OpenSSL's search by name.
    name = _name(f"trioetcd {purpose} CA {identifier.digest[:4].hex()}")
    start = now - BACKDATE
    certificate = (
        _builder(name, name, key, start, now + timedelta(days=profile.authority_days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    return _certified(certificate, key)


def issue(
    authority: CertifiedKey,
    role: Role,
    common_name: str,
    *,
    hosts: Sequence[str] = (),
    now: datetime,
    profile: Profile,
) -> CertifiedKey:
    """Make a key and have the authority sign its certificate.

    Args:
        authority: the CA with its key.
        role: decides the usages and the lifetime.
        common_name: for a client the user it logs in as; for a member its name.
        hosts: names and addresses it may be reached by; none for a client.
        now: the time.
        profile: how long it lasts; never longer than its CA.

    Raises:
        PkiError: the CA is none, or has ended; a name that a certificate cannot carry.
    """
    names = tuple(dict.fromkeys(_general_name(host) for host in hosts))
    return _sign(authority, role, common_name, names, now=now, profile=profile)


def renew(
    authority: CertifiedKey,
    role: Role,
    certificate: bytes,
    *,
    hosts: Sequence[str] = (),
    now: datetime,
    profile: Profile,
) -> CertifiedKey:
    """Make the successor of a certificate: its names and `hosts`, a new key, a new lifetime.

    Raises:
        PkiError: as `issue`, and when the old certificate cannot be read.
    """
    old = read_certificates(certificate, "the certificate to renew")[0]
    common_names = old.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    try:
        kept = tuple(old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        kept = ()
    names = tuple(dict.fromkeys((*kept, *(_general_name(host) for host in hosts))))
    common_name = str(common_names[0].value) if common_names else role.value
    return _sign(authority, role, common_name, names, now=now, profile=profile)


def revocation_list(
    authority: CertifiedKey,
    *,
    now: datetime,
    serials: Sequence[int] = (),
) -> bytes:
    """Make the CA's revocation list (PEM); it is in force as long as the CA.

    Raises:
        PkiError: the CA cannot be read.
    """
    issuer, key = _read_authority(authority, now)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - BACKDATE)
        .next_update(issuer.not_valid_after_utc)
        .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
        .add_extension(_authority_identifier(issuer), critical=False)
    )
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _sign(
    authority: CertifiedKey,
    role: Role,
    common_name: str,
    names: tuple[x509.GeneralName, ...],
    *,
    now: datetime,
    profile: Profile,
) -> CertifiedKey:
    issuer, issuer_key = _read_authority(authority, now)
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now + profile.lifetime(role), issuer.not_valid_after_utc)
    start = max(now - BACKDATE, issuer.not_valid_before_utc)
    builder = (
        _builder(_name(common_name), issuer.subject, key, start, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_USAGES[role]), critical=False)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
            critical=False,
        )
        .add_extension(_authority_identifier(issuer), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return _certified(builder.sign(issuer_key, hashes.SHA256()), key)


def _read_authority(
    authority: CertifiedKey,
    now: datetime,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate = read_certificates(authority.certificate, "the CA")[0]
    key = read_key(authority.key, "the CA's key file")
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PkiError("the CA's key is not an EC key, so this CA was not made here")
    if key.public_key() != certificate.public_key():
        raise PkiError("the CA's key does not belong to its certificate")
    if now >= certificate.not_valid_after_utc:
        raise PkiError(
            f"the CA ended on {certificate.not_valid_after_utc:%Y-%m-%d}; make a new one"
        )
    return certificate, key


def _authority_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        raise PkiError("the CA carries no key identifier, so this CA was not made here") from None
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    start: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())  # 159 random bits
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    if not 1 <= len(common_name) <= _NAME_MAX or not common_name.isprintable():
        raise PkiError(
            f"{common_name!r} cannot be a certificate's common name: it must be printable and "
            f"have 1 to {_NAME_MAX} characters",
        )
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host.encode("idna").decode("ascii").lower())
    except UnicodeError:
        raise PkiError(f"{host!r} is neither an address nor a host name") from None


def _certified(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> CertifiedKey:
    return CertifiedKey(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
