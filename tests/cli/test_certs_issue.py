"""Tests of `trioetcd certs issue`: every role, every kind of key, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.certificates import check_modes, openssl, run
from trioetcd import pki
from trioetcd.node import pki_index
from trioetcd.pki import KeyKind, Role


def test_a_client_gets_a_certificate_of_its_own(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is the CA's, under the client's name; a second one needs --force."""
    assert run("init", "--out", tmp_path / "pki") == 0
    issue = ["issue", "client", "alice", "--data-dir", str(tmp_path)]
    assert run(*issue) == 0
    first = (tmp_path / "pki" / "clients" / "alice.crt").read_bytes()
    bundle = pki.verify(
        Role.CLIENT,
        chain=first,
        key=(tmp_path / "pki" / "clients" / "alice.key").read_bytes(),
        issuers=(tmp_path / "pki" / "client-ca.crt").read_bytes(),
        now=datetime.now(UTC),
    )

    assert bundle.common_name == "alice"
    assert run(*issue) == 1
    assert "nothing was changed" in capsys.readouterr().err
    assert run(*issue, "--force") == 0
    assert first != (tmp_path / "pki" / "clients" / "alice.crt").read_bytes()


def test_a_certificate_is_made_where_the_key_is(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a cluster's directory the CA's key is found; without it there is a sentence."""
    out = tmp_path / "certs"
    assert run("init", "--out", out, "n1=h", "n2=i") == 0
    assert run("issue", "client", "joe", "--data-dir", out) == 0
    assert run("issue", "client", "jim", "--data-dir", out / "n1") == 0
    assert (out / "clients" / "joe.crt").exists()
    assert (out / "n1" / "clients" / "jim.crt").exists()
    assert ["joe", "jim"] == [
        row.name for row in pki_index.read(out / "ca" / "client-ca.crt").issued[-2:]
    ]
    (out / "ca" / "client-ca.key").unlink()
    assert run("issue", "client", "jon", "--data-dir", out) == 1
    assert "is not here to sign with" in capsys.readouterr().err
    assert not (out / "clients" / "jon.key").exists()


@pytest.mark.parametrize("kind", [kind.value for kind in KeyKind])
@pytest.mark.parametrize("role", [role.value for role in Role])
def test_openssl_agrees_about_every_role_and_key(tmp_path: Path, role: str, kind: str) -> None:
    """Purposes, names, URI and kind of key are what openssl reads in the certificate."""
    out = tmp_path / "certs"
    assert run("init", "--out", out, "n1=h") == 0
    made = tmp_path / "made"
    assert (
        run("issue", role, "n9", "--host", "10.9.9.9", "--san", "n9.example", "--key", kind,
            "--days", "20", "--data-dir", out, "--out", made)
        == 0
    )  # fmt: skip
    name = "n9" if role == "client" else role
    side = "peer" if role == "peer" else "client"
    authority = out / "ca" / f"{side}-ca.crt"
    text = openssl("x509", "-in", f"{name}.crt", "-noout", "-text", cwd=made).stdout
    for purpose in ("sslserver", "sslclient"):
        told = openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile", authority,
                       f"{name}.crt", cwd=made)  # fmt: skip
        usable = purpose == "sslserver" if role == "server" else purpose == "sslclient"
        assert (told.returncode == 0) == (usable or role == "peer")

    assert "DNS:n9.example" in text
    assert "IP Address:10.9.9.9" in text
    assert f"URI:trioetcd://trioetcd/{role}/n9" in text
    algorithm = {"rsa-3072": "(3072 bit)", "ed25519": "ED25519"}.get(kind, f"P-{kind[-3:]}")
    assert algorithm in text
    assert ("DNS:localhost" in text) == (role != "client")
    check_modes(made)


def test_a_member_is_found_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a cluster's directory a server's and a peer's certificate go to the member's own."""
    out = tmp_path / "certs"
    assert run("init", "--out", out, "n1=h") == 0
    before = (out / "n1" / "server.crt").read_bytes()
    assert run("issue", "server", "n1", "--host", "x", "--data-dir", out) == 1
    assert "nothing was changed" in capsys.readouterr().err
    assert run("issue", "server", "n1", "--host", "x", "--data-dir", out, "--force") == 0
    assert before != (out / "n1" / "server.crt").read_bytes()
    assert run("verify", out / "n1" / "server.crt", "--host", "x") == 0


def test_nothing_outlives_its_authority(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Days beyond the CA's end are refused with how many there are; without days it is cut."""
    profile = tmp_path / "profile.toml"
    profile.write_text("authority_days = 50\n")
    out = tmp_path / "certs"
    assert run("init", "--out", out, "--profile", profile, "n1=h") == 0
    assert run("issue", "client", "a", "--days", "60", "--data-dir", out) == 1
    assert "give at most 49 days" in capsys.readouterr().err
    assert not (out / "clients" / "a.key").exists()
    assert run("issue", "client", "a", "--data-dir", out) == 0
    assert "49 days left" in capsys.readouterr().out


def test_a_user_may_have_several_certificates(tmp_path: Path) -> None:
    """--user sets the name one logs in as; the files are called by NAME."""
    out = tmp_path / "certs"
    assert run("init", "--out", out, "n1=h") == 0
    assert run("issue", "client", "laptop", "--user", "alice", "--data-dir", out) == 0
    rows = pki_index.read(out / "ca" / "client-ca.crt").issued

    assert (out / "clients" / "laptop.crt").exists()
    assert "alice" == rows[-1].name


def test_one_authority_made_by_openssl_signs_everything(tmp_path: Path) -> None:
    """Kubeadm's layout: one RSA CA for all; what it signs here passes openssl and ourselves."""
    make = "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=etcd-ca -days 99"
    extension = ("-addext", "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign")
    assert openssl(*make.split(), *extension, cwd=tmp_path).returncode == 0
    for role in Role:
        assert (
            run("issue", role.value, "m1", "--host", "10.0.0.1", "--ca", tmp_path / "ca.crt",
                "--out", tmp_path / "out")
            == 0
        )  # fmt: skip
    for name, usage in (("server", "server"), ("peer", "peer"), ("m1", "client")):
        leaf = tmp_path / "out" / f"{name}.crt"
        told = openssl("verify", "-CAfile", tmp_path / "ca.crt", leaf, cwd=tmp_path)
        assert told.returncode == 0, told.stderr
        assert run("verify", leaf, "--ca", tmp_path / "ca.crt", "--role", usage) == 0
    rows = pki_index.read(tmp_path / "ca.crt").issued

    assert [role.value for role in Role] == [row.role for row in rows]


def test_an_authority_by_name_needs_a_place_to_write(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With --ca nothing says where the certificate belongs, so --out must."""
    out = tmp_path / "certs"
    assert run("init", "--out", out, "n1=h") == 0
    authority = out / "ca" / "client-ca.crt"
    assert run("issue", "client", "a", "--ca", authority) == 2
    assert "say with --out" in capsys.readouterr().err
    leaf, key = out / "n1" / "server.crt", out / "n1" / "server.key"
    assert run("issue", "client", "a", "--ca", leaf, "--ca-key", key, "--out", tmp_path / "x") == 1
    assert "is no CA" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
