"""Tests of `trioetcd.pki.request`: what a request may ask for, and what it never gets."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from tests.pki.material import NOW
from trioetcd import pki
from trioetcd.pki import KeyKind, PkiError, Profile, Role

CA = pki.create_authority("client", now=NOW, profile=Profile())
REQUEST, KEY = pki.create_request("n1", hosts=["10.0.0.1", "n1.example"])


def greedy() -> bytes:
    """Make a request for everything that one could wish."""
    key = ec.generate_private_key(ec.SECP256R1())
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(
            x509.Name(
                [
                    x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"),
                    x509.NameAttribute(NameOID.COMMON_NAME, "eve"),
                ]
            )
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.UniformResourceIdentifier("trioetcd://trioetcd/peer/n1"),
                    x509.UniformResourceIdentifier("spiffe://example/admin"),
                    x509.DNSName("n1.example"),
                ]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def sign(role: Role, request: bytes, name: str = "") -> x509.Certificate:
    made = pki.sign_request(
        CA, role, request, what="the request", now=NOW, profile=Profile(), name=name
    )
    return x509.load_pem_x509_certificate(made)


def test_the_signed_certificate_belongs_to_the_key_that_stayed() -> None:
    """Names and key are the request's; the rest is as `issue` makes it."""
    made = pki.sign_request(CA, Role.PEER, REQUEST, what="the request", now=NOW, profile=Profile())
    bundle = pki.verify(Role.PEER, chain=made, key=KEY, issuers=CA.certificate, now=NOW)

    assert ("n1", {"10.0.0.1", "n1.example"}) == (bundle.common_name, set(bundle.hosts))


def test_nothing_but_key_and_names_is_taken_from_a_request() -> None:
    """No CA, no usages, no organization and no URI get into the certificate."""
    request = greedy()
    told = pki.read_request(request, "the request")
    leaf = sign(Role.CLIENT, request)
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert [ExtendedKeyUsageOID.CLIENT_AUTH] == list(usages)
    assert "CN=eve,O=trioetcd" == leaf.subject.rfc4514_string()
    assert ["trioetcd://trioetcd/client/eve"] == [name.value for name in names]
    assert {
        "O=system:masters in its subject",
        "the rights of a CA",
        "usages of its own choice",
        "the name trioetcd://trioetcd/peer/n1",
        "the name spiffe://example/admin",
    } == set(told.left_out)


def test_a_member_gets_the_hosts_it_asks_for_unless_others_are_given() -> None:
    """A request's hosts are a member's wish; those given stand instead, for a client too."""
    assert ("a", "b") == pki.hosts_to_sign(Role.PEER, ("a", "b"), ())
    assert ("c",) == pki.hosts_to_sign(Role.SERVER, ("a", "b"), ("c",))
    assert () == pki.hosts_to_sign(Role.CLIENT, ("a", "b"), ())
    assert ("c",) == pki.hosts_to_sign(Role.CLIENT, ("a", "b"), ("c",))


def test_a_name_can_be_given_instead() -> None:
    """A request without a usable name is signed under the one given."""
    assert "CN=n9,O=trioetcd" == sign(Role.CLIENT, REQUEST, name="n9").subject.rfc4514_string()


def test_a_request_that_another_key_signed_is_refused() -> None:
    """Whoever does not hold the key gets no certificate for it."""
    request = x509.load_pem_x509_csr(REQUEST)
    der = bytearray(request.public_bytes(serialization.Encoding.DER))
    der[der.index(b"n1.example")] = ord("m")
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(PkiError, match="not signed by the key it names"):
        pki.read_request(forged, "the request")


def test_a_weak_key_gets_no_certificate() -> None:
    """RSA below 2048 bits is refused with its length."""
    key = rsa.generate_private_key(65537, 1024)
    request = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old")])
    )
    data = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(PkiError, match="RSA key of 1024 bits"):
        pki.read_request(data, "the request")
    with pytest.raises(PkiError, match="RSA key of 1024 bits"):
        sign(Role.CLIENT, data)


@given(data=st.binary(max_size=200), at=st.integers(0, len(REQUEST)), flip=st.integers(0, 255))
def test_garbage_ends_in_a_sentence(data: bytes, at: int, flip: int) -> None:
    """Any bytes, and a request with one byte changed or cut off, are read or refused."""
    changed = bytearray(REQUEST)
    if at < len(changed):
        changed[at] ^= flip
    for garbage in (data, bytes(changed), REQUEST[:at], REQUEST[:at] + data):
        with contextlib.suppress(PkiError):
            pki.read_request(garbage, "the request")


@pytest.mark.parametrize("kind", KeyKind)
def test_openssl_takes_our_requests_and_we_take_openssls(tmp_path: Path, kind: KeyKind) -> None:
    """Openssl verifies what is made; what openssl makes is signed."""
    request, _ = pki.create_request("n1", hosts=["10.0.0.1", "n1.example"], kind=kind)
    (tmp_path / "ours.csr").write_bytes(request)

    def openssl(*words: str) -> str:
        done = subprocess.run(
            ["openssl", *words], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout + done.stderr

    told = openssl("req", "-in", "ours.csr", "-noout", "-verify", "-text")
    make = "req -newkey rsa:2048 -nodes -keyout k.pem -out theirs.csr -subj /CN=bob"
    openssl(*make.split())

    assert "verify OK" in told
    assert "DNS:n1.example" in told
    assert "IP Address:10.0.0.1" in told
    theirs = (tmp_path / "theirs.csr").read_bytes()
    made = pki.sign_request(CA, Role.CLIENT, theirs, what="", now=NOW, profile=Profile())
    pki.verify(
        Role.CLIENT,
        chain=made,
        key=(tmp_path / "k.pem").read_bytes(),
        issuers=CA.certificate,
        now=NOW,
    )


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_a_request_needs_a_name_that_a_certificate_can_carry(name: str) -> None:
    """Empty and overlong names end in a sentence before a certificate is asked for."""
    with pytest.raises(PkiError, match="common name"):
        pki.create_request(name)


def test_an_extension_nobody_knows_is_told_and_left_out() -> None:
    """Its number is shown, so that whoever approves can look it up."""
    key = ec.generate_private_key(ec.SECP256R1())
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"x")
    data = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")]))
        .add_extension(unknown, critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )

    assert ("the extension 1.2.3.4",) == pki.read_request(data, "it").left_out
    leaf = sign(Role.CLIENT, data)
    assert "1.2.3.4" not in [extension.oid.dotted_string for extension in leaf.extensions]
