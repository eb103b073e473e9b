"""Tests of `trioetcd.pki.inspection`: what a certificate is, and which CAs a file trusts."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.pki.material import NOW, plain
from trioetcd import pki
from trioetcd.pki import PkiError, Profile, Role

OLD = pki.create_authority("peer", now=NOW, profile=Profile())
NEW = pki.create_authority("peer", now=NOW, profile=Profile())


@pytest.mark.parametrize("role", list(Role))
def test_what_we_make_is_what_it_says(role: Role) -> None:
    """Role, names, dates and issuer come back; the signer is found among several CAs."""
    made = pki.issue(NEW, role, "n1", hosts=["n1.example", "10.0.0.1"], now=NOW, profile=Profile())
    facts = pki.inspect(made.certificate, "it")[0]
    both = OLD.certificate + NEW.certificate

    assert (facts.role, facts.common_name, facts.weakness) == (role.value, "n1", "")
    assert facts.names == ("n1.example", "10.0.0.1")
    assert facts.uris == (f"trioetcd://trioetcd/{role.value}/n1",)
    assert facts.issuer == pki.inspect(NEW.certificate, "it")[0].common_name
    assert pki.signer_of(made.certificate, both) == pki.inspect(both, "it")[1].fingerprint
    assert pki.signer_of(made.certificate, OLD.certificate) == ""
    der = x509.load_pem_x509_certificate(made.certificate).public_bytes(serialization.Encoding.DER)
    assert facts == pki.inspect_der(der, "it")
    assert pki.signer_of(der, both) == pki.signer_of(made.certificate, both)
    assert [True, True, False] == [
        pki.stands_for(der, host) for host in ("n1.example", "10.0.0.1", "10.0.0.2")
    ]


@pytest.mark.parametrize(
    ("usages", "role"),
    [
        ([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], "any"),
        ([ExtendedKeyUsageOID.CODE_SIGNING], "other"),
        ([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING], "server"),
        ([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH], "peer"),
    ],
)
def test_a_role_is_read_from_the_usages(usages: list[x509.ObjectIdentifier], role: str) -> None:
    """Also of certificates from elsewhere."""
    made = plain("x", extra=x509.ExtendedKeyUsage(usages))
    assert role == pki.inspect(made.certificate, "it")[0].role


def test_a_plain_certificate_may_do_anything_and_a_ca_is_a_ca() -> None:
    """No list of usages means every usage."""
    assert pki.inspect(plain("x").certificate, "it")[0].role == "any"
    assert pki.inspect(plain("x", authority=True).certificate, "it")[0].role == "ca"


def test_weak_keys_are_told() -> None:
    """A key of 1024 bits is too short."""
    weak = plain("x", rsa_bits=1024)
    assert "RSA key of 1024 bits" in pki.inspect(weak.certificate, "it")[0].weakness


def test_trust_is_added_once_and_taken_away_but_for_the_last() -> None:
    """Joining twice is joining once; a leaf is no CA; nobody left to trust is refused."""
    both = pki.join_trust(OLD.certificate, NEW.certificate + OLD.certificate)
    assert both == pki.join_trust(both, NEW.certificate)
    old, new = (facts.fingerprint for facts in pki.inspect(both, "it"))

    assert pki.without_authority(both, old) == NEW.certificate
    assert pki.without_authority(both, "0") == both
    with pytest.raises(PkiError, match="no CA would be left"):
        pki.without_authority(NEW.certificate, new)
    leaf = pki.issue(OLD, Role.CLIENT, "a", now=NOW, profile=Profile())
    with pytest.raises(PkiError, match="is no CA"):
        pki.join_trust(both, leaf.certificate)


def test_the_key_says_which_ca_signs() -> None:
    """The one it belongs to comes first, whatever the order was."""
    for both in (OLD.certificate + NEW.certificate, NEW.certificate + OLD.certificate):
        assert pki.signer_first(both, NEW.key) == NEW.certificate + OLD.certificate
    assert pki.signer_first(OLD.certificate, NEW.key) == OLD.certificate
    assert pki.key_fits(NEW.certificate, NEW.key)
    assert not pki.key_fits(NEW.certificate, OLD.key)


def test_lists_are_read() -> None:
    """Who made it, until when, and what it revokes."""
    [facts] = pki.inspect_lists(pki.revocation_list(NEW, now=NOW, serials=[7, 8]), "it")
    assert facts.issuer == pki.inspect(NEW.certificate, "it")[0].common_name
    assert {7, 8} == set(facts.serials)
