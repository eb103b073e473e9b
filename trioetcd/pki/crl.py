"""Certificate revocation lists (CRLs): read, verified, and asked for a serial (RFC 5280, 5).

A certificate is revoked only by a list of the very CA that signed it, told by name *and* key: two
CAs may have one name, and serials mean something only beside their CA.

What a set does with a list that is not as it should be:

=============================  ===================================================================
a signature that is wrong      the whole set is refused; whoever holds an older one keeps it
damaged, cut off, a delta      likewise
past its ``nextUpdate``        used on, with a warning: an outage because nobody renewed a list is
                               the classic, and what it revokes stays revoked
before its ``thisUpdate``      used, with a warning: the clock may be wrong
of a CA that is not trusted    left out, with a warning: it could revoke nobody who is let in, and
                               it must not hold up the day on which an old CA is forgotten
=============================  ===================================================================

Of several lists of one CA each counts: what one revokes is revoked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from trioetcd.pki.chain import authority_mark, signed_by
from trioetcd.pki.pem import UNREADABLE, read_certificate, read_certificates
from trioetcd.pki.profile import PkiError

__all__ = ["NO_LISTS", "Crl", "CrlSet", "read_lists", "verify_lists"]

_PEM: Final = re.compile(
    rb"-----BEGIN X509 CRL-----\s.*?-----END X509 CRL-----(?=\s|$)",
    re.DOTALL,
)
_PEM_BEGIN: Final = b"-----BEGIN X509 CRL"
_SEQUENCE: Final = 0x30
_LONG_LENGTH: Final = 0x80
_KEY_TYPES: Final = (
    ec.EllipticCurvePublicKey,
    rsa.RSAPublicKey,
    ed25519.Ed25519PublicKey,
    ed448.Ed448PublicKey,
    dsa.DSAPublicKey,
)
_UNDERSTOOD: Final = (x509.AuthorityKeyIdentifier, x509.CRLNumber, x509.IssuingDistributionPoint)


@dataclass(frozen=True, slots=True)
class Crl:
    """One verified list.

    Attributes:
        issuer: the CA's name, as RFC 4514 writes it.
        authority: which CA that is, name and key (`authority_mark`).
        number: it grows with each list of the CA; None where the CA does not count.
        this_update: when it was made.
        next_update: when a newer one should be there; None if the list does not say.
        serials: what is revoked, and since when.
    """

    issuer: str
    authority: bytes
    number: int | None
    this_update: datetime
    next_update: datetime | None
    serials: Mapping[int, datetime]


@dataclass(frozen=True, slots=True)
class CrlSet:
    """The verified lists of a file or of several.

    Attributes:
        lists: in the order of the files.
        warnings: sentences about lists that were left out, are outdated or not yet in force.
    """

    lists: tuple[Crl, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def next_update(self) -> datetime | None:
        """When the first of the lists is outdated; None if none says."""
        return min((crl.next_update for crl in self.lists if crl.next_update), default=None)

    def revoked_since(self, authority: bytes, serial: int) -> datetime | None:
        """Say since when a CA's certificate is revoked; None if it is not.

        Args:
            authority: the mark of the CA that signed it (`authority_mark`).
            serial: of the certificate.
        """
        for crl in self.lists:
            if crl.authority == authority and serial in crl.serials:
                return crl.serials[serial]
        return None

    def find(self, der: bytes, *, trust: bytes) -> datetime | None:
        """Say since when a certificate (DER) is revoked by the one of the CAs that signed it.

        Args:
            der: the certificate.
            trust: PEM of the CAs.

        Returns:
            None if it is not revoked, or none of the CAs signed it.

        Raises:
            PkiError: something cannot be read.
        """
        certificate = read_certificate(der, "the certificate")
        for authority in read_certificates(trust, "the CA"):
            since = self.revoked_since(authority_mark(authority), certificate.serial_number)
            if since is not None and signed_by(certificate, authority):
                return since
        return None


NO_LISTS: Final = CrlSet()
"""Nobody is revoked."""


def read_lists(data: bytes, what: str) -> tuple[x509.CertificateRevocationList, ...]:
    """Give the lists of a file, PEM or DER, one or several; nothing about them is verified.

    Args:
        data: the file's contents.
        what: how messages call it, such as its name.

    Raises:
        PkiError: there are none, or one cannot be read.
    """
    try:
        if _PEM_BEGIN in data:
            blocks = _PEM.findall(data)
            if len(blocks) != data.count(_PEM_BEGIN):
                raise PkiError(f"{what} is cut off: a list in it has no end; put a whole copy back")
            lists = tuple(x509.load_pem_x509_crl(block) for block in blocks)
        else:
            lists = tuple(x509.load_der_x509_crl(piece) for piece in _pieces(data, what))
        for crl in lists:  # the library parses when a part is first looked at
            _ = (crl.issuer, crl.extensions, crl.signature_hash_algorithm)
    except UNREADABLE:
        raise PkiError(f"{what} holds a damaged revocation list; put a whole copy back") from None
    if not lists:
        raise PkiError(f"{what} holds no revocation list, neither in PEM nor in DER form")
    return lists


def verify_lists(data: bytes, *, trust: bytes, now: datetime, what: str) -> CrlSet:
    """Check the lists of a file: signature, issuer, dates, and that all of it is understood.

    Args:
        data: the file's contents, PEM or DER, one list or several.
        trust: PEM of the CAs whose certificates the lists may revoke.
        now: the time.
        what: how messages call it, such as its name.

    Raises:
        PkiError: one list is damaged or forged; the sentence says which check failed.
    """
    authorities = read_certificates(trust, "the CA file")
    verified: list[Crl] = []
    warnings: list[str] = []
    for crl in read_lists(data, what):
        name = crl.issuer.rfc4514_string()
        candidates = [authority for authority in authorities if _may_be_of(crl, authority)]
        if not candidates:
            warnings.append(f"{what}: the list of {name} is left out: that CA is not trusted here")
            continue
        for authority in candidates:
            if _is_signed_by(crl, authority):
                break
        else:
            raise PkiError(f"{what}: the signature on the list of {name} is not that CA's")
        _check_understood(crl, what, name)
        verified.append(_value(crl, authority, what))
        warnings += _dated(verified[-1], now, what)
    return CrlSet(tuple(verified), tuple(warnings))


def _value(crl: x509.CertificateRevocationList, authority: x509.Certificate, what: str) -> Crl:
    try:
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        number = None
    try:
        serials = {entry.serial_number: entry.revocation_date_utc for entry in crl}
    except UNREADABLE:
        raise PkiError(f"{what} holds a damaged revocation list; put a whole copy back") from None
    return Crl(
        crl.issuer.rfc4514_string(),
        authority_mark(authority),
        number,
        crl.last_update_utc,
        crl.next_update_utc,
        serials,
    )


def _dated(crl: Crl, now: datetime, what: str) -> Iterator[str]:
    if crl.next_update is not None and now >= crl.next_update:
        yield (
            f"{what}: the list of {crl.issuer} is outdated since "
            f"{crl.next_update:%Y-%m-%d %H:%M} UTC and is used on; put a new one in its place"
        )
    if now < crl.this_update:
        yield (
            f"{what}: the list of {crl.issuer} is of {crl.this_update:%Y-%m-%d %H:%M} UTC, which "
            "is yet to come; is the clock right?"
        )


def _may_be_of(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    """Say whether a CA could have made a list: by its name, and its key's name where told."""
    if authority.subject != crl.issuer:
        return False
    try:
        told = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return True
    return told.key_identifier is None or told.key_identifier == own.digest


def _is_signed_by(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    try:
        if not authority.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign:
            return False
    except x509.ExtensionNotFound:
        pass  # plain CAs list no usages, which means every usage
    key = authority.public_key()
    if not isinstance(key, _KEY_TYPES):
        return False
    try:
        return crl.is_signature_valid(key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _check_understood(crl: x509.CertificateRevocationList, what: str, name: str) -> None:
    """Refuse a list that means something else than what is read here (RFC 5280, 5.2)."""
    for extension in crl.extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            raise PkiError(f"{what}: the list of {name} is a delta; a whole list is needed")
        if isinstance(value, x509.IssuingDistributionPoint) and value.indirect_crl:
            raise PkiError(f"{what}: the list of {name} speaks for other CAs, which is not taken")
        if extension.critical and not isinstance(value, _UNDERSTOOD):
            oid = extension.oid.dotted_string
            raise PkiError(f"{what}: the list of {name} has the critical extension {oid}, unknown")


def _pieces(data: bytes, what: str) -> Sequence[bytes]:
    """Split DER values that stand one behind the other."""
    pieces = []
    start = 0
    while start < len(data):
        end = _end_of(data, start)
        if end is None:
            break
        pieces.append(data[start:end])
        start = end
    if data[start:].strip():
        if pieces or data[:1] == bytes([_SEQUENCE]):
            raise PkiError(f"{what} is cut off or damaged; put a whole copy back")
        return []
    return pieces


def _end_of(data: bytes, start: int) -> int | None:
    """Give where the DER SEQUENCE at `start` ends; None if there is none, or not all of it."""
    if data[start] != _SEQUENCE or start + 2 > len(data):
        return None
    length, body = data[start + 1], start + 2
    if length >= _LONG_LENGTH:
        body += length - _LONG_LENGTH
        length = int.from_bytes(data[start + 2 : body], "big")
    end = body + length
    return end if end <= len(data) else None
