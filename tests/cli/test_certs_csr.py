"""Tests of `trioetcd certs csr`: keys that never move, and wishes that are not granted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.certificates import check_modes, openssl, run, start
from trioetcd.node import pki_index


@pytest.fixture
def out(tmp_path: Path) -> Path:
    directory = tmp_path / "certs"
    assert run("init", "--out", directory, "n1=h") == 0
    return directory


def test_a_node_without_the_authority_gets_its_certificate(out: Path, tmp_path: Path) -> None:
    """Request there, signature here, and the key has never left its directory."""
    node = tmp_path / "node"
    assert run("csr", "new", "n7", "--host", "10.0.0.7", "--out", node) == 0
    travelling = tmp_path / "n7.csr"
    travelling.write_bytes((node / "n7.csr").read_bytes())
    words = ("csr", "sign", travelling, "--role", "peer", "--data-dir", out, "--approve")
    assert run(*words) == 0
    (node / "n7.crt").write_bytes((tmp_path / "n7.crt").read_bytes())
    (node / "n7.crt").chmod(0o600)

    assert "PRIVATE" not in travelling.read_text() + (tmp_path / "n7.crt").read_text()
    ca = out / "ca" / "peer-ca.crt"
    assert run("verify", node / "n7.crt", "--ca", ca, "--role", "peer", "--host", "10.0.0.7") == 0
    assert "n7" == pki_index.read(ca).issued[-1].name
    check_modes(node)


def test_nothing_is_signed_without_approval(out: Path, tmp_path: Path) -> None:
    """It is shown what would be signed; exit code, files and index say that nothing was."""
    assert run("csr", "new", "bob", "--out", tmp_path) == 0
    before = (out / "ca" / "client-ca.index.json").read_bytes()
    done = start("csr", "sign", "bob.csr", "--role", "client", "--data-dir", out, cwd=tmp_path)

    assert 1 == done.returncode
    assert "It becomes the client bob" in done.stdout
    assert "say --approve" in done.stderr
    assert not (tmp_path / "bob.crt").exists()
    assert before == (out / "ca" / "client-ca.index.json").read_bytes()


def test_a_greedy_request_gets_its_role_and_no_more(
    out: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Openssl's request for a CA with every usage becomes a client's certificate, and is shown."""
    wishes = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext",
              "extendedKeyUsage=serverAuth", "-addext",
              "subjectAltName=URI:trioetcd://trioetcd/peer/n1,DNS:h")  # fmt: skip
    make = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem -out e.csr"
    made = openssl(*make.split(), "-subj", "/O=system:masters/CN=eve", *wishes, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert run("csr", "show", tmp_path / "e.csr") == 0
    told = capsys.readouterr().out
    for wish in ("the rights of a CA", "usages of its own choice", "O=system:masters", "peer/n1"):
        assert f"NOT given    {wish}" in told or wish in told
    words = ("csr", "sign", tmp_path / "e.csr", "--role", "client", "--data-dir", out, "--approve")
    assert run(*words) == 0
    text = openssl("x509", "-in", "e.crt", "-noout", "-text", cwd=tmp_path).stdout

    assert "CA:FALSE" in text
    assert "CA:TRUE" not in text
    assert "Subject: O = trioetcd, CN = eve" in text
    assert "URI:trioetcd://trioetcd/client/eve" in text
    assert "peer/n1" not in text
    assert "DNS:h" not in text
    assert "TLS Web Server Authentication" not in text


def test_openssl_reads_our_request(tmp_path: Path) -> None:
    """Its signature is good, and its names are there."""
    assert run("csr", "new", "n1", "--host", "::1", "--key", "rsa-3072", "--out", tmp_path) == 0
    told = openssl("req", "-in", "n1.csr", "-noout", "-text", "-verify", cwd=tmp_path)

    assert "verify OK" in told.stderr + told.stdout
    assert "3072 bit" in told.stdout
    assert "IP Address:0:0:0:0:0:0:0:1" in told.stdout


def test_nothing_is_overwritten(
    out: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A key that is there is never drawn anew, a certificate only with --force."""
    assert run("csr", "new", "n1", "--out", tmp_path) == 0
    key = (tmp_path / "n1.key").read_bytes()
    assert run("csr", "new", "n1", "--out", tmp_path) == 1
    assert key == (tmp_path / "n1.key").read_bytes()
    words = ("csr", "sign", tmp_path / "n1.csr", "--role", "client", "--data-dir", out, "--approve")
    assert run(*words) == 0
    first = (tmp_path / "n1.crt").read_bytes()
    assert run(*words) == 1
    assert "nothing was changed" in capsys.readouterr().err
    assert first == (tmp_path / "n1.crt").read_bytes()
    assert run(*words, "--force", "--name", "other", "--days", "3") == 0
    assert first != (tmp_path / "n1.crt").read_bytes()
    assert run("csr", "show", tmp_path / "n1.crt") == 1
    assert "holds no signing request" in capsys.readouterr().err
