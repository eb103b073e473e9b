"""The certificates that listeners and dialers use now: files into immutable contexts.

`load` reads every file once, verifies everything, and makes one `Contexts` with a generation
number; whoever accepts or dials takes `Credentials.current` at that moment.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from trioetcd import pki
from trioetcd.pki import Bundle, PkiError, Role
from trioetcd.transport import tls

__all__ = ["Contexts", "CredentialFiles", "Credentials", "KeyFiles", "load"]

_MODE_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """A certificate, its key, and the CA that the other side is verified with.

    Attributes:
        certificate: PEM, leaf first.
        key: PEM.
        trust: PEM of CAs; None where the other side shows no certificate.
    """

    certificate: Path
    key: Path
    trust: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialFiles:
    """Everything that the member's TLS is made of.

    Attributes:
        client: of the client listener.
        peer: of the peer listener and of the connections to peers.
        peer_client: of the connections to peers, if that is another one.
        names_told: whether it is settled by name which certificates may be a member's.
        metrics_optional: whether the metrics' listener lets in clients without a certificate.
        hosts: of the advertised client URLs, which the server's certificate should name.
        cipher_suites: names of --cipher-suites.
        version_min: --tls-min-version.
        version_max: --tls-max-version.
    """

    client: KeyFiles
    peer: KeyFiles
    peer_client: KeyFiles | None = None
    names_told: bool = False
    metrics_optional: bool = False
    hosts: tuple[str, ...] = ()
    cipher_suites: tuple[str, ...] = ()
    version_min: str = "TLS1.2"
    version_max: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """One generation of contexts, and what they were made of.

    Attributes:
        generation: counts from 1.
        client_listener: for accepted clients.
        metrics_listener: for accepted clients of the metrics.
        peer_listener: for accepted peers.
        peer_dialer: for dialled peers.
        server: the client listener's certificate.
        peer: the member's certificate among its peers.
        peer_client: the one with which it dials them; the same, or another one.
        client_trust: PEM of the clients' CAs; None when clients need no certificate.
        peer_trust: PEM of the peers' CAs.
        warnings: sentences for the log.
    """

    generation: int
    client_listener: ssl.SSLContext
    metrics_listener: ssl.SSLContext
    peer_listener: ssl.SSLContext
    peer_dialer: ssl.SSLContext
    server: Bundle
    peer: Bundle
    peer_client: Bundle
    client_trust: bytes | None
    peer_trust: bytes
    warnings: tuple[str, ...]


class Credentials:
    """Holds the current `Contexts`; a new generation replaces the reference, never the object."""

    def __init__(self, contexts: Contexts) -> None:
        self.current = contexts


def load(files: CredentialFiles, *, now: datetime, generation: int = 1) -> Contexts:
    """Read, verify and turn into contexts.

    Raises:
        PkiError: a file cannot be opened, or fails a check; the sentence names it.
    """
    server, client_trust, warnings = _read(Role.SERVER, files.client, now)
    peer, peer_client, peer_trust, more = _read_peer(files, now)
    warnings += more
    missing = pki.uncovered_hosts(server, files.hosts)
    if missing:
        warnings.append(
            f"{files.client.certificate} does not name {', '.join(missing)}, so clients that "
            f"dial {missing[0]} will refuse it",
        )
    if client_trust is not None and pki.shared_certificates(client_trust, peer_trust):
        warnings += _shared(files)
    try:
        suites, weak = tls.select_suites(files.cipher_suites)
    except ValueError as error:
        raise PkiError(f"--cipher-suites: {error}") from None
    if weak:
        warnings.append(f"--cipher-suites: left out as weak: {', '.join(weak)}")
    listen = partial(
        tls.client_listener_context,
        server,
        trust=client_trust,
        suites=suites,
        version_min=files.version_min,
        version_max=files.version_max,
    )
    try:
        client_listener = listen()
        return Contexts(
            generation=generation,
            client_listener=client_listener,
            metrics_listener=listen(optional=True) if files.metrics_optional else client_listener,
            peer_listener=tls.peer_listener_context(peer, trust=peer_trust),
            peer_dialer=tls.peer_dialer_context(peer_client, trust=peer_trust),
            server=server,
            peer=peer,
            peer_client=peer_client,
            client_trust=client_trust,
            peer_trust=peer_trust,
            warnings=tuple(warnings),
        )
    except ssl.SSLError as error:  # passed our checks, but not OpenSSL's security level
        raise PkiError(f"OpenSSL does not take the certificates: {error.reason}") from None


def _read_peer(files: CredentialFiles, now: datetime) -> tuple[Bundle, Bundle, bytes, list[str]]:
    """Read the certificates of the listener for peers and of dialling them, which may be one."""
    separate = files.peer_client
    role = Role.PEER if separate is None else Role.SERVER
    peer, trust, warnings = _read(role, files.peer, now, issued=True)
    if trust is None:
        raise PkiError("peers are always verified, and there is no CA to verify them with")
    if separate is None:
        return peer, peer, trust, warnings
    peer_client, _, more = _read(Role.CLIENT, separate, now, issued=True)
    return peer, peer_client, trust, warnings + more


def _shared(files: CredentialFiles) -> list[str]:
    """Say what one CA for clients and members means, unless it is settled who is a member.

    Raises:
        PkiError: every client could be a member.
    """
    if files.names_told:
        return []
    if files.peer_client is not None:
        raise PkiError(
            "one CA signs clients and members, and with --peer-client-cert-file every client's "
            "certificate could join as a member; name the members' with --peer-cert-allowed-cn, "
            "or give the peers a CA of their own"
        )
    sentence = (
        "one CA signs clients and members: a certificate with both usages, server and client, "
        "can join as a member; name the members' with --peer-cert-allowed-cn, or give the peers "
        "a CA of their own"
    )
    return [sentence]


def _read(
    role: Role, files: KeyFiles, now: datetime, *, issued: bool = False
) -> tuple[Bundle, bytes | None, list[str]]:
    warnings: list[str] = []
    trust = None
    if files.trust is not None:
        trust = pki.verify_trust(_bytes(files.trust), now=now, what=str(files.trust))
    bundle = pki.verify(
        role,
        chain=_bytes(files.certificate),
        key=_bytes(files.key),
        # Members verify each other with the CA that signed them; clients may know another.
        issuers=trust if issued else None,
        now=now,
        what=str(files.certificate),
    )
    if files.key.stat().st_mode & _MODE_OTHERS:
        warnings.append(f"{files.key} can be read by others than its owner; chmod 600 {files.key}")
    if bundle.renewal_due(now):
        warnings.append(f"{files.certificate} ends on {bundle.not_after:%Y-%m-%d}; renew it")
    return bundle, trust, warnings


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PkiError(f"cannot read {path}: {error.strerror}") from None
