"""Certificates as values: bytes in and bytes out.

Here live what each role's certificate must be (`profile`), making and renewing them
(`authority`), verifying a set before anything uses it (`bundle`), who a peer is (`identity`),
which user a client is (`naming`) and a certificate in words (`report`). No file is opened, no
socket and no clock: time is an argument. `cryptography` is used here and nowhere else.
"""

from __future__ import annotations

from trioetcd.pki.authority import CertifiedKey, create_authority, issue, renew, revocation_list
from trioetcd.pki.bundle import Bundle, uncovered_hosts, verify, verify_trust
from trioetcd.pki.identity import NOWHERE, Identity, Origin, identity_of, may_be_peer
from trioetcd.pki.naming import common_name, parse_naming
from trioetcd.pki.profile import PkiError, Profile, Role, renewal_due
from trioetcd.pki.report import describe, fingerprint, shared_certificates

__all__ = [
    "NOWHERE",
    "Bundle",
    "CertifiedKey",
    "Identity",
    "Origin",
    "PkiError",
    "Profile",
    "Role",
    "common_name",
    "create_authority",
    "describe",
    "fingerprint",
    "identity_of",
    "issue",
    "may_be_peer",
    "parse_naming",
    "renew",
    "renewal_due",
    "revocation_list",
    "shared_certificates",
    "uncovered_hosts",
    "verify",
    "verify_trust",
]
