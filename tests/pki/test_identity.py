"""Tests of `trioetcd.pki.identity`: who stands behind a certificate."""

from __future__ import annotations

import hashlib
import ssl
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.pki.material import NOW, plain
from trioetcd import pki
from trioetcd.pki import PkiError, Profile, Role

CA = pki.create_authority("client", now=NOW, profile=Profile())


def der(pair: pki.CertifiedKey) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.certificate.decode())


def test_names_come_out_of_the_certificate() -> None:
    """Common name, DNS names and fingerprint are those of the certificate."""
    data = der(pki.issue(CA, Role.PEER, "m1", hosts=["h", "::1"], now=NOW, profile=Profile()))

    uris = ("trioetcd://trioetcd/peer/m1",)
    fingerprint = hashlib.sha256(data).hexdigest()

    assert pki.Identity("m1", ("h",), uris, fingerprint) == pki.identity_of(data)


def test_a_client_needs_no_names_but_its_own() -> None:
    """A certificate without alternative names has an identity all the same."""
    identity = pki.identity_of(der(plain("alice", issuer=CA, hosts=())))

    assert ("alice", (), ()) == identity[:3]


def test_who_has_two_names_has_none() -> None:
    """Of several common names one library takes the first and another the last: nobody is meant."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in ("eve", "root")])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )

    assert pki.identity_of(signed.public_bytes(serialization.Encoding.DER)).common_name == ""


@pytest.mark.parametrize(
    ("role", "may"), [(Role.SERVER, False), (Role.CLIENT, False), (Role.PEER, True)]
)
def test_only_both_usages_make_a_peer(role: Role, *, may: bool) -> None:
    """Under one CA for everything, neither a client nor a server can join as a member."""
    data = der(pki.issue(CA, role, "x", hosts=["h"], now=NOW, profile=Profile()))

    assert may == pki.may_be_peer(data)


def test_no_list_of_usages_means_every_usage() -> None:
    """A plain certificate may be a peer's."""
    assert pki.may_be_peer(der(plain("m")))


def test_garbage_is_refused() -> None:
    """Bytes that are no certificate end in a sentence, not in a crash."""
    for function in (pki.identity_of, pki.may_be_peer):
        with pytest.raises(PkiError, match="damaged"):
            function(b"garbage")
    for oid, function in (("2.5.29.17", pki.identity_of), ("2.5.29.37", pki.may_be_peer)):
        broken = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), b"\x30\x7f")
        with pytest.raises(PkiError, match="damaged certificate"):
            function(der(plain("m", hosts=(), extra=broken)))
