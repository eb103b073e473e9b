"""The certificates that listeners and dialers use now: files into immutable contexts.

`load` reads every file once, verifies everything, and makes one `Contexts` with a generation
number; whoever accepts or dials takes `Credentials.current` at that moment. New ones replace the
reference, the contexts themselves are never changed: trust could be added to one, not taken away.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from trioetcd import pki
from trioetcd.pki import NO_LISTS, Authorities, Bundle, CrlSet, Objection, PkiError, Role
from trioetcd.ports import Entropy
from trioetcd.transport import tls
from trioetcd.transport.tenure import Ended, Tenures, wall_clock

__all__ = ["Contexts", "CredentialFiles", "CredentialSet", "Credentials", "KeyFiles", "load"]

_MODE_OTHERS = 0o077
_PEM_END = "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """A certificate, its key, and the CA that the other side is verified with.

    Attributes:
        certificate: PEM, leaf first.
        key: PEM.
        trust: PEM of CAs; None where the other side shows no certificate.
        crl: revocation lists of these CAs, PEM or DER; None where nobody is revoked.
    """

    certificate: Path
    key: Path
    trust: Path | None
    crl: Path | None = None

    def paths(self) -> tuple[Path, ...]:
        """Give all files that there are to be."""
        given = (self.certificate, self.key, self.trust, self.crl)
        return tuple(path for path in given if path is not None)


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
        client_authorities: who is trusted among clients, and who is revoked; None when they need
            no certificate.
        peer_authorities: likewise among peers.
        client_since: the generation in which the listener's certificate or the clients' CAs were
            last new: connections from before that are asked to move.
        peer_since: likewise of the member's certificate among its peers, or their CAs.
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
    client_authorities: Authorities | None
    peer_authorities: Authorities
    client_since: int
    peer_since: int
    warnings: tuple[str, ...]

    def follows(self, older: Contexts) -> Contexts | None:
        """Give these as the generation after `older`; None if nothing is different."""
        client = _marks(self.server, self.client_trust) != _marks(older.server, older.client_trust)
        peer = any(
            _marks(new, self.peer_trust) != _marks(old, older.peer_trust)
            for new, old in ((self.peer, older.peer), (self.peer_client, older.peer_client))
        )
        if not client and not peer and _lists(self) == _lists(older):
            return None
        generation = older.generation + 1
        return replace(
            self,
            generation=generation,
            client_since=generation if client else older.client_since,
            peer_since=generation if peer else older.peer_since,
        )


def _marks(bundle: Bundle, trust: bytes | None) -> tuple[object, ...]:
    return bundle.chain, bundle.key, trust


def _lists(contexts: Contexts) -> tuple[object, ...]:
    clients = contexts.client_authorities
    return clients and clients.lists.lists, contexts.peer_authorities.lists.lists


class Credentials:
    """Holds the current `Contexts`, and who is connected by certificates.

    Attributes:
        current: the contexts of the newest generation.
        clients: the connections of the client listeners.
        peers: the connections to peers that were dialled here.
        callers: those that peers dialled; they are not asked to move, since whoever dialled moves
            when its own credentials change, and before those that it was shown here end.

    Args:
        contexts: the first generation.
        entropy: spreads what connections of a retired generation are asked to do.
        ended: told of each connection that is ended for its certificate.
        now: the time.
    """

    def __init__(
        self,
        contexts: Contexts,
        *,
        entropy: Entropy,
        ended: Ended,
        now: Callable[[], datetime] = wall_clock,
    ) -> None:
        self.current = contexts
        self.clients = Tenures(
            "client",
            contexts.client_authorities,
            generation=contexts.client_since,
            ended=ended,
            entropy=entropy,
            now=now,
        )
        self.peers, self.callers = (
            Tenures(
                side,
                contexts.peer_authorities,
                generation=contexts.peer_since,
                ended=ended,
                entropy=entropy,
                now=now,
            )
            for side in ("peer", "caller")
        )

    async def look(self) -> None:
        """End all connections whose certificates may not be used any more."""
        for tenures in (self.clients, self.peers, self.callers):
            await tenures.look()

    def replace(self, contexts: Contexts) -> bool:
        """Put contexts in force as a new generation; False if they are no different."""
        older = self.current
        newer = contexts.follows(older)
        if newer is None:
            return False
        self.current = newer
        self.clients.renew(
            newer.client_authorities,
            generation=newer.client_since,
            until=older.server.not_after,
        )
        for tenures in (self.peers, self.callers):
            tenures.renew(
                newer.peer_authorities,
                generation=newer.peer_since,
                until=older.peer.not_after,
            )
        return True


class CredentialSet:
    """The files of the credentials, to be followed (`trioetcd.transport.living.FileSet`).

    Args:
        files: which they are.
        credentials: where they are put in force.
        warn: told what is new to be warned of.
        now: the time.
    """

    name = "certificates"

    def __init__(
        self,
        files: CredentialFiles,
        credentials: Credentials,
        *,
        warn: Callable[[str], None],
        now: Callable[[], datetime] = wall_clock,
    ) -> None:
        self._files = files
        self._credentials = credentials
        self._warn = warn
        self._now = now
        self._warned = set(credentials.current.warnings)

    def paths(self) -> Sequence[Path]:
        """Give the files."""
        files = self._files
        dialling = files.peer_client.paths() if files.peer_client is not None else ()
        return (*files.client.paths(), *files.peer.paths(), *dialling)

    def load(self) -> Callable[[], bool]:
        """Read and verify them; raises PkiError when a check fails."""
        contexts = load(self._files, now=self._now())
        return lambda: self._put_in_force(contexts)

    def _put_in_force(self, contexts: Contexts) -> bool:
        for warning in contexts.warnings:
            if warning not in self._warned:
                self._warn(warning)
        self._warned = set(contexts.warnings)
        return self._credentials.replace(contexts)


def load(files: CredentialFiles, *, now: datetime, generation: int = 1) -> Contexts:
    """Read, verify and turn into contexts.

    Raises:
        PkiError: a file cannot be opened, or fails a check; the sentence names it.
    """
    server, client_trust, client_lists, warnings = _read(Role.SERVER, files.client, now)
    peer, peer_client, peer_trust, peer_lists, more = _read_peer(files, now)
    warnings += more
    peer_authorities = Authorities(peer_trust, peer_lists)
    for own in (peer,) if peer_client is peer else (peer, peer_client):
        if (objection := _own_objection(own, peer_authorities, now)) is not None:
            # Not refused: the list may revoke others, too.
            warnings.append(f"the other members turn this one away: {objection.sentence}")
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
            client_authorities=Authorities(client_trust, client_lists) if client_trust else None,
            peer_authorities=peer_authorities,
            client_since=generation,
            peer_since=generation,
            warnings=tuple(warnings),
        )
    except ssl.SSLError as error:  # passed our checks, but not OpenSSL's security level
        raise PkiError(f"OpenSSL does not take the certificates: {error.reason}") from None


def _read_peer(
    files: CredentialFiles, now: datetime
) -> tuple[Bundle, Bundle, bytes, CrlSet, list[str]]:
    """Read the certificates of the listener for peers and of dialling them, which may be one."""
    separate = files.peer_client
    role = Role.PEER if separate is None else Role.SERVER
    peer, trust, lists, warnings = _read(role, files.peer, now, issued=True)
    if trust is None:
        raise PkiError("peers are always verified, and there is no CA to verify them with")
    if separate is None:
        return peer, peer, trust, lists, warnings
    peer_client, _, _, more = _read(Role.CLIENT, separate, now, issued=True)
    return peer, peer_client, trust, lists, warnings + more


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
) -> tuple[Bundle, bytes | None, CrlSet, list[str]]:
    warnings: list[str] = []
    trust = None
    lists = NO_LISTS
    if files.trust is not None:
        trust = pki.verify_trust(_bytes(files.trust), now=now, what=str(files.trust))
    if files.crl is not None:
        if trust is None:
            raise PkiError(f"{files.crl} revokes certificates, and there is no CA to ask for any")
        lists = pki.verify_lists(_bytes(files.crl), trust=trust, now=now, what=str(files.crl))
        warnings += lists.warnings
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
    return bundle, trust, lists, warnings


def _own_objection(bundle: Bundle, authorities: Authorities, now: datetime) -> Objection | None:
    """Say what others will say of a certificate of our own."""
    leaf, end, _ = bundle.chain.decode("ascii").partition(_PEM_END)
    standing = authorities.standing(ssl.PEM_cert_to_DER_cert(leaf + end))
    return authorities.objection(standing, now)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PkiError(f"cannot read {path}: {error.strerror}") from None
