"""What a CA has issued and revoked, as the text of a file: so that a name can be revoked.

One index per CA file. A row is told from every other by its CA (`authority_mark`) and its serial.
The file is JSON; what is in it is no secret, but it says who there is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from trioetcd.pki.chain import authority_mark, signed_by
from trioetcd.pki.pem import read_certificates
from trioetcd.pki.profile import PkiError, Role

__all__ = ["Index", "Issued", "entry_of", "marks_of", "read_index", "write_index"]

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate that a CA has signed.

    Attributes:
        authority: which CA it was: the mark of `trioetcd.pki.chain`, hexadecimal.
        serial: its number.
        name: the common name.
        role: what it is for; empty where nobody knows.
        not_before: when it begins.
        not_after: when it ends.
        fingerprint: SHA-256 of the certificate, hexadecimal; empty where only the serial is known.
        revoked: since when it counts no more; None if it counts.
        reason: why it was revoked, as RFC 5280 calls it.
    """

    authority: str
    serial: int
    name: str
    role: str
    not_before: datetime
    not_after: datetime
    fingerprint: str
    revoked: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """What a CA file's CA, and those that stood there before it, have issued.

    Attributes:
        crl_number: of the newest revocation list; 0 before the first.
        issued: in the order in which they were made.
    """

    crl_number: int = 0
    issued: tuple[Issued, ...] = ()

    def with_issued(self, entry: Issued) -> Index:
        """Give the index with one more row; one that is there stays as it is."""
        if self.find(entry.authority, entry.serial) is not None:
            return self
        return replace(self, issued=(*self.issued, entry))

    def with_revoked(self, entry: Issued, *, now: datetime, reason: str) -> Index:
        """Give the index with a certificate revoked; when it was already, with that as it was."""
        known = self.find(entry.authority, entry.serial)
        if known is None:
            return replace(self, issued=(*self.issued, replace(entry, revoked=now, reason=reason)))
        if known.revoked is not None:
            return self
        changed = replace(known, revoked=now, reason=reason)
        return replace(self, issued=tuple(changed if row is known else row for row in self.issued))

    def find(self, authority: str, serial: int) -> Issued | None:
        """Give the row of a certificate; None if it is not there."""
        for row in self.issued:
            if row.serial == serial and row.authority == authority:
                return row
        return None


def entry_of(certificate: bytes, role: Role | None, *, authority: bytes) -> Issued:
    """Give the row of a certificate.

    Args:
        certificate: PEM.
        role: what it is for, if that is known.
        authority: PEM of the CAs of which one has signed it.

    Raises:
        PkiError: one of them cannot be read, or none has signed it.
    """
    leaf = read_certificates(certificate, "the certificate")[0]
    signers = [each for each in read_certificates(authority, "the CA") if signed_by(leaf, each)]
    if not signers:
        raise PkiError(f"{leaf.subject.rfc4514_string()} was not signed by this CA")
    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Issued(
        authority_mark(signers[0]).hex(),
        leaf.serial_number,
        str(names[0].value) if names else "",
        role.value if role else "",
        leaf.not_valid_before_utc,
        leaf.not_valid_after_utc,
        leaf.fingerprint(hashes.SHA256()).hex(),
    )


def marks_of(authorities: bytes) -> tuple[str, ...]:
    """Give the mark of each CA in a PEM file, in order, as rows name them.

    Raises:
        PkiError: there is none, or one cannot be read.
    """
    return tuple(authority_mark(each).hex() for each in read_certificates(authorities, "the CA"))


def read_index(data: bytes, what: str) -> Index:
    """Give the index that a file holds.

    Raises:
        PkiError: it holds none, or one of a version to come.
    """
    try:
        document = json.loads(data)
        version = document["version"]
        if version != _VERSION:
            raise PkiError(f"{what} is of version {version!r}; this trioetcd reads version 1")
        return Index(
            _whole(document["crl_number"]),
            tuple(_read_row(row) for row in document["issued"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise PkiError(f"{what} is damaged; put a whole copy of it back") from None


def write_index(index: Index) -> bytes:
    """Give the file's contents: JSON, one row a line."""
    rows = ",\n".join("  " + json.dumps(_row(row), ensure_ascii=False) for row in index.issued)
    return (
        f'{{"version": {_VERSION}, "crl_number": {index.crl_number}, "issued": [\n{rows}\n]}}\n'
    ).encode()


def _row(row: Issued) -> dict[str, str]:
    fields = {
        "serial": f"{row.serial:x}",
        "name": row.name,
        "role": row.role,
        "not_before": row.not_before.isoformat(),
        "not_after": row.not_after.isoformat(),
        "fingerprint": row.fingerprint,
        "authority": row.authority,
    }
    if row.revoked is not None:
        fields |= {"revoked": row.revoked.isoformat(), "reason": row.reason}
    return fields


def _read_row(row: dict[str, str]) -> Issued:
    serial = int(row["serial"], 16)
    if serial < 0:
        raise ValueError("a serial below nothing")
    revoked = row.get("revoked")
    return Issued(
        _text(row["authority"]),
        serial,
        _text(row["name"]),
        _text(row["role"]),
        _time(row["not_before"]),
        _time(row["not_after"]),
        _text(row["fingerprint"]),
        None if revoked is None else _time(revoked),
        _text(row.get("reason", "")),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    value.encode()  # a lone surrogate could not be written again
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError("no number of a list")
    return value


def _time(value: str) -> datetime:
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError("a time without its zone")
    return time.astimezone(UTC)
