"""Making revocation lists (RFC 5280, 5); `crl` reads and checks them.

A list names every certificate of one CA that was revoked and when a newer list is due. Its number
grows with every list, by the clock where an index was lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from trioetcd.pki.authority import CertifiedKey, authority_identifier, read_authority
from trioetcd.pki.chain import authority_mark
from trioetcd.pki.index import Index
from trioetcd.pki.key import signing_hash
from trioetcd.pki.profile import BACKDATE, PkiError

__all__ = ["LIST_DAYS", "RevocationReason", "revocation_list", "sign_list"]

LIST_DAYS: Final = 30
"""Days until a newer list is due."""


class RevocationReason(Enum):
    """Why a certificate is revoked; the value is RFC 5280's name of it."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"


_UNTOLD: Final = RevocationReason.UNSPECIFIED.value


def revocation_list(
    authority: CertifiedKey,
    *,
    now: datetime,
    serials: Sequence[int] = (),
) -> bytes:
    """Make the CA's revocation list (PEM); it is in force as long as the CA.

    Raises:
        PkiError: the CA cannot be read, or may sign no lists.
    """
    issuer, _ = read_authority(authority, now)
    revoked = [_entry(serial, now, _UNTOLD) for serial in serials]
    return _sign(authority, revoked, int(now.timestamp()), issuer.not_valid_after_utc, now)


def sign_list(
    authority: CertifiedKey,
    index: Index,
    *,
    now: datetime,
    days: int | None = LIST_DAYS,
) -> tuple[bytes, Index]:
    """Make the list (PEM) of what the index says was revoked of this CA.

    Args:
        authority: the CA with its key.
        index: what it issued; rows of other CAs are left out.
        now: the time.
        days: until a newer list is due; never after the CA's end, None for that.

    Returns:
        The list, and the index with the list's number.

    Raises:
        PkiError: the CA cannot be read, or may sign no lists.
    """
    issuer, _ = read_authority(authority, now)
    mark = authority_mark(issuer).hex()
    number = max(index.crl_number + 1, int(now.timestamp()))
    revoked = [
        _entry(row.serial, row.revoked, row.reason)
        for row in index.issued
        if row.authority == mark and row.revoked is not None
    ]
    due = issuer.not_valid_after_utc
    if days is not None:
        due = min(now + timedelta(days=days), due)
    return _sign(authority, revoked, number, due, now), replace(index, crl_number=number)


def _sign(
    authority: CertifiedKey,
    revoked: Sequence[x509.RevokedCertificate],
    number: int,
    due: datetime,
    now: datetime,
) -> bytes:
    issuer, key = read_authority(authority, now)
    if not _may_sign_lists(issuer):
        raise PkiError(
            f"{issuer.subject.rfc4514_string()} may sign no revocation lists: its key usage lacks "
            f"cRLSign; what it signed can only be shut out by a new CA"
        )
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - BACKDATE)
        .next_update(due)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(authority_identifier(issuer), critical=False)
    )
    for entry in revoked:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, signing_hash(key)).public_bytes(serialization.Encoding.PEM)


def _may_sign_lists(issuer: x509.Certificate) -> bool:
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True  # no list of usages means every usage


def _entry(serial: int, since: datetime, reason: str) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since)
    if reason not in {"", _UNTOLD}:  # RFC 5280, 5.3.1: unspecified is left out
        builder = builder.add_extension(x509.CRLReason(_flag(reason)), critical=False)
    return builder.build()


def _flag(reason: str) -> x509.ReasonFlags:
    flags = {
        RevocationReason.KEY_COMPROMISE.value: x509.ReasonFlags.key_compromise,
        RevocationReason.AFFILIATION_CHANGED.value: x509.ReasonFlags.affiliation_changed,
        RevocationReason.SUPERSEDED.value: x509.ReasonFlags.superseded,
        RevocationReason.CESSATION_OF_OPERATION.value: x509.ReasonFlags.cessation_of_operation,
        RevocationReason.PRIVILEGE_WITHDRAWN.value: x509.ReasonFlags.privilege_withdrawn,
    }
    if reason not in flags:
        raise PkiError(f"the index has the reason {reason!r}, which is none of {sorted(flags)}")
    return flags[reason]
