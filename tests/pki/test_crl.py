"""Tests of `trioetcd.pki.crl`: what a list revokes, and which lists are not taken."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.pki.material import NOW, plain
from trioetcd import pki
from trioetcd.pki import CertifiedKey, PkiError, Profile, Role

PROFILE = Profile()
CA = pki.create_authority("client", now=NOW, profile=PROFILE)
OTHER = pki.create_authority("client", now=NOW, profile=PROFILE)
LEAF = pki.issue(CA, Role.CLIENT, "alice", now=NOW, profile=PROFILE)


def der_of(pair: CertifiedKey) -> bytes:
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    return certificate.public_bytes(serialization.Encoding.DER)


def serial_of(pair: CertifiedKey) -> int:
    return x509.load_pem_x509_certificate(pair.certificate).serial_number


def made(
    authority: CertifiedKey,
    *serials: int,
    signer: CertifiedKey | None = None,
    extra: tuple[x509.ExtensionType, bool] | None = None,
    begin: datetime = NOW,
    end: datetime = NOW + timedelta(days=7),
) -> bytes:
    """Make a list as openssl does: no number, no key identifier."""
    key = serialization.load_pem_private_key((signer or authority).key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(x509.load_pem_x509_certificate(authority.certificate).subject)
        .last_update(begin)
        .next_update(end)
    )
    if extra is not None:
        builder = builder.add_extension(extra[0], critical=extra[1])
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begin)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def der_list(pem: bytes) -> bytes:
    return x509.load_pem_x509_crl(pem).public_bytes(serialization.Encoding.DER)


def verify(data: bytes, trust: bytes = CA.certificate, now: datetime = NOW) -> pki.CrlSet:
    return pki.verify_lists(data, trust=trust, now=now, what="crl.pem")


def test_a_list_revokes_what_it_names_and_nothing_else() -> None:
    """A serial in its CA's list is revoked since the list's date; another one is not."""
    lists = verify(pki.revocation_list(CA, now=NOW, serials=[serial_of(LEAF)]))
    other = pki.issue(CA, Role.CLIENT, "bob", now=NOW, profile=PROFILE)

    assert lists.find(der_of(LEAF), trust=CA.certificate) == NOW
    assert lists.find(der_of(other), trust=CA.certificate) is None
    assert () == lists.warnings


def test_a_serial_counts_only_beside_its_authority() -> None:
    """The list of one CA does not revoke what another signed, whatever the serial."""
    trust = CA.certificate + OTHER.certificate
    lists = verify(pki.revocation_list(OTHER, now=NOW, serials=[serial_of(LEAF)]), trust)

    assert lists.find(der_of(LEAF), trust=trust) is None


def test_two_authorities_of_one_name_are_told_apart_by_their_keys() -> None:
    """Name alone decides nothing: a list counts for the CA whose key signed it."""
    first, second = (plain("one name", authority=True) for _ in range(2))
    leaf = plain("alice", issuer=second)
    trust = first.certificate + second.certificate
    lists = verify(made(first, serial_of(leaf)), trust)
    assert lists.find(der_of(leaf), trust=trust) is None

    lists = verify(made(second, serial_of(leaf)), trust)
    assert lists.find(der_of(leaf), trust=trust) == NOW


def test_several_lists_of_a_file_count_in_pem_and_in_der() -> None:
    """Each list of a file counts, whatever its form, and text between PEM blocks is passed over."""
    trust = CA.certificate + OTHER.certificate
    two = [made(OTHER, 7), made(CA, serial_of(LEAF))]
    for data in (b"# two lists\n" + b"\n".join(two), b"".join(map(der_list, two))):
        lists = verify(data, trust)
        assert len(lists.lists) == 2
        assert lists.find(der_of(LEAF), trust=trust) == NOW


def test_of_several_lists_of_one_authority_each_counts() -> None:
    """What an older list revokes stays revoked beside a newer one."""
    lists = verify(made(CA, serial_of(LEAF)) + made(CA))

    assert lists.find(der_of(LEAF), trust=CA.certificate) == NOW


def test_an_outdated_list_is_used_on_with_a_warning() -> None:
    """Past nextUpdate, and before thisUpdate, a list revokes; a sentence says what is wrong."""
    pem = made(CA, serial_of(LEAF))
    late = verify(pem, now=NOW + timedelta(days=8))
    early = verify(pem, now=NOW - timedelta(days=1))

    assert late.next_update == NOW + timedelta(days=7)
    assert late.find(der_of(LEAF), trust=CA.certificate) == NOW
    assert "is outdated since 2030-06-08" in late.warnings[0]
    assert early.find(der_of(LEAF), trust=CA.certificate) == NOW
    assert "is the clock right?" in early.warnings[0]


def test_a_forged_list_is_refused() -> None:
    """A list in a CA's name signed by another key is refused, beside a good one too."""
    with pytest.raises(PkiError, match=r"crl.pem: the signature on the list of .* is not"):
        verify(made(CA) + made(CA, signer=OTHER))


def test_a_list_of_a_stranger_is_left_out_with_a_warning() -> None:
    """A CA that is not trusted revokes nothing, and does not spoil the lists of the others."""
    lists = verify(made(OTHER, 7) + made(CA, serial_of(LEAF)))

    assert "that CA is not trusted here" in lists.warnings[0]
    assert lists.find(der_of(LEAF), trust=CA.certificate) == NOW


def test_an_authority_that_may_not_sign_lists_signs_none() -> None:
    """A CA whose key usage lacks cRLSign makes no lists."""
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    authority = plain("ca", authority=True, extra=usage)
    with pytest.raises(PkiError, match="is not that CA's"):
        verify(made(authority), authority.certificate)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "holds no revocation list"),
        (b"nothing of the kind", "holds no revocation list"),
        (made(CA)[:-30], "is cut off"),
        (made(CA) + made(CA)[:40], "is cut off"),
        (made(CA)[:60] + b"AAAA" + made(CA)[60:], "damaged"),
        (der_list(made(CA))[:-1], "is cut off or damaged"),
        (der_list(made(CA)) + b"\x30\x03\x01", "is cut off or damaged"),
        (b"\x30\x03\x02\x01\x01", "damaged"),
    ],
)
def test_what_is_no_list_is_refused(data: bytes, sentence: str) -> None:
    """An empty, foreign, damaged or half-written file ends in its sentence."""
    with pytest.raises(PkiError, match=sentence):
        verify(data)


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ((x509.DeltaCRLIndicator(1), True), "is a delta"),
        (
            (
                x509.IssuingDistributionPoint(
                    full_name=None,
                    relative_name=None,
                    only_contains_user_certs=False,
                    only_contains_ca_certs=False,
                    only_some_reasons=None,
                    indirect_crl=True,
                    only_contains_attribute_certs=False,
                ),
                True,
            ),
            "speaks for other CAs",
        ),
        (
            (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),
            "critical extension 1.2.3.4",
        ),
    ],
)
def test_a_list_that_means_something_else_is_refused(
    extra: tuple[x509.ExtensionType, bool], sentence: str
) -> None:
    """A delta, an indirect list and an unknown critical extension are refused (RFC 5280, 5.2)."""
    with pytest.raises(PkiError, match=sentence):
        verify(made(CA, extra=extra))
