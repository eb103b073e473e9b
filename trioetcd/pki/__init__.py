"""Certificates as values: bytes in and bytes out.

Here live what each role's certificate must be (`profile`), keys (`key`), making and renewing
certificates (`authority`), signing those whose key is elsewhere (`request`), what a CA has issued
(`index`) and takes back (`revocation`), verifying a set before anything uses it (`bundle`) and
showing everything that is wrong with it (`check`), what is revoked (`crl`), who a peer is
(`identity`), which user a client is (`naming`), a certificate in words (`report`) and in other
forms (`export`). No file is opened, no socket and no clock: time is an argument. `cryptography` is
used here and nowhere else.
"""

from __future__ import annotations

from trioetcd.pki.allowed_names import AllowedNames, HostNames, host_names
from trioetcd.pki.authority import (
    CLUSTER,
    CertifiedKey,
    create_authority,
    issue,
    renew,
    role_uri,
)
from trioetcd.pki.bundle import Bundle, covers, uncovered_hosts, verify, verify_trust
from trioetcd.pki.check import Check, check_certificate
from trioetcd.pki.crl import NO_LISTS, Crl, CrlSet, read_lists, verify_lists
from trioetcd.pki.expiry import Limits, State, read_span, words_left
from trioetcd.pki.export import export_pkcs12
from trioetcd.pki.identity import NOWHERE, Identity, Origin, identity_of, may_be_peer
from trioetcd.pki.index import Index, Issued, entry_of, marks_of, read_index, write_index
from trioetcd.pki.inspection import (
    Facts,
    ListFacts,
    inspect,
    inspect_der,
    inspect_lists,
    join_trust,
    key_fits,
    mark_of,
    signer_first,
    signer_of,
    stands_for,
    without_authority,
)
from trioetcd.pki.key import KeyKind
from trioetcd.pki.naming import common_name, parse_naming
from trioetcd.pki.pem import split_certificates, to_pem
from trioetcd.pki.profile import PkiError, Profile, Role, renewal_due
from trioetcd.pki.renewal import renew_alike, succeed_authority
from trioetcd.pki.report import (
    ListReport,
    describe,
    describe_lists,
    fingerprint,
    shared_certificates,
    subject_and_serial,
)
from trioetcd.pki.request import (
    SigningRequest,
    create_request,
    hosts_to_sign,
    read_request,
    sign_request,
)
from trioetcd.pki.revocation import LIST_DAYS, RevocationReason, revocation_list, sign_list
from trioetcd.pki.standing import Authorities, Objection, Reason, Standing

__all__ = [
    "CLUSTER",
    "LIST_DAYS",
    "NOWHERE",
    "NO_LISTS",
    "AllowedNames",
    "Authorities",
    "Bundle",
    "CertifiedKey",
    "Check",
    "Crl",
    "CrlSet",
    "Facts",
    "HostNames",
    "Identity",
    "Index",
    "Issued",
    "KeyKind",
    "Limits",
    "ListFacts",
    "ListReport",
    "Objection",
    "Origin",
    "PkiError",
    "Profile",
    "Reason",
    "RevocationReason",
    "Role",
    "SigningRequest",
    "Standing",
    "State",
    "check_certificate",
    "common_name",
    "covers",
    "create_authority",
    "create_request",
    "describe",
    "describe_lists",
    "entry_of",
    "export_pkcs12",
    "fingerprint",
    "host_names",
    "hosts_to_sign",
    "identity_of",
    "inspect",
    "inspect_der",
    "inspect_lists",
    "issue",
    "join_trust",
    "key_fits",
    "mark_of",
    "marks_of",
    "may_be_peer",
    "parse_naming",
    "read_index",
    "read_lists",
    "read_request",
    "read_span",
    "renew",
    "renew_alike",
    "renewal_due",
    "revocation_list",
    "role_uri",
    "shared_certificates",
    "sign_list",
    "sign_request",
    "signer_first",
    "signer_of",
    "split_certificates",
    "stands_for",
    "subject_and_serial",
    "succeed_authority",
    "to_pem",
    "uncovered_hosts",
    "verify",
    "verify_lists",
    "verify_trust",
    "without_authority",
    "words_left",
    "write_index",
]
