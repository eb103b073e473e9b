"""Tests of `trioetcd.pki.bundle`: every check fails alone, with its own sentence."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from tests.pki.material import NOW, plain
from trioetcd import pki
from trioetcd.pki import CertifiedKey, PkiError, Profile, Role

PROFILE = Profile()
CA = pki.create_authority("client", now=NOW, profile=PROFILE)
OTHER = pki.create_authority("client", now=NOW, profile=PROFILE)
GOOD = pki.issue(CA, Role.SERVER, "m1", hosts=["h", "10.0.0.1"], now=NOW, profile=PROFILE)


def test_a_good_set_passes() -> None:
    """Everything that was issued here verifies, and the bundle tells what it is."""
    bundle = pki.verify(
        Role.SERVER, chain=GOOD.certificate, key=GOOD.key, issuers=CA.certificate, now=NOW
    )

    assert ("m1", ("h", "10.0.0.1")) == (bundle.common_name, bundle.hosts)
    assert bundle.not_after == NOW + timedelta(days=365)
    assert pki.fingerprint(GOOD.certificate) == bytes.fromhex(bundle.fingerprint).hex(":").upper()
    assert "PRIVATE" not in repr(bundle)


def check(
    sentence: str,
    pair: CertifiedKey = GOOD,
    role: Role = Role.SERVER,
    issuers: bytes | None = CA.certificate,
    days: int = 0,
) -> None:
    with pytest.raises(PkiError, match=sentence):
        pki.verify(
            role,
            chain=pair.certificate,
            key=pair.key,
            issuers=issuers,
            now=NOW + timedelta(days=days),
        )


def test_a_foreign_key_is_noticed() -> None:
    """A key of another certificate fails."""
    check(
        "the key does not belong to the server certificate", CertifiedKey(GOOD.certificate, CA.key)
    )


def test_a_foreign_authority_is_noticed() -> None:
    """A certificate of another CA fails, and the sentence names the CA that is missing."""
    check("is not signed by its CA: the CA file holds no CN=trioetcd", issuers=OTHER.certificate)


def test_dates_are_looked_at() -> None:
    """Before its beginning and after its end a certificate fails."""
    check("is not valid before", days=-1)
    check("ended on 2031-06-01", days=366)


@pytest.mark.parametrize(
    ("made", "asked", "word"),
    [
        (Role.SERVER, Role.PEER, "clientAuth"),
        (Role.SERVER, Role.CLIENT, "clientAuth"),
        (Role.CLIENT, Role.SERVER, "serverAuth"),
        (Role.CLIENT, Role.PEER, "serverAuth"),
    ],
)
def test_usages_are_looked_at(made: Role, asked: Role, word: str) -> None:
    """A certificate of one role cannot take another's place."""
    pair = pki.issue(CA, made, "x", hosts=["h"], now=NOW, profile=PROFILE)
    check(f"lacks the usage {word}, which a {asked.value} needs", pair, asked)


@pytest.mark.parametrize(
    ("chain", "sentence"),
    [
        (b"", "holds no certificate in PEM form"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "damaged"),
    ],
)
def test_what_is_no_certificate_is_refused(chain: bytes, sentence: str) -> None:
    """Files that hold something else end in a sentence."""
    check(sentence, CertifiedKey(chain, GOOD.key))


def test_keys_that_cannot_be_used_are_refused() -> None:
    """No key, an encrypted one, and a short RSA key each have their sentence."""
    check("holds no private key", CertifiedKey(GOOD.certificate, b"nothing"))
    encrypted = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    check("encrypted key", CertifiedKey(GOOD.certificate, encrypted))
    check("RSA key of 1024 bits", plain("m", rsa_bits=1024), issuers=None)
    diffie = dh_key()
    check("a key that cannot sign", CertifiedKey(GOOD.certificate, diffie))


def dh_key() -> bytes:
    return x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def test_damaged_extensions_are_refused() -> None:
    """Alternative names, usages and constraints that cannot be parsed end in a sentence."""
    for oid in ("2.5.29.17", "2.5.29.37"):
        broken = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), b"\x30\x7f")
        check("damaged certificate", plain("m", hosts=(), extra=broken), issuers=None)


def test_a_certificate_that_may_not_sign_is_refused() -> None:
    """TLS of today signs; a key usage without signatures is of no use."""
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    check("may not be used for signatures", plain("m", extra=usage), issuers=None)


def test_plain_openssl_certificates_pass() -> None:
    """Certificates without identifiers, usages or strictness are good enough for every role."""
    root = plain("root", authority=True)
    middle = plain("middle", issuer=root, authority=True)
    pair = plain("m", issuer=middle)
    chain = pair.certificate + middle.certificate
    for role in Role:
        bundle = pki.verify(role, chain=chain, key=pair.key, issuers=root.certificate, now=NOW)

        assert ("localhost",) == bundle.hosts


def test_a_leaf_signs_nobody() -> None:
    """A certificate that is no CA cannot stand in a chain."""
    root = plain("root", authority=True)
    middle = plain("middle", issuer=root)
    pair = plain("m", issuer=middle)
    chain = CertifiedKey(pair.certificate + middle.certificate, pair.key)
    check("is not signed by its CA", chain, issuers=root.certificate)


def test_trust_is_made_of_authorities_that_are_valid() -> None:
    """A trust file without a CA is refused, and ended CAs are left out of one."""
    ended = pki.create_authority(
        "client", now=NOW - timedelta(days=9), profile=Profile(authority_days=1)
    )
    both = ended.certificate + CA.certificate

    assert CA.certificate == pki.verify_trust(both, now=NOW, what="f")
    with pytest.raises(PkiError, match="f holds no CA that is valid now"):
        pki.verify_trust(ended.certificate, now=NOW, what="f")
    with pytest.raises(PkiError, match="f holds CN=m1,O=trioetcd, which is no CA"):
        pki.verify_trust(GOOD.certificate, now=NOW, what="f")


def test_uncovered_hosts_are_those_that_clients_would_refuse() -> None:
    """Names match without case, a star stands for one label, addresses compare as addresses."""
    pair = pki.issue(
        CA, Role.SERVER, "m", hosts=["A.example", "*.b.example", "::1"], now=NOW, profile=PROFILE
    )
    bundle = pki.verify(Role.SERVER, chain=pair.certificate, key=pair.key, now=NOW)
    hosts = ["a.EXAMPLE", "x.b.example", "x.y.b.example", "b.example", "0:0::1", "::2"]

    assert ("x.y.b.example", "b.example", "::2") == pki.uncovered_hosts(bundle, hosts)


def test_renewal_is_due_after_two_thirds() -> None:
    """A year's certificate is due after eight months, not before."""
    bundle = pki.verify(Role.SERVER, chain=GOOD.certificate, key=GOOD.key, now=NOW)

    assert not bundle.renewal_due(NOW + timedelta(days=243))
    assert bundle.renewal_due(NOW + timedelta(days=244))
