"""Tests of `trioetcd.pki.renewal`: a successor says what its predecessor said."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.pki.material import NOW, plain
from trioetcd import pki
from trioetcd.pki import KeyKind, PkiError, Profile, Role

YEAR = timedelta(days=365)
LATER = NOW + timedelta(days=20)


def says(certificate: bytes) -> list[object]:
    """Give what must not change."""
    read = x509.load_pem_x509_certificate(certificate)
    kept = [
        (extension.value, extension.critical)
        for extension in read.extensions
        if not isinstance(extension.value, x509.SubjectKeyIdentifier | x509.AuthorityKeyIdentifier)
    ]
    return [read.subject, kept]


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("kind", list(KeyKind))
def test_everything_stays_but_dates_serial_and_key(role: Role, kind: KeyKind) -> None:
    """Subject and extensions stay; the key is new and of the same kind, or the same."""
    authority = pki.create_authority("peer", now=NOW, profile=Profile())
    old = pki.issue(
        authority, role, "n1", hosts=["a", "::1"], now=NOW, profile=Profile(), days=90, kind=kind
    )
    new = pki.renew_alike(authority, old.certificate, now=LATER, lifetime=YEAR)
    same = pki.renew_alike(authority, old.certificate, now=LATER, lifetime=YEAR, key=old.key)
    keys = [
        type(x509.load_pem_x509_certificate(each.certificate).public_key()) for each in (old, new)
    ]

    assert says(old.certificate) == says(new.certificate) == says(same.certificate)
    assert keys[0] is keys[1]
    assert old.key == same.key != new.key
    for made in (new, same):
        bundle = pki.verify(
            role, chain=made.certificate, key=made.key, issuers=authority.certificate, now=LATER
        )
        assert bundle.not_after == LATER + timedelta(days=90)


def test_what_ended_with_its_ca_lives_as_long_as_its_role() -> None:
    """A lifetime that an ending CA had cut short is not handed on."""
    ending = pki.create_authority("peer", now=NOW, profile=Profile(authority_days=25))
    old = pki.issue(ending, Role.PEER, "n1", now=NOW, profile=Profile(peer_days=90))
    again = pki.renew_alike(ending, old.certificate, now=LATER, lifetime=YEAR)

    assert pki.inspect(again.certificate, "it")[0].not_after == NOW + timedelta(days=25)


def test_certificates_from_elsewhere_are_renewed_as_they_are() -> None:
    """Plain ones get no usages that they had not, and special ones keep theirs."""
    authority = pki.create_authority("client", now=NOW, profile=Profile())
    for old in (
        plain("x", issuer=authority),
        plain("x", issuer=authority, rsa_bits=2048),
        plain(
            "x", issuer=authority, extra=x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
        ),
    ):
        new = pki.renew_alike(authority, old.certificate, now=NOW, lifetime=YEAR)
        assert says(old.certificate) == says(new.certificate)
    key = x509.load_pem_x509_certificate(
        pki.renew_alike(
            authority, plain("x", rsa_bits=2048).certificate, now=NOW, lifetime=YEAR
        ).certificate
    ).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 3072


def test_a_weak_key_or_anothers_is_not_kept() -> None:
    """Each has its sentence."""
    authority = pki.create_authority("client", now=NOW, profile=Profile())
    old = plain("x", issuer=authority)
    with pytest.raises(PkiError, match="is not this certificate's; renew it with a new key"):
        pki.renew_alike(authority, old.certificate, now=NOW, lifetime=YEAR, key=plain("y").key)
    with pytest.raises(PkiError, match="1024 bits"):
        pki.renew_alike(authority, plain("x", rsa_bits=1024).certificate, now=NOW, lifetime=YEAR)
