"""Tests of `trioetcd certs export`: what comes out is opened by those for whom it is made."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.certificates import ROOT, openssl, run, start


@pytest.fixture
def out(tmp_path: Path) -> Path:
    directory = tmp_path / "certs"
    assert run("init", "--out", directory, "n1=h") == 0
    return directory


def test_openssl_opens_the_p12_with_its_password(out: Path, tmp_path: Path) -> None:
    """Key and certificate are the client's; another password opens nothing."""
    (tmp_path / "password").write_text("correct horse\nand no more\n")
    target = tmp_path / "root.p12"
    words = ("export", "p12", "root", "--data-dir", out, "--out", target)
    assert run(*words, "--password-file", tmp_path / "password") == 0
    ask = ("pkcs12", "-in", target, "-nodes", "-passin")
    told = openssl(*ask, "pass:correct horse", cwd=tmp_path)

    assert target.stat().st_mode & 0o777 == 0o600
    assert (out / "clients" / "root.crt").read_text().split("-----")[2] in told.stdout
    assert (out / "clients" / "root.key").read_text().split("-----")[2] in told.stdout
    assert openssl(*ask, "pass:wrong", cwd=tmp_path).returncode != 0


def test_a_password_is_not_taken_from_nowhere(
    out: Path,
    tmp_path: Path,
) -> None:
    """Without a terminal and without a file there is a sentence, and an empty file is refused."""
    done = start("export", "p12", "root", "--data-dir", out, cwd=tmp_path)
    assert 1 == done.returncode
    assert "give --password-file FILE" in done.stderr
    (tmp_path / "empty").write_text("\n")
    words = ("export", "p12", "root", "--data-dir", out, "--password-file", tmp_path / "empty")
    done = start(*words, cwd=tmp_path)
    assert "holds no password in its first line" in done.stderr
    assert not (tmp_path / "root.p12").exists()


@pytest.mark.parametrize(
    ("second", "code"),
    [("correct horse\n", 0), ("slip\n", 130)],
)
def test_a_password_is_asked_for_twice_and_not_shown(
    out: Path,
    tmp_path: Path,
    second: str,
    code: int,
) -> None:
    """Typed on a terminal it opens the file; two that differ are asked for again."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "trioetcd", "certs", "export", "p12", "root", "--data-dir", out],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,  # else the password would be asked for on the terminal of the run
    ) as process:
        os.close(theirs)
        told = b""
        assert process.stderr is not None
        for typed in ("correct horse\n", second, *(["\x04"] if code else [])):
            piece = b""
            while not piece.endswith(b": "):  # what is typed before the question is thrown away
                read = os.read(process.stderr.fileno(), 1000)
                assert read, told + piece
                piece += read
            told += piece
            os.write(ours, typed.encode())
        told += process.stderr.read()
    os.close(ours)

    assert (code, (tmp_path / "root.p12").exists()) == (process.returncode, code == 0), told
    assert b"correct" not in told
    if code == 0:
        ask = ("pkcs12", "-in", "root.p12", "-nokeys", "-passin", "pass:correct horse")
        assert openssl(*ask, cwd=tmp_path).returncode == 0


def test_a_key_is_not_printed_on_a_screen(out: Path, tmp_path: Path) -> None:
    """A secret goes into a pipe or a file, never to a terminal."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "trioetcd", "certs", "export", "k8s-secret", "root", "--data-dir",
         out],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(theirs)
    _, told = process.communicate()
    os.close(ours)

    assert 1 == process.returncode
    assert b"use a pipe, or --out FILE" in told


def test_a_bundle_is_key_certificate_and_authority(out: Path, tmp_path: Path) -> None:
    """Openssl finds the key and the chain in the one file, which nobody else may read."""
    target = tmp_path / "root.pem"
    assert run("export", "bundle", "root", "--data-dir", out, "--out", target) == 0
    public = [
        openssl(*words, "-in", target, cwd=tmp_path).stdout
        for words in (("pkey", "-pubout"), ("x509", "-pubkey", "-noout"))
    ]

    assert target.stat().st_mode & 0o777 == 0o600
    assert public[0] == public[1]
    assert openssl("verify", "-CAfile", target, target, cwd=tmp_path).returncode == 0
    assert 2 == target.read_text().count("BEGIN CERTIFICATE")


def test_a_secret_is_what_kubernetes_takes(out: Path, tmp_path: Path) -> None:
    """Type, names of the parts and their contents are those of a TLS secret with its CA."""
    words = ("export", "k8s-secret", "root", "--data-dir", out, "--namespace", "kube-system")
    done = start(*words, cwd=tmp_path)
    secret = json.loads(done.stdout)
    parts = {name: base64.b64decode(text) for name, text in secret["data"].items()}

    assert ("v1", "Secret", "kubernetes.io/tls") == (
        secret["apiVersion"],
        secret["kind"],
        secret["type"],
    )
    assert {"name": "trioetcd-root", "namespace": "kube-system"} == secret["metadata"]
    assert parts["tls.crt"] == (out / "clients" / "root.crt").read_bytes()
    assert parts["tls.key"] == (out / "clients" / "root.key").read_bytes()
    assert parts["ca.crt"] == (out / "ca" / "client-ca.crt").read_bytes()


def test_what_is_there_stays_and_what_is_not_is_said(
    out: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Files are replaced with --force alone; an unknown user and an impossible name are told."""
    target = tmp_path / "x"
    target.write_bytes(b"mine")
    for kind in ("bundle", "k8s-secret", "p12"):
        assert run("export", kind, "root", "--data-dir", out, "--out", target) == 1
        assert "nothing was changed" in capsys.readouterr().err
    assert b"mine" == target.read_bytes()
    assert run("export", "bundle", "nobody", "--data-dir", out, "--out", target) == 1
    assert "issue client nobody" in capsys.readouterr().err
    assert run("export", "k8s-secret", "root", "--secret", "Not_Ok", "--data-dir", out) == 1
    assert "give one with --secret" in capsys.readouterr().err
    assert run("export", "k8s-secret", "root", "--data-dir", out, "--out", target, "--force") == 0
    assert json.loads(target.read_text())
