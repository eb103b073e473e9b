"""Parse and verify a certificate with its key and CA before anything listens with it.

The chain is checked by signatures, names, dates and the CA mark, not by a strict profile: plain
``openssl`` certificates pass. Each failure is one sentence that says which check failed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trioetcd.pki.chain import is_authority, signed_by
from trioetcd.pki.pem import public_bytes, read_certificates, read_key
from trioetcd.pki.profile import PkiError, Role, renewal_due

__all__ = [
    "Bundle",
    "check_chain",
    "check_dates",
    "check_usages",
    "covers",
    "hosts_of",
    "uncovered_hosts",
    "verify",
    "verify_trust",
]

_DEPTH_MAX: Final = 8
_RSA_BITS_MIN: Final = 2048


@dataclass(frozen=True, slots=True)
class Bundle:
    """A certificate that may be used: everything about it was checked.

    Attributes:
        role: what it was checked for.
        chain: PEM, leaf first.
        key: PEM; never shown.
        common_name: of the leaf.
        hosts: names and addresses of the leaf.
        not_before: when the leaf begins.
        not_after: when the first certificate of the chain ends.
        fingerprint: SHA-256 of the leaf, hexadecimal.
    """

    role: Role
    chain: bytes
    key: bytes = field(repr=False)
    common_name: str
    hosts: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    fingerprint: str

    def renewal_due(self, now: datetime) -> bool:
        """Say whether two thirds of the lifetime have passed."""
        return renewal_due(not_before=self.not_before, not_after=self.not_after, now=now)


def verify(
    role: Role,
    *,
    chain: bytes,
    key: bytes,
    now: datetime,
    issuers: bytes | None = None,
    what: str = "",
) -> Bundle:
    """Check a certificate and give it as a `Bundle`.

    Args:
        role: decides the usages it must allow.
        chain: PEM, the leaf first, then what leads to its CA.
        key: PEM, not encrypted.
        now: the time.
        issuers: PEM of the CAs of which one must have signed it; None leaves that unchecked
            (a server's certificate may be signed by a CA that only clients know).
        what: how messages call it, such as its file's name.

    Raises:
        PkiError: one check failed; the sentence says which.
    """
    what = what or f"the {role.value} certificate"
    certificates = read_certificates(chain, what)
    leaf = certificates[0]
    private = read_key(key, f"the key of {what}")
    if public_bytes(leaf) != public_bytes(private):
        raise PkiError(f"the key does not belong to {what}")
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size < _RSA_BITS_MIN:
        raise PkiError(f"{what} has an RSA key of {private.key_size} bits; 2048 is the least")
    for certificate in certificates:
        check_dates(certificate, now, what if certificate is leaf else f"an issuer in {what}")
    try:
        check_usages(leaf, role, what)
        hosts = hosts_of(leaf)
        if issuers is not None:
            check_chain(certificates, read_certificates(issuers, f"the CA of {what}"), what)
    except ValueError:  # cryptography parses extensions when they are looked at
        raise PkiError(f"{what} has damaged extensions; put a whole copy back") from None
    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Bundle(
        role=role,
        chain=b"".join(
            certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates
        ),
        key=key,
        common_name=str(names[0].value) if names else "",
        hosts=hosts,
        not_before=leaf.not_valid_before_utc,
        not_after=min(certificate.not_valid_after_utc for certificate in certificates),
        fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
    )


def verify_trust(data: bytes, *, now: datetime, what: str) -> bytes:
    """Check a file of CAs and give the usable ones as PEM; ended ones are left out.

    Raises:
        PkiError: none is usable, or one is no CA.
    """
    usable = []
    for certificate in read_certificates(data, what):
        if not is_authority(certificate):
            name = certificate.subject.rfc4514_string()
            raise PkiError(f"{what} holds {name}, which is no CA")
        if certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
            usable.append(certificate.public_bytes(serialization.Encoding.PEM))
    if not usable:
        raise PkiError(f"{what} holds no CA that is valid now")
    return b"".join(usable)


def uncovered_hosts(bundle: Bundle, hosts: Sequence[str]) -> tuple[str, ...]:
    """Give those of `hosts` for which the certificate does not stand: clients would refuse."""
    return tuple(host for host in hosts if not any(covers(name, host) for name in bundle.hosts))


def covers(name: str, host: str) -> bool:
    """Say whether a name or address in a certificate, such as ``*.a.org``, stands for a host."""
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(host)
    except ValueError:
        pass
    name, host = name.lower().rstrip("."), host.lower().rstrip(".")
    if name.startswith("*."):
        return host.partition(".")[2] == name[2:]
    return name == host


def hosts_of(leaf: x509.Certificate) -> tuple[str, ...]:
    """Give the names and addresses that a certificate stands for."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = names.get_values_for_type(x509.IPAddress)
    return (*names.get_values_for_type(x509.DNSName), *map(str, addresses))


def check_dates(certificate: x509.Certificate, now: datetime, what: str) -> None:
    """Check that a certificate has begun and not ended.

    Raises:
        PkiError: it has not, or has.
    """
    if now < certificate.not_valid_before_utc:
        start = certificate.not_valid_before_utc
        raise PkiError(
            f"{what} is not valid before {start:%Y-%m-%d %H:%M} UTC; is the clock right?"
        )
    if now >= certificate.not_valid_after_utc:
        raise PkiError(f"{what} ended on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")


def check_usages(leaf: x509.Certificate, role: Role, what: str) -> None:
    """Check that a certificate may be used for a role.

    Raises:
        PkiError: it lacks a usage.
    """
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usages = None  # no list of usages means every usage
    if usages is not None and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in usages:
        for needed, oid, word in (
            (role.serves, ExtendedKeyUsageOID.SERVER_AUTH, "serverAuth"),
            (role.dials, ExtendedKeyUsageOID.CLIENT_AUTH, "clientAuth"),
        ):
            if needed and oid not in usages:
                raise PkiError(f"{what} lacks the usage {word}, which a {role.value} needs")
    try:
        signs = leaf.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        signs = True
    if not signs:
        raise PkiError(f"{what} may not be used for signatures, without which there is no TLS")


def check_chain(
    certificates: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    what: str,
) -> None:
    """Check that one of the anchors has signed the first certificate, maybe through the others.

    Raises:
        PkiError: none has.
    """
    current = certificates[0]
    for _ in range(_DEPTH_MAX):
        if any(current == anchor or signed_by(current, anchor) for anchor in anchors):
            return
        above = [candidate for candidate in certificates[1:] if signed_by(current, candidate)]
        if not above or above[0] == current:
            break
        current = above[0]
    issuer = current.issuer.rfc4514_string()
    raise PkiError(f"{what} is not signed by its CA: the CA file holds no {issuer}")
