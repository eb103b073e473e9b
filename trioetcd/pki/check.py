"""A certificate checked from all sides at once, each check in plain words.

`bundle.verify` stops at the first failure, for a member must not start; here a person wants to
see them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from trioetcd.pki.bundle import check_chain, check_dates, check_usages, covers, hosts_of
from trioetcd.pki.crl import verify_lists
from trioetcd.pki.key import check_public_key
from trioetcd.pki.pem import public_bytes, read_certificates, read_key
from trioetcd.pki.profile import PkiError, Role

__all__ = ["Check", "check_certificate"]


@dataclass(frozen=True, slots=True)
class Check:
    """What came of one check.

    Attributes:
        subject: what was looked at, in one word.
        passed: whether it is as it should be.
        sentence: what was found.
    """

    subject: str
    passed: bool
    sentence: str


def check_certificate(
    chain: bytes,
    *,
    role: Role | None,
    key: bytes | None,
    issuers: bytes | None,
    hosts: Sequence[str],
    now: datetime,
    lists: bytes | None = None,
) -> tuple[Check, ...]:
    """Check a certificate; what is not given is not checked.

    Args:
        chain: PEM, the leaf first.
        role: whose usages it must allow.
        key: PEM of what should be its key.
        issuers: PEM of the CAs of which one must have signed it.
        hosts: names and addresses it must cover.
        now: the time.
        lists: the revocation lists of those CAs, PEM or DER.

    Raises:
        PkiError: the certificate itself cannot be read.
    """
    what = "the certificate"
    certificates = read_certificates(chain, what)
    leaf = certificates[0]
    end = leaf.not_valid_after_utc

    def dates() -> str:
        for at, certificate in enumerate(certificates):
            check_dates(certificate, now, what if at == 0 else "an issuer in its chain")
        return f"it lasts until {end:%Y-%m-%d %H:%M} UTC, {(end - now).days} days from now"

    def strength() -> str:
        return f"its key is {check_public_key(leaf.public_key(), what)}"

    def trust() -> str:
        anchors = read_certificates(issuers or b"", "the CA file")
        for anchor in anchors:
            check_dates(anchor, now, f"the CA {anchor.subject.rfc4514_string()}")
        check_chain(certificates, anchors, what)
        return f"it is signed by {leaf.issuer.rfc4514_string()}, whom the CA file trusts"

    def revocation() -> str:
        crls = verify_lists(lists or b"", trust=issuers or b"", now=now, what="the list")
        der = leaf.public_bytes(serialization.Encoding.DER)
        since = crls.find(der, trust=issuers or b"")
        if since is not None:
            raise PkiError(f"it is revoked since {since:%Y-%m-%d %H:%M} UTC")
        return "; ".join(("no list revokes it", *crls.warnings))

    def usages() -> str:
        assert role is not None
        check_usages(leaf, role, what)
        return f"it may be used as a {role.value}'s"

    def match() -> str:
        private = read_key(key or b"", "the key file")
        if public_bytes(private) != public_bytes(leaf):
            raise PkiError("the key is another certificate's")
        return "the key is its own"

    def names() -> str:
        present = hosts_of(leaf)
        missing = [host for host in hosts if not any(covers(own, host) for own in present)]
        if missing:
            told = f"only {', '.join(present)}" if present else "no host at all"
            raise PkiError(f"it does not name {', '.join(missing)}, but {told}")
        return f"it names {', '.join(hosts)}"

    common = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    told = str(common[0].value) if common else leaf.subject.rfc4514_string()
    done = [Check("subject", passed=True, sentence=f"it is {told}'s")]
    for subject, wanted, check in (
        ("dates", True, dates),
        ("strength", True, strength),
        ("chain", issuers is not None, trust),
        ("revocation", issuers is not None and lists is not None, revocation),
        ("usages", role is not None, usages),
        ("key", key is not None, match),
        ("names", bool(hosts), names),
    ):
        if wanted:
            done.append(_result(subject, check))
    return tuple(done)


def _result(subject: str, check: Callable[[], str]) -> Check:
    try:
        return Check(subject, passed=True, sentence=check())
    except PkiError as error:
        return Check(subject, passed=False, sentence=str(error))
