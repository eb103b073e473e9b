"""From settings to the files of `trioetcd.transport.credentials`: given ones, or ones made."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from trioetcd.node import pki_files
from trioetcd.node.credential_keeper import OwnCertificates
from trioetcd.node.pki_files import PkiFiles
from trioetcd.node.settings import Config
from trioetcd.pki import Profile
from trioetcd.transport.credentials import CredentialFiles, KeyFiles

__all__ = ["credential_files", "ensure_own", "own_certificates"]

_DAYS_PER_YEAR = 365


def credential_files(
    config: Config,
    *,
    now: datetime,
) -> tuple[CredentialFiles, tuple[str, ...]]:
    """Give the files the member's TLS is made of, making under ``<data-dir>/pki`` what is missing.

    Returns:
        The files, and sentences for the log about what was made or renewed.

    Raises:
        PkiError: a file is missing that cannot be made, or cannot be used.
        OSError: the disk does not do it.
    """
    own = PkiFiles(config.pki_path)
    said = ensure_own(config, now)
    client, peer = config.client_tls_generated, config.peer_tls_generated
    if client:
        pki_files.write_endpoints(own.path, [str(url) for url in config.advertise_client_urls])
        listener = _generated(own.server, own.client_ca if config.client_cert_required else None)
        if config.client_cert_required and own.client_crl.exists():
            listener = replace(listener, crl=own.client_crl)
    else:
        trust = Path(config.trusted_ca_file) if config.client_cert_required else None
        listener = KeyFiles(Path(config.cert_file), Path(config.key_file), trust)
    if config.client_crl_file:
        listener = replace(listener, crl=Path(config.client_crl_file))
    if peer:
        among_peers = _generated(own.peer, own.peer_ca)
    else:
        among_peers = KeyFiles(
            Path(config.peer_cert_file),
            Path(config.peer_key_file),
            Path(config.peer_trusted_ca_file),
        )
    dialling = None
    if config.peer_client_cert_file:
        dialling = KeyFiles(
            Path(config.peer_client_cert_file),
            Path(config.peer_client_key_file),
            among_peers.trust,
        )
    if config.peer_crl_file:
        among_peers = replace(among_peers, crl=Path(config.peer_crl_file))
    files = CredentialFiles(
        client=listener,
        peer=among_peers,
        peer_client=dialling,
        names_told=bool(config.peer_cert_allowed_cn or config.peer_cert_allowed_hostname),
        metrics_optional=config.metrics_client_cert == "optional",
        hosts=tuple(url.host for url in config.advertise_client_urls if url.scheme == "https"),
        cipher_suites=config.cipher_suites,
        version_min=config.tls_min_version,
        version_max=config.tls_max_version,
    )
    return files, said


def own_certificates(config: Config) -> OwnCertificates | None:
    """Give what the member makes for itself and renews; None if everything was given."""
    client, peer = config.client_tls_generated, config.peer_tls_generated
    if not client and not peer:
        return None
    return OwnCertificates(client, peer, partial(ensure_own, config))


def ensure_own(config: Config, now: datetime) -> tuple[str, ...]:
    """Make under ``<data-dir>/pki`` what is missing there and is not given, and renew what is due.

    Returns:
        Sentences for the log: what was made, renewed, or cannot be.

    Raises:
        PkiError: a file is missing that cannot be made, or cannot be used.
        OSError: the disk does not do it.
    """
    client, peer = config.client_tls_generated, config.peer_tls_generated
    if not client and not peer:
        return ()
    days = config.self_signed_cert_validity * _DAYS_PER_YEAR
    return pki_files.ensure(
        config.pki_path,
        name=config.name,
        hosts=config.certificate_hosts,
        now=now,
        profile=Profile(server_days=days, client_days=days),
        client=client,
        peer=peer,
    )


def _generated(certificate: Path, trust: Path | None) -> KeyFiles:
    return KeyFiles(certificate, PkiFiles.key_of(certificate), trust)
