"""Making certificates: a CA, and what it signs.

EC P-256 with SHA-256 unless told otherwise; random serials of 159 bits; extensions as OpenSSL's
strict profile wants them. A new key is drawn for every certificate, also on renewal. A CA made
elsewhere signs too, whatever its key.

Every leaf says in a URI among its names what it is: ``trioetcd://cluster/role/name``. The
cluster's name is the organization of the CA that signs.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trioetcd.pki.chain import is_authority
from trioetcd.pki.key import KeyKind, check_public_key, create_key, key_bytes, kind_of, signing_hash
from trioetcd.pki.pem import PrivateKey, public_bytes, read_certificates, read_key
from trioetcd.pki.profile import BACKDATE, PkiError, Profile, Role

__all__ = [
    "CLUSTER",
    "CertifiedKey",
    "authority_identifier",
    "certify",
    "create_authority",
    "general_name",
    "issue",
    "names_of",
    "read_authority",
    "renew",
    "role_uri",
]

CLUSTER: Final = "trioetcd"
"""The cluster's name where nobody gave one."""

_NAME_MAX: Final = 64
_CLUSTER_FORM: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_SCHEME: Final = "trioetcd"
_ALTERNATIVE: Final = x509.SubjectAlternativeName
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


def create_authority(
    purpose: str,
    *,
    now: datetime,
    profile: Profile,
    cluster: str = CLUSTER,
) -> CertifiedKey:
    """Make a CA that signs leaves and nothing below them.

    Args:
        purpose: ``peer`` or ``client``, for its name.
        now: the time.
        profile: how long it lasts.
        cluster: whose CA it is; letters, digits, ``-``, ``_`` and dots between them.

    Raises:
        PkiError: the cluster's name is none.
    """
    if not _CLUSTER_FORM.fullmatch(cluster) or len(cluster) > _NAME_MAX:
        raise PkiError(
            f"{cluster!r} cannot be a cluster's name: use letters, digits, '-' and '_', dots "
            f"between them, at most {_NAME_MAX} of all"
        )
    key = create_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # The CA's name says which of several it is, to people and to OpenSSL's search by name.
    name = _name(f"trioetcd {purpose} CA {identifier.digest[:4].hex()}", cluster)
    start = now - BACKDATE
    certificate = (
        _builder(name, name, key.public_key(), start, now + timedelta(days=profile.authority_days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(key, signing_hash(key))
    )
    return CertifiedKey(certificate.public_bytes(serialization.Encoding.PEM), key_bytes(key))


def issue(
    authority: CertifiedKey,
    role: Role,
    common_name: str,
    *,
    hosts: Sequence[str] = (),
    now: datetime,
    profile: Profile,
    days: int | None = None,
    kind: KeyKind = KeyKind.EC_P256,
) -> CertifiedKey:
    """Make a key and have the authority sign its certificate.

    Args:
        authority: the CA with its key.
        role: decides the usages and the lifetime.
        common_name: for a client the user it logs in as; for a member its name.
        hosts: names and addresses it may be reached by; none for a client.
        now: the time.
        profile: how long it lasts, as far as its CA does.
        days: how long it lasts instead; an error if its CA ends before.
        kind: of the key.

    Raises:
        PkiError: the CA is none, or has ended; a name that a certificate cannot carry.
    """
    names = tuple(general_name(host) for host in hosts)
    read_authority(authority, now)  # before a key is drawn for nothing
    key = create_key(kind)
    certificate = certify(
        authority,
        role,
        key.public_key(),
        common_name,
        names,
        now=now,
        profile=profile,
        days=days,
    )
    return CertifiedKey(certificate, key_bytes(key))


def renew(
    authority: CertifiedKey,
    role: Role,
    certificate: bytes,
    *,
    hosts: Sequence[str] = (),
    now: datetime,
    profile: Profile,
) -> CertifiedKey:
    """Make the successor of a certificate: its names and `hosts`, a new key of the same kind.

    Raises:
        PkiError: as `issue`, and when the old certificate cannot be read.
    """
    old = read_certificates(certificate, "the certificate to renew")[0]
    common_names = old.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    names = (*names_of(old), *(general_name(host) for host in hosts))
    common_name = str(common_names[0].value) if common_names else role.value
    key = create_key(kind_of(old.public_key()))
    made = certify(authority, role, key.public_key(), common_name, names, now=now, profile=profile)
    return CertifiedKey(made, key_bytes(key))


def certify(
    authority: CertifiedKey,
    role: Role,
    public_key: CertificatePublicKeyTypes,
    common_name: str,
    names: Sequence[x509.GeneralName],
    *,
    now: datetime,
    profile: Profile,
    days: int | None = None,
) -> bytes:
    """Sign a certificate (PEM) for a public key.

    Args:
        authority: the CA with its key.
        role: decides the usages and the lifetime.
        public_key: of the one whose certificate it is.
        common_name: for a client the user it logs in as; for a member its name.
        names: alternative names; the role's own URI is put to them.
        now: the time.
        profile: how long it lasts, as far as its CA does.
        days: how long it lasts instead; an error if its CA ends before.

    Raises:
        PkiError: the CA is none, or has ended; a name or key that a certificate cannot carry.
    """
    issuer, issuer_key = read_authority(authority, now)
    check_public_key(public_key, f"the {role.value} {common_name}")
    end = now + (profile.lifetime(role) if days is None else timedelta(days=days))
    if days is not None and end > issuer.not_valid_after_utc:
        left = (issuer.not_valid_after_utc - now).days
        raise PkiError(
            f"{days} days are more than its CA has left, which ends on "
            f"{issuer.not_valid_after_utc:%Y-%m-%d}; give at most {left} days, or make a new CA"
        )
    cluster = _cluster_of(issuer)
    own = x509.UniformResourceIdentifier(role_uri(cluster, role, common_name))
    kept = [name for name in names if not _is_role_uri(name)]
    certificate = (
        _builder(
            _name(common_name, cluster),
            issuer.subject,
            public_key,
            max(now - BACKDATE, issuer.not_valid_before_utc),
            min(end, issuer.not_valid_after_utc),
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_USAGES[role]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(authority_identifier(issuer), critical=False)
        .add_extension(_ALTERNATIVE(dict.fromkeys((*kept, own))), critical=False)
        .sign(issuer_key, signing_hash(issuer_key))
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def role_uri(cluster: str, role: Role, name: str) -> str:
    """Give the URI that says what a leaf is."""
    return f"{_SCHEME}://{cluster}/{role.value}/{quote(name, safe='')}"


def names_of(certificate: x509.Certificate) -> tuple[x509.GeneralName, ...]:
    """Give the alternative names of a certificate."""
    try:
        return tuple(certificate.extensions.get_extension_for_class(_ALTERNATIVE).value)
    except x509.ExtensionNotFound:
        return ()


def read_authority(
    authority: CertifiedKey,
    now: datetime,
) -> tuple[x509.Certificate, PrivateKey]:
    """Give a CA's certificate and key, if it may sign.

    Raises:
        PkiError: it is no CA, has ended, or the key is not its own.
    """
    certificate = read_certificates(authority.certificate, "the CA")[0]
    key = read_key(authority.key, "the CA's key file")
    if public_bytes(key) != public_bytes(certificate):
        raise PkiError("the CA's key does not belong to its certificate")
    if not is_authority(certificate):
        raise PkiError(
            f"{certificate.subject.rfc4514_string()} is no CA: its certificate does not say so"
        )
    if now >= certificate.not_valid_after_utc:
        raise PkiError(
            f"the CA ended on {certificate.not_valid_after_utc:%Y-%m-%d}; make a new one"
        )
    return certificate, key


def authority_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Give what leads from a leaf or a list to its CA, also where the CA does not name its key."""
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        identifier = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _cluster_of(issuer: x509.Certificate) -> str:
    organizations = issuer.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    name = str(organizations[0].value) if organizations else ""
    return name if _CLUSTER_FORM.fullmatch(name) else CLUSTER


def _is_role_uri(name: x509.GeneralName) -> bool:
    """Say whether a name is a role's: nobody has one but the CA gives it."""
    return isinstance(name, x509.UniformResourceIdentifier) and name.value.lower().startswith(
        f"{_SCHEME}:"
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificatePublicKeyTypes,
    start: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
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


def _name(common_name: str, cluster: str) -> x509.Name:
    if not 1 <= len(common_name) <= _NAME_MAX or not common_name.isprintable():
        raise PkiError(
            f"{common_name!r} cannot be a certificate's common name: it must be printable and "
            f"have 1 to {_NAME_MAX} characters",
        )
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def general_name(host: str) -> x509.GeneralName:
    """Give an address or a host's name as an alternative name.

    Raises:
        PkiError: it is neither.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host.encode("idna").decode("ascii").lower())
    except UnicodeError:
        raise PkiError(f"{host!r} is neither an address nor a host name") from None
