"""Tests of `trioetcd.pki.export`: PKCS #12 as openssl reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.pki.material import NOW
from trioetcd import pki
from trioetcd.pki import KeyKind, PkiError, Profile, Role

CA = pki.create_authority("client", now=NOW, profile=Profile())


@pytest.mark.parametrize("kind", KeyKind)
def test_openssl_opens_it_with_the_password_alone(tmp_path: Path, kind: KeyKind) -> None:
    """Key, certificate and CA come out with the password, nothing without it."""
    pair = pki.issue(CA, Role.CLIENT, "alice", now=NOW, profile=Profile(), kind=kind)
    made = pki.export_pkcs12(
        "alice",
        chain=pair.certificate,
        key=pair.key,
        authorities=CA.certificate,
        password=b"correct horse",
    )
    (tmp_path / "alice.p12").write_bytes(made)

    def openssl(password: str) -> subprocess.CompletedProcess[str]:
        words = ["openssl", "pkcs12", "-in", "alice.p12", "-nodes", "-passin", f"pass:{password}"]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    told = openssl("correct horse")

    assert told.returncode == 0
    assert "friendlyName: alice" in told.stdout
    assert "BEGIN PRIVATE KEY" in told.stdout
    assert told.stdout.count("BEGIN CERTIFICATE") == 2
    assert openssl("wrong").returncode != 0


def test_what_does_not_belong_together_is_not_put_together() -> None:
    """Another's key and an empty password are refused."""
    one, two = (pki.issue(CA, Role.CLIENT, "a", now=NOW, profile=Profile()) for _ in range(2))
    with pytest.raises(PkiError, match="does not belong"):
        pki.export_pkcs12(
            "a", chain=one.certificate, key=two.key, authorities=CA.certificate, password=b"x"
        )
    with pytest.raises(PkiError, match="needs a password"):
        pki.export_pkcs12(
            "a", chain=one.certificate, key=one.key, authorities=CA.certificate, password=b""
        )
