"""Tests of `trioetcd.pki.revocation`: lists that are made, as `crl` and openssl read them."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.pki.material import NOW, plain
from trioetcd import pki
from trioetcd.pki import CertifiedKey, Index, PkiError, Profile, RevocationReason, Role

CA = pki.create_authority("client", now=NOW, profile=Profile())
OTHER = pki.create_authority("client", now=NOW, profile=Profile())


def issued(name: str, authority: CertifiedKey = CA) -> pki.Issued:
    made = pki.issue(authority, Role.CLIENT, name, now=NOW, profile=Profile())
    return pki.entry_of(made.certificate, Role.CLIENT, authority=authority.certificate)


def test_the_revocation_list_is_signed_and_lasts_as_long_as_its_authority() -> None:
    """The list names the serials given, under the CA's signature."""
    issuer = x509.load_pem_x509_certificate(CA.certificate)
    revoked = x509.load_pem_x509_crl(pki.revocation_list(CA, now=NOW, serials=[7]))
    key = issuer.public_key()

    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert revoked.is_signature_valid(key)
    assert [7] == [entry.serial_number for entry in revoked]
    assert issuer.not_valid_after_utc == revoked.next_update_utc


def test_a_list_names_what_was_revoked_of_its_own_authority() -> None:
    """Good certificates and those of another CA stand on no list."""
    alice, bob, foreign = issued("alice"), issued("bob"), issued("carol", OTHER)
    index = Index()
    for entry in (alice, bob, foreign):
        index = index.with_issued(entry)
    index = index.with_revoked(bob, now=NOW, reason=RevocationReason.KEY_COMPROMISE.value)
    index = index.with_revoked(foreign, now=NOW, reason=RevocationReason.UNSPECIFIED.value)
    made, index = pki.sign_list(CA, index, now=NOW)
    lists = pki.verify_lists(made, trust=CA.certificate, now=NOW, what="the list")

    assert () == lists.warnings
    assert {bob.serial: NOW} == lists.lists[0].serials
    assert NOW + timedelta(days=30) == lists.next_update
    assert index.crl_number == lists.lists[0].number


def test_numbers_grow_also_when_the_index_was_lost() -> None:
    """Each list has a higher number than the one before, within a second and from nothing."""
    first, index = pki.sign_list(CA, Index(), now=NOW)
    second, _ = pki.sign_list(CA, index, now=NOW)
    third, _ = pki.sign_list(CA, Index(), now=NOW + timedelta(seconds=9))
    numbers = [
        pki.verify_lists(made, trust=CA.certificate, now=NOW, what="").lists[0].number or 0
        for made in (pki.revocation_list(CA, now=NOW - timedelta(seconds=1)), first, second, third)
    ]

    assert sorted(set(numbers)) == numbers


def test_no_list_promises_more_than_its_authority() -> None:
    """The next list is due at the CA's end at the latest."""
    authority = pki.create_authority("peer", now=NOW, profile=Profile(authority_days=10))
    made, _ = pki.sign_list(authority, Index(), now=NOW)

    assert NOW + timedelta(days=10) == x509.load_pem_x509_crl(made).next_update_utc


def test_an_authority_that_may_sign_no_lists_signs_none() -> None:
    """Kubeadm's CAs may sign certificates alone; a list of theirs would be refused everywhere."""
    usage = x509.KeyUsage(
        digital_signature=True,
        key_encipherment=True,
        key_cert_sign=True,
        crl_sign=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    authority = plain("kubernetes", authority=True, extra=usage)
    with pytest.raises(PkiError, match="lacks cRLSign"):
        pki.sign_list(authority, Index(), now=NOW)
    assert pki.sign_list(plain("plain", authority=True), Index(), now=NOW)


@pytest.mark.parametrize("reason", RevocationReason)
def test_openssl_reads_the_list_and_refuses_the_revoked(
    tmp_path: Path, reason: RevocationReason
) -> None:
    """Openssl verifies the signature, prints number and reason, and refuses the certificate."""
    made = pki.issue(CA, Role.CLIENT, "eve", now=NOW, profile=Profile())
    good = pki.issue(CA, Role.CLIENT, "alice", now=NOW, profile=Profile())
    entry = pki.entry_of(made.certificate, Role.CLIENT, authority=CA.certificate)
    revoked = Index().with_revoked(entry, now=NOW, reason=reason.value)
    text, index = pki.sign_list(CA, revoked, now=NOW)
    for name, data in (
        ("ca.crt", CA.certificate),
        ("eve.crt", made.certificate),
        ("alice.crt", good.certificate),
        ("list.pem", text),
    ):
        (tmp_path / name).write_bytes(data)

    def openssl(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["openssl", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    told = openssl("crl", "-in", "list.pem", "-CAfile", "ca.crt", "-noout", "-text")
    at = str(int((NOW + timedelta(hours=1)).timestamp()))
    check = ("verify", "-x509_strict", "-attime", at, "-crl_check", "-CRLfile", "list.pem")
    refused = openssl(*check, "-CAfile", "ca.crt", "eve.crt")

    assert "verify OK" in told.stderr
    assert f"{index.crl_number:X}" in told.stdout or str(index.crl_number) in told.stdout
    assert (reason is not RevocationReason.UNSPECIFIED) == ("Reason Code" in told.stdout)
    assert "certificate revoked" in refused.stdout + refused.stderr
    assert openssl(*check, "-CAfile", "ca.crt", "alice.crt").returncode == 0


def test_a_reason_that_is_none_is_refused() -> None:
    """An index that somebody edited is not signed with what nobody understands."""
    index = Index().with_revoked(issued("eve"), now=NOW, reason="boredom")
    with pytest.raises(PkiError, match="reason 'boredom', which is none of"):
        pki.sign_list(CA, index, now=NOW)
