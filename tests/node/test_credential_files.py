"""Tests of `trioetcd.node.credential_files`: from flags to files that load."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from trioetcd.node import pki_files
from trioetcd.node.config import parse
from trioetcd.node.credential_files import credential_files
from trioetcd.pki import Profile
from trioetcd.transport.credentials import load

NOW = datetime.now(UTC)


def test_without_flags_everything_is_made_and_loads(tmp_path: Path) -> None:
    """A first start gives contexts that require clients' certificates, and notes its endpoints."""
    config = parse(["--data-dir", str(tmp_path / "d")], {})
    files, said = credential_files(config, now=NOW)
    contexts = load(files, now=NOW)

    assert len(said) == 1
    assert contexts.client_trust is not None
    assert () == contexts.warnings
    assert pki_files.read_endpoints(config.pki_path) == "https://localhost:2379"


def test_auto_tls_asks_clients_for_nothing(tmp_path: Path) -> None:
    """As etcd's does; --self-signed-cert-validity sets the years."""
    arguments = ["--auto-tls", "--self-signed-cert-validity=2", "--data-dir", str(tmp_path / "d")]
    files, _ = credential_files(parse(arguments, {}), now=NOW)
    contexts = load(files, now=NOW)

    assert contexts.client_trust is None
    assert (contexts.server.not_after - NOW).days == 729


def test_given_files_are_taken_as_they_are(tmp_path: Path) -> None:
    """With all of them given nothing is made; with the clients' given only the peers' part is."""
    path = tmp_path / "given"
    pki_files.ensure(path, name="m", hosts=(), now=NOW, profile=Profile())
    client = [
        f"--cert-file={path / 'server.crt'}",
        f"--key-file={path / 'server.key'}",
        f"--trusted-ca-file={path / 'client-ca.crt'}",
    ]
    peer = [
        f"--peer-cert-file={path / 'peer.crt'}",
        f"--peer-key-file={path / 'peer.key'}",
        f"--peer-trusted-ca-file={path / 'peer-ca.crt'}",
    ]
    one = parse([*client, *peer, f"--data-dir={tmp_path / 'one'}"], {})
    two = parse([*client, f"--data-dir={tmp_path / 'two'}"], {})
    load(credential_files(one, now=NOW)[0], now=NOW)
    load(credential_files(two, now=NOW)[0], now=NOW)

    assert not one.data_path.exists()
    assert (two.pki_path / "peer.crt").exists()
    assert not (two.pki_path / "server.crt").exists()
    assert not (two.pki_path / "endpoints").exists()
