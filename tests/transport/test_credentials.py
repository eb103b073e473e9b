"""Tests of `trioetcd.transport.credentials`: files into contexts, or a sentence."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.transport.handshake import shake
from trioetcd import pki
from trioetcd.pki import CertifiedKey, PkiError, Profile, Role
from trioetcd.transport import tls
from trioetcd.transport.credentials import CredentialFiles, KeyFiles, load

NOW = datetime.now(UTC)
PROFILE = Profile(peer_days=365)


def write(directory: Path, name: str, data: bytes) -> Path:
    path = directory / name
    path.write_bytes(data)
    path.chmod(0o600)
    return path


@pytest.fixture
def files(tmp_path: Path) -> CredentialFiles:
    """Good files of a member whose clients and peers have CAs of their own."""
    made = {}
    for purpose, role in (("client", Role.SERVER), ("peer", Role.PEER)):
        authority = pki.create_authority(purpose, now=NOW, profile=PROFILE)
        pair = pki.issue(authority, role, "m", hosts=["localhost"], now=NOW, profile=PROFILE)
        made[purpose] = KeyFiles(
            write(tmp_path, f"{purpose}.crt", pair.certificate),
            write(tmp_path, f"{purpose}.key", pair.key),
            write(tmp_path, f"{purpose}-ca.crt", authority.certificate),
        )
    return CredentialFiles(client=made["client"], peer=made["peer"], hosts=("localhost",))


def test_good_files_make_a_generation_without_warnings(files: CredentialFiles) -> None:
    """Everything verified gives three contexts, and the generation asked for."""
    contexts = load(files, now=NOW, generation=7)
    outcome = shake(contexts.peer_listener, contexts.peer_dialer)

    assert (7, ()) == (contexts.generation, contexts.warnings)
    assert outcome.version == "TLSv1.3"


def test_without_a_client_ca_there_is_no_client_trust(files: CredentialFiles) -> None:
    """Clients then need no certificate."""
    contexts = load(replace(files, client=replace(files.client, trust=None)), now=NOW)
    outcome = shake(
        contexts.client_listener,
        tls.client_context(trust=Path(str(files.client.trust)).read_bytes()),
    )

    assert contexts.client_trust is None
    assert outcome.client_der is None


@pytest.mark.parametrize("name", ["client.crt", "client.key", "client-ca.crt", "peer.key"])
def test_a_file_that_is_not_there_is_named(files: CredentialFiles, name: str) -> None:
    """The sentence says which file cannot be read."""
    (files.client.certificate.parent / name).unlink()
    with pytest.raises(PkiError, match=f"cannot read .*/{name}: No such file"):
        load(files, now=NOW)


def test_a_peer_needs_a_ca_that_signed_it(files: CredentialFiles) -> None:
    """Peers verify each other with one CA, so a member must be of that CA itself."""
    with pytest.raises(PkiError, match=r"peer.crt is not signed by its CA"):
        load(replace(files, peer=replace(files.peer, trust=files.client.trust)), now=NOW)
    with pytest.raises(PkiError, match="peers are always verified"):
        load(replace(files, peer=replace(files.peer, trust=None)), now=NOW)


def test_what_is_not_good_but_works_is_warned_of(files: CredentialFiles) -> None:
    """Open key files, missing names, coming ends, weak suites and one CA for all are told."""
    files.client.key.chmod(0o644)
    later = NOW + timedelta(days=300)
    changed = replace(
        files,
        client=replace(files.client, trust=files.peer.trust),
        hosts=("localhost", "etcd.example"),
        cipher_suites=("TLS_RSA_WITH_RC4_128_SHA", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    )
    warnings = "\n".join(load(changed, now=later).warnings)

    for words in (
        "chmod 600",
        "does not name etcd.example",
        "client.crt ends on",
        "left out as weak",
        "one CA signs clients and members",
    ):
        assert words in warnings


def test_a_suite_that_does_not_exist_is_refused(files: CredentialFiles) -> None:
    """The sentence names the flag."""
    with pytest.raises(PkiError, match="--cipher-suites: unexpected TLS cipher suite"):
        load(replace(files, cipher_suites=("TLS_X",)), now=NOW)


def issue(files: KeyFiles, role: Role, name: str, authority: CertifiedKey) -> KeyFiles:
    """Write a certificate beside others, of an authority of the test's."""
    pair = pki.issue(authority, role, "m", hosts=["localhost"], now=NOW, profile=PROFILE)
    directory = files.certificate.parent
    return KeyFiles(
        write(directory, f"{name}.crt", pair.certificate),
        write(directory, f"{name}.key", pair.key),
        write(directory, f"{name}-ca.crt", authority.certificate),
    )


def test_members_may_dial_with_certificates_of_their_own(files: CredentialFiles) -> None:
    """Then each of the two needs one usage only; both must be of the peers' CA."""
    authority = pki.create_authority("peer", now=NOW, profile=PROFILE)
    listener = issue(files.peer, Role.SERVER, "listener", authority)
    dialler = issue(files.peer, Role.CLIENT, "dialler", authority)
    contexts = load(replace(files, peer=listener, peer_client=dialler), now=NOW)
    outcome = shake(contexts.peer_listener, contexts.peer_dialer)

    assert outcome.client_der is not None
    assert contexts.peer_client.fingerprint == hashlib.sha256(outcome.client_der).hexdigest()
    for one, other, words in (
        (dialler, dialler, "lacks the usage serverAuth"),
        (listener, listener, "lacks the usage clientAuth"),
        (listener, files.peer, "is not signed by its CA"),
    ):
        changed = replace(files, peer=one, peer_client=replace(other, trust=listener.trust))
        with pytest.raises(PkiError, match=words):
            load(changed, now=NOW)


def test_one_ca_needs_names_where_one_usage_is_enough(files: CredentialFiles) -> None:
    """One CA for all is warned of, is refused if any client could be a member, or is settled."""
    authority = pki.create_authority("all", now=NOW, profile=PROFILE)
    one = replace(
        files,
        client=issue(files.client, Role.SERVER, "server", authority),
        peer=issue(files.peer, Role.PEER, "member", authority),
    )
    two = replace(
        one,
        peer=issue(files.peer, Role.SERVER, "listener", authority),
        peer_client=issue(files.peer, Role.CLIENT, "dialler", authority),
    )

    assert [True] == ["--peer-cert-allowed-cn" in each for each in load(one, now=NOW).warnings]
    assert () == load(replace(one, names_told=True), now=NOW).warnings
    with pytest.raises(PkiError, match="every client's certificate could join as a member"):
        load(two, now=NOW)
    assert () == load(replace(two, names_told=True), now=NOW).warnings


def test_the_metrics_may_be_had_without_a_certificate(files: CredentialFiles) -> None:
    """Where that is asked for, and on their listener alone."""
    strict, lax = load(files, now=NOW), load(replace(files, metrics_optional=True), now=NOW)
    nobody = tls.client_context(trust=Path(str(files.client.trust)).read_bytes())

    assert strict.metrics_listener is strict.client_listener
    assert shake(lax.metrics_listener, nobody).client_der is None
    for context in (strict.metrics_listener, lax.client_listener):
        with pytest.raises(ssl.SSLError):
            shake(context, nobody)
