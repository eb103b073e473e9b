"""The successor of a certificate: the same names, usages and kind of key, under a CA of ours.

Everything that the old certificate says is kept, but for its dates, its serial, its key unless
that is asked for, and who signed it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from trioetcd.pki.authority import (
    CLUSTER,
    CertifiedKey,
    authority_identifier,
    create_authority,
    read_authority,
)
from trioetcd.pki.key import KeyKind, check_public_key, create_key, key_bytes, signing_hash
from trioetcd.pki.pem import public_bytes, read_certificates, read_key
from trioetcd.pki.profile import BACKDATE, PkiError, Profile

__all__ = ["renew_alike", "succeed_authority"]

_OF_THE_KEY: Final = (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)
_SECONDS: Final = timedelta(seconds=2)


def renew_alike(
    authority: CertifiedKey,
    certificate: bytes,
    *,
    now: datetime,
    lifetime: timedelta,
    key: bytes | None = None,
) -> CertifiedKey:
    """Make the successor of a certificate.

    Args:
        authority: the CA with its key; not necessarily the one that signed the old one.
        certificate: the old one (PEM).
        now: the time.
        lifetime: how long the new one lasts, where the old one ended together with its CA;
            otherwise it lasts as long as the old one did. Never longer than its CA.
        key: PEM of the old key, to keep it; None draws a new one of the same kind.

    Raises:
        PkiError: the CA cannot sign, the old certificate cannot be read, or the key is another's.
    """
    old = read_certificates(certificate, "the certificate to renew")[0]
    issuer, signs = read_authority(authority, now)
    check_public_key(old.public_key(), "the certificate to renew")
    private = create_key(_kind_of(old)) if key is None else read_key(key, "the key to keep")
    if key is not None and public_bytes(private) != public_bytes(old):
        raise PkiError("the key to keep is not this certificate's; renew it with a new key")
    lasted = old.not_valid_after_utc - old.not_valid_before_utc - BACKDATE
    if abs(old.not_valid_after_utc - issuer.not_valid_after_utc) > _SECONDS and lasted > _SECONDS:
        lifetime = lasted
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(issuer.subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - BACKDATE, issuer.not_valid_before_utc))
        .not_valid_after(min(now + lifetime, issuer.not_valid_after_utc))
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False
        )
        .add_extension(authority_identifier(issuer), critical=False)
    )
    for extension in old.extensions:
        if not isinstance(extension.value, _OF_THE_KEY):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    made = builder.sign(signs, signing_hash(signs))
    return CertifiedKey(made.public_bytes(serialization.Encoding.PEM), key_bytes(private))


def _kind_of(certificate: x509.Certificate) -> KeyKind:
    match certificate.public_key():
        case ec.EllipticCurvePublicKey() as key if key.curve.key_size > 256:
            return KeyKind.EC_P384
        case rsa.RSAPublicKey():
            return KeyKind.RSA_3072
        case ed25519.Ed25519PublicKey():
            return KeyKind.ED25519
        case _:
            return KeyKind.EC_P256


def succeed_authority(
    authority: bytes, purpose: str, *, now: datetime, profile: Profile
) -> CertifiedKey:
    """Make a CA that takes the place of another one: the same cluster's, with a key of its own.

    Args:
        authority: PEM of the one that goes.
        purpose: ``peer`` or ``client``, for its name.
        now: the time.
        profile: how long it lasts.

    Raises:
        PkiError: the one that goes cannot be read.
    """
    old = read_certificates(authority, "the CA")[0]
    found = old.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    cluster = str(found[0].value) if found else CLUSTER
    try:
        return create_authority(purpose, now=now, profile=profile, cluster=cluster)
    except PkiError:  # a CA from elsewhere may be called what no cluster of ours can be
        return create_authority(purpose, now=now, profile=profile)
