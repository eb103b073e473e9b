"""Tests of `trioetcd.pki.authority`: what is made, and that it is made well."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.pki.material import NOW, plain
from trioetcd import pki
from trioetcd.pki import KeyKind, PkiError, Profile, Role
from trioetcd.pki.key import kind_of

PROFILE = Profile()
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH


def leaf(role: Role, **changes: int) -> x509.Certificate:
    profile = Profile(**changes)
    authority = pki.create_authority("client", now=NOW, profile=profile)
    issued = pki.issue(authority, role, "m1", hosts=["h", "::1"], now=NOW, profile=profile)
    return x509.load_pem_x509_certificate(issued.certificate)


def uris(certificate: bytes) -> tuple[str, ...]:
    leaf = x509.load_pem_x509_certificate(certificate)
    return pki.identity_of(leaf.public_bytes(serialization.Encoding.DER)).uris


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


@pytest.mark.parametrize("rsa_bits", [0, 2048])
def test_an_authority_from_elsewhere_signs_too(rsa_bits: int) -> None:
    """An RSA CA, and one without key identifier, sign leaves that verify under them."""
    authority = plain("root", authority=True, rsa_bits=rsa_bits)
    made = pki.issue(authority, Role.CLIENT, "alice", now=NOW, profile=PROFILE)
    bundle = pki.verify(
        Role.CLIENT,
        chain=made.certificate,
        key=made.key,
        issuers=authority.certificate,
        now=NOW,
    )

    assert NOW + timedelta(days=30) == bundle.not_after
    assert ("trioetcd://trioetcd/client/alice",) == uris(made.certificate)


def test_a_leaf_signs_nothing() -> None:
    """Whoever has a leaf and its key is no CA by that."""
    authority = pki.create_authority("client", now=NOW, profile=PROFILE)
    made = pki.issue(authority, Role.PEER, "m", now=NOW, profile=PROFILE)
    with pytest.raises(PkiError, match="is no CA"):
        pki.issue(made, Role.CLIENT, "root", now=NOW, profile=PROFILE)


@pytest.mark.parametrize("kind", KeyKind)
def test_every_kind_of_key_is_certified_and_renewed(kind: KeyKind) -> None:
    """The key is of the kind asked for, and so is its successor's; both verify."""
    authority = pki.create_authority("client", now=NOW, profile=PROFILE)
    first = pki.issue(authority, Role.SERVER, "m", hosts=["h"], now=NOW, profile=PROFILE, kind=kind)
    second = pki.renew(authority, Role.SERVER, first.certificate, now=NOW, profile=PROFILE)
    for made in (first, second):
        pki.verify(
            Role.SERVER,
            chain=made.certificate,
            key=made.key,
            issuers=authority.certificate,
            now=NOW,
        )
        certificate = x509.load_pem_x509_certificate(made.certificate)
        assert kind is kind_of(certificate.public_key())


def test_a_lifetime_that_is_asked_for_is_kept_or_refused() -> None:
    """Days given by name are those; days beyond the CA's end are an error that says how many."""
    authority = pki.create_authority("client", now=NOW, profile=Profile(authority_days=40))
    made = pki.issue(authority, Role.CLIENT, "a", now=NOW, profile=PROFILE, days=7)
    certificate = x509.load_pem_x509_certificate(made.certificate)

    assert NOW + timedelta(days=7) == certificate.not_valid_after_utc
    with pytest.raises(PkiError, match=r"ends on 2030-07-11; give at most 40 days"):
        pki.issue(authority, Role.CLIENT, "a", now=NOW, profile=PROFILE, days=41)


def test_a_leaf_names_its_cluster_role_and_name() -> None:
    """The URI is the CA's cluster, the role and the name, in letters a URI may have; once."""
    authority = pki.create_authority("client", now=NOW, profile=PROFILE, cluster="prod.eu-1")
    made = pki.issue(authority, Role.CLIENT, "a b/ö", now=NOW, profile=PROFILE)
    again = pki.renew(authority, Role.CLIENT, made.certificate, now=NOW, profile=PROFILE)

    assert ("trioetcd://prod.eu-1/client/a%20b%2F%C3%B6",) == uris(made.certificate)
    assert uris(made.certificate) == uris(again.certificate)


@pytest.mark.parametrize("cluster", ["", "a b", "a..b", ".", "x" * 65, "a/b"])
def test_a_cluster_needs_a_name_that_a_uri_can_hold(cluster: str) -> None:
    """Go's clients refuse certificates with a URI that names no host."""
    with pytest.raises(PkiError, match="cannot be a cluster's name"):
        pki.create_authority("peer", now=NOW, profile=PROFILE, cluster=cluster)


def test_a_key_does_not_show() -> None:
    """The representation of a certified key holds no key."""
    authority = pki.create_authority("client", now=NOW, profile=PROFILE)

    assert b"PRIVATE" in authority.key
    assert "PRIVATE" not in repr(authority)
