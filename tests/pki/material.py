"""Certificates for tests: good ones from `trioetcd.pki`, and plain ones as openssl makes them."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from trioetcd.pki import CertifiedKey

NOW = datetime(2030, 6, 1, 12, tzinfo=UTC)


def private_bytes(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def plain(
    name: str,
    *,
    issuer: CertifiedKey | None = None,
    authority: bool = False,
    now: datetime = NOW,
    hosts: tuple[str, ...] = ("localhost",),
    rsa_bits: int = 0,
    extra: x509.ExtensionType | None = None,
    subject: x509.Name | None = None,
    addresses: tuple[str, ...] = (),
) -> CertifiedKey:
    """Make a certificate without key identifiers, key usage or extended key usage."""
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = ec.generate_private_key(ec.SECP256R1())
    if rsa_bits:
        key = rsa.generate_private_key(65537, rsa_bits)
    subject = subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = key
    issuer_name = subject
    if issuer is not None:
        loaded = serialization.load_pem_private_key(issuer.key, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer = loaded
        issuer_name = x509.load_pem_x509_certificate(issuer.certificate).subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
    )
    if authority:
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=None),
            critical=False,
        )
    elif hosts or addresses:
        names = x509.SubjectAlternativeName(
            [
                *(x509.DNSName(host) for host in hosts),
                *(x509.IPAddress(ipaddress.ip_address(each)) for each in addresses),
            ]
        )
        builder = builder.add_extension(names, critical=False)
    if extra is not None:
        builder = builder.add_extension(extra, critical=False)
    certificate = builder.sign(signer, hashes.SHA256())
    return CertifiedKey(
        certificate.public_bytes(serialization.Encoding.PEM),
        private_bytes(key),
    )


def plain_twins(
    issuer: CertifiedKey, *, now: datetime, serial: int
) -> tuple[CertifiedKey, CertifiedKey]:
    """Make two certificates with the same number, as a CA that counts in two places does."""
    made = []
    signer = serialization.load_pem_private_key(issuer.key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    for name in ("one", "two"):
        key = ec.generate_private_key(ec.SECP256R1())
        loopback = x509.IPAddress(ip_address("127.0.0.1"))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.load_pem_x509_certificate(issuer.certificate).subject)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=300))
            .add_extension(x509.SubjectAlternativeName([loopback]), critical=False)
            .sign(signer, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        made.append(CertifiedKey(pem, private_bytes(key)))
    return made[0], made[1]
