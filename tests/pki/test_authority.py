"""Tests of `trioetcd.pki.authority`: what is made, and that it is made well."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.pki.material import NOW, plain
from trioetcd import pki
from trioetcd.pki import PkiError, Profile, Role

PROFILE = Profile()
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH


def leaf(role: Role, **changes: int) -> x509.Certificate:
    profile = Profile(**changes)
    authority = pki.create_authority("client", now=NOW, profile=profile)
    issued = pki.issue(authority, role, "m1", hosts=["h", "::1"], now=NOW, profile=profile)
    return x509.load_pem_x509_certificate(issued.certificate)


def test_an_authority_is_what_the_strict_profile_asks_for() -> None:
    """A CA carries SKI, AKI, critical constraints with path length 0 and critical key usage."""
    made = pki.create_authority("peer", now=NOW, profile=PROFILE)
    certificate = x509.load_pem_x509_certificate(made.certificate)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    subject = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)

    assert (True, True, 0) == (
        constraints.critical,
        constraints.value.ca,
        constraints.value.path_length,
    )
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert not usage.value.digital_signature
    assert issuer.value.key_identifier == subject.value.digest
    assert certificate.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert certificate.not_valid_after_utc == NOW + timedelta(days=3650)


@pytest.mark.parametrize(
    ("role", "usages"),
    [(Role.SERVER, [SERVER]), (Role.PEER, [SERVER, CLIENT]), (Role.CLIENT, [CLIENT])],
)
def test_a_leaf_may_do_what_its_role_needs_and_no_more(
    role: Role,
    usages: list[x509.ObjectIdentifier],
) -> None:
    """The extended key usage of each role is exactly its own."""
    certificate = leaf(role)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)

    assert usages == list(
        certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    )
    assert constraints.critical
    assert not constraints.value.ca
    assert certificate.serial_number.bit_length() <= 159


def test_no_leaf_outlives_its_authority() -> None:
    """A lifetime longer than the CA's is cut at the CA's end."""
    certificate = leaf(Role.SERVER, authority_days=30, server_days=365)

    assert certificate.not_valid_after_utc == NOW + timedelta(days=30)


def test_an_ended_authority_signs_nothing() -> None:
    """Issuing after the CA's end is refused with a sentence."""
    authority = pki.create_authority("client", now=NOW, profile=Profile(authority_days=1))
    with pytest.raises(PkiError, match="the CA ended on 2030-06-02"):
        pki.issue(authority, Role.CLIENT, "alice", now=NOW + timedelta(days=2), profile=PROFILE)


def test_two_certificates_share_neither_serial_nor_key() -> None:
    """Every certificate has a serial and a key of its own, renewals too."""
    authority = pki.create_authority("client", now=NOW, profile=PROFILE)
    first = pki.issue(authority, Role.SERVER, "m", hosts=["h"], now=NOW, profile=PROFILE)
    second = pki.renew(
        authority, Role.SERVER, first.certificate, hosts=["i"], now=NOW, profile=PROFILE
    )
    old = x509.load_pem_x509_certificate(first.certificate)
    new = x509.load_pem_x509_certificate(second.certificate)

    assert old.serial_number != new.serial_number
    assert old.public_key() != new.public_key()
    assert old.subject == new.subject


def test_renewal_keeps_names_and_adds_new_ones() -> None:
    """The successor stands for everything that the old one stood for."""
    authority = pki.create_authority("client", now=NOW, profile=PROFILE)
    first = pki.issue(authority, Role.SERVER, "m", hosts=["h"], now=NOW, profile=PROFILE)
    second = pki.renew(
        authority, Role.SERVER, first.certificate, hosts=["h", "10.0.0.1"], now=NOW, profile=PROFILE
    )
    bundle = pki.verify(Role.SERVER, chain=second.certificate, key=second.key, now=NOW)

    assert ("h", "10.0.0.1") == bundle.hosts
    assert "m" == bundle.common_name


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb"])
def test_a_name_that_no_certificate_can_carry_is_refused(name: str) -> None:
    """Empty, overlong and unprintable common names end in a sentence."""
    authority = pki.create_authority("client", now=NOW, profile=PROFILE)
    with pytest.raises(PkiError, match="cannot be a certificate's common name"):
        pki.issue(authority, Role.CLIENT, name, now=NOW, profile=PROFILE)


def test_a_host_that_is_none_is_refused() -> None:
    """A host with an empty label ends in a sentence."""
    authority = pki.create_authority("client", now=NOW, profile=PROFILE)
    with pytest.raises(PkiError, match="neither an address nor a host name"):
        pki.issue(authority, Role.SERVER, "m", hosts=["a..b"], now=NOW, profile=PROFILE)


def test_a_foreign_key_cannot_sign() -> None:
    """An authority whose key is another's is refused."""
    one = pki.create_authority("client", now=NOW, profile=PROFILE)
    two = pki.create_authority("client", now=NOW, profile=PROFILE)
    mixed = pki.CertifiedKey(one.certificate, two.key)
    with pytest.raises(PkiError, match="does not belong to its certificate"):
        pki.issue(mixed, Role.CLIENT, "alice", now=NOW, profile=PROFILE)


def test_an_authority_from_elsewhere_cannot_be_used() -> None:
    """An RSA CA, and one without key identifier, were not made here, and sign nothing here."""
    for authority, sentence in (
        (plain("root", authority=True, rsa_bits=2048), "is not an EC key"),
        (plain("root", authority=True), "carries no key identifier"),
    ):
        with pytest.raises(PkiError, match=sentence):
            pki.issue(authority, Role.CLIENT, "alice", now=NOW, profile=PROFILE)


def test_the_revocation_list_is_signed_and_lasts_as_long_as_its_authority() -> None:
    """The list names the serials given, under the CA's signature."""
    authority = pki.create_authority("client", now=NOW, profile=PROFILE)
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    revoked = x509.load_pem_x509_crl(pki.revocation_list(authority, now=NOW, serials=[7]))
    key = issuer.public_key()

    assert revoked.is_signature_valid(key)  # type: ignore[arg-type]  # an EC key, as made
    assert [7] == [entry.serial_number for entry in revoked]
    assert issuer.not_valid_after_utc == revoked.next_update_utc


def test_a_key_does_not_show() -> None:
    """The representation of a certified key holds no key."""
    authority = pki.create_authority("client", now=NOW, profile=PROFILE)

    assert b"PRIVATE" in authority.key
    assert "PRIVATE" not in repr(authority)
