"""Tests of `trioetcd certs show`, `fingerprint` and `verify`: files, and a listener that runs."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.certificates import openssl, run
from trioetcd.cli.certs.endpoint import read_endpoint


@pytest.fixture
def out(tmp_path: Path) -> Path:
    directory = tmp_path / "certs"
    assert run("init", "--out", directory, "n1=h") == 0
    return directory


@contextmanager
def listening(out: Path) -> Iterator[str]:
    """Serve the member's certificate and its CA's to everybody who shows one of its CA."""
    chain = out.parent / "chain.pem"
    chain.write_bytes(
        (out / "n1" / "server.crt").read_bytes() + (out / "ca" / "client-ca.crt").read_bytes()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, out / "n1" / "server.key")
    context.load_verify_locations(out / "ca" / "client-ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with suppress(OSError), context.wrap_socket(connection, server_side=True):
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_file_is_told_as_openssl_tells_it(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Serial and fingerprint are openssl's; --pem gives the certificate itself."""
    path = out / "n1" / "server.crt"
    capsys.readouterr()
    assert run("show", path) == 0
    told = capsys.readouterr().out
    serial = openssl("x509", "-in", path, "-noout", "-serial", cwd=out).stdout
    assert serial.strip().partition("=")[2].lstrip("0").lower() in told
    assert run("fingerprint", path) == 0
    digest = openssl("x509", "-in", path, "-noout", "-fingerprint", "-sha256", cwd=out).stdout
    assert digest.strip().partition("=")[2] in capsys.readouterr().out
    assert run("show", "--pem", path) == 0
    assert path.read_text() == capsys.readouterr().out


def test_a_listener_shows_its_certificate_to_everybody(
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Leaf and chain come from one that lets nobody in without a certificate."""
    with listening(out) as place:
        capsys.readouterr()
        assert run("show", "--chain", place) == 0
        told = capsys.readouterr().out
        assert run("fingerprint", place, out / "n1" / "server.crt") == 0
        first, second = capsys.readouterr().out.splitlines()
        ca = out / "ca" / "client-ca.crt"
        assert run("verify", place, "--ca", ca, "--role", "server", "--host", "h") == 0
        assert run("verify", f"https://{place}", "--ca", out / "ca" / "peer-ca.crt") == 1

    assert f"{place}: CN=n1,O=trioetcd" in told
    assert "certificate authority" in told
    assert first.split()[0] == second.split()[0]


def test_nobody_there_is_a_sentence(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A closed port, a file that is none, a slip, and other PEM files say what to do."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    for source, sentence in (
        (f"127.0.0.1:{closed}", "is a member running there?"),
        ("nowhere", "is no file that is there, and no HOST:PORT"),
        (out / "n1" / "client-crl.pem", "`trioetcd certs crl show` reads it"),
        (out / "n1" / "server.key", "which nobody should be shown"),
        (out / "endpoints", "holds no certificate"),
    ):
        assert run("show", source) == 1
        captured = capsys.readouterr()
        assert sentence in captured.err
        assert "PRIVATE" not in captured.out


@given(text=st.text(max_size=30) | st.from_regex(r"[a-z.:\[\]0-9/]{0,30}"))
def test_garbage_is_no_endpoint_or_one_that_can_be_dialled(text: str) -> None:
    """Any text names a host and a port, or nothing."""
    endpoint = read_endpoint(text)

    assert endpoint is None or (endpoint[0] and 0 < endpoint[1] < 65536)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("h:2379", ("h", 2379)),
        ("https://h.example:1/", ("h.example", 1)),
        ("[::1]:2380", ("::1", 2380)),
        ("::1:2380", None),
        ("h:0", None),
        ("h:65536", None),
        ("h", None),
    ],
)
def test_endpoints_are_read(text: str, expected: tuple[str, int] | None) -> None:
    """Host and port, an URL, and brackets around IPv6."""
    assert expected == read_endpoint(text)


def test_verify_finds_what_belongs_to_a_file(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a known directory CA, key, role and list are found, and every check is told."""
    for path in (out / "n1" / "server.crt", out / "n1" / "peer.crt", out / "clients" / "root.crt"):
        capsys.readouterr()
        assert run("verify", path) == 0
        told = capsys.readouterr().out
        for subject in ("dates", "strength", "chain", "revocation", "usages", "key"):
            assert f"ok  {subject}" in told


def test_verify_says_everything_that_is_wrong(
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Wrong CA, role, key and host each have a line; the exit code is 1."""
    path = out / "n1" / "server.crt"
    wrong = ("--ca", out / "ca" / "peer-ca.crt", "--role", "peer", "--key", out / "n1" / "peer.key")
    assert run("verify", path, *wrong, "--host", "elsewhere") == 1
    told = capsys.readouterr().out
    for subject in ("chain", "usages", "key", "names"):
        assert f"NO  {subject}" in told


def test_verify_sees_a_revocation(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A revoked certificate fails by the list beside its CA, or the one given."""
    assert run("revoke", "root", "--data-dir", out) == 0
    path = out / "clients" / "root.crt"
    assert run("verify", path) == 1
    assert "it is revoked since" in capsys.readouterr().out
    ca, crl = out / "ca" / "client-ca.crt", out / "n1" / "client-crl.pem"
    assert run("verify", path, "--ca", ca, "--crl", crl) == 1
    copy = out.parent / "copy.crt"
    copy.write_bytes(path.read_bytes())
    assert run("verify", copy, "--crl", crl) == 2


def test_verify_alone_says_what_it_did_not_look_at(
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a CA the chain is not called good."""
    copy = out.parent / "copy.crt"
    copy.write_bytes((out / "n1" / "server.crt").read_bytes())
    assert run("verify", copy) == 0
    assert "not checked; say with --ca whom you trust" in capsys.readouterr().out
