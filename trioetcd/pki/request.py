"""Signing requests (PKCS #10, RFC 2986): a key stays where it was made, only its public half goes.

A request asks; the one who signs decides. Taken from it are the public key, the common name, and
for members the names and addresses. Never taken: the rights of a CA, usages, an organization,
URIs; those are the role's and the CA's to give.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from trioetcd.pki.authority import CertifiedKey, certify, general_name
from trioetcd.pki.key import KeyKind, check_public_key, create_key, key_bytes, signing_hash
from trioetcd.pki.pem import UNREADABLE
from trioetcd.pki.profile import PkiError, Profile, Role

__all__ = ["SigningRequest", "create_request", "hosts_to_sign", "read_request", "sign_request"]


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """What a request asks for.

    Attributes:
        common_name: may be empty.
        hosts: names and addresses.
        key: its kind, in words.
        fingerprint: SHA-256 of the public key (DER), hexadecimal: to compare by telephone.
        left_out: what else it asks for and does not get, in words.
    """

    common_name: str
    hosts: tuple[str, ...]
    key: str
    fingerprint: str
    left_out: tuple[str, ...]


def create_request(
    common_name: str,
    *,
    hosts: Sequence[str] = (),
    kind: KeyKind = KeyKind.EC_P256,
) -> tuple[bytes, bytes]:
    """Draw a key and make the request for its certificate.

    Args:
        common_name: for a client the user it logs in as; for a member its name.
        hosts: names and addresses it may be reached by; none for a client.
        kind: of the key.

    Returns:
        The request and the private key, both PEM.

    Raises:
        PkiError: a name that a certificate cannot carry.
    """
    names = [general_name(host) for host in hosts]
    key = create_key(kind)
    try:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    except ValueError:
        raise PkiError(f"{common_name!r} cannot be a common name: 1 to 64 characters") from None
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    request = builder.sign(key, signing_hash(key))
    return request.public_bytes(serialization.Encoding.PEM), key_bytes(key)


def read_request(data: bytes, what: str) -> SigningRequest:
    """Say what a request (PEM) asks for.

    Raises:
        PkiError: it cannot be read, is not signed by its own key, or has a key too weak.
    """
    request = _load(data, what)
    return SigningRequest(
        _common_name(request),
        tuple(_hosts(request)),
        check_public_key(request.public_key(), what),
        _digest(request),
        tuple(_left_out(request)),
    )


def sign_request(
    authority: CertifiedKey,
    role: Role,
    data: bytes,
    *,
    what: str,
    name: str = "",
    hosts: Sequence[str] = (),
    now: datetime,
    profile: Profile,
    days: int | None = None,
) -> bytes:
    """Sign the certificate (PEM) that a request asks for.

    Args:
        authority: the CA with its key.
        role: what the certificate is for; the request has no say in it.
        data: the request, PEM.
        what: how messages call it, such as its file's name.
        name: the common name instead of the request's.
        hosts: names and addresses instead of the request's; a client gets none but these.
        now: the time.
        profile: how long it lasts, as far as its CA does.
        days: how long it lasts instead; an error if its CA ends before.

    Raises:
        PkiError: as `read_request` and `trioetcd.pki.issue`.
    """
    request = _load(data, what)
    given = hosts_to_sign(role, tuple(_hosts(request)), hosts)
    return certify(
        authority,
        role,
        request.public_key(),
        name or _common_name(request),
        [general_name(host) for host in given],
        now=now,
        profile=profile,
        days=days,
    )


def hosts_to_sign(role: Role, asked: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
    """Say which names and addresses a certificate gets: those given, else a member's own wish."""
    if given:
        return tuple(given)
    return () if role is Role.CLIENT else tuple(asked)


def _load(data: bytes, what: str) -> x509.CertificateSigningRequest:
    if b"CERTIFICATE REQUEST-----" not in data:
        raise PkiError(f"{what} holds no signing request in PEM form")
    try:
        request = x509.load_pem_x509_csr(data)
        _ = (request.subject, request.extensions, request.public_key())
        genuine = request.is_signature_valid
        _ = [str(name) for name in _alternative(request)]
    except UNREADABLE:
        raise PkiError(f"{what} holds a damaged signing request; have it made anew") from None
    if not genuine:
        raise PkiError(f"{what} is not signed by the key it names; have it made anew")
    return request


def _common_name(request: x509.CertificateSigningRequest) -> str:
    names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def _alternative(request: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    try:
        return list(request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _hosts(request: x509.CertificateSigningRequest) -> list[str]:
    return [
        str(name.value)
        for name in _alternative(request)
        if isinstance(name, x509.DNSName)
        or (
            isinstance(name, x509.IPAddress)
            and isinstance(name.value, ipaddress.IPv4Address | ipaddress.IPv6Address)
        )
    ]


def _left_out(request: x509.CertificateSigningRequest) -> list[str]:
    said = [
        f"{part.rfc4514_attribute_name}={part.value!s} in its subject"
        for part in request.subject
        if part.oid != NameOID.COMMON_NAME
    ]
    said += [
        f"the name {name.value!s}"
        for name in _alternative(request)
        if not isinstance(name, x509.DNSName | x509.IPAddress)
    ]
    for extension in request.extensions:
        value = extension.value
        if isinstance(value, x509.SubjectAlternativeName):
            continue
        if isinstance(value, x509.BasicConstraints) and value.ca:
            said.append("the rights of a CA")
        elif isinstance(value, x509.KeyUsage | x509.ExtendedKeyUsage):
            said.append("usages of its own choice")
        elif not isinstance(value, x509.BasicConstraints | x509.SubjectKeyIdentifier):
            said.append(f"the extension {extension.oid.dotted_string}")
    return list(dict.fromkeys(said))


def _digest(request: x509.CertificateSigningRequest) -> str:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(
        request.public_key().public_bytes(
            serialization.Encoding.DER,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
    )
    return digest.finalize().hex()
