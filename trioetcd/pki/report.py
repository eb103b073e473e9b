"""A certificate in words, for the command line and the log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from trioetcd.pki.crl import read_lists
from trioetcd.pki.key import describe_key
from trioetcd.pki.pem import UNREADABLE, read_certificate, read_certificates
from trioetcd.pki.profile import PkiError

__all__ = [
    "ListReport",
    "describe",
    "describe_lists",
    "fingerprint",
    "shared_certificates",
    "subject_and_serial",
]

_SUBJECT_MAX = 200
_USAGE_WORDS = {
    x509.oid.ExtendedKeyUsageOID.SERVER_AUTH: "server",
    x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH: "client",
}


def fingerprint(certificate: bytes) -> str:
    """Give the SHA-256 fingerprint of a certificate (PEM) as openssl prints it.

    Raises:
        PkiError: it cannot be read.
    """
    digest = read_certificates(certificate, "the certificate")[0].fingerprint(hashes.SHA256())
    return digest.hex(":").upper()


def describe(certificate: bytes, *, now: datetime) -> str:
    """Say in a few lines what a certificate (PEM) is, for whom, by whom and until when.

    Raises:
        PkiError: it cannot be read.
    """
    leaf = read_certificates(certificate, "the certificate")[0]
    end = leaf.not_valid_after_utc
    days = (end - now).days
    left = f"{days} days left" if days >= 0 else f"ended {-days} days ago"
    lines = [
        f"{leaf.subject.rfc4514_string()}",
        f"  signed by    {leaf.issuer.rfc4514_string()}",
        f"  valid        {leaf.not_valid_before_utc:%Y-%m-%d} to {end:%Y-%m-%d %H:%M} UTC, {left}",
        f"  use          {_use(leaf)}",
    ]
    names = _names(leaf)
    if names:
        lines.append(f"  names        {', '.join(names)}")
    lines.append(f"  key          {describe_key(leaf.public_key())}")
    lines.append(f"  serial       {leaf.serial_number:x}")
    lines.append(f"  fingerprint  {fingerprint(certificate)}")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class ListReport:
    """What a revocation list says; nothing about it is verified.

    Attributes:
        issuer: the CA's name, as RFC 4514 writes it.
        number: it grows with each list of the CA; None where the CA does not count.
        this_update: when it was made.
        next_update: when a newer one should be there; None if it does not say.
        entries: serial, since when, and why, of each revoked certificate.
    """

    issuer: str
    number: int | None
    this_update: datetime
    next_update: datetime | None
    entries: tuple[tuple[int, datetime, str], ...]


def describe_lists(data: bytes, what: str) -> tuple[ListReport, ...]:
    """Give what the revocation lists of a file say, PEM or DER.

    Raises:
        PkiError: there are none, or one cannot be read.
    """
    try:
        return tuple(_list_facts(each) for each in read_lists(data, what))
    except UNREADABLE:
        raise PkiError(f"{what} holds a damaged revocation list; put a whole copy back") from None


def _list_facts(crl: x509.CertificateRevocationList) -> ListReport:
    try:
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        number = None
    entries = tuple((each.serial_number, each.revocation_date_utc, _reason(each)) for each in crl)
    issuer = crl.issuer.rfc4514_string()
    return ListReport(issuer, number, crl.last_update_utc, crl.next_update_utc, entries)


def _reason(entry: x509.RevokedCertificate) -> str:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        return x509.ReasonFlags.unspecified.value


def subject_and_serial(der: bytes) -> tuple[str, str]:
    """Give whom a certificate (DER) is for, and its serial number as openssl writes it.

    For log lines about certificates that nobody has verified: the subject is cut short, and what
    cannot be read is empty.
    """
    try:
        certificate = read_certificate(der, "the certificate")
    except PkiError:
        return "", ""
    subject = certificate.subject.rfc4514_string()
    serial = f"{certificate.serial_number:X}"
    return subject[:_SUBJECT_MAX], serial.zfill(len(serial) + len(serial) % 2)


def shared_certificates(first: bytes, second: bytes) -> bool:
    """Say whether two PEM files have a certificate in common: one CA for two purposes.

    Raises:
        PkiError: one of them cannot be read.
    """
    ours = {item.fingerprint(hashes.SHA256()) for item in read_certificates(first, "a CA file")}
    theirs = {item.fingerprint(hashes.SHA256()) for item in read_certificates(second, "a CA file")}
    return bool(ours & theirs)


def _use(leaf: x509.Certificate) -> str:
    try:
        if leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return "certificate authority"
    except x509.ExtensionNotFound:
        pass
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return "any"
    return " and ".join(_USAGE_WORDS.get(usage, usage.dotted_string) for usage in usages)


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names]
