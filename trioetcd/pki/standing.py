"""Whether a certificate that TLS has verified may be used, now and for as long as it is in use.

A handshake asks once. A connection that stays open for weeks must be asked again: its certificate
ends, is revoked, or its CA is trusted no more. `Authorities.standing` does the cryptography once
and gives what matters as a value; `Authorities.objection` then costs a few look-ups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from trioetcd.pki.chain import authority_mark, signed_by
from trioetcd.pki.crl import NO_LISTS, CrlSet
from trioetcd.pki.pem import read_certificate, read_certificates

__all__ = ["Authorities", "Objection", "Reason", "Standing"]

_DEPTH_MAX: Final = 8
_KNOWN_MAX: Final = 4096
"""Certificates whose standing is remembered; whoever reconnects costs no cryptography then."""


class Reason(Enum):
    """Why a certificate is not taken; the value is its label in metrics."""

    REVOKED = "revoked"
    EXPIRED = "expired"
    EARLY = "not_yet_valid"
    UNTRUSTED = "untrusted"


class Objection(NamedTuple):
    """Why a certificate is not taken.

    Attributes:
        reason: the kind.
        sentence: the same in words, with the certificate's name and serial.
    """

    reason: Reason
    sentence: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides about a certificate.

    Attributes:
        name: its subject, as RFC 4514 writes it.
        serial: its own.
        links: the CA and the serial of it and of those above it, as far as they are known.
        anchor: the mark of the trusted CA that it hangs on.
        not_before: when the last of the chain begins.
        not_after: when the first of the chain ends.
    """

    name: str
    serial: int
    links: tuple[tuple[bytes, int], ...]
    anchor: bytes
    not_before: datetime
    not_after: datetime


class Authorities:
    """Trusted CAs and their revocation lists: one generation of them, never changed.

    Attributes:
        lists: the revocation lists.

    Args:
        trust: PEM of the CAs.
        lists: verified revocation lists.

    Raises:
        PkiError: the CAs cannot be read.
    """

    def __init__(self, trust: bytes, lists: CrlSet = NO_LISTS) -> None:
        self.lists = lists
        self._anchors = read_certificates(trust, "the CA file")
        digest = hashes.Hash(hashes.SHA256())
        digest.update(trust)
        self._whole = digest.finalize()
        self._ends: dict[bytes, datetime] = {}
        for anchor in self._anchors:
            mark, end = authority_mark(anchor), anchor.not_valid_after_utc
            self._ends[mark] = max(end, self._ends.get(mark, end))
        self._known: dict[bytes, Standing] = {}

    @property
    def first_end(self) -> datetime:
        """When the first of the CAs ends."""
        return min(self._ends.values())

    def known(self, der: bytes) -> Standing | None:
        """Give a certificate's standing if it was worked out before."""
        return self._known.get(der)

    def standing(self, der: bytes, above: Sequence[bytes] = ()) -> Standing:
        """Work out the standing of a certificate whose handshake TLS has verified.

        Where the way to a trusted CA is not known here (Python before 3.13 does not tell what
        else the other side has shown), it hangs on the trusted CAs as a whole: should these
        change, it is to be verified anew.

        Args:
            der: the certificate.
            above: what the other side has shown beside it, DER.

        Raises:
            PkiError: it cannot be read.
        """
        leaf = current = read_certificate(der, "the certificate")
        shown = [read_certificate(each, "an issuer of the certificate") for each in above]
        begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        links: list[tuple[bytes, int]] = []
        anchor = b""
        for _ in range(_DEPTH_MAX):
            trusted = self._signer(current, self._anchors)
            issuer = trusted or self._signer(current, shown)
            if issuer is None or issuer == current:
                break
            mark = authority_mark(issuer)
            links.append((mark, current.serial_number))
            if trusted is not None:
                # What is above a trusted CA is not asked for its dates, but may revoke it.
                anchor = anchor or mark
            elif not anchor:
                begin = max(begin, issuer.not_valid_before_utc)
                end = min(end, issuer.not_valid_after_utc)
            current = issuer
        found = Standing(
            leaf.subject.rfc4514_string(),
            leaf.serial_number,
            tuple(links),
            anchor or self._whole,
            begin,
            end,
        )
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[der] = found
        return found

    def ends(self, standing: Standing) -> datetime:
        """Say when a certificate cannot be used any more: its own end, or its CA's."""
        return min(standing.not_after, self._ends.get(standing.anchor, standing.not_after))

    def objection(self, standing: Standing, now: datetime) -> Objection | None:
        """Say what speaks against a certificate; None if nothing does."""
        what = f"the certificate {standing.name}, serial {standing.serial:x},"
        for authority, serial in standing.links:
            since = self.lists.revoked_since(authority, serial)
            if since is not None:
                which = what if serial == standing.serial else f"a CA above {what[:-1]}"
                return Objection(
                    Reason.REVOKED, f"{which} is revoked since {since:%Y-%m-%d %H:%M} UTC"
                )
        if standing.anchor not in self._ends and standing.anchor != self._whole:
            return Objection(Reason.UNTRUSTED, f"{what} is of a CA that is trusted no more")
        end = self.ends(standing)
        if now >= end:
            return Objection(Reason.EXPIRED, f"{what} ended on {end:%Y-%m-%d %H:%M:%S} UTC")
        if now < standing.not_before:
            begin = standing.not_before
            return Objection(Reason.EARLY, f"{what} is not valid before {begin:%Y-%m-%d %H:%M} UTC")
        return None

    @staticmethod
    def _signer(
        certificate: x509.Certificate, candidates: Sequence[x509.Certificate]
    ) -> x509.Certificate | None:
        for candidate in candidates:
            if candidate.subject == certificate.issuer and signed_by(certificate, candidate):
                return candidate
        return None
