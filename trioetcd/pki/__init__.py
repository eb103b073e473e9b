"""Certificates as values: bytes in and bytes out.

Here live what each role's certificate must be (`profile`), making and renewing them
(`authority`), verifying a set before anything uses it (`bundle`), what is revoked (`crl`),
whether one in use may stay so (`standing`), who a peer is (`identity`) and a certificate in words
(`report`). No file is opened, no socket and no clock: time is an argument. `cryptography` is used
here and nowhere else.
"""

from __future__ import annotations

from trioetcd.pki.allowed_names import AllowedNames, HostNames, host_names
from trioetcd.pki.authority import CertifiedKey, create_authority, issue, renew, revocation_list
from trioetcd.pki.bundle import Bundle, covers, uncovered_hosts, verify, verify_trust
from trioetcd.pki.crl import NO_LISTS, Crl, CrlSet, read_lists, verify_lists
from trioetcd.pki.identity import Identity, identity_of, may_be_peer
from trioetcd.pki.profile import PkiError, Profile, Role, renewal_due
from trioetcd.pki.report import describe, fingerprint, shared_certificates, subject_and_serial
from trioetcd.pki.standing import Authorities, Objection, Reason, Standing

__all__ = [
    "NO_LISTS",
    "AllowedNames",
    "Authorities",
    "Bundle",
    "CertifiedKey",
    "Crl",
    "CrlSet",
    "HostNames",
    "Identity",
    "Objection",
    "PkiError",
    "Profile",
    "Reason",
    "Role",
    "Standing",
    "covers",
    "create_authority",
    "describe",
    "fingerprint",
    "host_names",
    "identity_of",
    "issue",
    "may_be_peer",
    "read_lists",
    "renew",
    "renewal_due",
    "revocation_list",
    "shared_certificates",
    "subject_and_serial",
    "uncovered_hosts",
    "verify",
    "verify_lists",
    "verify_trust",
]
