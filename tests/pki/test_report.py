"""Tests of `trioetcd.pki.report`: a certificate in words."""

from __future__ import annotations

import contextlib
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from tests.pki.material import NOW, plain
from trioetcd import pki
from trioetcd.pki import Index, PkiError, Profile, Role


def test_a_report_says_who_for_what_and_until_when() -> None:
    """Names, usages, dates and fingerprint stand in the report."""
    authority = pki.create_authority("peer", now=NOW, profile=Profile())
    made = pki.issue(authority, Role.PEER, "m1", hosts=["h", "::1"], now=NOW, profile=Profile())
    text = pki.describe(made.certificate, now=NOW)

    assert text.startswith("CN=m1,O=trioetcd\n")
    assert "90 days left" in text
    assert "server and client" in text
    assert "h, ::1" in text
    assert pki.fingerprint(made.certificate) in text
    assert "certificate authority" in pki.describe(authority.certificate, now=NOW)


def test_a_report_tells_an_ended_certificate_and_a_plain_one() -> None:
    """What is over is said to be over; what has no usages may do anything."""
    text = pki.describe(plain("m").certificate, now=NOW + timedelta(days=33))

    assert "ended 3 days ago" in text
    assert "use          any" in text


def test_one_authority_for_two_purposes_is_noticed() -> None:
    """Two trust files share a CA only if they do."""
    one = pki.create_authority("peer", now=NOW, profile=Profile()).certificate
    two = pki.create_authority("client", now=NOW, profile=Profile()).certificate

    assert pki.shared_certificates(one + two, two)
    assert not pki.shared_certificates(one, two)


def test_a_list_is_told_without_being_believed() -> None:
    """Issuer, dates, and of each entry serial and reason; a number only where there is one."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plain")])
    entry = x509.RevokedCertificateBuilder().serial_number(5).revocation_date(NOW).build()
    plain_list = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name)
        .last_update(NOW)
        .next_update(NOW + timedelta(days=1))
        .add_revoked_certificate(entry)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    data = plain_list.public_bytes(serialization.Encoding.PEM)
    told = pki.describe_lists(data, "it")[0]

    assert ("CN=plain", None, NOW) == (told.issuer, told.number, told.this_update)
    assert ((5, NOW, "unspecified"),) == told.entries


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_damaged_list_ends_in_a_sentence(at: int, flip: int) -> None:
    """A list with one byte changed is told, or refused by a `PkiError`."""
    damaged = bytearray(LIST)
    damaged[at % len(damaged)] ^= flip
    with contextlib.suppress(PkiError):
        pki.describe_lists(bytes(damaged), "it")


def make_list() -> bytes:
    authority = pki.create_authority("client", now=NOW, profile=Profile())
    made = pki.issue(authority, Role.CLIENT, "eve", now=NOW, profile=Profile())
    entry = pki.entry_of(made.certificate, Role.CLIENT, authority=authority.certificate)
    index = Index().with_revoked(entry, now=NOW, reason="keyCompromise")
    pem = pki.sign_list(authority, index, now=NOW)[0]
    return x509.load_pem_x509_crl(pem).public_bytes(serialization.Encoding.DER)


LIST = make_list()
